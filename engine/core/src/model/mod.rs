//! What heirloom talks about: ids, times, values, content, versions, clocks. Pure data.

mod clock;
mod id;
mod metadata;
mod number;
mod patch;
mod path;
mod state;
mod time;
mod value;
mod version;
mod void;

pub use clock::{Clock, ClockEntry, ClockOrdering};
pub use id::{
    Chain, ChainPrefix, Dataset, DatasetId, EntityId, LogId, LogRoot, NodeId, StateDigest,
};
pub use metadata::Metadata;
pub use number::{Dot, Line, Lsn, Sequence, TypeNumber};
pub use patch::Patch;
pub use path::{Path, PathRef};
pub use state::{Entries, Entry, Leaf, State, Writer};
pub use time::Timestamp;
pub use value::{Content, Value, Variant};
pub use version::{CommitRef, Kind, VersionId, VersionRef};
pub use void::VoidReason;
