//! Time travel on random histories of three stores, against an oracle that walks all versions of an entity.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use heirloom::{
    Clock, Content, Difference, Engine, EntityId, Error, LogId, Patch, Point, Snapshot, Timestamp, Value,
    Version, VersionRef, apply_patch,
};
use proptest::prelude::*;

const STORES: usize = 3;
const ENTITIES: u8 = 4;
const FIELDS: [&str; 3] = ["a", "b", "c"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    /// One transaction over one entity or two.
    Write {
        store: usize,
        entities: Vec<(u8, Change)>,
    },
    /// Some of what the other has.
    Carry {
        from: usize,
        to: usize,
        most: u64,
    },
    Tick {
        store: usize,
        millis: i64,
    },
    /// Somebody notes where a store is.
    Mark {
        store: usize,
    },
}

/// Creates the entity where it is not there, brings it back where it is deleted.
#[derive(Clone, Debug)]
enum Change {
    Patch { sets: BTreeSet<usize>, unsets: BTreeSet<usize> },
    Delete,
}

fn change() -> impl Strategy<Value = Change> {
    let fields = || proptest::collection::btree_set(0..FIELDS.len(), 0..3);
    prop_oneof![
        5 => (fields(), fields()).prop_map(|(sets, unsets)| {
            let unsets = unsets.difference(&sets).copied().collect();
            Change::Patch { sets, unsets }
        }),
        1 => Just(Change::Delete),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let write = (0..STORES, proptest::collection::btree_map(0..ENTITIES, change(), 1..3))
        .prop_map(|(store, entities)| Event::Write { store, entities: entities.into_iter().collect() });
    // jumps beyond the five minutes by which a remote clock pulls ours, so that stamps do not ascend within a log
    let millis = prop_oneof![3 => 1i64..50, 1 => Just(700_000)];
    prop_oneof![
        8 => write,
        4 => (0..STORES, 1..STORES, 1u64..9)
            .prop_map(|(from, n, most)| Event::Carry { from, to: (from + n) % STORES, most }),
        2 => (0..STORES, millis).prop_map(|(store, millis)| Event::Tick { store, millis }),
        2 => (0..STORES).prop_map(|store| Event::Mark { store }),
    ]
}

/// What a version said, as the test knows from making it.
#[derive(Clone, Debug)]
enum Said {
    Create(&'static str, BTreeMap<String, i64>),
    Patch(BTreeMap<String, i64>, Vec<String>),
    Restore(BTreeMap<String, i64>),
    Delete,
}

struct World {
    engines: Vec<Engine>,
    times: Vec<Arc<AtomicI64>>,
    said: HashMap<VersionRef, Said>,
    marks: Vec<(usize, Clock, u64)>,
    next: i64,
}

fn id(n: u8) -> EntityId {
    EntityId::v5(&[0; 16], &[n])
}

/// Devices do not agree on what an entity that they both bring into being is.
fn type_on(store: usize) -> &'static str {
    if store == 0 { "lamp" } else { "room" }
}

impl World {
    fn new() -> Self {
        let times: Vec<_> = (0..STORES).map(|i| Arc::new(AtomicI64::new(1_000 * i as i64))).collect();
        let engine = |(i, time): (usize, &Arc<AtomicI64>)| {
            let (time, drawn) = (time.clone(), AtomicU64::new(i as u64 + 1));
            Engine::builder()
                .label(format!("store{i}"))
                .dataset_name("travel")
                .clock(move || Timestamp::from_millis(time.load(Ordering::Relaxed)))
                .entropy(move || (u128::from(drawn.fetch_add(100, Ordering::Relaxed)) << 64).to_be_bytes())
                .in_memory()
                .unwrap()
        };
        let engines = times.iter().enumerate().map(engine).collect();
        Self { engines, times, said: HashMap::new(), marks: Vec::new(), next: 0 }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Write { store, entities } => self.write(*store, entities),
            Event::Carry { from, to, most } => self.carry(*from, *to, *most),
            Event::Tick { store, millis } => {
                self.times[*store].fetch_add(*millis, Ordering::Relaxed);
            }
            Event::Mark { store } => {
                let snapshot = self.engines[*store].snapshot().unwrap();
                self.marks.push((*store, snapshot.clock().unwrap(), snapshot.commits().unwrap()));
            }
        }
    }

    fn write(&mut self, store: usize, entities: &[(u8, Change)]) {
        let engine = self.engines[store].clone();
        let before = engine.snapshot().unwrap();
        let mut said = Vec::new();
        engine
            .write(|tx| {
                for (n, change) in entities {
                    let (id, there) = (id(*n), before.get_any(id(*n))?);
                    let Change::Patch { sets, unsets } = change else {
                        if there.is_some_and(|e| !e.is_deleted()) {
                            tx.delete(id)?;
                            said.push((id, Said::Delete));
                        }
                        continue;
                    };
                    // each value is said once, so that it tells who said it
                    let sets: BTreeMap<String, i64> = sets
                        .iter()
                        .map(|f| {
                            self.next += 1;
                            (FIELDS[*f].to_owned(), self.next)
                        })
                        .collect();
                    let unsets: Vec<_> = unsets.iter().map(|f| FIELDS[*f].to_owned()).collect();
                    match there {
                        None => {
                            tx.create_with_id(id, type_on(store), &sets)?;
                            said.push((id, Said::Create(type_on(store), sets)));
                        }
                        Some(entity) if entity.is_deleted() => {
                            let live = before.history(id)?.map(Result::unwrap).find(|v| !v.is_tombstone());
                            let live = live.unwrap().reference();
                            let content = before.content_at(&live)?.unwrap();
                            tx.restore(id, &live)?;
                            said.push((id, Said::Restore(numbers(&content))));
                        }
                        Some(_) => {
                            let mut patch = Patch::new();
                            for (field, value) in &sets {
                                patch = patch.set(field, *value);
                            }
                            for field in &unsets {
                                patch = patch.unset(field);
                            }
                            tx.patch(id, patch)?;
                            said.push((id, Said::Patch(sets, unsets)));
                        }
                    }
                }
                Ok::<_, Error>(())
            })
            .unwrap();
        let after = engine.snapshot().unwrap();
        for (id, said) in said {
            // what changes nothing writes nothing
            let heads: Vec<_> = after.heads(id).unwrap().iter().map(Version::reference).collect();
            if let [only] = heads[..] {
                self.said.entry(only).or_insert(said);
            }
        }
    }

    fn carry(&self, from: usize, to: usize, most: u64) {
        let held = |log: LogId| self.engines[to].replication().held(log).unwrap().map_or(0, |e| e.sequence);
        let source = self.engines[from].replication();
        let all = source.commits(0, u64::MAX, &|log, last| last > held(log), usize::MAX).unwrap().commits;
        let some: Vec<&[u8]> = all.iter().take(most as usize).map(|c| &c.bytes[..]).collect();
        self.engines[to].replication().ingest(&some).unwrap();
    }
}

