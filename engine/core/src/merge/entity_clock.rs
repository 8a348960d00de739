//! What a version has seen of its entity.

use alloc::vec::Vec;

use crate::model::{Line, Sequence, Writer};

/// By line, the highest sequence *of this entity* in a version's past, itself
/// included.
///
/// A line is a log, or a branch of one that forked (FORMAT.md, 1.5 and 2.6).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EntityClock(Vec<(Line, Sequence)>);

impl EntityClock {
    /// Whether it has seen this place: an earlier sequence on a line is seen with a later one.
    pub fn covers(&self, line: Line, sequence: Sequence) -> bool {
        self.get(line).is_some_and(|s| sequence <= s)
    }

    /// Whether a version with this clock has seen that write.
    pub fn has_seen(&self, writer: &Writer) -> bool {
        self.covers(writer.line, writer.reference.sequence)
    }

    /// How far it has seen a line, if at all.
    pub fn get(&self, line: Line) -> Option<Sequence> {
        self.0.binary_search_by_key(&line, |e| e.0).ok().map(|i| self.0[i].1)
    }

    /// Sees a line up to a sequence, if that is further.
    pub fn see(&mut self, line: Line, sequence: Sequence) {
        match self.0.binary_search_by_key(&line, |e| e.0) {
            Ok(i) => self.0[i].1 = self.0[i].1.max(sequence),
            Err(i) => self.0.insert(i, (line, sequence)),
        }
    }

    /// Sees all that the other has seen.
    pub fn see_all(&mut self, other: &Self) {
        for (line, sequence) in other.iter() {
            self.see(line, sequence);
        }
    }

    /// Lines and how far, in order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Line, Sequence)> + '_ {
        self.0.iter().copied()
    }
}
