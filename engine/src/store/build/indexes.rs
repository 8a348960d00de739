//! Indexes brought in line with what is declared: built and dropped in slices, each a batch like
//! any other.

use heirloom_core::bytes::{Put, Reader};
use heirloom_core::model::{EntityId, TypeNumber};

use crate::error::{Error, Result, Table};
use crate::store::commit::{LogWriter, Store};
use crate::store::index::{
    Declared, Field, Index, IndexState, if_shown, index_parts, indexed_row, read_indexed,
};
use crate::store::rows::{RowTable, Tables, hex, seal, type_key};

/// Entities that one slice looks at: some milliseconds under the writer's lock.
const SLICE: usize = 256;
/// Name in `meta`: how many ordinals were ever given.
const COUNT: &str = "indexes";

impl Store {
    /// Which policy shows entities of a type: where it changes, what was indexed is indexed anew.
    fn policy_tag(&self, entity_type: &str) -> [u8; 16] {
        self.policies.tag(entity_type)
    }

    /// Brings the file in line with what is declared: what is new is to be built, what is not
    /// declared any more to be dropped.
    pub(crate) fn declare(&mut self, fields: Vec<Field>) -> Result<()> {
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
                index.state = IndexState::Dropping;
                changed.push(index.clone());
            }
        }
        for field in fields {
            if !indexes.iter().any(|i| self.holds(i, field)) {
                let is_empty = match self.view(tables).type_number(&field.entity_type) {
                    Ok(Some(number)) => {
                        entities_of(tables, number, None)?.next().transpose()?.is_none()
                    }
                    Ok(None) => true,
                    // nobody knows: it is built once that is mended
                    Err(Error::Corrupt { .. }) => false,
                    Err(e) => return Err(e),
                };
                let state = if is_empty { IndexState::Ready } else { IndexState::Building(None) };
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
            let mut meta = tx.open_table(Table::Meta)?;
            for index in &changed {
                let name = Index::name(index.ordinal);
                meta.insert(name.as_bytes(), &seal(name.as_bytes(), &index.encode()));
            }
            let mut row = Vec::new();
            row.varint(u64::from(count));
            meta.insert(COUNT.as_bytes(), &seal(COUNT.as_bytes(), &row));
            Ok(())
        })
    }

    /// Whether an index is to be built or dropped.
    pub(crate) fn has_index_work(&self) -> bool {
        self.writer.lock().indexing.indexes.iter().any(|i| i.state != IndexState::Ready)
    }

    /// Builds or drops a slice, durably. Whether that was not the end of it. Several threads may
    /// take turns.
    pub(crate) fn index_step(&self) -> Result<bool> {
        let (batch, more) = {
            let mut writer = self.writer()?;
            let todo = |i: &&Index| i.state != IndexState::Ready;
            match writer.indexing.indexes.iter().find(todo).cloned() {
                Some(Index { ordinal, state: IndexState::Dropping, .. }) => {
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
    fn build_slice(
        &self,
        writer: &mut LogWriter,
        entity_type: &str,
        state: IndexState,
    ) -> Result<()> {
        let tables = writer.tables.clone().ok_or(Error::Closed)?;
        let IndexState::Building(after) = state else { return Ok(()) };
        let slice = match self.view(&tables).type_number(entity_type)? {
            Some(number) => {
                entities_of(&tables, number, after)?.take(SLICE).collect::<Result<_>>()?
            }
            None => Vec::new(),
        };
        self.index_entities(writer, &slice)?;
        let next = if slice.len() < SLICE {
            IndexState::Ready
        } else {
            IndexState::Building(slice.last().copied())
        };
        writer.set_states(|i| {
            (i.field.entity_type == entity_type && i.state == state).then_some(next)
        });
        Ok(())
    }

    fn drop_slice(&self, ordinal: u32) -> Result<()> {
        let mut left = true;
        self.transact(|tx| {
            let (mut index, mut indexed) =
                (tx.open_table(Table::Index)?, tx.open_table(Table::Indexed)?);
            // no sort key begins so high
            let (from, to) =
                (ordinal.to_be_bytes(), [&ordinal.to_be_bytes()[..], &[u8::MAX]].concat());
            let rows = index.range(&from[..]..&to[..])?.take(SLICE);
            let rows = rows.map(|row| Ok(row?.0.value().to_vec())).collect::<Result<Vec<_>>>()?;
            for row in &rows {
                index.remove(row);
                if let Ok((_, _, entity)) = index_parts(row) {
                    forget(&mut indexed, entity, ordinal)?;
                }
            }
            left = rows.len() == SLICE;
            if !left {
                tx.open_table(Table::Meta)?.remove(Index::name(ordinal).as_bytes());
            }
            Ok(())
        })?;
        if !left {
            self.writer.lock().indexing.indexes.retain(|i| i.ordinal != ordinal);
        }
        Ok(())
    }
}

impl LogWriter {
    /// A commit stands, also where an index could not follow it. Then all are built anew, and
    /// queries scan until that is done.
    pub(crate) fn doubt_indexes(&mut self) {
        self.set_states(|_| Some(IndexState::Building(None)));
    }

    /// Says how far indexes are, durably with the batch that is open.
    fn set_states(&mut self, next: impl Fn(&Index) -> Option<IndexState>) {
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
    entity_type: TypeNumber,
    after: Option<EntityId>,
) -> Result<impl Iterator<Item = Result<EntityId>> + use<>> {
    let from = type_key(entity_type, after.unwrap_or(EntityId::from_bytes([0; 16])));
    let to = type_key(entity_type, EntityId::from_bytes([u8::MAX; 16]));
    let rows = tables.by_type.range(&from[..]..=&to[..])?;
    let id = |row: &[u8]| row.split_last_chunk().map(|(_, id)| EntityId::from_bytes(*id));
    let ids = rows.map(move |row| {
        let (key, _) = row?;
        id(key.value())
            .ok_or_else(|| Error::corrupt(Table::ByType, hex(key.value()), "not an entity id"))
    });
    Ok(ids.filter(move |id| id.as_ref().ok() != after.as_ref()))
}

/// Forgets that an index holds something of an entity.
fn forget(indexed: &mut RowTable<'_>, entity: EntityId, ordinal: u32) -> Result<()> {
    let id = entity.as_bytes();
    let keys = match indexed.get(&id[..])? {
        Some(row) => read_indexed(entity, row.value()),
        None => return Ok(()),
    };
    let Ok(mut keys) = keys else { return Ok(()) };
    keys.retain(|(o, _)| *o != ordinal);
    if keys.is_empty() {
        indexed.remove(id);
    } else {
        indexed.insert(id, &indexed_row(entity, &keys));
    }
    Ok(())
}
