//! A process that forked: whoever did not open the store is refused, and touches nothing of it.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use fork::Fork;
use heirloom::{Builder, Content, Cursor, Engine, EntityId, Error};

fn builder() -> Builder {
    Engine::builder().label("phone").dataset_name("home").index("lamp", "n")
}

fn lamp(engine: &Engine, n: i64) -> EntityId {
    engine.write(|tx| tx.create("lamp", &Content::new().with("n", n))).unwrap()
}

fn is_forked<T>(what: Result<T, Error>) -> bool {
    matches!(what, Err(Error::Forked))
}

/// Runs in a child what answers whether all was right; at its end the child lets go of what it
/// moved there.
fn in_child(act: impl FnOnce() -> bool) {
    match fork::fork().unwrap() {
        Fork::Child => {
            let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            std::process::exit(i32::from(!matches!(right, Ok(true))));
        }
        Fork::Parent(child) => {
            assert_eq!(fork::waitpid(child).unwrap(), 0, "the child found it wrong")
        }
    }
}

fn every_call_is_refused(engine: Engine, path: &Path, id: EntityId) -> bool {
    let replication = engine.replication();
    let mut changes = engine.changes(Cursor::START);
    let mut subscription = engine.subscribe_from(Cursor::START);
    let refused = [
        is_forked(engine.write(|tx| tx.create("lamp", &Content::new()))),
        is_forked(engine.snapshot()),
        is_forked(engine.drain()),
        is_forked(engine.verify()),
        is_forked(engine.repair()),
        is_forked(engine.cursor()),
        is_forked(engine.indexes()),
        is_forked(engine.build_indexes()),
        is_forked(engine.start_fresh_log()),
        is_forked(engine.collection::<Content>("lamp").get(id)),
        is_forked(engine.backup(path.with_extension("backup"))),
        is_forked(replication.position()),
        is_forked(replication.ingest(&[b"anything"])),
        changes.next().is_some_and(is_forked),
        is_forked(subscription.next_timeout(Duration::from_secs(60))),
        is_forked(engine.clone().compact_to(path.with_extension("compact"))),
        is_forked(engine.clone().close()),
    ];
    // and without a close
    drop(engine);
    refused.iter().all(|refused| *refused)
}

/// One test, so that no other thread of this process is in the middle of something.
#[test]
fn a_child_is_refused_at_each_call_and_leaves_the_store_to_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = builder().open(&path).unwrap();
    let id = lamp(&engine, 1);
    let before = fs::read(&path).unwrap();
    let snapshot = engine.snapshot().unwrap();
    in_child(|| every_call_is_refused(engine.clone(), &path, id));
    assert!(fs::read(&path).unwrap() == before, "nothing was written, also not at the child's end");
    // the child let go of everything, and the lock is still the parent's
    assert!(matches!(builder().open(&path), Err(Error::AlreadyOpen)));
    assert!(snapshot.get(id).unwrap().is_some());
    lamp(&engine, 2);

    // the last clone ends in a child
    in_child(move || {
        drop(snapshot);
        drop(engine);
        true
    });
    let engine = builder().open(&path).unwrap();
    assert_eq!(engine.snapshot().unwrap().list("lamp").count().unwrap(), 2);
    assert!(engine.verify().unwrap().is_clean());

    // whoever closes it before may open it in the child
    engine.close().unwrap();
    in_child(|| {
        let engine = builder().open(&path).unwrap();
        lamp(&engine, 3);
        engine.close().is_ok()
    });
    assert_eq!(builder().open(&path).unwrap().snapshot().unwrap().list("lamp").count().unwrap(), 3);

    // what lies in memory would become two stores of one name
    let engine = builder().in_memory().unwrap();
    let id = lamp(&engine, 1);
    in_child(|| every_call_is_refused(engine.clone(), &path, id));
    lamp(&engine, 2);
}
