//! Waiting for changes. A subscription is a cursor that can sleep (R12, I9).

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::change::Change;
use super::changes::filters;
use super::cursor::Cursor;
use super::scan::{Pass, Scan};
use crate::engine::{Engine, Inner};
use crate::error::{Error, Result};
use crate::store::{Waited, Wake};

/// How often a reader beside another process looks whether that has written.
const LOOK: Duration = Duration::from_millis(100);

/// Changes as they become durable, in the order of arrival, each once.
///
/// It holds a cursor and nothing else: no queue that could overflow, no state of the store, and not
/// the engine, which it does not keep open. One that slept through a million changes reads them
/// from the log, a few hundred commits at a time. No writer ever waits for it.
///
/// Once the engine is closed, or its last clone dropped, every call is [`Error::Closed`];
/// [`cursor`](Self::cursor) still tells where to go on. After any other error it stands in front of
/// the place that it could not read and tries that again.
/// ```
/// use heirloom::{ChangeKind, Content, Engine, Patch};
/// let engine = Engine::in_memory()?;
/// // a live query: what enters, changes within or leaves the lamps that are on
/// let is_on = |lamp: &heirloom::Entity| lamp.get("on").is_ok_and(|v| v == Some(true.into()));
/// let mut lit = engine.subscribe()?.of_type("lamp").local().matching(is_on);
/// let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("on", false)))?;
/// engine.write(|tx| tx.patch(lamp, Patch::new().set("on", true)))?;
/// engine.write(|tx| tx.delete(lamp))?;
/// let [on, gone] = [lit.next()?, lit.next()?];
/// assert_eq!((on.kind(), gone.kind()), (ChangeKind::Update, ChangeKind::Delete));
/// assert!(lit.try_next()?.is_none());
/// # Ok::<(), heirloom::Error>(())
/// ```
#[must_use = "a subscription does nothing until it is read"]
pub struct Subscription {
    engine: Weak<Inner>,
    wake: Arc<Wake>,
    /// Its name there.
    sleeper: u64,
    pub(crate) scan: Scan,
}

filters!(Subscription);

impl Subscription {
    /// The next change. Waits for it.
    #[expect(clippy::should_implement_trait, reason = "it has no end but an error")]
    pub fn next(&mut self) -> Result<Change> {
        loop {
            if let Some(change) = self.next_until(None)? {
                return Ok(change);
            }
        }
    }

    /// The next change, or nothing if none comes in this time.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Change>> {
        // beyond what the clock can tell there is no deadline
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// The next change, if there is one now. A thread's own write is there when the write has
    /// returned.
    pub fn try_next(&mut self) -> Result<Option<Change>> {
        loop {
            match self.step()? {
                Pass::Found(change) => return Ok(Some(change)),
                Pass::More => {}
                Pass::End => return Ok(None),
            }
        }
    }

    /// For async callers: the next change, or the task is woken when more is there. It looks at a
    /// few hundred commits a call, and lets others run between. Needs no runtime:
    ///
    /// ```
    /// # use heirloom::{Content, Cursor, Engine};
    /// # use std::{pin::pin, task::{Context, Poll, Waker}};
    /// # let engine = Engine::in_memory()?;
    /// # engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// let mut subscription = engine.subscribe_from(Cursor::START);
    /// let next = std::future::poll_fn(|cx| subscription.poll_next(cx)); // .await it
    /// # let polled = pin!(next).poll(&mut Context::from_waker(Waker::noop()));
    /// # assert!(matches!(polled, Poll::Ready(Ok(_))));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Change>> {
        loop {
            match self.step() {
                Err(e) => return Poll::Ready(Err(e)),
                Ok(Pass::Found(change)) => return Poll::Ready(Ok(change)),
                Ok(Pass::More) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Pass::End) => {
                    match self.wake.register(self.sleeper, self.cursor().commits(), cx.waker()) {
                        Waited::NotYet => return Poll::Pending,
                        Waited::More => {}
                        Waited::Closed => return Poll::Ready(Err(Error::Closed)),
                    }
                }
            }
        }
    }

    /// Where to go on: past all that was given or left out. Keep it, and a later
    /// [`Engine::subscribe_from`] misses nothing.
    pub fn cursor(&self) -> Cursor {
        self.scan.cursor
    }

    /// Moves past a commit that could not be read because its record is damaged, as
    /// [`Changes::pass_damaged`](crate::Changes::pass_damaged) does.
    pub fn pass_damaged(&mut self) -> Result<bool> {
        let engine = Engine { inner: self.engine.upgrade().ok_or(Error::Closed)? };
        self.scan.pass_damaged(&engine)
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<Change>> {
        loop {
            if let Some(change) = self.try_next()? {
                return Ok(Some(change));
            }
            // of a file that another process writes nobody calls
            let look = if self.follows()? { Instant::now().checked_add(LOOK) } else { None };
            let until = deadline.into_iter().chain(look).min();
            match self.wake.wait_beyond(self.cursor().commits(), until) {
                Waited::More => {}
                Waited::NotYet if until == deadline => return Ok(None),
                Waited::NotYet => {}
                Waited::Closed => return Err(Error::Closed),
            }
        }
    }

    fn follows(&self) -> Result<bool> {
        Ok(self.engine.upgrade().ok_or(Error::Closed)?.store.follows())
    }

    /// The engine is held only here, so that nobody who sleeps keeps it open.
    fn step(&mut self) -> Result<Pass> {
        let engine = Engine { inner: self.engine.upgrade().ok_or(Error::Closed)? };
        self.scan.step(&engine)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.wake.forget(self.sleeper);
    }
}

impl Engine {
    /// Changes from now on. Reads one commit.
    ///
    /// ```
    /// use heirloom::{Content, Engine};
    /// use std::time::Duration;
    /// let engine = Engine::in_memory()?;
    /// let mut lamps = engine.subscribe()?.of_type("lamp");
    /// let listener = std::thread::spawn(move || lamps.next_timeout(Duration::from_secs(10)));
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// let change = listener.join().unwrap()?.expect("it was created");
    /// assert_eq!(change.entity(), lamp);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn subscribe(&self) -> Result<Subscription> {
        Ok(self.subscribe_from(self.cursor()?))
    }

    /// Changes after a cursor, then all that come. [`Error::CursorLost`] as for
    /// [`changes`](Self::changes), with the first.
    pub fn subscribe_from(&self, cursor: Cursor) -> Subscription {
        let wake = self.store().wake.clone();
        let sleeper = wake.sleeper();
        Subscription { engine: Arc::downgrade(&self.inner), wake, sleeper, scan: Scan::new(cursor) }
    }
}
