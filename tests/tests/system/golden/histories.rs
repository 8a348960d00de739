//! The histories that engines write for the golden files. Clocks, nonces and ids are given.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use heirloom::replication::WireCommit;
use heirloom::{
    Content, Engine, EntityId, Kind, Lsn, Metadata, Patch, Timestamp, Value, Variant, VersionRef,
};
use heirloom_tests::decoder::{Frame, Genesis, device_id};
use heirloom_tests::twins::carry;

use super::{DATASET, Record};

const LAMP: EntityId = EntityId::from_bytes([0x1a; 16]);
const ROOM: EntityId = EntityId::from_bytes([0x20; 16]);
const SHELF: EntityId = EntityId::from_bytes([0x5e; 16]);

/// A device whose clock goes on by a second each time it is asked, and whose nonces count up.
pub(crate) fn device(builder: heirloom::Builder, start: i64, nonce: u8) -> heirloom::Builder {
    let (now, draws) = (AtomicI64::new(start), AtomicU8::new(0));
    builder
        .dataset_name(DATASET)
        .wall_clock(move || Timestamp::from_millis(now.fetch_add(1_000, Ordering::Relaxed)))
        .entropy(move || [nonce.wrapping_add(draws.fetch_add(1, Ordering::Relaxed)); 16])
}

/// One value of every kind, nested fields, an empty map.
pub(crate) fn every_value() -> Content {
    Content::new()
        .with("null", Value::Null)
        .with("off", false)
        .with("on", true)
        .with("integer", -70_000)
        .with("least", i64::MIN)
        .with("float", 1.5)
        .with("nan", f64::NAN)
        .with("zero", -0.0)
        .with("text", "h\u{e9}\u{1f4a1}")
        .with("bytes", vec![0u8, 0xff])
        .with("time", Timestamp::from_millis(1_700_000_000_000))
        .with("long ago", Timestamp::from_millis(-1))
        .with(
            "array",
            vec![
                Value::Int(1),
                Value::Array(vec![Value::Null]),
                Content::new().with("k", "v").with("l", 2).into(),
            ],
        )
        .with("empty array", Vec::<Value>::new())
        .with("empty", Content::new())
        .with("variant", Variant::new("Scene", Content::new().with("name", "dusk").with("n", 1)))
        .with("atomic", Value::Atomic(Content::new().with("nanos", 5).with("secs", 1)))
        .with("mood", Content::new().with("hue", 20).with("glow", Content::new().with("x", 1)))
}

/// The commits that an engine holds in the order of arrival, each with its device, its sequences
/// and what it is there for.
fn named(engine: &Engine, about: &[&str]) -> Vec<Record> {
    let batch =
        engine.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
    assert_eq!(batch.commits.len(), about.len());
    let mut devices = BTreeMap::new();
    let name = |(commit, about): (WireCommit, &&str)| {
        let frame = Frame::split(&commit.bytes).unwrap();
        if let Some(genesis) = &frame.genesis {
            let label = device_id(genesis, &Genesis::read(genesis).unwrap());
            devices.insert(frame.log, label);
        }
        (
            format!(
                "{} {}-{}: {about}",
                devices[&frame.log],
                frame.before.sequence + 1,
                commit.end.sequence
            ),
            commit.bytes,
        )
    };
    batch.commits.into_iter().zip(about).map(name).collect()
}

fn patch(engine: &Engine, patch: Patch) {
    engine.write(|tx| tx.patch(LAMP, patch)).unwrap();
}

fn head(engine: &Engine, kind: Kind) -> VersionRef {
    let heads = engine.snapshot().unwrap().heads(LAMP).unwrap();
    heads.iter().find(|head| head.kind() == kind).unwrap().reference()
}

