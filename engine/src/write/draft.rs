//! A commit of an import in the making.

use std::collections::BTreeMap;

use heirloom_core::fold::{Head, Planned, Tail};
use heirloom_core::format::serde::to_content;
use heirloom_core::merge::StaleWrite;
use heirloom_core::model::{
    Clock, ClockEntry, CommitRef, Content, EntityId, Kind, Line, Metadata, Patch, Sequence,
    Timestamp, VersionRef,
};
use serde::Serialize;

use super::import::{Authored, Device, FLUSH, Importer, heads_in};
use super::staged::{StagedEntity, content_leaves, patch_body};
use crate::error::{Error, ImportFault, Result, Table};
use crate::read::Version;
use crate::store::{LogEntry, View};

/// A commit in the making. Dropped without [`finish`](Self::finish) it never was.
pub struct Draft<'a> {
    importer: &'a mut Importer,
    device: Device,
    past: Clock,
    refs: Vec<CommitRef>,
    wall: Timestamp,
    metadata: Metadata,
    staged: BTreeMap<EntityId, StagedEntity>,
    order: Vec<EntityId>,
}

impl Draft<'_> {
    /// What the commit's author has seen.
    pub fn past(&self) -> &Clock {
        &self.past
    }

    /// The heads of an entity in that past.
    pub fn heads(&self, entity: EntityId) -> Result<Vec<Version>> {
        self.importer.heads(&self.past, entity)
    }

    /// The content of a version.
    pub fn content(&self, version: &VersionRef) -> Result<Option<Content>> {
        self.importer.content(version)
    }

    /// Words about the commit.
    pub fn metadata(&mut self, metadata: Metadata) -> &mut Self {
        self.metadata = metadata;
        self
    }

    /// Brings an entity into being. [`Error::Exists`] if it is in the past.
    pub fn create<T: Serialize + ?Sized>(
        &mut self,
        entity: EntityId,
        entity_type: &str,
        content: &T,
    ) -> Result<()> {
        let parents = self.parents(entity)?;
        if !parents.is_empty() {
            let deleted = parents.iter().all(Head::is_tombstone);
            return Err(self.importer.refused(Error::Exists { entity, deleted }));
        }
        self.put(entity, entity_type, content)
    }

    /// Gives an entity this whole content: creates it, or replaces all its heads in the past (over
    /// tombstones alone, a restore). Fields that stand so already keep their writers; if all do,
    /// under one head, no version is written.
    pub fn put<T: Serialize + ?Sized>(
        &mut self,
        entity: EntityId,
        entity_type: &str,
        content: &T,
    ) -> Result<()> {
        let leaves = content_leaves(&to_content(content)?)?;
        let parents = self.parents(entity)?;
        let deleted = !parents.is_empty() && parents.iter().all(Head::is_tombstone);
        let mut staged = if parents.is_empty() {
            StagedEntity::creation(entity_type)
        } else {
            self.importer.with_view(|view| StagedEntity::over(view, entity, parents))?
        };
        if deleted {
            staged.kind = Kind::Restore;
        }
        staged.replace(leaves);
        self.stage(entity, staged)
    }

    /// Writes an entity as a whole if its heads in the past are exactly these; else
    /// [`Error::Stale`].
    pub fn put_expecting<T: Serialize + ?Sized>(
        &mut self,
        entity: EntityId,
        entity_type: &str,
        expected: &[VersionRef],
        content: &T,
    ) -> Result<()> {
        let mut found: Vec<_> = self.parents(entity)?.iter().map(|h| h.writer.reference).collect();
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort();
        if found != expected {
            let fields = Vec::new();
            let stale = StaleWrite::new(entity, expected, found, false, fields);
            return Err(self.importer.refused(Error::Stale(Box::new(stale))));
        }
        self.put(entity, entity_type, content)
    }

    /// Changes some fields, over all heads in the past.
    pub fn patch(&mut self, entity: EntityId, patch: Patch) -> Result<()> {
        let body = patch_body(&patch)?;
        let parents = self.parents(entity)?;
        if parents.is_empty() {
            return Err(self.importer.refused(Error::NotFound(entity)));
        }
        if parents.iter().any(Head::is_tombstone) {
            return Err(self.importer.refused(Error::Deleted(entity)));
        }
        let mut staged =
            self.importer.with_view(|view| StagedEntity::over(view, entity, parents))?;
        staged.check_inside(&patch)?;
        staged.patch(body);
        self.stage(entity, staged)
    }

    /// Deletes an entity, over all its heads in the past.
    pub fn delete(&mut self, entity: EntityId) -> Result<()> {
        let parents = self.parents(entity)?;
        if parents.is_empty() {
            return Err(self.importer.refused(Error::NotFound(entity)));
        }
        self.stage(entity, StagedEntity::deletion(parents))
    }

    fn parents(&self, entity: EntityId) -> Result<Vec<Head>> {
        self.importer.with_view(|view| heads_in(view, &self.past, entity)).map(|h| h.list)
    }

    fn stage(&mut self, entity: EntityId, staged: StagedEntity) -> Result<()> {
        if self.staged.contains_key(&entity) {
            return Err(Error::AlreadyChanged(entity));
        }
        self.staged.insert(entity, staged);
        self.order.push(entity);
        Ok(())
    }

    /// How many versions it will have.
    pub fn len(&self) -> usize {
        self.staged.values().filter(|s| s.says_something()).count()
    }

    /// Whether it would have none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Authors the commit, or finds that it is here already. It becomes durable with others: by
    /// size, or by [`Importer::flush`].
    ///
    /// # Errors
    /// [`ImportFault::Empty`] without a version; [`Invalid::Limit`](crate::Invalid::Limit);
    /// [`ImportFault::Differs`] if the store has another commit in its place. Nothing was imported
    /// then.
    pub fn finish(mut self) -> Result<Authored> {
        let mut plan = Vec::with_capacity(self.order.len());
        for entity in std::mem::take(&mut self.order) {
            if let Some(staged) = self.staged.remove(&entity).filter(StagedEntity::says_something) {
                plan.push(staged.into_planned(entity));
            }
        }
        if plan.is_empty() {
            return Err(ImportFault::Empty.into());
        }
        let versions = plan.len();
        let appended = self.append(plan);
        let (commit, stamp, new, batch) = appended.map_err(|e| self.importer.refused(e))?;
        if let Some(batch) = batch {
            self.importer.engine.store().flush(batch)?;
        }
        let mut clock = self.past;
        clock.advance(
            commit.log,
            ClockEntry { sequence: commit.sequence, stamp: Timestamp::of(stamp) },
        );
        Ok(Authored { commit, clock, new, versions })
    }

    /// → the commit, its stamp, whether it is new, and the batch to flush if enough has gathered.
    fn append(&mut self, plan: Vec<Planned>) -> Result<(CommitRef, u64, bool, Option<u64>)> {
        let store = self.importer.engine.store();
        let device = &self.importer.devices[self.device.0];
        let mut writer = store.writer()?;
        let line = match store.directory.first_line(device.log) {
            Some(line) => line,
            None => store.directory.add_log(device.log, &device.genesis_bytes, &device.genesis),
        };
        let view = store.writer_view(&writer)?;
        let refs = self.refs(&view, line, &plan)?;
        let wall = self.wall.saturated().max(device.wall);
        let tail = Tail { log: device.log, line, before: device.before };
        let mut new = view.author(&tail, wall, refs, &self.metadata, plan)?;
        let header = &new.header;
        let commit =
            CommitRef { log: device.log, sequence: header.last(), prefix: new.chain.prefix() };
        let stamp = header.wall + header.excess;
        let known = view.commit_at(line, header.first)?;
        if known.as_ref().is_some_and(|r| r.chain != new.chain) {
            let reference =
                VersionRef { log: device.log, sequence: header.first, prefix: new.chain.prefix() };
            return Err(ImportFault::Differs(reference).into());
        }
        if known.is_none() {
            let folded = new.fold(&view, &tail, device.wall)?;
            let mut places = Vec::with_capacity(new.header.refs.len());
            for r in &new.header.refs {
                places
                    .extend(view.line_of(r.log, r.sequence, r.prefix)?.map(|at| (at, r.sequence)));
            }
            store.append(&mut writer, &LogEntry::of(&new, line, &places), folded);
        }
        let device = &mut self.importer.devices[self.device.0];
        device.before = (commit.sequence, new.chain);
        device.wall = wall;
        let flush = (writer.pending.bytes > FLUSH).then_some(writer.batch);
        Ok((commit, stamp, known.is_none(), flush))
    }

    /// The refs that were asked for, and for a parent on another log the last commit of that log in
    /// the past.
    fn refs(&self, view: &View<'_>, own: Line, plan: &[Planned]) -> Result<Vec<CommitRef>> {
        let mut refs = self.refs.clone();
        for head in plan.iter().flat_map(|p| &p.parents).filter(|h| h.writer.line != own) {
            let log = head.writer.reference.log;
            if refs.iter().any(|r| r.log == log) {
                continue;
            }
            let upto = self.past.get(log).map_or(Sequence::START, |e| e.sequence);
            let missing =
                || Error::corrupt(Table::Log, head.writer.reference, "a version is missing");
            refs.push(view.commit_on(head.writer.line, upto)?.ok_or_else(missing)?.reference(log));
        }
        Ok(refs)
    }
}

