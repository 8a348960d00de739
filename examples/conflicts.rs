//! Every kind of conflict, on devices that write offline and meet later: what happened, what each
//! policy shows of it, how a person settles it, how a value that lost comes back. Run it with
//! `cargo run --example conflicts`; engine/CONFLICTS.md is the guide.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use heirloom::{
    Builder, Conflict, Content, Engine, EntityId, Error, Patch, Resolution, Timestamp, Value,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

// Not every program that includes this file runs it.
#[allow(dead_code)]
fn main() -> Result {
    print!("{}", story()?);
    Ok(())
}

/// What the program prints.
pub(crate) fn story() -> Result<String> {
    let mut home = Home::new()?;
    the_same_field(&mut home)?;
    nested_fields(&mut home)?;
    a_map_against_a_value(&mut home)?;
    a_deletion_against_an_update(&mut home)?;
    two_creations(&mut home)?;
    Ok(home.story)
}

fn the_same_field(home: &mut Home) -> Result {
    home.tell(
        "1. The same field. What does not overlap merges; of the field that does, the last write \
         is shown.",
    );
    let lamp = home.create(&Content::new().with("name", "desk").with("brightness", 40))?;
    home.write("phone", lamp, Patch::new().set("brightness", 75).set("name", "hall"))?;
    home.write("tablet", lamp, Patch::new().set("brightness", 20))?;
    let conflict = home.look(lamp)?.ok_or("no conflict")?;

    home.tell(
        "  A person looks at both values and decides. Whoever decides on what is no longer so is \
         told.",
    );
    home.phone
        .write(|tx| tx.resolve(lamp, &conflict.seen(), Patch::new().set("brightness", 75)))?;
    home.meet()?;
    let late = home.desk.write(|tx| tx.resolve(lamp, &conflict.seen(), Resolution::Suggestion));
    assert!(matches!(late, Err(Error::Stale(_))));
    home.look(lamp).map(drop)
}

fn nested_fields(home: &mut Home) -> Result {
    home.tell("\n2. Nested fields are fields: each key of a map merges on its own.");
    let colour = Content::new().with("hue", 10).with("warmth", 3);
    let lamp = home.create(&Content::new().with("colour", colour))?;
    home.write(
        "phone",
        lamp,
        Patch::new().set_at(["colour", "hue"], 120).set_at(["colour", "warmth"], 5),
    )?;
    home.write("tablet", lamp, Patch::new().set_at(["colour", "hue"], 240))?;
    home.look(lamp)?;

    home.tell(
        "  A robot counts uses. Under `auto` it decides nothing but that; what is open stays open.",
    );
    home.write("desk", lamp, Patch::new().set("uses", 1))?;
    home.look(lamp).map(drop)
}

fn a_map_against_a_value(home: &mut Home) -> Result {
    home.tell(
        "\n3. A map against a value. Both cannot be there, so the newest is shown, then what fits.",
    );
    let lamp = home.create(&Content::new().with("name", "door"))?;
    home.write("phone", lamp, Patch::new().set_at(["colour", "hue"], 120))?;
    home.write("tablet", lamp, Patch::new().set("colour", "red"))?;
    let conflict = home.look(lamp)?.ok_or("no conflict")?;

    home.tell(
        "  Two people agree with what is suggested, without knowing of each other: that is no new \
         conflict.",
    );
    for device in [&home.phone, &home.tablet] {
        device.write(|tx| tx.resolve(lamp, &conflict.seen(), Resolution::Suggestion))?;
    }
    home.look(lamp).map(drop)
}

fn a_deletion_against_an_update(home: &mut Home) -> Result {
    home.tell(
        "\n4. A deletion against an update. Under `auto` the deletion is shown; nothing is lost.",
    );
    let lamp = home.create(&Content::new().with("name", "stairs").with("brightness", 40))?;
    home.phone.write(|tx| tx.delete(lamp))?;
    home.tell("  phone deletes it");
    home.write("tablet", lamp, Patch::new().set("brightness", 90))?;
    let conflict = home.look(lamp)?.ok_or("no conflict")?;

    home.tell("  One call brings back what lost, on any device.");
    let lost =
        conflict.heads.iter().find(|head| head.content.is_some()).ok_or("nobody changed it")?;
    home.desk.write(|tx| tx.restore(lamp, &lost.version))?;
    home.look(lamp).map(drop)
}

fn two_creations(home: &mut Home) -> Result {
    home.tell(
        "\n5. Two creations. Both derived the id from the serial number, before they ever met.",
    );
    let lamp = EntityId::v5(b"lamps by serial\0", b"HALL-0007");
    let (one, other) = (
        Content::new().with("name", "hall").with("brightness", 10),
        Content::new().with("name", "porch"),
    );
    home.phone.write(|tx| tx.create_with_id(lamp, "lamp", &one))?;
    home.tell(&format!("  phone creates it: {}", text(&one)));
    home.tablet.write(|tx| tx.create_with_id(lamp, "lamp", &other))?;
    home.tell(&format!("  tablet creates it: {}", text(&other)));
    home.look(lamp).map(drop)
}

