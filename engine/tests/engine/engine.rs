//! The engine through its public API.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use heirloom::{
    Clock, ClockOrdering, ConflictKind, Content, DatasetId, Engine, EntityId, Error, Kind, Lsn,
    Metadata, Patch, Sequence, Snapshot, Timestamp, Value, VersionRef,
};
use serde::{Deserialize, Serialize};

use super::carried::carry;

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Lamp {
    name: String,
    brightness: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

fn lamp(brightness: u8) -> Lamp {
    Lamp { name: "desk".into(), brightness, note: None }
}

fn engine(label: &str) -> Engine {
    Engine::builder().label(label).dataset_name("home").in_memory().unwrap()
}

fn both_ways(a: &Engine, b: &Engine) {
    carry(a, b);
    carry(b, a);
    assert_eq!(a.log_root().unwrap(), b.log_root().unwrap());
    assert_eq!(a.state_digest().unwrap(), b.state_digest().unwrap());
    for e in [a, b] {
        let found = e.verify().unwrap();
        assert!(found.is_clean(), "{:?}", found.problems);
    }
}

fn read(engine: &Engine, id: EntityId) -> Option<Content> {
    engine.snapshot().unwrap().get(id).unwrap().map(|e| e.content())
}

#[test]
fn a_write_is_read_back_and_every_version_stays() {
    let engine = engine("phone");
    let id = engine.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    for b in 2..50u8 {
        engine.write(|tx| tx.patch(id, Patch::new().set("brightness", b))).unwrap();
    }
    let snapshot = engine.snapshot().unwrap();
    assert_eq!(snapshot.get(id).unwrap().unwrap().read::<Lamp>().unwrap(), lamp(49));
    let history: Vec<_> = snapshot.history(id).unwrap().map(Result::unwrap).collect();
    assert_eq!(history.len(), 49);
    for (i, version) in history.iter().enumerate() {
        let content = snapshot.content_at(&version.reference()).unwrap().unwrap();
        assert_eq!(content.get("brightness"), Some(&Value::Int(49 - i as i64)));
        let parents: Vec<_> = history.get(i + 1).map(|v| v.reference()).into_iter().collect();
        assert_eq!(version.parents(), parents);
    }
    assert_eq!(history[48].kind(), Kind::Create);
    assert!(engine.verify().unwrap().is_clean());
}

#[test]
fn an_error_or_a_panic_in_the_closure_leaves_no_trace() {
    let engine = engine("phone");
    let id = engine.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    let root = engine.log_root().unwrap();
    let failed: Result<(), Error> = engine.write(|tx| {
        tx.patch(id, Patch::new().set("brightness", 2))?;
        Err(Error::Cancelled)
    });
    assert!(failed.is_err());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        engine.write(|tx| -> Result<(), Error> {
            tx.delete(id)?;
            panic!("oops")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(engine.log_root().unwrap(), root);
    engine.write(|tx| tx.patch(id, Patch::new().set("brightness", 3))).unwrap();
    assert_eq!(read(&engine, id).unwrap().get("brightness"), Some(&Value::Int(3)));
}

#[test]
fn a_transaction_reads_its_own_writes_and_becomes_one_version_an_entity() {
    let engine = engine("phone");
    let id = engine
        .write(|tx| {
            let id = tx.create("lamp", &lamp(1))?;
            tx.patch(id, Patch::new().set("brightness", 2))?;
            assert_eq!(tx.get(id)?.unwrap().read::<Lamp>()?.brightness, 2);
            let gone = tx.create("lamp", &lamp(9))?;
            tx.delete(gone)?;
            assert!(tx.get(gone)?.is_none());
            Ok::<_, Error>(id)
        })
        .unwrap();
    let snapshot = engine.snapshot().unwrap();
    assert_eq!(
        (snapshot.history(id).unwrap().count(), snapshot.list("lamp").count().unwrap()),
        (1, 1)
    );
}

#[test]
fn a_write_that_changes_nothing_writes_nothing() {
    let engine = engine("phone");
    let id = engine.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    let root = engine.log_root().unwrap();
    engine
        .write(|tx| tx.patch(id, Patch::new().set("brightness", 1).unset("no such field")))
        .unwrap();
    engine
        .write(|tx| {
            let e = tx.get(id)?.unwrap();
            tx.put(&e, &lamp(1))
        })
        .unwrap();
    assert_eq!(engine.log_root().unwrap(), root);
}

#[test]
fn misuse_is_a_typed_error_and_writes_nothing() {
    let engine = engine("phone");
    let id = engine.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    let nobody = EntityId::v5(&[0; 16], b"nobody");
    let root = engine.log_root().unwrap();
    assert!(matches!(
        engine.write(|tx| tx.create_with_id(id, "lamp", &lamp(1))),
        Err(Error::Exists { .. })
    ));
    assert!(matches!(engine.write(|tx| tx.patch(nobody, Patch::new())), Err(Error::NotFound(_))));
    assert!(matches!(engine.write(|tx| tx.delete(nobody)), Err(Error::NotFound(_))));
    assert!(matches!(engine.write(|tx| tx.create("", &lamp(1))), Err(Error::Invalid(_))));
    assert!(matches!(engine.write(|tx| tx.create("lamp", &7)), Err(Error::Invalid(_))));
    let clash = Patch::new().set("a", 1).set_at(["a", "b"], 2);
    assert!(matches!(engine.write(|tx| tx.patch(id, clash)), Err(Error::Invalid(_))));
    let big = Patch::new().set("note", "x".repeat(17 << 20));
    assert!(matches!(
        engine.write(|tx| tx.patch(id, big)),
        Err(Error::Invalid(heirloom::Invalid::Limit { .. }))
    ));
    let told =
        engine.write(|_| Ok::<_, Error>((engine.device_id(), engine.dataset().is_some()))).unwrap();
    assert_eq!(told, (engine.device_id(), true));
    let inside = engine.write(|_| engine.write(|tx| tx.delete(id)));
    assert!(matches!(inside, Err(Error::InsideWrite)));
    assert_eq!(engine.log_root().unwrap(), root);
    engine.write(|tx| tx.delete(id)).unwrap();
    assert!(matches!(engine.write(|tx| tx.patch(id, Patch::new())), Err(Error::Deleted(_))));
    assert!(matches!(engine.write(|tx| tx.delete(id)), Err(Error::Deleted(_))));
    assert!(Engine::builder().label("no spaces").in_memory().is_err());
}

#[test]
fn edits_to_different_fields_merge_and_to_the_same_field_conflict() {
    let (phone, tablet) = (engine("phone"), engine("tablet"));
    let id = phone.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    both_ways(&phone, &tablet);
    phone.write(|tx| tx.patch(id, Patch::new().set("brightness", 2).set("name", "hall"))).unwrap();
    tablet.write(|tx| tx.patch(id, Patch::new().set("note", "warm").set("name", "door"))).unwrap();
    both_ways(&phone, &tablet);
    for e in [&phone, &tablet] {
        let snapshot = e.snapshot().unwrap();
        let entity = snapshot.get(id).unwrap().unwrap();
        assert_eq!(entity.get("brightness").unwrap(), Some(2.into()));
        assert_eq!(entity.get("note").unwrap(), Some("warm".into()));
        assert_eq!(entity.conflicting_fields(), ["name"]);
        assert_eq!(entity.heads().len(), 2);
        let conflict = snapshot.conflict(id).unwrap().unwrap();
        assert_eq!(conflict.fields[0].sides.len(), 2);
        assert_eq!(conflict.suggestion, Some(entity.content()));
        assert_eq!(snapshot.unsettled().unwrap().map(Result::unwrap).collect::<Vec<_>>(), [id]);
    }
    assert_eq!(read(&phone, id), read(&tablet, id));

    // a write elsewhere leaves the conflict open, one on the field decides it
    phone.write(|tx| tx.patch(id, Patch::new().set("brightness", 3))).unwrap();
    both_ways(&phone, &tablet);
    assert_eq!(tablet.snapshot().unwrap().get(id).unwrap().unwrap().conflicting_fields(), ["name"]);
    tablet.write(|tx| tx.patch(id, Patch::new().set("name", "door"))).unwrap();
    both_ways(&phone, &tablet);
    let entity = phone.snapshot().unwrap().get(id).unwrap().unwrap();
    assert!(!entity.is_conflicted() && entity.heads().len() == 1);
    assert_eq!(phone.snapshot().unwrap().unsettled().unwrap().count(), 0);
}

#[test]
fn a_removed_field_does_not_come_back_and_a_concurrent_change_of_it_stands() {
    let (a, b) = (engine("a"), engine("b"));
    let id = a
        .write(|tx| tx.create("lamp", &Content::new().with("x", 1).with("y", 1).with("z", 1)))
        .unwrap();
    both_ways(&a, &b);
    a.write(|tx| tx.patch(id, Patch::new().unset("x").unset("y"))).unwrap();
    b.write(|tx| tx.patch(id, Patch::new().set("y", 2).set("z", 2))).unwrap();
    both_ways(&a, &b);
    assert_eq!(read(&a, id), Some(Content::new().with("y", 2).with("z", 2)));
    assert!(!a.snapshot().unwrap().get(id).unwrap().unwrap().is_conflicted());
}

#[test]
fn a_deletion_wins_over_a_concurrent_update_and_the_update_can_be_restored() {
    let (a, b) = (engine("a"), engine("b"));
    let id = a.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    both_ways(&a, &b);
    a.write(|tx| tx.delete(id)).unwrap();
    b.write(|tx| tx.patch(id, Patch::new().set("brightness", 7))).unwrap();
    both_ways(&a, &b);
    let snapshot = a.snapshot().unwrap();
    assert!(snapshot.get(id).unwrap().is_none());
    assert_eq!(snapshot.conflict(id).unwrap().unwrap().kind, ConflictKind::DeleteAgainstUpdate);
    assert_eq!(snapshot.list("lamp").count().unwrap(), 0);
    let hidden = snapshot.list("lamp").include_deleted().entities().unwrap();
    assert!(hidden[0].is_deleted() && hidden[0].is_deletion_conflict());
    let update = snapshot.heads(id).unwrap().into_iter().find(|v| !v.is_tombstone()).unwrap();
    b.write(|tx| tx.restore(id, &update.reference())).unwrap();
    both_ways(&a, &b);
    assert_eq!(a.snapshot().unwrap().get(id).unwrap().unwrap().read::<Lamp>().unwrap(), lamp(7));
}

#[test]
fn a_stale_form_does_not_overwrite_what_arrived_since() {
    let engine = engine("phone");
    let id = engine.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    let form = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    engine.write(|tx| tx.patch(id, Patch::new().set("name", "hall"))).unwrap();
    engine.write(|tx| tx.put(&form, &lamp(9))).unwrap();
    let now = engine.snapshot().unwrap().get(id).unwrap().unwrap().read::<Lamp>().unwrap();
    assert_eq!((now.name.as_str(), now.brightness), ("hall", 9));
    let renamed = Lamp { name: "door".into(), ..lamp(1) };
    assert!(matches!(engine.write(|tx| tx.put(&form, &renamed)), Err(Error::Stale(_))));
}

#[test]
fn two_devices_that_create_the_same_entity_before_they_meet_make_one() {
    let (a, b) = (engine("a"), engine("b"));
    let id = EntityId::v5(&[1; 16], b"kitchen lamp");
    a.write(|tx| tx.create_with_id(id, "lamp", &Content::new().with("x", 1))).unwrap();
    b.write(|tx| tx.create_with_id(id, "light", &Content::new().with("y", 2))).unwrap();
    both_ways(&a, &b);
    assert_eq!(read(&a, id), Some(Content::new().with("x", 1).with("y", 2)));
    let kind =
        |e: &Engine| e.snapshot().unwrap().get(id).unwrap().unwrap().entity_type().to_owned();
    assert_eq!(kind(&a), kind(&b));
    assert_eq!(a.snapshot().unwrap().list(&kind(&a)).count().unwrap(), 1);
}

#[test]
fn order_of_arrival_does_not_matter() {
    let makers: Vec<_> = (0..4).map(|i| engine(&format!("d{i}"))).collect();
    let id = makers[0].write(|tx| tx.create("lamp", &lamp(0))).unwrap();
    for m in &makers[1..] {
        carry(&makers[0], m);
    }
    for (i, m) in makers.iter().enumerate() {
        m.write(|tx| tx.patch(id, Patch::new().set("name", format!("n{i}")).set("brightness", 5)))
            .unwrap();
    }
    let mut shown = Vec::new();
    for turn in 0..4 {
        let reader = engine("reader");
        for i in 0..4 {
            carry(&makers[(i + turn) % 4], &reader);
        }
        let snapshot = reader.snapshot().unwrap();
        assert_eq!(snapshot.heads(id).unwrap().len(), 4);
        shown.push((read(&reader, id), reader.log_root().unwrap(), reader.state_digest().unwrap()));
        assert!(reader.verify().unwrap().is_clean());
    }
    assert!(shown.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn a_thousand_heads_on_one_entity_merge() {
    let home = engine("home");
    let id =
        home.write(|tx| tx.create("lamp", &Content::new().with("x", 0).with("shared", 1))).unwrap();
    let batch =
        home.replication().commits(Lsn::START, Lsn::new(1), &|_, _, _| true, usize::MAX).unwrap();
    let hub = engine("hub");
    carry(&home, &hub);
    for i in 0..1000u32 {
        let device = engine(&format!("d{i}"));
        device.replication().ingest(&[&batch.commits[0].bytes]).unwrap();
        device
            .write(|tx| tx.patch(id, Patch::new().set("x", i + 1).set(&format!("f{}", i % 7), i)))
            .unwrap();
        carry(&device, &hub);
    }
    let snapshot = hub.snapshot().unwrap();
    assert_eq!(snapshot.heads(id).unwrap().len(), 1000);
    let conflict = snapshot.conflict(id).unwrap().unwrap();
    assert_eq!(conflict.fields.len(), 8);
    assert_eq!(conflict.fields.iter().map(|c| c.sides.len()).sum::<usize>(), 2000);
    assert_eq!(conflict.suggestion.unwrap().get("shared"), Some(&Value::Int(1)));
    hub.write(|tx| tx.patch(id, Patch::new().set("x", 5_000))).unwrap();
    let snapshot = hub.snapshot().unwrap();
    assert_eq!(
        (snapshot.heads(id).unwrap().len(), snapshot.conflict(id).unwrap().unwrap().fields.len()),
        (1, 7)
    );
    assert!(hub.verify().unwrap().is_clean());
}

#[test]
fn time_travel_shows_what_a_clock_had_seen() {
    let (a, b) = (engine("a"), engine("b"));
    let id = a.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    let first = a.clock().unwrap();
    both_ways(&a, &b);
    a.write(|tx| tx.patch(id, Patch::new().set("brightness", 2))).unwrap();
    b.write(|tx| {
        tx.patch(id, Patch::new().set("note", "n"))?;
        tx.create("room", &Content::new().with("n", 1))
    })
    .unwrap();
    let (on_a, on_b) = (a.clock().unwrap(), b.clock().unwrap());
    both_ways(&a, &b);
    a.write(|tx| tx.delete(id)).unwrap();
    let last = a.clock().unwrap();
    assert_eq!(on_a.compare(&on_b), ClockOrdering::Concurrent);
    let snapshot = a.snapshot().unwrap();
    let at = |clock: &Clock| {
        snapshot.as_of(clock).unwrap().get(id).unwrap().map(|e| e.read::<Lamp>().unwrap())
    };
    assert_eq!(at(&Clock::new()), None);
    assert_eq!(at(&first), Some(lamp(1)));
    assert_eq!(at(&on_a), Some(lamp(2)));
    assert_eq!(at(&on_b), Some(Lamp { note: Some("n".into()), ..lamp(1) }));
    assert_eq!(at(&last), None);
    assert_eq!(snapshot.as_of(&on_b).unwrap().list("room").unwrap().count(), 1);
    assert_eq!(snapshot.as_of(&on_a).unwrap().list("room").unwrap().count(), 0);

    let found: Vec<_> = snapshot.diff(&first, &last).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), 2);
    let of = |id| found.iter().find(|d| d.entity == id).unwrap();
    assert!(of(id).before.is_some() && of(id).after.is_none());
    assert_eq!(snapshot.diff(&on_a, &on_a).unwrap().count(), 0);

    let head = snapshot.heads(id).unwrap()[0].commit();
    assert_eq!(snapshot.clock_at(&head).unwrap().compare(&last), ClockOrdering::Equal);
    // b's part without a's: it builds on a's creation
    let torn: Clock = on_b.iter().filter(|(l, _)| Some(*l) == b.log_id()).collect();
    let error = snapshot.as_of(&torn).err().unwrap().to_string();
    assert!(error.contains("not causally closed"), "{error}");
}

#[test]
fn listings_are_by_type_in_order_of_ids_and_paged() {
    let engine = engine("phone");
    let mut ids: Vec<_> = (0..20u8)
        .map(|i| {
            engine
                .write(|tx| {
                    let id = EntityId::v5(&[0; 16], &[i]);
                    tx.create_with_id(id, "lamp", &lamp(i))?;
                    Ok::<_, Error>(id)
                })
                .unwrap()
        })
        .collect();
    engine.write(|tx| tx.create("room", &lamp(1))).unwrap();
    ids.sort();
    let snapshot = engine.snapshot().unwrap();
    let listed =
        |l: heirloom::Listing<'_>| l.entities().unwrap().iter().map(|e| e.id()).collect::<Vec<_>>();
    assert_eq!(listed(snapshot.list("lamp")), ids);
    assert_eq!(listed(snapshot.list("lamp").after(ids[4]).limit(3)), ids[5..8]);
    let first = ids[0].as_bytes()[0];
    let expected: Vec<_> = ids.iter().copied().filter(|i| i.as_bytes()[0] == first).collect();
    assert_eq!(listed(snapshot.list("lamp").prefix(&[first])), expected);
    assert_eq!(listed(snapshot.list("lamp").after(ids[19])), []);
    assert_eq!(
        (snapshot.list("lamp").count().unwrap(), snapshot.list("nothing").count().unwrap()),
        (20, 0)
    );
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let engine = engine("phone");
    let id = engine.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    let before: Snapshot = engine.snapshot().unwrap();
    let clock = before.clock().unwrap();
    engine.write(|tx| tx.patch(id, Patch::new().set("brightness", 2))).unwrap();
    assert_eq!(before.get(id).unwrap().unwrap().read::<Lamp>().unwrap(), lamp(1));
    assert_eq!((before.clock().unwrap(), before.history(id).unwrap().count()), (clock, 1));
}

#[test]
fn many_threads_write_at_once_and_each_commit_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::builder().label("phone").open(dir.path().join("store")).unwrap();
    let id = engine.write(|tx| tx.create("counter", &Content::new().with("n", 0))).unwrap();
    std::thread::scope(|scope| {
        for t in 0..8 {
            let engine = engine.clone();
            scope.spawn(move || {
                for _ in 0..25 {
                    engine
                        .write(|tx| {
                            let n = tx.get(id)?.unwrap().get("n")?.unwrap().as_int().unwrap();
                            tx.create("mark", &Content::new().with("thread", t))?;
                            tx.patch(id, Patch::new().set("n", n + 1))
                        })
                        .unwrap();
                }
            });
        }
    });
    let snapshot = engine.snapshot().unwrap();
    assert_eq!(snapshot.get(id).unwrap().unwrap().get("n").unwrap(), Some(200.into()));
    assert_eq!(snapshot.list("mark").count().unwrap(), 200);
    assert_eq!((snapshot.history(id).unwrap().count(), snapshot.commits().unwrap()), (201, 201));
    assert!(engine.verify().unwrap().is_clean());
}

#[test]
fn a_reopened_store_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let open = || Engine::builder().label("phone").dataset_name("home").open(&path).unwrap();
    let engine = open();
    let id = engine.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    let other = engine_with_edit(&engine, id);
    carry(&other, &engine);
    let before = (
        engine.log_root().unwrap(),
        engine.state_digest().unwrap(),
        engine.clock().unwrap(),
        engine.log_id(),
    );
    engine.close().unwrap();
    let engine = open();
    assert_eq!(
        before,
        (
            engine.log_root().unwrap(),
            engine.state_digest().unwrap(),
            engine.clock().unwrap(),
            engine.log_id()
        )
    );
    engine.write(|tx| tx.patch(id, Patch::new().set("brightness", 3))).unwrap();
    both_ways(&engine, &other);
    assert_eq!(engine.snapshot().unwrap().heads(id).unwrap()[0].id().unwrap().sequence().get(), 2);
}

fn engine_with_edit(from: &Engine, id: EntityId) -> Engine {
    let other = engine("other");
    carry(from, &other);
    other.write(|tx| tx.patch(id, Patch::new().set("note", "other"))).unwrap();
    other
}

#[test]
fn walls_never_go_back_and_a_clock_far_ahead_moves_nobody() {
    let start = 1_700_000_000_000;
    let now = Arc::new(AtomicI64::new(start));
    let source = now.clone();
    let engine = Engine::builder()
        .dataset_name("home")
        .wall_clock(move || Timestamp::from_millis(source.load(Ordering::Relaxed)))
        .in_memory()
        .unwrap();
    let id = engine.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    now.store(start - 86_400_000, Ordering::Relaxed);
    engine.write(|tx| tx.patch(id, Patch::new().set("brightness", 2))).unwrap();
    let wall = |e: &Engine| {
        e.snapshot().unwrap().heads(id).unwrap().iter().map(|v| v.wall().as_millis()).max().unwrap()
    };
    assert_eq!(wall(&engine), start);

    now.store(start, Ordering::Relaxed);
    let year = 365 * 86_400_000;
    let wild = Engine::builder()
        .dataset_name("home")
        .wall_clock(move || Timestamp::from_millis(start + 10 * year))
        .in_memory()
        .unwrap();
    carry(&engine, &wild);
    wild.write(|tx| tx.patch(id, Patch::new().set("brightness", 3))).unwrap();
    let batch =
        wild.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
    let commits: Vec<&[u8]> = batch.commits.iter().map(|c| &c.bytes[..]).collect();
    let report = engine.replication().ingest(&commits).unwrap();
    let told: Vec<_> =
        report.clocks_ahead.iter().map(|c| (c.log, c.device.clone(), c.by_ms)).collect();
    assert_eq!(told, [(wild.log_id().unwrap(), wild.device_id().unwrap(), 10 * year as u64)]);
    assert_eq!(engine.clocks_ahead().unwrap(), report.clocks_ahead);
    engine.write(|tx| tx.patch(id, Patch::new().set("brightness", 4))).unwrap();
    let head = &engine.snapshot().unwrap().heads(id).unwrap()[0];
    assert_eq!(head.wall().as_millis(), start);
    assert!(
        head.stamp().as_millis() > start + 10 * year,
        "its stamp follows its parent's all the same"
    );
}

#[test]
fn metadata_stays_with_the_commit() {
    let engine = engine("phone");
    let why = Metadata::new().with_actor("ada").with_message("first");
    let id = engine.write_with(why.clone(), |tx| tx.create("lamp", &lamp(1))).unwrap();
    let head = &engine.snapshot().unwrap().heads(id).unwrap()[0];
    assert_eq!(head.metadata(), &why);
    assert!(head.device().starts_with("phone-"));
    assert_eq!(Some(head.device()), engine.device_id().as_deref());
    let long = Metadata::new().with_message("x".repeat(5_000));
    assert!(matches!(
        engine.write_with(long, |tx| tx.delete(id)),
        Err(Error::Invalid(heirloom::Invalid::Limit { .. }))
    ));
}

#[test]
fn two_copies_that_wrote_live_on_as_branches() {
    let draws = Arc::new(AtomicU64::new(0));
    let twin = |draws: Arc<AtomicU64>| {
        Engine::builder()
            .dataset_name("home")
            .entropy(move || {
                let n = draws.fetch_add(1, Ordering::Relaxed);
                let mut b = [0; 16];
                b[..8].copy_from_slice(&n.to_be_bytes());
                b
            })
            .in_memory()
            .unwrap()
    };
    let (a, b) = (twin(draws), twin(Arc::default()));
    let id = EntityId::v5(&[0; 16], b"x");
    a.write(|tx| tx.create_with_id(id, "lamp", &lamp(1))).unwrap();
    b.write(|tx| tx.create_with_id(id, "lamp", &lamp(2))).unwrap();
    assert_eq!(a.log_id(), b.log_id(), "the premise: both drew the same nonce");
    let log = a.log_id().unwrap();
    both_ways(&a, &b);
    for engine in [&a, &b] {
        let snapshot = engine.snapshot().unwrap();
        let heads = snapshot.heads(id).unwrap();
        let forks = snapshot.forks().unwrap();
        assert_eq!((heads.len(), forks.len(), forks[0].log, forks[0].after.get()), (2, 1, log, 0));
        assert_ne!(heads[0].device(), heads[1].device(), "a branch has a name of its own");
        assert_eq!(
            snapshot.clock().unwrap().iter().map(|(name, _)| name).collect::<Vec<_>>(),
            forks[0].branches
        );
        assert_eq!(engine.log_id(), None, "the next write opens a fresh log");
    }
}

#[test]
fn refs_of_versions_that_are_not_here_are_errors() {
    let engine = engine("phone");
    let id = engine.write(|tx| tx.create("lamp", &lamp(1))).unwrap();
    let head = engine.snapshot().unwrap().heads(id).unwrap()[0].reference();
    let wrong = VersionRef { sequence: Sequence::new(9), ..head };
    let snapshot = engine.snapshot().unwrap();
    assert!(matches!(snapshot.content_at(&wrong), Err(Error::NotHere { .. })));
    assert!(matches!(engine.write(|tx| tx.restore(id, &wrong)), Err(Error::NotOfEntity { .. })));
}

#[test]
fn a_peer_may_claim_to_be_at_the_end_of_all_sequences() {
    let engine = Engine::in_memory().unwrap();
    engine.write(|tx| tx.create("lamp", &Content::new())).unwrap();
    assert_eq!(engine.replication().first_lsn_beyond(&|_, _| Sequence::END).unwrap().get(), 1);
}

/// Whether it returns at all.
fn returns(what: &str, act: impl FnOnce() + Send + 'static) {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        act();
        tell.send(()).ok();
    });
    assert!(told.recv_timeout(std::time::Duration::from_secs(20)).is_ok(), "{what}");
}

