//! The change log: every version that became durable here, in the order of arrival, own and remote
//! alike (R12).

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Weak};

use crate::engine::{Engine, Inner};
use crate::error::{Error, Result};
use crate::read::{Entity, Origin, entity_of};
use crate::store;
use crate::store::{At, Head, Heads, Record, View};
use heirloom_core::error::Invalid;
use heirloom_core::model::{
    CommitRef, EntityId, Kind, LogId, Metadata, Timestamp, VersionId, VersionRef,
};

/// A place in the change log of one store file, to go on from later. Cursors of one file are
/// ordered as its changes are; they mean nothing in another file, and a scan that starts from one
/// there, or in an older copy, notices it: [`Error::CursorLost`].
///
/// As text it is stable and opaque; printing and parsing are inverse.
///
/// ```
/// # use heirloom::{Content, Cursor, Engine};
/// # let engine = Engine::in_memory()?;
/// # engine.write(|tx| tx.create("lamp", &Content::new()))?;
/// let kept: String = engine.cursor()?.to_string();
/// let cursor: Cursor = kept.parse()?;
/// assert_eq!(cursor, engine.cursor()?);
/// assert!(Cursor::START < cursor);
/// # Ok::<(), heirloom::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cursor {
    lsn: u64,
    /// Versions of that commit that are passed.
    index: u32,
    /// Begin of the chain of the last commit of which something is passed; [`UNKNOWN`] where that
    /// one is damaged.
    guard: [u8; 8],
}

/// Such a cursor is taken for one of this file.
const UNKNOWN: [u8; 8] = [0; 8];

impl Cursor {
    /// Before the first change of any file.
    pub const START: Self = Self { lsn: 0, index: 0, guard: [0; 8] };

    /// Past the first so many commits.
    pub(crate) fn after(view: &View<'_>, commits: u64) -> Result<Self> {
        Self::end(view, commits)
    }

    /// How many commits are passed as a whole.
    pub(crate) fn commits(&self) -> u64 {
        self.lsn
    }

    /// Past a whole commit.
    fn past(record: &Record) -> Self {
        Self { lsn: record.lsn + 1, index: 0, guard: guard(record) }
    }

    /// Past one of its versions.
    fn past_version(record: &Record, index: usize) -> Self {
        if index + 1 < record.header.versions.len() {
            Self { lsn: record.lsn, index: index as u32 + 1, guard: guard(record) }
        } else {
            Self::past(record)
        }
    }

    /// At the end of a log of so many commits.
    fn end(view: &View<'_>, commits: u64) -> Result<Self> {
        let Some(last) = commits.checked_sub(1) else { return Ok(Self::START) };
        match view.record(last) {
            Err(e) if e.is_damage() => Ok(Self::past_damaged(last)),
            record => Ok(Self::past(&*record?)),
        }
    }

    fn past_damaged(lsn: u64) -> Self {
        Self { lsn: lsn + 1, index: 0, guard: UNKNOWN }
    }

    /// Whether it does not say what the commit before it was.
    fn is_unknown(&self) -> bool {
        self.lsn > 0 && self.guard == UNKNOWN
    }

    /// Whether it is a place in a log of so many commits.
    fn fits(&self, view: &View<'_>, commits: u64) -> Result<bool> {
        if self.index == 0 {
            let fits = |end: Self| *self == end || self.is_unknown() || end.is_unknown();
            return Ok(self.lsn <= commits && fits(Self::end(view, self.lsn)?));
        }
        if self.lsn >= commits {
            return Ok(false);
        }
        let record = view.record(self.lsn)?;
        Ok(guard(&record) == self.guard && (self.index as usize) < record.header.versions.len())
    }
}

