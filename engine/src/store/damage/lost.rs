//! Commits of which no row is left, neither a record nor a place in `dots`: a frame of the journal
//! that rotted takes both along. That they were here follows from what did stay: lsns have no gaps,
//! the sequences of a line have none, and what later commits refer to was here before them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use heirloom_core::fold::Lines;
use heirloom_core::format::header::Header;
use heirloom_core::model::{CommitRef, Line, Lsn, Sequence};

use crate::error::{Error, Result, Table};
use crate::store::commit::Store;
use crate::store::read::View;
use crate::store::rows::{Gap, Record, dot_key, dot_of, lsn_of};
use crate::traced::TRACED;

/// Sequences that a line lacks.
struct Hole {
    line: Line,
    first: Sequence,
    /// Between the commit before them and one that shows that they were here.
    between: (Lsn, Lsn),
}

impl Store {
    /// Notes such commits as damaged; of each hole the first, since nobody knows where in it the
    /// next one begins. Costs nothing unless commits are lost; then a look at each.
    ///
    /// The last commits of a line that nothing refers to leave no more trace than their lsns. So
    /// whoever repairs leaves the own log.
    pub(crate) fn mark_lost(&self, view: &View<'_>, end: Lsn) -> Result<()> {
        if view.tables.dots.len()? >= end.get() {
            return Ok(());
        }
        let mut lost = Lost::below(view, end)?;
        if !lost.ranges.is_empty() {
            holes(view, end)?.iter().for_each(|hole| self.mark_hole(hole, &mut lost));
        }
        Ok(())
    }

    /// The same for what lies on a line behind a commit that has come back, at `lsn`.
    pub(crate) fn mark_lost_behind(
        &self,
        view: &View<'_>,
        (line, last): (Line, Sequence),
        lsn: Lsn,
    ) -> Result<()> {
        let (first, end) = (last.next(), self.durable());
        let shown_by = match next_on(view, line, first)? {
            Some((next, _)) if next == first => None,
            Some((_, next)) => Some(next),
            None if view.tables.dots.len()? >= end.get() => None,
            None => referred_to(view, (line, first), (lsn, end))?,
        };
        // rows of `dots` have no checksum
        let Some(until) = shown_by.map(|until| until.min(end)) else { return Ok(()) };
        let mut lost = Lost::below(view, until)?;
        self.mark_hole(&Hole { line, first, between: (lsn.next(), until) }, &mut lost);
        Ok(())
    }

