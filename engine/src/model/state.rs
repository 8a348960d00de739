//! The state of a live version: every leaf with the version that wrote it.

use super::{ChainPrefix, LogId, Path, VersionRef};

/// A version as the writer of a value: its ref, its stamp, and the local number of its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Writer {
    pub(crate) ordinal: u32,
    pub(crate) stamp: u64,
    pub(crate) reference: VersionRef,
}

impl Writer {
    /// Stands for the version that is being written, whose chain is not known yet.
    pub(crate) const OWN: Self = Self {
        ordinal: u32::MAX,
        stamp: u64::MAX,
        reference: VersionRef {
            log: LogId::from_bytes([0xff; 16]),
            sequence: u64::MAX,
            prefix: ChainPrefix::from_bytes([0xff; 16]),
        },
    };

    /// Place in the order of writes (I5).
    pub(crate) fn key(&self) -> (u64, VersionRef) {
        (self.stamp, self.reference)
    }
}

/// One value of a leaf, as canonical bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) writer: Writer,
    pub(crate) value: Box<[u8]>,
}

/// A path and its value, or values where nobody has decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Leaf {
    pub(crate) path: Path,
    pub(crate) entries: Vec<Entry>,
}

impl Leaf {
    /// Whether all its values are the same.
    pub(crate) fn is_settled(&self) -> bool {
        self.entries.iter().all(|e| e.value == self.entries[0].value)
    }
}

/// Leaves in order of their paths.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct State(pub(crate) Vec<Leaf>);

impl State {
    pub(crate) fn get(&self, path: &Path) -> Option<&Leaf> {
        self.0.binary_search_by(|l| l.path.cmp(path)).ok().map(|i| &self.0[i])
    }

    /// About how much memory it takes.
    pub(crate) fn cost(&self) -> usize {
        let entry = |e: &Entry| 112 + e.value.len();
        self.0
            .iter()
            .map(|l| 64 + l.path.as_bytes().len() + l.entries.iter().map(entry).sum::<usize>())
            .sum()
    }

    /// The same with `from` as writer in the place of `to`.
    pub(crate) fn rename(&mut self, from: &Writer, to: Writer) {
        for entry in self.0.iter_mut().flat_map(|l| &mut l.entries) {
            if entry.writer == *from {
                entry.writer = to;
            }
        }
    }
}
