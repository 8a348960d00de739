//! What goes into the fold of a commit, and what comes out.

use heirloom_core::format::header::Header;
use heirloom_core::model::{Chain, EntityId, Line, LogId, VersionRef, VoidReason};

use crate::store::read::Stored;
use crate::store::rows::Heads;

/// A commit that frames and has its place.
pub(crate) struct Incoming<'a> {
    pub(crate) log: LogId,
    pub(crate) line: Line,
    pub(crate) chain: Chain,
    pub(crate) header: &'a Header,
    pub(crate) header_bytes: &'a [u8],
    pub(crate) trailer: &'a [u8],
    /// Wall of the commit before it.
    pub(crate) wall_before: u64,
}

/// The content of a version and how it is kept.
#[derive(Clone)]
pub(crate) struct Settled {
    pub(crate) content: Stored,
    /// Tag and payload, encoded.
    pub(crate) body: Vec<u8>,
    pub(crate) depth: u64,
}

/// Where contents come from.
pub(crate) enum Bodies<'a> {
    /// Written here: the states are known and give the root.
    Known(Vec<Settled>),
    /// Received: to be verified by their result.
    Received(&'a [u8]),
}

/// What a commit does to the store.
pub(crate) struct Folded {
    pub(crate) record: Vec<u8>,
    /// New heads of each entity that it changes, with the ones that go.
    pub(crate) changes: Vec<HeadChange>,
    pub(crate) voids: Vec<(VersionRef, VoidReason)>,
    pub(crate) unverified: bool,
    /// Never leaves this store: no part of digest and frontier.
    pub(crate) local: bool,
}

pub(crate) struct HeadChange {
    pub(crate) entity: EntityId,
    pub(crate) heads: Heads,
    /// Those that the digest counts.
    pub(crate) gone: Vec<VersionRef>,
    pub(crate) new: VersionRef,
    pub(crate) was_diverged: bool,
    /// The new one has leaves that nobody decided.
    pub(crate) undecided: bool,
}
