//! Cancelling a session from another thread.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};

/// A handle with which any thread can end the sessions that were given a clone of it. They return
/// [`SyncError::Cancelled`](crate::SyncError::Cancelled) at once, whatever they wait for.
#[derive(Clone)]
pub struct Cancel {
    /// Nothing is ever sent: that nobody can send any more is the news.
    sender: Arc<Mutex<Option<Sender<Infallible>>>>,
    cancelled: Receiver<Infallible>,
}

impl Cancel {
    /// A handle that nobody has cancelled yet.
    pub fn new() -> Self {
        let (sender, cancelled) = bounded(0);
        Self { sender: Arc::new(Mutex::new(Some(sender))), cancelled }
    }

    /// Ends all sessions of this handle, now and later.
    pub fn cancel(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// A channel that is disconnected by [`Cancel::cancel`], to be waited for beside others.
    pub(crate) fn cancelled(&self) -> &Receiver<Infallible> {
        &self.cancelled
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").field("cancelled", &self.is_cancelled()).finish()
    }
}
