//! Files that are no store, of a newer version, of another dataset, or in use.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use heirloom::{Content, DatasetId, Engine, Error};
use heirloom_tests::specimen::{self, builder, entity, replace, rows, seal, survey};
use heirloom_tests::tables_part::{create_tables, open_tables};
use heirloom_tests::twins;
use redb::Database;

fn text_of(error: &Error) -> String {
    let text = error.to_string();
    assert!(text.len() > 20, "an error says what to do: {text}");
    text
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    specimen::write(&path);
    let before = survey(&builder().open(&path).unwrap());
    let newer = seal(b"format", &[2]);
    replace(&path, "meta", b"format", Some((b"format", &newer)));
    let kept = rows(&path);
    let error = builder().open(&path).unwrap_err();
    assert!(matches!(error, Error::UnknownFormat { found: 2, known: 1 }), "{error:?}");
    assert!(text_of(&error).contains("newer heirloom"));
    assert_eq!(rows(&path), kept);
    replace(&path, "meta", b"format", Some((b"format", &seal(b"format", &[1]))));
    assert_eq!(survey(&builder().open(&path).unwrap()), before);
}

#[test]
fn files_that_are_no_store_are_told_apart_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other");
    let database = create_tables(&path);
    let tx = database.begin_write().unwrap();
    tx.open_table(specimen::table("somebody else's"))
        .unwrap()
        .insert(&b"k"[..], &b"v"[..])
        .unwrap();
    tx.commit().unwrap();
    drop(database);
    assert!(matches!(builder().open(&path), Err(Error::NotAStore)));
    let database = open_tables(&path);
    let tx = database.begin_write().unwrap();
    tx.open_table(redb::TableDefinition::<u64, u64>::new("meta")).unwrap().insert(1, 2).unwrap();
    tx.commit().unwrap();
    drop(database);
    let error = builder().open(&path).unwrap_err();
    assert!(matches!(error, Error::NotAStore), "{error:?}");
    assert!(text_of(&error).contains("another path"));

    let plain = dir.path().join("a database of redb's");
    drop(Database::create(&plain).unwrap());
    assert!(matches!(builder().open(&plain), Err(Error::NotAStore)));

    let letter = dir.path().join("letter");
    let text = "Dear reader, this is no database. ".repeat(1_000);
    fs::write(&letter, &text).unwrap();
    let error = builder().open(&letter).unwrap_err();
    assert!(matches!(error, Error::NotAStore | Error::Storage(_)), "{error:?}");
    assert_eq!(fs::read_to_string(&letter).unwrap(), text);
    assert!(matches!(builder().open(dir.path()), Err(Error::NotAFile { .. })), "a folder");
    assert!(matches!(builder().open(dir.path().join("no/such/folder")), Err(Error::Storage(_))));
}

#[test]
fn a_store_opens_only_under_its_own_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    specimen::write(&path);
    let before = survey(&builder().open(&path).unwrap());
    let error = builder().dataset_name("another").open(&path).unwrap_err();
    let (ours, theirs) = (DatasetId::from_name(specimen::DATASET), DatasetId::from_name("another"));
    assert!(
        matches!(
            &error,
            Error::WrongDataset { ours: o, theirs: t } if o.id == ours && t.id == theirs
        ),
        "{error:?}"
    );
    for name in [specimen::DATASET, "another"] {
        assert!(text_of(&error).contains(&format!("{name:?}")), "{error}");
    }
    let unnamed = Engine::builder().index("lamp", "n").local_type("draft");
    let engine = unnamed.open(&path).unwrap();
    assert_eq!(engine.dataset(), Some(ours), "who names none gets that of the file");
    assert!(matches!(engine.replication().adopt(theirs), Err(Error::WrongDataset { .. })));
    assert_eq!(survey(&engine), before);
}

