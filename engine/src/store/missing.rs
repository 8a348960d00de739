//! What of the log is not here as it should be, and how far each line can be shown meanwhile.
//!
//! A commit whose record is *damaged* keeps its place: heads, digest and order of arrival go on
//! counting it. Towards others its line ends in front of it, and so does every line from the first
//! commit that builds on it. A peer takes that for lacking, sends it again, and what it sends fills
//! the place. A commit whose bodies do not *verify* is whole but for its contents: those are asked
//! for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::{Mutex, RwLock};

use super::Store;
use super::record::{Record, ordinal};
use super::rows::WriteTables;
use super::sealed::{hex, seal, unreadable, unseal};
use super::tables::{self, Tables, log_key};
use super::view::View;
use crate::error::{Error, Result};
use crate::verify::Verification;
use heirloom_core::bytes::{Put, Read, Reader};

/// A commit that is damaged, or whose bodies do not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) ordinal: u32,
    /// Its first sequence.
    pub(crate) first: u64,
    /// The record cannot be read; else its bodies do not verify.
    pub(crate) damaged: bool,
}

/// All gaps, by lsn. Written with the next durable commit; what is lost of that is found again when
/// it is read.
#[derive(Default)]
pub(crate) struct Missing {
    gaps: RwLock<BTreeMap<u64, Gap>>,
    /// line → the last sequence that can be shown; of lines that are cut short.
    shown: RwLock<HashMap<u32, u64>>,
    changed: Mutex<BTreeMap<u64, Option<Gap>>>,
    /// One at a time looks what can be shown.
    looking: Mutex<()>,
}

/// Whether an error says that a record cannot be read.
pub(crate) fn is_damage(e: &Error) -> bool {
    matches!(e, Error::Corrupt { table: "log", .. })
}

impl Missing {
    /// A row that is itself damaged, or of a commit that is not here, is passed over: it is only a
    /// mark.
    pub(super) fn load(&self, tables: &Tables, commits: u64) -> Result<()> {
        let Some(table) = tables.optional(tables::MISSING)? else { return Ok(()) };
        let mut gaps = self.gaps.write();
        for row in table.iter()? {
            let (key, value) = row?;
            if let Ok((lsn, gap)) = read(key.value(), value.value())
                && lsn < commits
            {
                gaps.insert(lsn, gap);
            }
        }
        Ok(())
    }

    /// Nothing is known; it is loaded next.
    pub(super) fn clear(&self) {
        self.gaps.write().clear();
        self.shown.write().clear();
    }

    pub(crate) fn set(&self, lsn: u64, gap: Option<Gap>) {
        let mut gaps = self.gaps.write();
        let before = match gap {
            Some(gap) => gaps.insert(lsn, gap),
            None => gaps.remove(&lsn),
        };
        if before != gap {
            self.changed.lock().insert(lsn, gap);
        }
    }

    /// What changed since the last durable commit.
    pub(super) fn take_changes(&self) -> BTreeMap<u64, Option<Gap>> {
        std::mem::take(&mut *self.changed.lock())
    }

    pub(crate) fn is_damaged(&self, lsn: u64) -> bool {
        self.gaps.read().get(&lsn).is_some_and(|gap| gap.damaged)
    }

    /// Lsn of the first damaged commit.
    pub(crate) fn first_damaged(&self) -> Option<u64> {
        self.gaps.read().iter().find(|(_, gap)| gap.damaged).map(|(lsn, _)| *lsn)
    }

    /// Lsns of commits whose bodies do not verify, the first so many.
    pub(crate) fn unverified(&self, limit: usize) -> Vec<u64> {
        let gaps = self.gaps.read();
        gaps.iter().filter(|(_, gap)| !gap.damaged).take(limit).map(|(lsn, _)| *lsn).collect()
    }

    /// Whether a commit is marked as one whose bodies do not verify.
    pub(crate) fn is_unverified(&self, lsn: u64) -> bool {
        self.gaps.read().get(&lsn).is_some_and(|gap| !gap.damaged)
    }

