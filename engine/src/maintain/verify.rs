//! Reads everything again, rebuilds what is derived, and names each place that does not fit (R33).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use heirloom_core::fold::{HeadState, Lines, Stored, inline};
use heirloom_core::format::body::{self, Tag};
use heirloom_core::format::hash::{
    branch_name, chain_after, chain_of_genesis, head_term, state_checksum, states_root,
};
use heirloom_core::model::{EntityId, Lsn, Sequence, StateDigest, VersionRef};

use super::verify_fold::{Fold, Part};
use super::verify_index::check_index;
use super::verify_tables::{
    check_checkpoint, check_datasets, check_dots, check_indexes, check_types,
};
use crate::engine::Engine;
use crate::error::{Error, Result, Table};
use crate::read::Snapshot;
use crate::store::{
    At, Caches, Record, Verification, View, check_missing, check_peers, decode_row, hex,
};
use crate::traced::TRACED;

/// How far a verification is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Commits that were read. The log is read once, and once more for each 100,000 entities beyond
    /// the first so many.
    pub commits: u64,
    /// Commits to read.
    pub of: u64,
    /// Damaged places so far.
    pub problems: u64,
}

/// Heads of so many entities are held at a time.
pub(crate) const ENTITIES: u64 = 100_000;

/// Memory for what the walk has read: nothing comes from the engine's own caches.
const CACHE: usize = 96 << 20;

pub(crate) fn verify(
    snapshot: &Snapshot,
    marked: BTreeSet<Lsn>,
    entities: u64,
    progress: &mut dyn FnMut(VerifyProgress) -> ControlFlow<()>,
) -> Result<Verification> {
    let mut out = Verification::default();
    // before anything that goes by them
    let mut rows = 0;
    for (table, found, checked) in snapshot.tables.check_trees() {
        out.note(checked)?;
        if table == Table::Heads {
            rows = found;
        }
    }
    out.set_aside = out.note(snapshot.tables.set_aside())?.unwrap_or(0);
    let parts = rows.div_ceil(entities).max(1);
    let end = out.note(snapshot.tables.end())?.unwrap_or_default();
    let mut walk = Walk { of: end.get().saturating_mul(parts), read: 0, progress };
    let mut fold = Fold {
        part: Part { number: 0, of: parts },
        digest: StateDigest::ZERO,
        heads: BTreeMap::new(),
        ends: BTreeMap::new(),
        frontier: BTreeSet::new(),
        marked,
    };
    let caches = Caches::for_walk(CACHE);
    let view = View { caches: &caches, ..snapshot.view() };
    let mut next = Lsn::START;
    while let Some(lsn) = out.note(view.stored_from(next))?.flatten() {
        if lsn != next {
            out.problem(Table::Log, next, "commits are missing");
        }
        next = lsn.next();
        if let Some(record) = out.note(view.record_uncached(lsn))? {
            let checked = check_commit(&view, &record, &mut fold, &mut out);
            out.note(checked)?;
        }
        walk.step(&out)?;
    }
    if next < end {
        out.problem(Table::Log, next, "commits are missing");
    }
    check_heads(snapshot, &view, &mut fold, &mut out)?;
    for number in 1..parts {
        fold.part.number = number;
        for lsn in view.lsns(Lsn::START, Lsn::END) {
            // what is damaged was named above
            let Ok(lsn) = lsn else { break };
            if let Ok(record) = view.record_uncached(lsn) {
                for index in
                    (0..record.header.versions.len()).filter(|i| record.void_of(*i).is_none())
                {
                    drop(
                        view.place(&record, index)
                            .and_then(|at| fold_version(&view, &at, &mut fold)),
                    );
                }
            }
            walk.step(&out)?;
        }
        check_heads(snapshot, &view, &mut fold, &mut out)?;
    }
    if rows != out.entities {
        out.problem(Table::Heads, "all", format!("{rows} rows for {} entities", out.entities));
    }
    // each goes as far as its table can be read
    let checked = check_types(snapshot, &mut out);
    out.note(checked)?;
    let checked = check_indexes(snapshot, &mut out);
    out.note(checked)?;
    let checked = check_index(snapshot, &view, &mut out);
    out.note(checked)?;
    let checked = check_peers(&snapshot.tables, &mut out);
    out.note(checked)?;
    let checked = check_missing(&snapshot.tables, end, &mut out);
    out.note(checked)?;
    let checked = check_dots(snapshot, &fold, &mut out);
    out.note(checked)?;
    check_datasets(snapshot, &fold, &mut out);
    check_checkpoint(snapshot, &fold, &mut out)?;
    Ok(out)
}

