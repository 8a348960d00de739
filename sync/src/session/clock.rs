//! Clocks on the wire, fully or relative to a cut that both remember, and what follows from the
//! peer's: what it holds of ours.
//!
//! A log that forked has several ends. What a peer holds is told by its ends that are here, and
//! where one is not, by *ladders*: rungs down its branches, until both know where theirs and ours
//! part.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heirloom_core::model::{Line, LogId, LogRoot, Lsn, Sequence};
use heirloom_core::replica::{End, Located, Position, Replica, log_root};

use super::message::{Clock, Forks, WireEnd, WireStaged};
use crate::error::{Divergence, PeerMisbehaved, Result};
use crate::limits::{CLOCK_FRAME, CLOCK_MAX};

/// The clock of a position as messages: all ends, or those of the logs whose ends differ from
/// `base`.
pub(crate) fn write(
    position: &Position,
    base: Option<&[End]>,
    staged: Option<WireStaged>,
    own: Option<LogId>,
) -> Vec<Clock> {
    let changed =
        |log: LogId| base.is_none_or(|base| of_log(base, log) != of_log(&position.ends, log));
    let ends: Vec<WireEnd> =
        position.ends.iter().filter(|end| changed(end.log)).map(WireEnd::from).collect();
    let relative = base.is_some();
    let mut frames: Vec<Clock> = in_frames(&ends)
        .map(|ends| Clock { relative, more: true, ends: ends.to_vec(), staged: None, own: None })
        .collect();
    if let Some(last) = frames.last_mut() {
        last.more = false;
        last.staged = staged;
        last.own = own.map(|log| *log.as_bytes());
    }
    frames
}

/// Rungs as messages.
pub(crate) fn write_forks(answer: bool, rungs: &[WireEnd]) -> Vec<Forks> {
    let mut frames: Vec<Forks> =
        in_frames(rungs).map(|rungs| Forks { answer, more: true, rungs: rungs.to_vec() }).collect();
    if let Some(last) = frames.last_mut() {
        last.more = false;
    }
    frames
}

/// At least one, if only to say that there is nothing.
fn in_frames(ends: &[WireEnd]) -> impl Iterator<Item = &[WireEnd]> {
    let none = ends.is_empty().then_some(&ends[..0]);
    ends.chunks(CLOCK_FRAME).chain(none)
}

/// The ends of a log, of ends that are sorted.
fn of_log(ends: &[End], log: LogId) -> &[End] {
    let from = ends.partition_point(|end| end.log < log);
    let to = ends.partition_point(|end| end.log <= log);
    &ends[from..to]
}

/// Ends as their frames come in: strictly ascending over all of them.
#[derive(Default)]
struct EndsReader(Vec<WireEnd>);

impl EndsReader {
    fn add(&mut self, ends: Vec<WireEnd>) -> Result<()> {
        let start = self.0.len();
        self.0.extend(ends);
        let ascending = self.0[start.saturating_sub(1)..].windows(2).all(|pair| pair[0] < pair[1]);
        let real = self.0[start..].iter().all(|end| end.sequence > 0);
        if ascending && real && self.0.len() <= CLOCK_MAX {
            Ok(())
        } else {
            Err(PeerMisbehaved::BadClock.into())
        }
    }
}

/// A peer's clock as its frames come in.
#[derive(Default)]
pub(crate) struct ClockReader {
    ends: EndsReader,
    relative: Option<bool>,
}

/// A peer's clock, complete.
pub(crate) struct Told {
    pub(crate) relative: bool,
    pub(crate) ends: Vec<WireEnd>,
    pub(crate) staged: Option<WireStaged>,
    pub(crate) own: Option<LogId>,
}

impl ClockReader {
    /// Adds a frame; the clock once the last is there.
    pub(crate) fn add(&mut self, frame: Clock) -> Result<Option<Told>> {
        let relative = *self.relative.get_or_insert(frame.relative);
        self.ends.add(frame.ends)?;
        if relative != frame.relative {
            return Err(PeerMisbehaved::BadClock.into());
        }
        let own = frame.own.map(LogId::from_bytes);
        let complete = |ends| Told { relative, ends, staged: frame.staged, own };
        Ok((!frame.more).then(|| complete(std::mem::take(&mut self.ends.0))))
    }
}

/// What the peer holds, as far as it is known: that of a log which lies at or before an end or rung
/// of its that is here.
pub(crate) struct PeerClock {
    /// As it told at the start.
    told: Vec<WireEnd>,
    /// By line how far, growing with what it acknowledges.
    held: HashMap<Line, Sequence>,
    /// Logs of which it holds all that is here.
    all: BTreeSet<LogId>,
    /// Logs where it showed an end that is not here: it is ahead, or has a branch.
    unknown: BTreeSet<LogId>,
    /// Of these, those of which something here may be missing there.
    uncertain: bool,
    forks: Exchanged,
}

