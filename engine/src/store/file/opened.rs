//! What opening found a store to be.

use heirloom_core::model::LogId;

/// What opening found the store to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Opened {
    /// It was made just now.
    New,
    /// It goes on where it was, as far as anybody can tell.
    Known,
    /// The file was copied, restored or moved to another machine since it was written. Its next
    /// write opens a fresh log, which names this one as its predecessor: both the copy and the
    /// original may go on, and nobody takes one for the other.
    Copied {
        /// The log that it wrote.
        log: LogId,
    },
}
