//! Whatever happens to derived tables, `repair` makes them again, and the store shows what one
//! shows that was never damaged (R37).

use std::collections::BTreeMap;
use std::path::Path;

use heirloom::{Builder, Content, Engine, EntityId, Error, Patch};
use heirloom_sync::sync_in_process;
use heirloom_tests::tables_part::open_tables;
use proptest::prelude::*;
use redb::{ReadableTable, TableDefinition};
use tempfile::tempdir;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const DERIVED: [Table; 7] = [
    Table::new("type_names"),
    Table::new("dots"),
    Table::new("heads"),
    Table::new("by_type"),
    Table::new("unsettled"),
    Table::new("index"),
    Table::new("indexed"),
];

/// What happens to a row.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Lost,
    Flipped(usize),
    /// Stands under the key of another.
    Misplaced,
}

fn harms() -> impl Strategy<Value = Vec<(usize, usize, Harm)>> {
    let harm = prop_oneof![
        Just(Harm::Lost),
        any::<usize>().prop_map(Harm::Flipped),
        Just(Harm::Misplaced)
    ];
    prop::collection::vec((0..DERIVED.len(), any::<usize>(), harm), 1..6)
}

fn harm(path: &Path, table: Table, which: usize, harm: Harm) {
    let database = open_tables(path);
    let tx = database.begin_write().unwrap();
    {
        let mut table = tx.open_table(table).unwrap();
        let rows: Vec<(Vec<u8>, Vec<u8>)> = table
            .iter()
            .unwrap()
            .map(|r| r.unwrap())
            .map(|(k, v)| (k.value().to_vec(), v.value().to_vec()))
            .collect();
        if rows.is_empty() {
            return;
        }
        let (key, value) = &rows[which % rows.len()];
        match harm {
            Harm::Lost => drop(table.remove(&key[..]).unwrap()),
            Harm::Flipped(_) if value.is_empty() => drop(table.remove(&key[..]).unwrap()),
            Harm::Flipped(bit) => {
                let mut value = value.clone();
                let bit = bit % (value.len() * 8);
                value[bit / 8] ^= 1 << (bit % 8);
                table.insert(&key[..], &value[..]).unwrap();
            }
            Harm::Misplaced => {
                let (other, _) = &rows[(which / 7) % rows.len()];
                table.insert(&other[..], &value[..]).unwrap();
            }
        }
    }
    tx.commit().unwrap();
}

fn builder(label: &str) -> Builder {
    Engine::builder().label(label).dataset_name("repair").index("note", "text").local_type("draft")
}

/// A history of two devices with conflicts, deletions, long and local contents, in a file that is
/// closed.
fn history(path: &Path, choices: &[(u8, u8)]) {
    let phone = builder("phone").open(path).unwrap();
    let tablet = builder("tablet").in_memory().unwrap();
    let mut ids: Vec<EntityId> = Vec::new();
    for (n, (act, which)) in choices.iter().enumerate() {
        let device = if which % 2 == 0 { &phone } else { &tablet };
        let id = ids.get(usize::from(*which) / 2 % ids.len().max(1)).copied();
        let text = format!("{n} {}", "word ".repeat(if act % 5 == 0 { 400 } else { 1 }));
        let written = match (act % 6, id) {
            (0 | 1, _) | (_, None) => {
                let kind = ["task", "note", "note", "draft"][usize::from(*act) / 6 % 4];
                device
                    .write(|tx| tx.create(kind, &Content::new().with("text", text.as_str())))
                    .map(|id| ids.push(id))
            }
            (2 | 3, Some(id)) => {
                device.write(|tx| tx.patch(id, Patch::new().set("text", text.as_str())))
            }
            (4, Some(id)) => device.write(|tx| tx.delete(id)),
            (_, Some(_)) => sync_in_process(&phone, &tablet).map(drop).map_err(|_| Error::Closed),
        };
        // not there yet, or deleted
        drop(written);
    }
    sync_in_process(&phone, &tablet).unwrap();
    phone.close().unwrap();
}

/// All that a store shows.
fn shown(engine: &Engine) -> BTreeMap<String, String> {
    let snapshot = engine.snapshot().unwrap();
    let mut out = BTreeMap::new();
    let digest = snapshot.state_digest().unwrap();
    out.insert("digest".to_owned(), format!("{digest:?} {:?}", snapshot.log_root().unwrap()));
    for kind in ["note", "task", "draft"] {
        for entity in snapshot.list(kind) {
            let entity = entity.unwrap();
            let heads = snapshot.heads(entity.id()).unwrap();
            out.insert(
                format!("{kind} {:?}", entity.id()),
                format!("{:?} {heads:?}", entity.content()),
            );
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn derived_tables_are_made_again(
        choices in prop::collection::vec(any::<(u8, u8)>(), 1..40),
        harms in harms(),
    ) {
        let directory = tempdir().unwrap();
        let (path, twin) = (directory.path().join("store"), directory.path().join("twin"));
        history(&path, &choices);
        std::fs::copy(&path, &twin).unwrap();
        for (table, which, how) in &harms {
            harm(&path, DERIVED[*table], *which, *how);
        }
        let engine = builder("phone").open(&path).unwrap();
        let repaired = engine.repair().unwrap();
        prop_assert!(repaired.left.is_empty(), "{:?}", repaired);
        prop_assert_eq!(repaired.damaged_commits, 0);
        let whole = builder("phone").open(&twin).unwrap();
        prop_assert_eq!(shown(&engine), shown(&whole));
        prop_assert!(engine.repair().unwrap().mended.is_empty(), "nothing is left to do");
        engine.close().unwrap();
        // and it goes on, under the sequence that follows
        let engine = builder("phone").open(&path).unwrap();
        prop_assert!(engine.verify().unwrap().is_clean());
        engine.write(|tx| tx.create("note", &Content::new().with("text", "and on"))).unwrap();
        sync_in_process(&engine, &whole).unwrap();
        prop_assert!(engine.verify().unwrap().is_clean());
        prop_assert_eq!(engine.state_digest().unwrap(), whole.state_digest().unwrap());
    }
}
