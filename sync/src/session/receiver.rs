//! The receiving half: gathers commits, makes them durable, then acknowledges.

use std::collections::BTreeMap;
use std::time::Duration;

use heirloom_core::model::{LogId, NodeId};
use heirloom_core::replica::{Replica, Staged, StagedHead};

use super::gate::Gate;
use super::message::{Ack, Commits, Message, Part, SendingEnds, WireEnd, WireHead, digest};
use crate::error::{PeerMisbehaved, Result, SyncError};
use crate::limits::{
    ACK_ENDS, BATCH_COMMITS, COMMIT_MAX, GATHER_AGE, GATHER_BYTES, PART_MAX, WINDOW,
};
use crate::report::Report;

/// Holds less than two batches of commits at most, or one large commit.
pub(crate) struct Receiver {
    /// Under which name parts are staged.
    peer: NodeId,
    gate: Gate,
    /// What we told the peer to have of a large commit.
    offered: Option<Staged>,
    gathered: Vec<Vec<u8>>,
    /// Commits that wait for one that is damaged here and comes later.
    waiting: Vec<Vec<u8>>,
    assembly: Option<Assembly>,
    /// Bytes received that are not durable yet.
    pending: u64,
    /// When the oldest of them came.
    since: Option<Duration>,
    /// The acknowledgement to send.
    credit: u64,
    ends: BTreeMap<LogId, Vec<WireEnd>>,
    commits: u64,
    ended: bool,
}

/// A large commit, as far as it is here.
struct Assembly {
    head: WireHead,
    bytes: Vec<u8>,
    /// So many of them need no staging.
    staged: usize,
}

impl Receiver {
    pub(crate) fn new(peer: NodeId, gate: Gate, offered: Option<Staged>) -> Self {
        Self {
            peer,
            gate,
            offered,
            gathered: Vec::new(),
            waiting: Vec::new(),
            assembly: None,
            pending: 0,
            since: None,
            credit: 0,
            ends: BTreeMap::new(),
            commits: 0,
            ended: false,
        }
    }

