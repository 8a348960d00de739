//! The table of CONFLICTS.md: situations, played on real stores under every policy, in every order
//! of arrival.
//!
//! `UPDATE_DOCS=1 cargo test -p heirloom-tests --test system conflict_table` writes it; without
//! that, a file that says something else fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use heirloom::{
    Conflict, Content, Engine, EntityId, Error, Lsn, Patch, Policy, Resolution, StateDigest,
    Timestamp, Value,
};

/// What is written, in this order in time. `base` is known to everybody before. A device writes
/// fields (`a=1`, `-a` removes one), or does what the word before them says; after `meet` everybody
/// has heard of everything.
struct Situation {
    name: &'static str,
    base: &'static str,
    script: &'static str,
}

const fn row(name: &'static str, base: &'static str, script: &'static str) -> Situation {
    Situation { name, base, script }
}

const SITUATIONS: [Situation; 28] = [
    row("different fields", "a=0 b=0", "phone: a=1; tablet: b=2"),
    row("the same field, among others", "a=0 b=0 c=0", "phone: a=1 b=1; tablet: a=2 c=2"),
    row("equal values", "a=0", "phone: a=1; tablet: a=1"),
    row("different keys of a map", "m.x=0 m.y=0", "phone: m.x=1; tablet: m.y=2"),
    row("the same key of a map", "m.x=0 m.y=0", "phone: m.x=1 m.y=1; tablet: m.x=2"),
    row("a map, then a value", "b=0", "phone: m.x=2; tablet: m=1"),
    row("a value, then a map", "b=0", "phone: m=1; tablet: m.x=2"),
    row("an entry removed, then edited inside", "e.x=0 e.y=0 b=0", "phone: -e; tablet: e.x=1"),
    row("an entry edited inside, then removed", "e.x=0 e.y=0 b=0", "phone: e.x=1; tablet: -e"),
    row(
        "an entry removed, beside two edits",
        "e.x=0 e.y=0",
        "phone: -e; tablet: e.x=1; desk: e.y=2",
    ),
    row(
        "somebody writes in what was removed",
        "e.x=0 e.y=0",
        "phone: -e; tablet: e.x=1; meet; desk: e.y=2",
    ),
    row("a value in the place of a map", "e.x=0 e.y=0", "phone: e.x=1; tablet: e=5"),
    row("a map emptied by two", "m.x=0 m.y=0", "phone: -m.x; tablet: -m.y"),
    row("a change, then a removal", "a=0 b=0", "phone: a=1; tablet: -a"),
    row("a removal, then a change", "a=0 b=0", "phone: -a; tablet: a=1"),
    row("a change, then null", "a=0", "phone: a=1; tablet: a=null"),
    row("a deletion, then an update", "a=0", "phone: delete; tablet: a=2"),
    row("an update, then a deletion", "a=0", "phone: a=2; tablet: delete"),
    row("a deletion among updates", "a=0 b=0", "phone: a=1; tablet: delete; desk: a=3"),
    row("two creations", "", "phone: create lamp a=1 b=1; tablet: create lamp a=2 c=2"),
    row(
        "two creations, different types",
        "",
        "phone: create lamp a=1 b=1; tablet: create light a=2 c=2",
    ),
    row("three heads", "a=0 b=0 c=0", "phone: a=1 b=1; tablet: a=2; desk: a=3 c=3"),
    row("a longer line of versions", "a=0 b=0", "phone: a=1; phone: b=1; tablet: a=2"),
    row("a robot writes beside it", "a=0 n=0", "phone: a=1; tablet: a=2; meet; desk: n=1"),
    row(
        "a robot writes beside a deletion",
        "a=0 n=0",
        "phone: delete; tablet: a=2; meet; desk: n=1",
    ),
    row(
        "two people decide alike",
        "a=0",
        "phone: a=1; tablet: a=2; meet; phone: resolve a=1; tablet: resolve a=1",
    ),
    row(
        "two people differ",
        "a=0",
        "phone: a=1; tablet: a=2; meet; phone: resolve a=3; tablet: resolve a=4",
    ),
    row(
        "the loser is brought back",
        "a=0",
        "phone: delete; tablet: a=2; meet; phone: restore tablet",
    ),
];

/// Policies that show the same of every situation share a column.
fn columns() -> Vec<Vec<Policy>> {
    let same_as_auto = vec![Policy::Auto, Policy::MergeFields, Policy::DeleteWins, Policy::Manual];
    let others = [
        Policy::UpdateWins,
        Policy::LastWriteWins,
        Policy::FirstWriteWins,
        Policy::HigherVersionWins,
    ];
    let others = others.into_iter().chain([greatest()]).map(|policy| vec![policy]);
    [same_as_auto].into_iter().chain(others).collect()
}

