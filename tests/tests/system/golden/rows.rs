//! A small store file and its rows.

use std::fmt::Write as _;
use std::path::Path;

use heirloom::replication::{Cut, Peer, StagedHead};
use heirloom::{Chain, Content, Engine, EntityId, Kind, LogId, NodeId, Patch, Value};
use heirloom_tests::{hex, specimen, twins};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::{histories, put_lines, read_golden};
use heirloom_tests::tables_part::{create_tables, open_tables};

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const LAMP: EntityId = EntityId::from_bytes([0x1a; 16]);
const ROOM: EntityId = EntityId::from_bytes([0x20; 16]);

/// A table with what its keys and values are.
type Named = (&'static str, &'static str);

/// Every table that each store has.
const TABLES: [Named; 11] = [
    ("meta", "name; checksum, value"),
    ("logs", "log ordinal; checksum, log id, genesis, fork"),
    ("types", "type ordinal; checksum, entity type"),
    ("type_names", "entity type; type ordinal"),
    ("log", "lsn, piece; checksum, piece of a record"),
    ("dots", "log ordinal, first sequence; lsn"),
    ("heads", "entity id; checksum, heads"),
    ("by_type", "type ordinal, entity id; nothing"),
    ("unsettled", "entity id; nothing"),
    ("staging", "peer, piece; checksum, large commit on its way in"),
    ("peers", "log id of a peer; checksum, root and lsn of the last equal cut"),
];

/// Those that show what a store with an index keeps of logs that forked and of bodies that do not
/// verify.
const RARE: [Named; 4] = [
    ("logs", "log ordinal; checksum, log id, genesis, fork"),
    ("index", "index ordinal, sort key, entity id; nothing"),
    ("indexed", "entity id; checksum, keys"),
    ("missing", "lsn; checksum, damaged or not, line, first sequence"),
];

fn table(name: &'static str) -> Table {
    TableDefinition::new(name)
}

/// What an own commit, commits of others, a conflict, a large record and a session leave behind.
pub(crate) fn write_store(path: &Path) {
    let engine = histories::device(Engine::builder().label("phone"), 1_700_000_000_000, 1)
        .open(path)
        .unwrap();
    engine
        .write(|tx| {
            tx.create_with_id(LAMP, "lamp", &histories::every_value())?;
            tx.create_with_id(ROOM, "room", &Content::new().with("name", "den"))
        })
        .unwrap();
    engine.write(|tx| tx.patch(LAMP, Patch::new().set("on", Value::Null))).unwrap();
    let tablet = histories::device(Engine::builder().label("tablet"), 1_700_000_001_000, 0x71)
        .in_memory()
        .unwrap();
    twins::ingest(&tablet, &twins::commits_of(&engine)[0]).unwrap();
    tablet.write(|tx| tx.patch(LAMP, Patch::new().set("on", "dim"))).unwrap();
    tablet.write(|tx| tx.delete(ROOM)).unwrap();
    twins::carry(&tablet, &engine);
    // longer than one piece, and too long to stand in the heads
    let blob: Vec<u8> =
        (0..140u32).flat_map(|i| *blake3::hash(&i.to_be_bytes()).as_bytes()).collect();
    engine
        .write(|tx| {
            tx.create_with_id(
                EntityId::from_bytes([0xb1; 16]),
                "blob",
                &Content::new().with("b", blob),
            )
        })
        .unwrap();
    let replication = engine.replication();
    let cut = Some(Cut { root: engine.log_root().unwrap(), lsn: 4.into() });
    replication
        .remember(PEER, Peer { cut, held: 5.into(), is_hub: true, ..Default::default() })
        .unwrap();
    replication.node().unwrap();
    replication.stage(PEER, &staged(), 0, b"the beginning").unwrap();
    engine.close().unwrap();
}

/// A peer that the store has met.
const PEER: NodeId = NodeId::from_bytes([0xee; 16]);

fn staged() -> StagedHead {
    StagedHead {
        log: LogId::from_bytes([0xdd; 16]),
        sequence: 9.into(),
        chain: Chain::from_bytes([0xcc; 32]),
        total: 500,
        digest: [0xbb; 16],
    }
}