/// The two rounds of ladders.
#[derive(Default)]
struct Exchanged {
    /// Logs of which we showed a ladder.
    sent: BTreeSet<LogId>,
    /// Those for which the answer is not here.
    awaiting: BTreeSet<LogId>,
    /// Logs of which the peer showed one.
    theirs: BTreeSet<LogId>,
    reader: EndsReader,
    first_is_here: bool,
    answer_is_here: bool,
}

impl PeerClock {
    /// `base`: the ends of the agreed cut, if the clock is relative to it. An unlisted log stands
    /// there where it stood in the cut.
    pub(crate) fn new<R: Replica>(
        replica: &R,
        position: &Position,
        told: Vec<WireEnd>,
        base: Option<&[End]>,
    ) -> Result<Self> {
        let mut clock = Self {
            told,
            held: HashMap::new(),
            all: BTreeSet::new(),
            unknown: BTreeSet::new(),
            uncertain: false,
            forks: Exchanged::default(),
        };
        let told = std::mem::take(&mut clock.told);
        for theirs in told.chunk_by(|a, b| a.log == b.log) {
            let log = theirs[0].log();
            let ours = of_log(&position.ends, log);
            if ours.len() == theirs.len() && theirs.iter().zip(ours).all(|(t, o)| t.is(o)) {
                clock.all.insert(log);
                continue;
            }
            let longest = ours.iter().map(|end| end.sequence).max().unwrap_or_default();
            for end in theirs {
                if end.sequence() > longest || !clock.raise_if_before(replica, end, position.lsn)? {
                    clock.unknown.insert(log);
                }
            }
        }
        for end in base.unwrap_or_default() {
            if clock.all.contains(&end.log) {
                continue;
            }
            if of_log(&position.ends, end.log) == [*end]
                && told.binary_search_by_key(&end.log, WireEnd::log).is_err()
            {
                clock.all.insert(end.log);
            } else {
                clock.raise(replica, &WireEnd::from(end))?;
            }
        }
        for log in clock.unknown.clone() {
            for end in of_log(&position.ends, log) {
                clock.uncertain |= !clock.covers(replica, end)?;
            }
        }
        clock.told = told;
        Ok(clock)
    }

    /// Our first ladders: down our branches of each log where the peer shows an end that is not
    /// here although ours is as long. Only a fork explains that.
    pub(crate) fn first_forks<R: Replica>(
        &mut self,
        replica: &R,
        position: &Position,
    ) -> Result<Vec<Forks>> {
        let longest = |log| {
            of_log(&position.ends, log).iter().map(|end| end.sequence).max().unwrap_or_default()
        };
        let mut logs = BTreeSet::new();
        for end in self.told.iter().filter(|end| self.unknown.contains(&end.log())) {
            // another session may have brought it since: that does not say what the peer has of our
            // branches
            let was_here = |here: Located| here.lsn < position.lsn;
            if end.sequence() <= longest(end.log())
                && !replica.locate(&end.reference())?.is_some_and(was_here)
            {
                logs.insert(end.log());
            }
        }
        let rungs = ladders(replica, position, logs.iter())?;
        self.forks.awaiting = logs.clone();
        self.forks.sent = logs;
        Ok(write_forks(false, &rungs))
    }

    /// A frame of the peer's ladders. Returns the answer that it needs.
    pub(crate) fn on_forks<R: Replica>(
        &mut self,
        replica: &R,
        position: &Position,
        frame: Forks,
    ) -> Result<Vec<Forks>> {
        let expected =
            if self.forks.first_is_here { !self.forks.answer_is_here } else { !frame.answer };
        if !expected || frame.answer != self.forks.first_is_here {
            return Err(PeerMisbehaved::BadClock.into());
        }
        self.forks.reader.add(frame.rungs)?;
        if frame.more {
            return Ok(Vec::new());
        }
        let rungs = std::mem::take(&mut self.forks.reader).0;
        for rung in &rungs {
            self.raise_if_before(replica, rung, position.lsn)?;
        }
        let logs: BTreeSet<LogId> = rungs.iter().map(WireEnd::log).collect();
        self.forks.awaiting.retain(|log| !logs.contains(log));
        let mut answer = Vec::new();
        if frame.answer {
            self.forks.answer_is_here = true;
            // an answer that leaves something out says that nothing of it is there
            self.forks.awaiting.clear();
        } else {
            self.forks.first_is_here = true;
            let due: BTreeSet<&LogId> =
                logs.iter().filter(|log| !self.forks.sent.contains(log)).collect();
            if !due.is_empty() {
                answer = write_forks(true, &ladders(replica, position, due.into_iter())?);
            }
        }
        self.forks.theirs.extend(logs);
        if self.is_known() {
            // where it shows an end that is not here and no ladder, it is ahead, and lacks nothing
            // of that log
            self.all.extend(self.unknown.difference(&self.forks.theirs));
        }
        Ok(answer)
    }