/// As CONFLICTS.md has it.
fn greatest() -> Policy {
    Policy::custom("greatest", 1, |conflict| {
        let mut patch = Patch::new();
        for field in &conflict.fields {
            let numbers = field.sides.iter().filter_map(|s| s.value.as_int());
            if let Some(greatest) = numbers.max() {
                patch = patch.set_at(&field.path, greatest);
            }
        }
        Resolution::Patch(patch)
    })
}

// --- playing

const DEVICES: [&str; 3] = ["phone", "tablet", "desk"];

struct World {
    devices: BTreeMap<&'static str, Engine>,
    policy: Policy,
    id: EntityId,
}

fn store(name: &str, policy: &Policy, now: &Arc<AtomicI64>) -> Engine {
    let now = now.clone();
    Engine::builder()
        .device_id(name)
        .dataset_name("table")
        .policy("lamp", policy.clone())
        .wall_clock(move || Timestamp::from_millis(now.load(Ordering::Relaxed)))
        .in_memory()
        .unwrap()
}

impl World {
    fn play(situation: &Situation, policy: &Policy) -> Self {
        let now = Arc::new(AtomicI64::new(1_700_000_000_000));
        let devices = DEVICES.into_iter().map(|name| (name, store(name, policy, &now))).collect();
        let world = Self { devices, policy: policy.clone(), id: EntityId::v5(&[1; 16], b"table") };
        if !situation.base.is_empty() {
            world.write("phone", &format!("create lamp {}", situation.base));
            world.meet();
        }
        for step in situation.script.split("; ") {
            now.fetch_add(1_000, Ordering::Relaxed);
            match step.split_once(": ") {
                Some((device, what)) => world.write(device, what),
                None => world.meet(),
            }
        }
        world.meet();
        world
    }

    fn write(&self, device: &str, what: &str) {
        let (engine, id) = (&self.devices[device], self.id);
        let (word, rest) = what.split_once(' ').unwrap_or((what, ""));
        let conflict = engine.snapshot().unwrap().conflict(id).unwrap();
        let written = engine.write(|tx| match word {
            "create" => {
                let (entity_type, fields) = rest.split_once(' ').unwrap_or((rest, ""));
                let content = heirloom::apply_patch(&patch(fields), &Content::new())?;
                tx.create_with_id(id, entity_type, &content)
            }
            "delete" => tx.delete(id),
            "resolve" => {
                tx.resolve(id, &conflict.as_ref().map_or(Vec::new(), Conflict::seen), patch(rest))
            }
            "restore" => {
                let snapshot = engine.snapshot()?;
                let mut history = snapshot.history(id)?.map(Result::unwrap);
                tx.restore(id, &history.find(|v| v.device() == rest).unwrap().reference())
            }
            _ => tx.patch(id, patch(what)),
        });
        // what is shown as deleted takes no write
        assert!(
            matches!(written, Ok(()) | Err(Error::Deleted(_))),
            "{device}: {what}: {written:?}"
        );
    }

    /// Everybody hears of everything.
    fn meet(&self) {
        for _ in 0..2 {
            for pair in DEVICES.windows(2) {
                heirloom_sync::sync_in_process(&self.devices[pair[0]], &self.devices[pair[1]])
                    .unwrap();
            }
        }
    }

    /// All that was written, one commit each.
    fn commits(&self) -> Vec<Vec<u8>> {
        let batch = self.devices["phone"]
            .replication()
            .commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)
            .unwrap();
        batch.commits.into_iter().map(|c| c.bytes.to_vec()).collect()
    }

    /// What stores show that hear of it in every order that there can be; all the same.
    fn shown(&self) -> Shown {
        let commits = self.commits();
        let found = arrivals(&commits, &self.policy, self.id);
        let expected = Shown::at(&self.devices["phone"], self.id);
        for (order, shown) in &found {
            assert_eq!(*shown, expected, "{}: arrival in order {order:?}", self.policy);
        }
        expected
    }
}

/// What a store shows, and what must be the same with it.
#[derive(Clone, PartialEq, Debug)]
struct Shown {
    cell: String,
    entity_type: String,
    conflict: Option<Conflict>,
    digest: StateDigest,
}