    /// Where a commit that is marked at `lsn` can go: behind what it builds on. It changes places
    /// with another lost one, if need be: which of several came first nobody knows until they are
    /// back. Nothing where there is no place, or something it builds on is lost itself.
    pub(crate) fn place_of_lost(
        &self,
        view: &View<'_>,
        (lsn, gap): (Lsn, Gap),
        header: &Header,
    ) -> Result<Option<Lsn>> {
        if view.stored_from(lsn)? == Some(lsn) {
            // something of its record is left, so it was here
            return Ok(Some(lsn));
        }
        let mut behind = Lsn::START;
        let before = gap.first.back(1).filter(|before| *before > Sequence::START);
        let before = before.map(|before| (view.directory.line_at(gap.line, before), before));
        let mut builds_on = Vec::from_iter(before);
        for r in &header.refs {
            match view.line_of(r.log, r.sequence, r.prefix) {
                Ok(Some(line)) => builds_on.push((line, r.sequence)),
                Ok(None) => return Ok(None),
                Err(e) if e.is_damage() => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        for (line, sequence) in builds_on {
            let Some((first, at)) = view.dot_at(line, sequence)? else { return Ok(None) };
            match readable(view.commit_of(line, (first, at)))? {
                Some(record) if record.contains(sequence) => behind = behind.max(at.next()),
                _ => return Ok(None),
            }
        }
        let end = self.durable();
        let lost = Lost::below(view, end)?;
        let free = lost.within((behind, end)).find(|at| !self.missing.is_damaged(*at));
        let marked = self.missing.gaps.read().range(behind..end).find_map(|(at, gap)| {
            let is_lost =
                gap.damaged && view.stored_from(*at).is_ok_and(|found| found != Some(*at));
            is_lost.then_some((*at, *gap))
        });
        // the lowest, so that all find one if they come in a causal order
        match (free, marked) {
            (Some(free), other) if other.is_none_or(|(at, _)| free < at) => {
                self.missing.set(lsn, None);
                self.missing.set(free, Some(gap));
                Ok(Some(free))
            }
            (_, Some((at, _))) if at == lsn => Ok(Some(lsn)),
            (_, Some((at, other))) => {
                self.missing.set(lsn, Some(other));
                self.missing.set(at, Some(gap));
                Ok(Some(at))
            }
            _ => Ok(None),
        }
    }

    /// An error where a damaged frame held names that commits and heads go by: a log or a type
    /// whose number would be given to another. Of other damage the rows that are read here may be
    /// wrong themselves.
    pub(crate) fn check_names(&self) -> Result<()> {
        let tables = self.tables()?;
        if self.check_journal(&tables).is_ok() {
            return Ok(());
        }
        let line = tables.dots.last().ok().flatten().and_then(|(key, _)| dot_of(key.value()));
        if let Some((line, _)) = line.filter(|(line, _)| line.get() >= self.directory.log_count()) {
            return Err(Error::corrupt(Table::Logs, line, "the row is missing"));
        }
        let number = tables.by_type.last().ok().flatten().and_then(|(key, _)| {
            key.value().first_chunk().map(|number| u32::from_be_bytes(*number))
        });
        match number.filter(|number| *number >= self.directory.type_count()) {
            Some(number) => Err(Error::corrupt(Table::Types, number, "the row is missing")),
            None => Ok(()),
        }
    }

    /// Of these lsns, at which no record is, those that have a place and are not known as damaged.
    pub(crate) fn gone_between(&self, view: &View<'_>, (from, to): (Lsn, Lsn)) -> Result<Vec<Lsn>> {
        let mut gone = Vec::new();
        if from < to {
            for row in view.tables.dots.iter()? {
                let lsn = lsn_of(row?.1.value()).filter(|lsn| (from..to).contains(lsn));
                gone.extend(lsn.filter(|lsn| !self.missing.is_damaged(*lsn)));
            }
        }
        Ok(gone)
    }

    fn mark_hole(&self, hole: &Hole, lost: &mut Lost) {
        let &Hole { line, first, between } = hole;
        if self.missing.at(line, first).is_some() {
            return;
        }
        let mut fits = lost.within(between).filter(|lsn| !self.missing.is_damaged(*lsn));
        let Some(lsn) = fits.next() else { return };
        drop(fits);
        lost.taken.insert(lsn);
        let (number, of, from) = (lsn.get(), line.get(), first.get());
        tracing::warn!(target: TRACED, lsn = number, line = of, first = from, "a commit is lost");
        self.missing.set(lsn, Some(Gap { line, first, damaged: true }));
    }
}

/// Lsns of which nothing speaks.
struct Lost {
    /// Without a record. A rotten row may claim any lsn, so there may be more than there is memory
    /// for one by one.
    ranges: Vec<Range<u64>>,
    /// Of these the ones that have a place all the same, or are on their way back.
    taken: BTreeSet<Lsn>,
}

impl Lost {
    fn below(view: &View<'_>, end: Lsn) -> Result<Self> {
        let mut out = Self { ranges: Vec::new(), taken: BTreeSet::new() };
        let mut next = Lsn::START;
        for found in view.lsns(Lsn::START, end).chain([Ok(end)]) {
            let found = found?;
            if next < found {
                out.ranges.push(next.get()..found.get());
            }
            next = found.next();
        }
        if !out.ranges.is_empty() {
            for row in view.tables.dots.iter()? {
                let is_among = |lsn: &Lsn| out.ranges.iter().any(|r| r.contains(&lsn.get()));
                out.taken.extend(lsn_of(row?.1.value()).filter(is_among));
            }
            out.taken.extend(view.pending.iter().flat_map(|pending| pending.healed.keys()));
        }
        Ok(out)
    }

    /// In order, those from one lsn up to before another.
    fn within(&self, (after, before): (Lsn, Lsn)) -> impl Iterator<Item = Lsn> + '_ {
        let part = move |range: &Range<u64>| {
            (range.start.max(after.get())..range.end.min(before.get())).map(Lsn::new)
        };
        self.ranges.iter().flat_map(part).filter(|lsn| !self.taken.contains(lsn))
    }
}

/// What lines lack, the narrowest first, so that each finds its place. What lies behind a commit
/// that cannot be read is not known.
fn holes(view: &View<'_>, end: Lsn) -> Result<Vec<Hole>> {
    let mut out = Vec::new();
    // of each line the last sequence, and the lsn behind it
    let mut ends: HashMap<Line, (Sequence, Lsn)> = HashMap::new();
    for row in view.tables.dots.iter()? {
        let (key, value) = row?;
        let (Some((line, first)), Some(lsn)) = (dot_of(key.value()), lsn_of(value.value())) else {
            continue;
        };
        let (last, after) = end_of(view, &ends, line);
        if last < first && last.next() < first {
            out.push(Hole { line, first: last.next(), between: (after, lsn) });
        }
        let last = readable(view.commit_of(line, (first, lsn)))?;
        let last = last.map_or(Sequence::END, |record| record.header.last());
        ends.insert(line, (last, lsn.next()));
    }
    for lsn in view.lsns(Lsn::START, end) {
        let lsn = lsn?;
        let Some(record) = readable(view.record_uncached(lsn))? else { continue };
        for r in &record.header.refs {
            // of a log that forked nobody could tell on which line
            let Some(line) = view.directory.only_line(r.log) else { continue };
            let (last, after) = end_of(view, &ends, line);
            if last < r.sequence {
                out.push(Hole { line, first: last.next(), between: (after, lsn) });
            }
        }
    }
    out.sort_by_key(|hole| hole.between.1);
    Ok(out)
}

fn end_of(view: &View<'_>, ends: &HashMap<Line, (Sequence, Lsn)>, line: Line) -> (Sequence, Lsn) {
    let start = view.directory.branch_point(line).map_or(Sequence::START, |fork| fork.after);
    ends.get(&line).copied().unwrap_or((start, Lsn::START))
}

/// The first commit behind an lsn that refers to a line at or behind a sequence.
fn referred_to(
    view: &View<'_>,
    (line, first): (Line, Sequence),
    (after, end): (Lsn, Lsn),
) -> Result<Option<Lsn>> {
    for lsn in view.lsns(after.next(), end) {
        let lsn = lsn?;
        let Some(record) = readable(view.record_uncached(lsn))? else { continue };
        let refers =
            |r: &CommitRef| r.sequence >= first && view.directory.only_line(r.log) == Some(line);
        if record.header.refs.iter().any(refers) {
            return Ok(Some(lsn));
        }
    }
    Ok(None)
}

/// The first commit of a line at or behind a sequence.
fn next_on(view: &View<'_>, line: Line, from: Sequence) -> Result<Option<(Sequence, Lsn)>> {
    let (from, to) = (dot_key(line, from), dot_key(line, Sequence::END));
    let Some(row) = view.tables.dots.range(&from[..]..=&to[..])?.next() else { return Ok(None) };
    let (key, value) = row?;
    Ok(dot_of(key.value()).map(|(_, first)| first).zip(lsn_of(value.value())))
}

fn readable(found: Result<Arc<Record>>) -> Result<Option<Arc<Record>>> {
    match found {
        Ok(record) => Ok(Some(record)),
        Err(e) if e.is_damage() => Ok(None),
        Err(e) => Err(e),
    }
}
