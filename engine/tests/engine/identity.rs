//! Which log a store writes after its file was copied, moved or restored (R34).

use std::fs;
use std::path::Path;

use heirloom::{Builder, Content, Engine, EntityId, Opened, Patch};

use super::carried::carry;

fn builder() -> Builder {
    Engine::builder().label("phone").dataset_name("home")
}

fn open(path: &Path) -> Engine {
    builder().open(path).unwrap()
}

fn lamp(engine: &Engine, n: i64) -> EntityId {
    engine.write(|tx| tx.create("lamp", &Content::new().with("n", n))).unwrap()
}

#[test]
fn a_file_that_was_copied_goes_on_under_a_log_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copied) = (dir.path().join("store"), dir.path().join("copy"));
    let original = open(&path);
    assert_eq!(original.opened(), Opened::New);
    let id = lamp(&original, 1);
    let (log, node) = (original.log_id().unwrap(), original.replication().node().unwrap());
    original.close().unwrap();
    fs::copy(&path, &copied).unwrap();

    let (original, copy) = (open(&path), open(&copied));
    assert_eq!((original.opened(), copy.opened()), (Opened::Known, Opened::Copied { log }));
    for (engine, n) in [(&original, 2), (&copy, 3)] {
        engine.write(|tx| tx.patch(id, Patch::new().set("n", n))).unwrap();
    }
    assert_eq!(original.log_id(), Some(log));
    assert_ne!(copy.log_id(), Some(log));
    assert_eq!(original.replication().node().unwrap(), node);
    assert_ne!(copy.replication().node().unwrap(), node, "peers take it for another");
    carry(&original, &copy);
    carry(&copy, &original);
    assert_eq!(original.log_root().unwrap(), copy.log_root().unwrap());
    for engine in [&original, &copy] {
        let snapshot = engine.snapshot().unwrap();
        assert_eq!((snapshot.heads(id).unwrap().len(), snapshot.forks().unwrap().len()), (2, 0));
        assert!(engine.verify().unwrap().is_clean());
    }
    let fresh = copy.log_id();
    copy.close().unwrap();
    let copy = open(&copied);
    assert_eq!((copy.opened(), copy.log_id()), (Opened::Known, fresh), "once");
}

#[test]
fn a_copy_that_was_opened_and_not_written_is_still_told_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copied) = (dir.path().join("store"), dir.path().join("copy"));
    let original = open(&path);
    lamp(&original, 1);
    let log = original.log_id().unwrap();
    original.close().unwrap();
    fs::copy(&path, &copied).unwrap();
    for _ in 0..2 {
        let copy = open(&copied);
        assert_eq!(copy.opened(), Opened::Copied { log });
        copy.close().unwrap();
    }
}

#[test]
fn a_file_that_was_renamed_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("store"), dir.path().join("moved"));
    let engine = open(&path);
    lamp(&engine, 1);
    let log = engine.log_id();
    engine.close().unwrap();
    fs::rename(&path, &moved).unwrap();
    let engine = open(&moved);
    assert_eq!((engine.opened(), engine.log_id()), (Opened::Known, log));
}

#[test]
fn another_install_id_tells_a_copy_also_where_there_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let open = |id: &str| builder().install_id(id).open(&path).unwrap();
    let engine = open("one");
    lamp(&engine, 1);
    let log = engine.log_id().unwrap();
    engine.close().unwrap();
    assert_eq!(open("one").opened(), Opened::Known);
    let restored = open("two");
    assert_eq!(restored.opened(), Opened::Copied { log });
    lamp(&restored, 2);
    assert_ne!(restored.log_id(), Some(log));
}

/// A backup that is written into the old file cannot be told at opening; the first sync tells.
#[test]
fn a_file_that_was_set_back_in_place_is_told_by_what_it_receives() {
    let dir = tempfile::tempdir().unwrap();
    let (path, backup) = (dir.path().join("store"), dir.path().join("backup"));
    let hub = builder().label("hub").in_memory().unwrap();
    let phone = open(&path);
    let id = lamp(&phone, 1);
    let log = phone.log_id().unwrap();
    phone.close().unwrap();
    fs::copy(&path, &backup).unwrap();
    let phone = open(&path);
    phone.write(|tx| tx.patch(id, Patch::new().set("n", 2))).unwrap();
    carry(&phone, &hub);
    phone.close().unwrap();
    fs::write(&path, fs::read(&backup).unwrap()).unwrap();

    let phone = open(&path);
    assert_eq!((phone.opened(), phone.log_id()), (Opened::Known, Some(log)));
    carry(&hub, &phone);
    assert_eq!(phone.log_id(), None, "the next write opens a fresh log");
    phone.write(|tx| tx.patch(id, Patch::new().set("n", 3))).unwrap();
    assert!(phone.log_id().is_some_and(|own| own != log));
    assert_eq!(phone.snapshot().unwrap().heads(id).unwrap().len(), 1);
}

#[test]
fn a_store_goes_on_under_a_fresh_log_when_asked() {
    let engine = builder().in_memory().unwrap();
    engine.start_fresh_log().unwrap();
    assert_eq!(engine.log_id(), None);
    let id = lamp(&engine, 1);
    let (log, head) =
        (engine.log_id(), engine.snapshot().unwrap().heads(id).unwrap()[0].reference());
    engine.start_fresh_log().unwrap();
    engine.write(|tx| tx.patch(id, Patch::new().set("n", 2))).unwrap();
    assert_ne!(engine.log_id(), log);
    assert_eq!(engine.snapshot().unwrap().heads(id).unwrap()[0].parents(), [head]);
    assert!(engine.verify().unwrap().is_clean());
}

/// A machine set back as a whole draws again what it drew before, after it has learnt what it once
/// wrote.
#[test]
fn a_log_that_is_here_already_is_never_taken_for_a_fresh_one() {
    let same = || builder().entropy(|| [7; 16]).in_memory().unwrap();
    let before = same();
    let id = lamp(&before, 1);
    let after = same();
    carry(&before, &after);
    after.write(|tx| tx.patch(id, Patch::new().set("n", 2))).unwrap();
    assert_ne!(after.log_id(), before.log_id());
    carry(&after, &before);
    for engine in [&before, &after] {
        assert!(engine.verify().unwrap().is_clean());
        assert_eq!(engine.snapshot().unwrap().forks().unwrap().len(), 0);
    }
    assert_eq!(before.log_root().unwrap(), after.log_root().unwrap());
}
