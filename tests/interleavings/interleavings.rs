//! The two places of the engine where threads wait for each other, under a scheduler that searches
//! the orders in which they may run: who waits for changes (`wake.rs`), and who waits for a commit
//! to become durable (`group_commit.rs`), be it its own or one that its answer rests on. The files
//! are the engine's own; only the locks below them are the searcher's. A hang is a failure: it
//! shows as a deadlock.
//!
//! Beside each stands a variant with a classical fault, to show that the search would find it.

#[path = "../../engine/src/store/commit/group_commit.rs"]
mod group_commit;
#[path = "../../engine/src/store/commit/wake.rs"]
mod wake;

mod primitives {
    pub(super) use std::sync::PoisonError;

    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};
}

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::task::Poll;
use std::time::{Duration, Instant};

use group_commit::{Batches, GroupCommit, rests_on};
use shuttle::sync::atomic::{AtomicBool, AtomicU64};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::{future, thread};
use wake::{Waited, Wake};

/// Runs it in many orders: by chance, and with few but ill-timed switches.
fn search(scene: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(scene, 10_000);
    shuttle::check_pct(scene, 10_000, 3);
}

fn finds_a_fault(scene: impl Fn() + Send + Sync + Copy + 'static) -> bool {
    catch_unwind(AssertUnwindSafe(|| search(scene))).is_err()
}

/// What a thread that waits for changes does: reads as far as there is something, then waits for
/// more.
trait Notifier: Send + Sync + 'static {
    fn announce(&self, durable: u64);
    fn wait_beyond(&self, seen: u64);
}

impl Notifier for Wake {
    fn announce(&self, durable: u64) {
        self.advance(durable);
    }

    fn wait_beyond(&self, seen: u64) {
        assert_eq!(Wake::wait_beyond(self, seen, None), Waited::More);
    }
}

/// Two writers make commits durable and announce what is durable by then; two readers want to see
/// them all.
fn readers_see_all<N: Notifier>(notifier: N) {
    const COMMITS: u64 = 4;
    let (notifier, durable) = (Arc::new(notifier), Arc::new(AtomicU64::new(0)));
    for _ in 0..2 {
        let (notifier, durable) = (notifier.clone(), durable.clone());
        thread::spawn(move || {
            for _ in 0..COMMITS / 2 {
                durable.fetch_add(1, SeqCst);
                notifier.announce(durable.load(SeqCst));
            }
        });
    }
    let readers = [(); 2].map(|()| {
        let (notifier, durable) = (notifier.clone(), durable.clone());
        thread::spawn(move || {
            let mut seen = durable.load(SeqCst);
            while seen < COMMITS {
                notifier.wait_beyond(seen);
                let now = durable.load(SeqCst);
                assert!(now > seen, "woken for something");
                seen = now;
            }
        })
    });
    readers.into_iter().for_each(|r| r.join().unwrap());
}

#[test]
fn no_wake_up_is_lost() {
    search(|| readers_see_all(Wake::new(0)));
}

/// Looks before it takes the lock.
#[derive(Default)]
struct Hasty {
    durable: AtomicU64,
    lock: Mutex<()>,
    moved: Condvar,
}

impl Notifier for Hasty {
    fn announce(&self, durable: u64) {
        self.durable.fetch_max(durable, SeqCst);
        self.moved.notify_all();
    }

    fn wait_beyond(&self, seen: u64) {
        while self.durable.load(SeqCst) <= seen {
            drop(self.moved.wait(self.lock.lock().unwrap()).unwrap());
        }
    }
}

#[test]
fn the_search_finds_a_wake_up_that_is_lost() {
    assert!(finds_a_fault(|| readers_see_all(Hasty::default())));
}

/// Sleeps as a task does: nothing if there is no more to come.
async fn beyond(wake: &Wake, sleeper: u64, seen: u64) -> Waited {
    poll_fn(|cx| match wake.register(sleeper, seen, cx.waker()) {
        Waited::NotYet => Poll::Pending,
        other => Poll::Ready(other),
    })
    .await
}

