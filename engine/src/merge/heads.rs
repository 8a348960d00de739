//! The merge of heads: one pass over all of them, never pairwise.

use std::collections::BTreeMap;

use super::EntityClock;
use crate::model::{Entry, Leaf, Path, State};

/// A head that is no tombstone: its leaves, and what it has seen of the entity.
#[derive(Clone, Copy)]
pub(crate) struct Live<'a> {
    pub(crate) state: &'a State,
    pub(crate) clock: &'a EntityClock,
}

/// Leaves of all live heads at once: an entry survives if and only if each other head has it too or has not seen its writer.
///
/// Whoever has an entry has seen its writer, so that is: as many heads have it as have seen it. Costs distinct entries × heads.
pub(crate) fn merge(heads: &[Live<'_>]) -> State {
    if let [only] = heads {
        return only.state.clone();
    }
    let mut leaves: BTreeMap<&Path, Vec<(&Entry, usize)>> = BTreeMap::new();
    for leaf in heads.iter().flat_map(|h| &h.state.0) {
        let found = leaves.entry(&leaf.path).or_default();
        for entry in &leaf.entries {
            match found.iter_mut().find(|(e, _)| e.writer == entry.writer) {
                Some((_, holders)) => *holders += 1,
                None => found.push((entry, 1)),
            }
        }
    }
    let survives = |(entry, holders): &(&Entry, usize)| {
        *holders == heads.len()
            || heads.iter().filter(|h| h.clock.has_seen(&entry.writer)).count() == *holders
    };
    let out = leaves.into_iter().filter_map(|(path, found)| {
        let mut entries: Vec<_> = found.into_iter().filter(survives).map(|(e, _)| e.clone()).collect();
        entries.sort_by_key(|e| e.writer.reference);
        (!entries.is_empty()).then(|| Leaf { path: path.clone(), entries })
    });
    State(out.collect())
}
