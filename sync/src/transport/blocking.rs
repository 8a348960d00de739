//! A session over any reliable stream of bytes with a read half and a write half, in blocking
//! style.
//!
//! Three threads: a reader and a writer that only move bytes, and the caller's, in which the
//! session runs; channels between them. The session's thread never waits for the link to take or to
//! give, so both ends may have any amount to send over however small a buffer; and it can always
//! keep its deadlines.

use std::io::{self, ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, after, bounded, never, select, unbounded};
use heirloom_core::replica::Replica;

use super::begin;
use super::cancel::Cancel;
use crate::error::{Result, Stall, SyncError};
use crate::report::{Event, Report};
use crate::session::Session;

/// What is read in one call.
const SLICE: usize = 64 << 10;
/// Slices that the session has not taken yet: beyond them the reader waits.
const INBOX: usize = 4;
/// Bytes to write beyond which the session is not asked for more.
const OUTBOX: usize = 256 << 10;
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
/// elsewhere; `on_event` is called in this thread with each event of the session.
pub fn run<R: Replica>(
    mut session: Session<R>,
    reader: impl Read + Send,
    writer: impl Write + Send,
    close: impl FnOnce(),
    cancel: &Cancel,
    mut on_event: impl FnMut(Event),
) -> Result<Report> {
    begin(&mut session);
    thread::scope(|scope| {
        // made first and so dropped last: whatever happens here the channels are let go of, then
        // the link is closed, and with it both threads end
        let _closing = Closing(Some(close));
        let (heard, inbox) = bounded(INBOX);
        let (outbox, to_write) = unbounded();
        let (wrote, written) = unbounded();
        scope.spawn(move || read_all(reader, &heard));
        scope.spawn(move || write_all(writer, &to_write, &wrote));
        let mut link = Link { inbox, outbox, written, cancel, queued: 0, write_error: None };
        let started = Instant::now();
        let outcome = drive(&mut session, &mut link, started, &mut on_event);
        match &outcome {
            Ok(()) => link.flush(session.idle_timeout())?,
            Err(_) => link.say_farewell(last_words(&mut session, started)),
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
struct Closing<C: FnOnce()>(Option<C>);

impl<C: FnOnce()> Drop for Closing<C> {
    fn drop(&mut self) {
        if let Some(close) = self.0.take() {
            close();
        }
    }
}

/// The loop of every driver: input, output, time, events.
fn drive<R: Replica>(
    session: &mut Session<R>,
    link: &mut Link,
    started: Instant,
    on_event: &mut impl FnMut(Event),
) -> Result<()> {
    // who was cancelled before it began says nothing at all
    let mut news = link.wait(Some(Duration::ZERO));
    loop {
        match news {
            News::Bytes(bytes) => session.handle_input(started.elapsed(), &bytes)?,
            News::Wrote => session.handle_transmitted(started.elapsed()),
            News::Cancelled => {
                session.cancel();
                return Err(SyncError::Cancelled);
            }
            News::Broken(error) => {
                let ended = session.handle_end_of_input(started.elapsed());
                return error.map_or(ended, |error| Err(error.into()));
            }
            News::Due => {}
        }
        let mut out = Vec::new();
        while link.queued < OUTBOX && session.poll_transmit(started.elapsed(), &mut out)? {
            link.queue(std::mem::take(&mut out));
        }
        session.handle_timeout(started.elapsed())?;
        while let Some(event) = session.poll_event() {
            on_event(event);
        }
        if session.is_finished() {
            return Ok(());
        }
        let due = session.poll_timeout().map(|due| due.saturating_sub(started.elapsed()));
        news = link.wait(due);
    }
}

/// What the reader's thread has.
enum Heard {
    Bytes(Vec<u8>),
    /// The end of the stream, or why nothing more can be read. Nothing follows.
    End(Option<io::Error>),
}

/// What the session's thread has been waiting for.
enum News {
    Bytes(Vec<u8>),
    /// The link took some of what was queued.
    Wrote,
    /// Nothing more comes, or nothing more goes.
    Broken(Option<io::Error>),
    Cancelled,
    /// The time is over.
    Due,
}

/// The session's end of the channels.
struct Link<'c> {
    inbox: Receiver<Heard>,
    outbox: Sender<Vec<u8>>,
    written: Receiver<io::Result<usize>>,
    cancel: &'c Cancel,
    /// Bytes that the link has not taken yet.
    queued: usize,
    write_error: Option<io::Error>,
}

impl Link<'_> {
    /// Waits until something has happened or `limit` is over.
    fn wait(&mut self, limit: Option<Duration>) -> News {
        if self.cancel.is_cancelled() {
            return News::Cancelled;
        }
        let timer = timer(limit);
        if self.write_error.is_none() {
            select! {
                recv(self.cancel.cancelled()) -> _ => return News::Cancelled,
                recv(self.inbox) -> heard => return news(heard.ok()),
                recv(timer) -> _ => return News::Due,
                recv(self.written) -> wrote => {
                    if self.note(wrote.ok()) {
                        return News::Wrote;
                    }
                }
            }
        }
        // what was read is taken in first: it may say why the peer does not listen any more
        match self.inbox.try_recv() {
            Ok(heard) => news(Some(heard)),
            Err(_) => News::Broken(self.write_error.take()),
        }
    }

    fn queue(&mut self, bytes: Vec<u8>) {
        self.queued += bytes.len();
        // where the writer has ended it has said why
        let _ = self.outbox.send(bytes);
    }

    /// Notes what the writer says. False where it has ended.
    fn note(&mut self, wrote: Option<io::Result<usize>>) -> bool {
        match wrote {
            Some(Ok(bytes)) => self.queued -= bytes,
            Some(Err(error)) => self.write_error = Some(error),
            None => self.write_error = Some(ErrorKind::BrokenPipe.into()),
        }
        self.write_error.is_none()
    }

    /// Waits until all is written, so long at most: by then it is little, the proof at the end.
    fn flush(&mut self, patience: Duration) -> Result<()> {
        let timer = timer(Some(patience));
        while self.queued > 0 {
            select! {
                recv(self.written) -> wrote => {
                    if !self.note(wrote.ok()) {
                        return self.write_error.take().map_or(Ok(()), |error| Err(error.into()));
                    }
                }
                recv(timer) -> _ => return Err(SyncError::Timeout(Stall::Silent(patience))),
            }
        }
        Ok(())
    }

    /// Writes these last bytes, then waits a moment for the peer to close: to close on a peer that
    /// still sends would make TCP throw away what it has not read yet, our reason included.
    fn say_farewell(&mut self, last: Vec<u8>) {
        if last.is_empty() || self.write_error.is_some() {
            return;
        }
        self.queue(last);
        let (timer, mut inbox, mut over) = (timer(Some(FAREWELL)), self.inbox.clone(), false);
        // who has closed for writing may still read
        while !over || self.queued > 0 {
            select! {
                recv(inbox) -> heard => {
                    if !matches!(heard, Ok(Heard::Bytes(_))) {
                        (inbox, over) = (never(), true);
                    }
                }
                recv(self.written) -> wrote => {
                    if !self.note(wrote.ok()) {
                        return;
                    }
                }
                recv(timer) -> _ => return,
            }
        }
    }
}

/// Without a limit, or with one that is beyond what the clock can tell, it never goes off.
fn timer(limit: Option<Duration>) -> Receiver<Instant> {
    limit.filter(|l| Instant::now().checked_add(*l).is_some()).map_or_else(never, after)
}

fn news(heard: Option<Heard>) -> News {
    match heard {
        Some(Heard::Bytes(bytes)) => News::Bytes(bytes),
        Some(Heard::End(error)) => News::Broken(error),
        None => News::Broken(None),
    }
}

/// The reader's thread. Ends with the stream, or when nobody listens any more.
fn read_all(mut reader: impl Read, heard: &Sender<Heard>) {
    let mut slice = vec![0; SLICE];
    loop {
        let news = match reader.read(&mut slice) {
            Ok(0) => Heard::End(None),
            Ok(length) => Heard::Bytes(slice[..length].to_vec()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Heard::End(Some(error)),
        };
        let is_end = matches!(news, Heard::End(_));
        if heard.send(news).is_err() || is_end {
            return;
        }
    }
}

/// The writer's thread. Ends with the channel, or with the first error.
fn write_all(
    mut writer: impl Write,
    to_write: &Receiver<Vec<u8>>,
    wrote: &Sender<io::Result<usize>>,
) {
    for bytes in to_write {
        for slice in bytes.chunks(MORSEL) {
            let outcome = writer.write_all(slice).and_then(|()| writer.flush());
            let failed = outcome.is_err();
            if wrote.send(outcome.map(|()| slice.len())).is_err() || failed {
                return;
            }
        }
    }
}
