//! The change log and subscriptions through the public API.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use heirloom::{
    Change, ChangeKind, Content, Cursor, Engine, EntityId, Error, LogId, Lsn, Metadata, Patch,
    Subscription,
};
use proptest::prelude::*;

use super::carried::carry;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);

fn engine(label: &str) -> Engine {
    Engine::builder().label(label).dataset_name("home").in_memory().unwrap()
}

fn open(path: &Path) -> Engine {
    Engine::builder().label("phone").dataset_name("home").open(path).unwrap()
}

fn both_ways(a: &Engine, b: &Engine) {
    carry(a, b);
    carry(b, a);
}

fn create(engine: &Engine, entity_type: &str, n: i64) -> EntityId {
    engine.write(|tx| tx.create(entity_type, &Content::new().with("n", n))).unwrap()
}

fn set(engine: &Engine, id: EntityId, field: &str, n: i64) {
    engine.write(|tx| tx.patch(id, Patch::new().set(field, n))).unwrap();
}

fn all(engine: &Engine) -> Vec<Change> {
    engine.changes(Cursor::START).map(Result::unwrap).collect()
}

type Place = (LogId, u64);

fn place(change: &Change) -> Place {
    (change.log(), change.version().sequence.get())
}

fn places(changes: &[Change]) -> Vec<Place> {
    changes.iter().map(place).collect()
}

/// The naive list: every version of every commit, in the order in which sync would send them.
fn naive(engine: &Engine) -> Vec<Place> {
    let batch =
        engine.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
    let of = |c: &heirloom::replication::WireCommit| {
        let (log, last) = (c.end.log, c.end.sequence);
        (last.get() + 1 - c.versions..=last.get()).map(move |s| (log, s)).collect::<Vec<_>>()
    };
    batch.commits.iter().flat_map(of).collect()
}

#[test]
fn every_version_is_a_change_in_the_order_of_arrival_with_all_that_is_known_of_it() {
    let (phone, tablet) = (engine("phone"), engine("tablet"));
    let why = Metadata::new().with_actor("ada").with_message("first");
    let [lamp, room] = phone
        .write_with(why.clone(), |tx| {
            let lamp = tx.create("lamp", &Content::new().with("n", 1))?;
            Ok::<_, Error>([lamp, tx.create("room", &Content::new().with("n", 1))?])
        })
        .unwrap();
    both_ways(&phone, &tablet);
    set(&phone, lamp, "n", 2);
    set(&tablet, lamp, "m", 3);
    both_ways(&phone, &tablet);
    set(&phone, lamp, "n", 4);
    phone.write(|tx| tx.delete(room)).unwrap();
    let first =
        phone.snapshot().unwrap().history(room).unwrap().last().unwrap().unwrap().reference();
    phone.write(|tx| tx.restore(room, &first)).unwrap();

    let changes = all(&phone);
    use ChangeKind::*;
    let kinds: Vec<_> = changes.iter().map(Change::kind).collect();
    assert_eq!(kinds, [Create, Create, Update, Update, Merge, Delete, Restore]);
    assert_eq!(places(&changes), naive(&phone));
    let local: Vec<_> = changes.iter().map(Change::is_local).collect();
    assert_eq!(local, [true, true, true, false, true, true, true]);

    let snapshot = phone.snapshot().unwrap();
    for change in &changes {
        let version = snapshot.version(&change.version()).unwrap();
        assert_eq!(change.id().unwrap(), version.id().unwrap());
        assert_eq!(
            (
                change.entity(),
                change.commit(),
                change.stamp(),
                change.wall(),
                change.device(),
                change.log()
            ),
            (
                version.entity(),
                version.commit(),
                version.stamp(),
                version.wall(),
                version.device(),
                version.log()
            )
        );
        assert_eq!(change.metadata(), version.metadata());
        assert_eq!(change.entity_type(), if change.entity() == lamp { "lamp" } else { "room" });
        let after = change.after().unwrap().map(|e| e.content());
        assert_eq!(after, snapshot.content_at(&change.version()).unwrap());
    }
    assert_eq!(changes[1].metadata(), &why);
    assert_eq!(changes[0].commit(), changes[1].commit());

    let shown = |e: Result<Option<heirloom::Entity>, Error>| e.unwrap().map(|e| e.content());
    let with = |n: i64, m: i64| Some(Content::new().with("n", n).with("m", m));
    assert_eq!(shown(changes[0].before()), None, "a creation has nothing before it");
    assert_eq!(
        shown(changes[3].before()),
        Some(Content::new().with("n", 1)),
        "what the tablet saw"
    );
    assert_eq!(shown(changes[4].before()), with(2, 3), "a merge comes after both sides together");
    assert_eq!(shown(changes[4].after()), with(4, 3));
    assert_eq!(shown(changes[5].after()), None, "a tombstone");
    assert_eq!(shown(changes[6].before()), None, "it was deleted");
    assert_eq!(shown(changes[6].after()), Some(Content::new().with("n", 1)));
    assert_eq!(changes[5].before().unwrap().unwrap().id(), room);
}

#[test]
fn filters_narrow_down_together() {
    let (phone, tablet) = (engine("phone"), engine("tablet"));
    let lamp = create(&phone, "lamp", 1);
    create(&phone, "room", 1);
    both_ways(&phone, &tablet);
    set(&tablet, lamp, "n", 2);
    create(&tablet, "lamp", 3);
    carry(&tablet, &phone);
    set(&phone, lamp, "n", 4);

    let count = |c: heirloom::Changes| c.map(Result::unwrap).count();
    let from = || phone.changes(Cursor::START);
    assert_eq!(count(from()), 5);
    assert_eq!(count(from().of_type("lamp")), 4);
    assert_eq!(count(from().of_type("nothing")), 0);
    assert_eq!(count(from().entity(lamp)), 3);
    assert_eq!(count(from().local()), 3);
    assert_eq!(count(from().remote()), 2);
    assert_eq!(count(from().local().remote()), 2, "the last word counts");
    assert_eq!(count(from().by(tablet.log_id().unwrap())), 2);
    assert_eq!(count(from().by(tablet.log_id().unwrap()).entity(lamp)), 1);
    assert_eq!(count(from().of_type("lamp").local()), 2);
    // what is left out is passed
    let mut rooms = from().of_type("room");
    assert!(rooms.by_ref().last().is_some());
    assert_eq!(rooms.cursor(), phone.cursor().unwrap());
}

