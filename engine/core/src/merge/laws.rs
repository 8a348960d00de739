//! The laws of merging, against a naive model that walks the whole DAG.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::entries::{Torn, is_map};
use super::*;
use crate::format::body::PatchBody;
use crate::format::value::{EMPTY_MAP, encode_value};
use crate::model::{
    ChainPrefix, Entry, Leaf, Line, LogId, Path, Sequence, State, Value, VersionRef, Writer,
};

/// One step of a random history: a device writes, seeing all heads or only some of them.
#[derive(Clone, Debug)]
struct Step {
    device: Line,
    sees: u8,
    stamp: u64,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Set(usize, i64),
    Empty(usize),
    Unset(usize),
}

struct Version {
    writer: Writer,
    parents: Vec<usize>,
    past: BTreeSet<usize>,
    clock: EntityClock,
    state: State,
    patch: PatchBody,
}

const PATHS: [&[&str]; 9] = [
    &["a"],
    &["m"],
    &["m", "x"],
    &["m", "y"],
    &["m", "y", "z"],
    &["m", "y", "w"],
    &["n", "y", "z"],
    &["n", "y"],
    &["n", "x"],
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop_oneof![
        3 => (0..PATHS.len(), 0i64..3).prop_map(|(p, v)| Change::Set(p, v)),
        1 => (0..PATHS.len()).prop_map(Change::Empty),
        2 => (0..PATHS.len()).prop_map(Change::Unset),
    ];
    let step = ((0u32..4).prop_map(Line::new), any::<u8>(), 0u64..5, change);
    proptest::collection::vec(
        step.prop_map(|(device, sees, stamp, change)| Step { device, sees, stamp, change }),
        1..25,
    )
}

/// Plays steps. A device always sees what it saw before; what else it sees is told by the bits of
/// `sees`.
fn history(steps: &[Step]) -> Vec<Version> {
    let mut versions: Vec<Version> = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        for (k, v) in versions.iter().enumerate() {
            if v.writer.line == step.device || step.sees & (1 << (k % 8)) != 0 {
                seen.insert(k);
                seen.extend(&v.past);
            }
        }
        let parents = childless(&versions, &seen);
        let mut clock = EntityClock::default();
        for p in &parents {
            clock.see_all(&versions[*p].clock);
        }
        let sequence = Sequence::new(i as u64 + 1);
        clock.see(step.device, sequence);
        let reference = VersionRef {
            log: LogId::from_bytes([step.device.get() as u8; 16]),
            sequence,
            prefix: ChainPrefix::from_bytes([i as u8; 16]),
        };
        let writer = Writer { line: step.device, stamp: step.stamp, reference };
        let patch = match step.change {
            Change::Set(p, v) => {
                let value = encode_value(&Value::Int(v)).unwrap().into();
                PatchBody { unsets: vec![], sets: vec![(Path::new(PATHS[p]), value)] }
            }
            Change::Empty(p) => {
                PatchBody { unsets: vec![], sets: vec![(Path::new(PATHS[p]), EMPTY_MAP.into())] }
            }
            Change::Unset(p) => PatchBody { unsets: vec![Path::new(PATHS[p])], sets: vec![] },
        };
        let state = apply(&merged(&versions, &parents), &patch, writer);
        versions.push(Version { writer, parents, past: seen, clock, state, patch });
    }
    versions
}

fn childless(versions: &[Version], among: &BTreeSet<usize>) -> Vec<usize> {
    among
        .iter()
        .copied()
        .filter(|v| !among.iter().any(|c| versions[*c].parents.contains(v)))
        .collect()
}

fn merged(versions: &[Version], heads: &[usize]) -> State {
    let live: Vec<_> = heads
        .iter()
        .map(|h| Live { state: &versions[*h].state, clock: &versions[*h].clock })
        .collect();
    merge(&live)
}

/// An entry: its path, its writer, and whether it is a map.
type Written = (Path, VersionRef, bool);

/// What one version wrote, and what it took away.
#[derive(Default)]
struct Deed {
    wrote: Vec<Written>,
    took: Vec<Written>,
}

