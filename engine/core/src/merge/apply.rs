//! Patches on states. Only what is touched is decided (R20).

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::entries::{Torn, is_map, is_only_map};
use super::nearby::Nearby;
use crate::format::body::PatchBody;
use crate::format::value::EMPTY_MAP;
use crate::model::{Entries, Entry, Leaf, Path, State, Writer};

/// The state after a patch that `own` wrote (FORMAT.md, 1.6). What lies at or below an unset path
/// goes. Then each set path takes the place of what is at and below it and of scalars above it,
/// makes maps of the keys above it where none stands, and drops the orphans of an entry in which it
/// lies.
pub fn apply(base: &State, patch: &PatchBody, own: Writer) -> State {
    let unsets = Nearby::new(&patch.unsets);
    let sets = Nearby::new(patch.sets.iter().map(|(p, _)| p));
    let dropped = Torn::of(base).written_in(&sets);
    let stays = |leaf: &Leaf| -> Option<Leaf> {
        let path = &leaf.path;
        if unsets.covers(path) || sets.covers(path) || dropped.top_of(path).is_some() {
            return None;
        }
        if !sets.touches(path) {
            return Some(leaf.clone());
        }
        // above a set: a map stays what it is
        let maps = leaf.entries.iter().filter(|e| *e.value == *EMPTY_MAP).cloned();
        let entries: Entries = maps.collect();
        (!entries.is_empty()).then(|| Leaf { path: path.clone(), entries })
    };
    let mut leaves: Vec<Leaf> = base.0.iter().filter_map(stays).collect();
    let stand: BTreeSet<Path> =
        leaves.iter().filter(|l| is_map(l)).map(|l| l.path.clone()).collect();
    let made: BTreeSet<Path> = patch.sets.iter().flat_map(|(p, _)| p.above()).collect();
    let own = |path: Path, value: Box<[u8]>| Leaf {
        path,
        entries: Entries::from([Entry { writer: own, value }]),
    };
    leaves
        .extend(made.into_iter().filter(|p| !stand.contains(p)).map(|p| own(p, EMPTY_MAP.into())));
    leaves.extend(patch.sets.iter().map(|(path, value)| own(path.clone(), value.clone())));
    leaves.sort_by(|a, b| a.path.cmp(&b.path));
    State(leaves)
}

/// A patch on `base` without what changes nothing: unsets that touch nothing, sets of what is
/// already the only value. To empty a map that stands is to remove what is in it.
pub fn without_repetition(base: &State, mut patch: PatchBody) -> PatchBody {
    let first_at = |leaves: &[&Leaf], p: &Path| leaves.partition_point(|l| l.path < *p);
    let all: Vec<&Leaf> = base.0.iter().collect();
    patch.unsets.retain(|u| all.get(first_at(&all, u)).is_some_and(|l| l.path.is_below(u)));
    let unsets = Nearby::new(&patch.unsets);
    let rest: Vec<&Leaf> = all.into_iter().filter(|l| !unsets.covers(&l.path)).collect();
    let torn = Torn::among(rest.iter().copied());
    // what clashes with leaves below it, so that a set on its line is not idle
    let clashes = rest.windows(2).filter(|w| w[1].path.is_below(&w[0].path) && !is_only_map(w[0]));
    let clashes = Nearby::new(clashes.map(|w| &w[0].path));
    let mut emptied = Vec::new();
    patch.sets.retain(|(path, value)| {
        let at = first_at(&rest, path);
        let same = rest
            .get(at)
            .is_some_and(|l| l.path == *path && l.entries.iter().all(|e| e.value == *value));
        if !same || clashes.covers(path) || torn.top_of(path).is_some() {
            return true;
        }
        // of a map that stands: what is in it goes, entry by entry
        let below = rest[at + 1..].iter().take_while(|l| l.path.is_below(path));
        emptied.extend(below.map(|l| l.path.prefix(path.depth() + 1)));
        false
    });
    patch.unsets.extend(emptied);
    patch.unsets.sort();
    patch.unsets.dedup();
    patch
}

/// The patch after which of `base` nothing is left but `leaves`, which are in order.
pub fn replacement(base: &State, leaves: Vec<(Path, Box<[u8]>)>) -> PatchBody {
    let gone = removed(base.0.iter().map(|l| &l.path), &leaves);
    PatchBody { unsets: gone, sets: leaves }
}

/// What is to be unset so that of `before` only `leaves` stay: of each path that goes the topmost
/// that goes with it, so that a map of which nothing is left is removed, and one that is empty
/// stays. `leaves` are in order.
pub fn removed<'p, V>(before: impl Iterator<Item = &'p Path>, leaves: &[(Path, V)]) -> Vec<Path> {
    let stands = |path: &Path| {
        let at = leaves.partition_point(|(p, _)| p < path);
        leaves.get(at).is_some_and(|(p, _)| p.is_below(path))
    };
    let mut out: Vec<Path> = Vec::new();
    for path in before.filter(|path| !stands(path)) {
        if out.last().is_some_and(|top| path.is_below(top)) {
            continue;
        }
        out.push(path.above().find(|above| !stands(above)).unwrap_or_else(|| path.clone()));
    }
    out
}

/// Whether a leaf says no more than that a map is empty now that had something in it: what it had
/// is removed, and that says it all.
pub fn is_emptied<V>(path: &Path, value: &[u8], before: &[(Path, V)]) -> bool {
    let at = before.partition_point(|(p, _)| p <= path);
    value == EMPTY_MAP && before.get(at).is_some_and(|(p, _)| p.is_below(path))
}

/// The shortest patch from `base` to `state`, if there is one: what `own` wrote is set, what else
/// is gone is unset.
pub fn difference(base: &State, state: &State, own: &Writer) -> Option<PatchBody> {
    let is_own = |e: &Entry| e.writer == *own || e.writer == Writer::OWN;
    let mut patch = PatchBody::default();
    let mut below: Option<&Path> = None;
    for leaf in state.0.iter().rev() {
        match &leaf.entries[..] {
            [only] if is_own(only) => {
                // a map above an own leaf follows from it, unless another's stands in its place
                let follows = is_map(leaf) && below.is_some_and(|p| p.is_below(&leaf.path));
                if !follows {
                    patch.sets.push((leaf.path.clone(), only.value.clone()));
                } else if base.get(&leaf.path).is_some_and(is_map) {
                    patch.unsets.push(leaf.path.clone());
                }
                below = Some(&leaf.path);
            }
            entries if entries.iter().any(is_own) => return None,
            _ => {}
        }
    }
    patch.sets.reverse();
    let sets = Nearby::new(patch.sets.iter().map(|(p, _)| p));
    let dropped = Torn::of(base).written_in(&sets);
    let goes = |p: &Path| state.get(p).is_none() && !sets.touches(p) && dropped.top_of(p).is_none();
    patch.unsets.extend(base.0.iter().map(|l| &l.path).filter(|p| goes(p)).cloned());
    patch.unsets.sort();
    patch.unsets.dedup_by(|path, above| path.is_below(above));
    // an unset path takes all below it along: where something below stays, only a full body says it
    let mut same = apply(base, &patch, *own);
    same.rename(own, Writer::OWN);
    let mut wanted = state.clone();
    wanted.rename(own, Writer::OWN);
    (same == wanted).then_some(patch)
}
