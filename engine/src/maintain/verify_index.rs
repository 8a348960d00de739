//! Compares indexes with what is shown of entities, row by row and in both directions (R33).

use std::collections::BTreeMap;

use heirloom_core::model::EntityId;

use crate::error::{Result, Table};
use crate::read::Snapshot;
use crate::store::{
    Index, IndexState, ReadTable, Verification, View, hex, index_key, index_parts, keys_of,
    read_indexed,
};

/// By ordinal; none where the definition is damaged.
type Indexes = BTreeMap<u32, Option<Index>>;

/// Takes no memory but for the definitions.
pub(crate) fn check_index(
    snapshot: &Snapshot,
    view: &View<'_>,
    out: &mut Verification,
) -> Result<()> {
    let mut indexes = Indexes::new();
    for (ordinal, index) in Index::all(&snapshot.tables)? {
        indexes.insert(ordinal, out.note(index)?);
    }
    let ready = indexes.values().flatten().filter(|i| i.state == IndexState::Ready);
    let ready: Vec<&Index> = ready.collect();
    let (index, indexed) =
        (snapshot.tables.optional(Table::Index)?, snapshot.tables.optional(Table::Indexed)?);
    // a table that is not there is one without rows: the other may still lead to some
    if let Some(index) = &index {
        check_rows(index, indexed.as_ref(), &indexes, out)?;
    }
    if let Some(indexed) = &indexed {
        check_lists(index.as_ref(), indexed, view, &ready, out)?;
    }
    if ready.is_empty() {
        return Ok(());
    }
    for id in snapshot.entity_ids()? {
        // a damaged id is named among the heads
        let Ok(id) = id else { continue };
        let listed = match &indexed {
            Some(indexed) => indexed.get(&id.as_bytes()[..])?.is_some(),
            None => false,
        };
        if !listed && keys_of(view, id, ready.iter().copied())?.is_some_and(|keys| !keys.is_empty())
        {
            out.problem(Table::Indexed, id, "the row is missing");
        }
    }
    Ok(())
}

/// Each row of `index` is named by its entity's row of `indexed`.
fn check_rows(
    index: &ReadTable,
    indexed: Option<&ReadTable>,
    indexes: &Indexes,
    out: &mut Verification,
) -> Result<()> {
    for row in index.range::<&[u8]>(..)? {
        let (row, _) = row?;
        let Some((ordinal, key, entity)) = out.note(index_parts(row.value()))? else { continue };
        let list = indexed.map(|t| t.get(&entity.as_bytes()[..])).transpose()?.flatten();
        let named = match list {
            // a damaged list is named when the lists are walked
            Some(list) => read_indexed(entity, list.value())
                .map_or(true, |keys| keys.iter().any(|(o, k)| *o == ordinal && k == key)),
            None => false,
        };
        if !named || !indexes.contains_key(&ordinal) {
            out.problem(Table::Index, hex(row.value()), "a row that nothing leads to");
        }
    }
    Ok(())
}

