//! One consistent state, and all that can be read of it.

use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Bound;
use std::sync::Arc;

use heirloom_core::fold::{Dot, Stored};
use heirloom_core::format::hash;
use heirloom_core::model::{
    Clock, Content, EntityId, Line, LogRoot, StateDigest, TypeNumber, VersionRef,
};
use heirloom_core::replica::End;

use super::entity::{Entity, Origin};
use super::version::Version;
use crate::engine::Engine;
use crate::error::{Error, Result, Table};
use crate::store;
use crate::store::{At, Tables, View, ends_by, see_line, type_key};

/// One consistent state over all entities. Never blocks a writer, is never blocked. While it
/// lives, redb keeps the pages that it can see, and the file grows by what is rewritten meanwhile:
/// hold it for a task, not for a session.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) engine: Engine,
    pub(crate) tables: Arc<Tables>,
}

impl Snapshot {
    pub(crate) fn new(engine: Engine, tables: Arc<Tables>) -> Self {
        Self { engine, tables }
    }

    pub(crate) fn origin(&self) -> Origin {
        Arc::downgrade(&self.engine.inner)
    }

    pub(crate) fn view(&self) -> View<'_> {
        self.engine.store().view(&self.tables)
    }

    /// An entity as the policy of its type shows it; nothing if it is unknown or shown as
    /// deleted. One look-up, from memory if it was read lately.
    ///
    /// [`Error::Absent`] where the content is not here, [`Error::PolicyFailed`].
    pub fn get(&self, id: EntityId) -> Result<Option<Entity>> {
        Ok(self.get_any(id)?.filter(|e| !e.is_deleted()))
    }

    /// An entity, shown as deleted or not; nothing where it is unknown. Costs and errors are those
    /// of [`get`](Self::get).
    pub fn get_any(&self, id: EntityId) -> Result<Option<Entity>> {
        Ok(self.view().entity(id)?.map(|seen| Entity(seen, self.origin())))
    }

    /// Entities of a type, in order of their ids.
    ///
    /// ```
    /// # use heirloom::{Content, Engine};
    /// # let engine = Engine::in_memory()?;
    /// # engine.write(|tx| {
    /// #     for i in 0..5 {
    /// #         tx.create("lamp", &Content::new().with("n", i))?;
    /// #     }
    /// #     Ok::<_, heirloom::Error>(())
    /// # })?;
    /// let snapshot = engine.snapshot()?;
    /// let page: Vec<_> = snapshot.list("lamp").limit(3).entities()?;
    /// let next: Vec<_> = snapshot.list("lamp").after(page[2].id()).entities()?;
    /// assert_eq!((page.len(), next.len(), snapshot.list("lamp").count()?), (3, 2, 5));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn list(&self, entity_type: &str) -> Listing<'_> {
        Listing {
            snapshot: self,
            entity_type: entity_type.to_owned(),
            after: None,
            prefix: Vec::new(),
            limit: usize::MAX,
            deleted: false,
        }
    }

    /// The ids of all entities, deleted ones too, in order.
    pub fn entity_ids(&self) -> Result<impl Iterator<Item = Result<EntityId>> + use<>> {
        let rows = self.tables.heads.range::<&[u8]>(..)?;
        Ok(rows.map(|row| entity_id(Table::Heads, row?.0.value())))
    }

    /// Entities that are diverged or have undecided fields, in order of their ids.
    pub fn unsettled(&self) -> Result<impl Iterator<Item = Result<EntityId>> + use<>> {
        let rows = self.tables.unsettled.range::<&[u8]>(..)?;
        Ok(rows.map(|row| entity_id(Table::Unsettled, row?.0.value())))
    }

    /// The versions of an entity that have no child. Several: it diverged.
    pub fn heads(&self, id: EntityId) -> Result<Vec<Version>> {
        let view = self.view();
        let heads = view.heads(id)?;
        heads.list.iter().map(|h| self.version(&h.writer.reference)).collect()
    }

    /// All versions of an entity, newest first in the order of writes, so after their children (but
    /// for stamps at the last moment of the year 9999, where the order is by log). Each step reads
    /// a commit.
    /// ```
    /// # use heirloom::{Content, Engine, Patch};
    /// # let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("brightness", 40)))?;
    /// engine.write(|tx| tx.patch(lamp, Patch::new().set("brightness", 80)))?;
    /// let snapshot = engine.snapshot()?;
    /// let mut was = Vec::new();
    /// for version in snapshot.history(lamp)? {
    ///     let version = version?;
    ///     println!("{}: {:?} by {}", version.stamp(), version.kind(), version.device());
    ///     let content = snapshot.content_at(&version.reference())?;
    ///     was.extend(content.and_then(|c| c.get("brightness").cloned()));
    /// }
    /// assert_eq!(was, [80.into(), 40.into()]);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn history(&self, id: EntityId) -> Result<History<'_>> {
        let view = self.view();
        let mut todo = BinaryHeap::new();
        let mut seen = BTreeSet::new();
        for head in &view.heads(id)?.list {
            let dot = (head.writer.line, head.writer.reference.sequence);
            seen.insert(dot);
            todo.push((head.writer.key(), dot));
        }
        Ok(History { snapshot: self, todo, seen })
    }

    /// A version by its ref. [`Error::NotHere`] if it is not here.
    pub fn version(&self, reference: &VersionRef) -> Result<Version> {
        let view = self.view();
        let at = self.at(&view, reference)?;
        let parents =
            if at.record.void_of(at.index).is_some() { Vec::new() } else { view.parents(&at)? };
        Version::new(&view, &at, &parents)
    }

    /// The content of a version, as it was written; conflicts that were open then are shown as
    /// `auto` does. Nothing for a tombstone.
    ///
    /// Reads at most 32 commits for each line of parents. [`Error::NotHere`] if the version is not
    /// here, [`Error::Absent`] if its content is not.
    pub fn content_at(&self, reference: &VersionRef) -> Result<Option<Content>> {
        let view = self.view();
        match view.content(&self.at(&view, reference)?)? {
            Stored::Live(state) => {
                let shown = heirloom_core::merge::show(&state);
                Ok(Some(heirloom_core::merge::unflatten(
                    shown.iter().map(|s| (s.path.as_ref(), &*s.entry.value)),
                )))
            }
            Stored::Tombstone => Ok(None),
            Stored::Absent => Err(Error::Absent(*reference)),
        }
    }

    pub(crate) fn at(&self, view: &View<'_>, reference: &VersionRef) -> Result<At> {
        let none = || Error::NotHere { log: reference.log, sequence: reference.sequence };
        view.version_by(reference)?.ok_or_else(none)
    }

    /// How far into each log that travels. A branch of a log that forked counts as one, under the
    /// branch's name.
    pub fn clock(&self) -> Result<Clock> {
        let view = self.view();
        let mut out = Clock::new();
        for line in view.directory.all_shared() {
            if let Some(tip) = view.tip(line)? {
                see_line(&view, line, tip.header.last(), &mut out)?;
            }
        }
        Ok(out)
    }

    /// Hash over all commits that travel.
    pub fn log_root(&self) -> Result<LogRoot> {
        Ok(hash::log_root(self.ends()?.into_iter().map(|e| (e.log, e.sequence, e.chain))))
    }

    /// The ends of all logs that travel, in order of their ids.
    pub(crate) fn ends(&self) -> Result<Vec<End>> {
        let view = self.view();
        ends_by(&view, |line| view.tip(line))
    }

    /// Sum over the heads of all entities that travel. Reads one record.
    pub fn state_digest(&self) -> Result<StateDigest> {
        Ok(self.view().checkpoint(self.tables.end()?)?.map_or(StateDigest::ZERO, |c| c.digest))
    }

    /// Ordinals of the logs whose last commit no other refers to.
    pub(crate) fn frontier(&self) -> Result<BTreeSet<Line>> {
        let checkpoint = self.view().checkpoint(self.tables.end()?)?;
        Ok(checkpoint.into_iter().flat_map(|c| c.frontier).collect())
    }

    /// How many commits are here, local ones too.
    pub fn commits(&self) -> Result<u64> {
        Ok(self.tables.end()?.get())
    }
}

