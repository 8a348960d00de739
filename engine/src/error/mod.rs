//! What can go wrong, sorted by who must act.

mod faults;
mod table;

use std::path::PathBuf;

pub use faults::{ClockFault, ImportFault, Misfit};
use heirloom_core::bytes::Malformed;
use heirloom_core::error::Invalid;
use heirloom_core::fold::Fault;
use heirloom_core::merge::StaleWrite;
use heirloom_core::model::{Dataset, EntityId, LogId, Lsn, Sequence, VersionRef};
use heirloom_core::replica::ReplicaError;
pub use table::Table;
use thiserror::Error as Derive;

/// Result with heirloom's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, whose fault it is, and what to do.
///
/// Who must act:
///
/// - the caller (nothing was written): `Invalid`, `Misfit`, `NoIndex`, `NotFound`, `Deleted`,
///   `Exists`, `OtherType`, `Stale`, `Rejected`, `AlreadyChanged`, `InsideWrite`, `NotAHead`,
///   `NotOfEntity`, `NotHere`, `Tombstone`, `Clock`, `NotArrived`, `CursorLost`, `NoDataset`,
///   `LogFull`, `Import`, `NoFile`, `NotAFile`, `FileExists`, `ReadOnly`, `Cancelled`, `Forked`;
/// - the application that registered the policies: `PolicyFailed`;
/// - nobody here (the content is on another replica, or pruned): `Absent`;
/// - the peer that sent it (nothing of it was stored): `Refused`, `OutOfOrder`, `NotContinued`,
///   `WrongDataset`;
/// - whoever keeps the file: `Corrupt`, `UnknownFormat`, `NotAStore`, `EmptyFile`, `NeedsWriter`,
///   `FileChanged`, `AlreadyOpen`, `Storage`, `NotWritten`, `Poisoned`, `Closed`.
///
/// Each is shown with its cause and with what to do. [`is_transient`](Self::is_transient) tells
/// which pass by themselves.
#[derive(Debug, Derive)]
#[non_exhaustive]
pub enum Error {
    /// What was given cannot be, whatever the store holds.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// What is stored does not fit the type that it is read as: which field, by whom, and what to
    /// do. Nothing was written.
    #[error(transparent)]
    Misfit(Box<Misfit>),
    /// A query over a field that is not indexed: declare it with
    /// [`Builder::index`](crate::Builder::index).
    #[error("field {field} of {entity_type:?} has no index; declare it with Builder::index")]
    NoIndex {
        /// The entity type that was asked for.
        entity_type: String,
        /// The field, the keys of its path joined by dots.
        field: String,
    },
    /// No such entity here.
    #[error("no entity {0} here; create it, or sync first")]
    NotFound(EntityId),
    /// The entity is deleted: restore it first.
    #[error("entity {0} is deleted; restore it before changing it")]
    Deleted(EntityId),
    /// An entity with this id is here: change it instead, or restore it if it is deleted.
    #[error(
        "entity {entity} exists{}",
        if *deleted { " and is deleted; restore it instead of creating it" }
        else { "; patch it instead of creating it" }
    )]
    Exists {
        /// The entity.
        entity: EntityId,
        /// It is shown as deleted.
        deleted: bool,
    },
    /// The entity is of another type than the collection holds.
    #[error("entity {entity} is of type {found:?}, not {wanted:?}; use that collection")]
    OtherType {
        /// The entity.
        entity: EntityId,
        /// Its type.
        found: String,
        /// That of the collection.
        wanted: String,
    },
    /// Somebody else changed what this write is based on: read it again and decide. Carries both
    /// sides.
    #[error("{0}; read it again and decide")]
    Stale(Box<StaleWrite>),
    /// A rule of the application refused the write.
    #[error("{entity_type} {entity} breaks a rule: {why}; correct it and write again")]
    Rejected {
        /// The entity.
        entity: EntityId,
        /// Its type, to which the rule belongs.
        entity_type: String,
        /// What the rule said.
        why: String,
    },
    /// This transaction, or the commit of an import, has changed the entity already, and this act
    /// must come first, or alone.
    #[error("entity {0} was changed in this commit already; do this first, or in another one")]
    AlreadyChanged(EntityId),
    /// A write, sync or close was asked for within a write of the same thread, and would wait for
    /// itself.
    #[error(
        "a write, sync or close inside a write: use the transaction that is open, or wait for its \
         end"
    )]
    InsideWrite,
    /// A conflict was to be resolved by a version that is none of its heads.
    #[error("{version} is no head of entity {entity}; take one of Conflict::heads")]
    NotAHead {
        /// The entity.
        entity: EntityId,
        /// The version that was named.
        version: VersionRef,
    },
    /// The version is not here, or one of another entity.
    #[error(
        "{version} is no version of entity {entity} here; take one of Snapshot::history, or sync \
         first"
    )]
    NotOfEntity {
        /// The entity.
        entity: EntityId,
        /// The version that was named.
        version: VersionRef,
    },
    /// No such version or commit here.
    #[error("{log}/{sequence} is not here; sync first")]
    NotHere {
        /// The log of the version, or of the commit.
        log: LogId,
        /// Its sequence.
        sequence: Sequence,
    },
    /// The version deletes its entity, so it has no content to restore.
    #[error("version {0} deletes; restore one before it")]
    Tombstone(VersionRef),
    /// A clock names no moment of this store.
    #[error("the clock {0}")]
    Clock(#[from] ClockFault),
    /// A point of the past that lies ahead.
    #[error("{asked} commits have not arrived yet; {here} are here: ask for a point up to that")]
    NotArrived {
        /// How many were asked for.
        asked: Lsn,
        /// How many are here.
        here: Lsn,
    },
    /// A custom policy panicked, answered two ways, or answered nonsense about this entity; all
    /// others can still be read.
    #[error("policy {policy} failed on entity {entity}: {why}; mend the policy, it must be pure")]
    PolicyFailed {
        /// Its name.
        policy: String,
        /// The entity.
        entity: EntityId,
        /// What went wrong.
        why: String,
    },
    /// The content of this version is not here (its body did not verify, or was withheld or
    /// pruned).
    #[error("the content of version {0} is not here; sync with a peer that has it")]
    Absent(VersionRef),
    /// A [`Cursor`](crate::Cursor) names a place in the change log of another file, or one that
    /// this file, an older copy, has not reached: start again from
    /// [`Cursor::START`](crate::Cursor::START) or [`Engine::cursor`](crate::Engine::cursor).
    #[error(
        "the cursor is of another file, or this one was replaced by an older copy; start again \
         from Cursor::START or Engine::cursor()"
    )]
    CursorLost,
    /// The store belongs to no dataset yet, and this needs one.
    #[error("no dataset yet; open the store with Builder::dataset_name or dataset, or sync first")]
    NoDataset,
    /// The log of this store has used up its sequences.
    #[error("the log is full: its sequences are used up; go on with Engine::start_fresh_log")]
    LogFull,
    /// An import does not fit the history that it builds.
    #[error(transparent)]
    Import(#[from] ImportFault),
    /// These bytes are not a commit.
    #[error("refused bytes that are no commit: {0}")]
    Refused(#[from] Malformed),
    /// A commit came before its predecessor or before a commit that it refers to.
    #[error(
        "commit {log}/{first} came before one that it builds on; the sender breaks the causal order"
    )]
    OutOfOrder {
        /// The log of the commit that came too early.
        log: LogId,
        /// Sequence of its first version.
        first: Sequence,
    },
    /// A part of a large commit does not continue the one that is staged.
    #[error("these bytes do not continue the commit that is staged; begin it anew")]
    NotContinued,
    /// The data belongs to another dataset; replicas of different datasets never sync.
    #[error(
        "this store holds dataset {ours}, not {theirs}; open it under its own, or take the right \
         one"
    )]
    WrongDataset {
        /// The dataset of this store.
        ours: Dataset,
        /// The other.
        theirs: Dataset,
    },
    /// The application broke off what it asked for. Nothing was changed.
    #[error("it was broken off")]
    Cancelled,
    /// The file is damaged at this place; the rest stays usable. `verify` lists all such places,
    /// `repair` mends them.
    ///
    /// Pages of redb that are damaged are found by a panic of redb, which is caught. Your panic
    /// hook sees it, and prints it if it is the default one: this library sets none.
    #[error(
        "damaged record in table {table} at {key}: {what}; Engine::verify lists all damage, \
         Engine::repair mends it, a sync brings back what peers hold"
    )]
    Corrupt {
        /// The table.
        table: Table,
        /// The key, readable.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// The file was written by a newer heirloom: use that one to open it. It was not changed.
    #[error(
        "the file has format {found}, this library knows {known}; open it with a newer heirloom"
    )]
    UnknownFormat {
        /// The format of the file.
        found: u64,
        /// The newest that this library knows.
        known: u64,
    },
    /// The file is no database (or what begins it is damaged), or a redb database but not of
    /// heirloom. It was not changed.
    #[error(
        "the file is no heirloom store, or its beginning is damaged; give another path, or a backup"
    )]
    NotAStore,
    /// No file is at this path, and one was to be there:
    /// see [`Builder::must_exist`](crate::Builder::must_exist).
    #[error(
        "there is no file at {}; give the right path, or let Builder::open make a store there",
        .0.display()
    )]
    NoFile(PathBuf),
    /// Something that is no regular file is at this path. It was not opened, so nothing waited for
    /// it and nothing was taken from it.
    #[error("{} is {what}, no file; give the path of a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file has no content: it was cut to nothing, or made by something else. A store is made
    /// where there is no file, never in one that is there. It was not changed.
    #[error(
        "the file {} has no content, so it is no store; bring its content back, or remove it if \
         nothing was in it",
        .0.display()
    )]
    EmptyFile(PathBuf),
    /// The file cannot be read beside a writer ([`Builder::shared`](crate::Builder::shared)): it
    /// was left by a process that was killed, or copied while it was in use, and only who may write
    /// can recover it.
    #[error(
        "{} was left by a process that was killed, or copied while it was in use; open it once to \
         write, or read it without Builder::shared",
        .0.display()
    )]
    NeedsWriter(PathBuf),
    /// While the store was open its file was removed, replaced, cut or written by somebody else.
    /// What was acknowledged before is wherever that file went; nothing more is written, to it or
    /// to what stands at the path now.
    #[error(
        "the file of this store changed while it was open: {what} ({}); put the right file in its \
         place and open it again, or save what can still be read with Engine::backup",
        path.display()
    )]
    FileChanged {
        /// Where the store was opened.
        path: PathBuf,
        /// What happened to it.
        what: &'static str,
    },
    /// The process forked, and this is not the one that opened the store. Nothing was read or
    /// written; the store goes on in the process that opened it.
    #[error(
        "this process was forked from the one that opened the store; open it here after it was \
         closed there"
    )]
    Forked,
    /// Another process, or another engine of this one, has the file open: close that first.
    #[error(
        "the store is open elsewhere; close it there first, or let both ends open it with \
         Builder::shared, one to write and the others to read"
    )]
    AlreadyOpen,
    /// The storage below failed.
    #[error(
        "the storage failed: {0}; see to the path, the space and the disk, then open the store \
         again"
    )]
    Storage(#[source] Box<redb::Error>),
    /// Something is at this path already, and a copy, or a store that must be new, is never written
    /// over it: give another path, or move that away.
    #[error("{} exists; give another path, or move that file away", .0.display())]
    FileExists(PathBuf),
    /// A copy could not be written, for want of space or of the right to write there. The store
    /// itself is as it was, and nothing stands at that path.
    #[error(
        "no copy could be written to {}: {why}; see to space and rights there, or give another \
         path",
        path.display()
    )]
    NotWritten {
        /// Where it was to go.
        path: PathBuf,
        /// What the storage said.
        #[source]
        why: Box<redb::Error>,
    },
    /// The storage failed before, so nothing more is written, and nothing that is not in memory can
    /// be read: close the store and open it again. All that was acknowledged is there.
    #[error(
        "the storage failed before; open the store again to go on, with all that was acknowledged"
    )]
    Poisoned,
    /// The engine was closed.
    #[error("the engine was closed; open it again")]
    Closed,
    /// The store was [opened to read it](crate::Builder::open_read_only): nothing of it may change.
    #[error("the store was opened to be read only; open it with Builder::open to change it")]
    ReadOnly,
}

