//! What keeps a store well: verify, repair, backup, identity, clocks, indexes.

mod backup;
mod clock_ahead;
mod identity;
mod indexes;
mod read_only;
mod repair;
mod verify;
mod verify_fold;
mod verify_index;
mod verify_tables;

pub use backup::{BackupProgress, Compaction};
pub use indexes::IndexStatus;
pub(crate) use indexes::checked;
pub use repair::Repaired;
pub use verify::VerifyProgress;