/// Checks the content of such a store through the public API.
pub(crate) fn holds_what_it_should(engine: &Engine) {
    let found = engine.verify().unwrap();
    assert!(found.is_clean(), "{:?}", found.problems);
    assert_eq!((found.commits, found.versions, found.entities), (5, 6, 3));
    assert!(engine.device_id().unwrap().starts_with("phone-"));
    let snapshot = engine.snapshot().unwrap();
    let lamp = snapshot.get(LAMP).unwrap().unwrap();
    assert_eq!((lamp.heads().len(), lamp.conflicting_fields()), (2, &["on".to_owned()][..]));
    assert_eq!(lamp.content(), histories::every_value().with("on", "dim"));
    let first = snapshot
        .history(LAMP)
        .unwrap()
        .map(Result::unwrap)
        .find(|v| v.kind() == Kind::Create)
        .unwrap();
    assert_eq!(snapshot.content_at(&first.reference()).unwrap().unwrap(), histories::every_value());
    assert!(snapshot.get(ROOM).unwrap().is_none());
    assert_eq!(snapshot.list("room").include_deleted().entities().unwrap().len(), 1);
    assert_eq!(snapshot.unsettled().unwrap().map(Result::unwrap).collect::<Vec<_>>(), [LAMP]);
    let peer = engine.replication().remembered(PEER).unwrap().unwrap();
    assert_eq!(
        (peer.cut.map(|cut| cut.lsn.get()), peer.held.get(), peer.is_hub),
        (Some(4), 5, true)
    );
    assert_eq!(engine.replication().staged(PEER).unwrap().unwrap().head, staged());
    assert_eq!(engine.replication().staged_bytes(PEER).unwrap(), b"the beginning");
}

/// Writes to it, under the log that it had.
pub(crate) fn goes_on(engine: &Engine) {
    engine.write(|tx| tx.patch(LAMP, Patch::new().set("on", true))).unwrap();
    let snapshot = engine.snapshot().unwrap();
    let heads = snapshot.heads(LAMP).unwrap();
    assert_eq!(
        (heads.len(), heads[0].reference().sequence.get(), heads[0].parents().len()),
        (1, 5, 2)
    );
    assert_eq!(Some(heads[0].log()), engine.log_id());
    assert!(engine.verify().unwrap().is_clean());
}

/// The rows of a store file as text.
pub(crate) fn show(path: &Path) -> String {
    show_tables(
        path,
        "# The rows of a small store file: under each table and key the value.\n",
        &TABLES,
    )
}

/// Some of those of a store with something in every table.
pub(crate) fn show_rare(path: &Path) -> String {
    show_tables(path, "# Rows that few stores have: under each table and key the value.\n", &RARE)
}

fn show_tables(path: &Path, about: &str, tables: &[Named]) -> String {
    let database = open_tables(path);
    let tx = database.begin_read().unwrap();
    let mut out = String::from(about);
    for (name, what) in tables {
        writeln!(out, "\n# {name}: {what}").unwrap();
        for row in tx.open_table(table(name)).unwrap().iter().unwrap() {
            let (key, value) = row.unwrap();
            // say which machine and file it is, and what else went through its journal
            if *name == "meta" && [&b"fingerprint"[..], b"journal"].contains(&key.value()) {
                continue;
            }
            writeln!(out, "= {name} {}", hex::of(key.value())).unwrap();
            put_lines(&mut out, value.value(), &printable(value.value()));
        }
    }
    out
}

/// What people can read in a row.
fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(48)
        .map(|b| if b.is_ascii_alphanumeric() { *b as char } else { '.' })
        .collect()
}

/// A store with the rows of the golden file.
pub(crate) fn make_store(path: &Path) {
    let database = create_tables(path);
    let tx = database.begin_write().unwrap();
    for (name, _) in TABLES {
        let mut rows = tx.open_table(table(name)).unwrap();
        for (record, value) in read_golden("rows.hex") {
            let (of, key) = record.split_once(' ').unwrap();
            if of == name {
                rows.insert(&hex::read(key).unwrap()[..], &value[..]).unwrap();
            }
        }
        if name == "meta" {
            // nothing ever went through its journal
            rows.insert(&b"journal"[..], &specimen::seal(b"journal", &[0; 17])[..]).unwrap();
        }
    }
    tx.commit().unwrap();
}
