//! A session over any reliable stream of bytes with a read half and a write half, in blocking
//! style.
//!
//! Three threads: a reader and a writer that only move bytes, and the caller's, in which the
//! session runs. The session's thread never waits for the link to take or to give, so both ends may
//! have any amount to send over however small a buffer; and it can always keep its deadlines.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::cancel::{Cancel, Waker};
use crate::error::{Result, Stall, SyncError};
use crate::report::{Event, Progress, Report};
use crate::session::Session;
use heirloom_core::replica::Replica;

/// Bytes read that the session has not taken yet: beyond it the reader waits.
const INBOX: usize = 256 << 10;
/// Bytes to write beyond which the session is not asked for more.
const OUTBOX: usize = 256 << 10;
/// What is read in one call.
const SLICE: usize = 64 << 10;
/// What is written in one call. Only whole calls show that the link is alive, so a link that is as
/// slow as the configuration allows by default must be able to take so much within the time of
/// silence.
const MORSEL: usize = 4 << 10;
/// How long a failed session tries to tell the peer why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs `session` over the two halves of a link until it is over.
///
/// `close` must end the link, so that calls on both halves return soon (`TcpStream::shutdown`
/// does); it is called exactly once, also after a failure. `cancel` ends the session from
/// elsewhere; `progress` is called in this thread after each step.
pub fn run<R: Replica>(
    mut session: Session<R>,
    reader: impl Read + Send,
    writer: impl Write + Send,
    close: impl FnOnce(),
    cancel: &Cancel,
    mut progress: impl FnMut(Progress),
) -> Result<Report> {
    let link = Arc::new(Link::default());
    let waker: Arc<Waker> = {
        let link = Arc::clone(&link);
        Arc::new(move || link.cancel())
    };
    cancel.wake(&waker);
    thread::scope(|scope| {
        // Made first, so that the threads end whatever happens here.
        let _closing = Closing { link: &link, close: Some(close) };
        scope.spawn(|| link.read_all(reader));
        scope.spawn(|| link.write_all(writer));
        let started = Instant::now();
        let outcome = drive(&mut session, &link, started, &mut progress);
        match &outcome {
            Ok(()) => link.flush(session.idle_timeout())?,
            Err(_) => link.say_farewell(&last_words(&mut session, started)),
        }
        outcome
    })?;
    Ok(session.report().clone())
}

/// What the peer should know after an error.
fn last_words<R: Replica>(session: &mut Session<R>, started: Instant) -> Vec<u8> {
    let mut out = Vec::new();
    while session.poll_transmit(started.elapsed(), &mut out).is_ok_and(|more| more) {}
    out
}

/// Ends the link when dropped.
struct Closing<'a, C: FnOnce()> {
    link: &'a Link,
    close: Option<C>,
}

impl<C: FnOnce()> Drop for Closing<'_, C> {
    fn drop(&mut self) {
        self.link.close();
        if let Some(close) = self.close.take() {
            close();
        }
    }
}

/// The loop of every driver: input, output, time, events.
fn drive<R: Replica>(
    session: &mut Session<R>,
    link: &Link,
    started: Instant,
    progress: &mut impl FnMut(Progress),
) -> Result<()> {
    let mut out = Vec::new();
    let mut heard = link.wait(Some(Duration::ZERO));
    loop {
        if heard.transmitted {
            session.handle_transmitted(started.elapsed());
        }
        session.handle_input(started.elapsed(), &heard.bytes)?;
        if heard.cancelled {
            session.cancel();
            return Err(SyncError::Cancelled);
        }
        if let Some(broken) = heard.broken.take() {
            let ended = session.handle_end_of_input(started.elapsed());
            return broken.map_or(ended, |error| Err(error.into()));
        }
        while link.has_room() && session.poll_transmit(started.elapsed(), &mut out)? {
            link.queue(&out);
            out.clear();
        }
        session.handle_timeout(started.elapsed())?;
        while let Some(event) = session.poll_event() {
            if let Event::Progress(now) = event {
                progress(now);
            }
        }
        if session.is_finished() {
            return Ok(());
        }
        let due = session.poll_timeout().map(|due| due.saturating_sub(started.elapsed()));
        heard = link.wait(due);
    }
}

/// Where the three threads meet.
#[derive(Default)]
struct Link {
    state: Mutex<LinkState>,
    changed: Condvar,
}