impl Error {
    /// Whether the same call may succeed a little later though nobody changes call, store or
    /// application: somebody else has the file open, or the system was too busy.
    ///
    /// All others stay until somebody acts: see the list above and the text of the error. A store
    /// that gave [`Storage`](Self::Storage) must be opened again, whether the cause was passing or
    /// not.
    ///
    /// ```
    /// use heirloom::{Engine, Error};
    /// # let dir = std::env::temp_dir().join(format!("heirloom-transient-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir).unwrap();
    /// # let path = dir.join("store");
    /// let engine = Engine::open(&path)?;
    /// let second = Engine::open(&path).unwrap_err();
    /// assert!(matches!(second, Error::AlreadyOpen) && second.is_transient());
    /// # engine.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn is_transient(&self) -> bool {
        use std::io::ErrorKind::{Interrupted, ResourceBusy, TimedOut, WouldBlock};
        match self {
            Error::AlreadyOpen => true,
            Error::Storage(why) | Error::NotWritten { why, .. } => match why.as_ref() {
                redb::Error::Io(e) => {
                    matches!(e.kind(), Interrupted | ResourceBusy | TimedOut | WouldBlock)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether it says that a record of the log cannot be read.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Error::Corrupt { table: Table::Log, .. })
    }

    pub(crate) fn corrupt(
        table: Table,
        key: impl std::fmt::Display,
        what: impl std::fmt::Display,
    ) -> Self {
        Error::Corrupt { table, key: key.to_string(), what: what.to_string() }
    }
}

impl From<Misfit> for Error {
    fn from(misfit: Misfit) -> Self {
        Error::Misfit(Box::new(misfit))
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(malformed) => Error::Refused(malformed),
            Fault::Invalid(invalid) => Error::Invalid(invalid),
            Fault::LogFull => Error::LogFull,
            Fault::Unseen { log, sequence } => ImportFault::UnseenParent { log, sequence }.into(),
            Fault::NoType(entity) => {
                Error::corrupt(Table::Types, entity, "an entity without a type")
            }
        }
    }
}

impl From<Error> for ReplicaError {
    /// Sorts by who must act, so that a bad peer never looks like a bad disk.
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(malformed) => ReplicaError::Refused(malformed),
            Error::OutOfOrder { log, first } => ReplicaError::OutOfOrder { log, first },
            Error::WrongDataset { ours, theirs } => ReplicaError::WrongDataset { ours, theirs },
            ours => ReplicaError::store(ours),
        }
    }
}
