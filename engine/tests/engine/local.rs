//! Types that never leave the store: everything works on them, and nobody else hears of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use heirloom::{
    Builder, Clock, Content, Cursor, DatasetId, Engine, EntityId, Error, Kind, Lsn, Patch, Point,
    Sequence, Timestamp, Value,
};
use proptest::prelude::*;

use super::carried::{carry, commits};

use crate::tables_part::open_tables;

fn builder(label: &str) -> Builder {
    let indexed =
        Engine::builder().index("draft", "name").index("lamp", "name").index("draft", "n");
    indexed.label(label).dataset_name("home").local_type("draft")
}

fn engine(label: &str) -> Engine {
    builder(label).in_memory().unwrap()
}

fn both_ways(a: &Engine, b: &Engine) {
    carry(a, b);
    carry(b, a);
    assert_eq!(a.log_root().unwrap(), b.log_root().unwrap());
    assert_eq!(a.state_digest().unwrap(), b.state_digest().unwrap());
    assert_eq!(a.clock().unwrap(), b.clock().unwrap());
    assert_eq!(a.replication().position().unwrap().ends, b.replication().position().unwrap().ends);
    [a, b].into_iter().for_each(check);
}

fn check(engine: &Engine) {
    let found = engine.verify().unwrap();
    assert!(found.is_clean(), "{:?}", found.problems);
}

fn named(name: &str) -> Content {
    Content::new().with("name", name)
}

fn name(engine: &Engine, id: EntityId) -> Option<Value> {
    engine.snapshot().unwrap().get(id).unwrap().map(|e| e.get("name").unwrap().unwrap())
}

fn create(engine: &Engine, entity_type: &str, name: &str) -> EntityId {
    engine.write(|tx| tx.create(entity_type, &named(name))).unwrap()
}

fn set(engine: &Engine, id: EntityId, name: &str) {
    engine.write(|tx| tx.patch(id, Patch::new().set("name", name))).unwrap();
}

#[test]
fn a_peer_hears_nothing_of_what_stays_here() {
    let (phone, tablet) = (engine("phone"), engine("tablet"));
    let draft = create(&phone, "draft", "mine");
    let lamp = create(&phone, "lamp", "desk");
    set(&phone, draft, "still mine");
    let theirs = create(&tablet, "draft", "the tablet's");
    both_ways(&phone, &tablet);
    set(&tablet, lamp, "hall");
    set(&phone, draft, "ever mine");
    both_ways(&phone, &tablet);
    assert_eq!(name(&phone, lamp), Some("hall".into()));
    assert_eq!((name(&phone, draft), name(&phone, theirs)), (Some("ever mine".into()), None));
    assert_eq!((name(&tablet, draft), name(&tablet, theirs)), (None, Some("the tablet's".into())));
    assert_eq!(phone.snapshot().unwrap().list("draft").count().unwrap(), 1);

    let (replication, local) =
        (phone.replication(), phone.snapshot().unwrap().heads(draft).unwrap()[0].clone());
    assert_ne!(Some(local.log()), phone.log_id());
    assert_eq!(replication.ends_of(local.log()).unwrap(), []);
    assert_eq!(replication.locate(&local.commit()).unwrap(), None);
    let all = phone.snapshot().unwrap().commits().unwrap();
    assert_eq!(all, 5);
    assert_eq!(commits(&phone).len(), 2);
    let ends = replication.position().unwrap().ends;
    assert_eq!(replication.ends_at_lsn(all.into()).unwrap(), ends);
    let held = |log, _| ends.iter().find(|e| e.log == log).map_or(Sequence::START, |e| e.sequence);
    assert_eq!(replication.first_lsn_beyond(&held).unwrap().get(), all);
    assert_eq!(
        replication.first_lsn_beyond(&|_, _| Sequence::START).unwrap().get(),
        1,
        "the first that travels"
    );
}

