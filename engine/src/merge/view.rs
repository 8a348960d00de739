//! What is shown of a merged state: one value for each leaf.

use std::cmp::Reverse;

use super::nearby::Fitting;
use crate::format::value::EMPTY_MAP;
use crate::model::{Entry, Path, State};

/// A shown leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) path: &'a Path,
    pub(crate) entry: &'a Entry,
}

/// Of several values the greatest in the order of writes; of clashing paths the newest first, then what fits. In order of paths.
pub(crate) fn show(state: &State) -> Vec<Shown<'_>> {
    let mut out: Vec<Shown<'_>> = state
        .0
        .iter()
        .filter_map(|leaf| {
            let entry = leaf.entries.iter().max_by_key(|e| e.writer.key())?;
            Some(Shown { path: &leaf.path, entry })
        })
        .collect();
    if out.windows(2).any(|w| w[1].path.is_below(w[0].path)) {
        out.sort_by_key(|s| Reverse((*s.entry.value != *EMPTY_MAP, s.entry.writer.key(), s.path)));
        let mut kept = Fitting::default();
        out.into_iter().for_each(|s| kept.keep(s.path, s));
        out = kept.0.into_values().collect();
    }
    out
}