pub(crate) fn entity_id(table: Table, key: &[u8]) -> Result<EntityId> {
    let bytes =
        key.try_into().map_err(|_| Error::corrupt(table, store::hex(key), "not an entity id"))?;
    Ok(EntityId::from_bytes(bytes))
}

/// Entities of one type, to be narrowed down and then read.
#[derive(Clone)]
#[must_use = "a listing does nothing until it is read"]
pub struct Listing<'a> {
    snapshot: &'a Snapshot,
    entity_type: String,
    after: Option<EntityId>,
    prefix: Vec<u8>,
    limit: usize,
    deleted: bool,
}

impl<'a> Listing<'a> {
    /// Only ids after this one: the next page.
    pub fn after(mut self, id: EntityId) -> Self {
        self.after = Some(id);
        self
    }

    /// Only ids that begin with these bytes.
    pub fn prefix(mut self, bytes: &[u8]) -> Self {
        self.prefix = bytes.to_vec();
        self
    }

    /// At most so many.
    pub fn limit(mut self, most: usize) -> Self {
        self.limit = most;
        self
    }

    /// Deleted ones too.
    /// ```
    /// # use heirloom::{Content, Engine};
    /// # let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// engine.write(|tx| tx.delete(lamp))?;
    /// let snapshot = engine.snapshot()?;
    /// assert_eq!(snapshot.list("lamp").count()?, 0);
    /// let bin = snapshot.list("lamp").include_deleted().entities()?;
    /// assert!(bin[0].id() == lamp && bin[0].is_deleted());
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn include_deleted(mut self) -> Self {
        self.deleted = true;
        self
    }

