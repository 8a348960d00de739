//! The exchange proper: commits both ways, then the proof that both hold the cut.

use std::collections::VecDeque;
use std::time::Duration;

use heirloom_core::model::{LogRoot, Lsn, NodeId, StateDigest};
use heirloom_core::replica::{Cut, Peer, Position, Replica, Staged};

use super::clock::PeerClock;
use super::gate::Gate;
use super::message::{Done, Forks, Message, WireStaged};
use super::receiver::Receiver;
use super::sender::Sender;
use super::want::Wants;
use crate::error::{Divergence, PeerMisbehaved, Result};
use crate::report::{Outcome, Progress, Report};
use crate::traced::TRACED;

/// Who is at the other end.
#[derive(Clone, Copy)]
pub(crate) struct Partner {
    pub(crate) node: NodeId,
    /// Whether it is a hub, where our caller says so.
    pub(crate) is_hub: Option<bool>,
    /// Both understand the same format levels, so their folds of equal logs are equal.
    pub(crate) same_levels: bool,
    /// It answers, and we spoke first.
    pub(crate) answers: bool,
}

/// Both clocks are known; data may flow.
pub(crate) struct Exchange {
    peer: Partner,
    /// Where we stood when the session began.
    position: Position,
    clock: PeerClock,
    /// Ladders to be sent.
    forks: VecDeque<Forks>,
    wants: Wants,
    /// The large commit that the peer has parts of.
    resume: Option<WireStaged>,
    /// From when on it is known what the peer lacks.
    sender: Option<Sender>,
    receiver: Receiver,
    ours: Option<(Done, Lsn)>,
    theirs: Option<Done>,
}

impl Exchange {
    pub(crate) fn new<R: Replica>(
        replica: &R,
        (peer, gate): (Partner, Gate),
        position: Position,
        mut clock: PeerClock,
        wants: Wants,
        (resume, offered): (Option<WireStaged>, Option<Staged>),
    ) -> Result<Self> {
        let forks = clock.first_forks(replica, &position)?.into();
        let receiver = Receiver::new(peer.node, gate, offered);
        Ok(Self {
            peer,
            position,
            clock,
            forks,
            wants,
            resume,
            sender: None,
            receiver,
            ours: None,
            theirs: None,
        })
    }

    /// Takes a message. True once both ends are done.
    pub(crate) fn on_message<R: Replica>(
        &mut self,
        replica: &R,
        now: Duration,
        message: Message,
        report: &mut Report,
    ) -> Result<bool> {
        let knew = self.knows_what_is_lacking();
        match message {
            Message::Forks(frame) => {
                self.forks.extend(self.clock.on_forks(replica, &self.position, frame)?);
            }
            other @ (Message::Commits(_)
            | Message::Part(_)
            | Message::End(_)
            | Message::Want(_))
                if !self.clock.has_forks() =>
            {
                let state = "ladders were due";
                return Err(PeerMisbehaved::Unexpected { message: other.name(), state }.into());
            }
            Message::Commits(commits) => self.receiver.on_commits(replica, now, commits, report)?,
            Message::Part(part) => self.receiver.on_part(replica, now, part, report)?,
            Message::End(end) if !self.receiver.ended() => {
                self.receiver.on_end(replica, end, report)?
            }
            Message::Want(want) => self.wants.on_want(want)?,
            Message::Ack(ack) => {
                self.sender.as_mut().ok_or(PeerMisbehaved::BeyondCredit)?.on_credit(ack.credit)?;
                for end in &ack.ends {
                    self.clock.raise(replica, end)?;
                }
            }
            Message::Done(done) if self.receiver.ended() && self.theirs.is_none() => {
                report.round_trips += 1;
                self.theirs = Some(done);
                return self.conclude(replica, report);
            }
            other => {
                let state = "commits are exchanged";
                return Err(PeerMisbehaved::Unexpected { message: other.name(), state }.into());
            }
        }
        // whoever spoke first, and could not send before this, has waited for it
        let waited = self.peer.answers && !knew && self.knows_what_is_lacking();
        report.round_trips += u32::from(waited);
        Ok(false)
    }

    /// Whether it is known what the peer lacks, and what it asks for again.
    fn knows_what_is_lacking(&self) -> bool {
        self.clock.is_known() && self.wants.is_known()
    }

