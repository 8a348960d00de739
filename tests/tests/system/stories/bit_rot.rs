//! Records of the log rot on the disk. What is damaged is a typed error and nothing else suffers; a
//! peer brings it back, proven by its chain; what no peer has stays named, and keeps nothing else
//! from travelling (R37).

use std::path::Path;

use heirloom::{Content, Engine, EntityId, Error, Patch};
use heirloom_sync::{SyncError, sync_in_process};
use heirloom_tests::decoder::Value;
use heirloom_tests::forge::{CommitSpec, VersionSpec, own};
use heirloom_tests::twins;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use tempfile::TempDir;

use super::network::{Device, START, settle};
use heirloom_tests::tables_part::open_tables;

const LOG: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("log");
const MISSING: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("missing");

#[derive(Clone, Copy, Debug)]
enum Rot {
    /// A bit of the chain, or before it.
    Start,
    /// Its last bit.
    End,
    /// The whole row is gone.
    Lost,
}

const ALL: [Rot; 3] = [Rot::Start, Rot::End, Rot::Lost];

/// Damages the record of an lsn in a file that is closed.
fn damage(path: &Path, lsn: u64, rot: Rot) {
    let database = open_tables(path);
    let tx = database.begin_write().unwrap();
    {
        let mut log = tx.open_table(LOG).unwrap();
        let key = [&lsn.to_be_bytes()[..], &[0; 4]].concat();
        let mut row = log.get(&key[..]).unwrap().unwrap().value().to_vec();
        match rot {
            Rot::Start => row[12] ^= 1,
            Rot::End => *row.last_mut().unwrap() ^= 0x40,
            Rot::Lost => row.clear(),
        }
        if row.is_empty() {
            log.remove(&key[..]).unwrap();
        } else {
            log.insert(&key[..], &row[..]).unwrap();
        }
    }
    tx.commit().unwrap();
}

fn marks(path: &Path) -> usize {
    let database = open_tables(path);
    let tx = database.begin_read().unwrap();
    tx.open_table(MISSING).map_or(0, |table| table.iter().unwrap().count())
}

struct World {
    directory: TempDir,
    /// Its file rots.
    ids: Vec<EntityId>,
    tablet: Device,
}

impl World {
    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("phone.heirloom")
    }

    fn phone(&self) -> Device {
        Device::open("phone", START + 1_000_000, &self.path())
    }
}

/// Ten commits of two devices that refer to each other, on both; large texts among them, which
/// stand in the log only.
fn world() -> World {
    let directory = TempDir::new().unwrap();
    let tablet = Device::new("tablet", START);
    let phone = Device::open("phone", START, &directory.path().join("phone.heirloom"));
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(phone.note(&format!("phone {n}")));
        ids.push(tablet.note(&"long ".repeat(500 + n)));
        phone.sync(&tablet);
    }
    phone.edit(ids[1], &"longer ".repeat(600));
    phone.sync(&tablet);
    tablet.edit(ids[0], "edited");
    tablet.edit(ids[3], "short");
    phone.sync(&tablet);
    phone.note("the end");
    phone.sync(&tablet);
    phone.engine.close().unwrap();
    World { directory, ids, tablet }
}

const COMMITS: u64 = 10;

#[test]
fn every_damaged_record_is_brought_back_by_a_peer() {
    for rot in ALL {
        for lsn in 0..COMMITS {
            let world = world();
            damage(&world.path(), lsn, rot);
            let phone = world.phone();
            assert!(!phone.engine.verify().unwrap().is_clean(), "{rot:?} {lsn}: verify names it");
            // where nothing has looked yet, a repair finds the damage, or a session that comes upon
            // it
            if lsn % 2 == 0 {
                let repaired = phone.engine.repair().unwrap();
                assert_eq!(repaired.damaged_commits, 1, "{rot:?} {lsn}: {repaired:?}");
            } else {
                drop(sync_in_process(&phone.engine, &Device::new("watch", START).engine));
            }
            let [report, _] = phone.sync(&world.tablet);
            assert_eq!((report.healed, report.damaged), (1, false), "{rot:?} {lsn}");
            let [report, _] = phone.sync(&world.tablet);
            assert_eq!((report.healed, report.damaged), (0, false), "{rot:?} {lsn}");
            let verified = phone.engine.verify().unwrap();
            assert!(verified.is_clean(), "{rot:?} {lsn}: {verified:?}");
            for id in &world.ids {
                assert_eq!(phone.text(*id), world.tablet.text(*id), "{rot:?} {lsn}");
            }
            settle(&[&phone, &world.tablet]);
            phone.engine.close().unwrap();
            assert_eq!(marks(&world.path()), 0, "{rot:?} {lsn}: nothing is marked any more");
            let phone = world.phone();
            assert!(phone.engine.verify().unwrap().is_clean(), "{rot:?} {lsn}: opened again");
            phone.note("and on");
            settle(&[&phone, &world.tablet]);
        }
    }
}