/// Each row of `indexed` names rows that are there, and says of ready indexes what is shown of the
/// entity.
fn check_lists(
    index: Option<&ReadTable>,
    indexed: &ReadTable,
    view: &View<'_>,
    ready: &[&Index],
    out: &mut Verification,
) -> Result<()> {
    for row in indexed.range::<&[u8]>(..)? {
        let (id, list) = row?;
        let Ok(entity) = <[u8; 16]>::try_from(id.value()).map(EntityId::from_bytes) else {
            out.problem(Table::Indexed, hex(id.value()), "not an entity id");
            continue;
        };
        let Some(mut keys) = out.note(read_indexed(entity, list.value()))? else { continue };
        for (ordinal, key) in &keys {
            let row = index_key(*ordinal, key, entity);
            if index.map(|t| t.get(&row[..])).transpose()?.flatten().is_none() {
                out.problem(Table::Index, hex(&row), "a row is missing");
            }
        }
        keys.retain(|(o, _)| ready.iter().any(|i| i.ordinal == *o));
        if keys != keys_of(view, entity, ready.iter().copied())?.unwrap_or_default() {
            out.problem(Table::Indexed, entity, "not what is shown of the entity");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use heirloom_core::model::{Content, Patch};

    use super::*;
    use crate::engine::Engine;
    use crate::store::{RowBatch, seal};

    const LAMP: EntityId = EntityId::from_bytes([1; 16]);

    /// What `verify` says after a change to the tables, each as `table: what`.
    fn said_after(change: impl FnOnce(&RowBatch<'_>) -> Result<()>) -> Vec<String> {
        let engine = Engine::builder().index("lamp", "v").in_memory().unwrap();
        engine
            .write(|tx| tx.create_with_id(LAMP, "lamp", &Content::new().with("v", true)))
            .unwrap();
        engine.write(|tx| tx.create("lamp", &Content::new().with("v", 8))).unwrap();
        assert!(engine.verify().unwrap().is_clean());
        engine.store().transact(change).unwrap();
        let said = engine
            .verify()
            .unwrap()
            .problems
            .iter()
            .map(|p| format!("{}: {}", p.table, p.what))
            .collect();
        // whatever an index holds, an answer is never wrong, and writing goes on
        let snapshot = engine.snapshot().unwrap();
        for hit in snapshot.query("lamp", "v").unwrap().below(5) {
            assert_eq!(
                hit.map(|e| e.get("v").unwrap()).unwrap_or(Some(true.into())),
                Some(true.into())
            );
        }
        engine.write(|tx| tx.patch(LAMP, Patch::new().set("v", "new"))).unwrap();
        assert_eq!(
            engine.snapshot().unwrap().query("lamp", "v").unwrap().equals("new").count().unwrap(),
            1
        );
        said
    }

    fn row(ordinal: u32, key: &[u8]) -> Vec<u8> {
        index_key(ordinal, key, LAMP)
    }

    #[test]
    fn each_row_that_does_not_fit_is_named() {
        const LIST: &[u8] = LAMP.as_bytes();
        let of_no_such_table = |table: &str| {
            format!("{table}: redb's own pages are damaged: a row that is none of this table")
        };
        let said = said_after(|tx| {
            tx.open_table(Table::Index)?.remove(&row(0, &[3])[..]);
            Ok(())
        });
        assert_eq!(said, ["index: a row is missing"]);
        for extra in [row(0, &[2]), row(7, &[3])] {
            let said = said_after(|tx| {
                tx.open_table(Table::Index)?.insert(&extra[..], &[][..]);
                Ok(())
            });
            assert_eq!(said, ["index: a row that nothing leads to"]);
        }
        let said = said_after(|tx| {
            tx.open_table(Table::Index)?.insert(&[1, 2, 3][..], &[][..]);
            Ok(())
        });
        assert_eq!(said, [&of_no_such_table("index"), "index: not a key"]);
        let said = said_after(|tx| {
            tx.open_table(Table::Indexed)?.remove(LIST);
            Ok(())
        });
        assert_eq!(said, ["index: a row that nothing leads to", "indexed: the row is missing"]);
        let said = said_after(|tx| {
            tx.open_table(Table::Indexed)?.insert(LIST, &[0; 8]);
            Ok(())
        });
        assert_eq!(said, ["indexed: the checksum does not fit"]);
        // both agree, but on something that is not shown
        let said = said_after(|tx| {
            let mut index = tx.open_table(Table::Index)?;
            index.remove(&row(0, &[3])[..]);
            index.insert(&row(0, &[2])[..], &[][..]);
            tx.open_table(Table::Indexed)?.insert(LIST, &seal(LIST, &[1, 0, 1, 2])[..]);
            Ok(())
        });
        assert_eq!(said, ["indexed: not what is shown of the entity"]);
        let said = said_after(|tx| {
            tx.open_table(Table::Index)?.remove(&row(0, &[3])[..]);
            tx.open_table(Table::Indexed)?.remove(LIST);
            Ok(())
        });
        assert_eq!(said, ["indexed: the row is missing"]);
        let said = said_after(|tx| {
            tx.open_table(Table::Indexed)?.insert(&[1, 2][..], &seal(&[1, 2], &[0])[..]);
            Ok(())
        });
        assert_eq!(said, [&of_no_such_table("indexed"), "indexed: not an entity id"]);
    }
}
