//! Indexes of declared fields: rows that lead from a value to entities, a fold of what is shown
//! (FORMAT.md, 2.4).
//!
//! Each commit brings its own rows along, so a ready index is right in every snapshot. What was
//! here before an index was declared is brought in by slices, each a batch like any other; what is
//! not declared any more goes by slices too.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Store;
use super::fold::Folded;
use super::rows::{WriteTable, WriteTables};
use super::sealed::{hex, seal, unreadable, unseal};
use super::tables::{INDEX, INDEXED, META, Tables, type_key};
use super::view::View;
use super::writer::Writer;
use crate::error::{Error, Result};
use heirloom_core::bytes::{Put, Read, Reader};
use heirloom_core::format::header::Header;
use heirloom_core::format::sort_key::cut;
use heirloom_core::format::value::{path, put_path};
use heirloom_core::model::{Chain, EntityId, Path};

/// Entities that one slice looks at: some milliseconds under the writer's lock.
const SLICE: usize = 256;
/// Name in `meta`: how many ordinals were ever given.
const COUNT: &str = "indexes";

/// A field of a type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub(crate) entity_type: String,
    pub(crate) path: Path,
}

/// A field that the application declared, and its index. None where it is not there and the store
/// opened damaged or to be read only: then nothing is written to it.
pub(crate) struct Declared {
    pub(crate) field: Field,
    pub(crate) ordinal: Option<u32>,
}

/// How far an index is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Entities up to this one are in it, and all that were written since it was declared.
    Building(Option<EntityId>),
    Ready,
    Dropping,
}

/// An index as it stands in `meta`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Index {
    pub(crate) ordinal: u32,
    pub(crate) field: Field,
    /// By which policy its entities are shown.
    pub(crate) policy: [u8; 16],
    pub(crate) state: State,
}

/// What stands of an entity in `index`: ordinals, ascending, with cut sort keys.
pub(crate) type Keys = Vec<(u32, Vec<u8>)>;

/// What the writer knows of indexes.
#[derive(Default)]
pub(crate) struct Indexing {
    indexes: Vec<Index>,
    /// What shall stand of entities, to be written with the batch that is open.
    changes: BTreeMap<EntityId, Keys>,
    /// The last batch that says how far an index is.
    batch: u64,
}

impl Indexing {
    pub(super) fn take_changes(&mut self) -> BTreeMap<EntityId, Keys> {
        std::mem::take(&mut self.changes)
    }
}

impl Index {
    fn name(ordinal: u32) -> String {
        format!("index/{ordinal}")
    }

    /// Stands for one whose row is damaged: what there is of it goes.
    fn lost(ordinal: u32) -> Self {
        let field = Field { entity_type: String::new(), path: Path::new(["?"]) };
        Self { ordinal, field, policy: [0; 16], state: State::Dropping }
    }

    fn is_live(&self) -> bool {
        self.state != State::Dropping
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.bytes(self.field.entity_type.as_bytes());
        put_path(&mut out, &self.field.path);
        out.extend_from_slice(&self.policy);
        match self.state {
            State::Building(None) => out.push(0),
            State::Building(Some(after)) => {
                out.push(1);
                out.extend_from_slice(after.as_bytes());
            }
            State::Ready => out.push(2),
            State::Dropping => out.push(3),
        }
        out
    }

    fn decode(ordinal: u32, bytes: &[u8]) -> Read<Self> {
        let mut r = Reader::new(bytes);
        let entity_type = r.text()?.to_owned();
        let path = path(&mut r)?.to_path();
        let policy = r.array()?;
        let state = match r.u8()? {
            0 => State::Building(None),
            1 => State::Building(Some(EntityId::from_bytes(r.array()?))),
            2 => State::Ready,
            3 => State::Dropping,
            _ => return r.bad("an unknown state of an index"),
        };
        r.end()?;
        Ok(Self { ordinal, field: Field { entity_type, path }, policy, state })
    }