#[test]
fn what_could_not_be_read_when_its_index_was_built_is_in_it_once_it_is_brought_back() {
    for lsn in 0..COMMITS - 1 {
        let world = world();
        damage(&world.path(), lsn, Rot::End);
        let builder =
            Engine::builder().label("phone").dataset_name("stories").index("note", "text");
        let phone = builder.index_in_background(false).open(world.path()).unwrap();
        phone.build_indexes().unwrap();
        assert_eq!(phone.repair().unwrap().damaged_commits, 1, "{lsn}");
        phone.build_indexes().unwrap();
        let (report, _) = sync_in_process(&phone, &world.tablet.engine).unwrap();
        assert_eq!((report.healed, report.damaged), (1, false), "{lsn}");
        assert!(phone.indexes().unwrap()[0].ready);
        let snapshot = phone.snapshot().unwrap();
        for id in &world.ids {
            let text = world.tablet.text(*id);
            let hits = snapshot.query("note", "text").unwrap().equals(text).entities().unwrap();
            assert!(hits.iter().any(|hit| hit.id() == *id), "{lsn}: {id}");
        }
        let verified = phone.verify().unwrap();
        assert!(verified.is_clean(), "{lsn}: {verified:?}");
    }
}

/// `dots` names it still, so it is a damaged commit like any other, and not one that never was.
#[test]
fn the_last_record_is_gone_and_its_sequence_is_not_used_again() {
    for is_own in [true, false] {
        let world = world();
        if !is_own {
            let phone = world.phone();
            world.tablet.note("the very end");
            phone.sync(&world.tablet);
            phone.engine.close().unwrap();
        }
        let last = COMMITS - u64::from(is_own);
        damage(&world.path(), last, Rot::Lost);
        let phone = world.phone();
        assert_eq!(phone.engine.snapshot().unwrap().commits().unwrap(), last + 1);
        let log = phone.engine.log_id();
        let digest = phone.engine.state_digest().unwrap();
        assert_eq!(digest, world.tablet.engine.state_digest().unwrap(), "heads stay");
        let repaired = phone.engine.repair().unwrap();
        assert_eq!(repaired.damaged_commits, 1, "{repaired:?}");
        assert_eq!(phone.engine.state_digest().unwrap(), digest, "heads stay");
        let id = phone.note("and on");
        assert_ne!(phone.engine.log_id(), log);
        assert_eq!(phone.sync(&world.tablet)[0].healed, 1);
        settle(&[&phone, &world.tablet]);
        assert!(phone.engine.verify().unwrap().is_clean());
        assert_eq!(world.tablet.text(id), "and on");
        assert_eq!(phone.engine.snapshot().unwrap().forks().unwrap().len(), 0);
    }
}

