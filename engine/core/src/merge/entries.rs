//! Entries of maps that one removed while another edited inside of them.
//!
//! Every map is a leaf of its own, the *map leaf*: written when the map appears, kept while entries
//! stand below it. So a state tells by itself whether a map was removed while somebody who did not
//! know of it wrote inside: then leaves stand below a path whose map leaf is gone. They are
//! *orphans*. To show them would show a part of an entry that nobody wrote.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::contents::{unflatten, value_at};
use super::nearby::Nearby;
use crate::format::value::EMPTY_MAP;
use crate::model::{Leaf, Path, State, Value, Writer};

/// The topmost paths whose map no longer stands although leaves lie below them, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Torn(Vec<Path>);

impl Torn {
    /// Those of a state. One pass over the leaves: what continues a path follows it directly, so
    /// the map leaves on the line of the next leaf are all on a stack. Costs nothing where no map
    /// is nested.
    pub fn of(state: &State) -> Self {
        Self::among(&state.0)
    }

    /// Those among some leaves, which are in order of their paths.
    pub(super) fn among<'l>(leaves: impl IntoIterator<Item = &'l Leaf>) -> Self {
        let mut standing: Vec<&Path> = Vec::new();
        let mut tops: Vec<Path> = Vec::new();
        for leaf in leaves {
            let path = &leaf.path;
            if tops.last().is_some_and(|top| path.is_below(top)) {
                continue;
            }
            standing.retain(|map| path.is_below(map));
            if standing.len() + 1 < path.depth() {
                // a map is stacked only over one for each key above it, so the next is missing
                tops.push(path.prefix(standing.len() + 1));
            } else if is_map(leaf) {
                standing.push(path);
            }
        }
        Self(tops)
    }

    /// The paths, in order.
    pub fn tops(&self) -> &[Path] {
        &self.0
    }

    /// Those in which one of these paths lies, or that lie below one.
    pub(super) fn written_in(mut self, paths: &Nearby<'_>) -> Self {
        self.0.retain(|top| paths.touches(top));
        self
    }

    /// The torn path that a path is or lies below, if any.
    pub fn top_of(&self, path: &Path) -> Option<&Path> {
        let after = self.0.partition_point(|top| top <= path);
        self.0[..after].last().filter(|top| path.is_below(top))
    }

    /// Whether a leaf is an orphan: strictly below a torn path.
    pub fn hides(&self, path: &Path) -> bool {
        self.top_of(path).is_some_and(|top| top != path)
    }
}

/// Whether a map stands here, whatever else does.
pub(super) fn is_map(leaf: &Leaf) -> bool {
    leaf.entries.iter().any(|e| *e.value == *EMPTY_MAP)
}

/// Whether nothing but a map stands here.
pub(super) fn is_only_map(leaf: &Leaf) -> bool {
    leaf.entries.iter().all(|e| *e.value == *EMPTY_MAP)
}

/// What each writer wrote inside of a torn entry and nobody who knew of it has touched since, the
/// last write first.
pub fn written_inside(state: &State, top: &Path) -> Vec<(Writer, Value)> {
    let from = state.0.partition_point(|l| l.path <= *top);
    let orphans: Vec<&Leaf> = state.0[from..].iter().take_while(|l| l.path.is_below(top)).collect();
    let mut writers: Vec<Writer> =
        orphans.iter().flat_map(|l| &l.entries).map(|e| e.writer).collect();
    writers.sort_by_key(|w| Reverse(w.key()));
    writers.dedup();
    let inside = |writer: &Writer| {
        let own = orphans.iter().flat_map(|l| {
            l.entries.iter().filter(|e| e.writer == *writer).map(|e| (l.path.as_ref(), &*e.value))
        });
        value_at(&unflatten(own), top).cloned().unwrap_or_default()
    };
    writers.into_iter().map(|w| (w, inside(&w))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Entries, Entry};

    fn state(leaves: &[(Vec<String>, bool)]) -> State {
        let mut out: Vec<Leaf> = Vec::new();
        for (keys, map) in leaves {
            let value = if *map { EMPTY_MAP.into() } else { [0u8].into() };
            let (path, entries) =
                (Path::new(keys), Entries::from([Entry { writer: Writer::OWN, value }]));
            out.push(Leaf { path, entries });
        }
        out.sort_by(|a, b| a.path.cmp(&b.path));
        out.dedup_by(|a, b| a.path == b.path);
        State(out)
    }

    proptest! {
        #[test]
        fn one_pass_finds_the_torn_entries_that_looking_at_each_prefix_finds(
            leaves in proptest::collection::vec(
                (proptest::collection::vec("[a-b]{1,2}", 1..5), any::<bool>()), 0..12,
            ),
        ) {
            let state = state(&leaves);
            let stands = |p: &Path| state.get(p).is_some_and(is_map);
            let mut naive: Vec<Path> = state.0.iter()
                .filter_map(|l| l.path.above().find(|p| !stands(p)))
                .collect();
            naive.dedup();
            let torn = Torn::of(&state);
            prop_assert_eq!(torn.tops(), &naive[..]);
            for leaf in &state.0 {
                let hidden = leaf.path.above().any(|p| !stands(&p));
                prop_assert_eq!(torn.hides(&leaf.path), hidden);
            }
        }
    }
}
