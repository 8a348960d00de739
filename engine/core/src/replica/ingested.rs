//! What bringing commits into a replica did, and what it found.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::model::{LogId, Sequence, VersionRef, VoidReason};

/// Copies of a store's file wrote on under one log: nothing is lost, the branches live on as
/// writers who had not seen each other.
///
/// Every replica names the branches alike, whatever it learnt first: from the fork on each goes by
/// a name that follows from its first commit. Versions before the fork keep the log's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub struct Fork {
    /// The log that forked.
    pub log: LogId,
    /// The device that the log was of.
    pub device: String,
    /// The last sequence that both have in common; 0 where already the first commits differ.
    pub after: Sequence,
    /// The names of its branches, sorted: two, or more where more copies wrote.
    pub branches: Vec<LogId>,
}

impl Fork {
    /// A fork of the log of `device` after a sequence, of these branches in any order.
    pub fn new(log: LogId, device: String, after: Sequence, mut branches: Vec<LogId>) -> Self {
        branches.sort();
        Self { log, device, after, branches }
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} copies of {}'s store wrote on after its version {}: all is kept, as branches of \
             log {}:",
            self.branches.len(),
            self.device,
            self.after,
            self.log
        )?;
        self.branches.iter().try_for_each(|branch| write!(f, " {branch}"))
    }
}

/// A log whose last commit was written at a time that is more than five minutes ahead of this
/// device's clock. What it wrote is kept and counts; its time moves nobody's clock.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct ClockAhead {
    /// The log.
    pub log: LogId,
    /// Device id of its writer.
    pub device: String,
    /// How far ahead, in milliseconds.
    pub by_ms: u64,
}

impl ClockAhead {
    /// The clock of a log's device is so many milliseconds ahead.
    pub fn new(log: LogId, device: String, by_ms: u64) -> Self {
        Self { log, device, by_ms }
    }
}

impl fmt::Display for ClockAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = Span(self.by_ms);
        write!(
            f,
            "the clock of {} is {by} ahead of this device's; set the one that is wrong",
            self.device
        )
    }
}

/// A span of time in words: its two largest units.
pub struct Span(
    /// Milliseconds.
    pub u64,
);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 5] =
            [("year", 31_536_000), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
        let mut left = self.0 / 1_000;
        let largest =
            UNITS.iter().position(|(_, length)| left >= *length).unwrap_or(UNITS.len() - 1);
        for (i, (unit, length)) in UNITS.iter().enumerate().skip(largest).take(2) {
            let n = left / length;
            left %= length;
            if i == largest || n > 0 {
                let (space, plural) =
                    (if i == largest { "" } else { " " }, if n == 1 { "" } else { "s" });
                write!(f, "{space}{n} {unit}{plural}")?;
            }
        }
        Ok(())
    }
}

/// A version that breaks a rule, or that this library is too old to understand. All replicas keep
/// it and pass it on; it changes no entity on any of them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct VoidVersion {
    /// The version. Of a commit of a newer level the first: what it holds cannot be told.
    pub version: VersionRef,
    /// Device id of the log it stands in. Until logs are signed, that is who it claims to be by.
    pub device: String,
    /// What is wrong with it.
    pub reason: VoidReason,
}

impl VoidVersion {
    /// A version in the log of `device` is void, for this reason.
    pub fn new(version: VersionRef, device: String, reason: VoidReason) -> Self {
        Self { version, device, reason }
    }
}

impl fmt::Display for VoidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "version {} of {} has no effect: {}",
            self.version.sequence, self.device, self.reason
        )
    }
}

/// What an ingest did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ingested {
    /// Commits that are new here.
    pub added: u64,
    /// Commits that were here already; their chains were checked.
    pub skipped: u64,
    /// Versions in the new commits.
    pub versions: u64,
    /// Entities that have several heads now and had one or none before.
    pub diverged: u64,
    /// Versions that are void, and why.
    pub voids: Vec<VoidVersion>,
    /// Commits whose bodies do not verify here.
    pub unverified: u64,
    /// Commits that were damaged here, or whose bodies did not verify, and are whole again.
    pub healed: u64,
    /// Which of those that were given could not be placed, because what they follow is damaged
    /// here: they are not stored, and can be given again once that is healed.
    pub waiting: Vec<usize>,
    /// Logs whose wall is more than five minutes ahead of this device's clock, each once, by how
    /// much at most; their walls were ignored.
    pub clocks_ahead: Vec<ClockAhead>,
    /// Logs that were found to have forked: copies of a store wrote on. Both branches are
    /// kept.
    pub forks: Vec<Fork>,
    /// The log that this store wrote until now, if commits came that go on with it: a copy of the
    /// store wrote them. The next write opens a fresh log.
    pub left: Option<LogId>,
}

impl Ingested {
    /// Adds another's figures.
    pub fn add(&mut self, other: Ingested) {
        self.added += other.added;
        self.skipped += other.skipped;
        self.versions += other.versions;
        self.diverged += other.diverged;
        self.voids.extend(other.voids);
        self.unverified += other.unverified;
        self.healed += other.healed;
        self.forks.extend(other.forks);
        self.left = self.left.or(other.left);
        other.clocks_ahead.into_iter().for_each(|ahead| self.note_clock(ahead));
    }

    /// Counts a clock that is ahead once for its log, by the most that it was.
    pub fn note_clock(&mut self, ahead: ClockAhead) {
        match self.clocks_ahead.iter_mut().find(|known| known.log == ahead.log) {
            Some(known) => known.by_ms = known.by_ms.max(ahead.by_ms),
            None => self.clocks_ahead.push(ahead),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        let told = |ms| Span(ms).to_string();
        assert_eq!(told(999), "0 seconds");
        assert_eq!(told(61_000), "1 minute 1 second");
        assert_eq!(told(3_600_000), "1 hour");
        assert_eq!(told(10 * 31_536_000_000 + 2 * 86_400_000 + 5_000), "10 years 2 days");
    }
}
