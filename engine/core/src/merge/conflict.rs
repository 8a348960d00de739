//! What is in conflict, whatever the policy (R16).

use alloc::vec::Vec;

use super::entries::{Torn, is_only_map};
use crate::model::{Path, State};

/// What nobody has decided about an entity.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Conflicts {
    /// Paths with different values, or of which one is a prefix of another, or whose map one
    /// removed while another edited inside.
    pub paths: Vec<Path>,
    /// The paths of the last kind: maps that one removed while another edited inside.
    pub torn: Torn,
    /// Whether one deleted what another changed.
    pub deletion: bool,
}

impl Conflicts {
    /// Whether all is decided.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.deletion
    }
}

/// What is open about an entity whose heads are `live` ones, which together are `merged`, and
/// `tombstones`.
pub fn conflicts(merged: &State, live: usize, tombstones: usize) -> Conflicts {
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