/// Those that differ, of those that have a name.
const POLICIES: [&str; 4] = ["auto", "update_wins", "last_write_wins", "first_write_wins"];

/// Three devices of one home, and what is told of them.
struct Home {
    seconds: Arc<AtomicI64>,
    phone: Engine,
    tablet: Engine,
    desk: Engine,
    story: String,
}

impl Home {
    fn new() -> Result<Self> {
        let (seconds, draws) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicU64::new(0)));
        let open = |name: &str| device(name, &seconds, &draws).in_memory();
        let (phone, tablet, desk) = (open("phone")?, open("tablet")?, open("desk")?);
        Ok(Home { seconds, phone, tablet, desk, story: String::new() })
    }

    /// Time passes with each line.
    fn tell(&mut self, line: &str) {
        self.seconds.fetch_add(60, Ordering::Relaxed);
        self.story.push_str(line);
        self.story.push('\n');
    }

    /// Everybody syncs with everybody. Each sync ends with a proof that both hold the same.
    fn meet(&self) -> Result {
        let Home { phone, tablet, desk, .. } = self;
        for (a, b) in [(phone, tablet), (tablet, desk), (desk, phone), (phone, tablet)] {
            heirloom_sync::sync_in_process(a, b)?;
        }
        Ok(())
    }

    /// A lamp that all know before each goes its own way.
    fn create(&mut self, content: &Content) -> Result<EntityId> {
        let id = self.phone.write(|tx| tx.create("lamp", content))?;
        self.meet()?;
        self.tell(&format!("  all know: {}", text(content)));
        Ok(id)
    }

    fn write(&mut self, who: &str, id: EntityId, patch: Patch) -> Result {
        let device = match who {
            "phone" => &self.phone,
            "tablet" => &self.tablet,
            _ => &self.desk,
        };
        let after = device.write(|tx| {
            tx.patch(id, patch)?;
            tx.get(id)
        })?;
        self.tell(&format!(
            "  {who} makes it: {}",
            after.map_or("nothing".to_owned(), |e| text(&e.content()))
        ));
        Ok(())
    }

    /// They meet; what is in conflict then, and what it would look like under some policies.
    fn look(&mut self, id: EntityId) -> Result<Option<Conflict>> {
        self.meet()?;
        let conflict = self.desk.snapshot()?.conflict(id)?;
        match &conflict {
            None => self.tell("  They meet; nothing is in conflict:"),
            Some(conflict) => self.tell(&format!("  They meet; in conflict, {:?}:", conflict.kind)),
        }
        for field in conflict.iter().flat_map(|c| &c.fields) {
            let said = field
                .sides
                .iter()
                .map(|s| format!("{} ({} at {})", value(&s.value), s.device, s.stamp));
            self.tell(&format!(
                "    {}: {}",
                field.path.join("."),
                said.collect::<Vec<_>>().join(" against ")
            ));
        }
        let mut shown = Vec::new();
        for policy in POLICIES {
            // a store may be opened under another policy at any time: it only shows
            let viewer = device("viewer", &self.seconds, &Arc::default())
                .policy_named("lamp", policy)
                .in_memory()?;
            heirloom_sync::sync_in_process(&viewer, &self.desk)?;
            let entity = viewer.snapshot()?.get(id)?;
            shown.push(entity.map_or("deleted".to_owned(), |entity| text(&entity.content())));
        }
        if shown.iter().all(|s| *s == shown[0]) {
            self.tell(&format!("    every policy shows {}", shown[0]));
        } else {
            POLICIES
                .iter()
                .zip(shown)
                .for_each(|(p, shown)| self.tell(&format!("    {p:16} shows {shown}")));
        }
        Ok(conflict)
    }
}

/// Each run shall print the same, so time and chance come from here. An application leaves both to
/// the machine.
fn device(name: &str, seconds: &Arc<AtomicI64>, draws: &Arc<AtomicU64>) -> Builder {
    let (seconds, draws) = (seconds.clone(), draws.clone());
    Engine::builder()
        .device_id(name)
        .dataset_name("home")
        .wall_clock(move || {
            Timestamp::from_millis(1_767_225_600_000 + 1_000 * seconds.load(Ordering::Relaxed))
        })
        .entropy(move || u128::from(draws.fetch_add(1, Ordering::Relaxed)).to_be_bytes())
}

fn text(content: &Content) -> String {
    content.iter().map(|(name, v)| format!("{name}={}", value(v))).collect::<Vec<_>>().join(" ")
}

fn value(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Map(map) => format!("({})", text(map)),
        other => format!("{other:?}"),
    }
}
