//! When what lies in the journal is to be drained: at once where it has become much, else after a
//! pause in writing.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// What was written and is not drained, as far as whoever drains must know.
#[derive(Default)]
pub(crate) struct Idle {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    written: Option<Instant>,
    is_much: bool,
    is_watched: bool,
    over: bool,
}

impl Idle {
    /// A commit was made. `much`: it is to be drained at once.
    pub(crate) fn written(&self, much: bool) {
        let mut state = self.state.lock();
        let is_first = state.written.replace(Instant::now()).is_none();
        state.is_much |= much;
        drop(state);
        // whoever waits for a pause looks again when the first one would be over
        if much || is_first {
            self.moved.notify_all();
        }
    }

    /// Somebody [waits](Self::wait), or is about to.
    pub(crate) fn watch(&self) {
        self.state.lock().is_watched = true;
    }

    /// Whether somebody drains what becomes much.
    pub(crate) fn is_watched(&self) -> bool {
        let state = self.state.lock();
        state.is_watched && !state.over
    }

    /// Waits until there is something to drain: much, or nothing was written for so long after
    /// something was. False when it is over.
    pub(crate) fn wait(&self, pause: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        while !state.over {
            // what ends beyond the clock never ends
            let end = state.written.zip(pause).and_then(|(at, pause)| at.checked_add(pause));
            match end {
                _ if state.is_much => break,
                Some(end) if end <= Instant::now() => break,
                Some(end) => drop(self.moved.wait_until(&mut state, end)),
                None => self.moved.wait(&mut state),
            }
        }
        (state.written, state.is_much) = (None, false);
        !state.over
    }

    /// Whoever waits goes.
    pub(crate) fn end(&self) {
        self.state.lock().over = true;
        self.moved.notify_all();
    }
}
