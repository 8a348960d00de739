//! A commit as it goes into the log.

use heirloom_core::fold::{Dot, Folded, NewCommit};
use heirloom_core::format::commit::NO_TRAILER;
use heirloom_core::format::header::Header;
use heirloom_core::model::{Chain, Line};

use crate::store::rows::RecordDraft;

/// A commit whose place is known.
#[derive(Clone, Copy)]
pub(crate) struct LogEntry<'a> {
    pub(crate) line: Line,
    pub(crate) chain: Chain,
    pub(crate) header: &'a Header,
    pub(crate) header_bytes: &'a [u8],
    pub(crate) trailer: &'a [u8],
    /// Where what it refers to is.
    pub(crate) refs: &'a [Dot],
}

impl<'a> LogEntry<'a> {
    /// One that was authored here.
    pub(crate) fn of(new: &'a NewCommit, line: Line, refs: &'a [Dot]) -> Self {
        let (header, header_bytes) = (&new.header, &new.header_bytes[..]);
        Self { line, chain: new.chain, header, header_bytes, trailer: NO_TRAILER, refs }
    }

    /// Its bytes in the log.
    pub(crate) fn record(&self, folded: &Folded) -> Vec<u8> {
        let Self { line, chain, header_bytes, trailer, .. } = *self;
        RecordDraft { line, chain, header_bytes, trailer, folded }.encode()
    }
}
