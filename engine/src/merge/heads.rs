//! The merge of heads: one pass over all of them, never pairwise.

use std::collections::{BTreeMap, HashMap};

use super::EntityClock;
use crate::model::{Entry, Leaf, Path, State, Writer};

/// A head that is no tombstone: its leaves, and what it has seen of the entity.
#[derive(Clone, Copy)]
pub(crate) struct Live<'a> {
    pub(crate) state: &'a State,
    pub(crate) clock: &'a EntityClock,
}

/// Leaves of all live heads at once: an entry survives if and only if each other head has it too or
/// has not seen its writer.
///
/// Whoever has an entry has seen its writer, so that is: as many heads have it as have seen it.
/// Costs the entries and clocks of all heads, sorted.
pub(crate) fn merge(heads: &[Live<'_>]) -> State {
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
        let entries: Vec<_> = entries.map(|same| same[0].clone()).collect();
        (!entries.is_empty()).then(|| Leaf { path: path.clone(), entries })
    });
    State(out.collect())
}

/// By log, how far each head has seen the entity there, in order.
struct Seen(HashMap<u32, Vec<u64>>);

impl Seen {
    fn by(heads: &[Live<'_>]) -> Self {
        let mut logs: HashMap<u32, Vec<u64>> = HashMap::new();
        for (ordinal, sequence) in heads.iter().flat_map(|h| h.clock.iter()) {
            logs.entry(ordinal).or_default().push(sequence);
        }
        logs.values_mut().for_each(|places| places.sort_unstable());
        Self(logs)
    }

    /// How many heads have seen this write.
    fn count(&self, writer: &Writer) -> usize {
        let Some(places) = self.0.get(&writer.ordinal) else { return 0 };
        places.len() - places.partition_point(|seen| *seen < writer.reference.sequence)
    }
}