    fn read(ordinal: u32, row: &[u8]) -> Result<Self> {
        let name = Self::name(ordinal);
        let bytes = unseal("meta", name.as_bytes(), row)?;
        Self::decode(ordinal, bytes).map_err(|e| Error::corrupt("meta", name, e))
    }

    /// How far an index was when these tables were written.
    pub(crate) fn state(tables: &Tables, ordinal: u32) -> Result<State> {
        let row = tables.meta.get(Self::name(ordinal).as_bytes())?;
        row.map_or(Ok(State::Building(None)), |row| {
            Self::read(ordinal, row.value()).map(|i| i.state)
        })
    }

    /// All of them by their ordinals, those that cannot be read too.
    pub(crate) fn all(tables: &Tables) -> Result<BTreeMap<u32, Result<Self>>> {
        let mut out = BTreeMap::new();
        for row in tables.meta.range(&b"index/"[..]..&b"index0"[..])? {
            let (key, value) = row?;
            let ordinal =
                std::str::from_utf8(key.value()).ok().and_then(|name| name[6..].parse().ok());
            if let Some(ordinal) = ordinal {
                out.insert(ordinal, Self::read(ordinal, value.value()));
            }
        }
        Ok(out)
    }
}

/// Key of a row of `index`.
pub(crate) fn index_key(ordinal: u32, key: &[u8], entity: EntityId) -> Vec<u8> {
    [&ordinal.to_be_bytes()[..], key, entity.as_bytes()].concat()
}

/// The parts of such a key.
pub(crate) fn index_parts(row: &[u8]) -> Result<(u32, &[u8], EntityId)> {
    let parts = || {
        let (ordinal, rest) = row.split_first_chunk()?;
        let (key, entity) = rest.split_last_chunk()?;
        Some((u32::from_be_bytes(*ordinal), key, EntityId::from_bytes(*entity)))
    };
    parts().ok_or_else(|| Error::corrupt("index", hex(row), "not a key"))
}

fn indexed_row(entity: EntityId, keys: &Keys) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.varint(keys.len() as u64);
    for (ordinal, key) in keys {
        out.varint(u64::from(*ordinal));
        out.bytes(key);
    }
    seal(entity.as_bytes(), &out)
}

/// What stands of an entity in `index`, as its row of `indexed` says.
pub(crate) fn read_indexed(entity: EntityId, row: &[u8]) -> Result<Keys> {
    let id = entity.as_bytes();
    let mut r = Reader::new(unseal("indexed", id, row)?);
    let mut read = || {
        let n = r.count(2)?;
        let keys = (0..n).map(|_| Ok((super::record::ordinal(&mut r)?, r.bytes()?.to_vec())));
        let keys = keys.collect::<Read<Keys>>()?;
        r.end().map(|()| keys)
    };
    read().map_err(unreadable("indexed", id))
}

/// What cannot be shown (its content is not here, or damaged) is in no index: others must be. A
/// storage that fails is an error.
fn if_shown<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(e @ (Error::Storage(_) | Error::Poisoned | Error::Closed)) => Err(e),
        other => Ok(other.unwrap_or_default()),
    }
}

/// What shall stand of an entity in indexes, as a view shows it; nothing if its type has none.
pub(crate) fn keys_of<'i>(
    view: &View<'_>,
    id: EntityId,
    indexes: impl IntoIterator<Item = &'i Index>,
) -> Result<Option<Keys>> {
    let heads = if_shown(view.heads(id))?;
    let entity_type = match heads.type_ordinal() {
        Some(ordinal) => if_shown(view.entity_type(ordinal))?,
        None => Arc::default(),
    };
    let of_type = |i: &&Index| i.is_live() && *i.field.entity_type == *entity_type;
    let mut indexes = indexes.into_iter().filter(of_type).peekable();
    if indexes.peek().is_none() {
        return Ok(None);
    }
    let Some(entity) = if_shown(view.show(id, &heads))? else { return Ok(Some(Keys::new())) };
    let mut keys = Keys::new();
    for index in indexes {
        if let Some(key) = if_shown(entity.sort_key_at(&index.field.path))? {
            keys.push((index.ordinal, cut(&key).to_vec()));
        }
    }
    Ok(Some(keys))
}

