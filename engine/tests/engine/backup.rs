//! Copies of a store in use: a backup is another store with the same past, a compact copy is the
//! store itself.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use heirloom::replication::{Peer, StagedHead};
use heirloom::{
    Builder, Chain, Change, Content, Cursor, Engine, EntityId, Error, LogId, Lsn, NodeId, Patch,
    Policy, Sequence, Value,
};
use proptest::prelude::*;
use redb::{ReadableTable, TableDefinition};
use tempfile::TempDir;

use super::carried::carry;

use crate::tables_part::open_tables;

fn builder(label: &str) -> Builder {
    Engine::builder().label(label).dataset_name("home")
}

fn in_memory(label: &str) -> Engine {
    builder(label).in_memory().unwrap()
}

/// A sync both ways, after which both hold the same and are sound.
fn sync(a: &Engine, b: &Engine) {
    carry(a, b);
    carry(b, a);
    assert_eq!(a.log_root().unwrap(), b.log_root().unwrap());
    assert_eq!(a.state_digest().unwrap(), b.state_digest().unwrap());
    [a, b].into_iter().for_each(check);
}

fn check(engine: &Engine) {
    let found = engine.verify().unwrap();
    assert!(found.is_clean(), "{:?}", found.problems);
}

fn create(engine: &Engine, entity_type: &str, n: i64) -> EntityId {
    engine.write(|tx| tx.create(entity_type, &Content::new().with("n", n))).unwrap()
}

fn set(engine: &Engine, id: EntityId, field: &str, n: i64) {
    engine.write(|tx| tx.patch(id, Patch::new().set(field, n))).unwrap();
}

fn get(engine: &Engine, id: EntityId, field: &str) -> Option<Value> {
    engine.snapshot().unwrap().get(id).unwrap().and_then(|e| e.get(field).unwrap())
}

fn origins(engine: &Engine) -> Vec<bool> {
    engine.changes(Cursor::START).map(|c: Result<Change, _>| c.unwrap().is_local()).collect()
}

fn files(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_lost_phone_goes_on_from_its_backup_and_gets_back_what_the_hub_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    let (phone, hub) = (in_memory("phone"), in_memory("hub"));
    let lamp = create(&phone, "lamp", 1);
    set(&phone, lamp, "n", 2);
    let bytes = phone.backup(&path).unwrap();
    assert!(bytes > 0 && bytes <= std::fs::metadata(&path).unwrap().len());
    set(&phone, lamp, "n", 3);
    let radio = create(&phone, "radio", 4);
    sync(&phone, &hub);
    let lost = phone.log_id();
    phone.close().unwrap();

    let phone = builder("phone").open(&path).unwrap();
    check(&phone);
    assert_eq!((get(&phone, lamp, "n"), get(&phone, radio, "n")), (Some(2.into()), None));
    assert_eq!(phone.log_id(), None, "no log before its first write");
    set(&phone, lamp, "room", 7);
    let desk = create(&phone, "desk", 8);
    assert!(phone.log_id().is_some() && phone.log_id() != lost);
    assert_eq!(origins(&phone), [true; 4]);

    sync(&phone, &hub);
    for engine in [&phone, &hub] {
        assert_eq!(
            (get(engine, lamp, "n"), get(engine, lamp, "room")),
            (Some(3.into()), Some(7.into()))
        );
        assert_eq!(
            (get(engine, radio, "n"), get(engine, desk, "n")),
            (Some(4.into()), Some(8.into()))
        );
    }
    assert_eq!(
        origins(&phone),
        [true, true, true, true, false, false],
        "its own up to the backup, and since"
    );
    assert_eq!(phone.snapshot().unwrap().history(lamp).unwrap().count(), 4);
    set(&phone, lamp, "n", 5);
    sync(&hub, &phone);
    assert_eq!(get(&hub, lamp, "n"), Some(5.into()));
}

