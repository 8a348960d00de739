//! Time travel on random histories of three stores, against an oracle that walks all versions of an
//! entity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use heirloom::{
    Clock, Content, Difference, Engine, EntityId, Error, Lsn, Patch, Point, Snapshot, Timestamp,
    Value, Version, apply_patch,
};
use proptest::prelude::*;

use super::carried::carry;
use super::histories::{ENTITIES, Oracle, STORES, World, event, id, numbers};

fn check_point(snapshot: &Snapshot, oracle: &Oracle<'_>, point: &Point) {
    let past = snapshot.as_of(point.clone()).unwrap();
    let mut listed: BTreeMap<&str, Vec<EntityId>> = BTreeMap::new();
    for n in 0..ENTITIES {
        let expected = oracle.shown(id(n), point);
        let heads: BTreeSet<_> =
            past.heads(id(n)).unwrap().iter().map(Version::reference).collect();
        assert_eq!(
            heads,
            expected.clone().map_or_else(BTreeSet::new, |e| e.1),
            "heads as of {point:?}"
        );
        let found = past.get(id(n)).unwrap();
        let content = found.as_ref().map(|e| numbers(&e.content()));
        assert_eq!(content, expected.clone().and_then(|e| e.0), "content as of {point:?}");
        if let (Some(entity), Some((_, _, entity_type))) = (found, expected) {
            assert_eq!(entity.entity_type(), entity_type);
            listed.entry(entity_type).or_default().push(id(n));
        }
    }
    for entity_type in ["lamp", "room", "none"] {
        let mut expected = listed.remove(entity_type).unwrap_or_default();
        expected.sort();
        let found: Vec<_> = past.list(entity_type).unwrap().map(|e| e.unwrap().id()).collect();
        assert_eq!(found, expected);
        assert_eq!(past.count(entity_type).unwrap(), expected.len() as u64);
    }
}

type Shelf = BTreeMap<EntityId, Content>;

fn shelf(snapshot: &Snapshot, point: &Point) -> Shelf {
    let past = snapshot.as_of(point.clone()).unwrap();
    let there = |n: u8| past.get(id(n)).unwrap().map(|e| (id(n), e.content()));
    (0..ENTITIES).filter_map(there).collect()
}

fn apply(shelf: &mut Shelf, difference: &Difference) {
    let before = shelf.remove(&difference.entity);
    assert_eq!(before, difference.before);
    if difference.after.is_some() {
        let patched =
            apply_patch(&difference.patch().unwrap(), &before.clone().unwrap_or_default()).unwrap();
        // field by field it is the same
        let mut by_field = before.unwrap_or_default();
        for field in difference.fields().unwrap() {
            let [name] = &field.path[..] else { panic!("no field is nested") };
            assert_eq!(by_field.get(name), field.before.as_ref());
            assert_ne!(field.before, field.after);
            match field.after {
                Some(value) => drop(by_field.insert(name, value)),
                None => drop(by_field.remove(name)),
            }
        }
        assert_eq!(by_field, patched);
        shelf.insert(difference.entity, patched);
    }
}