/// Every write that nobody who had seen it took away, told by walking the whole DAG.
fn alive(deeds: &[Deed], all: &BTreeSet<usize>, versions: &[Version]) -> Vec<Written> {
    let takes = |w: &Written, from: usize| {
        all.iter().any(|x| versions[*x].past.contains(&from) && deeds[*x].took.contains(w))
    };
    let wrote = all.iter().flat_map(|v| deeds[*v].wrote.iter().map(move |w| (*v, w)));
    wrote.filter(|(v, w)| !takes(w, *v)).map(|(_, w)| w.clone()).collect()
}

/// The topmost map above a path that does not stand.
fn torn_at(alive: &[Written], path: &Path) -> Option<Path> {
    path.above().find(|map| !alive.iter().any(|(p, _, is_map)| p == map && *is_map))
}

/// What each version did, by the rule as it is told to people: a set takes what is at and below its
/// path, scalars above it, and what is left of a torn entry that it lies in; it makes the maps
/// above it that do not stand.
fn deeds(versions: &[Version]) -> Vec<Deed> {
    let mut deeds: Vec<Deed> = Vec::new();
    for v in versions {
        let mut deed = Deed::default();
        let before = alive(&deeds, &v.past, versions);
        let takes = |(p, _, is_map): &Written, set: &Path| {
            let torn = before.iter().filter_map(|(p, ..)| torn_at(&before, p));
            let in_torn = torn.filter(|top| set.is_below(top)).any(|top| p.is_below(&top));
            p.is_below(set) || (set.is_below(p) && !is_map) || in_torn
        };
        let own = v.writer.reference;
        for unset in &v.patch.unsets {
            deed.took.extend(before.iter().filter(|(p, ..)| p.is_below(unset)).cloned());
        }
        for (set, value) in &v.patch.sets {
            deed.took.extend(before.iter().filter(|w| takes(w, set)).cloned());
            let left: Vec<_> = before.iter().filter(|w| !deed.took.contains(w)).cloned().collect();
            let missing = set.above().filter(|map| !left.iter().any(|(p, _, m)| p == map && *m));
            deed.wrote.extend(missing.map(|map| (map, own, true)));
            deed.wrote.push((set.clone(), own, **value == *EMPTY_MAP));
        }
        deeds.push(deed);
    }
    deeds
}

fn naive(versions: &[Version], all: &BTreeSet<usize>) -> BTreeMap<Path, BTreeSet<VersionRef>> {
    let mut out: BTreeMap<Path, BTreeSet<VersionRef>> = BTreeMap::new();
    for (path, writer, _) in alive(&deeds(versions), all, versions) {
        out.entry(path).or_default().insert(writer);
    }
    out
}