/// Writes what a batch changes. Entities whose type changed lose what stood of them under the old
/// one.
pub(super) fn write(
    tx: &WriteTables,
    changes: &BTreeMap<EntityId, Keys>,
    retyped: &[EntityId],
) -> Result<()> {
    let none = Keys::new();
    let retyped = retyped.iter().filter(|e| !changes.contains_key(e)).map(|e| (e, &none));
    let mut changes = changes.iter().chain(retyped).peekable();
    if changes.peek().is_none() {
        return Ok(());
    }
    let (mut index, mut indexed) = (tx.open_table(INDEX)?, tx.open_table(INDEXED)?);
    for (entity, now) in changes {
        let id = entity.as_bytes();
        let before = match indexed.get(&id[..])? {
            // where it is damaged its old rows stay behind: no query believes them, and `verify`
            // names them
            Some(row) => read_indexed(*entity, row.value()).unwrap_or_default(),
            None => Keys::new(),
        };
        if before == *now {
            continue;
        }
        for (ordinal, key) in before.iter().filter(|k| !now.contains(k)) {
            index.remove(&index_key(*ordinal, key, *entity)[..])?;
        }
        for (ordinal, key) in now.iter().filter(|k| !before.contains(k)) {
            index.insert(&index_key(*ordinal, key, *entity)[..], &[][..])?;
        }
        if now.is_empty() {
            indexed.remove(&id[..])?;
        } else {
            indexed.insert(&id[..], &indexed_row(*entity, now)[..])?;
        }
    }
    Ok(())
}

impl Store {
    /// Which policy shows entities of a type: where it changes, what was indexed is indexed anew.
    fn policy_tag(&self, entity_type: &str) -> [u8; 16] {
        self.policies.tag(entity_type)
    }

    /// Brings the file in line with what is declared: what is new is to be built, what is not
    /// declared any more to be dropped.
    pub(super) fn declare(&mut self, fields: Vec<Field>) -> Result<()> {
        let tables = self.tables()?;
        let found = Index::all(&tables)?;
        let mut indexes: Vec<_> =
            found.into_iter().map(|(n, i)| i.unwrap_or_else(|_| Index::lost(n))).collect();
        // nothing is written over damage
        if !self.read_only && self.writer.lock().damage.is_none() {
            self.agree_on_indexes(&tables, &fields, &mut indexes)?;
        }
        let ordinal =
            |field: &Field| indexes.iter().find(|i| self.holds(i, field)).map(|i| i.ordinal);
        self.declared =
            fields.into_iter().map(|field| Declared { ordinal: ordinal(&field), field }).collect();
        self.writer.lock().indexing.indexes = indexes;
        Ok(())
    }

    /// Whether this is the index of a field as it is shown now.
    fn holds(&self, index: &Index, field: &Field) -> bool {
        index.is_live()
            && index.field == *field
            && index.policy == self.policy_tag(&field.entity_type)
    }

