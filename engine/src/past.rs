//! How everything was when somebody had seen exactly so much: the fold of a part of the log (R11).

use std::collections::{BTreeSet, HashMap};

use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::model::{Clock, ClockEntry, CommitRef, EntityId, Timestamp};
use crate::snapshot::{Difference, Snapshot};
use crate::store::{Heads, View};
use crate::transaction::entity_of;
use crate::version::Version;

/// A cut through the logs: by ordinal, how far it goes.
#[derive(Clone, Default)]
pub(crate) struct Cut(HashMap<u32, u64>);

impl Cut {
    pub(crate) fn upto(&self, ordinal: u32) -> u64 {
        self.0.get(&ordinal).copied().unwrap_or(0)
    }

    fn covers(&self, other: &Cut) -> bool {
        other.0.iter().all(|(o, s)| *s <= self.upto(*o))
    }

    /// The cut of a clock whose places are ends of commits here.
    pub(crate) fn of(view: &View<'_>, clock: &Clock) -> Result<Self> {
        let mut cut = HashMap::with_capacity(clock.len());
        for (log, entry) in clock.iter() {
            let none = || {
                Error::invalid(format!("the clock names {log}/{}, which is no commit here", entry.sequence))
            };
            let ordinal = view.directory.ordinal(log).ok_or_else(none)?;
            let record = view.commit_at(ordinal, entry.sequence)?.ok_or_else(none)?;
            if record.header.last() != entry.sequence {
                return Err(Error::invalid(format!(
                    "the clock cuts through commit {log}/{}; end at a commit",
                    record.header.last()
                )));
            }
            cut.insert(ordinal, entry.sequence);
        }
        Ok(Self(cut))
    }

    /// Checks that all that its commits refer to is in it. `closed` is a cut within this one of which that is known.
    fn check_closed(&self, view: &View<'_>, closed: &Cut) -> Result<()> {
        for (ordinal, upto) in &self.0 {
            let mut sequence = *upto;
            while sequence > closed.upto(*ordinal) {
                let Some(record) = view.commit_at(*ordinal, sequence)? else { break };
                for r in &record.header.refs {
                    let known = view.directory.ordinal(r.log);
                    if known.is_none_or(|o| self.upto(o) < r.sequence) {
                        return Err(Error::invalid(format!(
                            "the clock is not causally closed: it has a commit that refers to {r}, and not that one"
                        )));
                    }
                }
                sequence = record.header.first - 1;
            }
        }
        Ok(())
    }
}

/// Cuts that were found to be closed lately; a new one is checked from the largest that lies within it.
#[derive(Default)]
pub(crate) struct ClosedCuts(parking_lot::Mutex<Vec<std::sync::Arc<Cut>>>);

impl ClosedCuts {
    const KEPT: usize = 32;

    fn check(&self, view: &View<'_>, cut: Cut) -> Result<std::sync::Arc<Cut>> {
        let size = |c: &Cut| c.0.values().sum::<u64>();
        let kept: Vec<_> = self.0.lock().clone();
        let within = kept.iter().filter(|c| cut.covers(c)).max_by_key(|c| size(c));
        if let Some(same) = within.filter(|c| c.covers(&cut)) {
            return Ok(same.clone());
        }
        cut.check_closed(view, within.map_or(&Cut::default(), |c| c))?;
        let cut = std::sync::Arc::new(cut);
        let mut kept = self.0.lock();
        if kept.len() >= Self::KEPT {
            kept.remove(0);
        }
        kept.push(cut.clone());
        Ok(cut)
    }
}

/// Everything as of a clock.
pub struct Past<'a> {
    snapshot: &'a Snapshot,
    cut: std::sync::Arc<Cut>,
}

