//! The sending half: what the peer lacks, in arrival order, within its credit.

use std::collections::{HashMap, VecDeque};

use heirloom_core::model::{CommitRef, Line, Lsn, Sequence};
use heirloom_core::replica::{Position, Replica, WireCommit};

use super::clock::PeerClock;
use super::message::{Commits, Message, Part, SendingEnds, WireHead, WireStaged};
use crate::error::{PeerMisbehaved, Result};
use crate::limits::{BATCH_BYTES, BATCH_COMMITS, FIRST_FRAME, PART_MAX, WHOLE_MAX, WINDOW};
use crate::report::Report;

/// Holds one batch of commits at most, or one large commit.
pub(crate) struct Sender {
    /// Everything below this lsn is sent, held by the peer, or in `batch`.
    cursor: Lsn,
    /// What came after the session began is left to the next.
    until: Lsn,
    /// How far each line could be shown then, where something is damaged. What is healed meanwhile
    /// is left to the next, too: others that build on it may have been passed by.
    shown: Option<HashMap<Line, Sequence>>,
    /// What the peer asked for although it has it: goes first.
    again: VecDeque<CommitRef>,
    batch: VecDeque<WireCommit>,
    /// The commit at the front of `batch` is under way in parts.
    parts: Option<PartsSent>,
    /// The large commit that the peer has parts of already.
    resume: Option<WireStaged>,
    credit: u64,
    frame: usize,
    commits: u64,
    ended: bool,
}

struct PartsSent {
    head: WireHead,
    offset: usize,
}

impl Sender {
    pub(crate) fn new<R: Replica>(
        replica: &R,
        clock: &PeerClock,
        position: &Position,
        again: VecDeque<CommitRef>,
        resume: Option<WireStaged>,
    ) -> Result<Self> {
        let until = position.lsn;
        let shown = if position.whole { None } else { Some(shown(replica, position)?) };
        let cursor = replica.first_lsn_beyond(&|log, line| clock.sequence(log, line))?.min(until);
        let (batch, frame) = (VecDeque::new(), FIRST_FRAME);
        Ok(Self {
            cursor,
            until,
            shown,
            again,
            batch,
            parts: None,
            resume,
            credit: WINDOW,
            frame,
            commits: 0,
            ended: false,
        })
    }

    /// Everything is sent, and the peer was told so.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Commits still to be looked through.
    pub(crate) fn ahead(&self) -> u64 {
        self.until.since(self.cursor).unwrap_or(0) + self.batch.len() as u64
    }

    pub(crate) fn on_credit(&mut self, credit: u64) -> Result<()> {
        self.credit = self.credit.saturating_add(credit);
        if self.credit > WINDOW { Err(PeerMisbehaved::BeyondCredit.into()) } else { Ok(()) }
    }

    /// The next message, if there is one to send and credit for it.
    pub(crate) fn next<R: Replica>(
        &mut self,
        replica: &R,
        clock: &PeerClock,
        report: &mut Report,
    ) -> Result<Option<Message>> {
        if self.ended {
            return Ok(None);
        }
        let mut bytes = 0;
        while self.batch.is_empty() || bytes > 0 && bytes < BATCH_BYTES {
            let Some(wanted) = self.again.pop_front() else { break };
            let Some(commit) = replica.verified(&wanted)? else { continue };
            bytes += commit.bytes.len();
            self.batch.push_back(commit);
        }
        while self.batch.is_empty() && self.cursor < self.until {
            let is_shown = |line: Line, last: Sequence| {
                self.shown
                    .as_ref()
                    .is_none_or(|shown| shown.get(&line).is_some_and(|most| last <= *most))
            };
            let wanted = |log, line, last| last > clock.sequence(log, line) && is_shown(line, last);
            let batch = replica.commits(self.cursor, self.until, &wanted, BATCH_BYTES)?;
            self.batch = batch.commits.into();
            // An lsn that stood still would be a fault of the replica; it must not become an
            // endless loop here.
            self.cursor = batch.next_lsn.clamp(self.cursor.next(), self.until);
        }
        let Some(first) = self.batch.front() else {
            self.ended = true;
            return Ok(Some(Message::End(SendingEnds { commits: self.commits })));
        };
        let resumed =
            self.resume.is_some_and(|staged| staged.head.chain == *first.end.chain.as_bytes());
        if self.parts.is_some() || resumed || first.bytes.len() > self.frame.min(WHOLE_MAX) {
            Ok(self.next_part(report))
        } else {
            Ok(self.next_commits(report))
        }
    }

    fn next_commits(&mut self, report: &mut Report) -> Option<Message> {
        let room = self.frame.min(usize::try_from(self.credit).unwrap_or(usize::MAX));
        let (mut commits, mut bytes) = (Vec::new(), 0);
        while let Some(commit) = self.batch.front()
            && bytes + commit.bytes.len() <= room
            && commits.len() < BATCH_COMMITS
            && let Some(commit) = self.batch.pop_front()
        {
            bytes += commit.bytes.len();
            self.sent(&commit, report);
            commits.push(commit.bytes);
        }
        if commits.is_empty() {
            return None;
        }
        self.charge(bytes);
        Some(Message::Commits(Commits { commits }))
    }

    fn next_part(&mut self, report: &mut Report) -> Option<Message> {
        let commit = self.batch.front()?;
        let resume = &mut self.resume;
        let parts = self.parts.get_or_insert_with(|| {
            let head = WireHead::of_commit(&commit.end, &commit.bytes);
            // Parts of other bytes for this commit (another encoding of its bodies) do not help.
            let staged =
                resume.take().filter(|staged| staged.head == head && staged.bytes < head.total);
            let offset = staged.map_or(0, |staged| staged.bytes as usize);
            report.resumed_bytes += offset as u64;
            PartsSent { head, offset }
        });
        let rest = &commit.bytes[parts.offset..];
        let length = rest.len().min(PART_MAX).min(self.frame);
        if length as u64 > self.credit {
            return None;
        }
        let (head, offset) = (parts.head, parts.offset as u64);
        let part = Part { head, offset, bytes: rest[..length].to_vec() };
        parts.offset += length;
        if parts.offset == commit.bytes.len() {
            self.parts = None;
            if let Some(commit) = self.batch.pop_front() {
                self.sent(&commit, report);
            }
        }
        self.charge(length);
        Some(Message::Part(part))
    }

    fn sent(&mut self, commit: &WireCommit, report: &mut Report) {
        self.commits += 1;
        report.commits_sent += 1;
        report.versions_sent += commit.versions;
    }

    fn charge(&mut self, bytes: usize) {
        self.credit -= bytes as u64;
        self.frame = (self.frame * 2).min(BATCH_BYTES);
    }
}

/// The last sequence of each line in a position.
fn shown<R: Replica>(replica: &R, position: &Position) -> Result<HashMap<Line, Sequence>> {
    let mut out = HashMap::new();
    for end in &position.ends {
        if let Some(here) = replica.locate(&end.reference())? {
            out.extend(here.path.first().copied());
        }
    }
    Ok(out)
}
