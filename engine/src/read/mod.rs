//! What a snapshot shows: entities, versions, queries, the past, differences, conflicts, losses.

mod as_of;
mod conflicts;
mod diff;
mod entity;
mod forks;
mod losses;
mod misfit;
mod query;
mod snapshot;
mod version;
mod voids;

pub use as_of::{Past, Point};
pub use conflicts::Conflicts;
pub use diff::{Diff, Difference, FieldDifference};
pub use entity::Entity;
pub(crate) use entity::{Origin, entity_of};
pub use losses::{Loss, Losses};
pub use query::{Page, Query, QueryCursor};
pub use snapshot::{History, Listing, Snapshot};
pub use version::Version;