impl Importer {
    /// Begins a commit of a device that had seen `past` (and its own commits before). Its wall is
    /// `wall`, raised to that of the device's commit before; its stamp follows.
    pub fn commit(
        &mut self,
        device: Device,
        past: &[&Authored],
        wall: Timestamp,
    ) -> Result<Draft<'_>> {
        let log = self.devices.get(device.0).ok_or(ImportFault::ForeignDevice)?;
        let own = (log.log, log.before);
        let mut seen = Clock::new();
        for a in past {
            seen.merge(&a.clock);
        }
        let before = CommitRef { log: own.0, sequence: own.1.0, prefix: own.1.1.prefix() };
        let mut own_clock = None;
        if before.sequence > Sequence::START && !seen.covers(own.0, before.sequence) {
            let store = self.engine.store();
            let clock = crate::store::clock_at(&store.writer_view(&*store.writer()?)?, &before)?;
            seen.merge(&clock);
            own_clock = Some(clock);
        }
        if seen.get(own.0).is_some_and(|e| e.sequence > before.sequence) {
            return Err(ImportFault::PastOutOfOrder.into());
        }
        // only the maximal ones are refs: the others are in their past
        let covered = |c: &CommitRef| {
            let by_other = past.iter().any(|o| o.commit != *c && o.clock.covers(c.log, c.sequence));
            by_other || own_clock.as_ref().is_some_and(|k| k.covers(c.log, c.sequence))
        };
        let refs =
            past.iter().map(|a| a.commit).filter(|c| c.log != own.0 && !covered(c)).collect();
        Ok(Draft {
            importer: self,
            device,
            past: seen,
            refs,
            wall,
            metadata: Metadata::new(),
            staged: BTreeMap::new(),
            order: Vec::new(),
        })
    }
}
