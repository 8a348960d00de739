//! Logs that became trees, because copies of a file wrote on under one name (R34): what they are
//! called, and how clocks name places in them.

use std::fmt;

use crate::error::{Error, Result};
use crate::model::{Clock, ClockEntry, LogId, Timestamp};
use crate::snapshot::Snapshot;
use crate::store::{Directory, View, directory};

/// Copies of a store's file wrote on under one log (R34): nothing is lost, the branches live on as
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
    pub after: u64,
    /// The names of its branches, sorted: two, or more where more copies wrote.
    pub branches: Vec<LogId>,
}

impl Fork {
    pub(crate) fn of(directory: &Directory, line: u32) -> Option<Self> {
        let (info, fork) = (directory.log(line)?, directory.fork(line)?);
        let beside =
            |other: &(u32, directory::Fork)| other.1.of == fork.of && other.1.after == fork.after;
        let mut branches: Vec<LogId> =
            directory.forks().iter().filter(|o| beside(o)).map(|(_, other)| other.name).collect();
        branches.push(fork.other);
        branches.sort();
        Some(Self { log: info.id, device: info.device.clone(), after: fork.after, branches })
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

impl Snapshot {
    /// The forks of all logs, in order of the logs. Empty unless files were copied or restored
    /// behind heirloom's back. Costs nothing.
    pub fn forks(&self) -> Result<Vec<Fork>> {
        let view = self.view();
        let mut out = Vec::new();
        for (line, _) in view.directory.forks() {
            // an older snapshot may not have it yet
            if view.dot_at(line, u64::MAX)?.is_some() {
                out.extend(Fork::of(view.directory, line));
            }
        }
        out.sort();
        out.dedup();
        Ok(out)
    }
}

/// Adds what lies on a line up to a sequence to a clock, under the names that its stretches have.
pub(crate) fn see_line(view: &View<'_>, line: u32, upto: u64, clock: &mut Clock) -> Result<()> {
    for (name, until) in view.directory.stretches(line) {
        let sequence = until.unwrap_or(upto).min(upto);
        let missing =
            || Error::corrupt("dots", format!("{line}/{sequence}"), "a commit is missing");
        if sequence > 0 && view.directory.name(line, sequence) == Some(name) {
            let record = view.commit_on(line, sequence)?.ok_or_else(missing)?;
            let stamp = record.header.stamp().unwrap_or(Timestamp::MAX.as_millis() as u64);
            clock.advance(name, ClockEntry { sequence, stamp: Timestamp::of(stamp) });
        }
    }
    Ok(())
}

/// The line that an entry of a clock lies on, if a commit of that name ends there.
pub(crate) fn line_of_entry(view: &View<'_>, log: LogId, sequence: u64) -> Result<u32> {
    let none = || {
        Error::invalid(format!(
            "the clock names {log}/{sequence}, which is no commit here: sync first, or take a \
             clock that this store gave"
        ))
    };
    let (line, after, until) = view
        .directory
        .named(log)
        .filter(|(line, ..)| !view.directory.is_local(*line))
        .ok_or_else(none)?;
    if sequence > until {
        return Err(Error::invalid(format!(
            "the clock names {log}/{sequence}, but two branches go on after {log}/{until}: take a \
             clock from after the fork"
        )));
    }
    if sequence <= after {
        return Err(none());
    }
    let record = view.commit_on(line, sequence)?.ok_or_else(none)?;
    if record.header.last() != sequence {
        return Err(Error::invalid(format!(
            "the clock cuts through commit {log}/{}; end at a commit",
            record.header.last()
        )));
    }
    Ok(line)
}
