//! Indexes and queries through the public API, against a naive filter and sort over a listing.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Atomic};

use heirloom::{
    Builder, Content, Engine, Entity, EntityId, Error, Lsn, Patch, Policy, Query, QueryCursor,
    Snapshot, Timestamp, Value,
};
use proptest::prelude::*;
use redb::backends::InMemoryBackend;

use super::carried::carry;

/// A file in memory that outlives its engine.
#[derive(Clone, Debug, Default)]
struct File(Arc<InMemoryBackend>);

impl redb::StorageBackend for File {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.write(offset, data)
    }
}

fn builder(label: &str) -> Builder {
    let now = AtomicU64::new(1_700_000_000_000);
    Engine::builder()
        .label(label)
        .dataset_name("home")
        .wall_clock(move || Timestamp::from_millis(now.fetch_add(1, Atomic::Relaxed) as i64))
}

fn clean(engine: &Engine) {
    let found = engine.verify().unwrap();
    assert!(found.is_clean(), "{:?}", found.problems);
}

// --- the naive answer ---

fn rank(value: &Value) -> Option<u8> {
    Some(match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) => 2,
        Value::Timestamp(_) => 3,
        Value::Text(_) => 4,
        Value::Bytes(_) => 5,
        _ => return None,
    })
}

/// The numbers of these tests are small, so a double holds each.
fn number(value: &Value) -> f64 {
    match value {
        Value::Int(n) => *n as f64,
        Value::Float(x) => *x,
        _ => unreachable!(),
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        _ if rank(a) == Some(2) && rank(b) == Some(2) => {
            let (a, b) = (number(a), number(b));
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn value_at(entity: &Entity, path: &[&str]) -> Option<Value> {
    let mut value = Value::Map(entity.content());
    for key in path {
        let Value::Map(mut map) = value else { return None };
        value = map.remove(key)?;
    }
    rank(&value).map(|_| value)
}

#[derive(Clone, Debug)]
struct Ask {
    from: Bound<Value>,
    to: Bound<Value>,
    descending: bool,
    limit: usize,
}

impl Ask {
    fn all() -> Self {
        Self { from: Bound::Unbounded, to: Bound::Unbounded, descending: false, limit: usize::MAX }
    }

    fn of<'a>(&self, query: Query<'a>) -> Query<'a> {
        let query = query.range((self.from.clone(), self.to.clone())).limit(self.limit);
        if self.descending { query.descending() } else { query }
    }

    fn holds(&self, value: &Value) -> bool {
        let from = match &self.from {
            Bound::Included(b) => compare(value, b).is_ge(),
            Bound::Excluded(b) => compare(value, b).is_gt(),
            Bound::Unbounded => true,
        };
        let to = match &self.to {
            Bound::Included(b) => compare(value, b).is_le(),
            Bound::Excluded(b) => compare(value, b).is_lt(),
            Bound::Unbounded => true,
        };
        from && to
    }

    /// All that match, without the limit.
    fn naive(&self, snapshot: &Snapshot, entity_type: &str, path: &[&str]) -> Vec<EntityId> {
        let all = snapshot.list(entity_type).entities().unwrap();
        let mut found: Vec<(Value, EntityId)> = all
            .iter()
            .filter_map(|e| Some((value_at(e, path)?, e.id())))
            .filter(|(v, _)| self.holds(v))
            .collect();
        found.sort_by(|a, b| compare(&a.0, &b.0).then(a.1.cmp(&b.1)));
        if self.descending {
            found.reverse();
        }
        found.into_iter().map(|(_, id)| id).collect()
    }
}

fn ids(entities: &[Entity]) -> Vec<EntityId> {
    entities.iter().map(Entity::id).collect()
}

fn check(snapshot: &Snapshot, entity_type: &str, path: &[&str], ask: &Ask) {
    let expected = ask.naive(snapshot, entity_type, path);
    let query = || ask.of(snapshot.query_at(entity_type, path).unwrap());
    let few = &expected[..expected.len().min(ask.limit)];
    assert_eq!(ids(&query().entities().unwrap()), few, "{path:?} {ask:?}");
    assert_eq!(query().count().unwrap(), few.len() as u64);
    // page by page, through bytes
    let (mut paged, mut cursor) = (Vec::new(), None::<QueryCursor>);
    loop {
        let query = query().limit(ask.limit.clamp(1, 3));
        let page = match cursor {
            Some(c) => query.after(QueryCursor::from_bytes(&c.to_bytes()).unwrap()),
            None => query,
        };
        let page = page.page().unwrap();
        paged.extend(ids(&page.entities));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        assert!(!page.entities.is_empty(), "a page that leads on has something");
        assert!(paged.len() < expected.len(), "a page that leads on is not the last");
    }
    assert_eq!(paged, expected, "{path:?} {ask:?}");
}

// --- random histories ---

const FIELDS: [&[&str]; 2] = [&["v"], &["m", "h"]];

/// Texts and bytes longer than what an index keeps of them, equal but for their ends.
fn long(end: &str) -> String {
    format!("{}{end}", "x".repeat(600))
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-2i64..3).prop_map(Value::Int),
        (-4i64..5).prop_map(|n| Value::Float(n as f64 / 2.0)),
        Just(Value::Float(f64::NAN)),
        Just(Value::Float(-0.0)),
        (0i64..3).prop_map(|n| Value::Timestamp(Timestamp::from_millis(n))),
        "[ab\0]{0,2}".prop_map(Value::Text),
        "[a-c]".prop_map(|end| Value::Text(long(&end))),
        (508usize..512).prop_map(|n| Value::Text("y".repeat(n))),
        proptest::collection::vec(0u8..2, 0..3).prop_map(Value::Bytes),
        Just(Value::Array(vec![Value::Int(1)])),
        Just(Value::Map(Content::new().with("h", 1))),
        Just(Value::Map(Content::new())),
    ]
}