fn numbers(content: &Content) -> BTreeMap<String, i64> {
    content.iter().map(|(k, v)| (k.clone(), v.as_int().unwrap())).collect()
}

/// Field → writers and what they said.
type State = BTreeMap<String, BTreeMap<VersionRef, i64>>;

/// All versions that a store has, and nothing else that it says.
struct Oracle<'w> {
    versions: HashMap<VersionRef, Version>,
    lsns: HashMap<(LogId, u64), u64>,
    said: &'w HashMap<VersionRef, Said>,
}

/// What is shown of an entity, its heads, its type.
type Shown = (Option<BTreeMap<String, i64>>, BTreeSet<VersionRef>, &'static str);

impl<'w> Oracle<'w> {
    fn new(engine: &Engine, said: &'w HashMap<VersionRef, Said>) -> Self {
        let snapshot = engine.snapshot().unwrap();
        let histories = (0..ENTITIES).flat_map(|n| snapshot.history(id(n)).unwrap());
        let versions = histories.map(Result::unwrap).map(|v| (v.reference(), v)).collect();
        let commits = engine.replication().commits(0, u64::MAX, &|_, _| true, usize::MAX).unwrap().commits;
        let lsns = commits.iter().map(|c| ((c.end.log, c.end.sequence), c.lsn)).collect();
        Self { versions, lsns, said }
    }

    fn inside(&self, v: &Version, point: &Point) -> bool {
        match point {
            Point::Clock(clock) => clock.covers(v.reference().log, v.reference().sequence),
            Point::Time(time) => v.stamp() <= *time,
            Point::Lsn(n) => self.lsns[&(v.commit().log, v.commit().sequence)] < *n,
            _ => true,
        }
    }

    fn ancestors(&self, v: &VersionRef) -> BTreeSet<VersionRef> {
        let mut out = BTreeSet::from([*v]);
        for parent in self.versions[v].parents() {
            out.extend(self.ancestors(parent));
        }
        out
    }

    /// Nothing for a tombstone.
    fn state(&self, v: &VersionRef) -> Option<State> {
        let base = || self.merge(self.versions[v].parents());
        let own = |value: &i64| BTreeMap::from([(*v, *value)]);
        Some(match &self.said[v] {
            Said::Delete => return None,
            Said::Create(_, sets) => sets.iter().map(|(f, n)| (f.clone(), own(n))).collect(),
            Said::Patch(sets, unsets) => {
                let mut state = base();
                state.retain(|f, _| !unsets.contains(f));
                state.extend(sets.iter().map(|(f, n)| (f.clone(), own(n))));
                state
            }
            Said::Restore(whole) => {
                let base = base();
                let kept = |f: &String, n: &i64| {
                    base.get(f).filter(|e| e.values().all(|v| v == n)).cloned().unwrap_or_else(|| own(n))
                };
                whole.iter().map(|(f, n)| (f.clone(), kept(f, n))).collect()
            }
        })
    }

    /// An entry survives if and only if each live head has it or has not seen its writer.
    fn merge(&self, heads: &[VersionRef]) -> State {
        let live: Vec<_> = heads.iter().filter_map(|h| Some((self.state(h)?, self.ancestors(h)))).collect();
        let mut out = State::new();
        for (field, entries) in live.iter().flat_map(|(state, _)| state) {
            for (writer, value) in entries {
                let has = |s: &State| s.get(field).is_some_and(|e| e.contains_key(writer));
                if live.iter().all(|(state, seen)| has(state) || !seen.contains(writer)) {
                    out.entry(field.clone()).or_default().insert(*writer, *value);
                }
            }
        }
        out
    }

    fn shown(&self, entity: EntityId, point: &Point) -> Option<Shown> {
        let inside = |v: &&Version| v.entity() == entity && self.inside(v, point);
        let versions: Vec<_> = self.versions.values().filter(inside).collect();
        let replaced: BTreeSet<_> = versions.iter().flat_map(|v| v.parents()).copied().collect();
        let key = |v: &VersionRef| (self.versions[v].stamp(), *v);
        let creations = versions.iter().map(|v| v.reference()).min_by_key(key);
        let Some(Said::Create(entity_type, _)) = creations.map(|v| &self.said[&v]) else { return None };
        let heads: Vec<_> =
            versions.iter().map(|v| v.reference()).filter(|v| !replaced.contains(v)).collect();
        let deleted = heads.iter().any(|h| self.versions[h].is_tombstone());
        let merged = self.merge(&heads);
        let newest = |e: &BTreeMap<VersionRef, i64>| *e.iter().max_by_key(|(v, _)| key(v)).unwrap().1;
        let content = merged.iter().map(|(f, e)| (f.clone(), newest(e))).collect();
        Some(((!deleted).then_some(content), heads.into_iter().collect(), entity_type))
    }
}

fn check_point(snapshot: &Snapshot, oracle: &Oracle<'_>, point: &Point) {
    let past = snapshot.as_of(point.clone()).unwrap();
    let mut listed: BTreeMap<&str, Vec<EntityId>> = BTreeMap::new();
    for n in 0..ENTITIES {
        let expected = oracle.shown(id(n), point);
        let heads: BTreeSet<_> = past.heads(id(n)).unwrap().iter().map(Version::reference).collect();
        assert_eq!(heads, expected.clone().map_or_else(BTreeSet::new, |e| e.1), "heads as of {point:?}");
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
        let patched = apply_patch(&difference.patch().unwrap(), &before.clone().unwrap_or_default()).unwrap();
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
    let found: Vec<_> = snapshot.diff(from.clone(), to.clone()).unwrap().map(Result::unwrap).collect();
    assert!(found.windows(2).all(|w| w[0].entity < w[1].entity), "in order of ids");
    assert!(found.iter().all(|d| d.before != d.after));
    let mut shown = shelf(snapshot, from);
    found.iter().for_each(|d| apply(&mut shown, d));
    assert_eq!(shown, shelf(snapshot, to), "from {from:?} to {to:?}");
    for entity_type in ["lamp", "room"] {
        let some: Vec<_> = snapshot.diff(from.clone(), to.clone()).unwrap().of_type(entity_type).collect();
        let some: Vec<_> = some.into_iter().map(Result::unwrap).collect();
        let expected: Vec<_> = found.iter().filter(|d| d.entity_type == entity_type).cloned().collect();
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
            let mut points = vec![Point::Now, Point::Time(Timestamp::from_millis(-1)), Point::Clock(Clock::new())];
            points.extend(world.marks.iter().filter(|m| store == 0 || m.0 == store).map(|m| m.1.clone().into()));
            points.extend(world.marks.iter().filter(|m| m.0 == store).map(|m| Point::Lsn(m.2)));
            for pick in &picks {
                points.push(Point::Lsn(pick.index(commits as usize + 1) as u64));
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
    let engine =
        builder.clock(move || Timestamp::from_millis(read.load(Ordering::Relaxed))).in_memory().unwrap();
    (engine, now)
}

fn carry(from: &Engine, to: &Engine) {
    let batch = from.replication().commits(0, u64::MAX, &|_, _| true, usize::MAX).unwrap();
    let commits: Vec<&[u8]> = batch.commits.iter().map(|c| &c.bytes[..]).collect();
    to.replication().ingest(&commits).unwrap();
}

#[test]
fn a_late_arrival_changes_what_a_time_shows_but_not_what_a_clock_or_an_arrival_position_shows() {
    let ((phone, phone_time), (tablet, _)) = (engine_at("phone", 1_000), engine_at("tablet", 2_000));
    let lamp = phone.write(|tx| tx.create("lamp", &Content::new().with("n", 1))).unwrap();
    carry(&phone, &tablet);
    tablet.write(|tx| tx.patch(lamp, Patch::new().set("n", 2))).unwrap();
    phone_time.store(3_000, Ordering::Relaxed);
    phone.write(|tx| tx.patch(lamp, Patch::new().set("m", 3))).unwrap();

    let then = Timestamp::from_millis(2_500);
    let (clock, commits) = (phone.clock().unwrap(), phone.snapshot().unwrap().commits().unwrap());
    let n = |point: Point| {
        phone.snapshot().unwrap().as_of(point).unwrap().get(lamp).unwrap().unwrap().get("n").unwrap()
    };
    assert_eq!(n(then.into()), Some(1.into()));
    carry(&tablet, &phone);
    assert_eq!(n(then.into()), Some(2.into()), "the tablet wrote before then");
    assert_eq!(n(clock.into()), Some(1.into()));
    assert_eq!(n(Point::Lsn(commits)), Some(1.into()));
    assert_eq!(n(Point::Now), Some(2.into()));
}

#[test]
fn commits_that_have_not_arrived_are_no_point() {
    let (engine, _) = engine_at("phone", 1);
    engine.write(|tx| tx.create("lamp", &Content::new())).unwrap();
    let snapshot = engine.snapshot().unwrap();
    assert!(snapshot.as_of(Point::Lsn(1)).is_ok());
    assert!(matches!(snapshot.as_of(Point::Lsn(2)), Err(Error::Invalid(_))));
    assert!(matches!(snapshot.diff(Point::Lsn(0), Point::Lsn(2)), Err(Error::Invalid(_))));
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
    let fields: Vec<_> = fields.into_iter().map(|f| (f.path.join("."), f.before, f.after)).collect();
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
    let found: Vec<_> = snapshot.diff(Clock::new(), Point::Now).unwrap().map(Result::unwrap).collect();
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
        let shown = snapshot.as_of(Point::Lsn(commits)).unwrap().get(lamp).unwrap();
        let n = shown.map(|e| e.get("n").unwrap().unwrap().as_int().unwrap() as u64);
        assert_eq!(n, commits.checked_sub(1));
    }
}
