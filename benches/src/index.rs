//! What an index costs and gives: the same store without, with one and with two, in one run.
//!
//! `cargo run --release -p heirloom-benches --bin index [-- --entities N]`
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use heirloom::{Content, Engine, EntityId, Patch};

/// Entities that share a value.
const ALIKE: usize = 100;
const FIELDS: [&[&str]; 3] = [&[], &["v"], &["v", "w"]];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let entities = args.iter().position(|a| a == "--entities").and_then(|i| args.get(i + 1));
    let entities: usize =
        entities.map_or(50_000, |n| n.parse().expect("--entities takes a number"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = |(n, fields): (u8, _)| (folder.path().join(n.to_string()), fields);
    let stores: Vec<_> = (0..).zip(FIELDS).map(store).collect();
    let beside = |what: &str, seconds: &[f64]| {
        let [none, one, two] = seconds else { unreachable!("three stores") };
        println!("{what}, beside no index: 1 index {:.2}, 2 {:.2}", one / none, two / none);
    };

    let measured = |act: &dyn Fn(&Engine)| -> Vec<f64> {
        stores.iter().map(|(path, fields)| seconds(|| act(&open(path, fields))).1).collect()
    };
    let creations = measured(&|engine| create(engine, entities));
    beside("100 creations a commit", &creations);
    beside("100 patches a commit", &measured(&|engine| patch(engine, 1, 100)));
    beside("1 patch a commit", &measured(&|engine| patch(engine, 25, 1)));

    let (path, fields) = &stores[2];
    let engine = open(path, fields);
    let snapshot = engine.snapshot().expect("a snapshot");
    let query = |field: &str| snapshot.query("lamp", field).expect("an index");
    let values = entities / ALIKE;
    let hits = |value: usize| query("w").equals(value as i64).count().expect("hits");
    let (found, by_value) = seconds(|| (0..values).map(hits).sum::<u64>());
    assert_eq!(found, entities as u64, "each entity has one value");
    let one = |n: usize| query("w").equals((n % values) as i64).limit(1).count().expect("a hit");
    let (found, first) = seconds(|| (0..entities).map(one).sum::<u64>());
    assert_eq!(found, entities as u64);
    let (range, by_range) = seconds(|| query("w").entities().expect("all in order"));
    let (listed, by_list) = seconds(|| snapshot.list("lamp").entities().expect("all"));
    assert_eq!((range.len(), listed.len()), (entities, entities));
    println!(
        "a hit beside a listed entity: {:.2} in a range, {:.2} by value, {:.2} one of {ALIKE}",
        by_range / by_list,
        by_value / by_list,
        first / by_list,
    );
    drop((snapshot, engine));

    let bare = open(&stores[0].0, FIELDS[2]);
    let ((), building) = seconds(|| bare.build_indexes().expect("built"));
    println!("building two indexes beside writing it all: {:.2}", building / creations[0]);
}

fn open(path: &Path, fields: &[&str]) -> Engine {
    let builder = Engine::builder().dataset_name("index").index_in_background(false);
    let builder = fields.iter().fold(builder, |builder, field| builder.index("lamp", field));
    builder.open(path).expect("the store opens")
}

fn seconds<T>(act: impl FnOnce() -> T) -> (T, f64) {
    let begun = Instant::now();
    let done = act();
    (done, begun.elapsed().as_secs_f64())
}

fn create(engine: &Engine, entities: usize) {
    let numbers: Vec<usize> = (0..entities).collect();
    for some in numbers.chunks(100) {
        let all = |tx: &mut heirloom::Transaction<'_>| {
            some.iter().try_for_each(|n| {
                let lamp = Content::new()
                    .with("v", *n as i64)
                    .with("w", (n % (entities / ALIKE).max(1)) as i64)
                    .with("name", format!("lamp {n}"));
                tx.create("lamp", &lamp).map(drop)
            })
        };
        engine.write(all).expect("a commit");
    }
}

/// Every so many entities get another value, so many in a commit.
fn patch(engine: &Engine, every: usize, at_once: usize) {
    let snapshot = engine.snapshot().expect("a snapshot");
    let ids = snapshot.entity_ids().expect("ids").step_by(every);
    let ids: Vec<EntityId> = ids.map(|id| id.expect("an id")).collect();
    drop(snapshot);
    for (value, some) in ids.chunks(at_once).enumerate() {
        let all = |tx: &mut heirloom::Transaction<'_>| {
            some.iter().try_for_each(|id| tx.patch(*id, Patch::new().set("v", value as i64)))
        };
        engine.write(all).expect("a commit");
    }
}
