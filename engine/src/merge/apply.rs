//! Patches on states. Only what is touched is decided (R20).

use crate::format::body::PatchBody;
use crate::model::{Entry, Leaf, Path, State, Writer};

/// The state after a patch by `own`: what lies at or below an unset path goes, then each set path takes the place of what is at, below
/// and above it.
pub(crate) fn apply(base: &State, patch: &PatchBody, own: Writer) -> State {
    let goes = |p: &Path| {
        patch.unsets.iter().any(|u| p.is_below(u)) || patch.sets.iter().any(|(s, _)| p.is_related(s))
    };
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
    patch.unsets.retain(|u| base.0.iter().any(|l| l.path.is_below(u)));
    let gone = |p: &Path| patch.unsets.iter().any(|u| p.is_below(u));
    let rest: Vec<_> = base.0.iter().filter(|l| !gone(&l.path)).collect();
    patch.sets.retain(|(path, value)| {
        let mut near = rest.iter().filter(|l| l.path.is_related(path));
        let only = near.next().filter(|l| l.path == *path && l.entries.iter().all(|e| e.value == *value));
        only.is_none() || near.next().is_some()
    });
    patch
}

/// The patch that makes `leaves` of all that there is.
pub(crate) fn replacement(base: &State, leaves: Vec<(Path, Box<[u8]>)>) -> PatchBody {
    let gone = base.0.iter().map(|l| &l.path).filter(|p| !leaves.iter().any(|(q, _)| q == *p));
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
    let replaced = |p: &Path| patch.sets.iter().any(|(s, _)| p.is_related(s));
    let gone = base.0.iter().filter(|l| state.get(&l.path).is_none() && !replaced(&l.path));
    patch.unsets = gone.map(|l| l.path.clone()).collect();
    // an unset path takes all below it along: where something below stays, only a full body says it
    let mut same = apply(base, &patch, *own);
    same.rename(own, Writer::OWN);
    let mut wanted = state.clone();
    wanted.rename(own, Writer::OWN);
    (same == wanted).then_some(patch)
}
