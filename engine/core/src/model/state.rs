//! The state of a live version: every leaf with the version that wrote it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::id::{ChainPrefix, LogId};
use super::number::{Dot, Line, Sequence};
use super::path::Path;
use super::version::VersionRef;

/// A version as the writer of a value: its ref, its stamp, and the local number of its line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Writer {
    /// The line of commits that it lies on here.
    pub line: Line,
    /// When it was written, as writes are ordered: milliseconds since 1970.
    pub stamp: u64,
    /// The version, the same on every replica.
    pub reference: VersionRef,
}

impl Writer {
    /// Stands for the version that is being written, whose chain is not known yet.
    pub const OWN: Self = Self {
        line: Line::new(u32::MAX),
        stamp: u64::MAX,
        reference: VersionRef {
            log: LogId::from_bytes([0xff; 16]),
            sequence: Sequence::END,
            prefix: ChainPrefix::from_bytes([0xff; 16]),
        },
    };

    /// Where it is here: its line and its sequence.
    pub fn dot(&self) -> Dot {
        (self.line, self.reference.sequence)
    }

    /// Its place in the order of writes (FORMAT.md, 1.8), which is total.
    pub fn key(&self) -> (u64, VersionRef) {
        (self.stamp, self.reference)
    }
}

/// One value of a leaf, as canonical bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The version that wrote it.
    pub writer: Writer,
    /// Canonical bytes of the value (FORMAT.md, 1.4).
    pub value: Box<[u8]>,
}

/// Values of a leaf: mostly one, which takes no memory of its own.
pub type Entries = SmallVec<[Entry; 1]>;

/// A path and its value, or values where nobody has decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Where it is.
    pub path: Path,
    /// Its values, at least one; several where nobody has decided between writers who had not seen
    /// each other.
    pub entries: Entries,
}

impl Leaf {
    /// Whether all its values are the same.
    pub fn is_settled(&self) -> bool {
        self.entries.iter().all(|e| e.value == self.entries[0].value)
    }
}

/// What a version that is no tombstone holds: leaves in order of their paths (FORMAT.md, 1.5).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State(pub Vec<Leaf>);

impl State {
    /// The leaf at exactly this path.
    pub fn get(&self, path: &Path) -> Option<&Leaf> {
        self.0.binary_search_by(|l| l.path.cmp(path)).ok().map(|i| &self.0[i])
    }

    /// About how many bytes of memory it takes.
    pub fn cost(&self) -> usize {
        let entry = |e: &Entry| 112 + e.value.len();
        self.0
            .iter()
            .map(|l| 64 + l.path.as_bytes().len() + l.entries.iter().map(entry).sum::<usize>())
            .sum()
    }

    /// Puts `to` in the place of `from` wherever that is the writer.
    pub fn rename(&mut self, from: &Writer, to: Writer) {
        for entry in self.0.iter_mut().flat_map(|l| &mut l.entries) {
            if entry.writer == *from {
                entry.writer = to;
            }
        }
    }
}
