//! What a replica holds: where its logs end, and commits on their way out.

use alloc::vec::Vec;

use crate::format::hash;
use crate::model::{Chain, CommitRef, Line, LogId, LogRoot, Lsn, Sequence, StateDigest};

/// The last commit of a log, or of a branch of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct End {
    /// The log.
    pub log: LogId,
    /// Sequence of its last version.
    pub sequence: Sequence,
    /// Its chain.
    pub chain: Chain,
}

impl End {
    /// Names it, the same on every replica.
    pub fn reference(&self) -> CommitRef {
        CommitRef { log: self.log, sequence: self.sequence, prefix: self.chain.prefix() }
    }
}

/// A commit that is here, and where: a log that forked has several *lines*, each a local number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    /// The commit.
    pub end: End,
    /// Its arrival position.
    pub lsn: Lsn,
    /// Its line and sequence; then, where that line left another, how far into that one, and so on:
    /// all that whoever has the commit has of this log.
    pub path: Vec<(Line, Sequence)>,
}

/// The log root of a set of ends, which must be sorted (FORMAT.md, 1.8).
pub fn log_root(ends: &[End]) -> LogRoot {
    hash::log_root(ends.iter().map(|e| (e.log, e.sequence, e.chain)))
}

/// All that is durable here, at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// How many commits: their lsns are below it.
    pub lsn: Lsn,
    /// The ends of all logs that travel, sorted.
    pub ends: Vec<End>,
    /// The state digest.
    pub digest: StateDigest,
    /// Nothing of the log is damaged. Else the ends lie in front of what is, and the digest counts
    /// more than they say.
    pub whole: bool,
}

impl Position {
    /// Hash over all commits.
    pub fn log_root(&self) -> LogRoot {
        log_root(&self.ends)
    }
}

/// A commit as it travels (FORMAT.md, 1.7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireCommit {
    /// Its arrival position here.
    pub lsn: Lsn,
    /// What its log ends with after it.
    pub end: End,
    /// How many versions it holds.
    pub versions: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Some commits, and where to go on.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In arrival order.
    pub commits: Vec<WireCommit>,
    /// The first lsn that was not looked at.
    pub next_lsn: Lsn,
}
