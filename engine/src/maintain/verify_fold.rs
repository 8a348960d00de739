//! The fold of the log, made again to be compared with what the tables say.

use std::collections::{BTreeMap, BTreeSet};

use heirloom_core::fold::HeadWriters;
use heirloom_core::model::{Chain, EntityId, Line, Lsn, Sequence, StateDigest};

use crate::store;

/// The fold of the log, made again. Of entities only a part: the walk is repeated for each.
pub(super) struct Fold {
    pub(super) part: Part,
    /// Sum over the heads of all parts.
    pub(super) digest: StateDigest,
    pub(super) heads: BTreeMap<EntityId, HeadWriters>,
    pub(super) ends: BTreeMap<Line, (Sequence, Chain)>,
    pub(super) frontier: BTreeSet<Line>,
    /// Commits that are marked as ones whose bodies do not verify.
    pub(super) marked: BTreeSet<Lsn>,
}

/// One of so many parts of all entities.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) of: u64,
}

impl Part {
    pub(super) fn holds(self, id: &EntityId) -> bool {
        store::part_of(id, self.of) == self.number
    }
}