#[derive(Default)]
struct LinkState {
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// Bytes taken off the outbox that the link has not accepted yet.
    writing: usize,
    /// The link accepted bytes since the session looked.
    transmitted: bool,
    /// Room for more to send has come up since the session looked.
    room: bool,
    /// The reader is done: at the end of the stream, or with an error.
    broken: Option<Option<io::Error>>,
    write_error: Option<io::Error>,
    cancelled: bool,
    closed: bool,
}

/// What the session's thread has been waiting for.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    transmitted: bool,
    broken: Option<Option<io::Error>>,
    cancelled: bool,
}

impl LinkState {
    fn take_broken(&mut self) -> Option<Option<io::Error>> {
        self.broken.take().or_else(|| self.write_error.take().map(Some))
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, LinkState>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, LinkState> {
        match limit {
            Some(limit) => {
                self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Waits until something has happened or `limit` is over.
    fn wait(&self, limit: Option<Duration>) -> Heard {
        // beyond what the clock can tell there is no deadline
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut state = self.state();
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let news = !state.inbox.is_empty()
                || state.broken.is_some()
                || state.write_error.is_some()
                || state.cancelled
                || std::mem::take(&mut state.room);
            if news || left.is_some_and(|left| left.is_zero()) {
                break;
            }
            state = self.sleep(state, left);
        }
        let bytes = std::mem::take(&mut state.inbox);
        // What was read is taken in first; that the link is broken is told after it.
        let broken = if bytes.is_empty() { state.take_broken() } else { None };
        let transmitted = std::mem::take(&mut state.transmitted);
        let heard = Heard { bytes, transmitted, broken, cancelled: state.cancelled };
        drop(state);
        self.changed.notify_all();
        heard
    }

    fn has_room(&self) -> bool {
        self.state().outbox.len() < OUTBOX
    }

    fn queue(&self, bytes: &[u8]) {
        self.state().outbox.extend_from_slice(bytes);
        self.changed.notify_all();
    }

    /// Waits until all is written, so long at most: by then it is little, the proof at the end.
    fn flush(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now().checked_add(patience);
        let mut state = self.state();
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if let Some(error) = state.write_error.take() {
                return Err(error.into());
            }
            if state.outbox.is_empty() && state.writing == 0 {
                return Ok(());
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Err(SyncError::Timeout(Stall::Silent(patience)));
            }
            state = self.sleep(state, left);
        }
    }

    /// Writes these last bytes, then waits a moment for the peer to close: to close on a peer that
    /// still sends would make TCP throw away what it has not read yet, our reason included.
    fn say_farewell(&self, last: &[u8]) {
        if last.is_empty() {
            return;
        }
        let deadline = Instant::now() + FAREWELL;
        let mut state = self.state();
        state.outbox.extend_from_slice(last);
        self.changed.notify_all();
        loop {
            state.inbox.clear();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.broken.is_some() || state.write_error.is_some() {
                return;
            }
            self.changed.notify_all();
            state = self.sleep(state, Some(left));
        }
    }

    fn cancel(&self) {
        self.state().cancelled = true;
        self.changed.notify_all();
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// The reader's thread.
    fn read_all(&self, mut reader: impl Read) {
        let mut slice = vec![0; SLICE];
        loop {
            let outcome = reader.read(&mut slice);
            let mut state = self.state();
            match outcome {
                Ok(0) => state.broken = Some(None),
                Ok(length) => state.inbox.extend_from_slice(&slice[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => state.broken = Some(Some(error)),
            }
            self.changed.notify_all();
            while state.inbox.len() > INBOX && !state.closed {
                state = self.sleep(state, None);
            }
            if state.broken.is_some() || state.closed {
                return;
            }
        }
    }

    /// The writer's thread.
    fn write_all(&self, mut writer: impl Write) {
        while let Some(bytes) = self.take_outbox() {
            for slice in bytes.chunks(MORSEL) {
                let outcome = writer.write_all(slice).and_then(|()| writer.flush());
                let mut state = self.state();
                state.writing -= slice.len();
                state.transmitted = true;
                if let Err(error) = outcome {
                    state.write_error = Some(error);
                    self.changed.notify_all();
                    return;
                }
                self.changed.notify_all();
            }
        }
    }

    fn take_outbox(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        while state.outbox.is_empty() {
            if state.closed {
                return None;
            }
            state = self.sleep(state, None);
        }
        let bytes = std::mem::take(&mut state.outbox);
        state.writing = bytes.len();
        state.room = true;
        self.changed.notify_all();
        (!state.closed).then_some(bytes)
    }
}