    /// The peer has sent all it had, and all of it is durable.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// When [`Receiver::settle`] is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.since.map(|since| since.saturating_add(GATHER_AGE))
    }

    pub(crate) fn on_commits<R: Replica>(
        &mut self,
        replica: &R,
        now: Duration,
        message: Commits,
        report: &mut Report,
    ) -> Result<()> {
        if message.commits.is_empty() || message.commits.len() > BATCH_COMMITS {
            return Err(PeerMisbehaved::WrongCount.into());
        }
        if self.assembly.is_some() {
            return Err(PeerMisbehaved::PartOutOfPlace.into());
        }
        self.take_in(now, message.commits.iter().map(Vec::len).sum())?;
        self.commits += message.commits.len() as u64;
        report.commits_received += message.commits.len() as u64;
        self.gathered.extend(message.commits);
        self.settle_if_full(replica, report)
    }

    pub(crate) fn on_part<R: Replica>(
        &mut self,
        replica: &R,
        now: Duration,
        part: Part,
        report: &mut Report,
    ) -> Result<()> {
        let total = part.head.total;
        if total > COMMIT_MAX {
            return Err(PeerMisbehaved::CommitTooLong { total }.into());
        }
        if part.bytes.is_empty() || part.bytes.len() > PART_MAX {
            return Err(PeerMisbehaved::PartOutOfPlace.into());
        }
        if self.assembly.is_none() {
            // What came before it must be durable before it.
            self.settle(replica, report)?;
            self.assembly = Some(self.begin(replica, &part, report)?);
        }
        self.take_in(now, part.bytes.len())?;
        let assembly = self.assembly.as_mut().filter(|a| a.continued_by(&part));
        let assembly = assembly.ok_or(PeerMisbehaved::PartOutOfPlace)?;
        assembly.bytes.extend_from_slice(&part.bytes);
        if assembly.bytes.len() as u64 == total {
            return self.complete(replica, report);
        }
        self.settle_if_full(replica, report)
    }

    /// An empty commit, or the staged part of the one that we offered to resume.
    fn begin<R: Replica>(&self, replica: &R, part: &Part, report: &mut Report) -> Result<Assembly> {
        let fresh = Assembly { head: part.head, bytes: Vec::new(), staged: 0 };
        if part.offset == 0 {
            return Ok(fresh);
        }
        let offered = self
            .offered
            .as_ref()
            .filter(|o| WireHead::from(&o.head) == part.head && o.bytes == part.offset);
        let offered = offered.ok_or(PeerMisbehaved::PartOutOfPlace)?;
        let mut bytes = replica.staged_bytes(self.peer)?;
        if replica
            .staged(self.peer)?
            .is_none_or(|staged| staged.head != offered.head || staged.bytes < part.offset)
        {
            return Err(SyncError::Overtaken);
        }
        bytes.truncate(part.offset as usize);
        report.resumed_bytes += part.offset;
        Ok(Assembly { staged: bytes.len(), bytes, ..fresh })
    }

    pub(crate) fn on_end<R: Replica>(
        &mut self,
        replica: &R,
        end: SendingEnds,
        report: &mut Report,
    ) -> Result<()> {
        if self.assembly.is_some() {
            return Err(PeerMisbehaved::PartOutOfPlace.into());
        }
        if end.commits != self.commits {
            return Err(PeerMisbehaved::WrongCount.into());
        }
        self.settle(replica, report)?;
        if !self.waiting.is_empty() {
            return Err(SyncError::replica(
                "commits that came follow one that is damaged here and did not come, or could not \
                 be proven",
            ));
        }
        self.ended = true;
        Ok(())
    }

    /// The acknowledgement of what has become durable since the last one.
    pub(crate) fn take_ack(&mut self) -> Option<Message> {
        if self.credit == 0 {
            return None;
        }
        let ends = std::mem::take(&mut self.ends).into_values().flatten().take(ACK_ENDS).collect();
        Some(Message::Ack(Ack { credit: std::mem::take(&mut self.credit), ends }))
    }

    /// Counts bytes in, within the credit granted.
    fn take_in(&mut self, now: Duration, bytes: usize) -> Result<()> {
        self.pending += bytes as u64;
        self.since.get_or_insert(now);
        if self.ended || self.pending + self.credit > WINDOW {
            return Err(PeerMisbehaved::BeyondCredit.into());
        }
        Ok(())
    }

    fn settle_if_full<R: Replica>(&mut self, replica: &R, report: &mut Report) -> Result<()> {
        if self.pending >= GATHER_BYTES as u64 { self.settle(replica, report) } else { Ok(()) }
    }

    /// Makes durable what is here: commits by ingesting them, parts by staging them.
    pub(crate) fn settle<R: Replica>(&mut self, replica: &R, report: &mut Report) -> Result<()> {
        if self.pending == 0 {
            return Ok(());
        }
        if let Some(assembly) = &mut self.assembly {
            assembly.stage(replica, self.peer)?;
        } else {
            let gathered = std::mem::take(&mut self.gathered);
            self.ingest(replica, &gathered, report)?;
        }
        self.acknowledge();
        Ok(())
    }

    fn complete<R: Replica>(&mut self, replica: &R, report: &mut Report) -> Result<()> {
        let Some(assembly) = self.assembly.take() else { return Ok(()) };
        let outcome = if digest(&assembly.bytes) == assembly.head.digest {
            self.ingest(replica, &[assembly.bytes], report)
        } else {
            Err(PeerMisbehaved::WrongDigest.into())
        };
        // Parts of a commit that is here, or that nobody wants, are of no use; if our store failed
        // they still are.
        if !matches!(outcome, Err(SyncError::Replica(_)))
            && replica
                .staged(self.peer)?
                .is_some_and(|staged| WireHead::from(&staged.head) == assembly.head)
        {
            replica.unstage(self.peer)?;
        }
        outcome?;
        self.commits += 1;
        report.commits_received += 1;
        self.acknowledge();
        Ok(())
    }

    fn ingest<R: Replica>(
        &mut self,
        replica: &R,
        commits: &[Vec<u8>],
        report: &mut Report,
    ) -> Result<()> {
        let before = std::mem::take(&mut self.waiting);
        let slices: Vec<&[u8]> = before.iter().chain(commits).map(Vec::as_slice).collect();
        for log in slices.iter().filter_map(|commit| log_of(commit)) {
            self.gate.check(replica, log)?;
        }
        let ingested = replica.ingest(&slices)?;
        self.waiting =
            ingested.waiting.iter().filter_map(|at| slices.get(*at)).map(|c| c.to_vec()).collect();
        if self.waiting.iter().map(Vec::len).sum::<usize>() as u64 > WINDOW {
            return Err(SyncError::replica("too many commits wait for one that is damaged here"));
        }
        self.gate.count(replica)?;
        report.durable_commits += 1;
        report.commits_skipped += ingested.skipped;
        report.versions_received += ingested.versions;
        report.diverged += ingested.diverged;
        report.note_voids(ingested.voids);
        report.unverified += ingested.unverified;
        report.healed += ingested.healed;
        report.note_clocks(ingested.clocks_ahead);
        report.forks.extend(ingested.forks);
        report.left_log = report.left_log.or(ingested.left);
        let mut before = None;
        for log in slices.iter().filter_map(|commit| log_of(commit)) {
            if before.replace(log) != Some(log) {
                self.ends.insert(log, replica.ends_of(log)?.iter().map(WireEnd::from).collect());
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self) {
        self.credit += std::mem::take(&mut self.pending);
        self.since = None;
    }
}

/// A commit as it travels begins with its log id (FORMAT.md, 1.7).
fn log_of(commit: &[u8]) -> Option<LogId> {
    commit.first_chunk().map(|log| LogId::from_bytes(*log))
}

impl Assembly {
    fn continued_by(&self, part: &Part) -> bool {
        let end = part.offset.checked_add(part.bytes.len() as u64);
        part.head == self.head
            && part.offset == self.bytes.len() as u64
            && end.is_some_and(|end| end <= self.head.total)
    }

    /// Stages what is not yet. Another session with the same peer may be at it, too: then the parts
    /// are left to that one, and this one goes on in memory.
    fn stage<R: Replica>(&mut self, replica: &R, peer: NodeId) -> Result<()> {
        let head: StagedHead = self.head.to_head();
        let foreign = replica.staged(peer)?.is_some_and(|staged| staged.head != head);
        if foreign && self.staged == 0 {
            replica.unstage(peer)?;
        }
        if self.in_step(replica, peer)? {
            let outcome =
                replica.stage(peer, &head, self.staged as u64, &self.bytes[self.staged..]);
            // If the other session was quicker by a moment, it is no fault of the store's.
            if outcome.is_err() && self.in_step(replica, peer)? {
                return Ok(outcome?);
            }
        }
        self.staged = self.bytes.len();
        Ok(())
    }

    /// Whether what is staged is what this session has staged.
    fn in_step<R: Replica>(&self, replica: &R, peer: NodeId) -> Result<bool> {
        let there =
            replica.staged(peer)?.filter(|staged| WireHead::from(&staged.head) == self.head);
        Ok(there.map_or(0, |staged| staged.bytes) == self.staged as u64)
    }
}