    /// The commit that begins at a place, if it is a gap.
    pub(super) fn at(&self, ordinal: u32, first: u64) -> Option<(u64, Gap)> {
        let gaps = self.gaps.read();
        gaps.iter()
            .find(|(_, g)| (g.ordinal, g.first) == (ordinal, first))
            .map(|(lsn, g)| (*lsn, *g))
    }

    /// Damaged commits that follow a place: on the line itself, or as the first of one that leaves
    /// it there.
    pub(super) fn damaged_after(
        &self,
        view: &View<'_>,
        line: u32,
        sequence: u64,
    ) -> Vec<(u64, Gap)> {
        let leaves =
            |o| view.directory.branch_point(o).is_some_and(|f| (f.of, f.after) == (line, sequence));
        let follows = |g: &Gap| {
            g.damaged && g.first == sequence + 1 && (g.ordinal == line || leaves(g.ordinal))
        };
        self.gaps.read().iter().filter(|(_, g)| follows(g)).map(|(lsn, g)| (*lsn, *g)).collect()
    }

    /// The last sequence that a line can show; nothing if all of it can be shown.
    pub(crate) fn until(&self, ordinal: u32) -> Option<u64> {
        self.shown.read().get(&ordinal).copied()
    }

    /// Whether a place can be shown.
    pub(crate) fn shows(&self, ordinal: u32, sequence: u64) -> bool {
        self.until(ordinal).is_none_or(|until| sequence <= until)
    }
}

pub(super) fn row(lsn: u64, gap: &Gap) -> Vec<u8> {
    let mut out = vec![u8::from(gap.damaged)];
    out.varint(u64::from(gap.ordinal));
    out.varint(gap.first);
    seal(&lsn.to_be_bytes(), &out)
}

fn read(key: &[u8], row: &[u8]) -> Result<(u64, Gap)> {
    let mut r = Reader::new(unseal("missing", key, row)?);
    let lsn = <[u8; 8]>::try_from(key).map(u64::from_be_bytes);
    let lsn = lsn.map_err(|_| Error::corrupt("missing", hex(key), "not a place"))?;
    let mut read = || -> Read<Gap> {
        let gap = Gap { damaged: r.u8()? != 0, ordinal: ordinal(&mut r)?, first: r.varint()? };
        r.ensure(gap.first > 0, "no sequence")?;
        r.end()?;
        Ok(gap)
    };
    Ok((lsn, read().map_err(unreadable("missing", key))?))
}

/// Names rows that cannot be read, or mark what is not here (R33).
pub(crate) fn check(tables: &Tables, commits: u64, out: &mut Verification) -> Result<()> {
    let Some(table) = tables.optional(tables::MISSING)? else { return Ok(()) };
    for row in table.iter()? {
        let (key, value) = row?;
        if let Some((lsn, _)) =
            out.note(read(key.value(), value.value()))?.filter(|(lsn, _)| *lsn >= commits)
        {
            out.problem("missing", lsn, "it marks no commit");
        }
    }
    Ok(())
}

/// Drops such rows.
pub(super) fn mend(tables: &Tables, commits: u64, tx: &WriteTables) -> Result<()> {
    let Some(table) = tables.optional(tables::MISSING)? else { return Ok(()) };
    let mut mended = tx.open_table(tables::MISSING)?;
    for row in table.iter()? {
        let (key, value) = row?;
        if read(key.value(), value.value()).map_or(true, |(lsn, _)| lsn >= commits) {
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
                    Err(e) if is_damage(&e) => {
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
                Err(e) if is_damage(&e) => match self.mark(view, lsn)? {
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
                Err(e) if is_damage(&e) => found += u64::from(self.mark(&view, lsn)?.is_some()),
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
    pub(super) fn mark_gone(&self, tables: &Tables, commits: u64) -> Result<Vec<u64>> {
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
            Err(e) if is_damage(&e) => return Ok(true),
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
