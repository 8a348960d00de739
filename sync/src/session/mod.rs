//! The session: a state machine without I/O. Bytes and time go in, bytes and events come out.

#![deny(clippy::disallowed_methods)]

mod clock;
mod codec;
mod exchange;
mod frame;
mod gate;
mod hello;
mod message;
mod pace;
mod receiver;
mod sender;
mod want;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use heirloom_core::model::{CommitRef, Dataset, LogId, LogRoot, Lsn, NodeId, Timestamp};
use heirloom_core::replica::{Cut, End, Position, Replica, Staged, StagedHead, log_root};

use self::clock::{ClockReader, PeerClock, Told};
use self::exchange::{Exchange, Partner, remember};
use self::frame::{Codec, FrameReader, FrameWriter};
use self::gate::Gate;
use self::hello::Greeting;
use self::message::{Clock, Close, Message, WireStaged};
use self::pace::Pace;
use self::want::{Mark, Wants};
use crate::config::Config;
use crate::error::{PeerMisbehaved, Reason, Result, SyncError};
use crate::limits::{CLOCK_INLINE, LEVEL, WANT_MAX};
use crate::report::{ClockSkew, Event, Outcome, Report};
use crate::traced::TRACED;

/// One end of a sync with one peer.
///
/// It does no I/O and reads no clock; a driver does both, in this loop, until nothing moves any
/// more:
///
/// 1. **Input.** What the link brings goes to [`handle_input`](Session::handle_input), sliced
///    however it came; that the peer has closed its half, to
///    [`handle_end_of_input`](Session::handle_end_of_input); that the link took bytes, to
///    [`handle_transmitted`](Session::handle_transmitted).
/// 2. **Output.** While the link has room, [`poll_transmit`](Session::poll_transmit) gives about
///    one frame at a time.
/// 3. **Time.** When [`poll_timeout`](Session::poll_timeout) has come,
///    [`handle_timeout`](Session::handle_timeout). Any of the calls may have moved it. `now` is the
///    time since any fixed moment, and never runs backwards.
/// 4. **Events.** [`poll_event`](Session::poll_event) tells of progress and of the end.
///
/// The driver stops when [`is_finished`](Session::is_finished), or at the first error that a method
/// returns. **After an error** the session takes nothing more, but `poll_transmit` still gives what
/// the peer should know: send it if the link allows, then close. All that was acknowledged by then
/// is durable on both sides; the next session goes on from there.
///
/// The link must be reliable and ordered, and a driver must never refuse input until its output is
/// taken: both ends may have megabytes to send.
///
/// **Memory** is bounded whatever the history: per session at most about 14 MiB (an incoming frame,
/// packed and unpacked; commits not yet durable; a batch to send, and a frame of it; what both
/// streams of zstd look back at), 200 bytes for each log, and one large commit each way while such
/// a one travels (88 MiB at most, by the limits of the format).
pub struct Session<R> {
    replica: R,
    config: Config,
    initiator: bool,
    state: State,
    reader: FrameReader,
    writer: FrameWriter,
    outbox: VecDeque<Message>,
    pace: Pace,
    report: Report,
    skew: Option<ClockSkew>,
    /// When it was called last, since it began.
    now: Duration,
    progressed: bool,
    told_forks: usize,
    told_left: bool,
    told_end: bool,
    /// What does not verify here, and the fingerprints of that in both hellos.
    unverified: Vec<CommitRef>,
    marks: (Mark, Mark),
}

/// What is known by now, and what may come next.
enum State {
    /// Nobody has spoken.
    Fresh,
    /// The initiator has said hello.
    Greeted(Position),
    /// Both have said hello, and differ.
    Comparing(Box<Comparing>),
    /// Both clocks are known.
    Exchanging(Box<Exchange>),
    Finished,
    Failed,
}

struct Comparing {
    peer: Partner,
    gate: Gate,
    position: Position,
    /// The cut that the clocks may be relative to: that of the answer, and, at the initiator,
    /// remembered here, too.
    base: Option<Vec<End>>,
    offered: Option<Staged>,
    reader: ClockReader,
    /// The responder's clock that went along with its hello: was it relative?
    inlined: Option<bool>,
}