#[test]
fn the_type_is_that_of_the_entity_now() {
    let (a, b) = (engine("a"), engine("b"));
    let id = EntityId::v5(&[1; 16], b"kitchen");
    a.write(|tx| tx.create_with_id(id, "lamp", &Content::new())).unwrap();
    b.write(|tx| tx.create_with_id(id, "light", &Content::new())).unwrap();
    both_ways(&a, &b);
    for e in [&a, &b] {
        let now = e.snapshot().unwrap().get(id).unwrap().unwrap().entity_type().to_owned();
        assert!(all(e).iter().all(|c| c.entity_type() == now));
        assert_eq!(e.changes(Cursor::START).of_type(now).count(), 2);
    }
}

#[test]
fn a_scan_gives_more_once_more_is_there() {
    let engine = engine("phone");
    let mut changes = engine.changes(Cursor::START);
    assert!(changes.next().is_none());
    assert_eq!(changes.cursor(), Cursor::START);
    let id = create(&engine, "lamp", 1);
    assert_eq!(changes.next().unwrap().unwrap().entity(), id);
    assert!(changes.next().is_none());
    set(&engine, id, "n", 2);
    assert_eq!(changes.next().unwrap().unwrap().kind(), ChangeKind::Update);
    assert!(changes.next().is_none());
}

#[test]
fn a_cursor_goes_on_where_it_was_after_the_file_was_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = open(&path);
    engine
        .write(|tx| (0..3).try_for_each(|n| tx.create("a", &Content::new().with("n", n)).map(drop)))
        .unwrap();
    let inside = all(&engine)[1].cursor();
    let end = engine.cursor().unwrap();
    assert!(Cursor::START < inside && inside < end);
    let (inside, end) = (inside.to_string(), end.to_string());
    engine.close().unwrap();

    let engine = open(&path);
    assert!(engine.changes(end.parse().unwrap()).next().is_none());
    create(&engine, "b", 1);
    let after = |text: &str| -> Vec<_> {
        engine.changes(text.parse().unwrap()).map(|c| c.unwrap().entity_type().to_owned()).collect()
    };
    assert_eq!(after(&inside), ["a", "b"]);
    assert_eq!(after(&end), ["b"]);
    let mut late = engine.subscribe_from(inside.parse().unwrap());
    assert_eq!(late.next().unwrap().entity_type(), "a");
}

#[test]
fn a_cursor_of_an_older_copy_or_another_file_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (path, backup) = (dir.path().join("store"), dir.path().join("backup"));
    let engine = open(&path);
    let id = create(&engine, "lamp", 1);
    let (old, first) = (engine.cursor().unwrap(), all(&engine)[0].clone());
    engine.close().unwrap();
    std::fs::copy(&path, &backup).unwrap();

    let engine = open(&path);
    set(&engine, id, "n", 2);
    engine.write(|tx| (0..2).try_for_each(|_| tx.create("x", &Content::new()).map(drop))).unwrap();
    let cursors: Vec<_> = all(&engine)[1..].iter().map(Change::cursor).collect();
    engine.close().unwrap();
    std::fs::copy(&backup, &path).unwrap();

    let engine = open(&path);
    let lost = |engine: &Engine, cursor: Cursor| {
        let scan = matches!(engine.changes(cursor).next(), Some(Err(Error::CursorLost)));
        assert_eq!(
            scan,
            matches!(engine.subscribe_from(cursor).try_next(), Err(Error::CursorLost))
        );
        scan
    };
    assert!(cursors.iter().all(|c| lost(&engine, *c)), "the file has not got so far");
    // and when it has, it is by another way
    for n in 0..3 {
        set(&engine, id, "n", 10 + n);
    }
    assert!(cursors.iter().all(|c| lost(&engine, *c)));
    assert!(!lost(&engine, old) && !lost(&engine, Cursor::START));
    assert_eq!(first.cursor(), old);
    assert_eq!(engine.changes(old).count(), 3);

    let other = self::engine("other");
    create(&other, "lamp", 1);
    assert!(lost(&other, old));
    assert!(engine.changes("0.0.00000000000000ff".parse().unwrap()).next().unwrap().is_err());
    assert!(engine.changes("0.5.0000000000000000".parse().unwrap()).next().unwrap().is_err());
}

#[test]
fn text_that_is_no_cursor_is_an_error() {
    for text in [
        "",
        "1",
        "1.0",
        "1.0.ff",
        "01.0.0000000000000000",
        "1.0.00000000000000FF",
        "1.0.0000000000000000.",
        "-1.0.0000000000000000",
    ] {
        assert!(matches!(text.parse::<Cursor>(), Err(Error::Invalid(_))), "{text:?}");
    }
    assert_eq!(Cursor::START.to_string().parse::<Cursor>().unwrap(), Cursor::START);
}

