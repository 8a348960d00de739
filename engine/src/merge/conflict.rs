//! What is in conflict, whatever the policy (R16).

use crate::format::value::EMPTY_MAP;
use crate::model::{Path, State};

/// What nobody has decided about an entity.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Conflicts {
    /// Paths with different values, or of which one is a prefix of another.
    pub(crate) paths: Vec<Path>,
    /// One deleted what another changed.
    pub(crate) deletion: bool,
}

impl Conflicts {
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.deletion
    }
}

/// Of the merged live heads, `live` of them, beside `tombstones`.
pub(crate) fn conflicts(merged: &State, live: usize, tombstones: usize) -> Conflicts {
    let deletion = live > 0 && tombstones > 0;
    // an empty map gives way to what stands below it and clashes with nothing
    let solid: Vec<&Path> = merged
        .0
        .iter()
        .filter(|l| l.entries.iter().any(|e| *e.value != *EMPTY_MAP))
        .map(|l| &l.path)
        .collect();
    let mut paths: Vec<Path> = merged.0.iter().filter(|l| !l.is_settled()).map(|l| l.path.clone()).collect();
    // in order, what continues a path follows it directly
    let mut above: Vec<&Path> = Vec::new();
    for p in solid {
        above.retain(|a| p.is_below(a));
        if !above.is_empty() {
            paths.extend(above.iter().copied().cloned());
            paths.push(p.clone());
        }
        above.push(p);
    }
    paths.sort();
    paths.dedup();
    Conflicts { paths, deletion }
}