    /// Reads them one by one, each with its id, also where it cannot be shown.
    pub(crate) fn read(
        self,
    ) -> Result<impl Iterator<Item = Result<(EntityId, Result<Entity>)>> + 'a> {
        let view = self.snapshot.view();
        let (from, to) = self.bounds(view.type_number(&self.entity_type)?);
        let bounds = (from.as_ref().map(|k| &k[..]), to.as_ref().map(|k| &k[..]));
        let rows = self.snapshot.tables.by_type.range::<&[u8]>(bounds)?;
        let Listing { snapshot, deleted, limit, .. } = self;
        let entities = rows.filter_map(move |row| {
            let id = || entity_id(Table::ByType, row?.0.value().get(4..).unwrap_or_default());
            let shown = |id| {
                snapshot.get_any(id).map(|e| e.filter(|e| deleted || !e.is_deleted())).transpose()
            };
            id().map(|id| shown(id).map(|e| (id, e))).transpose()
        });
        Ok(entities.take(limit))
    }

    /// Reads them all. Where one cannot be shown that is the error of all; read one by one the
    /// others follow it.
    pub fn entities(self) -> Result<Vec<Entity>> {
        self.into_iter().collect()
    }

    /// How many there are. Reads the heads of each, not its content, unless it is diverged or in
    /// conflict.
    pub fn count(&self) -> Result<u64> {
        let view = self.snapshot.view();
        let (from, to) = self.bounds(view.type_number(&self.entity_type)?);
        let bounds = (from.as_ref().map(|k| &k[..]), to.as_ref().map(|k| &k[..]));
        let mut count = 0;
        for row in self.snapshot.tables.by_type.range::<&[u8]>(bounds)? {
            if count == self.limit as u64 {
                break;
            }
            let id = entity_id(Table::ByType, row?.0.value().get(4..).unwrap_or_default())?;
            let heads = view.heads(id)?;
            // what a policy shows of those that are open cannot be told from their heads alone
            let counts = match &heads.list[..] {
                _ if self.deleted => true,
                [only] if !heads.unsettled => !only.is_tombstone(),
                _ => self.snapshot.get(id)?.is_some(),
            };
            count += u64::from(counts);
        }
        Ok(count)
    }

    fn bounds(&self, entity_type: Option<TypeNumber>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let Some(line) = entity_type else {
            return (Bound::Included(vec![]), Bound::Excluded(vec![]));
        };
        let mut from = line.get().to_be_bytes().to_vec();
        from.extend_from_slice(&self.prefix);
        let to = match successor(&from) {
            Some(to) => Bound::Excluded(to),
            None => Bound::Unbounded,
        };
        let start = match self.after.map(|id| type_key(line, id).to_vec()) {
            Some(after) if after >= from => Bound::Excluded(after),
            _ => Bound::Included(from),
        };
        // redb does not take a range that ends before it begins
        match (&start, &to) {
            (Bound::Excluded(a), Bound::Excluded(b)) if a >= b => {
                (Bound::Included(vec![]), Bound::Excluded(vec![]))
            }
            _ => (start, to),
        }
    }
}

impl<'a> IntoIterator for Listing<'a> {
    type Item = Result<Entity>;
    type IntoIter = Box<dyn Iterator<Item = Result<Entity>> + 'a>;

    /// Reads them one by one.
    fn into_iter(self) -> Self::IntoIter {
        match self.read() {
            Ok(entities) => Box::new(entities.map(|found| found?.1)),
            Err(e) => Box::new(std::iter::once(Err(e))),
        }
    }
}

/// The least key after all that begin with `prefix`.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != u8::MAX)?;
    let mut out = prefix[..=last].to_vec();
    out[last] += 1;
    Some(out)
}

/// The versions of an entity, newest first.
pub struct History<'a> {
    snapshot: &'a Snapshot,
    todo: BinaryHeap<((u64, VersionRef), Dot)>,
    seen: BTreeSet<Dot>,
}

impl Iterator for History<'_> {
    type Item = Result<Version>;

    fn next(&mut self) -> Option<Self::Item> {
        let (_, dot) = self.todo.pop()?;
        Some(self.step(dot))
    }
}

impl History<'_> {
    fn step(&mut self, dot: Dot) -> Result<Version> {
        let view = self.snapshot.view();
        let missing =
            || Error::corrupt(Table::Log, format!("{}/{}", dot.0, dot.1), "a version is missing");
        let at = view.version(dot)?.ok_or_else(missing)?;
        let parents = view.parents(&at)?;
        for parent in &parents {
            if self.seen.insert(*parent) {
                let at = view.version(*parent)?.ok_or_else(missing)?;
                self.todo.push((at.writer.key(), *parent));
            }
        }
        Version::new(&view, &at, &parents)
    }
}

impl Engine {
    /// One consistent state over all entities, as of the last durable commit. Costs nothing;
    /// never blocks a writer. While it lives, redb keeps the pages that it can see: drop it when
    /// done.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(self.clone(), self.store().tables()?))
    }

    /// How far this store is into each log. Costs a look-up a log.
    pub fn clock(&self) -> Result<Clock> {
        self.snapshot()?.clock()
    }

    /// Hash over all commits: equal log roots prove equal logs. Costs a look-up a log.
    pub fn log_root(&self) -> Result<LogRoot> {
        self.snapshot()?.log_root()
    }

    /// Sum over all heads.
    pub fn state_digest(&self) -> Result<StateDigest> {
        self.snapshot()?.state_digest()
    }
}
