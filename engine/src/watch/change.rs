//! One change: what became of an entity.

use std::fmt;
use std::sync::{Arc, Weak};

use heirloom_core::fold::{Dot, Head, Heads};
use heirloom_core::model::{
    CommitRef, EntityId, Kind, LogId, Lsn, Metadata, Timestamp, VersionId, VersionRef,
};

use super::cursor::Cursor;
use crate::engine::{Engine, Inner};
use crate::error::{Error, Result, Table};
use crate::read::{Entity, Origin, entity_of};
use crate::store::{At, View};

/// The types of an entity: now, and before and after a change where that may be another.
pub(super) struct Types {
    pub(super) now: Arc<str>,
    pub(super) turn: Option<(Type, Type)>,
}

/// Nothing where there is no entity.
pub(super) type Type = Option<Arc<str>>;

/// What a change did to its entity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChangeKind {
    /// Brought it into being.
    Create,
    /// Changed it.
    Update,
    /// Brought several heads together: an update with several parents.
    Merge,
    /// Deleted it.
    Delete,
    /// Brought back an earlier content.
    Restore,
}

/// One version in the change log. Holds nothing open: contents are read when they are asked for,
/// and an engine that is dropped or closed meanwhile is [`Error::Closed`] then.
#[derive(Clone)]
pub struct Change {
    pub(super) engine: Weak<Inner>,
    pub(super) at: At,
    pub(super) log: LogId,
    pub(super) device: String,
    pub(super) kind: Kind,
    pub(super) entity_type: Arc<str>,
    pub(super) type_before: Option<Arc<str>>,
    pub(super) local: bool,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Change");
        out.field("kind", &self.kind())
            .field("entity", &self.entity())
            .field("version", &self.version());
        out.finish_non_exhaustive()
    }
}

impl Change {
    pub(super) fn new(
        engine: &Engine,
        view: &View<'_>,
        at: At,
        kind: Kind,
        types: Types,
    ) -> Result<Self> {
        let Types { now: entity_type, turn } = types;
        let turned = turn.filter(|(was, became)| was != became);
        let type_before = turned.and_then(|(was, _)| was);
        let line = at.record.line;
        let log = view.log_id(line)?;
        let device = view.directory.device(line, at.record.header.last());
        let local = engine.store().wrote(view, line, at.record.header.last())?;
        let engine = Arc::downgrade(&engine.inner);
        Ok(Self { engine, at, log, device, kind, entity_type, type_before, local })
    }

    /// Where to go on after it.
    pub fn cursor(&self) -> Cursor {
        Cursor::past_version(&self.at.record, self.at.index)
    }

    /// What it did.
    pub fn kind(&self) -> ChangeKind {
        match self.kind {
            Kind::Create => ChangeKind::Create,
            Kind::Update if self.at.header().parents.len() > 1 => ChangeKind::Merge,
            Kind::Update => ChangeKind::Update,
            Kind::Delete => ChangeKind::Delete,
            Kind::Restore => ChangeKind::Restore,
        }
    }

    /// The entity that it changed.
    pub fn entity(&self) -> EntityId {
        self.at.header().entity
    }

    /// The type of that entity, as it was known when this was read.
    pub fn entity_type(&self) -> &str {
        &self.entity_type
    }

    /// The type that the entity had here before, if this change gave it another one: two devices
    /// created it apart, each with a type of its own, and the creation that comes first in the
    /// order of writes came here second. Nothing for all other changes.
    pub fn type_before(&self) -> Option<&str> {
        self.type_before.as_deref()
    }

    /// The version.
    pub fn version(&self) -> VersionRef {
        self.at.writer.reference
    }

    /// The version's name for people.
    pub fn id(&self) -> Result<VersionId> {
        Ok(VersionId::new(self.stamp(), &*self.device, self.version().sequence)?)
    }

    /// The commit that brought it: changes of one commit stand together.
    pub fn commit(&self) -> CommitRef {
        self.at.record.reference(self.log)
    }

    /// The device that wrote it.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The log that it lies in.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// When, as writes are ordered.
    pub fn stamp(&self) -> Timestamp {
        Timestamp::of(self.at.writer.stamp)
    }

    /// When, by its device's clock.
    pub fn wall(&self) -> Timestamp {
        Timestamp::of(self.at.record.header.wall)
    }

