//! Patches on states. Only what is touched is decided (R20).

use std::collections::BTreeSet;

use super::nearby::Nearby;
use crate::format::body::PatchBody;
use crate::model::{Entry, Leaf, Path, State, Writer};

/// The state after a patch by `own`: what lies at or below an unset path goes, then each set path takes the place of what is at, below
/// and above it.
pub(crate) fn apply(base: &State, patch: &PatchBody, own: Writer) -> State {
    let (unsets, sets) = (Nearby::new(&patch.unsets), Nearby::new(patch.sets.iter().map(|(p, _)| p)));
    let goes = |p: &Path| unsets.covers(p) || sets.touches(p);
    let mut leaves: Vec<Leaf> = base.0.iter().filter(|l| !goes(&l.path)).cloned().collect();
    leaves.extend(patch.sets.iter().map(|(path, value)| Leaf {
        path: path.clone(),
        entries: vec![Entry { writer: own, value: value.clone() }],
    }));
    leaves.sort_by(|a, b| a.path.cmp(&b.path));
    State(leaves)
}

/// A patch without what changes nothing: unsets that touch nothing, sets of what is already the only value.
pub(crate) fn without_repetition(base: &State, mut patch: PatchBody) -> PatchBody {
    let first_at = |leaves: &[&Leaf], p: &Path| leaves.partition_point(|l| l.path < *p);
    let all: Vec<&Leaf> = base.0.iter().collect();
    patch.unsets.retain(|u| all.get(first_at(&all, u)).is_some_and(|l| l.path.is_below(u)));
    let unsets = Nearby::new(&patch.unsets);
    let rest: Vec<&Leaf> = all.into_iter().filter(|l| !unsets.covers(&l.path)).collect();
    // what stands above other leaves, so that a set on its line is not idle
    let above = rest.windows(2).filter(|w| w[1].path.is_below(&w[0].path)).map(|w| &w[0].path);
    let above = Nearby::new(above);
    patch.sets.retain(|(path, value)| {
        let at = first_at(&rest, path);
        let same =
            rest.get(at).is_some_and(|l| l.path == *path && l.entries.iter().all(|e| e.value == *value));
        !same || above.covers(path)
    });
    patch
}

/// The patch that makes `leaves` of all that there is.
pub(crate) fn replacement(base: &State, leaves: Vec<(Path, Box<[u8]>)>) -> PatchBody {
    let stays: BTreeSet<&Path> = leaves.iter().map(|(p, _)| p).collect();
    let gone = base.0.iter().map(|l| &l.path).filter(|p| !stays.contains(p));
    PatchBody { unsets: gone.cloned().collect(), sets: leaves }
}

/// The shortest patch from `base` to `state`, if there is one: what `own` wrote is set, what else is gone is unset.
pub(crate) fn difference(base: &State, state: &State, own: &Writer) -> Option<PatchBody> {
    let is_own = |e: &Entry| e.writer == *own || e.writer == Writer::OWN;
    let mut patch = PatchBody::default();
    for leaf in &state.0 {
        match &leaf.entries[..] {
            [only] if is_own(only) => patch.sets.push((leaf.path.clone(), only.value.clone())),
            entries if entries.iter().any(is_own) => return None,
            _ => {}
        }
    }
    let sets = Nearby::new(patch.sets.iter().map(|(p, _)| p));
    let gone = base.0.iter().filter(|l| state.get(&l.path).is_none() && !sets.touches(&l.path));
    patch.unsets = gone.map(|l| l.path.clone()).collect();
    // an unset path takes all below it along: where something below stays, only a full body says it
    let mut same = apply(base, &patch, *own);
    same.rename(own, Writer::OWN);
    let mut wanted = state.clone();
    wanted.rename(own, Writer::OWN);
    (same == wanted).then_some(patch)
}
