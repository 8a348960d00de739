//! Looks what of the log is damaged, and how far each line can be shown meanwhile.

use std::collections::{BTreeSet, HashMap};

use heirloom_core::fold::{Dot, Lines};
use heirloom_core::model::{Line, Lsn, Sequence};

use super::problem::Verification;
use crate::error::{Error, Result, Table};
use crate::store::commit::Store;
use crate::store::read::View;
use crate::store::rows::{Gap, Record, RowBatch, Tables, dot_of, log_key, lsn_of, read_gap};
use crate::traced::TRACED;

/// Names rows that cannot be read, or mark what is not here (R33).
pub(crate) fn check_missing(tables: &Tables, end: Lsn, out: &mut Verification) -> Result<()> {
    let Some(table) = tables.optional(Table::Missing)? else { return Ok(()) };
    for row in table.iter()? {
        let (key, value) = row?;
        if let Some((lsn, _)) =
            out.note(read_gap(key.value(), value.value()))?.filter(|(lsn, _)| *lsn >= end)
        {
            out.problem(Table::Missing, lsn, "it marks no commit");
        }
    }
    Ok(())
}

/// Drops such rows.
pub(crate) fn mend_missing(tables: &Tables, end: Lsn, tx: &RowBatch<'_>) -> Result<()> {
    let Some(table) = tables.optional(Table::Missing)? else { return Ok(()) };
    let mut mended = tx.open_table(Table::Missing)?;
    for row in table.iter()? {
        let (key, value) = row?;
        if read_gap(key.value(), value.value()).map_or(true, |(lsn, _)| lsn >= end) {
            mended.remove(key.value());
        }
    }
    Ok(())
}

impl Store {
    /// Finds how far each line can be shown. Reads all commits from the first damaged one on;
    /// nothing if there is none. Notes what else is damaged among them.
    pub(crate) fn withhold(&self, view: &View<'_>, end: Lsn) -> Result<()> {
        let _one = self.missing.looking.lock();
        loop {
            let shown = self.look(view, end)?;
            *self.missing.shown.write() = shown.clone();
            let mut found = false;
            for (line, until) in shown {
                let Some((first, lsn)) = view.dot_at(line, until)? else { continue };
                if lsn >= end {
                    return Err(Error::corrupt(
                        Table::Dots,
                        format!("{line}/{first}"),
                        "names no commit",
                    ));
                }
                match view.commit_of(line, (first, lsn)) {
                    Err(e) if e.is_damage() => {
                        self.missing.set(lsn, Some(Gap { line, first, damaged: true }));
                        found = true;
                    }
                    other => drop(other?),
                }
            }
            if !found {
                return Ok(());
            }
        }
    }

    /// How far each line can be shown that is cut short.
    fn look(&self, view: &View<'_>, end: Lsn) -> Result<HashMap<Line, Sequence>> {
        let mut shown = HashMap::new();
        let hide = |line: Line, first: Sequence, shown: &mut HashMap<Line, Sequence>| {
            let before = first.back(1).unwrap_or_default();
            let until = shown.entry(line).or_insert(before);
            *until = before.min(*until);
        };
        let Some(first_damaged) = self.missing.first_damaged() else { return Ok(shown) };
        for gap in self.missing.gaps.read().values().filter(|gap| gap.damaged) {
            hide(gap.line, gap.first, &mut shown);
        }
        for lsn in view.lsns(first_damaged, end) {
            let lsn = lsn?;
            let (line, first) = match view.record_uncached(lsn) {
                Ok(record) if self.missing.is_damaged(lsn) || builds_on(view, &record, &shown)? => {
                    (record.line, record.header.first)
                }
                Ok(_) => continue,
                Err(e) if e.is_damage() => match self.mark(view, lsn)? {
                    Some(gap) => (gap.line, gap.first),
                    None => continue,
                },
                Err(e) => return Err(e),
            };
            hide(line, first, &mut shown);
        }
        Ok(shown)
    }