    /// Whether it was written through this file; imports and all that sync brought were not. A
    /// store that was copied takes its original's past for its own; what the other copy wrote
    /// afterwards is remote, in whatever log it lies.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// What its commit says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.at.record.header.metadata
    }

    /// What its author saw of the entity before: what its parents together show under the policy of
    /// its type. Nothing for a creation, and where they show it as deleted. What this store showed
    /// is [`shown_before`](Self::shown_before).
    ///
    /// Reads at most 32 commits for each line of parents. [`Error::Absent`] where a parent's
    /// content is not here; [`Error::Closed`].
    pub fn before(&self) -> Result<Option<Entity>> {
        self.shown(|view| {
            let missing = |(o, s): Dot| {
                Error::corrupt(Table::Log, format!("{o}/{s}"), "a version is missing")
            };
            let parents = view.parents(&self.at)?;
            let head = |dot| view.as_head(&view.version(dot)?.ok_or_else(|| missing(dot))?);
            parents.into_iter().map(|dot| Ok(Head::clone(&*head(dot)?))).collect()
        })
    }

    /// The entity as this version has it, whatever else was written meanwhile; conflicts that were
    /// open then are shown by the policy of its type. Nothing for a tombstone. What this store
    /// showed is [`shown_after`](Self::shown_after).
    ///
    /// Reads at most 32 commits for each line of parents. [`Error::Absent`] where the content is
    /// not here; [`Error::Closed`].
    pub fn after(&self) -> Result<Option<Entity>> {
        self.shown(|view| Ok(vec![Head::clone(&*view.as_head(&self.at)?)]))
    }

    /// What this store showed of the entity before the change came here: of all versions that were
    /// here by then together, whatever the change's author had seen. Nothing where there were none,
    /// or they showed it as deleted.
    ///
    /// Costs a look at each version of the entity that came here since. [`Error::Absent`] where a
    /// content that it takes is not here, [`Error::PolicyFailed`], [`Error::Corrupt`],
    /// [`Error::Closed`].
    pub fn shown_before(&self) -> Result<Option<Entity>> {
        self.shown_at(self.lsn())
    }

    /// What this store showed of the entity once the change had come here: the version merged with
    /// those that its author had not seen. Costs and errors as for
    /// [`shown_before`](Self::shown_before).
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Lsn, Patch};
    /// # let [phone, tablet] = ["phone", "tablet"]
    /// #     .map(|l| Engine::builder().label(l).dataset_name("home").in_memory().unwrap());
    /// # let carry = |from: &Engine, to: &Engine| {
    /// #     let (all, sent) = (&|_, _, _| true, from.replication());
    /// #     let batch = sent.commits(Lsn::START, Lsn::END, all, usize::MAX).unwrap();
    /// #     let commits: Vec<&[u8]> = batch.commits.iter().map(|c| &c.bytes[..]).collect();
    /// #     to.replication().ingest(&commits).unwrap();
    /// # };
    /// let off = Content::new().with("plugged", false).with("on", false);
    /// let lamp = phone.write(|tx| tx.create("lamp", &off))?;
    /// # carry(&phone, &tablet);
    /// let is = |e: &heirloom::Entity, f: &str| e.get(f).is_ok_and(|v| v == Some(true.into()));
    /// let shines = move |lamp: &heirloom::Entity| is(lamp, "plugged") && is(lamp, "on");
    /// let mut shining = phone.subscribe()?.matching(shines);
    /// phone.write(|tx| tx.patch(lamp, Patch::new().set("plugged", true)))?;
    /// tablet.write(|tx| tx.patch(lamp, Patch::new().set("on", true)))?;
    /// # carry(&tablet, &phone);
    /// // neither of the two wrote a lamp that shines; together they did
    /// let change = shining.next()?;
    /// assert!(!shines(&change.after()?.unwrap()) && shines(&change.shown_after()?.unwrap()));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn shown_after(&self) -> Result<Option<Entity>> {
        self.shown_at(self.lsn().next())
    }

    /// What was shown when all before that place was here.
    fn shown_at(&self, end: Lsn) -> Result<Option<Entity>> {
        self.shown(|view| {
            let now = view.heads(self.entity())?;
            Ok(view.heads_at(self.entity(), &now, end)?.list)
        })
    }

    pub(crate) fn engine(&self) -> Result<Engine> {
        Ok(Engine { inner: self.engine.upgrade().ok_or(Error::Closed)? })
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.at.record.lsn
    }

    /// What some versions together show.
    fn shown(&self, heads: impl FnOnce(&View<'_>) -> Result<Vec<Head>>) -> Result<Option<Entity>> {
        let engine = self.engine()?;
        // of any later state: versions stay as they are
        let tables = engine.store().tables()?;
        let view = engine.store().view(&tables);
        let mut list = heads(&view)?;
        list.sort_by_key(|h| h.writer.reference);
        shown(&self.engine, &view, self.entity(), list)
    }
}

/// What some heads together show; nothing where that is a deletion, or there are none.
pub(crate) fn shown(
    origin: &Origin,
    view: &View<'_>,
    id: EntityId,
    list: Vec<Head>,
) -> Result<Option<Entity>> {
    let entity = entity_of(origin, view, id, &Heads { list, ..Heads::default() })?;
    Ok(entity.filter(|e| !e.is_deleted()))
}
