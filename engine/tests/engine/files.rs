//! The file of a store in wrong hands: what is no file, what changes while it is open, and who may
//! read it beside whoever writes it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use heirloom::{Builder, Content, Engine, EntityId, Error, Opened, Patch};
use tempfile::TempDir;

use crate::tables_part::tables_at;

fn builder() -> Builder {
    Engine::builder().label("phone").dataset_name("home").drain_after(None)
}

fn lamp(engine: &Engine, n: i64) -> EntityId {
    engine.write(|tx| tx.create("lamp", &Content::new().with("n", n))).unwrap()
}

fn count(engine: &Engine) -> u64 {
    engine.snapshot().unwrap().list("lamp").count().unwrap()
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn try_all(path: &Path) -> [Result<Engine, Error>; 4] {
    [
        builder().open(path),
        builder().must_exist().open(path),
        builder().open_read_only(path),
        builder().shared().open_read_only(path),
    ]
}

#[test]
fn a_new_store_is_all_that_stands_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = builder().open(&path).unwrap();
    assert_eq!(engine.opened(), Opened::New);
    assert_eq!(names(&dir), ["store"]);
    lamp(&engine, 1);
    engine.close().unwrap();
    assert_eq!(builder().open(&path).unwrap().opened(), Opened::Known);
    assert_eq!(names(&dir), ["store"]);
}

#[test]
fn a_store_that_must_exist_is_not_made_and_one_that_must_be_new_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let missing = builder().must_exist().open(&path);
    assert!(matches!(&missing, Err(Error::NoFile(p)) if *p == path), "{missing:?}");
    assert_eq!(names(&dir), [""; 0]);
    builder().must_be_new().open(&path).unwrap().close().unwrap();
    let taken = builder().must_be_new().open(&path);
    assert!(matches!(&taken, Err(Error::FileExists(p)) if *p == path), "{taken:?}");
    assert_eq!(builder().must_exist().open(&path).unwrap().opened(), Opened::Known);
    // the last word counts
    builder().must_be_new().must_exist().open(&path).unwrap();
    assert!(builder().must_exist().must_be_new().open(&path).is_err());
}

#[test]
fn of_many_who_make_one_store_one_does_and_no_other_gets_half_of_it() {
    for wanted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let open = || {
            let builder = if wanted { builder().must_be_new() } else { builder() };
            builder.open(&path).map(|engine| (engine.opened(), engine))
        };
        let all: Vec<_> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..8).map(|_| s.spawn(open)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        // all that succeeded are kept open until here
        assert_eq!(all.iter().filter(|r| matches!(r, Ok((Opened::New, _)))).count(), 1);
        for refused in all.iter().filter_map(|r| r.as_ref().err()) {
            assert!(matches!(refused, Error::AlreadyOpen | Error::FileExists(_)), "{refused:?}");
        }
        assert_eq!(all.iter().filter(|r| r.is_ok()).count(), 1);
        drop(all);
        assert_eq!(names(&dir), ["store"]);
    }
}

#[test]
fn a_file_that_was_cut_to_nothing_is_no_new_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = builder().open(&path).unwrap();
    lamp(&engine, 1);
    engine.close().unwrap();
    fs::write(&path, b"").unwrap();
    for opened in try_all(&path) {
        assert!(matches!(&opened, Err(Error::EmptyFile(p)) if *p == path), "{opened:?}");
    }
    assert!(matches!(builder().must_be_new().open(&path), Err(Error::FileExists(_))));
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_said_to_be_none_by_name_and_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
    std::os::unix::fs::symlink("/dev/null", at("null")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(at("pipe")).status();
    assert!(made.is_ok_and(|s| s.success()), "mkfifo is part of every Unix");
    let before = names(&dir);
    let source = builder().in_memory().unwrap();
    lamp(&source, 1);
    for (name, expected) in [
        ("directory", "a directory"),
        ("socket", "a socket"),
        ("link", "a link that leads nowhere"),
        ("null", "a device"),
        ("pipe", "a pipe"),
    ] {
        for opened in try_all(&at(name)) {
            let Err(Error::NotAFile { path, what }) = &opened else { panic!("{name}: {opened:?}") };
            assert_eq!((path, *what), (&at(name), expected));
        }
        assert!(matches!(builder().must_be_new().open(at(name)), Err(Error::FileExists(_))));
        // nothing is written over either
        assert!(matches!(source.backup(at(name)), Err(Error::FileExists(_))), "{name}");
        let compacted = source.clone().compact_to(at(name));
        assert!(matches!(compacted, Err(Error::FileExists(_))), "{name}: {compacted:?}");
    }
    assert_eq!(names(&dir), before);
    assert_eq!(count(&source), 1);
    // below a file there is nothing
    fs::write(at("file"), b"a letter").unwrap();
    let below = at("file").join("store");
    assert!(matches!(builder().open(&below), Err(Error::Storage(_))));
    assert!(matches!(source.backup(&below), Err(Error::NotWritten { .. })));
    // and a link to a store is the store
    builder().open(at("store")).unwrap().close().unwrap();
    std::os::unix::fs::symlink(at("store"), at("to-store")).unwrap();
    assert_eq!(builder().open(at("to-store")).unwrap().opened(), Opened::Known);
}

