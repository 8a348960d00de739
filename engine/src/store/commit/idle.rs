//! Quick opening after a kill: redb then need not walk the whole file, if the last commit noted
//! which pages are free (R37).
//!
//! Such a commit writes several times as much as an ordinary one, and any other after it undoes it.
//! So it is made when nothing was written for a while, and when the application says that it may be
//! killed soon.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// When something was written last that no such commit followed.
#[derive(Default)]
pub(crate) struct Idle {
    pub(crate) state: Mutex<State>,
    pub(crate) moved: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) written: Option<Instant>,
    pub(crate) over: bool,
}

impl Idle {
    /// An ordinary commit was made.
    pub(crate) fn written(&self) {
        self.state.lock().written = Some(Instant::now());
        self.moved.notify_all();
    }

    /// Waits until nothing was written for so long after something was. False when it is over.
    pub(crate) fn wait(&self, period: Duration) -> bool {
        let mut state = self.state.lock();
        while !state.over {
            // what ends beyond the clock never ends
            match state.written.and_then(|at| at.checked_add(period)) {
                Some(end) if end <= Instant::now() => return true,
                Some(end) => drop(self.moved.wait_until(&mut state, end)),
                None => self.moved.wait(&mut state),
            }
        }
        false
    }
}