pub(crate) fn written() -> Vec<Record> {
    let phone = device(Engine::builder().label("phone"), 1_700_000_000_000, 1).in_memory().unwrap();
    // a managed identity; its clock is ten seconds ahead
    let tablet = device(Engine::builder().device_id("tablet-1"), 1_700_000_010_000, 0x71)
        .in_memory()
        .unwrap();
    let both = || {
        carry(&phone, &tablet);
        carry(&tablet, &phone);
    };
    let why = Metadata::new().with_actor("ada").with_message("moved in");
    phone
        .write_with(why, |tx| {
            tx.create_with_id(LAMP, "lamp", &every_value())?;
            tx.create_with_id(ROOM, "room", &Content::new().with("name", "den"))
        })
        .unwrap();
    patch(&phone, Patch::new().set("on", false).set_at(["mood", "hue"], 21).unset("null"));
    both();
    patch(&tablet, Patch::new().set("integer", 1).set("text", "tablet"));
    tablet.write(|tx| tx.create_with_id(SHELF, "shelf", &Content::new())).unwrap();
    patch(&phone, Patch::new().set("integer", 2).set_at(["mood", "glow"], "bright"));
    phone.write(|tx| tx.delete(ROOM)).unwrap();
    both();
    // decides one field, leaves nothing of most others: the full body is shorter, and holds several
    // writers
    let rest = [
        "array",
        "bytes",
        "empty",
        "empty array",
        "float",
        "least",
        "long ago",
        "mood",
        "nan",
        "off",
        "on",
        "time",
    ];
    patch(&phone, rest.iter().fold(Patch::new(), |patch, field| patch.unset(field)).set("zero", 0));
    tablet.write(|tx| tx.delete(LAMP)).unwrap();
    both();
    let live = head(&tablet, Kind::Update);
    tablet
        .write_with(Metadata::new().with_message("not yet"), |tx| tx.restore(LAMP, &live))
        .unwrap();
    patch(&tablet, Patch::new().set("integer", 3).set("name", Content::new().with("short", "d")));
    both();
    let note = |of: &str| {
        let change = Patch::new().set("note", of).set("scores", scores(of.len() as i64));
        phone.write(|tx| tx.patch(SHELF, change)).unwrap();
    };
    let planks =
        "Three planks, two of them oak; the lowest one bends when all the atlases lie on it.";
    note(planks);
    note(&planks.replace("two", "most"));
    named(
        &phone,
        &[
            "two creations, every kind of value, metadata",
            "an update, as a patch",
            "an update of a nested field too",
            "a deletion",
            "a managed log with a clock ahead, an update beside the phone's",
            "an entity without fields",
            "a merge, in full; one leaf with two writers stays undecided",
            "a deletion beside it, by one who had seen the same",
            "a restoration over both, metadata without an actor",
            "the conflict decided, as a patch",
            "a long text and a long array",
            "both again, as splices",
        ],
    )
}

/// Numbers of which most stay what they are if there are a few more.
fn scores(n: i64) -> Value {
    Value::Array((0..n).map(|i| Value::Int(i * i)).collect())
}

pub(crate) fn imported() -> Vec<Record> {
    let engine = device(Engine::builder(), 1_700_000_000_000, 0xe1).in_memory().unwrap();
    let mut importer = engine.importer().unwrap();
    let (one, two, three) = (
        importer.device("one").unwrap(),
        importer.device("two").unwrap(),
        importer.device("three").unwrap(),
    );
    let at = Timestamp::from_millis;
    let file = |text: &str| Content::new().with("contents", text);

    let mut draft = importer.commit(one, &[], at(-5_000)).unwrap();
    draft.metadata(Metadata::new().with_actor("ada").with_message("before 1970"));
    draft.create(LAMP, "file", &file("first")).unwrap();
    draft.create(ROOM, "file", &file("other")).unwrap();
    let a = draft.finish().unwrap();

    let mut draft = importer.commit(two, &[&a], at(1_000)).unwrap();
    draft.put(LAMP, "file", &file("left")).unwrap();
    let b = draft.finish().unwrap();

    let mut draft = importer.commit(three, &[&a], at(500)).unwrap();
    draft.put(LAMP, "file", &file("right")).unwrap();
    draft.delete(ROOM).unwrap();
    let c = draft.finish().unwrap();

    let mut draft = importer.commit(one, &[&b, &c], at(2_000)).unwrap();
    draft.put(LAMP, "file", &file("left")).unwrap();
    draft.put(ROOM, "file", &file("again")).unwrap();
    let d = draft.finish().unwrap();

    // a clock that goes back
    let mut draft = importer.commit(two, &[&d], at(10)).unwrap();
    draft.patch(LAMP, Patch::new().set("mode", 0o755)).unwrap();
    draft.finish().unwrap();
    importer.finish().unwrap();
    named(
        &engine,
        &[
            "creations, dated before 1970",
            "a change",
            "a change beside it, and a deletion",
            "a merge with two refs that takes one side's value, and a re-creation",
            "dated before its parents, a patch",
        ],
    )
}
