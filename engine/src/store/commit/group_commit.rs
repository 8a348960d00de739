//! The turn-taking of group commit: many threads wait for their batch, whoever comes first writes
//! for all that has gathered, one at a time.

use super::primitives::{Condvar, Mutex, MutexGuard, PoisonError};

/// What is written in batches. Batches are numbered from 1; what is added belongs to the batch that
/// is open.
pub(crate) trait Batches {
    /// All that one durable commit writes.
    type Batch;
    /// What readers get after it.
    type State;
    /// Why it failed.
    type Error;

    /// Takes what has gathered, and opens the next batch.
    fn close_batch(&self) -> (u64, Self::Batch);
    /// Makes it durable, and reads what is durable then. Takes long, and others go on adding.
    fn write(&self, batch: &Self::Batch) -> Result<Self::State, Self::Error>;
    /// Shows it to readers.
    fn publish(&self, batch: Self::Batch, state: Self::State);
    /// For those whose batch can no longer be written.
    fn refused() -> Self::Error;
}

/// The batch that whoever has looked at what is on its way must wait for before it says anything:
/// the open one if that `holds` something, else the one before. So an answer waits for what it
/// rests on, and never makes an empty batch.
pub(crate) fn rests_on(open: u64, holds: bool) -> u64 {
    if holds { open } else { open - 1 }
}

/// Whose turn it is, and how far it got.
#[derive(Default)]
pub(crate) struct GroupCommit {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// The last batch that is durable and visible.
    durable: u64,
    /// Somebody has the turn.
    taken: bool,
    /// So many want to do something between two batches: the next batch waits for them.
    between: u32,
    /// A batch failed: none may follow, it would leave a gap.
    broken: bool,
}

/// Held by the one who has it, until dropped.
struct Turn<'a> {
    group: &'a GroupCommit,
    /// What becomes of `broken` and `durable` at its end.
    breaks: bool,
    durable: u64,
}

impl GroupCommit {
    /// Returns when all batches up to this one are durable and visible. After a failure, or a
    /// panic, in writing a batch all who wait for it or for a later one are refused.
    pub(crate) fn flush<B: Batches>(&self, batches: &B, batch: u64) -> Result<(), B::Error> {
        let mut progress = self.lock();
        while (progress.taken || progress.between > 0) && progress.durable < batch {
            progress = self.wait(progress);
        }
        if progress.durable >= batch {
            return Ok(());
        }
        if progress.broken {
            return Err(B::refused());
        }
        // until it went well it went wrong, so that a panic counts as a failure
        let mut turn = self.take(progress, true);
        let (number, work) = batches.close_batch();
        let state = batches.write(&work)?;
        batches.publish(work, state);
        (turn.durable, turn.breaks) = (number, false);
        Ok(())
    }

    /// Does something between two batches.
    pub(crate) fn in_turn<T>(&self, act: impl FnOnce() -> T) -> T {
        let mut progress = self.lock();
        progress.between += 1;
        while progress.taken {
            progress = self.wait(progress);
        }
        progress.between -= 1;
        let _turn = self.take(progress, false);
        act()
    }

    /// Whether a batch failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.lock().broken
    }

    fn take(&self, mut progress: MutexGuard<'_, Progress>, breaks: bool) -> Turn<'_> {
        progress.taken = true;
        Turn { group: self, breaks, durable: progress.durable }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, progress: MutexGuard<'a, Progress>) -> MutexGuard<'a, Progress> {
        self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut progress = self.group.lock();
        progress.taken = false;
        progress.broken |= self.breaks;
        progress.durable = self.durable;
        drop(progress);
        self.group.changed.notify_all();
    }
}
