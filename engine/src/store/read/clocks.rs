//! Places in logs, as clocks name them.

use heirloom_core::model::{Clock, ClockEntry, Line, LogId, Sequence, Timestamp};

use super::view::View;
use crate::error::{ClockFault, Error, Result, Table};

/// Adds what lies on a line up to a sequence to a clock, under the names that its stretches have.
pub(crate) fn see_line(
    view: &View<'_>,
    line: Line,
    upto: Sequence,
    clock: &mut Clock,
) -> Result<()> {
    for (name, until) in view.directory.stretches(line) {
        let sequence = until.unwrap_or(upto).min(upto);
        let missing =
            || Error::corrupt(Table::Dots, format!("{line}/{sequence}"), "a commit is missing");
        if sequence > Sequence::START && view.directory.name(line, sequence) == Some(name) {
            let record = view.commit_on(line, sequence)?.ok_or_else(missing)?;
            let stamp = record.header.stamp().unwrap_or(Timestamp::MAX.as_millis() as u64);
            clock.advance(name, ClockEntry { sequence, stamp: Timestamp::of(stamp) });
        }
    }
    Ok(())
}

/// The line that an entry of a clock lies on, if a commit of that name ends there.
pub(crate) fn line_of_entry(view: &View<'_>, log: LogId, sequence: Sequence) -> Result<Line> {
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
