//! Looks what of the log is damaged, and how far each line can be shown meanwhile.

use std::collections::{BTreeSet, HashMap};

use super::problem::Verification;
use crate::error::{Error, Result};
use crate::store::commit::Store;
use crate::store::read::View;
use crate::store::rows::{Gap, Record, Tables, WriteTables, log_key, read_gap, tables};

/// Names rows that cannot be read, or mark what is not here (R33).
pub(crate) fn check_missing(tables: &Tables, commits: u64, out: &mut Verification) -> Result<()> {
    let Some(table) = tables.optional(tables::MISSING)? else { return Ok(()) };
    for row in table.iter()? {
        let (key, value) = row?;
        if let Some((lsn, _)) =
            out.note(read_gap(key.value(), value.value()))?.filter(|(lsn, _)| *lsn >= commits)
        {
            out.problem("missing", lsn, "it marks no commit");
        }
    }
    Ok(())
}

/// Drops such rows.
pub(crate) fn mend_missing(tables: &Tables, commits: u64, tx: &WriteTables) -> Result<()> {
    let Some(table) = tables.optional(tables::MISSING)? else { return Ok(()) };
    let mut mended = tx.open_table(tables::MISSING)?;
    for row in table.iter()? {
        let (key, value) = row?;
        if read_gap(key.value(), value.value()).map_or(true, |(lsn, _)| lsn >= commits) {
            mended.remove(key.value())?;
        }
    }
    Ok(())
}

impl Store {
    /// Finds how far each line can be shown. Reads all commits from the first damaged one on;
    /// nothing if there is none. Notes what else is damaged among them.
    pub(crate) fn withhold(&self, view: &View<'_>, commits: u64) -> Result<()> {
        let _one = self.missing.looking.lock();
        loop {
            let shown = self.look(view, commits)?;
            *self.missing.shown.write() = shown.clone();
            let mut found = false;
            for (line, until) in shown {
                let Some((first, lsn)) = view.dot_at(line, until)? else { continue };
                if lsn >= commits {
                    return Err(Error::corrupt(
                        "dots",
                        format!("{line}/{first}"),
                        "names no commit",
                    ));
                }
                match view.commit_of(line, (first, lsn)) {
                    Err(e) if e.is_damage() => {
                        self.missing.set(lsn, Some(Gap { ordinal: line, first, damaged: true }));
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
    fn look(&self, view: &View<'_>, commits: u64) -> Result<HashMap<u32, u64>> {
        let mut shown = HashMap::new();
        let hide = |line: u32, first: u64, shown: &mut HashMap<u32, u64>| {
            let until = shown.entry(line).or_insert(first - 1);
            *until = (first - 1).min(*until);
        };
        let Some(first_damaged) = self.missing.first_damaged() else { return Ok(shown) };
        for gap in self.missing.gaps.read().values().filter(|gap| gap.damaged) {
            hide(gap.ordinal, gap.first, &mut shown);
        }
        for lsn in view.lsns(first_damaged, commits) {
            let lsn = lsn?;
            let (line, first) = match view.record_uncached(lsn) {
                Ok(record) if self.missing.is_damaged(lsn) || builds_on(view, &record, &shown)? => {
                    (record.ordinal, record.header.first)
                }
                Ok(_) => continue,
                Err(e) if e.is_damage() => match self.mark(view, lsn)? {
                    Some(gap) => (gap.ordinal, gap.first),
                    None => continue,
                },
                Err(e) => return Err(e),
            };
            hide(line, first, &mut shown);
        }
        Ok(shown)
    }

    /// Notes that a record is damaged. Nothing if no line knows it.
    fn mark(&self, view: &View<'_>, lsn: u64) -> Result<Option<Gap>> {
        let known = self.missing.gaps.read().get(&lsn).copied();
        let place = match known {
            Some(gap) => Some((gap.ordinal, gap.first)),
            None => place_of(view, lsn)?,
        };
        let gap = place.map(|(ordinal, first)| Gap { ordinal, first, damaged: true });
        if gap.is_some() {
            self.missing.set(lsn, gap);
        }
        Ok(gap)
    }

    /// Looks whether these commits can be read, and notes durably which cannot, so that peers are
    /// asked for them. How many that are.
    pub(crate) fn note_damage(&self, lsns: impl IntoIterator<Item = u64>) -> Result<u64> {
        // what another session has just healed is whole as soon as it is durable
        self.check_not_held()?;
        let batch = self.writer.lock().rests_on();
        self.flush(batch)?;
        let tables = self.tables()?;
        let view = self.view(&tables);
        let (mut found, commits) = (0, self.durable());
        // a damaged row of `dots` may name any
        for lsn in lsns.into_iter().filter(|lsn| *lsn < commits) {
            let read = view.record_uncached(lsn);
            let whole = read.and_then(|record| view.with_bytes(lsn, |bytes| record.bodies(bytes)));
            match whole {
                Err(e) if e.is_damage() => found += u64::from(self.mark(&view, lsn)?.is_some()),
                other => drop(other?),
            }
        }
        if found > 0 {
            self.withhold(&view, commits)?;
            if !self.read_only {
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
        let commits = self.durable();
        let mut lsns = view.lsns(0, commits).collect::<Result<BTreeSet<_>>>()?;
        lsns.extend(self.mark_gone(&tables, commits)?);
        self.note_damage(lsns)
    }

    /// Notes commits as damaged that `dots` names and whose records are not there. Which they are.
    pub(crate) fn mark_gone(&self, tables: &Tables, commits: u64) -> Result<Vec<u64>> {
        let mut gone = Vec::new();
        for row in tables.dots.iter()? {
            let (key, value) = row?;
            let lsn = <[u8; 8]>::try_from(value.value()).map_or(commits, u64::from_be_bytes);
            if lsn >= commits || tables.log.get(&log_key(lsn, 0)[..])?.is_some() {
                continue;
            }
            if let Some((ordinal, first)) = place(key.value()) {
                self.missing.set(lsn, Some(Gap { ordinal, first, damaged: true }));
                gone.push(lsn);
            }
        }
        Ok(gone)
    }
}

/// Whether a commit follows, or refers to, one that cannot be shown.
fn builds_on(view: &View<'_>, record: &Record, shown: &HashMap<u32, u64>) -> Result<bool> {
    if shown.is_empty() {
        return Ok(false);
    }
    let hidden = |line: u32, sequence: u64| {
        let path = view.directory.path(line, sequence);
        path.iter().any(|(line, upto)| shown.get(line).is_some_and(|until| upto > until))
    };
    if hidden(record.ordinal, record.header.first - 1) {
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
fn place_of(view: &View<'_>, lsn: u64) -> Result<Option<(u32, u64)>> {
    for row in view.tables.dots.iter()? {
        let (key, value) = row?;
        if value.value() == lsn.to_be_bytes() {
            return Ok(place(key.value()));
        }
    }
    Ok(None)
}

/// What a key of `dots` says: line and first sequence of a commit.
fn place(key: &[u8]) -> Option<(u32, u64)> {
    let (line, first) = key.split_first_chunk()?;
    let first = first.try_into().ok().map(u64::from_be_bytes).filter(|first| *first > 0)?;
    Some((u32::from_be_bytes(*line), first))
}
