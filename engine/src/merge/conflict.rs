//! What is in conflict, whatever the policy (R16).

use super::entries::{Torn, is_only_map};
use crate::model::{Path, State};

/// What nobody has decided about an entity.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Conflicts {
    /// Paths with different values, or of which one is a prefix of another, or whose map one
    /// removed while another edited inside.
    pub(crate) paths: Vec<Path>,
    /// Those of the last kind.
    pub(crate) torn: Torn,
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
    let torn = Torn::of(merged);
    let mut paths: Vec<Path> = torn.tops().to_vec();
    // in order, what continues a path follows it directly
    let mut above: Vec<&Path> = Vec::new();
    for leaf in merged.0.iter().filter(|l| !torn.hides(&l.path)) {
        if !leaf.is_settled() {
            paths.push(leaf.path.clone());
        }
        // a map clashes with nothing that stands in it
        if is_only_map(leaf) {
            continue;
        }
        above.retain(|a| leaf.path.is_below(a));
        if !above.is_empty() {
            paths.extend(above.iter().copied().cloned());
            paths.push(leaf.path.clone());
        }
        above.push(&leaf.path);
    }
    paths.sort();
    paths.dedup();
    Conflicts { paths, torn, deletion }
}