fn check_diff(snapshot: &Snapshot, from: &Point, to: &Point) {
    let found: Vec<_> =
        snapshot.diff(from.clone(), to.clone()).unwrap().map(Result::unwrap).collect();
    assert!(found.windows(2).all(|w| w[0].entity < w[1].entity), "in order of ids");
    assert!(found.iter().all(|d| d.before != d.after));
    let mut shown = shelf(snapshot, from);
    found.iter().for_each(|d| apply(&mut shown, d));
    assert_eq!(shown, shelf(snapshot, to), "from {from:?} to {to:?}");
    for entity_type in ["lamp", "room"] {
        let some: Vec<_> =
            snapshot.diff(from.clone(), to.clone()).unwrap().of_type(entity_type).collect();
        let some: Vec<_> = some.into_iter().map(Result::unwrap).collect();
        let expected: Vec<_> =
            found.iter().filter(|d| d.entity_type == entity_type).cloned().collect();
        assert_eq!(some, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_point_shows_the_fold_of_its_versions_and_differences_lead_from_one_to_another(
        events in proptest::collection::vec(event(), 1..40),
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 6),
    ) {
        let mut world = World::new();
        events.iter().for_each(|e| world.happen(e));
        // the first gets all, the others stay as they are
        (1..STORES).for_each(|from| world.carry(from, 0, u64::MAX));
        for (store, engine) in world.engines.iter().enumerate() {
            let (snapshot, oracle) = (engine.snapshot().unwrap(), Oracle::new(engine, &world.said));
            let commits = snapshot.commits().unwrap();
            let stamps: BTreeSet<_> = oracle.versions.values().map(Version::stamp).collect();
            let stamps: Vec<_> = stamps.into_iter().collect();
            let before_all = Point::Time(Timestamp::from_millis(-1));
            let mut points = vec![Point::Now, before_all, Point::Clock(Clock::new())];
            let marks = world.marks.iter().filter(|m| store == 0 || m.0 == store);
            points.extend(marks.map(|m| m.1.clone().into()));
            let marks = world.marks.iter().filter(|m| m.0 == store);
            points.extend(marks.map(|m| Point::Lsn(m.2.into())));
            for pick in &picks {
                points.push(Point::Lsn(Lsn::new(pick.index(commits as usize + 1) as u64)));
                if !stamps.is_empty() {
                    let stamp = stamps[pick.index(stamps.len())];
                    points.push(stamp.into());
                    points.push(Timestamp::from_millis(stamp.as_millis() - 1).into());
                }
            }
            points.iter().for_each(|point| check_point(&snapshot, &oracle, point));
            for (i, from) in points.iter().enumerate() {
                for to in points.iter().skip(i % 3).step_by(3) {
                    check_diff(&snapshot, from, to);
                }
            }
            prop_assert!(engine.verify().unwrap().is_clean());
        }
    }
}

fn engine_at(label: &str, time: i64) -> (Engine, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(time));
    let read = now.clone();
    let builder = Engine::builder().label(label).dataset_name("home");
    let engine = builder
        .wall_clock(move || Timestamp::from_millis(read.load(Ordering::Relaxed)))
        .in_memory()
        .unwrap();
    (engine, now)
}

#[test]
fn a_late_arrival_changes_what_a_time_shows_but_not_what_a_clock_or_an_arrival_position_shows() {
    let ((phone, phone_time), (tablet, _)) =
        (engine_at("phone", 1_000), engine_at("tablet", 2_000));
    let lamp = phone.write(|tx| tx.create("lamp", &Content::new().with("n", 1))).unwrap();
    carry(&phone, &tablet);
    tablet.write(|tx| tx.patch(lamp, Patch::new().set("n", 2))).unwrap();
    phone_time.store(3_000, Ordering::Relaxed);
    phone.write(|tx| tx.patch(lamp, Patch::new().set("m", 3))).unwrap();

    let then = Timestamp::from_millis(2_500);
    let (clock, commits) = (phone.clock().unwrap(), phone.snapshot().unwrap().commits().unwrap());
    let n = |point: Point| {
        phone
            .snapshot()
            .unwrap()
            .as_of(point)
            .unwrap()
            .get(lamp)
            .unwrap()
            .unwrap()
            .get("n")
            .unwrap()
    };
    assert_eq!(n(then.into()), Some(1.into()));
    carry(&tablet, &phone);
    assert_eq!(n(then.into()), Some(2.into()), "the tablet wrote before then");
    assert_eq!(n(clock.into()), Some(1.into()));
    assert_eq!(n(Point::Lsn(commits.into())), Some(1.into()));
    assert_eq!(n(Point::Now), Some(2.into()));
}

#[test]
fn commits_that_have_not_arrived_are_no_point() {
    let (engine, _) = engine_at("phone", 1);
    engine.write(|tx| tx.create("lamp", &Content::new())).unwrap();
    let snapshot = engine.snapshot().unwrap();
    assert!(snapshot.as_of(Point::Lsn(Lsn::new(1))).is_ok());
    assert!(matches!(snapshot.as_of(Point::Lsn(Lsn::new(2))), Err(Error::NotArrived { .. })));
    assert!(matches!(
        snapshot.diff(Point::Lsn(Lsn::START), Point::Lsn(Lsn::new(2))),
        Err(Error::NotArrived { .. })
    ));
}