/// However much of its end the log has lost: all that `dots` names is asked of peers, and heads,
/// which hold small contents, stay. A peer brings back what heads prove, or what comes before
/// something proven; where more is gone than that, a session says so, and takes nothing unproven.
#[test]
fn a_log_that_lost_its_end_keeps_its_heads_and_is_brought_back() {
    for from in 0..COMMITS {
        let world = world();
        (from..COMMITS).for_each(|lsn| damage(&world.path(), lsn, Rot::Lost));
        let phone = world.phone();
        let found = phone.engine.verify().unwrap();
        assert!(
            found.problems.iter().any(|problem| problem.table.name() == "log"),
            "{from}: {found:?}"
        );
        let repaired = phone.engine.repair().unwrap();
        assert_eq!(repaired.damaged_commits, COMMITS - from, "{from}: {repaired:?}");
        assert_eq!(phone.text(world.ids[0]), "edited", "{from}");
        let same = world.tablet.engine.state_digest().unwrap();
        assert_eq!(phone.engine.state_digest().unwrap(), same, "{from}");
        let again = phone.engine.repair().unwrap();
        assert!(again.mended.is_empty() && again.left == repaired.left, "{from}: {again:?}");
        match sync_in_process(&phone.engine, &world.tablet.engine) {
            Ok((report, _)) => {
                assert_eq!((report.healed, report.damaged), (COMMITS - from, false), "{from}");
                settle(&[&phone, &world.tablet]);
                let repaired = phone.engine.repair().unwrap();
                assert!(repaired.left.is_empty(), "{from}: {repaired:?}");
            }
            Err(error) => {
                assert!(matches!(error, SyncError::Replica(_)) && from < 4, "{from}: {error:?}");
                assert!(!phone.engine.repair().unwrap().left.is_empty(), "{from}");
            }
        }
        assert_eq!(phone.text(world.ids[0]), "edited", "{from}");
    }
}

#[test]
fn neighbours_that_are_damaged_are_brought_back_in_one_session() {
    for rot in [Rot::Start, Rot::End] {
        for lsn in 0..COMMITS - 2 {
            let world = world();
            (lsn..lsn + 3).for_each(|lsn| damage(&world.path(), lsn, rot));
            let phone = world.phone();
            drop(sync_in_process(&phone.engine, &Device::new("watch", START).engine));
            let [report, _] = phone.sync(&world.tablet);
            assert_eq!((report.healed, report.damaged), (3, false), "{rot:?} {lsn}: {report:?}");
            assert!(phone.engine.verify().unwrap().is_clean(), "{rot:?} {lsn}");
            settle(&[&phone, &world.tablet]);
        }
    }
}

/// A peer sends in the order in which things came to it. A branch that is new here comes before the
/// damaged commit beside it, and what follows that branch, too: all of it waits for the damaged
/// one.
#[test]
fn a_branch_that_comes_before_the_damaged_commit_beside_it_waits() {
    let note = |n| own([("text", Value::text(n))]);
    let (mut watch, mut radio) =
        (twins::author("stories", "watch"), twins::author("stories", "radio"));
    let made = watch.commit(&CommitSpec::at(START as u64).version(VersionSpec::create(
        [1; 16],
        "note",
        note("0"),
    )));
    let mut copy = watch.clone();
    let next = |text| {
        let version = VersionSpec::update([1; 16], "note", note(text)).after(&made, 0);
        CommitSpec::at(START as u64).version(version)
    };
    let (here, elsewhere) = (watch.commit(&next("a")), copy.commit(&next("b")));
    let later = VersionSpec::update([1; 16], "note", note("c")).after(&elsewhere, 0);
    let later = radio.commit(&CommitSpec::at(START as u64).version(later));
    for rot in ALL {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("phone.heirloom");
        let (phone, tablet) = (Device::open("phone", START, &path), Device::new("tablet", START));
        for commit in [&made, &here] {
            twins::ingest(&phone.engine, &commit.bytes).unwrap();
        }
        phone.note("the last record is another");
        for commit in [&made, &elsewhere, &later, &here] {
            twins::ingest(&tablet.engine, &commit.bytes).unwrap();
        }
        phone.engine.close().unwrap();
        damage(&path, 1, rot);
        let phone = Device::open("phone", START, &path);
        assert_eq!(phone.engine.repair().unwrap().damaged_commits, 1, "{rot:?}");
        let [report, _] = phone.sync(&tablet);
        assert_eq!((report.healed, report.damaged), (1, false), "{rot:?}: {report:?}");
        settle(&[&phone, &tablet]);
        assert_eq!(phone.engine.snapshot().unwrap().forks().unwrap().len(), 1);
        assert!(phone.engine.repair().unwrap().left.is_empty(), "{rot:?}");
    }
}

