//! What a version has seen of its entity.

use alloc::vec::Vec;

use crate::model::Writer;

/// By local number of a line, the highest sequence *of this entity* in a version's past, itself
/// included.
///
/// A line is a log, or a branch of one that forked; its number, or ordinal, is never hashed or sent
/// (FORMAT.md, 1.5 and 2.6).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EntityClock(Vec<(u32, u64)>);

impl EntityClock {
    /// Whether it has seen this place: an earlier sequence on a line is seen with a later one.
    pub fn covers(&self, ordinal: u32, sequence: u64) -> bool {
        self.get(ordinal).is_some_and(|s| sequence <= s)
    }

    /// Whether a version with this clock has seen that write.
    pub fn has_seen(&self, writer: &Writer) -> bool {
        self.covers(writer.ordinal, writer.reference.sequence)
    }

    /// How far it has seen a line, if at all.
    pub fn get(&self, ordinal: u32) -> Option<u64> {
        self.0.binary_search_by_key(&ordinal, |e| e.0).ok().map(|i| self.0[i].1)
    }

    /// Sees a line up to a sequence, if that is further.
    pub fn see(&mut self, ordinal: u32, sequence: u64) {
        match self.0.binary_search_by_key(&ordinal, |e| e.0) {
            Ok(i) => self.0[i].1 = self.0[i].1.max(sequence),
            Err(i) => self.0.insert(i, (ordinal, sequence)),
        }
    }

    /// Sees all that the other has seen.
    pub fn see_all(&mut self, other: &Self) {
        for (ordinal, sequence) in other.iter() {
            self.see(ordinal, sequence);
        }
    }

    /// Lines and how far, in order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u64)> + '_ {
        self.0.iter().copied()
    }
}