#[test]
fn store_and_backups_all_go_on_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let store = in_memory("phone");
    let id = create(&store, "lamp", 0);
    store.backup(&first).unwrap();
    // a backup of a backup that never wrote: it continues the same commit
    let a = builder("a").open(&first).unwrap();
    a.backup(&second).unwrap();
    let b = builder("b").open(&second).unwrap();
    let hub = in_memory("hub");
    for (i, engine) in [&store, &a, &b].into_iter().enumerate() {
        set(engine, id, &format!("field {i}"), 1);
        assert_eq!(origins(engine), [true, true]);
        sync(engine, &hub);
    }
    for engine in [&store, &a, &b] {
        sync(engine, &hub);
        assert_eq!(origins(engine).iter().filter(|local| **local).count(), 2);
        (0..3).for_each(|i| assert_eq!(get(engine, id, &format!("field {i}")), Some(1.into())));
    }
    let logs: BTreeSet<_> = [&store, &a, &b].iter().map(|e| e.log_id().unwrap()).collect();
    assert_eq!(logs.len(), 3);
}

#[test]
fn a_backup_is_unknown_among_peers_and_knows_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    let phone = builder("phone").local_type("draft").in_memory().unwrap();
    create(&phone, "lamp", 1);
    let draft = create(&phone, "draft", 2);
    let (replication, peer) = (phone.replication(), NodeId::from_bytes([9; 16]));
    let node = replication.node().unwrap();
    replication
        .remember(peer, Peer { cut: None, held: Lsn::new(2), is_hub: true, ..Peer::default() })
        .unwrap();
    let zero = (LogId::from_bytes([3; 16]), Chain::from_bytes([4; 32]));
    let head = StagedHead {
        log: zero.0,
        sequence: Sequence::FIRST,
        chain: zero.1,
        total: 100,
        digest: [5; 16],
    };
    replication.stage(peer, &head, 0, b"begin").unwrap();
    phone.backup(&path).unwrap();

    let backup = builder("phone").local_type("draft").open(&path).unwrap();
    assert!(backup.replication().peers().unwrap().is_empty());
    assert_eq!(backup.replication().staged(peer).unwrap(), None);
    assert_ne!(backup.replication().node().unwrap(), node);
    assert_eq!(backup.dataset(), phone.dataset());
    assert_eq!(get(&backup, draft, "n"), Some(2.into()));
    set(&backup, draft, "n", 3);
    set(&phone, draft, "n", 4);
    assert_eq!(backup.log_id(), None, "what stays here goes on in the local log");
    sync(&phone, &backup);
    assert_eq!(
        (get(&backup, draft, "n"), get(&phone, draft, "n")),
        (Some(3.into()), Some(4.into()))
    );
}

#[test]
fn a_store_that_has_nothing_yet_can_be_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    Engine::in_memory().unwrap().backup(&path).unwrap();
    let backup = builder("phone").open(&path).unwrap();
    check(&backup);
    create(&backup, "lamp", 1);
    sync(&backup, &in_memory("hub"));
}

const ACCOUNTS: usize = 8;
const EACH: i64 = 1_000;

fn transfer(engine: &Engine, ids: &[EntityId], n: u64) {
    let (from, to) = (ids[n as usize % ACCOUNTS], ids[(n / 8 + 1 + n) as usize % ACCOUNTS]);
    let add = |content: Option<heirloom::Entity>, by: i64| match content.unwrap().get("n").unwrap()
    {
        Some(Value::Int(n)) => n + by,
        other => panic!("{other:?}"),
    };
    let moved = engine.write(|tx| {
        let less = add(tx.get(from)?, -1);
        tx.patch(from, Patch::new().set("n", less))?;
        let more = add(tx.get(to)?, 1);
        tx.patch(to, Patch::new().set("n", more))
    });
    moved.unwrap();
}