/// A peer that has only the other branch cannot bring the damaged commit back. What does not follow
/// that branch comes; what waits fails the session as a fault of this store, until somebody comes
/// who has it.
#[test]
fn what_waits_in_vain_keeps_nothing_else_back() {
    let note = |n| own([("text", Value::text(n))]);
    let mut watch = twins::author("stories", "watch");
    let made = watch.commit(&CommitSpec::at(START as u64).version(VersionSpec::create(
        [1; 16],
        "note",
        note("0"),
    )));
    let mut copy = watch.clone();
    let spec = |text| {
        let version = VersionSpec::update([1; 16], "note", note(text)).after(&made, 0);
        CommitSpec::at(START as u64).version(version)
    };
    let (here, elsewhere) = (watch.commit(&spec("a")), copy.commit(&spec("b")));
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("phone.heirloom");
    let phone = Device::open("phone", START, &path);
    let [tablet, hub] = ["tablet", "hub"].map(|name| Device::new(name, START));
    let id = tablet.note("comes all the same");
    for (engine, commits) in [
        (&phone.engine, vec![&made, &here]),
        (&tablet.engine, vec![&made, &elsewhere]),
        (&hub.engine, vec![&made, &here]),
    ] {
        commits.iter().for_each(|commit| drop(twins::ingest(engine, &commit.bytes).unwrap()));
    }
    phone.note("the last record is another");
    phone.engine.close().unwrap();
    damage(&path, 1, Rot::Start);
    let phone = Device::open("phone", START, &path);
    phone.engine.repair().unwrap();
    for _ in 0..2 {
        let failed = sync_in_process(&phone.engine, &tablet.engine);
        assert!(matches!(failed, Err(SyncError::Replica(_))), "{failed:?}");
        assert_eq!(phone.text(id), "comes all the same");
    }
    assert_eq!(phone.sync(&hub)[0].healed, 1);
    settle(&[&phone, &tablet, &hub]);
    assert_eq!(phone.engine.snapshot().unwrap().forks().unwrap().len(), 1);
}

#[test]
fn what_is_damaged_is_an_error_and_all_else_is_there() {
    let world = world();
    damage(&world.path(), 1, Rot::End);
    damage(&world.path(), 6, Rot::End);
    let phone = world.phone();
    let snapshot = phone.engine.snapshot().unwrap();
    let read: Vec<_> = world.ids.iter().map(|id| snapshot.get(*id)).collect();
    for (id, read) in world.ids.iter().zip(read) {
        match read {
            Ok(entity) => assert!(entity.is_some()),
            Err(Error::Corrupt { table: heirloom::Table::Log, .. }) => {
                assert_eq!(*id, world.ids[1], "the only one that stands in the log only")
            }
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn the_own_end_is_damaged_and_its_sequence_is_not_used_again() {
    for rot in [Rot::Start, Rot::End] {
        let world = world();
        // written last, and sent to nobody
        let (old, first) = {
            let phone = world.phone();
            let id = phone.note("nobody has seen this");
            let old = phone.engine.log_id().unwrap();
            phone.engine.close().unwrap();
            (old, id)
        };
        damage(&world.path(), COMMITS, rot);
        let phone = world.phone();
        let id = phone.note("written after the damage");
        assert_ne!(phone.engine.log_id(), Some(old), "a fresh log");
        assert_eq!(phone.text(first), "nobody has seen this", "heads keep small contents");
        let [report, other] = phone.sync(&world.tablet);
        assert_eq!((report.healed, report.damaged, other.forks.len()), (0, true, 0));
        assert_eq!(
            world.tablet.text(id),
            "written after the damage",
            "what does not build on it travels"
        );
        assert!(world.tablet.engine.snapshot().unwrap().get(first).unwrap().is_none());
        // nothing can be written on it that a peer could take
        let refused = phone.engine.write(|tx| tx.patch(first, Patch::new().set("text", "on it")));
        assert!(
            matches!(refused, Err(Error::Corrupt { table: heirloom::Table::Log, .. })),
            "{refused:?}"
        );
        world.tablet.edit(id, "and back");
        phone.sync(&world.tablet);
        assert_eq!(phone.text(id), "and back");
        phone.engine.write(|tx| tx.create("note", &Content::new().with("text", "more"))).unwrap();
        phone.sync(&world.tablet);
        assert!(world.tablet.engine.verify().unwrap().is_clean());
    }
}
