//! Opening after a kill (R37): quick if the last commit noted which pages are free, and right in
//! any case.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use heirloom::{Content, Engine, EntityId};

fn lamp(engine: &Engine, n: i64) -> EntityId {
    engine.write(|tx| tx.create("lamp", &Content::new().with("n", n))).unwrap()
}

/// Whether redb has to walk the file that a process which is killed now would leave.
fn is_repaired_when_killed_now(path: &Path) -> bool {
    let left = path.with_extension("left");
    fs::copy(path, &left).unwrap();
    let walked = Arc::new(AtomicBool::new(false));
    let told = walked.clone();
    let mut builder = redb::Database::builder();
    builder.set_repair_callback(move |_| told.store(true, Ordering::Relaxed));
    if builder.open(&left).is_err() {
        // copied while it is marked clean
        return true;
    }
    let engine = Engine::builder().mark_clean_after(None).open(&left).unwrap();
    assert!(engine.verify().unwrap().is_clean());
    engine.close().unwrap();
    fs::remove_file(&left).unwrap();
    walked.load(Ordering::Relaxed)
}

#[test]
fn marking_a_file_clean_makes_the_next_opening_quick_until_something_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = Engine::builder().mark_clean_after(None).open(&path).unwrap();
    for n in 0..200 {
        lamp(&engine, n);
    }
    assert!(is_repaired_when_killed_now(&path), "the premise");
    engine.mark_clean().unwrap();
    assert!(!is_repaired_when_killed_now(&path));
    let before = fs::read(&path).unwrap();
    engine.mark_clean().unwrap();
    assert_eq!(fs::read(&path).unwrap(), before, "a second one writes nothing");
    lamp(&engine, 200);
    assert!(is_repaired_when_killed_now(&path));
}

#[test]
fn an_opening_that_recovered_the_file_can_be_made_quick_without_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let (running, path) = (dir.path().join("running"), dir.path().join("store"));
    let open = |path: &Path| Engine::builder().mark_clean_after(None).open(path).unwrap();
    let engine = open(&running);
    lamp(&engine, 1);
    fs::copy(&running, &path).unwrap();
    let again = open(&path);
    assert!(is_repaired_when_killed_now(&path), "the premise");
    again.mark_clean().unwrap();
    assert!(!is_repaired_when_killed_now(&path));
}

#[test]
fn an_idle_store_marks_its_file_clean_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = Engine::builder().mark_clean_after(Duration::from_millis(20)).open(&path).unwrap();
    lamp(&engine, 1);
    let begun = Instant::now();
    while is_repaired_when_killed_now(&path) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never does");
        std::thread::sleep(Duration::from_millis(20));
    }
    let begun = Instant::now();
    engine.close().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
}
