//! Files that lost their end, or in which something was altered.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use heirloom::{Content, Cursor, Engine, Error};
use heirloom_sync::sync_in_process;
use heirloom_tests::forge::{self, CommitSpec, VersionSpec};
use heirloom_tests::specimen::{self, Survey, builder, entity, kind_of, replace, rows, survey};
use heirloom_tests::twins;

struct Scene {
    _dir: tempfile::TempDir,
    sound: PathBuf,
    copy: PathBuf,
    truth: Survey,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (sound, copy) = (dir.path().join("sound"), dir.path().join("copy"));
    specimen::write(&sound);
    let truth = survey(&builder().open(&sound).unwrap());
    // what hangs on bodies that are not there
    assert!(truth.values().all(|read| read.as_ref().err().is_none_or(|kind| kind == "Absent")));
    Scene { _dir: dir, sound, copy, truth }
}

impl Scene {
    /// A fresh copy of the sound file.
    fn copy(&self) -> &Path {
        fs::copy(&self.sound, &self.copy).unwrap();
        &self.copy
    }

    fn look(&self) -> Found {
        look(&self.copy, &self.truth)
    }
}

/// What came of opening a file and reading all of it.
#[derive(Clone, Debug, PartialEq, Default)]
struct Found {
    /// It does not open: what kind of error that was.
    unopened: Option<String>,
    /// What was returned as good and is not.
    wrong: Vec<String>,
    /// What was an error; what kind.
    errors: BTreeMap<String, String>,
    /// Whether `verify` names a place.
    named: bool,
}

