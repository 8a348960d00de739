//! Cuts through the logs: how far each goes.

use std::collections::HashMap;
use std::sync::Arc;

use heirloom_core::fold::Lines;
use heirloom_core::model::{Clock, CommitRef, Line, Lsn, Sequence};

use super::clocks::{line_of_entry, see_line};
use super::view::View;
use crate::error::{ClockFault, Error, Result};

/// A cut through the logs: by line, how far it goes.
#[derive(Clone, Default)]
pub(crate) struct LogCut(HashMap<Line, Sequence>);

impl LogCut {
    pub(crate) fn upto(&self, line: Line) -> Sequence {
        self.0.get(&line).copied().unwrap_or_default()
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> {
        self.0.keys().copied()
    }

    fn covers(&self, other: &LogCut) -> bool {
        other.0.iter().all(|(o, s)| *s <= self.upto(*o))
    }

    /// The cut of a clock whose places are ends of commits here.
    pub(crate) fn of(view: &View<'_>, clock: &Clock) -> Result<Self> {
        let mut cut = HashMap::<Line, Sequence>::with_capacity(clock.len());
        for (log, entry) in clock.iter() {
            let line = line_of_entry(view, log, entry.sequence)?;
            // a place on a branch has the trunk before it
            for (line, upto) in view.directory.path(line, entry.sequence) {
                let place: &mut Sequence = cut.entry(line).or_default();
                *place = upto.max(*place);
            }
        }
        Ok(Self(cut))
    }

    /// All that arrived here before a place.
    pub(crate) fn arrived(view: &View<'_>, end: Lsn) -> Result<Self> {
        let mut cut = HashMap::new();
        for line in view.directory.all() {
            if let Some(tip) = view.tip_among(line, end)? {
                cut.insert(line, tip.header.last());
            }
        }
        Ok(Self(cut))
    }

    /// Checks that all that its commits refer to is in it. `closed` is a cut within this one of
    /// which that is known.
    fn check_closed(&self, view: &View<'_>, closed: &LogCut) -> Result<()> {
        for (line, upto) in &self.0 {
            let mut sequence = *upto;
            while sequence > closed.upto(*line) {
                let Some(record) = view.commit_on(*line, sequence)? else { break };
                for r in &record.header.refs {
                    let other = view.line_of(r.log, r.sequence, r.prefix)?;
                    if other.is_none_or(|other| self.upto(other) < r.sequence) {
                        return Err(ClockFault::NotClosed(*r).into());
                    }
                }
                sequence = record.header.before();
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
        let size = |c: &LogCut| c.0.values().map(|s| s.get()).sum::<u64>();
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
    let line = view.find(commit)?.ok_or_else(none)?.line;
    if view.directory.is_local(line) {
        return Err(ClockFault::Local(*commit).into());
    }
    let mut seen: HashMap<Line, Sequence> = HashMap::new();
    let mut todo = view.directory.path(line, commit.sequence);
    while let Some((line, upto)) = todo.pop() {
        let done = seen.get(&line).copied().unwrap_or_default();
        let mut sequence = upto;
        while sequence > done {
            let Some(record) = view.commit_on(line, sequence)? else { break };
            for r in &record.header.refs {
                let other = view.line_of(r.log, r.sequence, r.prefix)?.ok_or_else(none)?;
                if seen.get(&other).is_none_or(|s| *s < r.sequence) {
                    todo.extend(view.directory.path(other, r.sequence));
                }
            }
            sequence = record.header.before();
        }
        let entry = seen.entry(line).or_default();
        *entry = upto.max(*entry);
    }
    let mut out = Clock::new();
    for (line, sequence) in seen {
        see_line(view, line, sequence, &mut out)?;
    }
    Ok(out)
}