/// What may happen to a file behind the back of whoever has it open, and what the error says of it.
type Mishap = (&'static str, fn(&Path));

/// What happens where somebody else goes on with the journal.
fn written_over_the_journal(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let mut blocks = bytes[..tables_at(&bytes) as usize].chunks(4096);
    let last = blocks.rposition(|block| block.iter().any(|byte| *byte != 0)).unwrap();
    bytes[last * 4096] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn mishaps() -> Vec<Mishap> {
    let mut all: Vec<Mishap> = vec![
        ("it was cut", |path| {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(9_000).unwrap()
        }),
        ("it was cut", |path| fs::write(path, b"").unwrap()),
        ("something was added to it", |path| {
            let len = fs::metadata(path).unwrap().len();
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len + 1).unwrap();
        }),
        ("something else was written over it", |path| {
            // an older state of the very same length, written into the file
            let mut bytes = fs::read(path).unwrap();
            let header = tables_at(&bytes) as usize + 100;
            bytes[header] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
    ];
    if cfg!(unix) {
        all.extend([
            (
                "nothing is at its path any more",
                (|path| fs::remove_file(path).unwrap()) as fn(&Path),
            ),
            ("nothing is at its path any more", |path| {
                fs::rename(path, path.with_extension("moved")).unwrap();
            }),
            ("nothing is at its path any more", |path| {
                fs::hard_link(path, path.with_extension("kept")).unwrap();
                fs::remove_file(path).unwrap();
            }),
            ("another file is at its path", |path| {
                fs::copy(path, path.with_extension("copy")).unwrap();
                fs::rename(path.with_extension("copy"), path).unwrap();
            }),
        ]);
    }
    all
}

fn is_changed<T: std::fmt::Debug>(what: Result<T, Error>, expected: &str) {
    let Err(Error::FileChanged { what, .. }) = &what else { panic!("{expected}: {what:?}") };
    assert_eq!(*what, expected);
}

#[test]
fn a_journal_that_somebody_else_goes_on_with_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = builder().open(&path).unwrap();
    lamp(&engine, 1);
    written_over_the_journal(&path);
    let then = fs::read(&path).unwrap();
    let written = engine.write(|tx| tx.create("lamp", &Content::new()));
    is_changed(written, "something else was written over it");
    is_changed(engine.close(), "something else was written over it");
    assert_eq!(fs::read(&path).unwrap(), then);
}

#[test]
fn a_file_that_changes_while_it_is_open_is_noticed_at_the_next_commit_and_not_written_any_more() {
    for (expected, mishap) in mishaps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let engine = builder().open(&path).unwrap();
        lamp(&engine, 1);
        mishap(&path);
        let then = fs::read(&path).ok();
        is_changed(engine.write(|tx| tx.create("lamp", &Content::new())), expected);
        // from then on, whatever is tried
        is_changed(engine.write(|tx| tx.create("lamp", &Content::new())), expected);
        is_changed(engine.drain(), expected);
        is_changed(engine.start_fresh_log(), expected);
        is_changed(engine.verify(), expected);
        is_changed(engine.close(), expected);
        assert!(fs::read(&path).ok() == then, "{expected}: what is there now is not ours to write");
        if expected == "another file is at its path" {
            // what was put there is a store, and opens as one
            assert_eq!(count(&builder().open(&path).unwrap()), 1);
        }
    }
}

#[test]
fn a_file_that_changes_while_it_is_open_is_noticed_by_verify_and_not_written_by_closing() {
    for (expected, mishap) in mishaps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let engine = builder().open(&path).unwrap();
        lamp(&engine, 1);
        mishap(&path);
        let then = fs::read(&path).ok();
        is_changed(engine.verify(), expected);
        drop(engine);
        assert!(fs::read(&path).ok() == then, "{expected}");
    }
}

