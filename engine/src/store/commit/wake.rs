//! Tells whoever waits for changes that more is durable (I9). A number that only grows, and nobody
//! is kept waiting by those who sleep.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

use super::primitives::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many commits are durable, and who wants to know.
#[derive(Default)]
pub(crate) struct Wake {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    durable: u64,
    closed: bool,
    next_sleeper: u64,
    /// Those who asked to be called, each once at most.
    sleepers: BTreeMap<u64, Waker>,
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    /// There is more.
    More,
    /// Nothing yet: the deadline passed, or whoever asked will be called.
    NotYet,
    /// There will be no more.
    Closed,
}

impl State {
    fn beyond(&self, seen: u64) -> Waited {
        match self.closed {
            true => Waited::Closed,
            false if self.durable > seen => Waited::More,
            false => Waited::NotYet,
        }
    }
}

impl Wake {
    pub(crate) fn new(durable: u64) -> Self {
        Self { state: Mutex::new(State { durable, ..State::default() }), moved: Condvar::new() }
    }

    /// So many commits are durable and visible. Wakes those who wait, if that is news. Their wakers
    /// run on this thread, under no lock.
    pub(crate) fn advance(&self, durable: u64) {
        let mut state = self.lock();
        if durable > state.durable {
            state.durable = durable;
            self.wake_all(state);
        }
    }

    /// Wakes everybody for good.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.wake_all(state);
    }

    /// Waits until more than `seen` commits are durable, or until the deadline.
    pub(crate) fn wait_beyond(&self, seen: u64, deadline: Option<Instant>) -> Waited {
        let mut state = self.lock();
        loop {
            let now = state.beyond(seen);
            if now != Waited::NotYet {
                return now;
            }
            state = match deadline {
                None => self.moved.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Waited::NotYet;
                    }
                    self.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// A name for one who will ask to be called.
    pub(crate) fn sleeper(&self) -> u64 {
        let mut state = self.lock();
        state.next_sleeper += 1;
        state.next_sleeper
    }

    /// Calls the waker once when more than `seen` commits are durable. `NotYet`: it will; otherwise
    /// it will not. A sleeper has one waker, the last.
    pub(crate) fn register(&self, sleeper: u64, seen: u64, waker: &Waker) -> Waited {
        let mut state = self.lock();
        let now = state.beyond(seen);
        // looked at and noted under one lock: no commit can come between
        if now == Waited::NotYet {
            state.sleepers.insert(sleeper, waker.clone());
        }
        now
    }

    /// One who will ask no more.
    pub(crate) fn forget(&self, sleeper: u64) {
        let gone = self.lock().sleepers.remove(&sleeper);
        // a waker's drop is somebody else's code: not under the lock
        drop(gone);
    }

    fn wake_all(&self, mut state: MutexGuard<'_, State>) {
        let sleepers = std::mem::take(&mut state.sleepers);
        drop(state);
        self.moved.notify_all();
        sleepers.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
