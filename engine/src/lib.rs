//! heirloom: an embedded store that keeps every version of every entity, with its parents, and
//! merges what diverged the same way everywhere.
//!
//! Open an [`Engine`], change entities in [`Engine::write`], read them in a [`Snapshot`]. The crate
//! `heirloom-sync` carries commits between stores. ARCHITECTURE.md tells how it is built and what R
//! and I with a number mean; FORMAT.md gives every byte.
//!
//! ```
//! use heirloom::{Engine, Patch};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Lamp { name: String, brightness: u8 }
//!
//! let engine = Engine::builder().label("phone").in_memory()?;
//! let id = engine.write(|tx| tx.create("lamp", &Lamp { name: "desk".into(), brightness: 40 }))?;
//! engine.write(|tx| tx.patch(id, Patch::new().set("brightness", 80)))?;
//! let lamp: Lamp = engine.snapshot()?.get(id)?.expect("it was created").read()?;
//! assert_eq!(lamp.brightness, 80);
//! # Ok::<(), heirloom::Error>(())
//! ```

// redb's tables and transactions are used in `store/rows.rs` alone: see there
#![warn(clippy::disallowed_types)]

mod backup;
mod builder;
mod carry;
mod changes;
mod clock_ahead;
mod collection;
mod conflicts;
mod diff;
mod engine;
mod entity;
mod error;
mod forks;
mod identity;
mod import;
mod index;
mod local;
mod losses;
mod misfit;
mod outcome;
mod past;
mod peers;
mod query;
mod read_only;
mod repair;
pub mod replication;
mod snapshot;
mod staged;
mod status;
mod store;
mod subscription;
mod transaction;
mod validation;
mod verify;
mod verify_index;
mod version;
mod voids;

pub use backup::{BackupProgress, Compaction};
pub use builder::Builder;
pub use changes::{Change, ChangeKind, Changes, Cursor};
pub use collection::{Collection, Document, Documents};
pub use conflicts::Conflicts;
pub use diff::{Diff, Difference, FieldDifference};
pub use engine::Engine;
pub use entity::Entity;
pub use error::{ClockFault, Error, ImportFault, Misfit, Result};
pub use identity::Opened;
pub use import::{Authored, Device, Draft, Importer};
pub use index::IndexStatus;
pub use losses::{Loss, Losses};
pub use outcome::Outcome;
pub use past::{Past, Point};
pub use query::{Page, Query, QueryCursor};
pub use repair::Repaired;
pub use snapshot::{History, Listing, Snapshot};
pub use status::{ChangeStatus, PeerStatus, Status};
pub use store::CacheStats;
pub use subscription::Subscription;
pub use transaction::Transaction;
pub use validation::Proposal;
pub use verify::{Problem, Verification, VerifyProgress};
pub use version::Version;

pub use heirloom_core::bytes::Malformed;
pub use heirloom_core::error::Invalid;
pub use heirloom_core::format::serde::{Atomic, atomic, from_value, to_value};
pub use heirloom_core::limits;
pub use heirloom_core::merge::{
    Conflict, ConflictHead, ConflictKind, CustomPolicy, FieldConflict, Policy, Resolution, Side,
    StaleField, StaleWrite, apply_patch, diff,
};
pub use heirloom_core::model::{
    Chain, ChainPrefix, Clock, ClockEntry, ClockOrdering, CommitRef, Content, Dataset, DatasetId,
    EntityId, Kind, LogId, LogRoot, Metadata, NodeId, Patch, StateDigest, Timestamp, Value,
    Variant, VersionId, VersionRef, VoidReason,
};
pub use heirloom_core::replica::{ClockAhead, Fork, Span, VoidVersion};