#[test]
fn a_transaction_over_both_kinds_happens_wholly_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let phone = builder("phone").open(&path).unwrap();
    let lamp = create(&phone, "lamp", "desk");
    let (root, before) = (phone.log_root().unwrap(), phone.snapshot().unwrap().commits().unwrap());
    let failed = phone.write(|tx| {
        tx.create("draft", &named("mine"))?;
        tx.patch(lamp, Patch::new().set("name", "hall"))?;
        Err::<(), _>(Error::Cancelled)
    });
    assert!(failed.is_err());
    // each part alone breaks a limit, in either order
    let large = "x".repeat(17 << 20);
    for (of_lamp, of_draft) in [("hall", &large[..]), (&large[..], "mine")] {
        let failed = phone.write(|tx| {
            tx.create("draft", &named(of_draft))?;
            tx.patch(lamp, Patch::new().set("name", of_lamp))
        });
        assert!(matches!(failed, Err(Error::Invalid(heirloom::Invalid::Limit { .. }))));
    }
    assert_eq!(
        (phone.log_root().unwrap(), phone.snapshot().unwrap().commits().unwrap()),
        (root, before)
    );

    let draft = phone
        .write(|tx| {
            let draft = tx.create("draft", &named("mine"))?;
            assert!(tx.get(draft)?.is_some());
            tx.patch(lamp, Patch::new().set("name", "hall"))?;
            Ok::<_, Error>(draft)
        })
        .unwrap();
    let shown = |engine: &Engine| (name(engine, draft), name(engine, lamp));
    assert_eq!(shown(&phone), (Some("mine".into()), Some("hall".into())));
    assert_eq!(phone.snapshot().unwrap().commits().unwrap(), before + 2);
    check(&phone);
    phone.close().unwrap();
    let phone = builder("phone").open(&path).unwrap();
    assert_eq!(shown(&phone), (Some("mine".into()), Some("hall".into())));
    check(&phone);
}

#[test]
fn local_or_not_is_decided_by_the_creation_whatever_is_declared_later() {
    let dir = tempfile::tempdir().unwrap();
    let (path, hub) = (dir.path().join("store"), engine("hub"));
    let plain = Engine::builder().label("phone").dataset_name("home");
    let phone = plain.clone().open(&path).unwrap();
    let shared = create(&phone, "draft", "shared");
    phone.close().unwrap();

    let phone = builder("phone").open(&path).unwrap();
    let local = create(&phone, "draft", "local");
    set(&phone, shared, "still shared");
    set(&phone, local, "still local");
    both_ways(&phone, &hub);
    assert_eq!((name(&hub, shared), name(&hub, local)), (Some("still shared".into()), None));
    phone.close().unwrap();

    // no longer declared
    let phone = plain.open(&path).unwrap();
    set(&phone, local, "local for good");
    let other = create(&phone, "draft", "shared too");
    both_ways(&phone, &hub);
    assert_eq!((name(&hub, other), name(&hub, local)), (Some("shared too".into()), None));
    assert_eq!(name(&phone, local), Some("local for good".into()));
    // what peers send under a type that is local here stays synced
    set(&hub, shared, "from the hub");
    both_ways(&phone, &hub);
    assert_eq!(name(&phone, shared), Some("from the hub".into()));
}

#[test]
fn a_local_entity_lives_as_others_do() {
    let phone = engine("phone");
    let draft = create(&phone, "draft", "one");
    let clock = phone.clock().unwrap();
    assert!(clock.is_empty() && phone.log_id().is_none() && phone.device_id().is_none());
    set(&phone, draft, "two");
    let second = phone.snapshot().unwrap().heads(draft).unwrap()[0].reference();
    phone.write(|tx| tx.delete(draft)).unwrap();
    assert_eq!(name(&phone, draft), None);
    assert!(matches!(phone.write(|tx| tx.delete(draft)), Err(Error::Deleted(_))));
    phone.write(|tx| tx.restore(draft, &second)).unwrap();
    set(&phone, draft, "three");
    let snapshot = phone.snapshot().unwrap();
    let history: Vec<_> = snapshot.history(draft).unwrap().map(|v| v.unwrap()).collect();
    let kinds: Vec<_> = history.iter().rev().map(|v| v.kind()).collect();
    assert_eq!(kinds, [Kind::Create, Kind::Update, Kind::Delete, Kind::Restore, Kind::Update]);
    let sequences: Vec<_> = history.iter().rev().map(|v| v.reference().sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5].map(Sequence::new));
    assert!(history[0].device().starts_with("local-"));
    assert_eq!(snapshot.content_at(&second).unwrap(), Some(named("two")));
    let listed: Vec<_> = snapshot.list("draft").into_iter().map(|e| e.unwrap().id()).collect();
    assert_eq!(listed, [draft]);
    assert_eq!(snapshot.losses(draft).unwrap().count(), 0);
    assert_eq!(phone.changes(Cursor::START).of_type("draft").local().count(), 5);
    check(&phone);
}

