//! Acknowledged means durable, whoever made it durable: what a caller is told, an error of its own
//! included, rests on what is durable, or waits for it. An import is the simplest way to have
//! commits on their way; a disk whose syncs wait shows what is told meanwhile.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use heirloom::{Content, DatasetId, Engine, EntityId, Error, Importer, Lsn, Patch, Timestamp};
use heirloom_tests::disk::{Disk, Faults};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

const NAME: &str = "answers";
const LAMP: EntityId = EntityId::from_bytes([1; 16]);
const LATE: EntityId = EntityId::from_bytes([2; 16]);
const GONE: EntityId = EntityId::from_bytes([3; 16]);

fn on(disk: &Disk) -> Engine {
    Engine::builder().dataset_name(NAME).open_backend(disk.clone()).unwrap()
}

/// A lamp, and one that is deleted: on its way, and not durable.
fn begin(engine: &Engine) -> Importer {
    let mut importer = engine.importer().unwrap();
    let device = importer.device("old-app").unwrap();
    let mut draft = importer.commit(device, &[], Timestamp::from_millis(1)).unwrap();
    draft.create(LAMP, "lamp", &Content::new().with("name", "desk")).unwrap();
    draft.create(GONE, "lamp", &Content::new()).unwrap();
    draft.finish().unwrap();
    let mut draft = importer.commit(device, &[], Timestamp::from_millis(2)).unwrap();
    draft.delete(GONE).unwrap();
    draft.finish().unwrap();
    importer
}

/// What another store has of it, as it travels.
fn the_same_commits() -> Vec<Vec<u8>> {
    let other = on(&Disk::new());
    begin(&other).finish().unwrap();
    let all =
        other.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
    all.commits.into_iter().map(|commit| commit.bytes).collect()
}

