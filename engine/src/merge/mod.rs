//! How diverged versions combine: pure functions of heads, the same on every replica (R19, I7).
#![deny(clippy::disallowed_methods)]

mod apply;
mod conflict;
mod delta;
mod entity_clock;
mod entries;
mod heads;
mod nearby;
mod policy;
mod report;
mod view;

pub(crate) use apply::{apply, difference, is_emptied, removed, replacement, without_repetition};
pub(crate) use conflict::{Conflicts, conflicts};
pub(crate) use delta::{apply_decision, check_inside, check_path, unflatten, unflatten_with};
pub use delta::{apply_patch, diff};
pub(crate) use entity_clock::EntityClock;
pub(crate) use entries::{value_at, written_inside};
pub(crate) use heads::{Live, merge};
pub(crate) use nearby::Nearby;
pub use policy::{CustomPolicy, Policy};
pub(crate) use policy::{Policies, Whole};
pub use report::{Conflict, ConflictHead, ConflictKind, FieldConflict, Resolution, Side};
pub(crate) use view::{Shown as ShownEntry, show};

#[cfg(test)]
mod laws;