    /// Notes that a record is damaged. Nothing if no line knows it.
    fn mark(&self, view: &View<'_>, lsn: Lsn) -> Result<Option<Gap>> {
        let known = self.missing.gaps.read().get(&lsn).copied();
        let place = match known {
            Some(gap) => Some((gap.line, gap.first)),
            None => place_of(view, lsn)?,
        };
        let gap = place.map(|(line, first)| Gap { line, first, damaged: true });
        if let Some(Gap { line, first, .. }) = gap {
            let (lsn, line, first) = (lsn.get(), line.get(), first.get());
            tracing::warn!(target: TRACED, lsn, line, first, "a commit is damaged");
            self.missing.set(Lsn::new(lsn), gap);
        }
        Ok(gap)
    }

    /// Looks whether these commits can be read, and notes durably which cannot, so that peers are
    /// asked for them. How many that are.
    pub(crate) fn note_damage(&self, lsns: impl IntoIterator<Item = Lsn>) -> Result<u64> {
        // what another session has just healed is whole as soon as it is durable
        self.check_not_held()?;
        let batch = self.writer.lock().rests_on();
        self.flush(batch)?;
        let tables = self.tables()?;
        let view = self.view(&tables);
        let (mut found, end) = (0, self.durable());
        // a damaged row of `dots` may name any
        for lsn in lsns.into_iter().filter(|lsn| *lsn < end) {
            let read = view.record_uncached(lsn);
            let whole = read.and_then(|record| view.with_bytes(lsn, |bytes| record.bodies(bytes)));
            match whole {
                Err(e) if e.is_damage() => found += u64::from(self.mark(&view, lsn)?.is_some()),
                other => drop(other?),
            }
        }
        if found > 0 {
            self.withhold(&view, end)?;
            // while the journal is damaged nothing is written but by repair, which finds it again
            if !self.read_only && self.journal.lock().check().is_ok() {
                let batch = self.writer()?.batch;
                self.flush(batch)?;
            }
        }
        Ok(found)
    }

    /// [`Self::note_damage`] for all commits, also those whose rows are gone.
    pub(crate) fn note_all_damage(&self) -> Result<u64> {
        let tables = self.tables()?;
        let view = self.view(&tables);
        let end = self.durable();
        let mut lsns = view.lsns(Lsn::START, end).collect::<Result<BTreeSet<_>>>()?;
        lsns.extend(self.mark_gone(&tables, end)?);
        self.note_damage(lsns)
    }

    /// Notes commits as damaged that `dots` names and whose records are not there. Which they are.
    pub(crate) fn mark_gone(&self, tables: &Tables, end: Lsn) -> Result<Vec<Lsn>> {
        let mut gone = Vec::new();
        for row in tables.dots.iter()? {
            let (key, value) = row?;
            let Some(lsn) = lsn_of(value.value()).filter(|lsn| *lsn < end) else { continue };
            if tables.log.get(&log_key(lsn, 0)[..])?.is_some() {
                continue;
            }
            if let Some((line, first)) = dot_of(key.value()) {
                self.missing.set(lsn, Some(Gap { line, first, damaged: true }));
                gone.push(lsn);
            }
        }
        Ok(gone)
    }
}

/// Whether a commit follows, or refers to, one that cannot be shown.
fn builds_on(view: &View<'_>, record: &Record, shown: &HashMap<Line, Sequence>) -> Result<bool> {
    if shown.is_empty() {
        return Ok(false);
    }
    let hidden = |line: Line, sequence: Sequence| {
        let path = view.directory.path(line, sequence);
        path.iter().any(|(line, upto)| shown.get(line).is_some_and(|until| upto > until))
    };
    if hidden(record.line, record.header.before()) {
        return Ok(true);
    }
    for r in &record.header.refs {
        match view.line_of(r.log, r.sequence, r.prefix) {
            Ok(line) if line.is_none_or(|line| hidden(line, r.sequence)) => return Ok(true),
            Ok(_) => {}
            Err(e) if e.is_damage() => return Ok(true),
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

/// Line and first sequence of a commit that cannot say them itself.
fn place_of(view: &View<'_>, lsn: Lsn) -> Result<Option<Dot>> {
    for row in view.tables.dots.iter()? {
        let (key, value) = row?;
        if value.value() == lsn.get().to_be_bytes() {
            return Ok(dot_of(key.value()));
        }
    }
    Ok(None)
}
