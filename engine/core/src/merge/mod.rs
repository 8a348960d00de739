//! How diverged versions combine: pure functions of heads, the same on every replica.

mod apply;
mod conflict;
mod contents;
mod delta;
mod entity_clock;
mod entries;
mod heads;
mod nearby;
mod policy;
mod report;
mod stale;
mod view;

pub use apply::{apply, difference, is_emptied, removed, replacement, without_repetition};
pub use conflict::{Conflicts, conflicts};
pub use contents::{unflatten, unflatten_with, value_at};
pub use delta::{apply_decision, apply_patch, check_inside, check_path, diff};
pub use entity_clock::EntityClock;
pub use entries::written_inside;
pub use heads::{Live, merge};
pub use nearby::Nearby;
pub use policy::{CustomPolicy, Policies, Policy, Whole};
pub use report::{Conflict, ConflictHead, ConflictKind, FieldConflict, Resolution, Side};
pub use stale::{Leaves, StaleField, StaleWrite, leaf};
pub use view::{Shown as ShownEntry, show};

#[cfg(test)]
mod laws;
