//! What is shown of a merged state: one value for each leaf.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::entries::Torn;
use super::nearby::Fitting;
use crate::format::value::EMPTY_MAP;
use crate::model::{Entry, Path, State};

/// A leaf that is shown, with the one value of it that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Its value, and the version that wrote it.
    pub entry: &'a Entry,
}

impl Shown<'_> {
    fn is_map(&self) -> bool {
        *self.entry.value == *EMPTY_MAP
    }
}

/// The leaves that are shown of a state, in order of their paths.
///
/// Of several values that is the greatest in the order of writes; of clashing paths the newest
/// first, then what fits. No orphans; a map only where it is empty, since others are told by what
/// is in them.
pub fn show(state: &State) -> Vec<Shown<'_>> {
    let torn = Torn::of(state);
    let mut out: Vec<Shown<'_>> = state
        .0
        .iter()
        .filter(|leaf| !torn.hides(&leaf.path))
        .filter_map(|leaf| {
            let entry = leaf.entries.iter().max_by_key(|e| e.writer.key())?;
            Some(Shown { path: &leaf.path, entry })
        })
        .collect();
    let has_below = |w: &[Shown<'_>]| w[1].path.is_below(w[0].path);
    if out.windows(2).any(|w| has_below(w) && !w[0].is_map()) {
        // whoever wrote it, a map gives way to what is in it, and so to maps in it
        let newest = |s: &Shown<'_>| (!s.is_map()).then(|| s.entry.writer.key());
        out.sort_by_key(|s| Reverse((newest(s), s.path)));
        let mut kept = Fitting::default();
        out.into_iter().for_each(|s| kept.keep(s.path, s));
        return kept.0.into_values().collect();
    }
    let mut next = 0;
    let with_next: Vec<bool> = out.windows(2).map(has_below).collect();
    out.retain(|_| {
        next += 1;
        !with_next.get(next - 1).copied().unwrap_or_default()
    });
    out
}
