//! A day of edits to a shopping list, on a phone and a laptop, looked at afterwards: how it was at
//! any time, what changed between two times, who did it, and how to get something back.
#![allow(clippy::print_stdout)]

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use heirloom::{Content, Cursor, Engine, Metadata, Patch, Point, Timestamp, Value};
use heirloom_sync::sync_in_process;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The clock of the example, which both devices share: a day in spring, and always the same.
#[derive(Clone)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn set(&self, time: &str) -> Outcome<Timestamp> {
        let now: Timestamp = format!("2024-05-04T{time}:00.000Z").parse()?;
        self.0.store(now.as_millis(), Ordering::Relaxed);
        Ok(now)
    }

    fn device(&self, label: &str, seed: u8) -> heirloom::Result<Engine> {
        let (clock, drawn) = (self.0.clone(), AtomicI64::new(0));
        // ids that are the same in every run; an application leaves both as they are
        let entropy = move || {
            let n = drawn.fetch_add(1, Ordering::Relaxed) as u8;
            [seed, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]
        };
        Engine::builder()
            .device_id(label)
            .dataset_name("household")
            .wall_clock(move || Timestamp::from_millis(clock.load(Ordering::Relaxed)))
            .entropy(entropy)
            .in_memory()
    }
}

// Not every program that includes this file runs it.
#[allow(dead_code)]
fn main() -> Outcome<()> {
    print!("{}", story()?);
    Ok(())
}

/// The whole story as text; the same every time, since clocks and chance are given.
pub(crate) fn story() -> Outcome<String> {
    let mut out = String::new();
    let clock = Clock(Arc::default());
    let (phone, laptop) = (clock.device("phone", 1)?, clock.device("laptop", 2)?);
    let item = |name: &str, amount: i64| Content::new().with("name", name).with("amount", amount);
    let by = |who: &str, why: &str| Metadata::new().with_actor(who).with_message(why);

    // The day.
    clock.set("08:00")?;
    let (milk, bread) = phone.write_with(by("Ada", "the list for today"), |tx| {
        Ok::<_, heirloom::Error>((
            tx.create("item", &item("milk", 1))?,
            tx.create("item", &item("bread", 1))?,
        ))
    })?;
    sync_in_process(&phone, &laptop)?;
    clock.set("10:30")?;
    laptop.write_with(by("Ben", "guests tonight"), |tx| {
        tx.patch(milk, Patch::new().set("amount", 3))?;
        tx.create("item", &item("cheese", 1))
    })?;
    clock.set("11:15")?;
    phone.write_with(by("Ada", "bought on the way"), |tx| tx.delete(bread))?;
    let noon = clock.set("12:00")?;
    let what_the_phone_knew_at_noon = phone.clock()?;
    clock.set("15:00")?;
    sync_in_process(&phone, &laptop)?;
    clock.set("18:40")?;
    phone.write_with(by("Ada", "the bread was stale"), |tx| {
        let past = phone.snapshot()?;
        let sold = past.history(bread)?.nth(1).ok_or(heirloom::Error::NotFound(bread))??;
        tx.restore(bread, &sold.reference())?;
        tx.patch(bread, Patch::new().set("note", "from the other shop"))
    })?;

    // How it was.
    let snapshot = phone.snapshot()?;
    show(
        &mut out,
        &snapshot,
        "at noon, as the phone saw it",
        Point::from(&what_the_phone_knew_at_noon),
    )?;
    // What the laptop wrote at 10:30 came in the afternoon; by its time it belongs to the morning.
    show(&mut out, &snapshot, "at noon, as we know now", noon)?;
    show(&mut out, &snapshot, "now", Point::Now)?;

    // What changed, entity by entity, field by field.
    writeln!(out, "\nsince noon, as we know now")?;
    for difference in snapshot.diff(noon, Point::Now)? {
        let difference = difference?;
        for field in difference.fields()? {
            let (before, after) = (text(field.before.as_ref()), text(field.after.as_ref()));
            writeln!(out, "  {} {}: {before} -> {after}", name(&difference), field.path.join("."))?;
        }
    }

    // Who did what, in the order in which the phone learnt of it.
    writeln!(out, "\nthe log of the phone")?;
    for change in phone.changes(Cursor::START) {
        let change = change?;
        let shown = change.after()?.or(change.before()?).ok_or("a change of nothing")?;
        writeln!(
            out,
            "  {} {:?} {} by {} ({})",
            &change.stamp().to_string()[11..16],
            change.kind(),
            text(shown.get("name")?.as_ref()),
            change.metadata().actor(),
            change.metadata().message(),
        )?;
    }
    Ok(out)
}

fn show(
    out: &mut String,
    snapshot: &heirloom::Snapshot,
    when: &str,
    point: impl Into<Point>,
) -> Outcome<()> {
    writeln!(out, "\n{when}")?;
    for item in snapshot.as_of(point)?.list("item")? {
        let item = item?;
        writeln!(
            out,
            "  {} {}",
            text(item.get("amount")?.as_ref()),
            text(item.get("name")?.as_ref())
        )?;
    }
    Ok(())
}

fn name(difference: &heirloom::Difference) -> String {
    let content = difference.after.as_ref().or(difference.before.as_ref());
    text(content.and_then(|c| c.get("name")))
}

fn text(value: Option<&Value>) -> String {
    match value {
        None => "nothing".into(),
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Int(n)) => n.to_string(),
        Some(other) => format!("{other:?}"),
    }
}