#[test]
fn every_task_and_every_thread_is_woken_for_more_and_for_the_end() {
    search(|| {
        let wake = Arc::new(Wake::new(0));
        let task = {
            let wake = wake.clone();
            thread::spawn(move || {
                let sleeper = wake.sleeper();
                assert_ne!(future::block_on(beyond(&wake, sleeper, 0)), Waited::NotYet);
                assert_eq!(future::block_on(beyond(&wake, sleeper, 2)), Waited::Closed);
                wake.forget(sleeper);
            })
        };
        let timed = {
            let wake = wake.clone();
            thread::spawn(move || {
                let late = Instant::now() + Duration::from_secs(3_600);
                assert_ne!(wake.wait_beyond(1, Some(late)), Waited::NotYet);
                assert_eq!(wake.wait_beyond(2, Some(late)), Waited::Closed);
                assert_eq!(wake.wait_beyond(0, None), Waited::Closed);
            })
        };
        let fickle = {
            let wake = wake.clone();
            thread::spawn(move || {
                let (sleeper, waker) = (wake.sleeper(), std::task::Waker::noop());
                wake.register(sleeper, 0, waker);
                wake.forget(sleeper);
            })
        };
        let writer = {
            let wake = wake.clone();
            thread::spawn(move || (1..=2).for_each(|n| wake.advance(n)))
        };
        writer.join().unwrap();
        wake.close();
        [task, timed, fickle].into_iter().for_each(|t| t.join().unwrap());
    });
}

/// What is written in batches, as far as the protocol can see it.
struct Disk {
    /// The batch that is open, and what it holds.
    open: Mutex<(u64, Vec<u64>)>,
    /// All that was ever added: what whoever has the writer sees.
    seen: Mutex<Vec<u64>>,
    written: Mutex<Vec<u64>>,
    published: Mutex<Vec<u64>>,
    /// How much each batch held.
    sizes: Mutex<Vec<usize>>,
    writing: AtomicBool,
    /// The batch that cannot be written.
    bad: u64,
}

impl Disk {
    fn new(bad: u64) -> Self {
        Self {
            open: Mutex::new((1, Vec::new())),
            seen: Mutex::default(),
            written: Mutex::default(),
            published: Mutex::default(),
            sizes: Mutex::default(),
            writing: AtomicBool::new(false),
            bad,
        }
    }

    /// Shows what is written, in turn.
    fn show(&self, now: Vec<u64>) {
        let mut published = self.published.lock().unwrap();
        assert!(now.starts_with(&published), "an older state over a newer");
        *published = now;
    }

    fn read(&self) -> Vec<u64> {
        self.written.lock().unwrap().clone()
    }
}

#[derive(PartialEq, Debug)]
enum Failed {
    Storage,
    Refused,
}

impl Batches for Disk {
    type Batch = (u64, Vec<u64>);
    type State = Vec<u64>;
    type Error = Failed;

    fn close_batch(&self) -> (u64, Self::Batch) {
        let mut open = self.open.lock().unwrap();
        let number = open.0;
        open.0 += 1;
        (number, (number, std::mem::take(&mut open.1)))
    }

    fn write(&self, (number, items): &Self::Batch) -> Result<Vec<u64>, Failed> {
        assert!(!self.writing.swap(true, SeqCst), "two write at once");
        self.sizes.lock().unwrap().push(items.len());
        thread::yield_now();
        self.writing.store(false, SeqCst);
        if *number == self.bad {
            return Err(Failed::Storage);
        }
        self.written.lock().unwrap().extend(items);
        Ok(self.read())
    }

    fn publish(&self, (_, items): Self::Batch, state: Vec<u64>) {
        assert!(state.ends_with(&items));
        self.show(state);
    }

    fn refused() -> Failed {
        Failed::Refused
    }
}

/// How the callers of a protocol wait for their batch.
trait Flush: Default + Send + Sync + 'static {
    fn flush(&self, disk: &Disk, batch: u64) -> Result<(), Failed>;
}

impl Flush for GroupCommit {
    fn flush(&self, disk: &Disk, batch: u64) -> Result<(), Failed> {
        GroupCommit::flush(self, disk, batch)
    }
}

