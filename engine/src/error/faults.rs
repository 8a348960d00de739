//! Faults that are told in detail: which field does not fit, where a clock or an import goes wrong.

use heirloom_core::model::{CommitRef, EntityId, LogId, Sequence, Timestamp, VersionRef};
use thiserror::Error as Derive;

/// Which field of an entity does not fit a type, which version wrote it, and who. The entity is as
/// it was: read it as [`Content`](crate::Content), or write it anew from a version that fits, with
/// [`Collection::update_from`](crate::Collection::update_from) or
/// [`Collection::restore`](crate::Collection::restore).
#[derive(Clone, PartialEq, Debug, Derive)]
#[error(
    "{entity_type} {entity} does not fit: {}{why}{}; read it as Content, or write it anew with \
     update_from or restore",
    place(field),
    author(version, device)
)]
#[non_exhaustive]
pub struct Misfit {
    /// The entity.
    pub entity: EntityId,
    /// Its type.
    pub entity_type: String,
    /// The field, as people write its path: `rooms[2].lamp`. Empty where it is no single one.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
    /// The version that wrote it; where the field is missing, the last one that wrote the entity.
    /// Nothing where that is this very transaction, or cannot be told any more.
    pub version: Option<VersionRef>,
    /// The device that wrote that version.
    pub device: Option<String>,
    /// When it did.
    pub stamp: Option<Timestamp>,
    /// The keys of the field, as far as they lead through maps.
    pub(crate) keys: Vec<String>,
}

pub(crate) fn place(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("field {field}: ") }
}

fn author(version: &Option<VersionRef>, device: &Option<String>) -> String {
    match (version, device) {
        (Some(version), Some(device)) => format!(" (version {version} by {device})"),
        _ => String::new(),
    }
}

/// Why a clock names no moment of this store.
#[derive(Clone, PartialEq, Eq, Debug, Derive)]
#[non_exhaustive]
pub enum ClockFault {
    /// It has an entry at which no commit ends here.
    #[error(
        "names {log}/{sequence}, which is no commit here: sync first, or take a clock that this \
         store gave"
    )]
    Unknown {
        /// The log of the entry.
        log: LogId,
        /// Its sequence.
        sequence: Sequence,
    },
    /// It goes beyond the place where the log forked, under the name that it had before.
    #[error(
        "names {log}/{sequence}, but two branches go on after {log}/{until}: take a clock from \
         after the fork"
    )]
    Ambiguous {
        /// The log of the entry.
        log: LogId,
        /// Its sequence.
        sequence: Sequence,
        /// The last sequence that the branches have in common.
        until: Sequence,
    },
    /// It has some versions of a commit, and not all.
    #[error("cuts through commit {log}/{last}; end at a commit")]
    WithinCommit {
        /// The log of the commit.
        log: LogId,
        /// Its last sequence.
        last: Sequence,
    },
    /// It has a commit, and not one that this refers to.
    #[error("is not causally closed: it has a commit that refers to {0}, and not that one")]
    NotClosed(CommitRef),
    /// The commit never leaves this store, so no clock has it.
    #[error("cannot have commit {0}, which never leaves this store")]
    Local(CommitRef),
}

/// Why an import does not fit the history that it builds. Nothing of the commit was stored.
#[derive(Clone, PartialEq, Eq, Debug, Derive)]
#[non_exhaustive]
pub enum ImportFault {
    /// Other bytes are here for this commit already: the source history was rewritten, or the
    /// import is not deterministic.
    #[error(
        "the import has another commit at {0} than the store; the source history was rewritten"
    )]
    Differs(VersionRef),
    /// The device is of another importer.
    #[error("a device of another importer; take one that this importer gave")]
    ForeignDevice,
    /// The past that was given holds later commits of the same device.
    #[error("the past holds later commits of the same device; name its commits in order")]
    PastOutOfOrder,
    /// A parent lies on no commit that the past names.
    #[error("parent {log}/{sequence} lies in no commit of the past; name one that has it")]
    UnseenParent {
        /// The log of the parent.
        log: LogId,
        /// Its sequence.
        sequence: Sequence,
    },
    /// A commit without a version.
    #[error("a commit needs at least one version")]
    Empty,
}
