//! Opening after a kill (R37): the journal holds what the tables do not, and redb never has to walk
//! the file.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use heirloom::{Content, Engine, EntityId};
use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};

use crate::tables_part::{TablesPart, open_tables};

fn lamp(engine: &Engine, n: i64) -> EntityId {
    engine.write(|tx| tx.create("lamp", &Content::new().with("n", n))).unwrap()
}

/// How many pieces of commits redb's tables have in a file as a kill would leave it now, and
/// whether redb has to walk that file.
fn when_killed_now(path: &Path) -> (u64, bool) {
    let left = path.with_extension("left");
    fs::copy(path, &left).unwrap();
    let walked = Arc::new(AtomicBool::new(false));
    let told = walked.clone();
    let mut builder = redb::Database::builder();
    builder.set_repair_callback(move |_| told.store(true, Ordering::Relaxed));
    let file = fs::OpenOptions::new().read(true).write(true).open(&left).unwrap();
    let part = TablesPart::of(redb::backends::FileBackend::new(file).unwrap()).unwrap();
    drop(builder.create_with_backend(part).unwrap());
    let log = TableDefinition::<&[u8], &[u8]>::new("log");
    let pieces = open_tables(&left).begin_read().unwrap().open_table(log).unwrap().len().unwrap();
    let engine = Engine::builder().drain_after(None).open(&left).unwrap();
    assert!(engine.verify().unwrap().is_clean());
    engine.close().unwrap();
    fs::remove_file(&left).unwrap();
    (pieces, walked.load(Ordering::Relaxed))
}

#[test]
fn what_is_killed_opens_with_all_of_it_and_redb_never_walks_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let builder = || Engine::builder().drain_after(None).journal_bytes(0);
    let engine = builder().open(&path).unwrap();
    for n in 0..200 {
        lamp(&engine, n);
        let left = path.with_extension("killed");
        fs::copy(&path, &left).unwrap();
        let again = builder().open(&left).unwrap();
        assert_eq!(again.snapshot().unwrap().list("lamp").count().unwrap(), n as u64 + 1);
        again.close().unwrap();
        fs::remove_file(&left).unwrap();
        if n % 40 == 0 {
            assert!(!when_killed_now(&path).1);
        }
    }
    let (pieces, _) = when_killed_now(&path);
    assert!(pieces > 0, "the premise: a small ring was drained meanwhile");
}

#[test]
fn what_was_drained_needs_no_journal_and_a_second_time_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = Engine::builder().drain_after(None).open(&path).unwrap();
    for n in 0..200 {
        lamp(&engine, n);
    }
    assert_eq!(when_killed_now(&path), (0, false), "the premise");
    engine.drain().unwrap();
    assert_eq!(when_killed_now(&path), (200, false));
    let before = fs::read(&path).unwrap();
    engine.drain().unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
    lamp(&engine, 200);
    assert_eq!(when_killed_now(&path), (200, false));
    engine.close().unwrap();
    assert_eq!(when_killed_now(&path), (201, false), "closing drains");
}

#[test]
fn an_idle_store_is_drained_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = Engine::builder().drain_after(Duration::from_millis(20)).open(&path).unwrap();
    lamp(&engine, 1);
    let begun = Instant::now();
    while when_killed_now(&path).0 == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never is");
        std::thread::sleep(Duration::from_millis(20));
    }
    let begun = Instant::now();
    engine.close().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn readers_see_the_same_while_it_drains() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = Engine::builder().drain_after(None).journal_bytes(0).open(&path).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                engine.drain().unwrap();
            }
        });
        let ids: Vec<_> = (0..300).map(|n| (lamp(&engine, n), n)).collect();
        let held = engine.snapshot().unwrap();
        for round in 0..3 {
            for (id, n) in &ids {
                let change = heirloom::Patch::new().set("n", n + 1000 * (round + 1));
                engine.write(|tx| tx.patch(*id, change)).unwrap();
                let now = engine.snapshot().unwrap();
                let of = |snapshot: &heirloom::Snapshot| {
                    snapshot.get(*id).unwrap().unwrap().get("n").unwrap().unwrap()
                };
                assert_eq!(of(&now), (n + 1000 * (round + 1)).into());
                assert_eq!(of(&held), (*n).into(), "a snapshot stays as it is");
            }
        }
        assert_eq!(held.list("lamp").count().unwrap(), 300);
        over.store(true, Ordering::Relaxed);
    });
    assert!(engine.verify().unwrap().is_clean());
}