impl Shown {
    fn at(engine: &Engine, id: EntityId) -> Self {
        let snapshot = engine.snapshot().unwrap();
        let entity = snapshot.get_any(id).unwrap().unwrap();
        let mut cell = Vec::new();
        match entity.is_deleted() {
            true => cell.push("deleted".to_owned()),
            false => entity.content().iter().for_each(|(name, value)| leaf(name, value, &mut cell)),
        }
        let conflict = snapshot.conflict(id).unwrap();
        assert_eq!(entity.is_conflicted(), conflict.is_some());
        cell.extend(conflict.is_some().then(|| "!".to_owned()));
        let digest = snapshot.state_digest().unwrap();
        Shown {
            cell: cell.join(" "),
            entity_type: entity.entity_type().to_owned(),
            conflict,
            digest,
        }
    }
}

/// Plays commits to fresh stores in every order in which no commit comes before one that it builds
/// on.
fn arrivals(commits: &[Vec<u8>], policy: &Policy, id: EntityId) -> Vec<(Vec<usize>, Shown)> {
    let now = Arc::new(AtomicI64::new(0));
    let (mut todo, mut out) = (vec![Vec::new()], Vec::new());
    while let Some(order) = todo.pop() {
        let reader = store("reader", policy, &now);
        let mut arrive = order.iter().map(|i: &usize| reader.replication().ingest(&[&commits[*i]]));
        match arrive.find_map(Result::err) {
            Some(Error::OutOfOrder { .. }) => continue,
            Some(error) => panic!("{error}"),
            None if order.len() == commits.len() => {
                let shown = Shown::at(&reader, id);
                out.push((order, shown));
            }
            None => {
                let missing = (0..commits.len()).filter(|i| !order.contains(i));
                todo.extend(missing.map(|i| order.iter().copied().chain([i]).collect::<Vec<_>>()));
            }
        }
    }
    out
}

fn patch(fields: &str) -> Patch {
    let keys = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
    fields.split_whitespace().fold(Patch::new(), |patch, field| match field.split_once('=') {
        Some((path, "null")) => patch.set_at(keys(path), Value::Null),
        Some((path, number)) => patch.set_at(keys(path), number.parse::<i64>().unwrap()),
        None => patch.unset_at(keys(field.strip_prefix('-').unwrap())),
    })
}

fn leaf(path: &str, value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Map(map) if map.is_empty() => out.push(format!("{path}={{}}")),
        Value::Map(map) => {
            map.iter().for_each(|(key, below)| leaf(&format!("{path}.{key}"), below, out))
        }
        Value::Int(n) => out.push(format!("{path}={n}")),
        Value::Null => out.push(format!("{path}=null")),
        other => panic!("{other:?} is in no situation"),
    }
}

// --- the table

fn table() -> String {
    let columns = columns();
    let heading = |policies: &Vec<Policy>| match &policies[..] {
        [Policy::Custom(_)] => "custom".to_owned(),
        policies => policies.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(" "),
    };
    let headings = columns.iter().map(heading).collect::<Vec<_>>().join(" | ");
    let mut out = format!(
        "| situation | before | written | {headings} |\n|{}\n",
        "---|".repeat(columns.len() + 3)
    );
    for situation in &SITUATIONS {
        let cells = columns.iter().map(|policies| {
            let shown: Vec<_> =
                policies.iter().map(|policy| World::play(situation, policy).shown().cell).collect();
            assert!(
                shown.windows(2).all(|w| w[0] == w[1]),
                "{}: {policies:?} show {shown:?}",
                situation.name
            );
            shown[0].clone()
        });
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let script = situation.script.replace("; ", " · ").replace("meet", "*meet*");
        out.push_str(&format!(
            "| {} | {} | {script} | {cells} |\n",
            situation.name, situation.base
        ));
    }
    out
}

const BEGIN: &str =
    "<!-- table: UPDATE_DOCS=1 cargo test -p heirloom-tests --test system conflict_table -->\n";
const END: &str = "<!-- end of table -->";

#[test]
fn the_table_in_the_guide_is_what_the_engine_shows_in_every_order_of_arrival() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/CONFLICTS.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let (before, rest) =
        guide.split_once(BEGIN).expect("the guide has the comment before the table");
    let (found, after) = rest.split_once(END).expect("the guide has the comment after the table");
    let table = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        let differ = found.lines().zip(table.lines()).find(|(a, b)| a != b);
        assert!(
            found == table,
            "CONFLICTS.md differs: {differ:?}; run this with UPDATE_DOCS=1 and look at the change"
        );
    }
}

#[test]
fn all_orders_of_arrival_are_played() {
    // three concurrent writes on one creation: six orders
    let situation = row("", "a=0", "phone: a=1; tablet: a=2; desk: a=3");
    let world = World::play(&situation, &Policy::Auto);
    let orders = arrivals(&world.commits(), &Policy::Auto, world.id);
    assert_eq!(orders.len(), 6);
    assert!(orders.iter().any(|(order, _)| order.ends_with(&[1])), "the oldest last");
}