    fn agree_on_indexes(
        &self,
        tables: &Tables,
        fields: &[Field],
        indexes: &mut Vec<Index>,
    ) -> Result<()> {
        let given = if_shown(self.meta(tables, COUNT))?.and_then(|b| Reader::new(&b).varint().ok());
        let mut count = indexes
            .last()
            .map_or(0, |i| i.ordinal.saturating_add(1))
            .max(given.unwrap_or(0) as u32);
        let mut changed = Vec::new();
        for index in indexes.iter_mut().filter(|i| i.is_live()) {
            if !fields.iter().any(|f| self.holds(index, f)) {
                index.state = State::Dropping;
                changed.push(index.clone());
            }
        }
        for field in fields {
            if !indexes.iter().any(|i| self.holds(i, field)) {
                let is_empty = match self.view(tables).type_ordinal(&field.entity_type) {
                    Ok(Some(ordinal)) => {
                        entities_of(tables, ordinal, None)?.next().transpose()?.is_none()
                    }
                    Ok(None) => true,
                    // nobody knows: it is built once that is mended
                    Err(Error::Corrupt { .. }) => false,
                    Err(e) => return Err(e),
                };
                let state = if is_empty { State::Ready } else { State::Building(None) };
                let policy = self.policy_tag(&field.entity_type);
                indexes.push(Index { ordinal: count, field: field.clone(), policy, state });
                changed.extend(indexes.last().cloned());
                count += 1;
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.transact(|tx| {
            let mut meta = tx.open_table(META)?;
            for index in &changed {
                let name = Index::name(index.ordinal);
                meta.insert(name.as_bytes(), &seal(name.as_bytes(), &index.encode())[..])?;
            }
            let mut row = Vec::new();
            row.varint(u64::from(count));
            meta.insert(COUNT.as_bytes(), &seal(COUNT.as_bytes(), &row)[..])?;
            Ok(())
        })?;
        self.publish()
    }

    /// Takes a folded commit in, with what is indexed of the entities that it changes. `refs`:
    /// (ordinal, sequence) of what it refers to.
    pub(crate) fn append(
        &self,
        writer: &mut Writer,
        ordinal: u32,
        chain: Chain,
        header: &Header,
        refs: &[(u32, u64)],
        folded: Folded,
    ) {
        let indexed = writer.indexing.indexes.iter().any(Index::is_live);
        let entities: Vec<_> =
            folded.changes.iter().filter(|_| indexed).map(|c| c.entity).collect();
        writer.append(ordinal, chain, header, refs, folded);
        self.index_now(writer, &entities);
    }

    /// Finds what stands of entities in indexes from now on.
    pub(super) fn index_now(&self, writer: &mut Writer, entities: &[EntityId]) {
        if !writer.indexing.indexes.iter().any(Index::is_live) {
            return;
        }
        // the commit is in: neither an error nor a panic of what shows entities may undo that
        // halfway
        let index = || self.index_entities(writer, entities);
        if !matches!(catch_unwind(AssertUnwindSafe(index)), Ok(Ok(()))) {
            writer.doubt_indexes();
        }
    }

    /// Finds what shall stand of entities in indexes, to be written with the writer's batch.
    fn index_entities(&self, writer: &mut Writer, entities: &[EntityId]) -> Result<()> {
        let mut found = Vec::with_capacity(entities.len());
        let view = self.writer_view(writer)?;
        for id in entities {
            found.push((*id, keys_of(&view, *id, &writer.indexing.indexes)?));
        }
        for (id, keys) in found {
            match keys {
                Some(keys) => drop(writer.indexing.changes.insert(id, keys)),
                None => drop(writer.indexing.changes.remove(&id)),
            }
        }
        Ok(())
    }

    /// Whether an index is to be built or dropped.
    pub(crate) fn has_index_work(&self) -> bool {
        self.writer.lock().indexing.indexes.iter().any(|i| i.state != State::Ready)
    }

    /// Builds or drops a slice, durably. Whether that was not the end of it. Several threads may
    /// take turns.
    pub(crate) fn index_step(&self) -> Result<bool> {
        let (batch, more) = {
            let mut writer = self.writer()?;
            let todo = |i: &&Index| i.state != State::Ready;
            match writer.indexing.indexes.iter().find(todo).cloned() {
                Some(Index { ordinal, state: State::Dropping, .. }) => {
                    drop(writer);
                    return self.drop_slice(ordinal).map(|()| true);
                }
                Some(Index { field, state, .. }) => {
                    self.build_slice(&mut writer, &field.entity_type, state)?;
                    (writer.batch, true)
                }
                None => (writer.indexing.batch, false),
            }
        };
        self.flush(batch)?;
        Ok(more)
    }

    /// All indexes of the type that are equally far go on together.
    fn build_slice(&self, writer: &mut Writer, entity_type: &str, state: State) -> Result<()> {
        let tables = writer.tables.clone().ok_or(Error::Closed)?;
        let State::Building(after) = state else { return Ok(()) };
        let slice = match self.view(&tables).type_ordinal(entity_type)? {
            Some(ordinal) => {
                entities_of(&tables, ordinal, after)?.take(SLICE).collect::<Result<_>>()?
            }
            None => Vec::new(),
        };
        self.index_entities(writer, &slice)?;
        let next =
            if slice.len() < SLICE { State::Ready } else { State::Building(slice.last().copied()) };
        writer.set_states(|i| {
            (i.field.entity_type == entity_type && i.state == state).then_some(next)
        });
        Ok(())
    }

    fn drop_slice(&self, ordinal: u32) -> Result<()> {
        let mut left = true;
        self.transact(|tx| {
            let (mut index, mut indexed) = (tx.open_table(INDEX)?, tx.open_table(INDEXED)?);
            // no sort key begins so high
            let (from, to) =
                (ordinal.to_be_bytes(), [&ordinal.to_be_bytes()[..], &[u8::MAX]].concat());
            let rows = index.range(&from[..]..&to[..])?.take(SLICE);
            let rows = rows.map(|row| Ok(row?.0.value().to_vec())).collect::<Result<Vec<_>>>()?;
            for row in &rows {
                index.remove(&row[..])?;
                if let Ok((_, _, entity)) = index_parts(row) {
                    forget(&mut indexed, entity, ordinal)?;
                }
            }
            left = rows.len() == SLICE;
            if !left {
                tx.open_table(META)?.remove(Index::name(ordinal).as_bytes())?;
            }
            Ok(())
        })?;
        if !left {
            self.writer.lock().indexing.indexes.retain(|i| i.ordinal != ordinal);
        }
        self.publish()
    }
}

impl Writer {
    /// A commit stands, also where an index could not follow it. Then all are built anew, and
    /// queries scan until that is done.
    pub(crate) fn doubt_indexes(&mut self) {
        self.set_states(|_| Some(State::Building(None)));
    }

    /// Says how far indexes are, durably with the batch that is open.
    fn set_states(&mut self, next: impl Fn(&Index) -> Option<State>) {
        let mut rows = Vec::new();
        for index in self.indexing.indexes.iter_mut().filter(|i| i.is_live()) {
            if let Some(state) = next(index) {
                index.state = state;
                rows.push((Index::name(index.ordinal), index.encode()));
            }
        }
        for (name, row) in rows {
            self.set_meta(name, Some(row));
        }
        self.indexing.batch = self.batch;
    }
}

/// Entities of a type in order of their ids, from the one after `after`.
fn entities_of(
    tables: &Tables,
    entity_type: u32,
    after: Option<EntityId>,
) -> Result<impl Iterator<Item = Result<EntityId>> + use<>> {
    let from = type_key(entity_type, after.unwrap_or(EntityId::from_bytes([0; 16])));
    let to = type_key(entity_type, EntityId::from_bytes([u8::MAX; 16]));
    let rows = tables.by_type.range(&from[..]..=&to[..])?;
    let id = |row: &[u8]| row.split_last_chunk().map(|(_, id)| EntityId::from_bytes(*id));
    let ids = rows.map(move |row| {
        let (key, _) = row?;
        id(key.value())
            .ok_or_else(|| Error::corrupt("by_type", hex(key.value()), "not an entity id"))
    });
    Ok(ids.filter(move |id| id.as_ref().ok() != after.as_ref()))
}

/// Forgets that an index holds something of an entity.
fn forget(indexed: &mut WriteTable<'_>, entity: EntityId, ordinal: u32) -> Result<()> {
    let id = entity.as_bytes();
    let keys = match indexed.get(&id[..])? {
        Some(row) => read_indexed(entity, row.value()),
        None => return Ok(()),
    };
    let Ok(mut keys) = keys else { return Ok(()) };
    keys.retain(|(o, _)| *o != ordinal);
    if keys.is_empty() {
        indexed.remove(&id[..])?;
    } else {
        indexed.insert(&id[..], &indexed_row(entity, &keys)[..])?;
    }
    Ok(())
}