/// A file was copied and both copies wrote: the one that hears of it goes on under a fresh log, and
/// knows its own in both.
#[test]
fn local_is_what_this_file_wrote_in_all_its_logs() {
    let dir = tempfile::tempdir().unwrap();
    let (left, right) = (dir.path().join("left"), dir.path().join("right"));
    let a = open(&left);
    let id = create(&a, "lamp", 0);
    a.close().unwrap();
    std::fs::copy(&left, &right).unwrap();
    let (mut a, mut b) = (open(&left), open(&right));
    set(&a, id, "n", 1);
    carry(&a, &b);
    let origins = |e: &Engine| -> Vec<_> { all(e).iter().map(Change::is_local).collect() };
    assert_eq!(origins(&b), [true, false], "before it wrote again");
    set(&a, id, "n", 2);
    carry(&a, &b);
    set(&b, id, "n", 3);
    assert_ne!(a.log_id(), b.log_id(), "the premise: b left the log");
    carry(&b, &a);
    set(&a, id, "n", 4);
    for _ in 0..2 {
        assert_eq!(origins(&a), [true, true, true, false, true]);
        assert_eq!(origins(&b), [true, false, false, true]);
        assert_eq!(b.changes(Cursor::START).local().count(), 2);
        assert_eq!(b.changes(Cursor::START).remote().count(), 2);
        a.close().unwrap();
        b.close().unwrap();
        (a, b) = (open(&left), open(&right));
    }

    // and once more: a chain of three logs
    b.close().unwrap();
    std::fs::copy(&right, dir.path().join("third")).unwrap();
    let (b, c) = (open(&right), open(&dir.path().join("third")));
    set(&b, id, "n", 5);
    carry(&b, &c);
    assert_eq!(origins(&c), [true, false, false, true, false]);
    set(&c, id, "n", 6);
    assert_eq!(origins(&c), [true, false, false, true, false, true]);
}

#[test]
fn a_subscription_wakes_when_another_thread_writes() {
    let engine = engine("phone");
    create(&engine, "lamp", 0);
    let mut subscription = engine.subscribe().unwrap();
    assert!(subscription.try_next().unwrap().is_none(), "only from now on");
    let before = Instant::now();
    assert!(subscription.next_timeout(SHORT).unwrap().is_none());
    assert!(before.elapsed() >= SHORT);
    let (asleep, start) = mpsc::channel();
    std::thread::scope(|scope| {
        let listener = scope.spawn(move || {
            asleep.send(()).unwrap();
            let first = subscription.next().unwrap();
            (first, subscription.next_timeout(LONG).unwrap().unwrap())
        });
        start.recv().unwrap();
        std::thread::sleep(SHORT);
        let id = create(&engine, "lamp", 1);
        set(&engine, id, "n", 2);
        let (first, second) = listener.join().unwrap();
        assert_eq!((first.entity(), first.kind()), (id, ChangeKind::Create));
        assert_eq!((second.entity(), second.kind()), (id, ChangeKind::Update));
    });
    let mut subscription = engine.subscribe().unwrap();
    create(&engine, "lamp", 3);
    assert!(subscription.try_next().unwrap().is_some(), "a thread sees its own write at once");
    assert!(subscription.next_timeout(Duration::ZERO).unwrap().is_none());
}

#[test]
fn subscriptions_take_the_same_filters() {
    let (phone, tablet) = (engine("phone"), engine("tablet"));
    let lamp = create(&phone, "lamp", 1);
    carry(&phone, &tablet);
    let now = || phone.subscribe().unwrap();
    let tablets = {
        create(&tablet, "room", 1);
        tablet.log_id().unwrap()
    };
    let mut subscriptions = [
        now().of_type("lamp"),
        now().entity(lamp),
        now().local(),
        now().remote(),
        now().by(tablets),
    ];
    set(&phone, lamp, "n", 2);
    create(&phone, "lamp", 3);
    carry(&tablet, &phone);
    let counts =
        subscriptions.each_mut().map(|s| std::iter::from_fn(|| s.try_next().unwrap()).count());
    assert_eq!(counts, [2, 1, 2, 1, 1]);
    assert!(subscriptions.iter().all(|s| s.cursor() == phone.cursor().unwrap()));
}

fn assert_closed(mut subscription: Subscription) {
    assert!(matches!(subscription.next(), Err(Error::Closed)));
    assert!(matches!(subscription.try_next(), Err(Error::Closed)));
    assert!(matches!(subscription.next_timeout(LONG), Err(Error::Closed)));
    let polled = subscription.poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(Error::Closed))));
}

#[test]
fn closing_and_dropping_an_engine_end_every_subscription_and_free_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for close in [true, false] {
        let engine = open(&path);
        create(&engine, "lamp", 1);
        let kept = engine.changes(Cursor::START).next().unwrap().unwrap();
        let flag = Arc::new(Flag::default());
        let mut polled = engine.subscribe().unwrap();
        assert!(polled.poll_next(&mut Context::from_waker(&flag.clone().into())).is_pending());
        let (asleep, start) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (mut subscription, asleep) = (engine.subscribe().unwrap(), asleep.clone());
                scope.spawn(move || {
                    asleep.send(()).unwrap();
                    assert!(matches!(subscription.next(), Err(Error::Closed)));
                    assert_closed(subscription);
                });
            }
            (0..3).for_each(|_| start.recv().unwrap());
            std::thread::sleep(SHORT);
            if close { engine.close().unwrap() } else { drop(engine) }
        });
        assert_eq!(flag.0.load(Ordering::SeqCst), 1);
        assert_closed(polled);
        // nothing that is left of it keeps the file
        assert!(matches!(kept.after(), Err(Error::Closed)));
        assert_eq!(kept.kind(), ChangeKind::Create);
        open(&path).close().unwrap();
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Flag(AtomicU64);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_polled_subscription_wakes_its_task_once_and_the_last_waker_counts() {
    let engine = engine("phone");
    let mut subscription = engine.subscribe().unwrap();
    let (old, new) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
    let woken = || (old.0.load(Ordering::SeqCst), new.0.load(Ordering::SeqCst));
    for flag in [&old, &new, &new] {
        assert!(
            subscription.poll_next(&mut Context::from_waker(&flag.clone().into())).is_pending()
        );
    }
    let id = create(&engine, "lamp", 1);
    assert_eq!(woken(), (0, 1));
    set(&engine, id, "n", 2);
    assert_eq!(woken(), (0, 1), "who was woken has to ask again");
    let cx = &mut Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(change)) = subscription.poll_next(cx) else { panic!("it is there") };
    assert_eq!(change.entity(), id);
    assert!(
        matches!(subscription.poll_next(cx), Poll::Ready(Ok(c)) if c.kind() == ChangeKind::Update)
    );
    assert!(subscription.poll_next(&mut Context::from_waker(&new.clone().into())).is_pending());
    drop(subscription);
    assert_eq!(Arc::strong_count(&new), 1, "nothing of a dropped subscription is left");
    set(&engine, id, "n", 3);
    assert_eq!(woken(), (0, 1));
}

