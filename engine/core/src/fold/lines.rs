//! What the local numbers of lines stand for.

use alloc::vec::Vec;

use crate::merge::EntityClock;
use crate::model::{Dot, Line, LogId, Sequence};

/// What the local numbers of lines stand for.
///
/// A log is one line of commits, unless copies of a store wrote under its name: then it is a tree,
/// and each line after the first begins where it left another (FORMAT.md, 2.6).
pub trait Lines {
    /// The log that a line belongs to; nothing where there is no such line.
    fn log_of(&self, line: Line) -> Option<LogId>;

    /// The line that holds a sequence on the path that ends in `line`.
    fn line_at(&self, line: Line, sequence: Sequence) -> Line;

    /// The path to a place: itself, and how far into each line that it continues.
    fn path(&self, line: Line, sequence: Sequence) -> Vec<Dot>;

    /// The line of what never leaves this store, if there is one.
    fn local(&self) -> Option<Line>;

    /// Sees a place, and so all before it on its path.
    fn see(&self, clock: &mut EntityClock, line: Line, sequence: Sequence) {
        for (line, sequence) in self.path(line, sequence) {
            clock.see(line, sequence);
        }
    }
}
