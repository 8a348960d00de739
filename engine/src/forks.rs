//! Logs that became trees, because copies of a file wrote on under one name (R34): what they are
//! called, and how clocks name places in them.

use crate::error::{ClockFault, Error, Result};
use crate::snapshot::Snapshot;
use crate::store::{BranchPoint, Directory, View};
use heirloom_core::model::{Clock, ClockEntry, LogId, Timestamp};
use heirloom_core::replica::Fork;

/// The fork at which a line leaves another.
pub(crate) fn fork_of(directory: &Directory, line: u32) -> Option<Fork> {
    let (info, point) = (directory.log(line)?, directory.branch_point(line)?);
    let beside =
        |other: &(u32, BranchPoint)| other.1.of == point.of && other.1.after == point.after;
    let mut branches: Vec<LogId> =
        directory.branch_points().iter().filter(|o| beside(o)).map(|(_, p)| p.name).collect();
    branches.push(point.other);
    Some(Fork::new(info.id, info.device.clone(), point.after, branches))
}

impl Snapshot {
    /// The forks of all logs, in order of the logs. Empty unless files were copied or restored
    /// behind heirloom's back. Costs nothing.
    pub fn forks(&self) -> Result<Vec<Fork>> {
        let view = self.view();
        let mut out = Vec::new();
        for (line, _) in view.directory.branch_points() {
            // an older snapshot may not have it yet
            if view.dot_at(line, u64::MAX)?.is_some() {
                out.extend(fork_of(view.directory, line));
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
    let none = || Error::from(ClockFault::Unknown { log, sequence });
    let (line, after, until) = view
        .directory
        .named(log)
        .filter(|(line, ..)| !view.directory.is_local(*line))
        .ok_or_else(none)?;
    if sequence > until {
        return Err(ClockFault::Ambiguous { log, sequence, until }.into());
    }
    if sequence <= after {
        return Err(none());
    }
    let record = view.commit_on(line, sequence)?.ok_or_else(none)?;
    if record.header.last() != sequence {
        return Err(ClockFault::WithinCommit { log, last: record.header.last() }.into());
    }
    Ok(line)
}
