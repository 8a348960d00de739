//! What a session says about itself while it runs and when it is done.

use heirloom::{Fork, LogId, LogRoot, NodeId};

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
    /// Whether both ended at exactly the cut, nothing new having come in meanwhile: then the state digests were compared, too,
    /// and the next clocks are relative to it.
    pub settled: bool,
    /// The peer's name; none if it never said hello.
    pub peer: Option<NodeId>,
    /// Whether the two show conflicts by different policies: they hold the same, and may show it differently (R19).
    pub policies_differ: bool,
    /// How far the peer's clock is ahead of ours (behind: negative), in milliseconds, the time on the way included.
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
    /// Round trips needed, waits for credit apart: 1 when equal, else 2, or 3 when both have many logs and remember no cut.
    pub round_trips: u32,
    /// Bytes of a large commit that did not travel again, because an earlier session had brought them (either way).
    pub resumed_bytes: u64,
    /// Entities that came to have several heads through what was received: concurrent writes, conflicts among them.
    pub diverged: u64,
    /// Versions received that are void.
    pub voids: u64,
    /// Commits received whose bodies do not verify.
    pub unverified: u64,
    /// Logs among those received whose clocks are far ahead of ours, and therefore not followed.
    pub clocks_ahead: Vec<LogId>,
    /// Logs that this session showed to have forked: copies of a store wrote on (R34). Both branches are kept; each says so in plain words.
    pub forks: Vec<Fork>,
    /// The log that our store wrote until now, if the peer brought commits that go on with it: a copy of our store wrote them. The next write
    /// opens a fresh log.
    pub left_log: Option<LogId>,
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
    /// Something moved. Only the latest is kept.
    Progress(Progress),
    /// Copies of a store wrote on under one log (R34). Nothing is lost, and nobody needs to act; whoever copied the file may want to know.
    Forked(Fork),
    /// A copy of our own store wrote on under our log, so that our next write opens a fresh one (R34).
    LeftLog(LogId),
    /// The session is over and went well. Comes last, and once.
    Finished(Box<Report>),
}