#[test]
fn a_long_way_without_a_match_gives_way_to_other_tasks() {
    let engine = engine("phone");
    let id = create(&engine, "lamp", 0);
    for n in 0..600 {
        set(&engine, id, "n", n);
    }
    create(&engine, "room", 1);
    let mut subscription = engine.subscribe_from(Cursor::START).of_type("room");
    let flag = Arc::new(Flag::default());
    let waker: Waker = flag.clone().into();
    let mut turns = 0;
    let found = loop {
        match subscription.poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(found) => break found.unwrap(),
            Poll::Pending => turns += 1,
        }
        assert_eq!(flag.0.load(Ordering::SeqCst), turns, "it asks to be polled again");
    };
    assert_eq!((found.entity_type(), turns), ("room", 2));
}

/// A storage whose syncs can be held back, or fail.
#[derive(Debug, Default)]
struct Disk {
    memory: redb::backends::InMemoryBackend,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Gate {
    #[default]
    Open,
    Shut,
    Broken,
    Mad,
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        let shut = |g: &mut Gate| *g == Gate::Shut;
        let gate = *self.gate.1.wait_while(self.gate.0.lock().unwrap(), shut).unwrap();
        assert_ne!(gate, Gate::Mad, "as below us happens on a damaged page");
        if gate == Gate::Broken { Err(io::Error::other("no disk")) } else { Ok(()) }
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.memory.write(offset, data)
    }
}

/// An engine on such a disk, and how to turn its gate.
fn gated() -> (Engine, impl Fn(Gate)) {
    let disk = Disk::default();
    let gate = disk.gate.clone();
    let turn = move |to: Gate| {
        *gate.0.lock().unwrap() = to;
        gate.1.notify_all();
    };
    (Engine::builder().open_backend(disk).unwrap(), turn)
}

#[test]
fn nothing_is_announced_before_it_is_durable_nor_if_it_never_is() {
    let (engine, turn) = gated();
    let id = create(&engine, "lamp", 0);
    let (mut subscription, mut changes) =
        (engine.subscribe().unwrap(), engine.changes(Cursor::START));
    let cursor = engine.cursor().unwrap();
    assert_eq!(changes.by_ref().count(), 1);

    turn(Gate::Shut);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| set(&engine, id, "n", 1));
        assert!(subscription.next_timeout(SHORT * 3).unwrap().is_none());
        assert!(changes.next().is_none());
        assert_eq!(engine.cursor().unwrap(), cursor);
        turn(Gate::Open);
        assert_eq!(subscription.next_timeout(LONG).unwrap().unwrap().kind(), ChangeKind::Update);
        writer.join().unwrap();
    });
    let cursor = engine.cursor().unwrap();
    turn(Gate::Broken);
    assert!(matches!(engine.write(|tx| tx.delete(id)), Err(Error::Storage(_))));
    turn(Gate::Open);
    assert!(matches!(engine.write(|tx| tx.delete(id)), Err(Error::Poisoned)));
    assert!(subscription.next_timeout(SHORT).unwrap().is_none());
    assert_eq!((engine.cursor().unwrap(), changes.count()), (cursor, 1));
}

/// Writers that wait behind one whose write fails or panics are told, and nobody hangs.
#[test]
fn a_write_that_fails_or_panics_fails_for_all_behind_it() {
    for end in [Gate::Broken, Gate::Mad] {
        let (engine, turn) = gated();
        let id = create(&engine, "lamp", 0);
        let mut subscription = engine.subscribe().unwrap();
        turn(Gate::Shut);
        std::thread::scope(|scope| {
            let write = |n: i64| {
                let engine = &engine;
                scope.spawn(move || engine.write(|tx| tx.patch(id, Patch::new().set("n", n))))
            };
            let writers = [write(1), write(2), write(3)];
            std::thread::sleep(SHORT);
            turn(end);
            // whichever of them went to the disk is told why, and those behind it that it went
            // wrong
            let told = writers.map(|writer| writer.join().unwrap().unwrap_err());
            let is_cause = |e: &&Error| match end {
                Gate::Mad => matches!(e, Error::Corrupt { .. }),
                _ => matches!(e, Error::Storage(_)),
            };
            assert_eq!(told.iter().filter(is_cause).count(), 1, "{told:?}");
            let behind = told.iter().filter(|e| matches!(e, Error::Poisoned));
            assert_eq!(behind.count(), 2, "{told:?}");
        });
        turn(Gate::Open);
        assert!(matches!(engine.write(|tx| tx.delete(id)), Err(Error::Poisoned)));
        assert!(subscription.try_next().unwrap().is_none());
        assert_eq!(engine.snapshot().unwrap().commits().unwrap(), 1);
    }
}