    /// Whether the peer's first ladders have come: nothing but them may come before.
    pub(crate) fn has_forks(&self) -> bool {
        self.forks.first_is_here
    }

    /// Whether what the peer lacks is known, so that commits may be sent.
    pub(crate) fn is_known(&self) -> bool {
        !self.uncertain || (self.forks.first_is_here && self.forks.awaiting.is_empty())
    }

    /// The last sequence of this line that the peer is known to hold; 0 if none.
    pub(crate) fn sequence(&self, log: LogId, line: Line) -> Sequence {
        if self.all.contains(&log) {
            return Sequence::END;
        }
        self.held.get(&line).copied().unwrap_or_default()
    }

    /// The peer says that it holds this durably now. Taken into account if it is here: then it need
    /// not be sent.
    pub(crate) fn raise<R: Replica>(&mut self, replica: &R, end: &WireEnd) -> Result<()> {
        self.raise_if_before(replica, end, Lsn::END).map(drop)
    }

    /// Whether it was here before that place.
    fn raise_if_before<R: Replica>(
        &mut self,
        replica: &R,
        end: &WireEnd,
        lsn: Lsn,
    ) -> Result<bool> {
        let Some(here) = replica.locate(&end.reference())?.filter(|here| here.lsn < lsn) else {
            return Ok(false);
        };
        for (line, sequence) in here.path {
            let held = self.held.entry(line).or_default();
            *held = sequence.max(*held);
        }
        Ok(true)
    }

    fn covers<R: Replica>(&self, replica: &R, end: &End) -> Result<bool> {
        let place = replica.locate(&end.reference())?.and_then(|here| here.path.first().copied());
        Ok(place.is_some_and(|(line, sequence)| sequence <= self.sequence(end.log, line)))
    }

    /// Log root of the cut: of the ends of both clocks, without those that another continues. All
    /// of it must be here by now.
    pub(crate) fn cut<R: Replica>(&self, replica: &R, position: &Position) -> Result<LogRoot> {
        let mut logs: BTreeMap<LogId, BTreeSet<End>> = BTreeMap::new();
        for end in &position.ends {
            logs.entry(end.log).or_default().insert(*end);
        }
        for claimed in &self.told {
            let (log, sequence) = (claimed.log(), claimed.sequence);
            if of_log(&position.ends, log).iter().any(|ours| claimed.is(ours)) {
                continue;
            }
            let here = replica
                .locate(&claimed.reference())?
                .ok_or(Divergence::Missing { log, sequence: sequence.into() })?;
            logs.entry(log).or_default().insert(here.end);
        }
        let mut ends = Vec::with_capacity(logs.len());
        for of_log in logs.into_values() {
            ends.extend(last_ends(replica, of_log)?);
        }
        Ok(log_root(&ends))
    }
}

/// Ends of one log, without those that another continues.
fn last_ends<R: Replica>(replica: &R, ends: BTreeSet<End>) -> Result<Vec<End>> {
    if ends.len() == 1 {
        return Ok(ends.into_iter().collect());
    }
    let mut paths = Vec::with_capacity(ends.len());
    for end in ends {
        let missing = Divergence::Missing { log: end.log, sequence: end.sequence };
        paths.push(replica.locate(&end.reference())?.ok_or(missing)?);
    }
    let continued = |at: usize| {
        let (line, sequence) = paths[at].path[0];
        let goes_through = |path: &[(Line, Sequence)]| {
            path.iter().any(|(l, upto)| *l == line && sequence <= *upto)
        };
        paths.iter().enumerate().any(|(i, other)| i != at && goes_through(&other.path))
    };
    Ok((0..paths.len()).filter(|at| !continued(*at)).map(|at| paths[at].end).collect())
}

fn ladders<'a, R: Replica>(
    replica: &R,
    position: &Position,
    logs: impl Iterator<Item = &'a LogId>,
) -> Result<Vec<WireEnd>> {
    let mut out = Vec::new();
    for log in logs {
        for end in of_log(&position.ends, *log) {
            out.extend(replica.ladder(end)?.iter().map(WireEnd::from));
        }
    }
    out.sort();
    out.dedup();
    Ok(out)
}