#[test]
fn two_stores_with_data_of_different_datasets_never_mix() {
    let one = builder().in_memory().unwrap();
    let other = builder().dataset_name("another").in_memory().unwrap();
    for engine in [&one, &other] {
        engine
            .write(|tx| tx.create_with_id(entity(1), "lamp", &Content::new().with("n", 1)))
            .unwrap();
    }
    for (from, to) in [(&one, &other), (&other, &one)] {
        let before = survey(to);
        let error = twins::ingest(to, &twins::commits_of(from)[0]).unwrap_err();
        assert!(matches!(error, Error::WrongDataset { .. }), "{error:?}");
        text_of(&error);
        assert_eq!(survey(to), before);
        assert!(to.verify().unwrap().is_clean());
    }
    let error = heirloom_sync::sync_in_process(&one, &other).unwrap_err();
    assert!(matches!(error, heirloom_sync::SyncError::WrongDataset { .. }), "{error:?}");
}

/// Where this is set the test below is another process that holds the store in the file named.
const HOLD: &str = "HEIRLOOM_TEST_HOLD";

/// Not a test by itself: what `a_second_process_is_told_that_the_store_is_open` starts.
#[test]
fn holds_a_store_while_it_is_told_to() {
    let Some(path) = std::env::var_os(HOLD) else { return };
    let engine = builder().open(Path::new(&path)).unwrap();
    engine
        .write(|tx| tx.create_with_id(entity(40), "lamp", &Content::new().with("by", "child")))
        .unwrap();
    std::io::stdout().write_all(b"\nit holds\n").unwrap();
    std::io::stdout().flush().unwrap();
    std::io::stdin().lines().for_each(drop); // until the parent closes it, or ends this process
    engine.close().unwrap();
}

#[test]
fn a_second_process_is_told_that_the_store_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for killed in [false, true] {
        specimen::write(&path);
        let before = survey(&builder().open(&path).unwrap());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "bad_input::files::holds_a_store_while_it_is_told_to", "--nocapture"])
            .env(HOLD, &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "it holds"));
        let error = builder().open(&path).unwrap_err();
        assert!(matches!(error, Error::AlreadyOpen), "{error:?}");
        assert!(text_of(&error).contains("close it there"));
        if killed {
            child.kill().unwrap();
        } else {
            drop(child.stdin.take());
        }
        assert_eq!(child.wait().unwrap().success(), !killed);
        let engine = builder().open(&path).unwrap();
        assert!(
            engine.snapshot().unwrap().get(entity(40)).unwrap().is_some(),
            "what the other wrote is here"
        );
        assert!(engine.verify().unwrap().is_clean());
        let after = survey(&engine);
        let of_entities = |name: &&String| name.starts_with("entity");
        assert!(before.keys().filter(of_entities).all(|name| before[name] == after[name]));
        engine.close().unwrap();
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_second_engine_of_this_process_is_told_so_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    specimen::write(&path);
    let first = builder().open(&path).unwrap();
    let before = survey(&first);
    assert!(matches!(builder().open(&path), Err(Error::AlreadyOpen)));
    first.write(|tx| tx.delete(entity(9))).unwrap();
    let (snapshot, clone) = (first.snapshot().unwrap(), first.clone());
    first.close().unwrap();
    assert!(matches!(clone.write(|tx| tx.delete(entity(8))), Err(Error::Closed)));
    assert!(matches!(clone.snapshot(), Err(Error::Closed)));
    let again = builder().open(&path).unwrap();
    // what a snapshot has in memory it may still tell, but never what the file has become since
    again.write(|tx| tx.delete(entity(8))).unwrap();
    for id in [0, 1, 7, 8, 20, 21].map(entity) {
        assert!(matches!(snapshot.get(id), Ok(Some(_)) | Err(Error::Closed)));
    }
    drop(snapshot);
    assert!(again.snapshot().unwrap().get(entity(9)).unwrap().is_none());
    let unchanged = |name: &&String| {
        name.starts_with("content of") || name.starts_with(&format!("entity {}", entity(7)))
    };
    let after = survey(&again);
    assert!(before.keys().filter(unchanged).all(|name| before[name] == after[name]));
}