#[test]
fn each_subscriber_sees_each_change_of_many_writers_once_and_in_order() {
    const WRITERS: i64 = 4;
    const EACH: i64 = 60;
    const CHANGES: usize = (WRITERS * EACH * 2) as usize;
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir.path().join("store"));
    let start = Barrier::new(WRITERS as usize + 3);
    let (seen, ids) = std::thread::scope(|scope| {
        let subscribers: Vec<_> = (0..3)
            .map(|kind| {
                let (mut subscription, engine, start) =
                    (engine.subscribe().unwrap(), engine.clone(), &start);
                scope.spawn(move || {
                    start.wait();
                    let mut seen = Vec::new();
                    while seen.len() < CHANGES {
                        let change = match kind {
                            0 => subscription.next().unwrap(),
                            1 => subscription.next_timeout(LONG).unwrap().expect("more will come"),
                            _ => block_on(&mut subscription).unwrap(),
                        };
                        // what is announced is there for everybody
                        engine.snapshot().unwrap().version(&change.version()).unwrap();
                        assert!(change.after().unwrap().is_some());
                        assert_eq!(change.cursor(), subscription.cursor());
                        seen.push(place(&change));
                    }
                    assert!(subscription.try_next().unwrap().is_none());
                    seen
                })
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|w| {
                let (engine, start) = (&engine, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut own = engine.subscribe().unwrap().of_type("counter");
                    for n in 0..EACH {
                        let id = engine
                            .write(|tx| {
                                tx.create("mark", &Content::new().with("w", w))?;
                                tx.create("counter", &Content::new().with("n", n).with("w", w))
                            })
                            .unwrap();
                        // its own write is there when it returns, behind those of others
                        while own.try_next().unwrap().expect("announced").entity() != id {}
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|w| w.join().unwrap());
        let seen: Vec<_> = subscribers.into_iter().map(|s| s.join().unwrap()).collect();
        (seen, naive(&engine))
    });
    assert_eq!(ids.len(), CHANGES);
    assert!(seen.iter().all(|s| *s == ids));
    assert!(engine.verify().unwrap().is_clean());
}

/// The least executor: parks the thread until the task is woken.
fn block_on(subscription: &mut Subscription) -> Result<Change, Error> {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker: Waker = Arc::new(Unpark(std::thread::current())).into();
    loop {
        match subscription.poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(out) => return out,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_sleeping_subscription_neither_grows_the_file_nor_misses_a_change() {
    let size = |subscribe: bool| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let engine = open(&path);
        let id = create(&engine, "lamp", 0);
        let (mut sleeping, mut scan) = (None, None);
        if subscribe {
            sleeping = Some(engine.subscribe_from(Cursor::START));
            let mut begun = engine.changes(Cursor::START);
            begun.next().unwrap().unwrap();
            scan = Some(begun);
        }
        for n in 1..=1500 {
            set(&engine, id, "n", n);
        }
        if let (Some(mut s), Some(c)) = (sleeping, scan) {
            assert_eq!(std::iter::from_fn(|| s.try_next().unwrap()).count(), 1501);
            assert_eq!(c.count(), 1500);
        }
        engine.close().unwrap();
        std::fs::metadata(path).unwrap().len()
    };
    assert!(size(true) < 2 * size(false));
}

#[test]
fn the_types_can_go_where_threads_are() {
    fn sends<T: Send + Sync + 'static>() {}
    sends::<Change>();
    sends::<heirloom::Changes>();
    sends::<Subscription>();
    sends::<Cursor>();
}

/// A device, one of a few things that it does, and to which entity.
type Op = (usize, u8, usize);

/// Three devices that write and meet; the first has all in the end.
fn play(ops: &[Op]) -> Engine {
    let devices = ["a", "b", "c"].map(engine);
    let ids: Vec<_> = (0..4u8).map(|n| EntityId::v5(&[0; 16], &[n])).collect();
    for (n, (device, what, which)) in ops.iter().enumerate() {
        let (engine, id, n) = (&devices[*device], ids[*which], n as i64);
        let known = engine.snapshot().unwrap().get_any(id).unwrap();
        match (what, known.as_ref().map(|e| e.is_deleted())) {
            (0, _) => carry(&devices[(device + 1) % 3], engine),
            (1, _) => {
                let many = |tx: &mut heirloom::Transaction<'_>| {
                    (0..3)
                        .try_for_each(|i| tx.create("many", &Content::new().with("i", i)).map(drop))
                };
                engine.write(many).unwrap();
            }
            (_, None) => {
                let kind = if which % 2 == 0 { "even" } else { "odd" };
                engine
                    .write(|tx| tx.create_with_id(id, kind, &Content::new().with("n", n)))
                    .unwrap();
            }
            (_, Some(true)) => {
                let snapshot = engine.snapshot().unwrap();
                let last =
                    snapshot.history(id).unwrap().map(Result::unwrap).find(|v| !v.is_tombstone());
                engine.write(|tx| tx.restore(id, &last.unwrap().reference())).unwrap();
            }
            (2, _) => engine.write(|tx| tx.delete(id)).unwrap(),
            _ => set(engine, id, if what % 2 == 0 { "n" } else { "m" }, n),
        }
    }
    carry(&devices[1], &devices[0]);
    carry(&devices[2], &devices[0]);
    devices[0].clone()
}

/// What each change is, found by other means: histories, walked entity by entity.
fn histories(engine: &Engine) -> BTreeMap<Place, (EntityId, ChangeKind, Option<Content>)> {
    let snapshot = engine.snapshot().unwrap();
    let mut out = BTreeMap::new();
    for id in snapshot.entity_ids().unwrap().map(Result::unwrap) {
        for version in snapshot.history(id).unwrap().map(Result::unwrap) {
            let kind = match version.kind() {
                heirloom::Kind::Create => ChangeKind::Create,
                heirloom::Kind::Delete => ChangeKind::Delete,
                heirloom::Kind::Restore => ChangeKind::Restore,
                _ if version.parents().len() > 1 => ChangeKind::Merge,
                _ => ChangeKind::Update,
            };
            let content = snapshot.content_at(&version.reference()).unwrap();
            let place = (version.log(), version.reference().sequence.get());
            out.insert(place, (id, kind, content));
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn scans_cut_anywhere_and_resumed_are_one_scan_and_that_is_the_naive_list(
        ops in prop::collection::vec((0usize..3, 0u8..7, 0usize..4), 1..60),
        cuts in prop::collection::vec(0usize..5, 1..20),
        filter in 0u8..5,
    ) {
        let engine = play(&ops);
        let whole = all(&engine);
        prop_assert_eq!(places(&whole), naive(&engine));
        let known = histories(&engine);
        prop_assert_eq!(known.len(), whole.len());
        for c in &whole {
            let (id, kind, content) = &known[&place(c)];
            prop_assert_eq!((c.entity(), c.kind()), (*id, *kind));
            prop_assert_eq!(&c.after().unwrap().map(|e| e.content()), content);
            prop_assert_eq!(c.is_local(), Some(c.log()) == engine.log_id());
        }
        // a version with one parent has before it what that parent holds
        for c in whole.iter().filter(|c| c.kind() != ChangeKind::Merge) {
            let version = engine.snapshot().unwrap().version(&c.version()).unwrap();
            if let [parent] = version.parents() {
                let before = &known[&(parent.log, parent.sequence.get())].2;
                prop_assert_eq!(&c.before().unwrap().map(|e| e.content()), before);
            }
        }
        prop_assert!(whole.windows(2).all(|w| w[0].cursor() < w[1].cursor()));

        let entity = EntityId::v5(&[0; 16], &[1]);
        let wanted = |c: &Change| match filter {
            0 => true,
            1 => c.is_local(),
            2 => c.entity_type() == "many",
            3 => c.entity() == entity,
            _ => !c.is_local(),
        };
        let scan = |from: Cursor| {
            let changes = engine.changes(from);
            match filter {
                0 => changes,
                1 => changes.local(),
                2 => changes.of_type("many"),
                3 => changes.entity(entity),
                _ => changes.remote(),
            }
        };
        let expected: Vec<_> = whole.iter().filter(|c| wanted(c)).map(place).collect();
        let (mut cursor, mut found) = (Cursor::START, Vec::new());
        for n in cuts.iter().chain(std::iter::once(&usize::MAX)) {
            let mut part = scan(cursor);
            for c in part.by_ref().take(*n) {
                found.push(place(&c.unwrap()));
            }
            cursor = part.cursor().to_string().parse().unwrap();
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(cursor, engine.cursor().unwrap());
        // each change's own cursor goes on after it
        for (i, c) in whole.iter().enumerate() {
            let next = engine.changes(c.cursor()).next().map(|c| place(&c.unwrap()));
            prop_assert_eq!(next, whole.get(i + 1).map(place));
        }
    }
}

#[test]
fn a_live_query_sees_what_enters_changes_and_leaves() {
    let engine = Engine::in_memory().unwrap();
    let in_kitchen = |e: &heirloom::Entity| e.get("room").unwrap() == Some("kitchen".into());
    let mut kitchen = engine.subscribe().unwrap().of_type("lamp").matching(in_kitchen);
    let lamp = |room: &str| Content::new().with("room", room).with("on", false);
    let stays = engine.write(|tx| tx.create("lamp", &lamp("hall"))).unwrap();
    let moves = engine.write(|tx| tx.create("lamp", &lamp("kitchen"))).unwrap();
    engine.write(|tx| tx.patch(stays, Patch::new().set("on", true))).unwrap();
    engine.write(|tx| tx.patch(moves, Patch::new().set("on", true))).unwrap();
    engine.write(|tx| tx.patch(moves, Patch::new().set("room", "hall"))).unwrap();
    engine.write(|tx| tx.patch(moves, Patch::new().set("on", false))).unwrap();
    engine.write(|tx| tx.patch(moves, Patch::new().set("room", "kitchen"))).unwrap();
    engine.write(|tx| tx.delete(moves)).unwrap();
    let mut seen = Vec::new();
    while let Some(change) = kitchen.try_next().unwrap() {
        assert_eq!(change.entity(), moves);
        seen.push((change.kind(), change.after().unwrap().is_some_and(|e| in_kitchen(&e))));
    }
    use heirloom::ChangeKind::*;
    assert_eq!(
        seen,
        [(Create, true), (Update, true), (Update, false), (Update, true), (Delete, false)]
    );
}

#[test]
fn what_cannot_be_shown_stands_in_no_live_querys_way() {
    let (phone, tablet) = (engine("phone"), engine("tablet"));
    let mut sevens =
        tablet.subscribe().unwrap().matching(|e| e.get("n").unwrap() == Some(7.into()));
    let absent = create(&phone, "lamp", 1);
    let batch =
        phone.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
    let mut bytes = batch.commits[0].bytes.clone();
    // a body that does not give the root of the states: kept, but never shown
    let at = bytes.len() - 2;
    bytes[at] ^= 1;
    assert_eq!(tablet.replication().ingest(&[&bytes]).unwrap().unverified, 1);
    create(&tablet, "lamp", 6);
    let lamp = create(&tablet, "lamp", 7);
    let change = sevens.try_next().unwrap().unwrap();
    assert_eq!(change.entity(), absent, "whether it matched cannot be told");
    assert!(matches!(change.after(), Err(Error::Absent(_))));
    assert_eq!(sevens.try_next().unwrap().unwrap().entity(), lamp);
    assert!(sevens.try_next().unwrap().is_none());
}

/// Devices that have met over one entity, which is neither plugged in nor on.
fn lamp_on(devices: &[&Engine]) -> EntityId {
    let off = Content::new().with("plugged", false).with("on", false).with("broken", false);
    let id = devices[0].write(|tx| tx.create("lamp", &off)).unwrap();
    devices.iter().for_each(|device| carry(devices[0], device));
    id
}

fn turn_on(engine: &Engine, id: EntityId, field: &str) {
    engine.write(|tx| tx.patch(id, Patch::new().set(field, true))).unwrap();
}

fn shines(e: &heirloom::Entity) -> bool {
    let is = |field: &str| e.get(field).unwrap() == Some(true.into());
    is("plugged") && is("on") && !is("broken")
}

#[test]
fn what_enters_or_leaves_a_selection_only_by_a_merge_is_told() {
    let [phone, tablet, watch] = ["phone", "tablet", "watch"].map(engine);
    let id = lamp_on(&[&phone, &tablet, &watch]);
    let mut shining = phone.subscribe().unwrap().of_type("lamp").matching(shines);
    turn_on(&phone, id, "plugged");
    assert!(shining.try_next().unwrap().is_none());
    turn_on(&tablet, id, "on");
    turn_on(&watch, id, "broken");

    carry(&tablet, &phone);
    let entered = shining.try_next().unwrap().expect("the merge shines");
    assert_eq!(entered.device(), tablet.device_id().unwrap());
    for (entity, is) in [(entered.before(), false), (entered.after(), false)] {
        assert_eq!(shines(&entity.unwrap().unwrap()), is, "its author never saw it shine");
    }
    assert!(!shines(&entered.shown_before().unwrap().unwrap()));
    assert!(shines(&entered.shown_after().unwrap().unwrap()));
    assert!(shining.try_next().unwrap().is_none());

    carry(&watch, &phone);
    let left = shining.try_next().unwrap().expect("and now it does not");
    assert!(shines(&left.shown_before().unwrap().unwrap()));
    assert!(!shines(&left.shown_after().unwrap().unwrap()));
    assert!(shining.try_next().unwrap().is_none());

    // who comes later is told the same
    let later: Vec<_> =
        phone.changes(Cursor::START).matching(shines).map(|c| c.unwrap().cursor()).collect();
    assert_eq!(later, [entered.cursor(), left.cursor()]);
    // and what was shown then does not change with what comes
    turn_on(&phone, id, "on");
    assert!(shines(&entered.shown_after().unwrap().unwrap()));
    assert!(phone.verify().unwrap().is_clean());
}

/// Two devices with one entity of two types: what the phone made came first in the order of writes.
fn two_types(id: EntityId) -> [Engine; 2] {
    let at = |label: &str, millis: i64| {
        let clock = move || heirloom::Timestamp::from_millis(millis);
        let builder = Engine::builder().label(label).dataset_name("home").wall_clock(clock);
        builder.index("lamp", "n").index("sofa", "n").in_memory().unwrap()
    };
    let devices = [at("phone", 1_000_000), at("tablet", 2_000_000)];
    for (device, entity_type) in devices.iter().zip(["sofa", "lamp"]) {
        let content = Content::new().with("n", 1);
        device.write(|tx| tx.create_with_id(id, entity_type, &content)).unwrap();
    }
    devices
}

#[test]
fn subscribers_of_both_types_are_told_of_an_entity_whose_type_changes_on_arrival() {
    let id = EntityId::v5(&[0; 16], b"by serial number");
    let [phone, tablet] = two_types(id);
    let subscribe = |entity_type: &str| tablet.subscribe().unwrap().of_type(entity_type);
    let [mut lamps, mut sofas, mut beds] = ["lamp", "sofa", "bed"].map(subscribe);
    let ones = |e: &heirloom::Entity| e.get("n").unwrap() == Some(1.into());
    let (mut lamps_of_one, mut sofas_of_two) =
        (subscribe("lamp").matching(ones), subscribe("sofa").matching(move |e| !ones(e)));
    carry(&phone, &tablet);
    for told in [&mut lamps, &mut sofas, &mut lamps_of_one] {
        let change = told.try_next().unwrap().expect("it was a lamp and is a sofa");
        assert_eq!((change.entity_type(), change.type_before()), ("sofa", Some("lamp")));
        assert_eq!(change.shown_before().unwrap().unwrap().entity_type(), "lamp");
        assert_eq!(change.shown_after().unwrap().unwrap().entity_type(), "sofa");
        assert!(told.try_next().unwrap().is_none());
    }
    for silent in [&mut beds, &mut sofas_of_two] {
        assert!(silent.try_next().unwrap().is_none());
    }
    // the other way round nothing changes, and nobody else hears of it
    let [mut lamps, mut sofas] = ["lamp", "sofa"].map(|t| phone.subscribe().unwrap().of_type(t));
    carry(&tablet, &phone);
    assert_eq!(sofas.try_next().unwrap().unwrap().type_before(), None);
    assert!(lamps.try_next().unwrap().is_none());
    // later too, and from then on it is a sofa
    set(&tablet, id, "n", 2);
    let told = |t: &str| tablet.changes(Cursor::START).of_type(t).count();
    assert_eq!((told("lamp"), told("sofa"), told("bed")), (2, 3, 0));
    assert!(tablet.verify().unwrap().is_clean() && phone.verify().unwrap().is_clean());
}

#[test]
fn a_local_entity_that_yields_to_one_that_travels_is_told_to_subscribers_of_both_types() {
    let id = EntityId::v5(&[0; 16], b"by hand");
    let builder = Engine::builder().label("phone").dataset_name("home").local_type("draft");
    let (phone, hub) = (builder.in_memory().unwrap(), engine("hub"));
    let one = Content::new().with("n", 1);
    create(&phone, "draft", 7);
    phone.write(|tx| tx.create_with_id(id, "draft", &one)).unwrap();
    create(&phone, "draft", 8);
    hub.write(|tx| tx.create_with_id(id, "lamp", &one.clone().with("n", 2))).unwrap();
    let [mut drafts, mut lamps] = ["draft", "lamp"].map(|t| phone.subscribe().unwrap().of_type(t));
    let mut ones = phone.subscribe().unwrap().matching(|e| e.get("n").unwrap() == Some(1.into()));
    carry(&hub, &phone);
    for told in [&mut drafts, &mut lamps, &mut ones] {
        let change = told.try_next().unwrap().expect("it was a draft and is a lamp");
        assert_eq!((change.entity_type(), change.type_before()), ("lamp", Some("draft")));
        let n = |e: Option<heirloom::Entity>| e.unwrap().get("n").unwrap();
        assert_eq!(n(change.shown_before().unwrap()), Some(1.into()));
        assert_eq!(n(change.shown_after().unwrap()), Some(2.into()));
    }
}

#[test]
fn all_that_is_derived_follows_an_arrival_that_changes_the_type_or_only_the_merge() {
    let id = EntityId::v5(&[0; 16], b"by serial number");
    let [phone, tablet] = two_types(id);
    let seen = |engine: &Engine| {
        let snapshot = engine.snapshot().unwrap();
        // twice, so that the second comes from memory
        let entity = [(); 2].map(|()| snapshot.get(id).unwrap().unwrap())[1].clone();
        let of = |t: &str| {
            let hits = |n: i64| snapshot.query(t, "n").unwrap().equals(n).count().unwrap();
            let typed = engine.collection::<Content>(t).iter_in(&snapshot).count();
            (snapshot.list(t).count().unwrap(), typed, [hits(1), hits(2), hits(3)])
        };
        let open = snapshot.unsettled().unwrap().count();
        (entity.entity_type().to_owned(), entity.get("n").unwrap(), of("lamp"), of("sofa"), open)
    };
    let none = (0, 0, [0, 0, 0]);
    let lamp = || ("lamp".to_owned(), Some(1.into()), (1, 1, [1, 0, 0]), none, 0);
    assert_eq!(seen(&tablet), lamp());
    let old = tablet.snapshot().unwrap();
    carry(&phone, &tablet);
    // two equal values are no conflict, two heads are unsettled
    let sofa = |n: i64, hits, open| ("sofa".to_owned(), Some(n.into()), none, (1, 1, hits), open);
    assert_eq!(seen(&tablet), sofa(1, [1, 0, 0], 1));
    assert_eq!(
        old.get(id).unwrap().unwrap().entity_type(),
        "lamp",
        "of an older snapshot nothing changes"
    );
    carry(&tablet, &phone);
    assert_eq!(seen(&phone), sofa(1, [1, 0, 0], 1));

    // each writes once more: what is shown is one of the two, the same on both
    set(&phone, id, "n", 2);
    set(&tablet, id, "n", 3);
    assert_eq!(seen(&phone), sofa(2, [0, 1, 0], 0));
    both_ways(&phone, &tablet);
    let expected = match seen(&phone).1 {
        Some(heirloom::Value::Int(2)) => sofa(2, [0, 1, 0], 1),
        _ => sofa(3, [0, 0, 1], 1),
    };
    for engine in [&phone, &tablet] {
        let heads = engine.snapshot().unwrap().heads(id).unwrap().len();
        assert_eq!((seen(engine), heads), (expected.clone(), 2));
        assert!(engine.verify().unwrap().is_clean());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whoever keeps a selection up by what it is told has at each moment what a look at everything
    /// gives.
    #[test]
    fn a_live_query_is_told_all_that_a_look_at_everything_shows(
        acts in prop::collection::vec((0usize..3, 0usize..3, 0u8..8, 0usize..4), 1..60),
    ) {
        let devices = ["a", "b", "c"].map(engine);
        let ids: Vec<_> = (0..4u8).map(|n| EntityId::v5(&[0; 16], &[n])).collect();
        let mut live = devices[0].subscribe().unwrap().of_type("lamp").matching(shines);
        let mut kept = std::collections::BTreeSet::new();
        for (from, to, what, which) in acts {
            let (device, id) = (&devices[from], ids[which]);
            match what {
                0 | 1 => carry(device, &devices[to]),
                2 => drop(device.write(|tx| {
                    let entity_type = if to == 0 { "bulb" } else { "lamp" };
                    tx.create_with_id(id, entity_type, &Content::new().with("plugged", to == 1))
                })),
                3 => drop(device.write(|tx| tx.delete(id))),
                n => drop(device.write(|tx| {
                    let field = ["plugged", "on", "on", "broken"][usize::from(n) - 4];
                    tx.patch(id, Patch::new().set(field, to != 0))
                })),
            }
            while let Some(change) = live.try_next().unwrap() {
                let is_in = |e: &heirloom::Entity| e.entity_type() == "lamp" && shines(e);
                let [was, is] = [change.shown_before(), change.shown_after()]
                    .map(|e| e.unwrap().is_some_and(|e| is_in(&e)));
                prop_assert!(was || is, "told in vain");
                prop_assert_eq!(kept.contains(&change.entity()), was);
                if is { kept.insert(change.entity()); } else { kept.remove(&change.entity()); }
            }
            let snapshot = devices[0].snapshot().unwrap();
            let all = snapshot.list("lamp").entities().unwrap();
            let shining: std::collections::BTreeSet<_> =
                all.iter().filter(|e| shines(e)).map(heirloom::Entity::id).collect();
            prop_assert_eq!(&kept, &shining);
        }
        let again = devices[0].changes(Cursor::START).of_type("lamp").matching(shines);
        let cursors: Vec<_> = again.map(|c| c.unwrap().cursor()).collect();
        let one_by_one = devices[0].changes(Cursor::START).filter(|c| {
            let c = c.as_ref().unwrap();
            let is_in = |e: &heirloom::Entity| e.entity_type() == "lamp" && shines(e);
            [c.shown_before(), c.shown_after()]
                .into_iter()
                .any(|e| e.unwrap().is_some_and(|e| is_in(&e)))
        });
        prop_assert_eq!(cursors, one_by_one.map(|c| c.unwrap().cursor()).collect::<Vec<_>>());
        prop_assert!(devices[0].verify().unwrap().is_clean());
    }
}