#[test]
fn points_of_this_store_show_what_stays_here_and_clocks_do_not() {
    let now = Arc::new(AtomicI64::new(1_000));
    let time = now.clone();
    let clock = move || Timestamp::from_millis(time.load(Ordering::Relaxed));
    let phone = builder("phone").wall_clock(clock).in_memory().unwrap();
    let draft = create(&phone, "draft", "old");
    create(&phone, "lamp", "desk");
    now.store(2_000, Ordering::Relaxed);
    set(&phone, draft, "new");
    let snapshot = phone.snapshot().unwrap();
    let at = |point: Point| {
        let past = snapshot.as_of(point).unwrap();
        let shown = past.get(draft).unwrap().map(|e| e.get("name").unwrap().unwrap());
        assert_eq!(past.count("draft").unwrap(), u64::from(shown.is_some()));
        shown
    };
    assert_eq!(at(snapshot.clock().unwrap().into()), None);
    assert_eq!(at(Timestamp::from_millis(1_500).into()), Some("old".into()));
    assert_eq!(at(Timestamp::from_millis(2_500).into()), Some("new".into()));
    assert_eq!(
        [0, 1, 2, 3].map(|n| at(Point::Lsn(Lsn::new(n)))),
        [None, Some("old".into()), Some("old".into()), Some("new".into())]
    );
    assert_eq!(at(Point::Now), Some("new".into()));
    let from = Point::Lsn(Lsn::new(1));
    let found: Vec<_> =
        snapshot.diff(from, Point::Now).unwrap().of_type("draft").map(Result::unwrap).collect();
    assert_eq!((&found[0].before, &found[0].after), (&Some(named("old")), &Some(named("new"))));
    assert_eq!(
        snapshot.diff(Clock::new(), snapshot.clock().unwrap()).unwrap().of_type("draft").count(),
        0
    );
    let commit = snapshot.heads(draft).unwrap()[0].commit();
    assert!(matches!(snapshot.clock_at(&commit), Err(Error::Clock(_))));
}