/// Three writers, two commits each: each finds its commit published when it returns, or that it
/// failed.
fn writers_wait<F: Flush>(
    group: &Arc<F>,
    disk: &Arc<Disk>,
) -> Vec<thread::JoinHandle<Vec<Result<(), Failed>>>> {
    let writer = |w: u64| {
        let (group, disk) = (group.clone(), disk.clone());
        move || {
            let one = |n: u64| {
                let (item, batch) = (w * 10 + n, {
                    let mut open = disk.open.lock().unwrap();
                    open.1.push(w * 10 + n);
                    open.0
                });
                let out = group.flush(&disk, batch);
                assert_eq!(out.is_ok(), disk.published.lock().unwrap().contains(&item), "{out:?}");
                assert_eq!(
                    out.is_ok(),
                    batch < disk.bad,
                    "all that wait for a batch that failed fail, or for a later one"
                );
                out
            };
            (0..2).map(one).collect()
        }
    };
    (0..3).map(|w| thread::spawn(writer(w))).collect()
}

fn all_written<F: Flush>() {
    let (group, disk) = (Arc::new(F::default()), Arc::new(Disk::new(u64::MAX)));
    writers_wait(&group, &disk).into_iter().for_each(|w| drop(w.join().unwrap()));
    let mut all = disk.read();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 10, 11, 20, 21]);
    assert_eq!(*disk.published.lock().unwrap(), disk.read());
}

#[test]
fn who_returns_from_a_group_commit_is_durable_and_nobody_hangs() {
    search(all_written::<GroupCommit>);
}

#[test]
fn what_is_done_between_two_batches_is_never_behind_nor_beside_one() {
    search(|| {
        let (group, disk) = (Arc::new(GroupCommit::default()), Arc::new(Disk::new(u64::MAX)));
        let between = [(); 2].map(|()| {
            let (group, disk) = (group.clone(), disk.clone());
            thread::spawn(move || {
                group.in_turn(|| {
                    assert!(!disk.writing.swap(true, SeqCst));
                    let now = disk.read();
                    thread::yield_now();
                    disk.show(now);
                    disk.writing.store(false, SeqCst);
                });
            })
        });
        writers_wait(&group, &disk).into_iter().for_each(|w| drop(w.join().unwrap()));
        between.into_iter().for_each(|b| b.join().unwrap());
        assert!(!group.is_broken());
    });
}

fn a_batch_fails() {
    let (group, disk) = (Arc::new(GroupCommit::default()), Arc::new(Disk::new(2)));
    let between = {
        let (group, disk) = (group.clone(), disk.clone());
        thread::spawn(move || group.in_turn(|| disk.show(disk.read())))
    };
    let out: Vec<_> =
        writers_wait(&group, &disk).into_iter().flat_map(|w| w.join().unwrap()).collect();
    between.join().unwrap();
    assert!(group.is_broken());
    let told = out.iter().filter(|o| **o == Err(Failed::Storage)).count();
    assert_eq!(told, 1, "the one who wrote is told why");
    assert!(disk.read().len() < 6);
}

#[test]
fn a_write_that_fails_fails_for_all_who_wait_and_nothing_follows_it() {
    search(a_batch_fails);
}

/// Gives its turn up before what it wrote is published.
#[derive(Default)]
struct Early {
    durable: Mutex<u64>,
}

impl Flush for Early {
    fn flush(&self, disk: &Disk, batch: u64) -> Result<(), Failed> {
        let mut durable = self.durable.lock().unwrap();
        if *durable >= batch {
            return Ok(());
        }
        let (number, work) = disk.close_batch();
        let state = disk.write(&work)?;
        *durable = number;
        drop(durable);
        disk.publish(work, state);
        Ok(())
    }
}

/// Believes that whoever wakes it wrote for it.
#[derive(Default)]
struct Trusting {
    taken: Mutex<bool>,
    done: Condvar,
}

impl Flush for Trusting {
    fn flush(&self, disk: &Disk, _: u64) -> Result<(), Failed> {
        let mut taken = self.taken.lock().unwrap();
        if *taken {
            while *taken {
                taken = self.done.wait(taken).unwrap();
            }
            return Ok(());
        }
        *taken = true;
        drop(taken);
        let (_, work) = disk.close_batch();
        let state = disk.write(&work)?;
        disk.publish(work, state);
        *self.taken.lock().unwrap() = false;
        self.done.notify_all();
        Ok(())
    }
}