#[test]
fn a_backup_while_threads_write_is_one_consistent_state() {
    let dir = tempfile::tempdir().unwrap();
    let declared = builder("bank").index("account", "n");
    let engine = declared.clone().open(dir.path().join("store")).unwrap();
    let ids: Vec<_> = (0..ACCOUNTS).map(|_| create(&engine, "account", EACH)).collect();
    // so much that a backup takes several slices
    for _ in 0..12 {
        let noise: String = (0..1 << 20)
            .map(|i: u32| char::from(33 + (i.wrapping_mul(2654435761) >> 26) as u8))
            .collect();
        engine.write(|tx| tx.create("noise", &Content::new().with("text", noise.clone()))).unwrap();
    }
    let (stop, writes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for t in 0..2 {
            let (engine, ids, stop, writes) = (&engine, &ids, &stop, &writes);
            scope.spawn(move || {
                for n in (t..).step_by(2).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    transfer(engine, ids, n);
                    writes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for n in 0..3 {
            let path = dir.path().join(format!("backup {n}"));
            let (mut steps, mut last, mut seen) =
                (0, heirloom::BackupProgress::default(), Vec::new());
            engine
                .backup_with(&path, |progress| {
                    assert!(progress.rows >= last.rows && progress.bytes >= last.bytes);
                    assert!(progress.rows <= progress.of);
                    (steps, last) = (steps + 1, progress);
                    // the closure may write
                    transfer(&engine, &ids, steps);
                    seen.push(writes.load(Ordering::Relaxed));
                })
                .unwrap();
            assert!(steps > 3 && last.rows == last.of, "{steps} {last:?}");
            assert!(seen.last() > seen.first(), "the premise: writers went on");

            let backup = declared.clone().open(&path).unwrap();
            check(&backup);
            let snapshot = backup.snapshot().unwrap();
            let balance =
                |id: &EntityId| match snapshot.get(*id).unwrap().unwrap().get("n").unwrap() {
                    Some(Value::Int(n)) => n,
                    other => panic!("{other:?}"),
                };
            assert_eq!(ids.iter().map(balance).sum::<i64>(), ACCOUNTS as i64 * EACH);
            carry(&backup, &engine);
            backup.close().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    check(&engine);
}

#[test]
fn indexes_and_policies_work_in_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let declared = builder("phone")
        .index("lamp", "n")
        .index_in_background(false)
        .policy("lamp", Policy::FirstWriteWins);
    let engine = declared.clone().open(dir.path().join("store")).unwrap();
    let ids: Vec<_> = (0..20).map(|n| create(&engine, "lamp", n)).collect();
    let other = in_memory("other");
    sync(&engine, &other);
    set(&engine, ids[3], "n", 103);
    std::thread::sleep(std::time::Duration::from_millis(5));
    set(&other, ids[3], "n", 203);
    sync(&engine, &other);
    let answers = |engine: &Engine| {
        let page =
            engine.snapshot().unwrap().query("lamp", "n").unwrap().at_least(10).entities().unwrap();
        page.iter().map(|e| (e.id(), e.get("n").unwrap())).collect::<Vec<_>>()
    };
    let expected = answers(&engine);
    assert!(expected.contains(&(ids[3], Some(103.into()))), "the premise: the policy decides");

    let (backup, compact) = (dir.path().join("backup"), dir.path().join("compact"));
    engine.backup(&backup).unwrap();
    engine.compact_to(&compact).unwrap();
    for path in [backup, compact] {
        let copy = declared.clone().open(&path).unwrap();
        assert!(copy.indexes().unwrap().iter().all(|i| i.ready), "nothing is built anew");
        assert_eq!(answers(&copy), expected);
        assert_eq!(copy.snapshot().unwrap().unsettled().unwrap().count(), 1);
        set(&copy, ids[0], "n", 50);
        assert_eq!(answers(&copy).len(), expected.len() + 1);
        check(&copy);
    }
}

#[test]
fn a_copy_never_replaces_a_file_and_what_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let engine = builder("phone").open(&store).unwrap();
    let id = create(&engine, "lamp", 1);
    let taken = dir.path().join("taken");
    std::fs::write(&taken, "mine").unwrap();
    for path in [&taken, &store] {
        assert!(matches!(engine.backup(path), Err(Error::FileExists(p)) if p == *path));
        assert!(matches!(engine.clone().compact_to(path), Err(Error::FileExists(p)) if p == *path));
    }
    assert_eq!(std::fs::read(&taken).unwrap(), b"mine");
    for path in
        [dir.path().join("no such").join("backup"), taken.join("backup"), Path::new("/").to_owned()]
    {
        let error = engine.backup(&path).unwrap_err();
        assert!(matches!(error, Error::NotWritten { .. } | Error::FileExists(_)), "{error}");
        assert!(engine.clone().compact_to(&path).is_err());
    }
    let wanted = dir.path().join("backup");
    // somebody takes the name while the backup is written
    let race = engine.backup_with(&wanted, |_| std::fs::write(&wanted, "theirs").unwrap());
    assert!(matches!(race, Err(Error::FileExists(_))));
    assert_eq!(std::fs::read(&wanted).unwrap(), b"theirs");
    std::fs::remove_file(&wanted).unwrap();
    let panicked =
        catch_unwind(AssertUnwindSafe(|| engine.backup_with(&wanted, |_| panic!("in the middle"))));
    assert!(panicked.is_err());
    assert_eq!(files(&dir), ["store", "taken"]);

    set(&engine, id, "n", 2);
    engine.backup(&wanted).unwrap();
    assert_eq!(files(&dir), ["backup", "store", "taken"]);
    check(&engine);
}

/// Flips a bit in the last row of a table of a store that is closed.
fn damage(path: &Path, table: &str) {
    let database = open_tables(path);
    let tx = database.begin_write().unwrap();
    {
        let name: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
        let mut rows = tx.open_table(name).unwrap();
        let (key, mut value) = {
            let (key, value) = rows.last().unwrap().unwrap();
            (key.value().to_vec(), value.value().to_vec())
        };
        *value.last_mut().unwrap() ^= 1;
        rows.insert(&key[..], &value[..]).unwrap();
    }
    tx.commit().unwrap();
}

#[test]
fn a_damaged_row_is_named_and_no_backup_is_made_of_it() {
    for table in ["log", "heads", "indexed", "peers"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let declared = builder("phone").index("lamp", "n");
        let engine = declared.clone().open(&path).unwrap();
        let ids: Vec<_> = (0..50).map(|n| create(&engine, "lamp", n)).collect();
        engine.replication().remember(NodeId::from_bytes([1; 16]), Peer::default()).unwrap();
        engine.close().unwrap();
        damage(&path, table);

        let engine = declared.open(&path).unwrap();
        let is_named =
            |e: &Error| matches!(e, Error::Corrupt { table: t, .. } if t.name() == table);
        let backup = dir.path().join("backup");
        if table == "peers" {
            engine.backup(&backup).unwrap();
            std::fs::remove_file(&backup).unwrap();
        } else {
            let error = engine.backup(&backup).unwrap_err();
            assert!(is_named(&error), "{table}: {error}");
        }
        let error = engine.clone().compact_to(&backup).unwrap_err();
        assert!(is_named(&error), "{table}: {error}");
        assert_eq!(files(&dir), ["store"]);
        assert_eq!(get(&engine, ids[0], "n"), Some(0.into()), "the rest stays usable");
    }
}

#[test]
fn a_compact_copy_takes_the_store_s_place() {
    let dir = tempfile::tempdir().unwrap();
    let (path, compact) = (dir.path().join("store"), dir.path().join("compact"));
    let (engine, hub) = (builder("phone").open(&path).unwrap(), in_memory("hub"));
    let ids: Vec<_> = (0..40).map(|n| create(&engine, "lamp", n)).collect();
    for n in 0..2_000 {
        set(&engine, ids[n % 40], "n", n as i64);
    }
    sync(&engine, &hub);
    let replication = engine.replication();
    let (node, peer) = (replication.node().unwrap(), NodeId::from_bytes([1; 16]));
    replication
        .remember(
            peer,
            Peer {
                cut: None,
                held: replication.position().unwrap().lsn,
                is_hub: true,
                ..Peer::default()
            },
        )
        .unwrap();
    let (log, root, cursor) =
        (engine.log_id(), engine.log_root().unwrap(), engine.cursor().unwrap());
    let other = engine.clone();
    engine.drain().unwrap();
    let sizes = engine.compact_to(&compact).unwrap();
    assert!(sizes.after <= std::fs::metadata(&compact).unwrap().len());
    assert!(sizes.after < sizes.before.unwrap(), "{sizes:?}");
    assert!(matches!(other.write(|tx| tx.delete(ids[0])), Err(Error::Closed)));

    std::fs::rename(&compact, &path).unwrap();
    let engine = builder("phone").open(&path).unwrap();
    assert_eq!(
        (engine.log_id(), engine.log_root().unwrap(), engine.cursor().unwrap()),
        (log, root, cursor)
    );
    assert_eq!(engine.replication().node().unwrap(), node);
    assert!(engine.replication().remembered(peer).unwrap().unwrap().is_hub);
    assert_eq!(engine.status().unwrap().pending_at_hub(), Some(0));
    set(&engine, ids[0], "n", 1_000);
    assert_eq!(engine.status().unwrap().pending_at_hub(), Some(1));
    assert_eq!(engine.log_id(), log);
    sync(&engine, &hub);
    assert_eq!(get(&hub, ids[0], "n"), Some(1_000.into()));
    assert_eq!(files(&dir), ["store"]);
}

#[test]
fn no_write_that_returned_is_missing_in_a_compact_copy() {
    let dir = tempfile::tempdir().unwrap();
    let compact = dir.path().join("compact");
    let engine = builder("phone").open(dir.path().join("store")).unwrap();
    let ids: Vec<_> = (0..2).map(|_| create(&engine, "counter", 0)).collect();
    let inside = engine.write(|tx| {
        tx.create("lamp", &Content::new())?;
        engine.clone().compact_to(&compact).map(drop)
    });
    assert!(matches!(inside, Err(Error::InsideWrite)), "it would wait for itself");
    let written: Vec<i64> = std::thread::scope(|scope| {
        let count = |id| {
            let engine = engine.clone();
            move || {
                let write = |n: &i64| engine.write(|tx| tx.patch(id, Patch::new().set("n", *n)));
                (1..).take_while(|n| write(n).is_ok()).last().unwrap_or(0)
            }
        };
        let threads: Vec<_> = ids.iter().map(|id| scope.spawn(count(*id))).collect();
        std::thread::sleep(std::time::Duration::from_millis(50));
        engine.clone().compact_to(&compact).unwrap();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(written.iter().all(|n| *n > 0), "the premise: both wrote");
    let copy = builder("phone").open(&compact).unwrap();
    check(&copy);
    for (id, n) in ids.iter().zip(written) {
        assert_eq!(get(&copy, *id, "n"), Some(n.into()));
    }
}

/// What happens to a group of stores.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Sync(usize, usize),
    Backup(usize),
    /// The store is lost, or not, and the last backup is opened in its place.
    Restore(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let store = || 0..3usize;
    prop_oneof![
        4 => store().prop_map(Step::Write),
        3 => (store(), store()).prop_map(|(a, b)| Step::Sync(a, b)),
        1 => store().prop_map(Step::Backup),
        1 => store().prop_map(Step::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Each write sets a field of its own, so all that any living store or the hub ever held must
    /// be there in the end.
    #[test]
    fn whatever_is_lost_and_restored_nothing_forks_and_all_agree(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let first = in_memory("0");
        let id = create(&first, "lamp", 0);
        let mut stores = vec![first, in_memory("1"), in_memory("2")];
        let mut holds: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); 3];
        for i in 1..3 {
            carry(&stores[0], &stores[i]);
        }
        let mut backups = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write(i) => {
                    set(&stores[i], id, &format!("field {n}"), 1);
                    holds[i].insert(n);
                }
                Step::Sync(a, b) => {
                    carry(&stores[a], &stores[b]);
                    carry(&stores[b], &stores[a]);
                    let both: BTreeSet<_> = holds[a].union(&holds[b]).copied().collect();
                    (holds[a], holds[b]) = (both.clone(), both);
                }
                Step::Backup(i) => {
                    let path = dir.path().join(n.to_string());
                    stores[i].backup(&path).unwrap();
                    backups.push((path, holds[i].clone()));
                }
                Step::Restore(i) => {
                    if let Some((path, held)) = backups.pop() {
                        stores[i] = builder("restored").open(path).unwrap();
                        holds[i] = held;
                    }
                }
            }
        }
        for _ in 0..2 {
            (1..3).for_each(|i| { carry(&stores[i], &stores[0]); carry(&stores[0], &stores[i]); });
        }
        for store in &stores {
            check(store);
            prop_assert_eq!(store.log_root().unwrap(), stores[0].log_root().unwrap());
            for n in holds.iter().flat_map(|h| h.iter()) {
                prop_assert_eq!(get(store, id, &format!("field {n}")), Some(1.into()));
            }
        }
    }
}
