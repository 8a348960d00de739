//! What a session says about itself while it runs and when it is done.

use std::fmt;

use heirloom_core::limits::CLOCK_SKEW;
use heirloom_core::model::{LogId, LogRoot, NodeId};
use heirloom_core::replica::{ClockAhead, Fork, Span, VoidVersion};

/// How a session ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// Both held the same from the start; the log roots alone prove it.
    #[default]
    AlreadyEqual,
    /// Everything was exchanged, and both ends proved that they hold the cut.
    Verified,
}

/// The result of a session, as one end saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Log root of the cut: all that either end held when the session began, and both hold now.
    pub cut: Option<LogRoot>,
    /// Whether both ended at exactly the cut, nothing new having come in meanwhile: then the state
    /// digests were compared, too, and the next clocks are relative to it.
    pub settled: bool,
    /// The peer's name; none if it never said hello.
    pub peer: Option<NodeId>,
    /// Whether the two show conflicts by different policies: they hold the same, and may show it
    /// differently.
    pub policies_differ: bool,
    /// How far the peer's clock is ahead of ours (behind: negative), in milliseconds, the time on
    /// the way included.
    pub clock_skew_ms: Option<i64>,
    /// Commits sent.
    pub commits_sent: u64,
    /// Versions in them.
    pub versions_sent: u64,
    /// Commits received.
    pub commits_received: u64,
    /// Those of them that were here already (another session was quicker).
    pub commits_skipped: u64,
    /// Versions that were added here.
    pub versions_received: u64,
    /// Bytes written to the link, frames and all.
    pub bytes_out: u64,
    /// Bytes read from the link.
    pub bytes_in: u64,
    /// Bytes written, as they were before compression.
    pub raw_out: u64,
    /// Bytes read, as they were before compression.
    pub raw_in: u64,
    /// Durable commits of our store in which what was received was applied.
    pub durable_commits: u64,
    /// How often this end had to wait for the other, waits for credit apart: once when equal, else
    /// twice; once more when both have many logs and remember no cut, and once more where it spoke
    /// first and had to learn first what the other lacks of a log that both know
    /// (PROTOCOL.md, 2.8).
    pub round_trips: u32,
    /// Bytes of a large commit that did not travel again, because an earlier session had brought
    /// them (either way).
    pub resumed_bytes: u64,
    /// Entities that came to have several heads through what was received: concurrent writes,
    /// conflicts among them.
    pub diverged: u64,
    /// Versions received that are void: kept, passed on, without effect.
    pub voids: u64,
    /// The first 100 of them, and why. All: `Snapshot::voids` of heirloom.
    pub first_voids: Vec<VoidVersion>,
    /// Commits received whose bodies do not verify.
    pub unverified: u64,
    /// Commits that were damaged here, or whose bodies did not verify, and that the peer has
    /// brought back.
    pub healed: u64,
    /// Whether commits are still damaged here: no peer so far had them. What builds on them
    /// cannot be sent on; all else is.
    pub damaged: bool,
    /// Devices among the writers of what was received whose clocks are far ahead of ours, and
    /// therefore not followed.
    pub clocks_ahead: Vec<ClockAhead>,
    /// Logs that this session showed to have forked: copies of a store wrote on. Both
    /// branches are kept; each says so in plain words.
    pub forks: Vec<Fork>,
    /// The log that our store wrote until now, if the peer brought commits that go on with it: a
    /// copy of our store wrote them. The next write opens a fresh log.
    pub left_log: Option<LogId>,
}

impl Report {
    /// Whether the clocks of both ends differ by more than five minutes. One of them is wrong;
    /// both ends are told, the one that is ahead and the one that is behind.
    pub fn clock_skew(&self) -> Option<ClockSkew> {
        let ahead_ms = self.clock_skew_ms?.saturating_neg();
        let peer = self.peer?;
        (ahead_ms.unsigned_abs() > CLOCK_SKEW).then_some(ClockSkew { peer, ahead_ms })
    }

    pub(crate) fn note_voids(&mut self, voids: Vec<VoidVersion>) {
        self.voids += voids.len() as u64;
        let room = VOIDS.saturating_sub(self.first_voids.len());
        self.first_voids.extend(voids.into_iter().take(room));
    }

    pub(crate) fn note_clocks(&mut self, ahead: Vec<ClockAhead>) {
        for clock in ahead {
            match self.clocks_ahead.iter_mut().find(|known| known.log == clock.log) {
                Some(known) => known.by_ms = known.by_ms.max(clock.by_ms),
                None => self.clocks_ahead.push(clock),
            }
        }
    }
}

/// A peer may send any number of them.
const VOIDS: usize = 100;

/// The clocks of both ends differ by more than five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockSkew {
    /// The peer.
    pub peer: NodeId,
    /// How far our clock is ahead of the peer's (behind: negative), in milliseconds.
    pub ahead_ms: i64,
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.ahead_ms < 0 { "behind" } else { "ahead of" };
        let by = Span(self.ahead_ms.unsigned_abs());
        write!(f, "your clock is {by} {way} that of peer {}; set the one that is wrong", self.peer)
    }
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Commits sent.
    pub commits_sent: u64,
    /// Commits of our store that are still to be looked through for what the peer lacks.
    pub commits_ahead: u64,
    /// Commits received.
    pub commits_received: u64,
    /// Bytes written to the link.
    pub bytes_out: u64,
    /// Bytes read from the link.
    pub bytes_in: u64,
}

/// What a session has to say to its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The clocks of both ends differ by more than five minutes. Comes once, after the hellos.
    Clock(ClockSkew),
    /// Something moved. Only the latest is kept.
    Progress(Progress),
    /// Copies of a store wrote on under one log. Nothing is lost, and nobody needs to act;
    /// whoever copied the file may want to know.
    Forked(Fork),
    /// A copy of our own store wrote on under our log, so that our next write opens a fresh one
    ///.
    LeftLog(LogId),
    /// The session is over and went well. Comes last, and once.
    Finished(Box<Report>),
}