#[test]
fn nested_fields_differ_leaf_by_leaf() {
    let (engine, _) = engine_at("phone", 1);
    let colour = Content::new().with("hue", 10).with("name", "red");
    let lamp = engine
        .write(|tx| tx.create("lamp", &Content::new().with("colour", colour).with("old", true)))
        .unwrap();
    let before = engine.clock().unwrap();
    let patch = Patch::new().set_at(["colour", "hue"], 20).unset("old").set("new", Value::Null);
    engine.write(|tx| tx.patch(lamp, patch)).unwrap();
    let snapshot = engine.snapshot().unwrap();
    let found: Vec<_> = snapshot.diff(&before, Point::Now).unwrap().map(Result::unwrap).collect();
    let fields = found[0].fields().unwrap();
    let fields: Vec<_> =
        fields.into_iter().map(|f| (f.path.join("."), f.before, f.after)).collect();
    assert_eq!(
        fields,
        [
            ("colour.hue".to_owned(), Some(10.into()), Some(20.into())),
            ("new".to_owned(), None, Some(Value::Null)),
            ("old".to_owned(), Some(true.into()), None),
        ]
    );
    let back = snapshot.diff(Point::Now, &before).unwrap().next().unwrap().unwrap();
    assert_eq!((back.before, back.after), (found[0].after.clone(), found[0].before.clone()));
}

#[test]
fn an_entity_that_appears_empty_is_a_difference_without_fields() {
    let (engine, _) = engine_at("phone", 1);
    engine.write(|tx| tx.create("lamp", &Content::new())).unwrap();
    let snapshot = engine.snapshot().unwrap();
    let found: Vec<_> =
        snapshot.diff(Clock::new(), Point::Now).unwrap().map(Result::unwrap).collect();
    assert_eq!((&found[0].before, &found[0].after), (&None, &Some(Content::new())));
    assert!(found[0].fields().unwrap().is_empty());
}

#[test]
fn a_short_past_of_a_long_log_is_found_without_walking_it() {
    let (engine, _) = engine_at("phone", 1);
    let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("n", 0))).unwrap();
    for n in 1..200 {
        engine.write(|tx| tx.patch(lamp, Patch::new().set("n", n))).unwrap();
    }
    let snapshot = engine.snapshot().unwrap();
    for commits in [0u64, 1, 2, 63, 64, 65, 199, 200] {
        let shown = snapshot.as_of(Point::Lsn(commits.into())).unwrap().get(lamp).unwrap();
        let n = shown.map(|e| e.get("n").unwrap().unwrap().as_int().unwrap() as u64);
        assert_eq!(n, commits.checked_sub(1));
    }
}

/// The year 2099.
const AHEAD: i64 = 4_070_908_800_000;
const NOW: i64 = 1_700_000_000_000;

