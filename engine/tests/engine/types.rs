//! Entity types in any number: a member can make as many as it likes, and what they cost in memory
//! and at opening does not grow with them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heirloom::{Builder, Content, Engine, EntityId, Error, Lsn};
use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::tables_part::{TablesPart, open_tables};

/// Counts the bytes that are read.
#[derive(Debug)]
struct Counted(FileBackend, Arc<AtomicU64>);

impl StorageBackend for Counted {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.1.fetch_add(out.len() as u64, Ordering::Relaxed);
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn builder() -> Builder {
    Engine::builder().label("phone").dataset_name("home").drain_after(None)
}

fn name(n: u32) -> String {
    format!("a type that somebody made up, number {n}")
}

const ENTITIES: u32 = 10_000;

fn id(n: u32) -> EntityId {
    EntityId::v5(&[7; 16], &n.to_be_bytes())
}

fn fill(engine: &Engine, entities: u32, types: u32) {
    for from in (0..entities).step_by(500) {
        let some = from..entities.min(from + 500);
        let one = |tx: &mut heirloom::Transaction<'_>, n| {
            tx.create_with_id(id(n), &name(n % types), &Content::new().with("n", n))
        };
        engine.write(|tx| some.clone().try_for_each(|n| one(tx, n))).unwrap();
    }
    engine.write(|tx| tx.create("the last commit", &Content::new())).unwrap();
}

fn counted(path: &Path) -> (Counted, Arc<AtomicU64>) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let read = Arc::new(AtomicU64::new(0));
    (Counted(FileBackend::new(file).unwrap(), read.clone()), read)
}

/// With the bytes that opening reads beyond what redb itself does, which grows with the file.
fn open_counted(path: &Path) -> (Engine, u64) {
    let (file, read) = counted(path);
    let part = TablesPart::of(file).unwrap();
    let database = redb::Database::builder().create_with_backend(part).unwrap();
    let of_redb = read.load(Ordering::Relaxed);
    drop(database);
    let (file, read) = counted(path);
    let engine = builder().open_backend(file).unwrap();
    (engine, read.load(Ordering::Relaxed).saturating_sub(of_redb))
}

#[test]
fn opening_reads_no_more_of_ten_thousand_types_than_of_ten() {
    let dir = tempfile::tempdir().unwrap();
    let mut reads = Vec::new();
    for types in [10, ENTITIES] {
        let path = dir.path().join(types.to_string());
        let engine = builder().open(&path).unwrap();
        fill(&engine, ENTITIES, types);
        let all = engine
            .replication()
            .commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)
            .unwrap();
        let root = engine.log_root().unwrap();
        engine.close().unwrap();

        let (engine, read) = open_counted(&path);
        reads.push(read);
        let snapshot = engine.snapshot().unwrap();
        for n in (0..types).step_by(types as usize / 5) {
            assert_eq!(snapshot.list(&name(n)).count().unwrap(), u64::from(ENTITIES / types));
            assert_eq!(snapshot.get(id(n)).unwrap().unwrap().entity_type(), name(n));
        }
        assert_eq!(snapshot.list(&name(types)).count().unwrap(), 0);
        // an old type stays what it is, a new one is one
        for n in [0, types - 1, types, types] {
            engine.write(|tx| tx.create(&name(n), &Content::new())).unwrap();
        }
        let snapshot = engine.snapshot().unwrap();
        let counts = [0, 1, types - 1, types].map(|n| snapshot.list(&name(n)).count().unwrap());
        let each = u64::from(ENTITIES / types);
        assert_eq!(counts, [each + 1, each, each + 1, 2]);
        assert!(engine.verify().unwrap().is_clean());
        engine.repair().unwrap();
        assert!(engine.verify().unwrap().is_clean());

        // the same where they arrive
        let other = builder().label("tablet").in_memory().unwrap();
        let commits: Vec<&[u8]> = all.commits.iter().map(|c| &c.bytes[..]).collect();
        other.replication().ingest(&commits).unwrap();
        assert_eq!(other.log_root().unwrap(), root);
        assert_eq!(other.snapshot().unwrap().list(&name(types / 2)).count().unwrap(), each);
        assert!(other.verify().unwrap().is_clean());
    }
    assert!(reads.iter().all(|read| *read < 128 * 1024), "{reads:?}");
}

/// A lost row must not make two types of one.
#[test]
fn a_type_whose_name_was_lost_gets_no_second_number_and_repair_brings_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let engine = builder().open(&path).unwrap();
    fill(&engine, 3, 3);
    engine.close().unwrap();
    let names = redb::TableDefinition::<&[u8], &[u8]>::new("type_names");
    let database = open_tables(&path);
    let tx = database.begin_write().unwrap();
    tx.open_table(names).unwrap().remove(name(1).as_bytes()).unwrap().expect("it was there");
    tx.commit().unwrap();
    drop(database);

    let engine = builder().open(&path).unwrap();
    let refused = engine.write(|tx| tx.create(&name(1), &Content::new()));
    assert!(
        matches!(refused, Err(Error::Corrupt { table: heirloom::Table::TypeNames, .. })),
        "{refused:?}"
    );
    assert_eq!(engine.snapshot().unwrap().get(id(1)).unwrap().unwrap().entity_type(), name(1));
    let named = engine.verify().unwrap().problems;
    assert!(named.iter().any(|p| p.table.name() == "type_names" && p.key == name(1)), "{named:?}");
    engine.repair().unwrap();
    assert!(engine.verify().unwrap().is_clean());
    engine.write(|tx| tx.create(&name(1), &Content::new())).unwrap();
    assert_eq!(engine.snapshot().unwrap().list(&name(1)).count().unwrap(), 2);
}