fn writers(state: &State) -> BTreeMap<Path, BTreeSet<VersionRef>> {
    let refs = |l: &Leaf| l.entries.iter().map(|e| e.writer.reference).collect();
    state.0.iter().map(|l| (l.path.clone(), refs(l))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn merge_keeps_exactly_the_writes_that_nobody_replaced(steps in steps()) {
        let versions = history(&steps);
        let all: BTreeSet<usize> = (0..versions.len()).collect();
        let heads = childless(&versions, &all);
        prop_assert_eq!(writers(&merged(&versions, &heads)), naive(&versions, &all));
    }

    #[test]
    fn order_of_heads_does_not_matter(steps in steps(), turn in 0usize..8) {
        let versions = history(&steps);
        let mut heads = childless(&versions, &(0..versions.len()).collect());
        let straight = merged(&versions, &heads);
        let n = heads.len();
        heads.rotate_left(turn % n);
        heads.reverse();
        prop_assert_eq!(merged(&versions, &heads), straight);
    }

    #[test]
    fn a_merge_that_writes_nothing_changes_nothing(steps in steps()) {
        let mut versions = history(&steps);
        let heads = childless(&versions, &(0..versions.len()).collect());
        let straight = merged(&versions, &heads);
        if let [a, b, rest @ ..] = &heads[..] {
            let mut clock = versions[*a].clock.clone();
            clock.see_all(&versions[*b].clock);
            clock.see(Line::new(9), Sequence::FIRST);
            let reference = VersionRef {
                log: LogId::from_bytes([9; 16]),
                sequence: Sequence::FIRST,
                prefix: ChainPrefix::from_bytes([9; 16]),
            };
            let writer = Writer { line: Line::new(9), stamp: 9, reference };
            let state = merged(&versions, &[*a, *b]);
            let past = BTreeSet::new();
            versions.push(Version {
                writer,
                parents: vec![*a, *b],
                past,
                clock,
                state,
                patch: PatchBody::default(),
            });
            let mut now = vec![versions.len() - 1];
            now.extend(rest);
            prop_assert_eq!(merged(&versions, &now), straight);
        }
    }

    #[test]
    fn a_removed_or_replaced_value_does_not_come_back(steps in steps()) {
        let versions = history(&steps);
        let heads = childless(&versions, &(0..versions.len()).collect());
        for leaf in &merged(&versions, &heads).0 {
            for Entry { writer, .. } in &leaf.entries {
                let holders = heads.iter().filter(|h| versions[**h].clock.has_seen(writer));
                for h in holders {
                    let entry = versions[*h].state.get(&leaf.path);
                    let has = |l: &Leaf| l.entries.iter().any(|e| e.writer == *writer);
                    prop_assert!(entry.is_some_and(has));
                }
            }
        }
    }

    #[test]
    fn a_write_decides_only_what_it_touches(steps in steps(), set in 0..PATHS.len()) {
        let versions = history(&steps);
        let heads = childless(&versions, &(0..versions.len()).collect());
        let base = merged(&versions, &heads);
        let path = Path::new(PATHS[set]);
        let value = encode_value(&Value::Null).unwrap().into();
        let patch = PatchBody { unsets: vec![], sets: vec![(path.clone(), value)] };
        let after = apply(&base, &patch, Writer::OWN);
        let before = conflicts(&base, 1, 0).paths;
        let open = conflicts(&after, 1, 0).paths;
        for p in before.iter().filter(|p| !p.is_related(&path)) {
            let clashes_only_with_it = base.get(p).is_none_or(|l| l.is_settled());
            prop_assert!(open.contains(p) || clashes_only_with_it, "{p} was decided");
        }
    }

    #[test]
    fn the_difference_leads_from_base_to_state(steps in steps()) {
        let versions = history(&steps);
        for v in &versions {
            let base = merged(&versions, &v.parents);
            let patch = difference(&base, &v.state, &v.writer);
            let patch = patch.expect("a patch was applied, so there is one");
            prop_assert_eq!(&apply(&base, &patch, v.writer), &v.state);
        }
    }

    #[test]
    fn nothing_is_shown_of_an_entry_that_one_removed_and_another_edited(steps in steps()) {
        let versions = history(&steps);
        let heads = childless(&versions, &(0..versions.len()).collect());
        let state = merged(&versions, &heads);
        let open = conflicts(&state, 1, 0);
        let torn: BTreeSet<Path> = state.0.iter().filter_map(|l| {
            l.path.above().find(|map| !state.get(map).is_some_and(is_map))
        }).collect();
        prop_assert!(torn.iter().all(|top| open.paths.contains(top)), "told");
        for shown in show(&state) {
            prop_assert!(!torn.iter().any(|top| shown.path != top && shown.path.is_below(top)));
        }
        for top in &torn {
            // whoever writes there starts from nothing, so that no part of another's entry is left
            let value = encode_value(&Value::Null).unwrap().into();
            let patch = PatchBody { unsets: vec![], sets: vec![(top.join("new"), value)] };
            let after = apply(&state, &patch, Writer::OWN);
            let inside = after.0.iter().filter(|l| l.path.is_below(top)).flat_map(|l| &l.entries);
            prop_assert!(
                inside.clone().all(|e| e.writer == Writer::OWN),
                "all of it is the writer's"
            );
            prop_assert!(!Torn::of(&after).tops().contains(top));
        }
    }

    #[test]
    fn what_is_shown_fits_together_and_is_a_function_of_the_state(steps in steps()) {
        let versions = history(&steps);
        let heads = childless(&versions, &(0..versions.len()).collect());
        let state = merged(&versions, &heads);
        let shown = show(&state);
        for (i, a) in shown.iter().enumerate() {
            for b in &shown[..i] {
                prop_assert!(!a.path.is_related(b.path));
            }
        }
        let settled = conflicts(&state, 1, 0).is_empty();
        prop_assert!(!settled || shown.iter().all(|s| state.get(s.path).is_some()));
    }
}