#[test]
fn what_waits_for_the_writer_is_an_error_inside_a_write_and_no_deadlock() {
    type Act = fn(&Engine) -> heirloom::Result<()>;
    let acts: [(&str, Act); 9] = [
        ("write", |e| e.write(|tx| tx.create("x", &Content::new())).map(drop)),
        ("ingest", |e| e.replication().ingest(&[]).map(drop)),
        ("node", |e| e.replication().node().map(drop)),
        ("adopt", |e| e.replication().adopt(DatasetId::from_name("other"))),
        ("remember", |e| {
            let peer = heirloom::replication::Peer { held: Lsn::new(1), ..Default::default() };
            e.replication().remember(heirloom::NodeId::from_bytes([1; 16]), peer)
        }),
        ("forget", |e| e.replication().forget(heirloom::NodeId::from_bytes([1; 16]))),
        ("build_indexes", Engine::build_indexes),
        ("import", |e| e.importer()?.device("x").map(drop)),
        ("close", |e| e.clone().close()),
    ];
    for (what, act) in acts {
        returns(what, move || {
            let engine = Engine::builder().dataset_name("home").in_memory().unwrap();
            let written = engine.write(|tx| {
                let refused = act(&engine);
                if what != "import" {
                    assert!(matches!(refused, Err(Error::InsideWrite)), "{what}: {refused:?}");
                }
                tx.create("lamp", &Content::new())
            });
            assert!(engine.snapshot().unwrap().get(written.unwrap()).unwrap().is_some());
        });
    }
}

