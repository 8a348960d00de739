//! Indexes of declared fields: rows that lead from a value to entities, a fold of what is shown
//! (FORMAT.md, 2.4).
//!
//! Each commit brings its own rows along, so a ready index is right in every snapshot. What was
//! here before an index was declared is brought in by slices, each a batch like any other; what is
//! not declared any more goes by slices too.

use std::collections::BTreeMap;
use std::sync::Arc;

use heirloom_core::bytes::{Put, Read, Reader};
use heirloom_core::format::sort_key::cut;
use heirloom_core::format::value::{path, put_path};
use heirloom_core::model::{EntityId, Path};

use crate::error::{Error, Result, Table};
use crate::store::read::View;
use crate::store::rows::{RowBatch, Tables, hex, seal, unreadable, unseal};

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
pub(crate) enum IndexState {
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
    pub(crate) state: IndexState,
}

/// What stands of an entity in `index`: ordinals, ascending, with cut sort keys.
pub(crate) type Keys = Vec<(u32, Vec<u8>)>;

/// What the writer knows of indexes.
#[derive(Default)]
pub(crate) struct Indexing {
    pub(crate) indexes: Vec<Index>,
    /// What shall stand of entities, to be written with the batch that is open.
    pub(crate) changes: BTreeMap<EntityId, Keys>,
    /// The last batch that says how far an index is.
    pub(crate) batch: u64,
}

impl Indexing {
    pub(crate) fn take_changes(&mut self) -> BTreeMap<EntityId, Keys> {
        std::mem::take(&mut self.changes)
    }
}

impl Index {
    pub(crate) fn name(ordinal: u32) -> String {
        format!("index/{ordinal}")
    }

    /// Stands for one whose row is damaged: what there is of it goes.
    pub(crate) fn lost(ordinal: u32) -> Self {
        let field = Field { entity_type: String::new(), path: Path::new(["?"]) };
        Self { ordinal, field, policy: [0; 16], state: IndexState::Dropping }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state != IndexState::Dropping
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.bytes(self.field.entity_type.as_bytes());
        put_path(&mut out, &self.field.path);
        out.extend_from_slice(&self.policy);
        match self.state {
            IndexState::Building(None) => out.push(0),
            IndexState::Building(Some(after)) => {
                out.push(1);
                out.extend_from_slice(after.as_bytes());
            }
            IndexState::Ready => out.push(2),
            IndexState::Dropping => out.push(3),
        }
        out
    }

    pub(crate) fn decode(ordinal: u32, bytes: &[u8]) -> Read<Self> {
        let mut r = Reader::new(bytes);
        let entity_type = r.text()?.to_owned();
        let path = path(&mut r)?.to_path();
        let policy = r.array()?;
        let state = match r.u8()? {
            0 => IndexState::Building(None),
            1 => IndexState::Building(Some(EntityId::from_bytes(r.array()?))),
            2 => IndexState::Ready,
            3 => IndexState::Dropping,
            _ => return r.bad("an unknown state of an index"),
        };
        r.end()?;
        Ok(Self { ordinal, field: Field { entity_type, path }, policy, state })
    }

    pub(crate) fn read(ordinal: u32, row: &[u8]) -> Result<Self> {
        let name = Self::name(ordinal);
        let bytes = unseal(Table::Meta, name.as_bytes(), row)?;
        Self::decode(ordinal, bytes).map_err(|e| Error::corrupt(Table::Meta, name, e))
    }

    /// How far an index was when these tables were written.
    pub(crate) fn state(tables: &Tables, ordinal: u32) -> Result<IndexState> {
        let row = tables.meta.get(Self::name(ordinal).as_bytes())?;
        row.map_or(Ok(IndexState::Building(None)), |row| {
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
    parts().ok_or_else(|| Error::corrupt(Table::Index, hex(row), "not a key"))
}

pub(crate) fn indexed_row(entity: EntityId, keys: &Keys) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.varint(keys.len() as u64);
    for (ordinal, key) in keys {
        out.varint(u64::from(*ordinal));
        out.bytes(key);
    }
    seal(entity.as_bytes(), &out)
}

fn ordinal(r: &mut Reader<'_>) -> Read<u32> {
    let n = r.varint()?;
    u32::try_from(n).or_else(|_| r.bad("an ordinal too large"))
}

/// What stands of an entity in `index`, as its row of `indexed` says.
pub(crate) fn read_indexed(entity: EntityId, row: &[u8]) -> Result<Keys> {
    let id = entity.as_bytes();
    let mut r = Reader::new(unseal(Table::Indexed, id, row)?);
    let mut read = || {
        let n = r.count(2)?;
        let keys = (0..n).map(|_| Ok((ordinal(&mut r)?, r.bytes()?.to_vec())));
        let keys = keys.collect::<Read<Keys>>()?;
        r.end().map(|()| keys)
    };
    read().map_err(unreadable(Table::Indexed, id))
}

/// What cannot be shown (its content is not here, or damaged) is in no index: others must be. A
/// storage that fails is an error.
pub(crate) fn if_shown<T: Default>(result: Result<T>) -> Result<T> {
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
    let entity_type = match heads.type_number() {
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
pub(crate) fn write_index(
    tx: &RowBatch<'_>,
    changes: &BTreeMap<EntityId, Keys>,
    retyped: &[EntityId],
) -> Result<()> {
    let none = Keys::new();
    let retyped = retyped.iter().filter(|e| !changes.contains_key(e)).map(|e| (e, &none));
    let mut changes = changes.iter().chain(retyped).peekable();
    if changes.peek().is_none() {
        return Ok(());
    }
    let (mut index, mut indexed) = (tx.open_table(Table::Index)?, tx.open_table(Table::Indexed)?);
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
            index.remove(&index_key(*ordinal, key, *entity));
        }
        for (ordinal, key) in now.iter().filter(|k| !before.contains(k)) {
            index.insert(&index_key(*ordinal, key, *entity), &[]);
        }
        if now.is_empty() {
            indexed.remove(id);
        } else {
            indexed.insert(id, &indexed_row(*entity, now));
        }
    }
    Ok(())
}
