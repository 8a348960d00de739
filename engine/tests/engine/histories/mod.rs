//! Random histories of three stores that exchange commits, and an oracle that knows of each version
//! what it said and nothing else.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use heirloom::{
    Clock, Content, Engine, EntityId, Error, LogId, Lsn, Patch, Point, Sequence, Timestamp,
    Version, VersionRef,
};
use proptest::prelude::*;

pub(crate) const STORES: usize = 3;
pub(crate) const ENTITIES: u8 = 4;
const FIELDS: [&str; 3] = ["a", "b", "c"];

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
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
pub(crate) enum Change {
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

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let write = (0..STORES, proptest::collection::btree_map(0..ENTITIES, change(), 1..3)).prop_map(
        |(store, entities)| Event::Write { store, entities: entities.into_iter().collect() },
    );
    // jumps beyond the five minutes by which a remote clock pulls ours, so that stamps do not
    // ascend within a log
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
pub(crate) enum Said {
    Create(&'static str, BTreeMap<String, i64>),
    Patch(BTreeMap<String, i64>, Vec<String>),
    Restore(BTreeMap<String, i64>),
    Delete,
}

pub(crate) struct World {
    pub(crate) engines: Vec<Engine>,
    times: Vec<Arc<AtomicI64>>,
    pub(crate) said: HashMap<VersionRef, Said>,
    pub(crate) marks: Vec<(usize, Clock, u64)>,
    next: i64,
}

pub(crate) fn id(n: u8) -> EntityId {
    EntityId::v5(&[0; 16], &[n])
}

/// Devices do not agree on what an entity that they both bring into being is.
fn type_on(store: usize) -> &'static str {
    if store == 0 { "lamp" } else { "room" }
}

impl World {
    pub(crate) fn new() -> Self {
        let times: Vec<_> =
            (0..STORES).map(|i| Arc::new(AtomicI64::new(1_000 * i as i64))).collect();
        let engine = |(i, time): (usize, &Arc<AtomicI64>)| {
            let (time, drawn) = (time.clone(), AtomicU64::new(i as u64 + 1));
            Engine::builder()
                .label(format!("store{i}"))
                .dataset_name("travel")
                .wall_clock(move || Timestamp::from_millis(time.load(Ordering::Relaxed)))
                .entropy(move || {
                    (u128::from(drawn.fetch_add(100, Ordering::Relaxed)) << 64).to_be_bytes()
                })
                .in_memory()
                .unwrap()
        };
        let engines = times.iter().enumerate().map(engine).collect();
        Self { engines, times, said: HashMap::new(), marks: Vec::new(), next: 0 }
    }

    pub(crate) fn happen(&mut self, event: &Event) {
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
                            let live =
                                before.history(id)?.map(Result::unwrap).find(|v| !v.is_tombstone());
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

    pub(crate) fn carry(&self, from: usize, to: usize, most: u64) {
        let ends = self.engines[to].replication().position().unwrap().ends;
        let held =
            |log: LogId| ends.iter().find(|e| e.log == log).map_or(Sequence::START, |e| e.sequence);
        let source = self.engines[from].replication();
        let all = source
            .commits(Lsn::START, Lsn::END, &|log, _, last| last > held(log), usize::MAX)
            .unwrap()
            .commits;
        let some: Vec<&[u8]> = all.iter().take(most as usize).map(|c| &c.bytes[..]).collect();
        self.engines[to].replication().ingest(&some).unwrap();
    }
}

pub(crate) fn numbers(content: &Content) -> BTreeMap<String, i64> {
    content.iter().map(|(k, v)| (k.clone(), v.as_int().unwrap())).collect()
}

/// Field → writers and what they said.
pub(crate) type State = BTreeMap<String, BTreeMap<VersionRef, i64>>;

/// All versions that a store has, and nothing else that it says.
pub(crate) struct Oracle<'w> {
    pub(crate) versions: HashMap<VersionRef, Version>,
    lsns: HashMap<(LogId, u64), Lsn>,
    said: &'w HashMap<VersionRef, Said>,
}

/// What is shown of an entity, its heads, its type.
pub(crate) type Shown = (Option<BTreeMap<String, i64>>, BTreeSet<VersionRef>, &'static str);

impl<'w> Oracle<'w> {
    pub(crate) fn new(engine: &Engine, said: &'w HashMap<VersionRef, Said>) -> Self {
        let snapshot = engine.snapshot().unwrap();
        let histories = (0..ENTITIES).flat_map(|n| snapshot.history(id(n)).unwrap());
        let versions = histories.map(Result::unwrap).map(|v| (v.reference(), v)).collect();
        let commits = engine
            .replication()
            .commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)
            .unwrap()
            .commits;
        let lsns = commits.iter().map(|c| ((c.end.log, c.end.sequence.get()), c.lsn)).collect();
        Self { versions, lsns, said }
    }

    fn inside(&self, v: &Version, point: &Point) -> bool {
        match point {
            Point::Clock(clock) => clock.covers(v.reference().log, v.reference().sequence),
            Point::Time(time) => v.wall() <= *time,
            Point::Lsn(n) => self.lsns[&(v.commit().log, v.commit().sequence.get())] < *n,
            _ => true,
        }
    }

    pub(crate) fn ancestors(&self, v: &VersionRef) -> BTreeSet<VersionRef> {
        let mut out = BTreeSet::from([*v]);
        for parent in self.versions[v].parents() {
            out.extend(self.ancestors(parent));
        }
        out
    }

    /// Nothing for a tombstone.
    pub(crate) fn state(&self, v: &VersionRef) -> Option<State> {
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
                    base.get(f)
                        .filter(|e| e.values().all(|v| v == n))
                        .cloned()
                        .unwrap_or_else(|| own(n))
                };
                whole.iter().map(|(f, n)| (f.clone(), kept(f, n))).collect()
            }
        })
    }

    /// An entry survives if and only if each live head has it or has not seen its writer.
    pub(crate) fn merge(&self, heads: &[VersionRef]) -> State {
        let live: Vec<_> =
            heads.iter().filter_map(|h| Some((self.state(h)?, self.ancestors(h)))).collect();
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

    pub(crate) fn shown(&self, entity: EntityId, point: &Point) -> Option<Shown> {
        let inside = |v: &&Version| v.entity() == entity && self.inside(v, point);
        let versions: Vec<_> = self.versions.values().filter(inside).collect();
        // a time may leave out what it shows the children of: their writers' clocks were behind
        let parents = versions.iter().flat_map(|v| v.parents());
        let replaced: BTreeSet<_> = parents.flat_map(|p| self.ancestors(p)).collect();
        let key = |v: &VersionRef| (self.versions[v].stamp(), *v);
        let all = versions.iter().map(|v| v.reference()).chain(replaced.iter().copied());
        let is_creation = |v: &VersionRef| matches!(self.said.get(v), Some(Said::Create(..)));
        let creation = all.filter(is_creation).min_by_key(key);
        let Some(Said::Create(entity_type, _)) = creation.map(|v| &self.said[&v]) else {
            return None;
        };
        let heads: Vec<_> =
            versions.iter().map(|v| v.reference()).filter(|v| !replaced.contains(v)).collect();
        let deleted = heads.iter().any(|h| self.versions[h].is_tombstone());
        let merged = self.merge(&heads);
        let newest =
            |e: &BTreeMap<VersionRef, i64>| *e.iter().max_by_key(|(v, _)| key(v)).unwrap().1;
        let content = merged.iter().map(|(f, e)| (f.clone(), newest(e))).collect();
        Some(((!deleted).then_some(content), heads.into_iter().collect(), entity_type))
    }
}