#[test]
fn a_policy_that_writes_gets_an_error_and_stops_nobody() {
    returns("ingest", || {
        let own = std::sync::Arc::new(std::sync::OnceLock::<Engine>::new());
        let inner = own.clone();
        let writes = heirloom::Policy::custom("writes", 1, move |_| {
            if let Some(engine) = inner.get() {
                assert!(engine.write(|tx| tx.create("x", &Content::new())).is_err());
            }
            heirloom::Resolution::Suggestion
        });
        let builder = |label: &str| Engine::builder().label(label).dataset_name("home");
        let phone = builder("phone").policy("lamp", writes).index("lamp", "v").in_memory().unwrap();
        let tablet = builder("tablet").in_memory().unwrap();
        let carry = |from: &Engine, to: &Engine| {
            let batch = from
                .replication()
                .commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)
                .unwrap();
            let commits: Vec<&[u8]> = batch.commits.iter().map(|c| &c.bytes[..]).collect();
            to.replication().ingest(&commits).unwrap();
        };
        let id = phone.write(|tx| tx.create("lamp", &Content::new().with("v", 1))).unwrap();
        carry(&phone, &tablet);
        phone.write(|tx| tx.patch(id, Patch::new().set("v", 2))).unwrap();
        tablet.write(|tx| tx.patch(id, Patch::new().set("v", 3))).unwrap();
        own.set(phone.clone()).ok();
        carry(&tablet, &phone);
        assert_eq!(phone.snapshot().unwrap().heads(id).unwrap().len(), 2);
    });
}
