//! Cuts through the logs: how far each goes.

use std::collections::HashMap;
use std::sync::Arc;

use heirloom_core::model::{Clock, CommitRef};

use super::clocks::{line_of_entry, see_line};
use super::view::View;
use crate::error::{ClockFault, Error, Result};

/// A cut through the logs: by ordinal, how far it goes.
#[derive(Clone, Default)]
pub(crate) struct LogCut(HashMap<u32, u64>);

impl LogCut {
    pub(crate) fn upto(&self, ordinal: u32) -> u64 {
        self.0.get(&ordinal).copied().unwrap_or(0)
    }

    pub(crate) fn ordinals(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    fn covers(&self, other: &LogCut) -> bool {
        other.0.iter().all(|(o, s)| *s <= self.upto(*o))
    }

    /// The cut of a clock whose places are ends of commits here.
    pub(crate) fn of(view: &View<'_>, clock: &Clock) -> Result<Self> {
        let mut cut = HashMap::<u32, u64>::with_capacity(clock.len());
        for (log, entry) in clock.iter() {
            let line = line_of_entry(view, log, entry.sequence)?;
            // a place on a branch has the trunk before it
            for (line, upto) in view.directory.path(line, entry.sequence) {
                let place: &mut u64 = cut.entry(line).or_default();
                *place = upto.max(*place);
            }
        }
        Ok(Self(cut))
    }

    /// The first `commits` that arrived here.
    pub(crate) fn arrived(view: &View<'_>, commits: u64) -> Result<Self> {
        let mut cut = HashMap::new();
        for ordinal in 0..view.directory.log_count() {
            if let Some(tip) = view.tip_among(ordinal, commits)? {
                cut.insert(ordinal, tip.header.last());
            }
        }
        Ok(Self(cut))
    }

    /// Checks that all that its commits refer to is in it. `closed` is a cut within this one of
    /// which that is known.
    fn check_closed(&self, view: &View<'_>, closed: &LogCut) -> Result<()> {
        for (ordinal, upto) in &self.0 {
            let mut sequence = *upto;
            while sequence > closed.upto(*ordinal) {
                let Some(record) = view.commit_on(*ordinal, sequence)? else { break };
                for r in &record.header.refs {
                    let line = view.line_of(r.log, r.sequence, r.prefix)?;
                    if line.is_none_or(|line| self.upto(line) < r.sequence) {
                        return Err(ClockFault::NotClosed(*r).into());
                    }
                }
                sequence = record.header.first - 1;
            }
        }
        Ok(())
    }
}

/// Cuts that were found to be closed lately; a new one is checked from the largest that lies within
/// it.
#[derive(Default)]
pub(crate) struct ClosedCuts(parking_lot::Mutex<Vec<Arc<LogCut>>>);

impl ClosedCuts {
    const KEPT: usize = 32;

    pub(crate) fn check(&self, view: &View<'_>, cut: LogCut) -> Result<Arc<LogCut>> {
        let size = |c: &LogCut| c.0.values().sum::<u64>();
        let kept: Vec<_> = self.0.lock().clone();
        let within = kept.iter().filter(|c| cut.covers(c)).max_by_key(|c| size(c));
        if let Some(same) = within.filter(|c| c.covers(&cut)) {
            return Ok(same.clone());
        }
        cut.check_closed(view, within.map_or(&LogCut::default(), |c| c))?;
        let cut = Arc::new(cut);
        let mut kept = self.0.lock();
        if kept.len() >= Self::KEPT {
            kept.remove(0);
        }
        kept.push(cut.clone());
        Ok(cut)
    }
}

/// All that a commit's author had seen, the commit included.
pub(crate) fn clock_at(view: &View<'_>, commit: &CommitRef) -> Result<Clock> {
    let none = || Error::NotHere { log: commit.log, sequence: commit.sequence };
    let ordinal = view.find(commit)?.ok_or_else(none)?.ordinal;
    if view.directory.is_local(ordinal) {
        return Err(ClockFault::Local(*commit).into());
    }
    let mut seen: HashMap<u32, u64> = HashMap::new();
    let mut todo = view.directory.path(ordinal, commit.sequence);
    while let Some((ordinal, upto)) = todo.pop() {
        let done = seen.get(&ordinal).copied().unwrap_or(0);
        let mut sequence = upto;
        while sequence > done {
            let Some(record) = view.commit_on(ordinal, sequence)? else { break };
            for r in &record.header.refs {
                let other = view.line_of(r.log, r.sequence, r.prefix)?.ok_or_else(none)?;
                if seen.get(&other).is_none_or(|s| *s < r.sequence) {
                    todo.extend(view.directory.path(other, r.sequence));
                }
            }
            sequence = record.header.first - 1;
        }
        let entry = seen.entry(ordinal).or_default();
        *entry = upto.max(*entry);
    }
    let mut out = Clock::new();
    for (ordinal, sequence) in seen {
        see_line(view, ordinal, sequence, &mut out)?;
    }
    Ok(out)
}