impl<R: Replica> Session<R> {
    /// The end that speaks first: usually the one that connected.
    pub fn initiator(replica: R, config: Config) -> Self {
        Self::new(replica, config, true)
    }

    /// The other end.
    pub fn responder(replica: R, config: Config) -> Self {
        Self::new(replica, config, false)
    }

    fn new(replica: R, config: Config, initiator: bool) -> Self {
        Self {
            pace: Pace::new(&config),
            replica,
            config,
            initiator,
            state: State::Fresh,
            reader: FrameReader::new(),
            writer: FrameWriter::default(),
            outbox: VecDeque::new(),
            report: Report::default(),
            skew: None,
            now: Duration::ZERO,
            progressed: false,
            told_forks: 0,
            told_left: false,
            told_end: false,
            unverified: Vec::new(),
            marks: (None, None),
        }
    }

    /// Takes bytes that came over the link: any slice of the stream. What is complete is acted
    /// upon, which may write to the store.
    pub fn handle_input(&mut self, now: Duration, bytes: &[u8]) -> Result<()> {
        self.now = now;
        if self.is_over() {
            return Ok(());
        }
        if !bytes.is_empty() {
            self.pace.moved(now);
            self.pace.earn(bytes.len() as u64);
            self.progressed = true;
        }
        self.report.bytes_in += bytes.len() as u64;
        let outcome = self.consume(now, bytes).and_then(|()| self.settle_if_due(now).map(|_| ()));
        self.note(outcome)
    }