fn ingest(
    engine: &Engine,
    commits: &[Vec<u8>],
) -> heirloom::Result<heirloom::replication::Ingested> {
    engine.replication().ingest(&commits.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The power goes just now: what is durable.
fn after_a_cut(disk: &Disk) -> Engine {
    on(&disk.after_a_cut(7))
}

#[test]
fn commits_that_another_brought_are_durable_before_they_are_said_to_be_here() {
    let disk = Disk::new();
    let engine = on(&disk);
    let _on_its_way = begin(&engine);
    assert_eq!(engine.snapshot().unwrap().commits().unwrap(), 0);
    let taken = ingest(&engine, &the_same_commits()).unwrap();
    assert_eq!((taken.added, taken.skipped), (0, 2));
    assert_eq!(engine.snapshot().unwrap().commits().unwrap(), 2);
    assert_eq!(after_a_cut(&disk).snapshot().unwrap().commits().unwrap(), 2);
}

#[test]
fn a_session_beside_an_import_of_the_same_history_ends_well() {
    let (here, there) = (on(&Disk::new()), on(&Disk::new()));
    // so large that it travels in parts
    let text: String = (0..400_000u32).map(|i| char::from(33 + (i % 89) as u8)).collect();
    let mut importers = [&here, &there].map(|engine| {
        let mut importer = begin(engine);
        let device = importer.device("writer").unwrap();
        let mut draft = importer.commit(device, &[], Timestamp::from_millis(3)).unwrap();
        draft.create(LATE, "book", &Content::new().with("text", &*text)).unwrap();
        draft.finish().unwrap();
        importer
    });
    importers[1].flush().unwrap();
    let (a, b) = heirloom_sync::sync_in_process(&here, &there).unwrap();
    assert_eq!((a.commits_skipped, b.commits_received), (3, 0));
    assert_eq!(here.log_root().unwrap(), there.log_root().unwrap());
}

#[test]
fn sessions_at_once_that_bring_a_store_the_same_commits_all_end_well() {
    let source = on(&Disk::new());
    for i in 0..40u8 {
        let id = EntityId::v5(&[9; 16], &[i]);
        let note = Content::new().with("n", i64::from(i));
        source.write(|tx| tx.create_with_id(id, "note", &note)).unwrap();
    }
    let from = [source.clone(), on(&Disk::new())];
    heirloom_sync::sync_in_process(&from[0], &from[1]).unwrap();
    for _ in 0..20 {
        let engine = on(&Disk::new());
        thread::scope(|scope| {
            let session = |i: usize| {
                let (engine, peer) = (&engine, &from[i % 2]);
                scope.spawn(move || heirloom_sync::sync_in_process(peer, engine).map(drop))
            };
            let sessions: Vec<_> = (0..6).map(session).collect();
            for session in sessions {
                session.join().unwrap().unwrap();
            }
        });
        assert_eq!(engine.log_root().unwrap(), source.log_root().unwrap());
    }
}

/// Each of these changes nothing and says something.
type Asks = fn(&Engine) -> Result<(), Error>;

const ANSWERS: [(&str, Asks); 6] = [
    ("a read in a write", |e| {
        let found = e.write(|tx| tx.get(LAMP))?;
        found.map(drop).ok_or(Error::NotFound(LAMP))
    }),
    ("a patch that says what is said", |e| {
        e.write(|tx| tx.patch(LAMP, Patch::new().set("name", "desk")))
    }),
    ("a form without a change", |e| {
        e.write(|tx| {
            let form = tx.get(LAMP)?.ok_or(Error::NotFound(LAMP))?;
            tx.put(&form, &form.content())
        })
    }),
    ("it exists", |e| match e.write(|tx| tx.create_with_id(LAMP, "lamp", &Content::new())) {
        Err(Error::Exists { entity: LAMP, .. }) => Ok(()),
        other => other,
    }),
    ("it is deleted", |e| match e.write(|tx| tx.delete(GONE)) {
        Err(Error::Deleted(GONE)) => Ok(()),
        other => other,
    }),
    ("an error of the closure's own", |e| {
        match e.write(|tx| tx.get(LAMP)?.map_or(Ok(()), |_| Err(Error::NotFound(LATE)))) {
            Err(Error::NotFound(LATE)) => Ok(()),
            other => other,
        }
    }),
];

#[test]
fn an_answer_without_a_commit_waits_for_what_it_rests_on() {
    for (what, asks) in ANSWERS {
        let disk = Disk::new();
        let engine = on(&disk);
        let _on_its_way = begin(&engine);
        asks(&engine).unwrap_or_else(|e| panic!("{what}: {e}"));
        for after in [engine, after_a_cut(&disk)] {
            let snapshot = after.snapshot().unwrap();
            assert!(snapshot.get(LAMP).unwrap().is_some(), "{what}");
            assert!(snapshot.get_any(GONE).unwrap().unwrap().is_deleted(), "{what}");
        }
    }
}

#[test]
fn an_import_tells_what_is_wrong_only_of_what_is_durable() {
    let disk = Disk::new();
    let engine = on(&disk);
    let mut importer = begin(&engine);
    let device = importer.device("another").unwrap();
    let mut draft = importer.commit(device, &[], Timestamp::from_millis(3)).unwrap();
    assert!(matches!(draft.delete(LAMP), Err(Error::NotFound(LAMP))), "it is not in this past");
    assert_eq!(after_a_cut(&disk).snapshot().unwrap().commits().unwrap(), 2);
}

#[test]
fn what_cannot_be_made_durable_is_told_to_nobody() {
    for (what, asks) in ANSWERS {
        let disk = Disk::new();
        let engine = on(&disk);
        let on_its_way = begin(&engine);
        disk.set_faults(Faults { sync: Some(disk.counts().syncs + 1), ..Faults::default() });
        let told = asks(&engine);
        assert!(matches!(told, Err(Error::Storage(_))), "{what}: {told:?}");
        let told = asks(&engine);
        assert!(matches!(told, Err(Error::Poisoned)), "{what}: {told:?}");
        drop(on_its_way);
    }
    let disk = Disk::new();
    let engine = on(&disk);
    let _on_its_way = begin(&engine);
    disk.set_faults(Faults { sync: Some(disk.counts().syncs + 1), ..Faults::default() });
    let told = ingest(&engine, &the_same_commits());
    assert!(matches!(told, Err(Error::Storage(_))), "{told:?}");
}

#[test]
fn an_answer_that_rests_on_what_is_durable_writes_nothing() {
    let disk = Disk::new();
    let engine = on(&disk);
    let mut importer = begin(&engine);
    importer.flush().unwrap();
    let before = disk.counts().changes;
    for (what, asks) in ANSWERS {
        asks(&engine).unwrap();
        assert_eq!(disk.counts().changes, before, "{what}");
    }
    importer.flush().unwrap();
    let taken = ingest(&engine, &the_same_commits()).unwrap();
    assert_eq!((taken.skipped, disk.counts().changes), (2, before));
    let dataset = engine.dataset().unwrap();
    engine.replication().adopt(dataset).unwrap();
    assert_eq!(disk.counts().changes, before);
}

/// Who waits at it, and what lets it through.
type Bolt = Option<(Sender<()>, Receiver<()>)>;

/// A disk in memory whose next syncs wait until they are let go.
#[derive(Debug)]
struct Gate {
    bytes: InMemoryBackend,
    shut: Arc<Mutex<Bolt>>,
}

impl StorageBackend for Gate {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        if let Some((reached, open)) = self.shut.lock().unwrap().take() {
            reached.send(()).ok();
            open.recv().ok();
        }
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(offset, data)
    }
}

/// While `writes` is in its sync, `asks` is asked: what it saw of the store before, and after it
/// may answer. Its answer must not come before the sync is through.
fn while_it_syncs<W: Send, A: Send + 'static>(
    dataset: bool,
    writes: impl FnOnce(&Engine) -> W + Send,
    meanwhile: impl FnOnce(&Engine),
    asks: impl FnOnce(&Engine) -> A + Send + 'static,
) -> (Engine, W, A) {
    let shut = Arc::new(Mutex::new(None));
    let backend = Gate { bytes: InMemoryBackend::new(), shut: shut.clone() };
    let builder = Engine::builder();
    let builder = if dataset { builder.dataset_name(NAME) } else { builder };
    let engine = builder.open_backend(backend).unwrap();
    let (reached, is_reached) = mpsc::channel();
    let (open, is_open) = mpsc::channel();
    *shut.lock().unwrap() = Some((reached, is_open));
    let (written, answer) = thread::scope(|scope| {
        let writing = scope.spawn(|| writes(&engine));
        is_reached.recv().unwrap();
        meanwhile(&engine);
        let (tell, told) = mpsc::channel();
        let asking = engine.clone();
        scope.spawn(move || tell.send(asks(&asking)));
        // a wrong answer comes at once; a right one cannot come at all
        assert!(
            told.recv_timeout(Duration::from_millis(200)).is_err(),
            "told before it is durable"
        );
        open.send(()).unwrap();
        (writing.join().unwrap(), told.recv().unwrap())
    });
    (engine, written, answer)
}