#[cfg(unix)]
#[test]
fn what_was_removed_can_still_be_read_and_saved_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (path, saved) = (dir.path().join("store"), dir.path().join("saved"));
    let engine = builder().open(&path).unwrap();
    lamp(&engine, 1);
    fs::remove_file(&path).unwrap();
    is_changed(
        engine.write(|tx| tx.create("lamp", &Content::new())),
        "nothing is at its path any more",
    );
    assert_eq!(count(&engine), 1);
    engine.backup(&saved).unwrap();
    drop(engine);
    assert_eq!(count(&builder().must_exist().open(&saved).unwrap()), 1);
}

/// Its length and first bytes are its own; whether it is told is the same question.
#[test]
fn a_file_that_is_only_read_is_looked_at_by_verify_too() {
    for (expected, mishap) in mishaps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let engine = builder().open(&path).unwrap();
        lamp(&engine, 1);
        engine.close().unwrap();
        let engine = builder().open_read_only(&path).unwrap();
        assert!(engine.verify().unwrap().is_clean());
        mishap(&path);
        is_changed(engine.verify(), expected);
    }
}

#[test]
fn readers_follow_a_writer_in_another_process_and_see_each_commit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let hub = builder().shared().open(&path).unwrap();
    let id = lamp(&hub, 0);
    let viewers: Vec<_> =
        (0..2).map(|_| builder().shared().open_read_only(&path).unwrap()).collect();
    assert!(viewers.iter().all(|v| v.is_read_only() && v.dataset() == hub.dataset()));
    for n in 1..20 {
        // entity types, logs and peers that come into being later, too
        hub.write(|tx| {
            tx.patch(id, Patch::new().set("n", n))?;
            tx.create(&format!("type-{n}"), &Content::new().with("n", n))
        })
        .unwrap();
        if n == 10 {
            hub.start_fresh_log().unwrap();
        }
        for viewer in &viewers {
            let snapshot = viewer.snapshot().unwrap();
            assert_eq!(
                snapshot.get(id).unwrap().unwrap().get("n").unwrap(),
                Some(i64::from(n).into())
            );
            assert_eq!(
                snapshot.get(id).unwrap().unwrap().get("n").unwrap(),
                Some(i64::from(n).into())
            );
            assert_eq!(snapshot.list(&format!("type-{n}")).count().unwrap(), 1);
            assert_eq!(viewer.log_root().unwrap(), hub.log_root().unwrap());
            assert_eq!(viewer.state_digest().unwrap(), hub.state_digest().unwrap());
        }
    }
    let changes = |engine: &Engine| engine.changes(heirloom::Cursor::START).count();
    assert_eq!(changes(&viewers[0]), changes(&hub));
    assert!(viewers[0].verify().unwrap().is_clean());
    assert!(matches!(viewers[0].write(|tx| tx.delete(id)), Err(Error::ReadOnly)));
    assert_eq!(viewers[0].clocks_ahead().unwrap(), []);

    // a snapshot stays what it was
    let before = viewers[1].snapshot().unwrap();
    hub.write(|tx| tx.delete(id)).unwrap();
    assert!(viewers[1].snapshot().unwrap().get(id).unwrap().is_none());
    assert!(before.get(id).unwrap().is_some());

    // the writer ends, another begins, and the readers go on
    hub.close().unwrap();
    assert_eq!(changes(&viewers[0]), changes(&viewers[1]));
    let hub = builder().shared().open(&path).unwrap();
    let id = lamp(&hub, 99);
    assert!(viewers[0].snapshot().unwrap().get(id).unwrap().is_some());
}

#[test]
fn a_subscription_beside_a_writer_in_another_process_is_told_soon() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let hub = builder().shared().open(&path).unwrap();
    let viewer = builder().shared().open_read_only(&path).unwrap();
    let mut lamps = viewer.subscribe().unwrap().of_type("lamp");
    assert!(lamps.next_timeout(Duration::from_millis(250)).unwrap().is_none());
    let listener = std::thread::spawn(move || (lamps.next().unwrap(), lamps));
    let id = lamp(&hub, 1);
    let (change, mut lamps) = listener.join().unwrap();
    assert_eq!(change.entity(), id);
    let second = lamp(&hub, 2);
    assert_eq!(lamps.next_timeout(Duration::MAX).unwrap().unwrap().entity(), second);
    let third = lamp(&hub, 3);
    assert_eq!(
        lamps.try_next().unwrap().unwrap().entity(),
        third,
        "what is durable is there at once"
    );
}