fn asks() -> impl Strategy<Value = Ask> {
    let scalar = || values().prop_filter("scalars", |v| rank(v).is_some());
    let bound = || {
        prop_oneof![
            scalar().prop_map(Bound::Included),
            scalar().prop_map(Bound::Excluded),
            Just(Bound::Unbounded)
        ]
    };
    let ends = prop_oneof![
        (bound(), bound()),
        scalar().prop_map(|v| (Bound::Included(v.clone()), Bound::Included(v)))
    ];
    let limit = prop_oneof![Just(usize::MAX), 0usize..4];
    (ends, any::<bool>(), limit).prop_map(|((from, to), descending, limit)| Ask {
        from,
        to,
        descending,
        limit,
    })
}

#[derive(Clone, Debug)]
enum Op {
    /// Of a type; the same id may become another type on the other device.
    Create(u8, bool, Value),
    Set(u8, usize, Value),
    Unset(u8, usize),
    Delete(u8),
    Restore(u8, prop::sample::Index),
    /// Many at once, then an error.
    RolledBack(u8, Value),
    Carry,
    Look(Ask),
    /// With these fields declared.
    Reopen([bool; 2]),
    Build,
}

fn ops() -> impl Strategy<Value = Vec<(bool, Op)>> {
    let op = prop_oneof![
        4 => (0u8..7, prop::bool::weighted(0.8), values())
            .prop_map(|(id, lamp, v)| Op::Create(id, lamp, v)),
        5 => (0u8..7, 0usize..2, values()).prop_map(|(id, f, v)| Op::Set(id, f, v)),
        1 => (0u8..7, 0usize..2).prop_map(|(id, f)| Op::Unset(id, f)),
        1 => (0u8..7).prop_map(Op::Delete),
        1 => (0u8..7, any::<prop::sample::Index>()).prop_map(|(id, at)| Op::Restore(id, at)),
        1 => (0u8..7, values()).prop_map(|(id, v)| Op::RolledBack(id, v)),
        2 => Just(Op::Carry),
        3 => asks().prop_map(Op::Look),
        1 => any::<[bool; 2]>().prop_map(Op::Reopen),
        1 => Just(Op::Build),
    ];
    proptest::collection::vec((any::<bool>(), op), 1..40)
}

struct Device {
    file: File,
    label: &'static str,
    declared: [bool; 2],
    engine: Option<Engine>,
    /// With what was asked of them.
    old: Vec<(Snapshot, Ask)>,
}

impl Device {
    fn new(label: &'static str) -> Self {
        let mut device = Self {
            file: File::default(),
            label,
            declared: [true; 2],
            engine: None,
            old: Vec::new(),
        };
        device.open();
        device
    }

