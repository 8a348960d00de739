//! What heirloom talks about: ids, times, values, content, versions, clocks. Pure data, no I/O.
#![deny(clippy::disallowed_methods)]

mod clock;
mod content;
mod id;
mod metadata;
mod patch;
mod path;
mod serde_value;
mod state;
mod time;
mod value;
mod version;

pub use clock::{Clock, ClockEntry, ClockOrdering};
pub use content::Content;
pub use id::{
    Chain, ChainPrefix, Dataset, DatasetId, EntityId, LogId, LogRoot, NodeId, StateDigest,
};
pub use metadata::Metadata;
pub use patch::Patch;
pub(crate) use path::{Path, PathRef};
pub use serde_value::{Atomic, atomic, from_value, to_value};
pub(crate) use serde_value::{
    Fault, ShownLeaf, Step, Unread, content_from, from_leaves, print_path, to_content,
};
pub(crate) use state::{Entry, Leaf, State, Writer};
pub use time::Timestamp;
pub use value::{Value, Variant};
pub use version::{CommitRef, Kind, VersionId, VersionRef};