#[test]
fn who_does_not_ask_to_share_is_kept_out_and_keeps_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let hub = builder().shared().open(&path).unwrap();
    let refused = |opened: Result<Engine, Error>| {
        let error = opened.expect_err("somebody else has it");
        assert!(matches!(error, Error::AlreadyOpen), "{error:?}");
        assert!(error.to_string().contains("shared"), "{error}");
    };
    refused(builder().open_read_only(&path));
    refused(builder().open(&path));
    refused(builder().shared().open(&path));
    let viewer = builder().shared().open_read_only(&path).unwrap();
    hub.close().unwrap();
    refused(builder().open(&path));
    viewer.close().unwrap();
    let alone = builder().open(&path).unwrap();
    refused(builder().shared().open_read_only(&path));
    alone.close().unwrap();
    assert_eq!(count(&builder().open_read_only(&path).unwrap()), 0);
}

#[test]
fn readers_follow_a_journal_that_is_drained_and_written_over_under_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let hub = builder().shared().journal_bytes(0).open(&path).unwrap();
    let viewer = builder().shared().open_read_only(&path).unwrap();
    let held = viewer.snapshot().unwrap();
    for n in 1..=120 {
        lamp(&hub, n);
        if n % 7 == 0 {
            hub.drain().unwrap();
        }
        if n % 3 == 0 {
            assert_eq!(count(&viewer), n as u64);
        }
    }
    // one that was behind by more than the ring holds
    assert_eq!((count(&viewer), held.list("lamp").count().unwrap()), (120, 0));
    assert!(viewer.verify().unwrap().is_clean());
    let late = builder().shared().open_read_only(&path).unwrap();
    assert_eq!(count(&late), 120);
}

#[test]
fn what_a_kill_left_is_shared_only_after_a_writer_has_opened_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let hub = builder().shared().open(&path).unwrap();
    lamp(&hub, 1);
    fs::copy(&path, &copy).unwrap();
    let refused = builder().shared().open_read_only(&copy);
    let Err(error @ Error::NeedsWriter(_)) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("open it once to write"), "{error}");
    // read alone it needs no writer
    assert_eq!(count(&builder().open_read_only(&copy).unwrap()), 1);
    builder().shared().open(&copy).unwrap().close().unwrap();
    assert_eq!(count(&builder().shared().open_read_only(&copy).unwrap()), 1);
}

#[test]
fn a_duration_without_end_is_allowed_wherever_a_duration_is() {
    let dir = tempfile::tempdir().unwrap();
    for long in [Duration::MAX, Duration::from_secs(u64::MAX / 4), Duration::from_secs(1 << 40)] {
        let path = dir.path().join(format!("store-{}", long.as_secs()));
        let engine = Engine::builder().drain_after(long).open(&path).unwrap();
        lamp(&engine, 1);
        // its thread looks at the time
        std::thread::sleep(Duration::from_millis(20));
        let mut changes = engine.subscribe_from(heirloom::Cursor::START);
        assert!(changes.next_timeout(long).unwrap().is_some());
        let before = Instant::now();
        engine.close().unwrap();
        assert!(before.elapsed() < Duration::from_secs(60), "its thread ends with it");
    }
}

#[test]
fn another_dataset_is_told_by_name_where_the_file_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let open = |builder: Builder| builder.open(&path);
    let refused = |builder: Builder, ours: Option<&str>, theirs: Option<&str>| {
        let error = open(builder).unwrap_err();
        let Error::WrongDataset { ours: o, theirs: t } = &error else { panic!("{error:?}") };
        assert_eq!((o.name.as_deref(), t.name.as_deref()), (ours, theirs));
        for name in [ours, theirs].into_iter().flatten() {
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        }
    };
    let home = heirloom::DatasetId::from_name("home");
    // by id alone nobody knows a name
    let engine = open(Engine::builder().dataset(home)).unwrap();
    lamp(&engine, 1);
    engine.close().unwrap();
    refused(Engine::builder().dataset_name("office"), None, Some("office"));
    refused(Engine::builder().dataset(heirloom::DatasetId::from_name("office")), None, None);
    // whoever names it names it for good, with the next commit
    let engine = open(Engine::builder().dataset_name("home")).unwrap();
    assert_eq!(engine.dataset_name(), Some("home"));
    lamp(&engine, 2);
    engine.close().unwrap();
    refused(Engine::builder().dataset_name("office"), Some("home"), Some("office"));
    let engine = open(Engine::builder()).unwrap();
    assert_eq!((engine.dataset(), engine.dataset_name()), (Some(home), Some("home")));
    assert!(engine.verify().unwrap().is_clean());
    let office = heirloom::DatasetId::from_name("office");
    let error = engine.replication().adopt(office).unwrap_err();
    assert!(error.to_string().contains("\"home\""), "{error}");
    // and so does a backup
    engine.backup(dir.path().join("backup")).unwrap();
    let backup =
        Engine::builder().dataset_name("office").open(dir.path().join("backup")).unwrap_err();
    assert!(backup.to_string().contains("\"home\""), "{backup}");
}
