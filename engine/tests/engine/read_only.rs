//! Stores that are opened to be read: the file stays as it is, whatever state it is in and whatever
//! is tried (R37).

use std::fs;
use std::path::Path;

use heirloom::{Builder, Content, Engine, EntityId, Error, Opened, Patch};
use redb::{ReadableDatabase, ReadableTableMetadata};

use crate::tables_part::{create_tables, open_tables};

fn builder() -> Builder {
    Engine::builder().label("phone").dataset_name("home").drain_after(None).index("lamp", "n")
}

fn fill(engine: &Engine) -> Vec<EntityId> {
    let one = |n: i64| engine.write(|tx| tx.create("lamp", &Content::new().with("n", n)));
    (0..50).map(|n| one(n).unwrap()).collect()
}

/// A store as a process leaves it that is killed.
fn left_by_a_kill(path: &Path) -> Vec<EntityId> {
    let other = path.with_extension("running");
    let engine = builder().open(&other).unwrap();
    let ids = fill(&engine);
    fs::copy(&other, path).unwrap();
    engine.close().unwrap();
    let log = redb::TableDefinition::<&[u8], &[u8]>::new("log");
    let held = open_tables(path).begin_read().unwrap().open_table(log).unwrap().len().unwrap();
    assert_eq!(held, 0, "the premise: the tables hold nothing yet");
    ids
}

fn refused<T: std::fmt::Debug>(what: Result<T, Error>) {
    assert!(matches!(what, Err(Error::ReadOnly)), "{what:?}");
}

/// Reads all there is, tries to change everything, closes.
fn look_and_try(engine: Engine, ids: &[EntityId]) {
    assert!(engine.is_read_only());
    assert_eq!(engine.opened(), Opened::Known);
    let snapshot = engine.snapshot().unwrap();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(snapshot.get(*id).unwrap().unwrap().get("n").unwrap(), Some((n as i64).into()));
    }
    assert_eq!(snapshot.query("lamp", "n").unwrap().equals(7).count().unwrap(), 1);
    assert!(engine.verify().unwrap().is_clean());

    refused(engine.write(|tx| tx.create("lamp", &Content::new())));
    refused(engine.write(|tx| tx.patch(ids[0], Patch::new().set("n", 8))));
    refused(engine.build_indexes());
    refused(engine.start_fresh_log());
    let replication = engine.replication();
    let node = replication.node().unwrap();
    assert_eq!(replication.node().unwrap(), node);
    refused(replication.ingest(&[b"anything"]));
    engine.drain().unwrap();
    refused(engine.clone().compact_to(std::env::temp_dir().join("heirloom-read-only-compact")));
    drop(snapshot);
    engine.close().unwrap();
}

#[test]
fn a_file_that_is_read_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = builder().open(&path).unwrap();
    let ids = fill(&engine);
    engine.close().unwrap();
    let before = fs::read(&path).unwrap();
    for _ in 0..2 {
        look_and_try(builder().open_read_only(&path).unwrap(), &ids);
        assert!(fs::read(&path).unwrap() == before);
    }
    let engine = builder().open(&path).unwrap();
    assert_eq!(engine.opened(), Opened::Known);
    assert!(!engine.is_read_only());
    assert_eq!(fill(&engine).len(), 50);
}

#[test]
fn what_a_kill_left_is_read_without_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let ids = left_by_a_kill(&path);
    let before = fs::read(&path).unwrap();
    for _ in 0..2 {
        look_and_try(builder().open_read_only(&path).unwrap(), &ids);
        assert!(fs::read(&path).unwrap() == before);
    }
    // and it is as good as ever
    let engine = builder().open(&path).unwrap();
    assert!(engine.snapshot().unwrap().get(ids[49]).unwrap().is_some());
    fill(&engine);
    assert!(engine.verify().unwrap().is_clean());
}

/// A medium that cannot be written: nobody may open the file to write, not even its owner.
#[cfg(unix)]
#[test]
fn a_file_without_the_right_to_write_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let ids = left_by_a_kill(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    look_and_try(builder().open_read_only(&path).unwrap(), &ids);
}

#[test]
fn a_backup_of_what_is_only_read_is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let (path, backup) = (dir.path().join("store"), dir.path().join("backup"));
    let ids = left_by_a_kill(&path);
    let engine = builder().open_read_only(&path).unwrap();
    engine.backup(&backup).unwrap();
    let copy = builder().open(&backup).unwrap();
    assert_eq!(copy.log_root().unwrap(), engine.log_root().unwrap());
    copy.write(|tx| tx.delete(ids[0])).unwrap();
    assert_ne!(copy.log_id(), engine.log_id());
}

#[test]
fn an_index_that_is_not_there_is_not_built_and_answers_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = Engine::builder().dataset_name("home").open(&path).unwrap();
    fill(&engine);
    engine.close().unwrap();
    let engine = builder().open_read_only(&path).unwrap();
    assert!(!engine.indexes().unwrap()[0].ready);
    let snapshot = engine.snapshot().unwrap();
    assert_eq!(snapshot.query("lamp", "n").unwrap().above(39).count().unwrap(), 10);
}

#[test]
fn many_read_and_nobody_writes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let writer = builder().open(&path).unwrap();
    let ids = fill(&writer);
    assert!(matches!(builder().open_read_only(&path), Err(Error::AlreadyOpen)));
    writer.close().unwrap();
    let readers: Vec<_> = (0..3).map(|_| builder().open_read_only(&path).unwrap()).collect();
    assert!(matches!(builder().open(&path), Err(Error::AlreadyOpen)));
    for reader in readers {
        assert!(reader.snapshot().unwrap().get(ids[3]).unwrap().is_some());
        assert!(matches!(builder().open(&path), Err(Error::AlreadyOpen)));
        drop(reader);
    }
    builder().open(&path).unwrap();
}

#[test]
fn nothing_is_made_where_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let missing = Engine::open_read_only(&path);
    assert!(matches!(&missing, Err(Error::NoFile(p)) if *p == path), "{missing:?}");
    assert!(!path.exists());
    for bytes in [&b"a letter"[..], &[0; 9_000]] {
        fs::write(&path, bytes).unwrap();
        let opened = Engine::open_read_only(&path);
        assert!(matches!(opened, Err(Error::NotAStore)), "{opened:?}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    fs::remove_file(&path).unwrap();
    drop(create_tables(&path));
    assert!(
        matches!(Engine::open_read_only(&path), Err(Error::NotAStore)),
        "a database with nothing in it"
    );
}

#[test]
fn the_dataset_must_be_the_one_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = builder().open(&path).unwrap();
    fill(&engine);
    engine.close().unwrap();
    let other = Engine::builder().dataset_name("office").open_read_only(&path);
    assert!(matches!(other, Err(Error::WrongDataset { .. })));
}
