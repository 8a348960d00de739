//! Clocks on the wire: what each end holds, fully or relative to a cut that both remember.

use std::collections::BTreeMap;

use heirloom::replication::{End, Position, log_root};
use heirloom::{LogId, LogRoot};

use super::limits::{CLOCK_FRAME, CLOCK_MAX};
use super::message::{Clock, WireEnd, WireStaged};
use crate::error::{Divergence, PeerMisbehaved, Result, SyncError};
use crate::replica::Replica;

/// The clock of a position as messages: all ends, or those that differ from `base`.
pub(crate) fn write(position: &Position, base: Option<&[End]>, staged: Option<WireStaged>) -> Vec<Clock> {
    let changed = |end: &&End| base.is_none_or(|base| find(base, end.log) != Some(*end));
    let ends: Vec<WireEnd> = position.ends.iter().filter(changed).map(WireEnd::from).collect();
    let relative = base.is_some();
    let frame = |ends: &[WireEnd]| Clock { relative, more: true, ends: ends.to_vec(), staged: None };
    let mut frames: Vec<Clock> = ends.chunks(CLOCK_FRAME).map(frame).collect();
    if frames.is_empty() {
        frames.push(frame(&[]));
    }
    if let Some(last) = frames.last_mut() {
        last.more = false;
        last.staged = staged;
    }
    frames
}

/// `ends` are sorted by log.
fn find(ends: &[End], log: LogId) -> Option<&End> {
    ends.binary_search_by_key(&log, |end| end.log).ok().map(|at| &ends[at])
}

/// A peer's clock as its frames come in.
#[derive(Default)]
pub(crate) struct ClockReader {
    ends: Vec<WireEnd>,
    relative: Option<bool>,
}

/// A peer's clock, complete.
pub(crate) struct Told {
    pub(crate) relative: bool,
    pub(crate) ends: Vec<WireEnd>,
    pub(crate) staged: Option<WireStaged>,
}

impl ClockReader {
    /// Adds a frame; the clock once the last is there.
    pub(crate) fn add(&mut self, frame: Clock) -> Result<Option<Told>> {
        let relative = *self.relative.get_or_insert(frame.relative);
        let start = self.ends.len();
        self.ends.extend(frame.ends);
        let ascending = self.ends[start.saturating_sub(1)..].windows(2).all(|pair| pair[0].log < pair[1].log);
        let real = self.ends[start..].iter().all(|end| end.sequence > 0);
        if !ascending || !real || relative != frame.relative || self.ends.len() > CLOCK_MAX {
            return Err(PeerMisbehaved::BadClock.into());
        }
        let complete = |ends| Told { relative, ends, staged: frame.staged };
        Ok((!frame.more).then(|| complete(std::mem::take(&mut self.ends))))
    }
}

/// What the peer holds. Every end of it is either on our path of that log, or ahead of ours: anything else is a fork.
pub(crate) struct PeerClock {
    /// As it told at the start.
    told: Vec<WireEnd>,
    /// By log the last sequence it is known to hold, growing with what it acknowledges.
    held: BTreeMap<LogId, u64>,
}

impl PeerClock {
    /// `base`: the ends of the agreed cut, if the clock is relative to it. An unlisted log stands there where it stood in the cut.
    pub(crate) fn new<R: Replica>(
        replica: &R,
        position: &Position,
        told: Vec<WireEnd>,
        base: Option<&[End]>,
    ) -> Result<Self> {
        let mut held: BTreeMap<LogId, u64> =
            base.unwrap_or_default().iter().map(|end| (end.log, end.sequence)).collect();
        for end in &told {
            let ours = find(&position.ends, end.log());
            let forked = match ours {
                Some(ours) if end.sequence < ours.sequence => {
                    !replica.end_at(end.log(), end.sequence)?.is_some_and(|here| end.is(&here))
                }
                Some(ours) if end.sequence == ours.sequence => !end.is(ours),
                _ => false,
            };
            if forked {
                return Err(SyncError::Forked { log: end.log() });
            }
            held.insert(end.log(), end.sequence);
        }
        Ok(Self { told, held })
    }

    /// The last sequence of this log that the peer is known to hold; 0 if none.
    pub(crate) fn sequence(&self, log: LogId) -> u64 {
        self.held.get(&log).copied().unwrap_or(0)
    }

    /// The peer says that it holds this durably now. Taken into account if it is on our path: then it need not be sent.
    pub(crate) fn raise<R: Replica>(&mut self, replica: &R, end: &WireEnd) -> Result<()> {
        let log = end.log();
        if end.sequence > self.sequence(log)
            && replica.end_at(log, end.sequence)?.is_some_and(|here| end.is(&here))
        {
            self.held.insert(log, end.sequence);
        }
        Ok(())
    }

    /// Log root of the cut: of each log the further end of both clocks. All of it must be here by now.
    pub(crate) fn cut<R: Replica>(&self, replica: &R, position: &Position) -> Result<LogRoot> {
        let mut ends: BTreeMap<LogId, End> = position.ends.iter().map(|end| (end.log, *end)).collect();
        for claimed in &self.told {
            let (log, sequence) = (claimed.log(), claimed.sequence);
            if ends.get(&log).is_none_or(|ours| ours.sequence < sequence) {
                let here = replica.end_at(log, sequence)?.filter(|here| claimed.is(here));
                ends.insert(log, here.ok_or(Divergence::Missing { log, sequence })?);
            }
        }
        Ok(log_root(&ends.into_values().collect::<Vec<_>>()))
    }
}