    /// The next message to send.
    pub(crate) fn next<R: Replica>(
        &mut self,
        replica: &R,
        report: &mut Report,
    ) -> Result<Option<Message>> {
        if let Some(forks) = self.forks.pop_front() {
            return Ok(Some(Message::Forks(forks)));
        }
        if let Some(want) = self.wants.next() {
            return Ok(Some(Message::Want(want)));
        }
        if let Some(ack) = self.receiver.take_ack() {
            return Ok(Some(ack));
        }
        let knows = self.knows_what_is_lacking();
        let sender = match &mut self.sender {
            Some(sender) => sender,
            None if !knows => return Ok(None),
            unborn => {
                let again = std::mem::take(&mut self.wants.theirs);
                let resume = self.resume.take();
                let sender = Sender::new(replica, &self.clock, &self.position, again, resume)?;
                unborn.insert(sender)
            }
        };
        if let Some(message) = sender.next(replica, &self.clock, report)? {
            return Ok(Some(message));
        }
        if !sender.ended() || !self.receiver.ended() || self.ours.is_some() {
            return Ok(None);
        }
        let cut = self.clock.cut(replica, &self.position)?;
        let now = replica.position()?;
        // the digest counts what is damaged, too: no root says that
        let root = if now.whole { *now.log_root().as_bytes() } else { [0; 32] };
        let digest = *now.digest.as_bytes();
        report.damaged = !now.whole;
        let done = Done { cut: *cut.as_bytes(), root, digest };
        self.ours = Some((done, now.lsn));
        Ok(Some(Message::Done(done)))
    }

    /// Compares once both have said what they hold. True if that is so.
    pub(crate) fn conclude<R: Replica>(&self, replica: &R, report: &mut Report) -> Result<bool> {
        let (Some((ours, lsn)), Some(theirs)) = (&self.ours, &self.theirs) else {
            return Ok(false);
        };
        let root = LogRoot::from_bytes(ours.cut);
        if ours.cut != theirs.cut {
            return Err(
                Divergence::Roots { ours: root, theirs: LogRoot::from_bytes(theirs.cut) }.into()
            );
        }
        if self.peer.same_levels && ours.root == theirs.root && ours.digest != theirs.digest {
            let (ours, theirs) =
                (StateDigest::from_bytes(ours.digest), StateDigest::from_bytes(theirs.digest));
            return Err(Divergence::Digests { ours, theirs }.into());
        }
        report.outcome = Outcome::Verified;
        report.cut = Some(root);
        report.settled = ours.root == ours.cut && theirs.root == theirs.cut;
        let cut = report.settled.then_some(Cut { root, lsn: *lsn });
        // what came meanwhile was not sent
        let held = if report.settled { *lsn } else { self.position.lsn };
        remember(replica, self.peer, cut, held)?;
        let (sent, received, settled) =
            (report.commits_sent, report.commits_received, report.settled);
        tracing::info!(target: TRACED, sent, received, settled, "verified with the peer");
        Ok(true)
    }

    /// The session broke: remembers what the peer has acknowledged so far.
    pub(crate) fn break_off<R: Replica>(&self, replica: &R) -> Result<()> {
        let held = replica.first_lsn_beyond(&|log, line| self.clock.sequence(log, line))?;
        remember(replica, self.peer, None, held.min(self.position.lsn))
    }

    /// Makes durable what is here.
    pub(crate) fn settle<R: Replica>(&mut self, replica: &R, report: &mut Report) -> Result<()> {
        self.receiver.settle(replica, report)
    }

    /// When [`Exchange::settle`] is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.receiver.deadline()
    }

    pub(crate) fn progress(&self, report: &Report) -> Progress {
        Progress {
            commits_sent: report.commits_sent,
            commits_ahead: self.sender.as_ref().map_or(self.position.lsn.get(), Sender::ahead),
            commits_received: report.commits_received,
            bytes_out: report.bytes_out,
            bytes_in: report.bytes_in,
        }
    }
}

/// Remembers what a peer holds: the first so many commits that are here. That replaces what was
/// remembered, downwards too, since a peer may have lost its data. A cut at which both stood
/// exactly lets the next clocks be relative to it: each end lists what has changed since then, and
/// takes an unlisted log to stand where it stood in the cut. (A cut that only lay behind them would
/// not do: the ends of it are not kept, and guessing low would send things back to where they came
/// from.)
///
/// Whoever bears our own name, a copy that nobody noticed yet, is no peer that could be told apart.
pub(crate) fn remember<R: Replica>(
    replica: &R,
    peer: Partner,
    cut: Option<Cut>,
    held: Lsn,
) -> Result<()> {
    if peer.node == replica.node()? {
        return Ok(());
    }
    let before = replica.remembered(peer.node)?.unwrap_or_default();
    let known = before.cut;
    // the same cut at a later lsn says nothing new
    let cut = if known.map(|k| k.root) == cut.map(|c| c.root) { known } else { cut.or(known) };
    let is_hub = peer.is_hub.unwrap_or(before.is_hub);
    Ok(replica.remember(peer.node, Peer { cut, held, is_hub, ..before })?)
}