fn create(engine: &Engine) -> Result<(), Error> {
    engine.write(|tx| tx.create_with_id(LAMP, "lamp", &Content::new().with("name", "desk")))
}

#[test]
fn an_answer_waits_for_a_batch_that_is_in_its_sync() {
    let (engine, written, answer) = while_it_syncs(true, create, |_| {}, create);
    written.unwrap();
    assert!(matches!(answer, Err(Error::Exists { entity: LAMP, .. })), "{answer:?}");
    assert_eq!(engine.snapshot().unwrap().commits().unwrap(), 1);
}

#[test]
fn what_a_store_knows_of_itself_is_told_once_it_is_durable() {
    let nothing = |engine: &Engine| {
        assert_eq!((engine.dataset(), engine.log_id(), engine.device_id()), (None, None, None));
        assert_eq!(engine.replication().dataset(), None);
    };
    let ask = |engine: &Engine| engine.write(|tx| tx.get(LAMP).map(|found| found.is_some()));
    let (engine, written, there) = while_it_syncs(false, create, nothing, ask);
    written.unwrap();
    assert!(there.unwrap() && engine.dataset().is_some() && engine.log_id().is_some());
}

#[test]
fn a_dataset_that_another_session_adopts_is_waited_for() {
    let dataset = DatasetId::from_name(NAME);
    let adopt = move |engine: &Engine| engine.replication().adopt(dataset);
    let nothing = |engine: &Engine| assert_eq!(engine.replication().dataset(), None);
    let (engine, first, second) = while_it_syncs(false, adopt, nothing, adopt);
    first.unwrap();
    second.unwrap();
    assert_eq!(engine.dataset(), Some(dataset));
}

#[test]
fn a_name_among_peers_that_another_session_drew_is_waited_for_and_written_once() {
    let node = |engine: &Engine| engine.replication().node();
    let (engine, first, second) = while_it_syncs(true, node, |_| {}, node);
    assert_eq!(first.unwrap(), second.unwrap());
    drop(engine);
}

#[test]
fn a_log_that_another_has_just_left_is_waited_for() {
    let leave = |engine: &Engine| engine.start_fresh_log();
    // the first write is through before the gate is shut: nothing is left where nothing was written
    let shut = Arc::new(Mutex::new(None));
    let backend = Gate { bytes: InMemoryBackend::new(), shut: shut.clone() };
    let engine = Engine::builder().dataset_name(NAME).open_backend(backend).unwrap();
    create(&engine).unwrap();
    let (reached, is_reached) = mpsc::channel();
    let (open, is_open) = mpsc::channel();
    *shut.lock().unwrap() = Some((reached, is_open));
    thread::scope(|scope| {
        let first = scope.spawn(|| leave(&engine));
        is_reached.recv().unwrap();
        assert!(engine.log_id().is_some(), "it is not left yet");
        let (tell, told) = mpsc::channel();
        let engine = &engine;
        scope.spawn(move || tell.send(leave(engine)));
        assert!(
            told.recv_timeout(Duration::from_millis(200)).is_err(),
            "told before it is durable"
        );
        open.send(()).unwrap();
        first.join().unwrap().unwrap();
        told.recv().unwrap().unwrap();
    });
    assert_eq!(engine.log_id(), None);
}

#[test]
fn of_two_sessions_that_stage_the_same_part_one_does() {
    use heirloom::replication::StagedHead;
    let engine = on(&Disk::new());
    let replication = engine.replication();
    let peer = heirloom::NodeId::from_bytes([8; 16]);
    let head = StagedHead {
        log: heirloom::LogId::from_bytes([4; 16]),
        sequence: 1.into(),
        chain: heirloom::Chain::from_bytes([5; 32]),
        total: 1 << 20,
        digest: [6; 16],
    };
    for round in 0..20u64 {
        let at = round * 10;
        let staged: Vec<bool> = thread::scope(|scope| {
            let stage = || scope.spawn(|| replication.stage(peer, &head, at, &[7; 10]).is_ok());
            let both = [stage(), stage()];
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        // at the beginning the second begins anew
        assert_eq!(staged.iter().filter(|done| **done).count(), if at == 0 { 2 } else { 1 });
        assert_eq!(replication.staged(peer).unwrap().unwrap().bytes, at + 10);
        assert_eq!(replication.staged_bytes(peer).unwrap().len() as u64, at + 10);
    }
    assert!(engine.verify().unwrap().is_clean());
}