impl<'a> Past<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, clock: &Clock) -> Result<Self> {
        let view = snapshot.view();
        let cut = snapshot.engine.inner.closed_cuts.check(&view, Cut::of(&view, clock)?)?;
        Ok(Self { snapshot, cut })
    }

    fn heads_of(&self, id: EntityId) -> Result<Heads> {
        self.snapshot.view().heads_in(id, &|o| self.cut.upto(o))
    }

    /// An entity as it was shown; nothing if it was unknown or deleted. Costs a look at each of its later versions.
    pub fn get(&self, id: EntityId) -> Result<Option<Entity>> {
        let entity = entity_of(&self.snapshot.view(), id, &self.heads_of(id)?)?;
        Ok(entity.filter(|e| !e.is_deleted()))
    }

    /// The heads that an entity had.
    pub fn heads(&self, id: EntityId) -> Result<Vec<Version>> {
        self.heads_of(id)?.list.iter().map(|h| self.snapshot.version(&h.writer.reference)).collect()
    }

    /// The entities of a type that were there, in order of their ids. Costs a look at all entities that there are now.
    pub fn list(&self, entity_type: &str) -> Result<impl Iterator<Item = Result<Entity>> + use<'_, 'a>> {
        let wanted = self.snapshot.view().directory.type_ordinal(entity_type);
        let ids = self.snapshot.entity_ids()?;
        Ok(ids.filter_map(move |id| {
            let read = || -> Result<Option<Entity>> {
                let id = id?;
                let heads = self.heads_of(id)?;
                if heads.type_ordinal().is_none() || heads.type_ordinal() != wanted {
                    return Ok(None);
                }
                Ok(entity_of(&self.snapshot.view(), id, &heads)?.filter(|e| !e.is_deleted()))
            };
            read().transpose()
        }))
    }
}

pub(crate) fn diff(snapshot: &Snapshot, from: &Clock, to: &Clock) -> Result<Vec<Difference>> {
    let (from, to) = (Past::new(snapshot, from)?, Past::new(snapshot, to)?);
    let view = snapshot.view();
    let mut touched = BTreeSet::new();
    let logs: BTreeSet<u32> = from.cut.0.keys().chain(to.cut.0.keys()).copied().collect();
    for ordinal in logs {
        let (a, b) = (from.cut.upto(ordinal), to.cut.upto(ordinal));
        let mut sequence = a.max(b);
        while sequence > a.min(b) {
            let Some(record) = view.commit_at(ordinal, sequence)? else { break };
            let valid =
                record.header.versions.iter().enumerate().filter(|(i, _)| record.void_of(*i).is_none());
            touched.extend(valid.map(|(_, v)| v.entity));
            sequence = record.header.first - 1;
        }
    }
    let mut out = Vec::new();
    for entity in touched {
        let (before, after) = (from.heads_of(entity)?, to.heads_of(entity)?);
        if before.list.iter().map(|h| h.writer.reference).eq(after.list.iter().map(|h| h.writer.reference)) {
            continue;
        }
        let (before, after) = (entity_of(&view, entity, &before)?, entity_of(&view, entity, &after)?);
        let Some(entity_type) = after.as_ref().or(before.as_ref()).map(|e| e.entity_type.to_string()) else {
            continue;
        };
        let shown = |e: Option<Entity>| e.filter(|e| !e.is_deleted()).map(|e| e.content());
        let change = Difference { entity, entity_type, before: shown(before), after: shown(after) };
        if change.before != change.after {
            out.push(change);
        }
    }
    Ok(out)
}

/// All that a commit's author had seen, the commit included.
pub(crate) fn clock_at(view: &View<'_>, commit: &CommitRef) -> Result<Clock> {
    let none = || Error::invalid(format!("commit {commit} is not here; sync first"));
    let ordinal = view.directory.ordinal(commit.log).ok_or_else(none)?;
    let record = view.commit_at(ordinal, commit.sequence)?.ok_or_else(none)?;
    if record.reference(commit.log) != *commit {
        return Err(none());
    }
    let mut seen: HashMap<u32, u64> = HashMap::new();
    let mut todo = vec![(ordinal, commit.sequence)];
    while let Some((ordinal, upto)) = todo.pop() {
        let done = seen.get(&ordinal).copied().unwrap_or(0);
        let mut sequence = upto;
        while sequence > done {
            let Some(record) = view.commit_at(ordinal, sequence)? else { break };
            for r in &record.header.refs {
                let other = view.directory.ordinal(r.log).ok_or_else(none)?;
                if seen.get(&other).is_none_or(|s| *s < r.sequence) {
                    todo.push((other, r.sequence));
                }
            }
            sequence = record.header.first - 1;
        }
        let entry = seen.entry(ordinal).or_default();
        *entry = upto.max(*entry);
    }
    let mut out = Vec::with_capacity(seen.len());
    for (ordinal, sequence) in seen {
        let record = view.commit_at(ordinal, sequence)?.ok_or_else(none)?;
        let stamp = Timestamp::of(record.header.stamp().unwrap_or(0));
        out.push((view.log_id(ordinal)?, ClockEntry { sequence, stamp }));
    }
    Ok(out.into_iter().collect())
}
