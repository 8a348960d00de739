//! The merge of heads: one pass over all of them, never pairwise.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::entity_clock::EntityClock;
use crate::model::{Entries, Entry, Leaf, Line, Path, Sequence, State, Writer};

/// A head that is no tombstone: its leaves, and what it has seen of the entity.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    /// Its leaves.
    pub state: &'a State,
    /// What it has seen of the entity, itself included.
    pub clock: &'a EntityClock,
}

/// Leaves of all live heads at once: an entry survives if and only if each other head has it too or
/// has not seen its writer.
///
/// Whoever has an entry has seen its writer, so that is: as many heads have it as have seen it.
/// Costs the entries and clocks of all heads, sorted.
pub fn merge(heads: &[Live<'_>]) -> State {
    if let [only] = heads {
        return only.state.clone();
    }
    let seen = Seen::by(heads);
    let mut leaves: BTreeMap<&Path, Vec<&Entry>> = BTreeMap::new();
    for leaf in heads.iter().flat_map(|h| &h.state.0) {
        leaves.entry(&leaf.path).or_default().extend(&leaf.entries);
    }
    // the same entry, once from each head that has it
    let survives =
        |same: &&[&Entry]| same.len() == heads.len() || seen.count(&same[0].writer) == same.len();
    let out = leaves.into_iter().filter_map(|(path, mut found)| {
        found.sort_by_key(|e| e.writer.reference);
        let entries = found.chunk_by(|a, b| a.writer == b.writer).filter(survives);
        let entries: Entries = entries.map(|same| same[0].clone()).collect();
        (!entries.is_empty()).then(|| Leaf { path: path.clone(), entries })
    });
    State(out.collect())
}

/// How far each head has seen the entity in which log, in order.
struct Seen(Vec<(Line, Sequence)>);

impl Seen {
    fn by(heads: &[Live<'_>]) -> Self {
        let mut places: Vec<_> = heads.iter().flat_map(|h| h.clock.iter()).collect();
        places.sort_unstable();
        Self(places)
    }

    /// How many heads have seen this write.
    fn count(&self, writer: &Writer) -> usize {
        let from = self.0.partition_point(|p| *p < (writer.line, writer.reference.sequence));
        self.0[from..].partition_point(|(line, _)| *line == writer.line)
    }
}
