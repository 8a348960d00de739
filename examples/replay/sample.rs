//! Which commits are compared with git.

use std::collections::BTreeSet;

use crate::args::Check;
use crate::graph::{Graph, Place};

/// Whole trees compared besides those of roots and tips.
const MORE_TREES: usize = 100;

/// The commits to check.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Compared with their first parents.
    pub(crate) steps: Vec<Place>,
    /// Compared as whole trees: all roots, all tips and some more.
    pub(crate) trees: BTreeSet<Place>,
    /// Those whose clocks the comparisons need.
    clocks: BTreeSet<Place>,
}

impl Sample {
    /// Chooses them.
    pub(crate) fn of(graph: &Graph, check: Check) -> Self {
        let most = match check {
            Check::All => graph.len(),
            Check::Sample(most) => most as usize,
        };
        let steps: Vec<Place> = even(graph.len(), most).collect();
        let trees: BTreeSet<Place> = graph
            .roots()
            .chain(graph.tips().iter().copied())
            .chain(even(graph.len(), MORE_TREES))
            .collect();
        let parents = steps.iter().filter_map(|place| graph.parents(*place).first());
        let clocks = steps.iter().chain(&trees).chain(parents).copied().collect();
        Self { steps, trees, clocks }
    }

    /// Is the clock of this commit needed?
    pub(crate) fn needs_clock(&self, place: Place) -> bool {
        self.clocks.contains(&place)
    }
}

/// At most `most` of `0..len`, spread evenly.
fn even(len: usize, most: usize) -> impl Iterator<Item = Place> {
    let count = len.min(most);
    (0..count).map(move |index| (index * len / count) as Place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_sample_takes_all_or_every_so_manyth() {
        assert_eq!(even(3, 2000).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(even(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(even(0, 4).count(), 0);
        assert_eq!(even(4, 0).count(), 0);
    }
}