    fn open(&mut self) {
        let mut builder = builder(self.label).index_in_background(false);
        for (path, declared) in FIELDS.iter().zip(self.declared) {
            if declared {
                builder = builder.index_at("lamp", *path);
            }
        }
        self.engine = Some(builder.open_backend(self.file.clone()).unwrap());
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn look(&self, snapshot: &Snapshot, ask: &Ask) {
        for (path, declared) in FIELDS.iter().zip(self.declared) {
            if declared {
                check(snapshot, "lamp", path, ask);
            } else {
                assert!(matches!(snapshot.query_at("lamp", *path), Err(Error::NoIndex { .. })));
            }
        }
    }

    fn run(&mut self, other: &Device, op: Op) {
        let engine = self.engine();
        let id = |n: u8| EntityId::from_bytes([n + 1; 16]);
        // what makes no sense is an error and changes nothing
        match op {
            Op::Create(n, lamp, v) => {
                let content =
                    Content::new().with("v", v.clone()).with("m", Content::new().with("h", v));
                let entity_type = if lamp { "lamp" } else { "room" };
                engine.write(|tx| tx.create_with_id(id(n), entity_type, &content)).ok();
            }
            Op::Set(n, f, v) => {
                drop(engine.write(|tx| tx.patch(id(n), Patch::new().set_at(FIELDS[f], v))))
            }
            Op::Unset(n, f) => {
                drop(engine.write(|tx| tx.patch(id(n), Patch::new().unset_at(FIELDS[f]))))
            }
            Op::Delete(n) => drop(engine.write(|tx| tx.delete(id(n)))),
            Op::Restore(n, at) => {
                let snapshot = engine.snapshot().unwrap();
                let versions: Vec<_> =
                    snapshot.history(id(n)).unwrap().map(|v| v.unwrap().reference()).collect();
                if !versions.is_empty() {
                    engine.write(|tx| tx.restore(id(n), at.get(&versions))).ok();
                }
            }
            Op::RolledBack(n, v) => {
                let rolled_back: Result<(), Error> = engine.write(|tx| {
                    tx.create("lamp", &Content::new().with("v", v.clone()))?;
                    tx.patch(id(n), Patch::new().set("v", v))?;
                    Err(Error::Cancelled)
                });
                assert!(rolled_back.is_err());
            }
            Op::Carry => carry(other.engine(), engine),
            Op::Look(ask) => {
                let snapshot = engine.snapshot().unwrap();
                self.look(&snapshot, &ask);
                self.old.push((snapshot, ask));
            }
            Op::Reopen(declared) => {
                self.settle();
                self.engine.take().unwrap().close().unwrap();
                self.declared = declared;
                self.open();
            }
            Op::Build => {
                engine.build_indexes().unwrap();
                assert!(engine.indexes().unwrap().iter().all(|i| i.ready));
                clean(engine);
            }
        }
    }

    /// Old snapshots still give what they gave.
    fn settle(&mut self) {
        for (snapshot, ask) in std::mem::take(&mut self.old) {
            self.look(&snapshot, &ask);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 192,
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_query_is_a_filter_and_a_sort_in_any_history(
        ops in ops(),
        asks in proptest::collection::vec(asks(), 4),
    ) {
        let mut devices = [Device::new("phone"), Device::new("tablet")];
        for (first, op) in ops {
            let [a, b] = &mut devices;
            if first { a.run(b, op) } else { b.run(a, op) }
        }
        let [mut a, mut b] = devices;
        carry(a.engine(), b.engine());
        carry(b.engine(), a.engine());
        for device in [&mut a, &mut b] {
            device.settle();
            clean(device.engine());
            for ask in &asks {
                device.look(&device.engine().snapshot().unwrap(), ask);
            }
            device.engine().build_indexes().unwrap();
            clean(device.engine());
            for ask in &asks {
                device.look(&device.engine().snapshot().unwrap(), ask);
            }
        }
    }
}

// --- what it promises, one by one ---

fn lamps(builder: Builder, values: impl IntoIterator<Item = Value>) -> Engine {
    let engine = builder.index("lamp", "v").in_memory().unwrap();
    engine
        .write(|tx| {
            for v in values {
                tx.create("lamp", &Content::new().with("v", v))?;
            }
            Ok::<_, Error>(())
        })
        .unwrap();
    engine
}

fn found(engine: &Engine, ask: impl FnOnce(Query<'_>) -> Query<'_>) -> Vec<Value> {
    let snapshot = engine.snapshot().unwrap();
    let entities = ask(snapshot.query("lamp", "v").unwrap()).entities().unwrap();
    entities.iter().map(|e| e.get("v").unwrap().unwrap()).collect()
}

#[test]
fn bounds_read_as_they_are_called() {
    let engine = lamps(builder("phone"), (0..6).map(Value::Int));
    let ints = |r: std::ops::Range<i64>| r.map(Value::Int).collect::<Vec<_>>();
    assert_eq!(found(&engine, |q| q), ints(0..6));
    assert_eq!(found(&engine, |q| q.equals(3)), ints(3..4));
    assert_eq!(found(&engine, |q| q.equals(3.0)), ints(3..4));
    assert_eq!(found(&engine, |q| q.range(2..4)), ints(2..4));
    assert_eq!(found(&engine, |q| q.range(2..=4)), ints(2..5));
    assert_eq!(found(&engine, |q| q.range(..2.5)), ints(0..3));
    assert_eq!(found(&engine, |q| q.at_least(4)), ints(4..6));
    assert_eq!(found(&engine, |q| q.above(4)), ints(5..6));
    assert_eq!(found(&engine, |q| q.at_most(1)), ints(0..2));
    assert_eq!(found(&engine, |q| q.below(1)), ints(0..1));
    assert_eq!(found(&engine, |q| q.at_least(1).below(3)), ints(1..3));
    assert_eq!(found(&engine, |q| q.descending().limit(2)), [Value::Int(5), Value::Int(4)]);
    assert_eq!(found(&engine, |q| q.at_least(4).below(2)), []);
    assert_eq!(found(&engine, |q| q.at_least("a")), []);
    assert_eq!(found(&engine, |q| q.below("a").limit(0)), []);
}

#[test]
fn what_is_in_no_index_is_a_typed_error() {
    let engine = lamps(builder("phone"), [Value::Int(1)]);
    let snapshot = engine.snapshot().unwrap();
    for (entity_type, field) in [("lamp", "w"), ("room", "v")] {
        let Err(error @ Error::NoIndex { .. }) = snapshot.query(entity_type, field) else {
            panic!()
        };
        assert!(error.to_string().contains("Builder::index"), "{error}");
    }
    assert!(matches!(snapshot.query_at("lamp", ["v", "w"]), Err(Error::NoIndex { .. })));
    let asked = snapshot.query("lamp", "v").unwrap().equals(Value::Array(vec![]));
    assert!(matches!(asked.clone().entities(), Err(Error::Invalid(_))));
    assert!(matches!(asked.clone().count(), Err(Error::Invalid(_))));
    assert!(matches!(asked.page(), Err(Error::Invalid(_))));
    for builder in [
        builder("p").index("", "v"),
        builder("p").index(&"t".repeat(256), "v"),
        builder("p").index("t", &"k".repeat(1025)),
        builder("p").index_at("t", [""; 0]),
        builder("p").index_at("t", ["k"; 65]),
    ] {
        assert!(matches!(builder.in_memory(), Err(Error::Invalid(_))));
    }
}

#[test]
fn bytes_that_are_no_cursor_are_refused() {
    let engine = lamps(builder("phone"), [Value::Text("a\0b".into()), Value::Int(1), Value::Null]);
    let snapshot = engine.snapshot().unwrap();
    let mut cursors = Vec::new();
    let mut page = snapshot.query("lamp", "v").unwrap().limit(1).page().unwrap();
    while let Some(cursor) = page.next {
        cursors.push(cursor.to_bytes());
        assert_eq!(QueryCursor::from_bytes(&cursor.to_bytes()).unwrap(), cursor);
        page = snapshot.query("lamp", "v").unwrap().limit(1).after(cursor).page().unwrap();
    }
    assert_eq!(cursors.len(), 2);
    for bytes in cursors {
        for cut in 0..bytes.len() {
            assert!(QueryCursor::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(QueryCursor::from_bytes(&longer).is_err());
        let other = [&[9], &bytes[1..]].concat();
        assert!(QueryCursor::from_bytes(&other).is_err());
    }
}

#[test]
fn an_old_snapshot_gives_what_it_gave() {
    let engine = lamps(builder("phone"), (0..10).map(Value::Int));
    let old = engine.snapshot().unwrap();
    let all = ids(&old.query("lamp", "v").unwrap().entities().unwrap());
    for (i, id) in all.iter().enumerate() {
        engine
            .write(|tx| {
                if i % 2 == 0 { tx.delete(*id) } else { tx.patch(*id, Patch::new().set("v", 7)) }
            })
            .unwrap();
    }
    assert_eq!(ids(&old.query("lamp", "v").unwrap().entities().unwrap()), all);
    assert_eq!(old.query("lamp", "v").unwrap().equals(7).count().unwrap(), 1);
    assert_eq!(found(&engine, |q| q), vec![Value::Int(7); 5]);
    clean(&engine);
}

#[test]
fn a_failed_write_leaves_no_trace_in_an_index() {
    let engine = lamps(builder("phone"), (0..3).map(Value::Int));
    let id = engine.snapshot().unwrap().query("lamp", "v").unwrap().equals(1).entities().unwrap()
        [0]
    .id();
    let spoil = |tx: &mut heirloom::Transaction<'_>| {
        tx.patch(id, Patch::new().set("v", 50))?;
        tx.create("lamp", &Content::new().with("v", 51))
    };
    let failed: Result<(), Error> = engine.write(|tx| {
        spoil(tx)?;
        Err(Error::Cancelled)
    });
    assert!(failed.is_err());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        engine.write(|tx| -> Result<(), Error> {
            spoil(tx)?;
            panic!("in the closure")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(found(&engine, |q| q), [0, 1, 2].map(Value::Int));
    clean(&engine);
    engine.write(|tx| tx.patch(id, Patch::new().set("v", 9))).unwrap();
    assert_eq!(found(&engine, |q| q), [0, 2, 9].map(Value::Int));
    clean(&engine);
}

#[test]
fn an_import_is_indexed() {
    let engine = builder("phone").index("note", "text").in_memory().unwrap();
    let mut importer = engine.importer().unwrap();
    let device = importer.device("old-app").unwrap();
    for n in 0..5u8 {
        let mut draft = importer.commit(device, &[], Timestamp::from_millis(i64::from(n))).unwrap();
        let id = EntityId::from_bytes([9 - n; 16]);
        draft.create(id, "note", &Content::new().with("text", format!("note {n}"))).unwrap();
        draft.finish().unwrap();
    }
    importer.finish().unwrap();
    check(&engine.snapshot().unwrap(), "note", &["text"], &Ask::all());
    assert_eq!(engine.snapshot().unwrap().query("note", "text").unwrap().count().unwrap(), 5);
    clean(&engine);
}

/// Large contents stay in the log, so what a commit indexes has to be read from the commit itself.
#[test]
fn a_large_content_is_indexed() {
    let engine = lamps(builder("phone"), []);
    let big = Content::new().with("v", 5).with("blob", vec![7u8; 50_000]);
    let id = engine.write(|tx| tx.create("lamp", &big)).unwrap();
    assert_eq!(found(&engine, |q| q.equals(5)), [Value::Int(5)]);
    engine.write(|tx| tx.patch(id, Patch::new().set("v", 6))).unwrap();
    assert_eq!(found(&engine, |q| q), [Value::Int(6)]);
    clean(&engine);
}

#[test]
fn long_texts_are_in_order_to_their_ends() {
    let engine = lamps(builder("phone"), []);
    // ids against the order of values, and two that are equal
    for (n, end) in ["e", "d", "c", "b", "b", "a"].iter().enumerate() {
        let id = EntityId::from_bytes([n as u8 + 1; 16]);
        engine
            .write(|tx| tx.create_with_id(id, "lamp", &Content::new().with("v", long(end))))
            .unwrap();
    }
    let snapshot = engine.snapshot().unwrap();
    for descending in [false, true] {
        for limit in [1, 2, usize::MAX] {
            for (from, to) in [
                (Bound::Unbounded, Bound::Unbounded),
                (Bound::Excluded(long("b").into()), Bound::Unbounded),
                (Bound::Included(long("b").into()), Bound::Included(long("b").into())),
                (Bound::Included(long("").into()), Bound::Excluded(long("c").into())),
            ] {
                check(&snapshot, "lamp", &["v"], &Ask { from, to, descending, limit });
            }
        }
    }
    clean(&engine);
}

/// Two creations of one id under two types: the type is that of the first in the order of writes,
/// whatever comes first.
#[test]
fn what_becomes_another_type_leaves_the_index_of_the_old_one() {
    let id = EntityId::from_bytes([5; 16]);
    let create = |label: &str, wall: i64, entity_type: &str| {
        let engine =
            builder(label).wall_clock(move || Timestamp::from_millis(wall)).in_memory().unwrap();
        engine
            .write(|tx| tx.create_with_id(id, entity_type, &Content::new().with("v", wall)))
            .unwrap();
        engine
    };
    let (later, earlier) = (create("phone", 9_000, "lamp"), create("tablet", 8_000, "room"));
    for at_once in [true, false] {
        let hub = builder("hub").index("lamp", "v").in_memory().unwrap();
        let commits: Vec<_> = [&later, &earlier]
            .iter()
            .flat_map(|e| {
                e.replication()
                    .commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)
                    .unwrap()
                    .commits
            })
            .map(|c| c.bytes)
            .collect();
        for some in commits.chunks(if at_once { 2 } else { 1 }) {
            hub.replication().ingest(&some.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        }
        assert_eq!(hub.snapshot().unwrap().get(id).unwrap().unwrap().entity_type(), "room");
        assert_eq!(found(&hub, |q| q), []);
        clean(&hub);
    }
}

fn many(engine: &Engine, count: i64) {
    for chunk in 0..count / 100 {
        let write = |tx: &mut heirloom::Transaction<'_>| {
            for n in 0..100 {
                let content =
                    Content::new().with("v", (chunk * 100 + n) * 7919 % count).with("w", n % 10);
                tx.create("lamp", &content)?;
            }
            Ok::<_, Error>(())
        };
        engine.write(write).unwrap();
    }
}

#[test]
fn an_index_is_built_in_the_background_while_others_write_and_read() {
    let file = File::default();
    let engine = builder("phone").open_backend(file.clone()).unwrap();
    many(&engine, 2_000);
    engine.close().unwrap();
    let engine =
        builder("phone").index("lamp", "v").index("lamp", "w").open_backend(file.clone()).unwrap();
    let mut looks = 0;
    loop {
        let ready = engine.indexes().unwrap().iter().all(|i| i.ready);
        let snapshot = engine.snapshot().unwrap();
        let ask = Ask { from: Bound::Included(Value::Int(1_990)), ..Ask::all() };
        check(&snapshot, "lamp", &["v"], &ask);
        let some = snapshot.query("lamp", "w").unwrap().equals(3).limit(3).entities().unwrap();
        engine
            .write(|tx| tx.patch(some[looks % 3].id(), Patch::new().set("v", 5_000 + looks as i64)))
            .unwrap();
        looks += 1;
        if ready {
            break;
        }
    }
    check(&engine.snapshot().unwrap(), "lamp", &["v"], &Ask::all());
    check(&engine.snapshot().unwrap(), "lamp", &["w"], &Ask { descending: true, ..Ask::all() });
    clean(&engine);
    // dropped in the middle of it, the file is free at once; another declaration is another index
    drop(engine);
    for fields in [&["w"][..], &["v"], &[], &["v", "w"]] {
        let declared = fields.iter().fold(builder("phone"), |b, f| b.index("lamp", f));
        let engine = declared.open_backend(file.clone()).unwrap();
        let snapshot = engine.snapshot().unwrap();
        for field in ["v", "w"] {
            match fields.contains(&field) {
                true => check(&snapshot, "lamp", &[field], &Ask { limit: 20, ..Ask::all() }),
                false => {
                    assert!(matches!(snapshot.query("lamp", field), Err(Error::NoIndex { .. })))
                }
            }
        }
    }
    let engine = builder("phone").index("lamp", "v").open_backend(file).unwrap();
    engine.build_indexes().unwrap();
    assert!(engine.indexes().unwrap()[0].ready);
    clean(&engine);
}

#[test]
fn a_snapshot_taken_while_its_index_is_built_gives_the_same_afterwards() {
    let file = File::default();
    let engine = builder("phone").open_backend(file.clone()).unwrap();
    many(&engine, 300);
    engine.close().unwrap();
    let open = || {
        builder("phone")
            .index("lamp", "v")
            .index_in_background(false)
            .open_backend(file.clone())
            .unwrap()
    };
    let engine = open();
    let status = &engine.indexes().unwrap()[0];
    assert_eq!(
        (&status.entity_type[..], &status.path[..], status.ready),
        ("lamp", &["v".to_owned()][..], false)
    );
    let building = engine.snapshot().unwrap();
    let ask = Ask { limit: 50, ..Ask::all() };
    check(&building, "lamp", &["v"], &ask);
    let cursor = building.query("lamp", "v").unwrap().limit(150).page().unwrap().next.unwrap();
    engine.build_indexes().unwrap();
    check(&building, "lamp", &["v"], &ask);
    let ready = engine.snapshot().unwrap();
    assert_eq!(ready.query("lamp", "v").unwrap().after(cursor).count().unwrap(), 150);
    check(&ready, "lamp", &["v"], &ask);
    clean(&engine);
    drop((building, ready));
    engine.close().unwrap();
    assert!(open().indexes().unwrap()[0].ready, "it stays when it is declared again");
}

#[test]
fn each_snapshot_is_consistent_beside_a_writer() {
    let engine = lamps(builder("phone"), (0..200).map(Value::Int));
    let all = ids(&engine.snapshot().unwrap().query("lamp", "v").unwrap().entities().unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..150usize {
                let (a, b) = (all[round * 7 % 200], all[round * 13 % 200]);
                let moved = engine.write(|tx| {
                    tx.patch(a, Patch::new().set("v", round as i64))?;
                    tx.patch(b, Patch::new().set("v", -(round as i64)))
                });
                moved.unwrap();
            }
            done.store(true, Atomic::Release);
        });
        while !done.load(Atomic::Acquire) {
            let snapshot = engine.snapshot().unwrap();
            check(
                &snapshot,
                "lamp",
                &["v"],
                &Ask { from: Bound::Excluded(Value::Int(190)), ..Ask::all() },
            );
            assert_eq!(snapshot.query("lamp", "v").unwrap().count().unwrap(), 200);
        }
    });
    clean(&engine);
}

#[test]
fn contents_that_are_not_here_are_in_no_answer() {
    let (a, b) = (lamps(builder("phone"), (0..4).map(Value::Int)), lamps(builder("tablet"), []));
    let batch = a.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
    let mut bytes = batch.commits[0].bytes.clone();
    // a body that does not give the root of the states: kept, but never shown
    let at = bytes.len() - 2;
    bytes[at] ^= 1;
    let report = b.replication().ingest(&[&bytes]).unwrap();
    assert_eq!(report.unverified, 1);
    assert_eq!(b.snapshot().unwrap().query("lamp", "v").unwrap().count().unwrap(), 0);
    clean(&b);
}

#[test]
fn another_policy_shows_other_values_and_the_index_follows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.heirloom");
    // b's clock is ahead
    let clock = |label: &str| if label == "a" { 1_000 } else { 2_000 };
    let builder = |label: &'static str| {
        let now = move || Timestamp::from_millis(clock(label));
        Engine::builder().label(label).dataset_name("home").wall_clock(now)
    };
    let (a, b) = (
        builder("a").index("lamp", "room").open(&path).unwrap(),
        builder("b").in_memory().unwrap(),
    );
    let carry = |from: &Engine, to: &Engine| {
        let batch =
            from.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
        let commits: Vec<&[u8]> = batch.commits.iter().map(|c| &c.bytes[..]).collect();
        to.replication().ingest(&commits).unwrap();
    };
    let id = a.write(|tx| tx.create("lamp", &Content::new().with("room", "hall"))).unwrap();
    carry(&a, &b);
    a.write(|tx| tx.patch(id, Patch::new().set("room", "kitchen"))).unwrap();
    b.write(|tx| tx.patch(id, Patch::new().set("room", "bath"))).unwrap();
    carry(&b, &a);
    let finds = |engine: &Engine, room: &str| {
        engine.build_indexes().unwrap();
        let snapshot = engine.snapshot().unwrap();
        let found = snapshot.query("lamp", "room").unwrap().equals(room).count().unwrap();
        assert!(engine.verify().unwrap().is_clean());
        found
    };
    assert_eq!((finds(&a, "bath"), finds(&a, "kitchen")), (1, 0), "the last write is shown");
    a.close().unwrap();
    let a = builder("a")
        .index("lamp", "room")
        .policy("lamp", Policy::FirstWriteWins)
        .open(&path)
        .unwrap();
    assert_eq!((finds(&a, "bath"), finds(&a, "kitchen")), (0, 1), "the first write is shown");
}
