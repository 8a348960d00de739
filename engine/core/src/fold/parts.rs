//! What goes into the fold of a commit, and what comes out.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::derived::Derived;
use super::head::Heads;
use crate::format::header::Header;
use crate::model::{Chain, EntityId, Line, LogId, State, VersionRef, VoidReason};

/// What a version's content is.
#[derive(Clone, Debug)]
pub enum Stored {
    /// It was deleted.
    Tombstone,
    /// Its leaves.
    Live(Arc<State>),
    /// Not here: pruned, withheld, or its body does not verify.
    Absent,
}

/// A commit that frames and has its place.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Its log.
    pub log: LogId,
    /// The line that it lies on.
    pub line: Line,
    /// Its chain.
    pub chain: Chain,
    /// What it says of its versions.
    pub header: &'a Header,
    /// Wall of the commit before it.
    pub wall_before: u64,
}

/// The content of a version and how it is kept.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The content, if it is known.
    pub content: Stored,
    /// Tag and payload, encoded.
    pub body: Vec<u8>,
    /// Patches since the last full body.
    pub depth: u64,
}

/// Where contents come from.
#[derive(Debug)]
pub enum Bodies<'a> {
    /// Written here: the states are known and give the root.
    Known(Vec<Settled>),
    /// Received: to be verified by their result.
    Received(&'a [u8]),
}

/// What is found out about a version and cannot be read off its commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// A creation with a full body, or a version kept as a patch: follows from itself or from its
    /// parents.
    Plain,
    /// It changes nothing, and why.
    Void(VoidReason),
    /// Kept where the walk back through parents ends.
    Derived(Derived),
}

/// What a commit does to a store.
#[derive(Debug)]
pub struct Folded {
    /// Of each version, in order.
    pub notes: Vec<Note>,
    /// Of the whole commit; then its versions have no notes.
    pub void: Option<VoidReason>,
    /// Its bodies do not verify, or cannot be told to.
    pub unverified: bool,
    /// How each body is kept; of a newer level one block.
    pub bodies: Vec<Vec<u8>>,
    /// New heads of each entity that it changes.
    pub changes: Vec<HeadChange>,
    /// Its versions that change nothing; of a newer level the first stands for all.
    pub voids: Vec<(VersionRef, VoidReason)>,
    /// It never leaves this store: no part of digest and frontier.
    pub local: bool,
}

/// What a version does to the heads of its entity.
#[derive(Debug)]
pub struct HeadChange {
    /// The entity.
    pub entity: EntityId,
    /// Its heads from now on.
    pub heads: Heads,
    /// Those that went, of those that the digest counts.
    pub gone: Vec<VersionRef>,
    /// The one that came.
    pub new: VersionRef,
    /// It had several before.
    pub was_diverged: bool,
    /// The new one has leaves that nobody decided.
    pub undecided: bool,
}