#[test]
fn a_clock_that_was_far_ahead_is_put_right_by_a_fresh_log_and_a_time_finds_what_is_written_then() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let time = Arc::new(AtomicI64::new(AHEAD));
    let open = || {
        let time = time.clone();
        let builder = Engine::builder().label("phone").dataset_name("home").local_type("draft");
        builder
            .wall_clock(move || Timestamp::from_millis(time.load(Ordering::Relaxed)))
            .open(&path)
            .unwrap()
    };
    let n = |n: i64| Content::new().with("n", n);
    let phone = open();
    let [lamp, draft] = ["lamp", "draft"]
        .map(|entity_type| phone.write(|tx| tx.create(entity_type, &n(1))).unwrap());
    time.store(NOW, Ordering::Relaxed);
    let found = |engine: &Engine, id: EntityId, at: i64| {
        let snapshot = engine.snapshot().unwrap();
        let past = snapshot.as_of(Timestamp::from_millis(at)).unwrap();
        past.get(id).unwrap().and_then(|e| e.get("n").unwrap())
    };
    for id in [lamp, draft] {
        assert_eq!(found(&phone, id, NOW), None, "it says that it is of the year 2099");
    }
    assert_eq!(phone.clocks_ahead().unwrap().len(), 1);

    phone.start_fresh_log().unwrap();
    let before = NOW - 1;
    for round in 0..3 {
        let engine = &phone;
        // alone, together with what was written ahead, on top of it, and what never leaves
        let [new, beside, local] = engine
            .write(|tx| {
                tx.patch(lamp, Patch::new().set("n", 10 + round))?;
                Ok::<_, Error>([
                    tx.create("lamp", &n(2))?,
                    tx.create("lamp", &n(3))?,
                    tx.create("draft", &n(4))?,
                ])
            })
            .unwrap();
        engine.write(|tx| tx.patch(draft, Patch::new().set("n", 20 + round))).unwrap();
        let alone = engine.write(|tx| tx.create("lamp", &n(5))).unwrap();
        let expected = [
            (lamp, 10 + round),
            (draft, 20 + round),
            (new, 2),
            (beside, 3),
            (local, 4),
            (alone, 5),
        ];
        for (id, n) in expected {
            assert_eq!(found(engine, id, NOW), Some(n.into()), "round {round}");
            assert_eq!(found(engine, id, before), None);
        }
        let snapshot = engine.snapshot().unwrap();
        let stamp = |id| snapshot.heads(id).unwrap()[0].stamp().as_millis();
        assert_eq!(stamp(alone), NOW);
        assert!(stamp(lamp) > AHEAD, "it comes after what it replaces");
        let past = snapshot.as_of(Timestamp::from_millis(NOW)).unwrap();
        assert_eq!(past.list("lamp").unwrap().count() as i64, 1 + 3 * (round + 1));
        let differences =
            snapshot.diff(Timestamp::from_millis(before), Timestamp::from_millis(NOW)).unwrap();
        assert_eq!(differences.count() as i64, 2 + 4 * (round + 1));
    }
    assert!(phone.verify().unwrap().is_clean());
    phone.close().unwrap();
    // it stays so
    let phone = open();
    let id = phone.write(|tx| tx.create("draft", &n(7))).unwrap();
    assert_eq!(found(&phone, id, NOW), Some(7.into()));
    assert!(phone.verify().unwrap().is_clean());
    // everywhere
    let tablet = Engine::builder().label("tablet").dataset_name("home").in_memory().unwrap();
    carry(&phone, &tablet);
    assert_eq!(found(&tablet, lamp, NOW), Some(12.into()));
    assert_eq!(tablet.log_root().unwrap(), phone.log_root().unwrap());
}

#[test]
fn a_store_that_keeps_only_what_is_local_is_put_right_too() {
    let (phone, time) = {
        let time = Arc::new(AtomicI64::new(AHEAD));
        let read = time.clone();
        let builder = Engine::builder().dataset_name("home").local_type("draft");
        let builder =
            builder.wall_clock(move || Timestamp::from_millis(read.load(Ordering::Relaxed)));
        (builder.in_memory().unwrap(), time)
    };
    phone.write(|tx| tx.create("draft", &Content::new())).unwrap();
    time.store(NOW, Ordering::Relaxed);
    phone.start_fresh_log().unwrap();
    let draft = phone.write(|tx| tx.create("draft", &Content::new())).unwrap();
    let snapshot = phone.snapshot().unwrap();
    assert!(snapshot.as_of(Timestamp::from_millis(NOW)).unwrap().get(draft).unwrap().is_some());
    assert!(phone.verify().unwrap().is_clean());
}

/// The clock of another must not hide what was written by a right one.
#[test]
fn what_is_written_on_top_of_what_a_wrong_clock_wrote_is_found_at_its_own_time() {
    let ((phone, _), (tablet, tablet_time)) = (engine_at("phone", AHEAD), engine_at("tablet", NOW));
    let lamp = tablet.write(|tx| tx.create("lamp", &Content::new().with("n", 1))).unwrap();
    carry(&tablet, &phone);
    phone.write(|tx| tx.patch(lamp, Patch::new().set("n", 2))).unwrap();
    carry(&phone, &tablet);
    let n = |at: i64| {
        let snapshot = tablet.snapshot().unwrap();
        let shown = snapshot.as_of(Timestamp::from_millis(at)).unwrap().get(lamp).unwrap();
        shown.unwrap().get("n").unwrap()
    };
    assert_eq!((n(NOW), n(AHEAD + 1)), (Some(1.into()), Some(2.into())));
    tablet_time.store(NOW + 1_000, Ordering::Relaxed);
    tablet.write(|tx| tx.patch(lamp, Patch::new().set("m", 3))).unwrap();
    assert_eq!((n(NOW), n(NOW + 1_000)), (Some(1.into()), Some(2.into())));
}