/// Says how far it is, now and then.
struct Walk<'a> {
    of: u64,
    read: u64,
    progress: &'a mut dyn FnMut(VerifyProgress) -> ControlFlow<()>,
}

impl Walk<'_> {
    const STEP: u64 = 256;

    fn step(&mut self, out: &Verification) -> Result<()> {
        self.read += 1;
        if !self.read.is_multiple_of(Self::STEP) && self.read < self.of {
            return Ok(());
        }
        let problems = out.problems.len() as u64 + out.more_problems;
        match (self.progress)(VerifyProgress { commits: self.read, of: self.of, problems }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}

impl Engine {
    /// Reads everything again: checksums, chains, states, and what is derived from the log, which
    /// it makes again and compares. Reads the whole file, and the log once more for each
    /// 100,000 entities beyond the first so many; takes about 130 MiB of memory at most. What it
    /// finds, [`repair`](Self::repair) mends.
    pub fn verify(&self) -> Result<Verification> {
        self.verify_with(|_| ControlFlow::Continue(()))
    }

    /// Reads and checks everything, as [`verify`](Self::verify); `progress` is told how far it is,
    /// every 256 commits and at the end of the log, and may break it off.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// let engine = heirloom::Engine::builder().in_memory()?;
    /// let patience = std::time::Instant::now();
    /// let verified = engine.verify_with(|progress| {
    ///     let (done, of, problems) = (progress.commits, progress.of, progress.problems);
    ///     eprintln!("{done} of {of} commits, {problems} damaged places");
    ///     if patience.elapsed().as_secs() > 600 {
    ///         ControlFlow::Break(())
    ///     } else {
    ///         ControlFlow::Continue(())
    ///     }
    /// })?;
    /// assert!(verified.is_clean());
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Cancelled`] if it was broken off. [`Error::FileChanged`] if the file is not the one
    /// that was opened, or somebody else wrote it. Damage is no error: it is what this is for.
    pub fn verify_with(
        &self,
        mut progress: impl FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<Verification> {
        self.store().check_process()?;
        self.store().check_file()?;
        let marks = || self.store().missing.unverified(usize::MAX);
        // some may be healed, others come, before the snapshot
        let mut marked: BTreeSet<Lsn> = marks().into_iter().collect();
        let snapshot = self.snapshot()?;
        marked.extend(marks());
        let mut verified = verify(&snapshot, marked, ENTITIES, &mut progress)?;
        verified.note(self.store().check_journal(&snapshot.tables))?;
        let (commits, problems) = (verified.commits, verified.problems.len());
        tracing::info!(target: TRACED, commits, problems, "verified");
        Ok(verified)
    }
}

fn check_commit(
    view: &View<'_>,
    record: &Arc<Record>,
    fold: &mut Fold,
    out: &mut Verification,
) -> Result<()> {
    let (lsn, line) = (record.lsn, record.line);
    let info = view
        .directory
        .log(line)
        .ok_or_else(|| Error::corrupt(Table::Logs, line, "an unknown log"))?;
    let (sequence, chain) =
        match (fold.ends.get(&line), info.fork.filter(|f| f.after > Sequence::START)) {
            (Some(end), _) => *end,
            (None, None) => (Sequence::START, chain_of_genesis(&info.genesis)),
            (None, Some(fork)) => {
                let trunk =
                    view.commit_on(fork.of, fork.after)?.filter(|r| r.header.last() == fork.after);
                let missing = || {
                    Error::corrupt(Table::Logs, line, "the commit that it branches off is missing")
                };
                (fork.after, trunk.ok_or_else(missing)?.chain)
            }
        };
    if info.fork.is_some_and(|f| {
        record.header.first == f.after.next() && f.name != branch_name(&record.chain)
    }) {
        out.problem(Table::Logs, line, "the name of a branch is not that of its first commit");
    }
    if record.header.first != sequence.next() {
        out.problem(Table::Log, lsn, "its sequence does not follow");
    }
    if record.chain != chain_after(&chain, &record.header_bytes) {
        out.problem(Table::Log, lsn, "its chain does not follow");
    }
    fold.ends.insert(line, (record.header.last(), record.chain));
    let first = record.header.first;
    if out.note(view.dot_at(line, first))?.is_some_and(|dot| dot != Some((first, lsn))) {
        out.problem(Table::Dots, format!("{line}/{first}"), "does not name its commit");
    }
    for r in &record.header.refs {
        let other = view.line_of(r.log, r.sequence, r.prefix)?;
        match other.and_then(|o| Some((o, *fold.ends.get(&o)?))) {
            Some((o, (s, c))) if s == r.sequence && c.prefix() == r.prefix => {
                fold.frontier.remove(&o);
            }
            Some((_, (s, _))) if s > r.sequence => {}
            _ => out.problem(Table::Log, lsn, format!("it refers to {r}, which is not here")),
        }
    }
    if !view.directory.is_local(line) {
        fold.frontier.insert(line);
    }
    out.commits += 1;
    out.versions += record.header.versions.len() as u64;
    out.voids += u64::from(record.header.is_newer());
    out.unverified += u64::from(record.unverified);
    if record.lacks_bodies() && !fold.marked.contains(&lsn) {
        out.problem(Table::Missing, lsn, "bodies do not verify, and nobody is asked for them");
    }
    let mut checksums = Vec::with_capacity(record.header.versions.len());
    for index in 0..record.header.versions.len() {
        if record.void_of(index).is_some() {
            out.voids += 1;
            continue;
        }
        let at = view.place(record, index)?;
        fold_version(view, &at, fold)?;
        if !record.unverified {
            checksums.push(checksum(view, &at)?);
        }
        if !check_head(view, &at)? {
            out.problem(
                Table::Heads,
                at.header().entity,
                "a head differs from its version in the log",
            );
        }
        // what it was written on is rarely needed again, and makes place for what will be
        view.parents(&at)?.iter().for_each(|parent| view.caches.forget(*parent));
    }
    if !record.unverified && states_root(&checksums) != record.header.states_root {
        out.problem(Table::Log, lsn, "its contents do not give its states root");
    }
    Ok(())
}

fn fold_version(view: &View<'_>, at: &At, fold: &mut Fold) -> Result<()> {
    if !fold.part.holds(&at.header().entity) {
        return Ok(());
    }
    let heads = fold.heads.entry(at.header().entity).or_default();
    let parents = view.parents(at)?;
    for (line, sequence) in parents.iter().copied().filter(|parent| !heads.contains(*parent)) {
        let missing =
            || Error::corrupt(Table::Log, format!("{line}/{sequence}"), "a parent is missing");
        view.version((line, sequence))?.ok_or_else(missing)?;
    }
    heads.see(at.writer, at.header().kind(), &parents, view.directory.local());
    Ok(())
}

fn checksum(view: &View<'_>, at: &At) -> Result<[u8; 16]> {
    let source = view.as_head(at)?.derived.type_source;
    let entity_type = view.entity_type(source.type_number)?;
    let VersionRef { log, sequence, .. } = at.writer.reference;
    let sum =
        |full: Option<&[u8]>| state_checksum(log, sequence, at.header().entity, &entity_type, full);
    match view.content(at)? {
        Stored::Tombstone => Ok(sum(None)),
        Stored::Live(state) => Ok(sum(Some(&body::full(&state, &at.writer)))),
        Stored::Absent => {
            let (tag, payload) =
                view.with_bytes(at.record.lsn, |bytes| at.record.body(at.index, bytes))?;
            let stands_in = matches!(tag, Tag::Pruned | Tag::Withheld | Tag::Encrypted);
            let sum = payload.get(..16).filter(|_| stands_in).and_then(|b| b.try_into().ok());
            sum.ok_or_else(|| Error::corrupt(Table::Log, at.record.lsn, "a content is missing"))
        }
    }
}

/// Compares the heads of a part of the entities, and forgets them.
fn check_heads(
    snapshot: &Snapshot,
    view: &View<'_>,
    fold: &mut Fold,
    out: &mut Verification,
) -> Result<()> {
    let checked = compare_heads(snapshot, view, fold, out);
    out.note(checked)?;
    let local = view.directory.local();
    for (entity, heads) in &fold.heads {
        for head in heads.list.iter().filter(|h| Some(h.line) != local) {
            fold.digest.add(&head_term(*entity, &head.reference));
        }
    }
    out.entities += fold.heads.len() as u64;
    fold.heads.clear();
    Ok(())
}

/// Each row of `heads` with what the log gives.
fn compare_heads(
    snapshot: &Snapshot,
    view: &View<'_>,
    fold: &Fold,
    out: &mut Verification,
) -> Result<()> {
    for row in snapshot.tables.heads.range::<&[u8]>(..)? {
        let (key, value) = row?;
        let Ok(id) = <[u8; 16]>::try_from(key.value()).map(EntityId::from_bytes) else {
            if fold.part.number == 0 {
                out.problem(Table::Heads, hex(key.value()), "not an entity id");
            }
            continue;
        };
        if !fold.part.holds(&id) {
            continue;
        }
        let Some(heads) = out.note(decode_row(key.value(), value.value(), view.directory))? else {
            continue;
        };
        let of_log = fold.heads.get(&id);
        let refs = of_log.map(|of_log| of_log.list.iter().map(|w| w.reference).collect());
        let found: BTreeSet<_> = heads.list.iter().map(|h| h.writer.reference).collect();
        if refs.as_ref() != Some(&found) {
            out.problem(Table::Heads, id, "the heads are not those of the log");
            continue;
        }
        let undecided = heads.list.len() > 1
            || view
                .merged(id, &heads.list)
                .is_ok_and(|s| !heirloom_core::merge::conflicts(&s, 1, 0).is_empty());
        if undecided != heads.unsettled {
            out.problem(Table::Heads, id, "settled or not is wrong");
        }
        if of_log.is_some_and(|of_log| of_log.created_twice != heads.created_twice) {
            out.problem(Table::Heads, id, "created twice or not is wrong");
        }
    }
    Ok(())
}

/// If a version is a head, whether the head says what the version says. Done while the log is
/// walked, where contents are at hand.
fn check_head(view: &View<'_>, at: &At) -> Result<bool> {
    let entity = at.header().entity;
    // a damaged row is named when the rows are walked
    let Ok(heads) = view.heads(entity) else { return Ok(true) };
    let Some(head) = heads.list.iter().find(|h| h.writer.reference == at.writer.reference) else {
        return Ok(true);
    };
    let content = view.content(at)?;
    // mostly they have the same bytes, so that nothing has to be read
    let same_bytes = match (&head.state, &content) {
        (HeadState::Inline(bytes), Stored::Live(state)) => *inline(state, &at.writer) == **bytes,
        _ => false,
    };
    if same_bytes {
        return Ok(at.writer == head.writer && view.as_head(at)?.derived == head.derived);
    }
    let same_content = match (view.head_content(entity, head)?, content) {
        (Stored::Live(a), Stored::Live(b)) => a == b,
        (Stored::Tombstone, Stored::Tombstone) | (Stored::Absent, Stored::Absent) => true,
        _ => false,
    };
    Ok(same_content && at.writer == head.writer && view.as_head(at)?.derived == head.derived)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Problem;
    use crate::{Content, Patch};

    fn engine() -> Engine {
        let engine = Engine::builder().label("verify").local_type("draft").in_memory().unwrap();
        let ids: Vec<EntityId> = (0..40)
            .map(|n| {
                let kind = if n % 5 == 0 { "draft" } else { "note" };
                engine.write(|tx| tx.create(kind, &Content::new().with("n", n))).unwrap()
            })
            .collect();
        for id in ids.iter().step_by(3) {
            engine.write(|tx| tx.patch(*id, Patch::new().set("n", -1))).unwrap();
        }
        engine
    }

    #[test]
    fn entities_in_parts_give_the_same_as_all_at_once() {
        let engine = engine();
        let mut told = Vec::new();
        let mut progress = |p: VerifyProgress| {
            told.push(p);
            ControlFlow::Continue(())
        };
        let parts = verify(&engine.snapshot().unwrap(), BTreeSet::new(), 7, &mut progress).unwrap();
        let whole = engine.verify().unwrap();
        assert_eq!(format!("{parts:?}"), format!("{whole:?}"));
        assert_eq!((whole.entities, whole.problems.len()), (40, 0));
        let last = told.last().unwrap();
        assert_eq!((last.commits, last.of), (54 * 6, 54 * 6));
    }

    #[test]
    fn it_can_be_broken_off() {
        let outcome = engine().verify_with(|_| ControlFlow::Break(()));
        assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    }

    #[test]
    fn a_problem_names_the_entity_of_its_row() {
        let id = EntityId::from_bytes([0xa5; 16]);
        let at = |table, key: String| Problem { table, key, what: String::new() }.entity();
        assert_eq!(at(Table::Heads, id.to_string()), Some(id));
        assert_eq!(at(Table::ByType, format!("00000001{}", "a5".repeat(16))), Some(id));
        assert_eq!(at(Table::Heads, "all".into()), None);
        assert_eq!(at(Table::Log, "a5".repeat(16)), None);
    }
}