fn guard(record: &Record) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&record.chain.as_bytes()[..8]);
    out
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:016x}", self.lsn, self.index, u64::from_be_bytes(self.guard))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (lsn, rest) = text.split_once('.')?;
            let (index, guard) = rest.split_once('.')?;
            let guard = u64::from_str_radix(guard, 16).ok()?.to_be_bytes();
            Some(Self { lsn: lsn.parse().ok()?, index: index.parse().ok()?, guard })
        };
        // only as it is printed
        let cursor = read().filter(|c| c.to_string() == text);
        cursor.ok_or_else(|| Invalid::text("a cursor", text, "pass on what one printed").into())
    }
}

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
    engine: Weak<Inner>,
    at: At,
    log: LogId,
    device: String,
    kind: Kind,
    entity_type: Arc<str>,
    type_before: Option<Arc<str>>,
    local: bool,
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
    fn new(engine: &Engine, view: &View<'_>, at: At, kind: Kind, types: Types) -> Result<Self> {
        let Types { now: entity_type, turn } = types;
        let turned = turn.filter(|(was, became)| was != became);
        let type_before = turned.and_then(|(was, _)| was);
        let ordinal = at.record.ordinal;
        let log = view.log_id(ordinal)?;
        let device = view.directory.device(ordinal, at.record.header.last());
        let local = engine.store().wrote(view, ordinal, at.record.header.last())?;
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

    /// The version's name for people (R3).
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

    /// When, as writes are ordered (R6).
    pub fn stamp(&self) -> Timestamp {
        Timestamp::of(self.at.writer.stamp)
    }

    /// When, by its device's clock (R6).
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
            let missing = |(o, s): store::Dot| {
                Error::corrupt("log", format!("{o}/{s}"), "a version is missing")
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
    /// # use heirloom::{Content, Engine, Patch};
    /// # let [phone, tablet] = ["phone", "tablet"]
    /// #     .map(|l| Engine::builder().label(l).dataset_name("home").in_memory().unwrap());
    /// # let carry = |from: &Engine, to: &Engine| {
    /// #     let batch =
    /// #         from.replication().commits(0, u64::MAX, &|_, _, _| true, usize::MAX).unwrap();
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
        self.shown_at(self.lsn() + 1)
    }

    /// What was shown when so many commits were here.
    fn shown_at(&self, commits: u64) -> Result<Option<Entity>> {
        self.shown(|view| {
            let now = view.heads(self.entity())?;
            Ok(view.heads_at(self.entity(), &now, commits)?.list)
        })
    }

    pub(crate) fn engine(&self) -> Result<Engine> {
        Ok(Engine { inner: self.engine.upgrade().ok_or(Error::Closed)? })
    }

    pub(crate) fn lsn(&self) -> u64 {
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
fn shown(
    origin: &Origin,
    view: &View<'_>,
    id: EntityId,
    list: Vec<Head>,
) -> Result<Option<Entity>> {
    let entity = entity_of(origin, view, id, &Heads { list, ..Heads::default() })?;
    Ok(entity.filter(|e| !e.is_deleted()))
}

/// The types of an entity: now, and before and after a change where that may be another.
struct Types {
    now: Arc<str>,
    turn: Option<(Type, Type)>,
}

/// Nothing where there is no entity.
type Type = Option<Arc<str>>;

/// The heads of an entity before and after a change.
struct Turn {
    before: Heads,
    after: Heads,
}

/// Tells whether an entity is in it.
pub(crate) type Selection = Arc<dyn Fn(&Entity) -> bool + Send + Sync>;

/// Which changes are wanted.
#[derive(Clone, Default)]
pub(crate) struct Filter {
    pub(crate) entity_type: Option<Box<str>>,
    pub(crate) entity: Option<EntityId>,
    pub(crate) local: Option<bool>,
    pub(crate) log: Option<LogId>,
    /// Only what peers may hear of.
    pub(crate) shared: bool,
    pub(crate) matching: Option<Selection>,
}

/// What a step of a scan came to.
pub(crate) enum Pass {
    Found(Change),
    /// Nothing among the commits that it looked at, and there are more.
    More,
    /// All that is durable is passed.
    End,
}

/// A scan of the change log: a place, and what is wanted. Between two steps it holds no state of
/// the store, so none is kept from being reused.
pub(crate) struct Scan {
    pub(crate) cursor: Cursor,
    pub(crate) filter: Filter,
    /// Whether the cursor was found to be of this file.
    checked: bool,
    /// The commit that the cursor stands in.
    record: Option<Arc<Record>>,
    /// The heads that entities had at the cursor, of those that were looked at lately: so that a
    /// scan walks back once for each, and not for each change.
    recent: HashMap<EntityId, Heads>,
}

impl Scan {
    /// Entities whose heads it remembers, and heads of each: of more it walks again.
    const RECENT: (usize, usize) = (1_024, 64);
    /// How many commits it looks at in one state of the store.
    const STEP: usize = 256;

    pub(crate) fn new(cursor: Cursor) -> Self {
        let (filter, recent) = (Filter::default(), HashMap::new());
        Self { cursor, filter, checked: false, record: None, recent }
    }

    /// The next change that is wanted. An error leaves the scan in front of what it could not read.
    pub(crate) fn step(&mut self, engine: &Engine) -> Result<Pass> {
        let store = engine.store();
        store.catch_up()?;
        // before the tables are taken: they hold at least so much
        let durable = store.durable();
        let tables = store.tables()?;
        let view = store.view(&tables);
        if !self.checked {
            self.checked = self.cursor.fits(&view, durable)?;
            if !self.checked {
                return Err(Error::CursorLost);
            }
        }
        for _ in 0..Self::STEP {
            if self.cursor.lsn >= durable {
                return Ok(Pass::End);
            }
            let record = match self.record.take() {
                Some(record) => record,
                None => view.record(self.cursor.lsn)?,
            };
            if let Some(change) = self.find(engine, &view, &record)? {
                self.record = Some(record).filter(|r| r.lsn == self.cursor.lsn);
                return Ok(Pass::Found(change));
            }
        }
        Ok(Pass::More)
    }

    /// Moves past the commit in front of it if that is damaged.
    pub(crate) fn pass_damaged(&mut self, engine: &Engine) -> Result<bool> {
        engine.store().catch_up()?;
        let durable = engine.store().durable();
        let tables = engine.store().tables()?;
        let view = engine.store().view(&tables);
        if self.cursor.lsn >= durable {
            return Ok(false);
        }
        match view.record(self.cursor.lsn) {
            Err(e) if e.is_damage() => {
                self.cursor = Cursor::past_damaged(self.cursor.lsn);
                self.record = None;
                // nobody knows what it changed
                self.recent.clear();
                Ok(true)
            }
            record => record.map(|_| false),
        }
    }

    /// Looks through the rest of a commit, and moves past what it looked at.
    fn find(
        &mut self,
        engine: &Engine,
        view: &View<'_>,
        record: &Arc<Record>,
    ) -> Result<Option<Change>> {
        if self.wants_commit(engine, view, record)? {
            for index in self.cursor.index as usize..record.header.versions.len() {
                let change = self.wanted(engine, view, record, index)?;
                self.cursor = Cursor::past_version(record, index);
                if change.is_some() {
                    return Ok(change);
                }
            }
        } else if !self.recent.is_empty() {
            for version in &record.header.versions {
                self.recent.remove(&version.entity);
            }
        }
        self.cursor = Cursor::past(record);
        Ok(None)
    }

    fn wants_commit(&self, engine: &Engine, view: &View<'_>, record: &Record) -> Result<bool> {
        let Filter { log, local, shared, .. } = self.filter;
        if shared && view.directory.is_local(record.ordinal) {
            return Ok(false);
        }
        let last = record.header.last();
        let is_named = |log| {
            [view.directory.log_id(record.ordinal), view.directory.name(record.ordinal, last)]
                .contains(&Some(log))
        };
        if !log.is_none_or(is_named) {
            return Ok(false);
        }
        Ok(match local {
            Some(local) => engine.store().wrote(view, record.ordinal, last)? == local,
            None => true,
        })
    }

    fn wanted(
        &mut self,
        engine: &Engine,
        view: &View<'_>,
        record: &Arc<Record>,
        index: usize,
    ) -> Result<Option<Change>> {
        let version = &record.header.versions[index];
        let Some(kind) = version.kind().filter(|_| record.void_of(index).is_none()) else {
            return Ok(None);
        };
        let id = version.entity;
        let known = self.recent.remove(&id);
        if self.filter.entity.is_some_and(|e| e != id) {
            return Ok(None);
        }
        let (now, created_twice) = type_of(view, id)?;
        let at = view.place(record, index)?;
        let retypes = created_twice && kind == Kind::Create;
        let turn = match retypes || self.filter.matching.is_some() {
            true => Some(tell(turn(view, &at, known))?),
            false => None,
        };
        let entity_type = |heads: &Heads| {
            let ordinal = heads.type_ordinal();
            ordinal.map(|ordinal| view.entity_type(ordinal)).transpose()
        };
        let types =
            |t: &Turn| -> Result<_> { Ok((entity_type(&t.before)?, entity_type(&t.after)?)) };
        let turned = turn.as_ref().and_then(Option::as_ref).map(types);
        let types = Types { now, turn: turned.transpose()? };
        // what cannot be told is told
        let unknown = retypes && matches!(turn, Some(None));
        let is = (unknown || self.is_of_type(&types)) && self.matches(view, id, turn.as_ref())?;
        if let Some(Some(Turn { after, .. })) = turn {
            self.remember(id, after);
        }
        Ok(if is { Some(Change::new(engine, view, at, kind, types)?) } else { None })
    }

    /// Whether the entity is of the wanted type now, or the change made it so, or made it another.
    fn is_of_type(&self, types: &Types) -> bool {
        let Some(wanted) = &self.filter.entity_type else { return true };
        let is = |entity_type: &Type| entity_type.as_deref() == Some(&**wanted);
        let turned = types.turn.as_ref().is_some_and(|(was, became)| is(was) || is(became));
        *types.now == **wanted || turned
    }

    /// Whether what this store showed of the entity matched before the change or did after it, or
    /// that cannot be told: nothing is lost, and nothing stands in the way.
    fn matches(&self, view: &View<'_>, id: EntityId, turn: Option<&Option<Turn>>) -> Result<bool> {
        let (Some(matching), Some(turn)) = (&self.filter.matching, turn) else { return Ok(true) };
        let Some(Turn { before, after }) = turn else { return Ok(true) };
        let wanted = self.filter.entity_type.as_deref();
        let is_in = |e: &Entity| wanted.is_none_or(|t| *t == *e.entity_type()) && matching(e);
        for heads in [after, before] {
            let entity = shown(&Origin::new(), view, id, heads.list.clone());
            if tell(entity)?.is_none_or(|e| e.is_some_and(|e| is_in(&e))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn remember(&mut self, id: EntityId, heads: Heads) {
        let (entities, of_each) = Self::RECENT;
        if heads.list.len() <= of_each {
            if self.recent.len() >= entities {
                self.recent.clear();
            }
            self.recent.insert(id, heads);
        }
    }
}

/// Nothing where it cannot be told, for what is not here, is damaged, or fails in a policy.
fn tell<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(Error::Absent(_) | Error::PolicyFailed { .. }) => Ok(None),
        Err(e) if e.is_damage() => Ok(None),
        other => other.map(Some),
    }
}

/// What a change did to the heads of its entity here. `known`: those before it.
fn turn(view: &View<'_>, at: &At, known: Option<Heads>) -> Result<Turn> {
    let id = at.header().entity;
    let before = match known {
        Some(known) => known,
        None => view.heads_at(id, &*view.heads(id)?, at.record.lsn)?,
    };
    let after = view.heads_after(&before, at)?;
    Ok(Turn { before, after })
}

/// The type of an entity, and whether it was created twice, from the begin of its row.
fn type_of(view: &View<'_>, entity: EntityId) -> Result<(Arc<str>, bool)> {
    let key = entity.as_bytes();
    let missing = || Error::corrupt("heads", entity, "an entity of the log is missing");
    let row = view.tables.heads.get(&key[..])?.ok_or_else(missing)?;
    let bytes = store::unseal("heads", key, row.value())?;
    let (_, ordinal) = Heads::peek(bytes).map_err(store::unreadable("heads", key))?;
    Ok((view.entity_type(ordinal)?, Heads::peek_created_twice(bytes)))
}

/// The change log from a cursor on: an iterator over what is durable, in the order of arrival (R12,
/// I9). Versions that are void and commits of a newer format have no effect and are left out.
///
/// It is not fused: at the end it gives nothing, and more once more is there. After an error it
/// stands in front of the place that it could not read and tries that again;
/// [`pass_damaged`](Self::pass_damaged) leads on. Between two changes it holds no state of the
/// store: scan as long as you like, the file does not grow for it.
#[must_use = "a scan does nothing until it is read"]
pub struct Changes {
    engine: Engine,
    scan: Scan,
}

impl Changes {
    /// Where to go on: past all that was given or left out.
    pub fn cursor(&self) -> Cursor {
        self.scan.cursor
    }

    /// Moves past the commit that it could not read because its record is damaged
    /// ([`Error::Corrupt`] in table `log`). Its changes are not told, then: a peer may bring it
    /// back, but nobody is told of that. False, and nothing moves, where the next commit is not
    /// damaged.
    pub fn pass_damaged(&mut self) -> Result<bool> {
        self.scan.pass_damaged(&self.engine)
    }

    /// Only what peers may hear of.
    pub(crate) fn shared(mut self) -> Self {
        self.scan.filter.shared = true;
        self
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.scan.step(&self.engine) {
                Ok(Pass::Found(change)) => return Some(Ok(change)),
                Ok(Pass::More) => {}
                Ok(Pass::End) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

/// The same choices for scans and subscriptions. Several narrow it down together.
macro_rules! filters {
    ($type:ty) => {
        impl $type {
            /// Only of entities that are of this type now, and the change by which one became of
            /// this type here or ceased to be
            /// ([`Change::type_before`](crate::Change::type_before)).
            pub fn of_type(mut self, entity_type: impl Into<String>) -> Self {
                self.scan.filter.entity_type = Some(entity_type.into().into());
                self
            }

            /// Only of this entity. It still passes every commit: the past of one entity is quicker
            /// through [`Snapshot::history`](crate::Snapshot::history).
            pub fn entity(mut self, id: $crate::EntityId) -> Self {
                self.scan.filter.entity = Some(id);
                self
            }

            /// Only what was written through this file
            /// ([`Change::is_local`](crate::Change::is_local)); takes back `remote`.
            pub fn local(mut self) -> Self {
                self.scan.filter.local = Some(true);
                self
            }

            /// Only what was not written through this file; takes back `local`.
            pub fn remote(mut self) -> Self {
                self.scan.filter.local = Some(false);
                self
            }

            /// Only what enters, leaves or changes within a selection: what this store showed of
            /// the entity is in it before the change came or after it
            /// ([`shown_before`](crate::Change::shown_before),
            /// [`shown_after`](crate::Change::shown_after)), so also what enters or leaves by the
            /// merge of versions that are not in it. With [`of_type`](Self::of_type) only entities
            /// of that type are in it. For a live query.
            ///
            /// Costs a read of both contents for each change that all else lets through, and, where
            /// an entity is met for the first time, a look at each version of it that came since.
            /// Where one cannot be shown, because it is not here, is damaged, or its policy failed,
            /// the change is given: the two methods say why. What a peer brings back of that later
            /// is no change and is not told.
            pub fn matching(
                mut self,
                select: impl Fn(&$crate::Entity) -> bool + Send + Sync + 'static,
            ) -> Self {
                self.scan.filter.matching = Some(std::sync::Arc::new(select));
                self
            }

            /// Only what lies in this log.
            pub fn by(mut self, log: $crate::LogId) -> Self {
                self.scan.filter.log = Some(log);
                self
            }
        }
    };
}
pub(crate) use filters;

filters!(Changes);

impl Engine {
    /// The end of the change log: past all that is durable now. Reads one commit.
    pub fn cursor(&self) -> Result<Cursor> {
        self.store().catch_up()?;
        let durable = self.store().durable();
        let tables = self.store().tables()?;
        Cursor::end(&self.store().view(&tables), durable)
    }

    /// All changes after a cursor, oldest first (R12). Costs a look at each commit, and one at the
    /// entity for each change.
    ///
    /// A cursor of another file, or one that this file, an older copy, has not reached, is
    /// [`Error::CursorLost`] with the first change.
    ///
    /// ```
    /// use heirloom::{ChangeKind, Content, Cursor, Engine, Patch};
    /// let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("on", false)))?;
    /// engine.write(|tx| tx.patch(lamp, Patch::new().set("on", true)))?;
    ///
    /// let mut changes = engine.changes(Cursor::START).of_type("lamp");
    /// let created = changes.next().unwrap()?;
    /// let switched = changes.next().unwrap()?;
    /// assert_eq!((created.kind(), switched.kind()), (ChangeKind::Create, ChangeKind::Update));
    /// assert_eq!(switched.before()?.unwrap().get("on")?, Some(false.into()));
    /// assert_eq!(switched.after()?.unwrap().get("on")?, Some(true.into()));
    /// assert!(changes.next().is_none());
    ///
    /// // keep the cursor, and go on from it another day
    /// let cursor = changes.cursor();
    /// engine.write(|tx| tx.delete(lamp))?;
    /// assert_eq!(engine.changes(cursor).next().unwrap()?.kind(), ChangeKind::Delete);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn changes(&self, from: Cursor) -> Changes {
        Changes { engine: self.clone(), scan: Scan::new(from) }
    }
}
