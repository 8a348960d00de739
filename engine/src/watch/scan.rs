//! A scan of the change log: every version that became durable here, in the order of arrival, own
//! and remote alike (R12), one step after the other.

use std::collections::HashMap;
use std::sync::Arc;

use heirloom_core::fold::Heads;
use heirloom_core::model::{EntityId, Kind, LogId};

use super::change::{Change, Type, Types, shown};
use super::cursor::Cursor;
use crate::engine::Engine;
use crate::error::{Error, Result, Table};
use crate::read::{Entity, Origin};
use crate::store;
use crate::store::{At, Record, View};

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
        if shared && view.directory.is_local(record.line) {
            return Ok(false);
        }
        let last = record.header.last();
        let is_named = |log| {
            [view.directory.log_id(record.line), view.directory.name(record.line, last)]
                .contains(&Some(log))
        };
        if !log.is_none_or(is_named) {
            return Ok(false);
        }
        Ok(match local {
            Some(local) => engine.store().wrote(view, record.line, last)? == local,
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
            let line = heads.type_number();
            line.map(|line| view.entity_type(line)).transpose()
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
    let missing = || Error::corrupt(Table::Heads, entity, "an entity of the log is missing");
    let row = view.tables.heads.get(&key[..])?.ok_or_else(missing)?;
    let bytes = store::unseal(Table::Heads, key, row.value())?;
    let (_, line) = Heads::peek(bytes).map_err(store::unreadable(Table::Heads, key))?;
    Ok((view.entity_type(line)?, Heads::peek_created_twice(bytes)))
}