    /// The peer will send no more. What has come whole is made durable, so that the next session
    /// need not bring it again; then this is an error, unless the session was over.
    pub fn handle_end_of_input(&mut self, _now: Duration) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let settled = match &mut self.state {
            State::Exchanging(exchange) => exchange.settle(&self.replica, &mut self.report),
            _ => Ok(()),
        };
        let ended = io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the peer closed the connection before the session was over",
        );
        let outcome = settled.and(Err(SyncError::Transport(ended)));
        self.note(outcome)
    }

    /// The link has taken bytes that were given out earlier: it is alive.
    pub fn handle_transmitted(&mut self, now: Duration) {
        self.pace.moved(now);
        self.pace.waits(now);
    }

    /// Does what is due at `now`: makes durable what was gathered for long enough; gives up when
    /// the peer has taken longer than the configuration allows. What this end needs for its own
    /// work is not counted against the peer. Harmless when called too early.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let late = self.pace.check(now);
        let outcome = match self.settle_if_due(now) {
            Ok(settled) => {
                if !settled {
                    self.pace.waits(now);
                }
                late
            }
            failed => failed.map(|_| ()),
        };
        self.note(outcome)
    }

    /// When [`handle_timeout`](Session::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.is_over() {
            return None;
        }
        let gathered = match &self.state {
            State::Exchanging(exchange) => exchange.deadline(),
            _ => None,
        };
        [self.pace.deadline(), gathered].into_iter().flatten().min()
    }

    /// Appends the next frame to `out`; false if there is none now. At most about 1 MiB a call.
    pub fn poll_transmit(&mut self, now: Duration, out: &mut Vec<u8>) -> Result<bool> {
        self.now = now;
        self.pace.works(now);
        if self.outbox.is_empty() {
            let outcome = self.compose();
            self.note(outcome)?;
        }
        self.pace.waits(now);
        let Some(message) = self.outbox.pop_front() else { return Ok(false) };
        let payload = message.encode();
        let start = out.len();
        match message {
            Message::Hello(_) => FrameWriter::default().write(&payload, out),
            _ => self.writer.write(&payload, out),
        }
        self.pace.earn((out.len() - start) as u64);
        self.report.bytes_out += (out.len() - start) as u64;
        self.report.raw_out += payload.len() as u64;
        self.progressed = true;
        Ok(true)
    }

    /// What there is to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(skew) = self.skew.take() {
            return Some(Event::Clock(skew));
        }
        if std::mem::take(&mut self.progressed)
            && let State::Exchanging(exchange) = &self.state
        {
            return Some(Event::Progress(exchange.progress(&self.report)));
        }
        if let Some(fork) = self.report.forks.get(self.told_forks) {
            self.told_forks += 1;
            return Some(Event::Forked(fork.clone()));
        }
        if let Some(log) =
            self.report.left_log.filter(|_| !std::mem::replace(&mut self.told_left, true))
        {
            return Some(Event::LeftLog(log));
        }
        if self.is_finished() && !std::mem::replace(&mut self.told_end, true) {
            return Some(Event::Finished(Box::new(self.report.clone())));
        }
        None
    }

    /// Whether the session is over and went well: nothing is left to send or to wait for.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished) && self.outbox.is_empty()
    }

    /// What happened so far; after an error, too.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Gives up. The peer is told if `poll_transmit` is drained; nothing that was acknowledged is
    /// lost.
    pub fn cancel(&mut self) {
        if !self.is_over() {
            self.fail(&SyncError::Cancelled);
        }
    }

    /// Drivers wait as long for their last bytes to go out.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.config.idle_timeout
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Finished | State::Failed)
    }

    fn note<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome {
            self.fail(error);
        }
        outcome
    }

    fn fail(&mut self, error: &SyncError) {
        tracing::warn!(target: TRACED, %error, "the session failed");
        match (&self.state, error) {
            // the refusal is what counts, whether or not the parts could be dropped
            (_, SyncError::NotAdmitted { node, .. }) => _ = self.replica.unstage(*node).ok(),
            // only a hint for the status: the first error is the one to tell
            (State::Exchanging(exchange), _) => _ = exchange.break_off(&self.replica).ok(),
            _ => {}
        }
        self.state = State::Failed;
        // A hello or a proof on its way explains more than the reason alone; the rest has become
        // pointless.
        self.outbox.retain(|message| matches!(message, Message::Hello(_) | Message::Done(_)));
        self.outbox.extend(Close::for_error(error).map(Message::Close));
    }

    /// Whether there was something to make durable.
    fn settle_if_due(&mut self, now: Duration) -> Result<bool> {
        match &mut self.state {
            State::Exchanging(exchange)
                if exchange.deadline().is_some_and(|deadline| deadline <= now) =>
            {
                self.pace.works(now);
                exchange.settle(&self.replica, &mut self.report).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    fn consume(&mut self, now: Duration, mut bytes: &[u8]) -> Result<()> {
        while let Some(payload) = self.reader.take(&mut bytes)? {
            self.report.raw_in += payload.len() as u64;
            self.on_message(now, Message::decode(&payload)?)?;
            if self.is_over() {
                break;
            }
        }
        Ok(())
    }

    fn on_message(&mut self, now: Duration, message: Message) -> Result<()> {
        self.state = match (std::mem::replace(&mut self.state, State::Failed), message) {
            (_, Message::Close(close)) => return Err(self.closed(close)?),
            (State::Fresh, Message::Hello(hello)) if !self.initiator => self.on_hello(&hello)?,
            (State::Greeted(position), Message::Hello(hello)) => {
                self.on_answer(position, &hello)?
            }
            (State::Comparing(comparing), Message::Clock(frame)) => {
                self.on_clock(comparing, frame)?
            }
            (State::Exchanging(mut exchange), message) => {
                if exchange.on_message(&self.replica, now, message, &mut self.report)? {
                    State::Finished
                } else {
                    State::Exchanging(exchange)
                }
            }
            (state, message) => {
                return Err(PeerMisbehaved::Unexpected {
                    message: message.name(),
                    state: state.name(),
                }
                .into());
            }
        };
        Ok(())
    }

    /// Puts the next message into the outbox, if there is one.
    fn compose(&mut self) -> Result<()> {
        match &mut self.state {
            State::Fresh if self.initiator => {
                let position = self.replica.position()?;
                let hello = self.greeting(&position)?;
                self.outbox.push_back(Message::Hello(hello.write()));
                self.state = State::Greeted(position);
            }
            State::Exchanging(exchange) => {
                let Some(message) = exchange.next(&self.replica, &mut self.report)? else {
                    return Ok(());
                };
                let last = matches!(message, Message::Done(_));
                self.outbox.push_back(message);
                if last && exchange.conclude(&self.replica, &mut self.report)? {
                    self.state = State::Finished;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The time at which it begins, unless its caller has said it.
    pub(crate) fn begin_at(&mut self, now: Timestamp) {
        self.config.wall_time.get_or_insert(now);
    }

    /// The physical time, if anybody told the session.
    fn wall_time(&self) -> Option<Timestamp> {
        let since = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX);
        let begun = self.config.wall_time?.as_millis();
        Some(Timestamp::from_millis(begun.saturating_add(since)))
    }

    /// The initiator's hello.
    fn greeting(&mut self, position: &Position) -> Result<Greeting> {
        self.unverified = self.replica.unverified(WANT_MAX)?;
        self.marks.0 = want::mark(&self.unverified);
        Ok(Greeting {
            unverified: self.marks.0,
            dataset: self.replica.dataset()?,
            capabilities: self.capabilities(),
            wall: self.wall_time(),
            policy: Some(self.replica.policy_fingerprint()).filter(|p| *p != [0; 8]),
            ..Greeting::new(self.replica.node()?, position.log_root())
        })
    }

    /// What it tells the peer that it can unpack.
    fn capabilities(&self) -> u64 {
        if self.config.compression { Codec::capabilities() } else { 0 }
    }

    /// The responder, at the initiator's hello.
    fn on_hello(&mut self, hello: &message::Hello) -> Result<State> {
        let position = self.replica.position()?;
        let read = Greeting::read(hello);
        let Ok(theirs) = read else {
            // It may only be newer: our answer tells it so.
            let answer = self.greeting(&position)?.write();
            self.outbox.push_back(Message::Hello(answer));
            return read.map(|_| State::Failed);
        };
        self.meet(&theirs);
        let settled = self.settle_dataset(&theirs);
        let mut answer = self.greeting(&position)?;
        // it may be this store itself: by our answer the initiator tells, and says so
        let namesake = theirs.node == answer.node;
        if namesake {
            answer.instance = self.replica.instance();
        }
        if matches!(settled, Err(SyncError::WrongDataset { .. })) {
            answer.dataset_name = self.replica.dataset_name()?;
        }
        if settled.is_ok() && theirs.root == answer.root && self.verify_alike() && !namesake {
            return self.answer_equal(position, &theirs, answer);
        }
        let base = self.remembered(theirs.node, position.lsn, None)?;
        answer.cut = base.as_deref().map(log_root);
        let offered = self.offer(theirs.node)?;
        answer.clock =
            small_clock(&position, base.as_deref(), offered.as_ref(), self.replica.own_log()?);
        let inlined = answer.clock.as_ref().map(|clock| clock.relative);
        self.outbox.push_back(Message::Hello(answer.write()));
        settled?;
        let gate = self.gate(&theirs)?;
        Ok(State::Comparing(Box::new(Comparing {
            peer: self.partner(&theirs),
            gate,
            position,
            base,
            offered,
            reader: ClockReader::default(),
            inlined,
        })))
    }

    /// The answer that settles everything, as short as it can be: under 200 bytes together with the
    /// question.
    fn answer_equal(
        &mut self,
        position: Position,
        theirs: &Greeting,
        mut answer: Greeting,
    ) -> Result<State> {
        if !position.ends.is_empty() {
            // The root covers the dataset, which every genesis names.
            answer.dataset = None;
        }
        answer.capabilities = 0;
        self.outbox.push_back(Message::Hello(answer.write()));
        self.end_equal(&position, theirs)
    }

    /// The initiator, at the responder's hello.
    fn on_answer(&mut self, position: Position, hello: &message::Hello) -> Result<State> {
        let theirs = Greeting::read(hello)?;
        self.meet(&theirs);
        self.recognise(&theirs)?;
        self.settle_dataset(&theirs)?;
        let namesake = theirs.node == self.replica.node()?;
        if theirs.root == position.log_root() && self.verify_alike() && !namesake {
            return self.end_equal(&position, &theirs);
        }
        let gate = self.gate(&theirs)?;
        let base = match theirs.cut {
            Some(cut) => self.remembered(theirs.node, position.lsn, Some(cut))?,
            None => None,
        };
        let offered = self.offer(theirs.node)?;
        let clock = clock::write(
            &position,
            base.as_deref(),
            offered.as_ref().map(WireStaged::from),
            self.replica.own_log()?,
        );
        self.outbox.extend(clock.into_iter().map(Message::Clock));
        let comparing = Comparing {
            peer: self.partner(&theirs),
            gate,
            position,
            base,
            offered,
            reader: ClockReader::default(),
            inlined: None,
        };
        match theirs.clock {
            // A clock relative to a cut that is not remembered here says nothing; the responder
            // sees that ours is full, and sends its own.
            Some(clock) if !clock.relative || comparing.base.is_some() => {
                let told = ClockReader::default().add(clock)?.ok_or(PeerMisbehaved::BadClock)?;
                self.exchange(comparing, told)
            }
            _ => Ok(State::Comparing(Box::new(comparing))),
        }
    }

    /// A frame of the peer's clock.
    fn on_clock(&mut self, mut comparing: Box<Comparing>, frame: Clock) -> Result<State> {
        let Some(told) = comparing.reader.add(frame)? else {
            return Ok(State::Comparing(comparing));
        };
        // What went along with the responder's hello serves unless it is relative and the initiator
        // cannot follow.
        let served =
            self.initiator || comparing.inlined.is_some_and(|relative| !relative || told.relative);
        let waited = self.initiator || !served;
        self.report.round_trips += u32::from(waited);
        if !served {
            let staged = comparing.offered.as_ref().map(WireStaged::from);
            let base = comparing.base.as_deref().filter(|_| told.relative);
            let clock = clock::write(&comparing.position, base, staged, self.replica.own_log()?);
            self.outbox.extend(clock.into_iter().map(Message::Clock));
        }
        self.exchange(*comparing, told)
    }

    /// Both clocks are known.
    fn exchange(&mut self, comparing: Comparing, told: Told) -> Result<State> {
        let Comparing { peer, mut gate, position, base, offered, .. } = comparing;
        if told.relative && base.is_none() {
            return Err(PeerMisbehaved::BadClock.into());
        }
        let claimed = told.ends.iter().map(|end| (end.log(), end.sequence()));
        gate.check_clock(&self.replica, told.own, claimed, position.ends.is_empty())?;
        let base = base.as_deref().filter(|_| told.relative);
        let clock = PeerClock::new(&self.replica, &position, told.ends, base)?;
        let wants = Wants::new(self.marks, &self.unverified);
        let staged = (told.staged, offered);
        let exchange = Exchange::new(&self.replica, (peer, gate), position, clock, wants, staged)?;
        Ok(State::Exchanging(Box::new(exchange)))
    }

    /// Whether neither end could have bodies that the other asks for.
    fn verify_alike(&self) -> bool {
        self.marks.0 == self.marks.1
    }

    fn partner(&self, theirs: &Greeting) -> Partner {
        let is_hub = self.config.peer_is_hub;
        let same_levels = theirs.level == LEVEL;
        Partner { node: theirs.node, is_hub, same_levels, answers: self.initiator }
    }

    /// Notes what the peer's hello says about the peer.
    fn meet(&mut self, theirs: &Greeting) {
        let ours = self.capabilities();
        self.writer.greeted(Codec::best_of(ours & theirs.capabilities));
        self.reader.greeted(ours);
        self.pace.greeted();
        self.report.round_trips = 1;
        self.marks.1 = theirs.unverified;
        self.report.peer = Some(theirs.node);
        self.report.policies_differ =
            theirs.policy.unwrap_or_default() != self.replica.policy_fingerprint();
        self.report.clock_skew_ms = theirs
            .wall
            .zip(self.wall_time())
            .map(|(theirs, ours)| theirs.as_millis().saturating_sub(ours.as_millis()));
        self.skew = self.report.clock_skew();
        let clock_skew_ms = self.report.clock_skew_ms;
        tracing::debug!(target: TRACED, peer = %theirs.node, clock_skew_ms, "met");
    }

    fn gate(&self, theirs: &Greeting) -> Result<Gate> {
        Gate::new(&self.config.rules, theirs.node, self.report.clock_skew_ms)
    }

    fn end_equal(&mut self, position: &Position, theirs: &Greeting) -> Result<State> {
        let root = position.log_root();
        // where something is damaged more is here than the root says
        let cut = position.whole.then_some(Cut { root, lsn: position.lsn });
        remember(&self.replica, self.partner(theirs), cut, position.lsn)?;
        self.report.outcome = Outcome::AlreadyEqual;
        self.report.cut = Some(root);
        self.report.settled = position.whole;
        self.report.damaged = !position.whole;
        tracing::info!(target: TRACED, peer = %theirs.node, "equal to the peer");
        Ok(State::Finished)
    }

    /// What it means that the peer gives up.
    fn closed(&self, close: Close) -> Result<SyncError> {
        let error = close.into_error();
        if let (SyncError::PeerFailed(Reason::Oneself), Some(node)) = (&error, self.report.peer)
            && node == self.replica.node()?
        {
            return Ok(SyncError::Oneself { node });
        }
        Ok(error)
    }

    /// The peer is not this store itself, met by an address that leads back here. A copy of the
    /// file that nobody noticed bears our name, too, but was opened by itself: it is welcome.
    fn recognise(&self, theirs: &Greeting) -> Result<()> {
        let (node, instance) = (self.replica.node()?, self.replica.instance());
        if theirs.node == node && instance.is_some() && theirs.instance == instance {
            return Err(SyncError::Oneself { node });
        }
        Ok(())
    }

    /// A store without a dataset takes over that of its peer. One that has one keeps it, empty or
    /// not: somebody gave it, and would look for it under that name.
    fn settle_dataset(&self, theirs: &Greeting) -> Result<()> {
        match (self.replica.dataset()?, theirs.dataset) {
            (Some(ours), Some(other)) if ours != other => Err(SyncError::WrongDataset {
                ours: Dataset { id: ours, name: self.replica.dataset_name()? },
                theirs: Dataset { id: other, name: theirs.dataset_name.clone() },
            }),
            (None, Some(other)) => Ok(self.replica.adopt(other)?),
            _ => Ok(()),
        }
    }

    /// The ends of the cut remembered with this peer (only of `wanted`, if that is given). What
    /// does not give its root is no cut of this log, whatever was remembered.
    fn remembered(
        &self,
        peer: NodeId,
        lsn: Lsn,
        wanted: Option<LogRoot>,
    ) -> Result<Option<Vec<End>>> {
        let cut = self.replica.remembered(peer)?.and_then(|peer| peer.cut);
        let Some(cut) =
            cut.filter(|cut| cut.lsn <= lsn && wanted.is_none_or(|wanted| wanted == cut.root))
        else {
            return Ok(None);
        };
        Ok(Some(self.replica.ends_at_lsn(cut.lsn)?).filter(|ends| log_root(ends) == cut.root))
    }

    /// The large commit that we have parts of, unless it is here by now.
    fn offer(&self, peer: NodeId) -> Result<Option<Staged>> {
        let Some(staged) = self.replica.staged(peer)? else { return Ok(None) };
        let StagedHead { log, sequence, chain, .. } = staged.head;
        if self.replica.locate(&CommitRef { log, sequence, prefix: chain.prefix() })?.is_some() {
            self.replica.unstage(peer)?;
            return Ok(None);
        }
        Ok(Some(staged))
    }
}

/// The responder's clock if it is small: full if possible, so that it serves whatever the initiator
/// remembers.
fn small_clock(
    position: &Position,
    base: Option<&[End]>,
    staged: Option<&Staged>,
    own: Option<LogId>,
) -> Option<Clock> {
    let staged = staged.map(WireStaged::from);
    let full = (position.ends.len() <= CLOCK_INLINE).then_some(None);
    let choices = [full, base.map(Some)];
    let mut clocks =
        choices.into_iter().flatten().map(|base| clock::write(position, base, staged, own));
    clocks.find_map(|mut frames| {
        frames.pop().filter(|last| frames.is_empty() && last.ends.len() <= CLOCK_INLINE)
    })
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Fresh => "nobody had said hello",
            State::Greeted(_) => "an answer to our hello was due",
            State::Comparing(_) => "a clock was due",
            State::Exchanging(_) => "commits are exchanged",
            State::Finished | State::Failed => "the session was over",
        }
    }
}
