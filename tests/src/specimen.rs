//! A store with something in every table, to be mistreated; all that can be read of one; and its
//! rows, to be read and put beneath redb's API.

use std::collections::BTreeMap;
use std::path::Path;

use heirloom::replication::{Peer, StagedHead};
use heirloom::{
    Chain, Content, Engine, EntityId, Error, LogId, Lsn, Metadata, NodeId, Patch, Sequence,
    Timestamp, Value,
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::decoder::Body;
use crate::disk::Disk;
use crate::forge::{self, CommitSpec, VersionSpec};
use crate::tables_part::{open_tables, tables_on};
use crate::twins;

/// The name of its dataset.
pub const DATASET: &str = "bad input";
/// Every table of a store, in the order of the numbers that rows of the journal have for them.
pub const TABLES: [&str; 14] = [
    "meta",
    "logs",
    "types",
    "type_names",
    "log",
    "dots",
    "heads",
    "by_type",
    "unsettled",
    "index",
    "indexed",
    "missing",
    "staging",
    "peers",
];
/// Those that follow from the log.
pub const DERIVED: [&str; 7] =
    ["type_names", "dots", "heads", "by_type", "unsettled", "index", "indexed"];
/// Those whose rows carry no checksum: they say nothing but their keys, or name a row that has one.
pub const UNSEALED: [&str; 5] = ["type_names", "dots", "by_type", "unsettled", "index"];

/// The types of its entities.
const TYPES: [&str; 4] = ["lamp", "room", "blob", "draft"];
/// Its entities have lower numbers.
const ENTITIES: u8 = 34;
/// One that it met.
const PEER: NodeId = NodeId::from_bytes([0xee; 16]);

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The same every time: time stands still, and nonces differ by label alone.
pub fn builder() -> heirloom::Builder {
    let now = Timestamp::from_millis(1_700_000_000_000);
    Engine::builder()
        .label("phone")
        .dataset_name(DATASET)
        .wall_clock(move || now)
        .entropy(|| [7; 16])
        .index("lamp", "n")
        .index_in_background(false)
        .local_type("draft")
        .journal_bytes(0)
}

/// An entity by its number.
pub fn entity(number: u8) -> EntityId {
    EntityId::from_bytes([number; 16])
}

/// Five logs, of which one forked; entities of four types, a conflict, a deletion, a large content,
/// a commit with metadata; bodies that do not verify; a peer, and the beginning of a large commit
/// of its.
pub fn write(path: &Path) {
    fill(builder().open(path).unwrap());
}

/// The same, in memory: the bytes of its file.
pub fn image() -> Vec<u8> {
    let disk = Disk::new();
    fill(builder().open_backend(disk.clone()).unwrap());
    disk.bytes()
}

/// The smallest store that has something in each table, closed: the bytes of its file.
pub fn smallest() -> Vec<u8> {
    let engine = builder().in_memory().unwrap();
    engine.build_indexes().unwrap();
    engine.write(|tx| tx.create_with_id(entity(0), "lamp", &Content::new().with("n", 1))).unwrap();
    engine.write(|tx| tx.create_with_id(entity(1), "draft", &Content::new().with("n", 2))).unwrap();
    engine.write(|tx| tx.patch(entity(0), Patch::new().set("n", 3))).unwrap();
    strangers().iter().for_each(|commit| drop(twins::ingest(&engine, commit).unwrap()));
    meet(&engine);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("small");
    engine.compact_to(&path).unwrap();
    // down to the pages that it needs
    while open_tables(&path).compact().unwrap() {}
    let found: std::collections::BTreeSet<_> = rows(&path).iter().map(|row| row.0).collect();
    assert!(TABLES.iter().all(|table| found.contains(table)), "{found:?}");
    std::fs::read(&path).unwrap()
}

/// The same, left by a kill with three commits in its journal. The last says what a peer holds,
/// which saves work and is no loss: whoever looks cannot tell whether the last one ever was whole.
pub fn smallest_with_a_journal() -> Vec<u8> {
    let disk = Disk::holding(smallest());
    let engine = builder().open_backend(disk.clone()).unwrap();
    engine.write(|tx| tx.patch(entity(0), Patch::new().set("n", 4))).unwrap();
    engine.write(|tx| tx.create_with_id(entity(2), "lamp", &Content::new().with("n", 5))).unwrap();
    engine.replication().remember(NodeId::from_bytes([6; 16]), Peer::default()).unwrap();
    disk.bytes()
}

fn fill(engine: Engine) {
    engine.build_indexes().unwrap();
    let why = Metadata::new().with_actor("ada").with_message("the first of all");
    engine
        .write_with(why, |tx| {
            (0..10).try_for_each(|i| {
                let content =
                    Content::new().with("n", i64::from(i)).with("name", format!("number {i}"));
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
    let large: Vec<u8> =
        (0..400u32).flat_map(|i| *blake3::hash(&i.to_be_bytes()).as_bytes()).collect();
    engine
        .write(|tx| tx.create_with_id(entity(20), "blob", &Content::new().with("b", large)))
        .unwrap();
    engine.write(|tx| tx.delete(entity(5))).unwrap();
    strangers().iter().for_each(|commit| drop(twins::ingest(&engine, commit).unwrap()));
    for i in 0..40 {
        engine.write(|tx| tx.patch(entity(3), Patch::new().set("n", i))).unwrap();
    }
    let draft = Content::new().with("text", "for nobody else");
    engine.write(|tx| tx.create_with_id(entity(22), "draft", &draft)).unwrap();
    engine
        .write(|tx| tx.create_with_id(entity(21), "room", &Content::new().with("v", Value::Null)))
        .unwrap();
    meet(&engine);
    engine.close().unwrap();
}

/// A peer, and the beginning of a large commit of its.
fn meet(engine: &Engine) {
    let replication = engine.replication();
    replication.node().unwrap();
    replication
        .remember(PEER, Peer { cut: None, held: Lsn::new(3), is_hub: true, ..Default::default() })
        .unwrap();
    let head = StagedHead {
        log: LogId::from_bytes([0xdd; 16]),
        sequence: Sequence::new(9),
        chain: Chain::from_bytes([0xcc; 32]),
        total: 500,
        digest: [0xbb; 16],
    };
    replication.stage(PEER, &head, 0, b"the beginning").unwrap();
}

/// Commits in two branches of a log, and one whose bodies are not there.
fn strangers() -> Vec<Vec<u8>> {
    let mut author = twins::author(DATASET, "watch");
    let lamp = |n| forge::own([("n", crate::decoder::Value::int(n))]);
    let first =
        author.commit(&CommitSpec::at(1).version(VersionSpec::create([30; 16], "lamp", lamp(1))));
    let mut copy = author.clone();
    let next = |n| {
        CommitSpec::at(2).version(VersionSpec::update([30; 16], "lamp", lamp(n)).after(&first, 0))
    };
    let branches = [author.commit(&next(2)), copy.commit(&next(3))];
    let mut other = twins::author(DATASET, "radio");
    let made =
        other.commit(&CommitSpec::at(3).version(VersionSpec::create([31; 16], "radio", lamp(4))));
    let gone = VersionSpec::update([31; 16], "radio", lamp(5)).after(&made, 0).body(Body::Missing);
    let gone = other.commit(&CommitSpec::at(4).version(gone));
    [first].into_iter().chain(branches).chain([made, gone]).map(|forged| forged.bytes).collect()
}

/// What a store tells: each piece under its name, or what kind of error it is.
pub type Survey = BTreeMap<String, Result<String, String>>;

/// Everything that the public API tells, each piece under its name: printed, or what kind of error
/// it is.
pub fn survey(engine: &Engine) -> Survey {
    let mut out = BTreeMap::new();
    let mut note = |what: String, found: Result<String, Error>| {
        drop(out.insert(what, found.map(brief).map_err(|error| kind_of(&error))));
    };
    let snapshot = engine.snapshot().unwrap();
    note("log root".into(), snapshot.log_root().map(|root| root.to_string()));
    note("state digest".into(), snapshot.state_digest().map(|digest| digest.to_string()));
    note("clock".into(), snapshot.clock().map(|clock| format!("{clock:?}")));
    note("commits".into(), commits(engine));
    note("forks".into(), snapshot.forks().map(|forks| format!("{forks:?}")));
    let replication = engine.replication();
    note("peers".into(), replication.peers().map(|peers| format!("{peers:?}")));
    let staged = replication.staged(PEER).and_then(|s| Ok((s, replication.staged_bytes(PEER)?)));
    note("staged".into(), staged.map(|staged| format!("{staged:?}")));
    let found = snapshot.query("lamp", "n").and_then(|query| query.entities());
    note("by number".into(), found.map(|found| format!("{found:?}")));
    for id in (0..ENTITIES).map(entity) {
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
    for entity_type in TYPES {
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
        return Err(Error::Corrupt {
            table: heirloom::Table::Log,
            key: String::new(),
            what: String::new(),
        });
    }
    let batch = engine.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)?;
    Ok(format!("{:?}", batch.commits.iter().map(|commit| &commit.bytes).collect::<Vec<_>>()))
}

/// The name of the variant.
pub fn kind_of(error: &Error) -> String {
    let text = format!("{error:?}");
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// A row: its table, key and value.
pub type Row = (&'static str, Vec<u8>, Vec<u8>);

/// All rows of a closed store.
pub fn rows(path: &Path) -> Vec<Row> {
    rows_of(&open_tables(path))
}

/// The same of one that lies on a disk in memory.
pub fn rows_on(disk: &Disk) -> Vec<Row> {
    rows_of(&tables_on(disk.clone()))
}

/// Puts a row in the place of another, or removes it.
pub fn replace(path: &Path, name: &'static str, old: &[u8], new: Option<(&[u8], &[u8])>) {
    replace_in(&open_tables(path), name, old, new);
}

/// The same in one that lies on a disk in memory.
pub fn replace_on(disk: &Disk, name: &'static str, old: &[u8], new: Option<(&[u8], &[u8])>) {
    replace_in(&tables_on(disk.clone()), name, old, new);
}

/// A table as bytes.
pub fn table(name: &'static str) -> Table {
    TableDefinition::new(name)
}

fn rows_of(database: &Database) -> Vec<Row> {
    let tx = database.begin_read().unwrap();
    let mut out = Vec::new();
    for name in TABLES {
        // some come into being with their first row
        let Ok(table) = tx.open_table(table(name)) else { continue };
        for row in table.iter().unwrap() {
            let (key, value) = row.unwrap();
            out.push((name, key.value().to_vec(), value.value().to_vec()));
        }
    }
    out
}

fn replace_in(database: &Database, name: &'static str, old: &[u8], new: Option<(&[u8], &[u8])>) {
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
pub fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(&[key, value].concat());
    [&sum.to_be_bytes()[..], value].concat()
}