#[test]
fn the_search_finds_faults_in_group_commit() {
    assert!(finds_a_fault(all_written::<Early>));
    assert!(finds_a_fault(all_written::<Trusting>));
}

/// How somebody who looked at what is on its way, and added to it or not, waits before it answers:
/// the batch that was open then, whether it held anything, and whether some of that is its own.
type Waits = fn(&GroupCommit, &Disk, (u64, bool), bool) -> Result<(), Failed>;

fn as_the_engine_does(
    group: &GroupCommit,
    disk: &Disk,
    (open, holds): (u64, bool),
    _: bool,
) -> Result<(), Failed> {
    group.flush(disk, rests_on(open, holds))
}

/// Two sessions that bring the same commits, and a write that looks and changes nothing. What each
/// says of what it saw is published when it says so, or it is told that the storage failed; and
/// nobody makes a batch without anything in it. How many were told so.
fn answers(waits: Waits, bad: u64) -> usize {
    let (group, disk) = (Arc::new(GroupCommit::default()), Arc::new(Disk::new(bad)));
    let answer = move |group: &GroupCommit, disk: &Disk, brings: Option<u64>| {
        let (saw, open, adds) = {
            let (mut open, mut seen) = (disk.open.lock().unwrap(), disk.seen.lock().unwrap());
            let adds = brings.filter(|item| !seen.contains(item));
            open.1.extend(adds);
            seen.extend(adds);
            (seen.clone(), (open.0, !open.1.is_empty()), adds.is_some())
        };
        let out = waits(group, disk, open, adds);
        let published = disk.published.lock().unwrap();
        if out.is_ok() {
            assert!(saw.iter().all(|item| published.contains(item)), "told, and not durable");
        }
        out
    };
    let session = |_| {
        let (group, disk) = (group.clone(), disk.clone());
        thread::spawn(move || (0..2).map(|item| answer(&group, &disk, Some(item))).collect())
    };
    let looks = {
        let (group, disk) = (group.clone(), disk.clone());
        thread::spawn(move || (0..2).map(|_| answer(&group, &disk, None)).collect())
    };
    let answers: Vec<_> = [0, 1].map(session).into_iter().chain([looks]).collect();
    let answers = answers.into_iter().flat_map(|a: thread::JoinHandle<Vec<_>>| a.join().unwrap());
    let refused = answers.filter(Result::is_err).count();
    assert!(disk.sizes.lock().unwrap().iter().all(|size| *size > 0), "an empty durable commit");
    refused
}

#[test]
fn whatever_is_told_is_published_whoever_brought_it() {
    search(|| assert_eq!(answers(as_the_engine_does, u64::MAX), 0));
}

#[test]
fn what_cannot_be_made_durable_is_told_to_nobody() {
    search(|| assert!(answers(as_the_engine_does, 1) > 0));
    // all may have gone with the first batch
    search(|| _ = answers(as_the_engine_does, 2));
}

/// Takes what is skipped for durable, and what a write that changed nothing has seen.
fn for_its_own_only(
    group: &GroupCommit,
    disk: &Disk,
    (open, _): (u64, bool),
    own: bool,
) -> Result<(), Failed> {
    if own { group.flush(disk, open) } else { Ok(()) }
}

/// Thinks of what is open, and not of what is on its way to the disk already.
fn for_the_open_batch(
    group: &GroupCommit,
    disk: &Disk,
    (open, holds): (u64, bool),
    _: bool,
) -> Result<(), Failed> {
    if holds { group.flush(disk, open) } else { Ok(()) }
}

/// Makes a batch of its own, with nothing in it.
fn for_an_empty_one(
    group: &GroupCommit,
    disk: &Disk,
    (open, _): (u64, bool),
    _: bool,
) -> Result<(), Failed> {
    group.flush(disk, open)
}

#[test]
fn the_search_finds_answers_that_rest_on_what_is_not_durable() {
    for waits in [for_its_own_only, for_the_open_batch, for_an_empty_one] as [Waits; 3] {
        assert!(finds_a_fault(move || _ = answers(waits, u64::MAX)));
    }
}
