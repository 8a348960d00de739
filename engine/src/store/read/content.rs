//! Versions as readers meet them: where they stand, what their content is.

use std::sync::Arc;

use heirloom_core::fold::Dot;
use heirloom_core::format::header::VersionHeader;
use heirloom_core::model::{Line, Lsn, Sequence, Writer};

use crate::store::rows::Record;

/// A version in the log.
#[derive(Clone)]
pub(crate) struct At {
    pub(crate) record: Arc<Record>,
    pub(crate) index: usize,
    pub(crate) writer: Writer,
}

/// A part of the logs.
pub(crate) enum Part<'a> {
    /// Up to a place in each log.
    Upto(&'a dyn Fn(Line) -> Sequence),
    /// Versions that were written up to then, as their writers' clocks had it. No place in a log,
    /// and what a version follows may be outside: its writer's clock was ahead.
    Written(u64),
    /// The first so many commits that arrived here.
    Arrived(Lsn),
}

/// A version as a walk into the past passes it: much smaller than its record.
pub(crate) struct Step {
    pub(crate) lsn: Lsn,
    pub(crate) wall: u64,
    pub(crate) parents: Box<[Dot]>,
}

impl At {
    pub(crate) fn header(&self) -> &VersionHeader {
        &self.record.header.versions[self.index]
    }

    pub(crate) fn dot(&self) -> Dot {
        (self.writer.line, self.writer.reference.sequence)
    }
}