impl Found {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

fn look(path: &Path, truth: &Survey) -> Found {
    let mut out = Found::default();
    let engine = match builder().open(path) {
        Ok(engine) => engine,
        Err(error) => {
            out.unopened = Some(kind_of(&error));
            return out;
        }
    };
    // before anything is read: what only saves work is dropped when it is found damaged
    out.named = match engine.verify() {
        Ok(verification) => !verification.is_clean(),
        Err(Error::Storage(_)) => true,
        Err(error) => panic!("verify goes on where something is damaged: {error:?}"),
    };
    for (what, read) in survey(&engine) {
        match read {
            _ if truth.get(&what) == Some(&read) => {}
            // as good as forgotten
            Ok(_) if what == "staged" => {}
            Ok(_) => out.wrong.push(what),
            Err(kind) => drop(out.errors.insert(what, kind)),
        }
    }
    out
}

/// One flipped bit in the value of any row: nothing false is returned, `verify` names it, and what
/// does not hang on the row stays readable.
#[test]
fn a_flipped_bit_in_any_row_is_noticed() {
    let scene = scene();
    let mut tables = BTreeMap::new();
    for (table, key, value) in rows(&scene.sound) {
        let bits = value.len() * 8;
        // in the checksum, at the beginning, in the middle, at the end
        for bit in [0, 37, bits / 2, bits.saturating_sub(1)].into_iter().filter(|bit| *bit < bits) {
            let path = scene.copy();
            let mut altered = value.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            replace(path, table, &key, Some((&key, &altered)));
            let found = scene.look();
            let place = format!("{table} {key:?}, bit {bit}: {found:?}");
            assert_eq!(found.wrong, [""; 0], "{place}");
            match table {
                // an index that is not understood is made again
                "meta" if key.starts_with(b"index") => assert!(found.unopened.is_none(), "{place}"),
                // small, and nothing can be understood without them
                "meta" | "logs" => {
                    assert_eq!(found.unopened.as_deref(), Some("Corrupt"), "{place}")
                }
                // only saves work, and is as good as forgotten
                "peers" | "staging" | "missing" | "indexed" | "type_names" => {
                    assert!(found.unopened.is_none() && found.named, "{place}");
                }
                _ => {
                    assert!(
                        found.unopened.is_none() && found.named && !found.errors.is_empty(),
                        "{place}"
                    );
                    assert!(found.errors.values().all(|kind| kind == "Corrupt"), "{place}");
                }
            }
            if table == "heads" {
                let id = heirloom::EntityId::from_bytes(key[..].try_into().unwrap()).to_string();
                let concerned = |what: &String| {
                    what.contains(&id) || what.starts_with("all of type") || what == "by number"
                };
                assert!(found.errors.keys().all(concerned), "{place}");
            }
            *tables.entry(table).or_insert(0) += 1;
        }
    }
    // the rows of the others are their keys
    let with_values = [
        "dots",
        "heads",
        "indexed",
        "log",
        "logs",
        "meta",
        "missing",
        "peers",
        "staging",
        "type_names",
        "types",
    ];
    assert_eq!(tables.keys().copied().collect::<Vec<_>>(), with_values);
}

/// Of a store whose last commit is damaged everything else can be read, and writing goes on under a
/// fresh log.
#[test]
fn a_store_whose_last_commit_is_damaged_is_readable_and_goes_on_under_a_fresh_log() {
    let scene = scene();
    let path = scene.copy();
    let (table, key, mut value) =
        rows(path).into_iter().rfind(|(table, ..)| *table == "log").unwrap();
    value[9] ^= 1;
    replace(path, table, &key, Some((&key, &value)));
    let engine = builder().open(path).unwrap();
    let log = engine.log_id();
    let snapshot = engine.snapshot().unwrap();
    assert_eq!(snapshot.get(entity(7)).unwrap().unwrap().get("n").unwrap(), Some(7.into()));
    assert!(matches!(engine.log_root(), Err(Error::Corrupt { table: heirloom::Table::Log, .. })));
    let position = engine.replication().position().unwrap();
    assert!(
        !position.whole
            && position.ends.iter().all(|end| Some(end.log) != log || end.sequence.get() > 0)
    );
    let found = engine.verify().unwrap();
    assert!(
        found.problems.iter().any(|problem| problem.table.name() == "log"),
        "{:?}",
        found.problems
    );
    engine.write(|tx| tx.create_with_id(entity(99), "lamp", &Content::new())).unwrap();
    assert_ne!(engine.log_id(), log);
}

/// Whoever follows the change log is not held up for ever by a commit that cannot be read, nor by
/// one that was read last.
#[test]
fn the_change_log_has_a_way_past_damaged_commits() {
    let scene = scene();
    let all: Vec<_> = {
        let engine = builder().open(scene.copy()).unwrap();
        engine.changes(Cursor::START).map(|change| change.unwrap().version()).collect()
    };
    let logs: Vec<_> =
        rows(&scene.sound).into_iter().filter(|(table, ..)| *table == "log").collect();
    let last = logs.len() - 1;
    for at in [0, 3, last] {
        let path = scene.copy();
        let (table, key, value) = &logs[at];
        let mut altered = value.clone();
        altered[9] ^= 1;
        replace(path, table, key, Some((key, &altered)));
        let engine = builder().open(path).unwrap();
        let (mut found, mut passed) = (Vec::new(), 0);
        let mut changes = engine.changes(Cursor::START);
        while let Some(change) = changes.next() {
            match change {
                Ok(change) => found.push(change.version()),
                Err(Error::Corrupt { table: heirloom::Table::Log, .. }) => {
                    passed += 1;
                    assert!(changes.pass_damaged().unwrap());
                    // the place is one to go on from
                    changes = engine.changes(changes.cursor().to_string().parse().unwrap());
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(!changes.pass_damaged().unwrap(), "nothing is left to pass");
        assert_eq!(passed, 1);
        assert!(found.len() < all.len() && found.iter().all(|version| all.contains(version)));
        let mut subscription = engine.subscribe().unwrap();
        engine.write(|tx| tx.create_with_id(entity(90), "room", &Content::new())).unwrap();
        assert_eq!(subscription.try_next().unwrap().unwrap().entity(), entity(90));
    }
}

/// A row that is lost or stands under another key: an error, or at least `verify` names it.
#[test]
fn a_row_that_is_lost_or_under_another_key_is_noticed() {
    let scene = scene();
    for (table, key, value) in rows(&scene.sound) {
        let (mut last, mut first) = (key.clone(), key.clone());
        *last.last_mut().unwrap() ^= 1;
        first[0] ^= 0x40;
        for new in [None, Some((&last[..], &value[..])), Some((&first[..], &value[..]))] {
            let path = scene.copy();
            replace(path, table, &key, new);
            let found = scene.look();
            // the log that a store goes on with is not derivable: it takes a new one, and loses
            // nothing; nor is what tells it from its copies: the first commit notes it anew; an
            // index is made again; who was met is met again
            let noted = [&b"own"[..], b"fingerprint", b"node"];
            let is_dispensable = match table {
                "meta" => noted.contains(&&key[..]) || key.starts_with(b"index"),
                "peers" => true,
                _ => false,
            };
            let noticed = found.unopened.is_some() || found.named || is_dispensable;
            assert!(noticed, "{table} {key:?} {new:?}: {found:?}");
        }
    }
}

#[test]
fn a_file_that_was_cut_short_is_a_typed_error() {
    let scene = scene();
    const RING_END: u64 = 4096 + (64 << 10);
    let whole = fs::metadata(&scene.sound).unwrap().len();
    for length in (0..64).map(|n| n * 7).chain((1..64).map(|n| n * whole / 64)).chain([whole - 1]) {
        let path = scene.copy();
        fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
        let found = scene.look();
        // what is left of the first page does not even say what the file was
        let error = match length {
            0 => "EmptyFile",
            1..32 => "NotAStore",
            32..=RING_END => "Corrupt",
            _ => "NotAStore",
        };
        let told = found.unopened.as_deref();
        assert!(
            told == Some("Storage") || told == Some(error),
            "cut to {length} of {whole}: {found:?}"
        );
    }
}

/// Bits flipped in the file, beneath redb, in its own trees too: nothing panics, and nothing false
/// is returned unless `verify` names it.
#[test]
fn bits_flipped_in_the_file_are_noticed() {
    let scene = scene();
    let bytes = fs::read(&scene.sound).unwrap();
    let mut ours = vec![false; bytes.len()];
    for (_, _, value) in rows(&scene.sound).iter().filter(|(_, _, value)| value.len() > 16) {
        for at in (0..bytes.len() - value.len()).filter(|at| bytes[*at..].starts_with(value)) {
            ours[at..at + value.len()].fill(true);
        }
    }
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    assert!(ours.iter().filter(|is| **is).count() > 20_000, "most of the rows are found");
    let (mut noticed, mut panics) = (0, 0);
    for i in 0..FLIPS {
        let at = used[i * used.len() / FLIPS];
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (i % 8);
        fs::write(&scene.copy, &altered).unwrap();
        match catch_unwind(AssertUnwindSafe(|| scene.look())) {
            Ok(found) => {
                noticed += usize::from(!found.is_nothing());
                let told = found.unopened.is_some() || found.named;
                assert!(told || found.is_nothing(), "bit {} of byte {at}: {found:?}", i % 8);
                assert!(
                    !ours[at] || found.wrong.is_empty(),
                    "bit {} of byte {at}: {found:?}",
                    i % 8
                );
            }
            Err(_) => panics += 1,
        }
    }
    // others hit pages that are free
    assert!(noticed > FLIPS / 10, "{noticed}");
    assert_eq!(panics, 0);
}

const FLIPS: usize = 500;

/// Of a void commit at the end of a log nothing else remembers which it was: what is left of its
/// row must be enough, wherever in it a bit rotted.
#[test]
fn a_void_commit_comes_back_whichever_bit_of_its_record_rotted() {
    let dir = tempfile::tempdir().unwrap();
    let (sound, copy) = (dir.path().join("sound"), dir.path().join("copy"));
    let twice = || VersionSpec::create([9; 16], "lamp", forge::own([]));
    let mut author = twins::author("home", "watch");
    let void = author.commit(&CommitSpec::at(1).version(twice()).version(twice()));
    let open = |path: &Path| Engine::builder().dataset_name("home").open(path).unwrap();
    let peer = Engine::builder().dataset_name("home").in_memory().unwrap();
    let engine = open(&sound);
    for store in [&engine, &peer] {
        assert_eq!(twins::ingest(store, &void.bytes).unwrap().voids.len(), 2, "the premise");
    }
    engine.close().unwrap();
    let row = rows(&sound).into_iter().find(|row| row.0 == "log").unwrap();
    // checksum, flags, line, chain
    for bit in 0..38 * 8 {
        fs::copy(&sound, &copy).unwrap();
        let mut altered = row.2.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        replace(&copy, "log", &row.1, Some((&row.1, &altered)));
        let engine = open(&copy);
        assert_eq!(engine.repair().unwrap().damaged_commits, 1, "bit {bit}");
        let (report, _) = sync_in_process(&engine, &peer).unwrap();
        assert_eq!(report.healed, 1, "bit {bit}");
        assert!(engine.verify().unwrap().is_clean(), "bit {bit}");
    }
}
