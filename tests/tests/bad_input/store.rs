//! A store to be mistreated, and all that can be read of one.

use std::{collections::BTreeMap, path::Path};

use heirloom::{Content, Engine, EntityId, Error, Metadata, Patch, Timestamp, Value};
use heirloom_tests::twins;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

pub(crate) const DATASET: &str = "bad input";
/// Every table of a store.
pub(crate) const TABLES: [&str; 8] =
    ["meta", "logs", "types", "log", "dots", "heads", "by_type", "unsettled"];

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The same every time: time stands still, and nonces differ by label alone.
pub(crate) fn builder() -> heirloom::Builder {
    let now = Timestamp::from_millis(1_700_000_000_000);
    Engine::builder().label("phone").dataset_name(DATASET).clock(move || now).entropy(|| [7; 16])
}

pub(crate) fn entity(number: u8) -> EntityId {
    EntityId::from_bytes([number; 16])
}

/// Three logs, twelve entities of two types, a conflict, a deletion, a large content, a commit with metadata.
pub(crate) fn write(path: &Path) {
    let engine = builder().open(path).unwrap();
    let why = Metadata::new().with_actor("ada").with_message("the first of all");
    engine
        .write_with(why, |tx| {
            (0..10).try_for_each(|i| {
                let content = Content::new().with("n", i64::from(i)).with("name", format!("number {i}"));
                tx.create_with_id(entity(i), if i % 2 == 0 { "lamp" } else { "room" }, &content)
            })
        })
        .unwrap();
    for (label, number) in [("tablet", 1), ("laptop", 2)] {
        let other = builder().label(label).in_memory().unwrap();
        twins::carry(&engine, &other);
        other.write(|tx| tx.patch(entity(0), Patch::new().set("n", number * 100))).unwrap();
        other.write(|tx| tx.patch(entity(number as u8), Patch::new().set("by", label))).unwrap();
        twins::carry(&other, &engine);
    }
    let large: Vec<u8> = (0..400u32).flat_map(|i| *blake3::hash(&i.to_be_bytes()).as_bytes()).collect();
    engine.write(|tx| tx.create_with_id(entity(20), "blob", &Content::new().with("b", large))).unwrap();
    engine.write(|tx| tx.delete(entity(5))).unwrap();
    for i in 0..40 {
        engine.write(|tx| tx.patch(entity(3), Patch::new().set("n", i))).unwrap();
    }
    engine.write(|tx| tx.create_with_id(entity(21), "room", &Content::new().with("v", Value::Null))).unwrap();
    engine.close().unwrap();
}

/// Everything that the public API tells, each piece under its name: printed, or what kind of error it is.
pub(crate) fn survey(engine: &Engine) -> BTreeMap<String, Result<String, String>> {
    let mut out = BTreeMap::new();
    let mut note = |what: String, found: Result<String, Error>| {
        drop(out.insert(what, found.map(brief).map_err(|error| kind_of(&error))));
    };
    let snapshot = engine.snapshot().unwrap();
    note("log root".into(), snapshot.log_root().map(|root| root.to_string()));
    note("state digest".into(), snapshot.state_digest().map(|digest| digest.to_string()));
    note("clock".into(), snapshot.clock().map(|clock| format!("{clock:?}")));
    note("commits".into(), commits(engine));
    for id in (0..22).map(entity) {
        note(format!("entity {id}"), snapshot.get_any(id).map(|entity| format!("{entity:?}")));
        note(format!("heads of {id}"), snapshot.heads(id).map(|heads| format!("{heads:?}")));
        let history: Result<Vec<_>, _> = snapshot.history(id).and_then(Iterator::collect);
        for version in history.iter().flatten() {
            let reference = version.reference();
            let content = snapshot.content_at(&reference);
            note(format!("content of {reference}"), content.map(|content| format!("{content:?}")));
        }
        note(format!("history of {id}"), history.map(|all| format!("{all:?}")));
    }
    for entity_type in ["lamp", "room", "blob"] {
        let listed = snapshot.list(entity_type).include_deleted().entities();
        note(format!("all of type {entity_type}"), listed.map(|all| format!("{all:?}")));
    }
    out
}

/// Long texts as their hash.
fn brief(text: String) -> String {
    if text.len() < 400 { text } else { blake3::hash(text.as_bytes()).to_string() }
}

fn commits(engine: &Engine) -> heirloom::Result<String> {
    // what is known to be damaged, and what builds on it, is not offered to peers
    if !engine.replication().position()?.whole {
        return Err(Error::Corrupt { table: "log", key: String::new(), what: String::new() });
    }
    let batch = engine.replication().commits(0, u64::MAX, &|_, _, _| true, usize::MAX)?;
    Ok(format!("{:?}", batch.commits.iter().map(|commit| &commit.bytes).collect::<Vec<_>>()))
}

/// The name of the variant.
pub(crate) fn kind_of(error: &Error) -> String {
    let text = format!("{error:?}");
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// Reads or writes the rows of a closed store.
pub(crate) fn table(name: &'static str) -> Table {
    TableDefinition::new(name)
}

/// All rows of a closed store.
pub(crate) fn rows(path: &Path) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let database = Database::open(path).unwrap();
    let tx = database.begin_read().unwrap();
    let mut out = Vec::new();
    for name in TABLES {
        for row in tx.open_table(table(name)).unwrap().iter().unwrap() {
            let (key, value) = row.unwrap();
            out.push((name, key.value().to_vec(), value.value().to_vec()));
        }
    }
    out
}

/// Puts a row in the place of another, or removes it.
pub(crate) fn replace(path: &Path, name: &'static str, old: &[u8], new: Option<(&[u8], &[u8])>) {
    let database = Database::open(path).unwrap();
    let tx = database.begin_write().unwrap();
    {
        let mut table = tx.open_table(table(name)).unwrap();
        table.remove(old).unwrap();
        if let Some((key, value)) = new {
            table.insert(key, value).unwrap();
        }
    }
    tx.commit().unwrap();
}

/// A value with its checksum, as rows are sealed.
pub(crate) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(&[key, value].concat());
    [&sum.to_be_bytes()[..], value].concat()
}