#[test]
fn a_store_that_has_nothing_else_adopts_a_dataset() {
    let other = engine("other");
    let lamp = create(&other, "lamp", "desk");
    let (home, away) = (DatasetId::from_name("home"), DatasetId::from_name("away"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let open = |b: Builder| b.local_type("draft").open(&path);

    // without one, local commits draw none, and it opens again
    let phone = open(Engine::builder()).unwrap();
    let draft = create(&phone, "draft", "mine");
    assert_eq!(phone.dataset(), None);
    phone.close().unwrap();
    let phone = open(Engine::builder()).unwrap();
    assert_eq!((phone.dataset(), name(&phone, draft)), (None, Some("mine".into())));
    phone.replication().adopt(away).unwrap();
    phone.close().unwrap();

    // with one, it may still be given another
    let phone = open(Engine::builder().dataset(home)).unwrap();
    assert_eq!(phone.dataset(), Some(home));
    both_ways(&phone, &other);
    assert_eq!(
        (name(&phone, lamp), name(&phone, draft)),
        (Some("desk".into()), Some("mine".into()))
    );
    assert!(matches!(phone.replication().adopt(away), Err(Error::WrongDataset { .. })));
    phone.close().unwrap();
    assert!(matches!(open(Engine::builder().dataset(away)), Err(Error::WrongDataset { .. })));
}

#[test]
fn a_first_write_that_failed_does_not_bind_the_log_to_the_dataset_that_was() {
    let phone = Engine::builder().local_type("draft").in_memory().unwrap();
    let large = "x".repeat(17 << 20);
    assert!(phone.write(|tx| tx.create("lamp", &named(&large))).is_err());
    create(&phone, "draft", "mine");
    phone.replication().adopt(DatasetId::from_name("home")).unwrap();
    let lamp = create(&phone, "lamp", "desk");
    let hub = engine("hub");
    both_ways(&phone, &hub);
    assert_eq!(name(&hub, lamp), Some("desk".into()));
}

#[test]
fn a_local_entity_yields_to_a_synced_one_of_the_same_id() {
    let id = EntityId::v5(&[0; 16], b"by hand");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let (phone, hub) = (builder("phone").open(&path).unwrap(), engine("hub"));
    phone.write(|tx| tx.create_with_id(id, "draft", &named("mine"))).unwrap();
    set(&phone, id, "mine still");
    let drafts = |name: &str| {
        let snapshot = phone.snapshot().unwrap();
        snapshot.query("draft", "name").unwrap().equals(name).count().unwrap()
    };
    assert_eq!((drafts("mine"), drafts("mine still")), (0, 1));
    let local = phone.snapshot().unwrap().heads(id).unwrap()[0].clone();
    hub.write(|tx| tx.create_with_id(id, "lamp", &named("theirs"))).unwrap();
    both_ways(&phone, &hub);
    let check_shown = |phone: &Engine, expected: &str| {
        let snapshot = phone.snapshot().unwrap();
        let entity = snapshot.get(id).unwrap().unwrap();
        assert_eq!(
            (entity.entity_type(), entity.get("name").unwrap()),
            ("lamp", Some(expected.into()))
        );
        assert_eq!((entity.heads().len(), entity.is_conflicted()), (1, false));
        assert_eq!(
            (snapshot.list("draft").count().unwrap(), snapshot.list("lamp").count().unwrap()),
            (0, 1)
        );
        assert_eq!(snapshot.unsettled().unwrap().count(), 0);
        let found =
            |t: &str, name: &str| snapshot.query(t, "name").unwrap().equals(name).count().unwrap();
        assert_eq!((found("lamp", expected), found("draft", "mine still")), (1, 0));
        assert!(snapshot.history(id).unwrap().all(|v| v.unwrap().log() != local.log()));
    };
    check_shown(&phone, "theirs");
    // what was written before stays in the file, by its ref
    let kept = phone.snapshot().unwrap().content_at(&local.reference()).unwrap();
    assert_eq!(kept, Some(named("mine still")));

    // it is a synced one now
    set(&phone, id, "ours");
    both_ways(&phone, &hub);
    check_shown(&phone, "ours");
    check_shown(&hub, "ours");
    phone.close().unwrap();
    let phone = builder("phone").open(&path).unwrap();
    check_shown(&phone, "ours");
    both_ways(&phone, &hub);
}

#[test]
fn a_synced_entity_does_not_yield_to_a_local_creation() {
    let (phone, hub) =
        (engine("phone"), Engine::builder().label("hub").dataset_name("home").in_memory().unwrap());
    let draft = create(&hub, "draft", "theirs");
    both_ways(&phone, &hub);
    let created = phone.write(|tx| tx.create_with_id(draft, "draft", &named("mine")));
    assert!(matches!(created, Err(Error::Exists { .. })));
}

#[test]
fn what_stays_here_is_not_pending() {
    let phone = engine("phone");
    let draft = create(&phone, "draft", "mine");
    create(&phone, "lamp", "desk");
    let node = heirloom::NodeId::from_bytes([7; 16]);
    let pending: Vec<_> =
        phone.pending(node).unwrap().map(|c| c.unwrap().entity_type().to_owned()).collect();
    assert_eq!(pending, ["lamp"]);
    let version = phone.snapshot().unwrap().heads(draft).unwrap()[0].reference();
    assert!(phone.status_of(&version).unwrap().held_by.is_empty());
}

#[test]
fn a_local_log_that_is_taken_for_another_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let phone = builder("phone").open(&path).unwrap();
    create(&phone, "lamp", "desk");
    create(&phone, "draft", "mine");
    phone.close().unwrap();
    let database = open_tables(&path);
    let tx = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&[u8], &[u8]>::new("meta");
    assert!(tx.open_table(meta).unwrap().remove(&b"local"[..]).unwrap().is_some());
    tx.commit().unwrap();
    drop(database);
    let found = builder("phone").open(&path).unwrap().verify().unwrap();
    assert!(found.problems.iter().any(|p| p.table.name() == "logs"), "{:?}", found.problems);
}

/// What happens to one store, and then to its twin without the half that stays here.
#[derive(Clone, Debug)]
enum Event {
    Write { lamp: Option<u8>, draft: Option<u8> },
    Delete { draft: bool, n: u8 },
    Tick(i64),
    FromHub(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let n = || 0u8..3;
    prop_oneof![
        6 => (proptest::option::of(n()), proptest::option::of(n()))
            .prop_map(|(lamp, draft)| Event::Write { lamp, draft }),
        1 => (any::<bool>(), n()).prop_map(|(draft, n)| Event::Delete { draft, n }),
        2 => (-500i64..500).prop_map(Event::Tick),
        2 => n().prop_map(Event::FromHub),
    ]
}

struct Twin {
    phone: Engine,
    hub: Engine,
    now: Arc<AtomicI64>,
    /// Whether it writes what stays here.
    local: bool,
}

impl Twin {
    fn new(local: bool) -> Self {
        let now = Arc::new(AtomicI64::new(10_000));
        let made = |label: &str| {
            let time = now.clone();
            let clock = move || Timestamp::from_millis(time.load(Ordering::Relaxed));
            builder(label).wall_clock(clock).entropy(|| [9; 16]).in_memory().unwrap()
        };
        Self { phone: made("phone"), hub: made("hub"), now, local }
    }

    fn happen(&self, event: &Event, value: i64) {
        let id = |t: &str, n: u8| EntityId::v5(&[0; 16], format!("{t}{n}").as_bytes());
        let there = |engine: &Engine, id| engine.snapshot().unwrap().get_any(id).unwrap();
        let put = |engine: &Engine, kinds: &[(&str, u8)]| {
            engine
                .write(|tx| {
                    for (t, n) in kinds {
                        let id = id(t, *n);
                        match there(engine, id) {
                            None => tx.create_with_id(id, t, &Content::new().with("n", value))?,
                            Some(e) if e.is_deleted() => {}
                            Some(_) => tx.patch(id, Patch::new().set("n", value))?,
                        }
                    }
                    Ok::<_, Error>(())
                })
                .unwrap();
        };
        match event {
            Event::Write { lamp, draft } => {
                let draft = draft.filter(|_| self.local).map(|n| ("draft", n));
                put(
                    &self.phone,
                    &draft.into_iter().chain(lamp.map(|n| ("lamp", n))).collect::<Vec<_>>(),
                );
            }
            Event::Delete { draft: true, .. } if !self.local => {}
            Event::Delete { draft, n } => {
                let id = id(if *draft { "draft" } else { "lamp" }, *n);
                if there(&self.phone, id).is_some_and(|e| !e.is_deleted()) {
                    self.phone.write(|tx| tx.delete(id)).unwrap();
                }
            }
            Event::Tick(millis) => drop(self.now.fetch_add(*millis, Ordering::Relaxed)),
            Event::FromHub(n) => {
                put(&self.hub, &[("lamp", *n)]);
                carry(&self.hub, &self.phone);
                carry(&self.phone, &self.hub);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_travels_is_the_same_to_the_byte_whatever_stays_here(
        events in proptest::collection::vec(event(), 1..25),
    ) {
        let (with, without) = (Twin::new(true), Twin::new(false));
        for (i, event) in events.iter().enumerate() {
            with.happen(event, i as i64);
            without.happen(event, i as i64);
        }
        prop_assert_eq!(commits(&with.phone), commits(&without.phone));
        let told = |t: &Twin| {
            let position = t.phone.replication().position().unwrap();
            (position.ends, position.digest, t.phone.log_root().unwrap(), t.phone.clock().unwrap())
        };
        prop_assert_eq!(told(&with), told(&without));
        check(&with.phone);
        both_ways(&with.phone, &with.hub);
        let drafts =
            |e: &Engine| e.snapshot().unwrap().list("draft").include_deleted().count().unwrap();
        prop_assert_eq!((drafts(&with.hub), drafts(&without.phone)), (0, 0));
    }
}
