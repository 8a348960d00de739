//! What a version has seen of its entity.

use crate::model::Writer;

/// By local log number, the highest sequence *of this entity* in a version's past, itself included.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct EntityClock(Vec<(u32, u64)>);

impl EntityClock {
    pub(crate) fn covers(&self, ordinal: u32, sequence: u64) -> bool {
        self.get(ordinal).is_some_and(|s| sequence <= s)
    }

    /// Whether a version with this clock has seen that write.
    pub(crate) fn has_seen(&self, writer: &Writer) -> bool {
        self.covers(writer.ordinal, writer.reference.sequence)
    }

    pub(crate) fn get(&self, ordinal: u32) -> Option<u64> {
        self.0.binary_search_by_key(&ordinal, |e| e.0).ok().map(|i| self.0[i].1)
    }

    pub(crate) fn see(&mut self, ordinal: u32, sequence: u64) {
        match self.0.binary_search_by_key(&ordinal, |e| e.0) {
            Ok(i) => self.0[i].1 = self.0[i].1.max(sequence),
            Err(i) => self.0.insert(i, (ordinal, sequence)),
        }
    }

    pub(crate) fn see_all(&mut self, other: &Self) {
        for (ordinal, sequence) in other.iter() {
            self.see(ordinal, sequence);
        }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u64)> + '_ {
        self.0.iter().copied()
    }
}
