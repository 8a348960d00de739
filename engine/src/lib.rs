//! heirloom: an embedded store that keeps every version of every entity, with its parents, and
//! merges what diverged the same way everywhere.
//!
//! **New here? Read the [`guide`]**: eight short chapters with code that runs.
//!
//! - [`Engine`] is a store, [`Builder`] what is chosen before it is opened.
//! - [`Engine::write`] runs a closure over a [`Transaction`]; [`Collection`] is for one type.
//! - [`Engine::snapshot`] gives a [`Snapshot`]: entities, lists, queries, history, the past.
//! - [`Policy`] says what is shown of a [`Conflict`].
//! - [`Engine::changes`] and [`Engine::subscribe`] tell each [`Change`] once.
//! - [`Error`] says who must act, and what to do.
//! - The crate `heirloom-sync` carries commits between stores; [`replication`] is what it asks for.
//!
//! ARCHITECTURE.md tells how it is built, FORMAT.md every byte, CONFLICTS.md what is shown of which
//! situation.
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

// redb's tables and transactions are used in `store/rows/guard.rs` alone: see there
#![warn(clippy::disallowed_types)]

mod builder;
mod engine;
mod error;
pub mod guide;
mod maintain;
mod open;
mod read;
pub mod replication;
mod rules;
mod store;
mod traced;
mod watch;
mod write;

pub use builder::Builder;
pub use engine::Engine;
pub use error::{ClockFault, Error, ImportFault, Misfit, Result, Table};
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
    EntityId, Kind, LogId, LogRoot, Lsn, Metadata, NodeId, Patch, Sequence, StateDigest, Timestamp,
    Value, Variant, VersionId, VersionRef, VoidReason,
};
pub use heirloom_core::replica::{ClockAhead, Fork, Span, VoidVersion};
pub use maintain::{BackupProgress, Compaction, IndexStatus, Repaired, VerifyProgress};
pub use read::{
    Conflicts, Diff, Difference, Entity, FieldDifference, History, Listing, Loss, Losses, Page,
    Past, Point, Query, QueryCursor, Snapshot, Version,
};
pub use rules::Proposal;
pub use store::{CacheStats, Opened, Problem, Verification};
pub use watch::{
    Change, ChangeKind, ChangeStatus, Changes, Cursor, PeerStatus, Status, Subscription,
};
pub use write::{
    Authored, Collection, Device, Document, Documents, Draft, Importer, Outcome, Transaction,
};
