//! What can go wrong, sorted by who must act.

use std::fmt;
use std::path::PathBuf;

use crate::format::Malformed;
use crate::misfit::Misfit;
use crate::model::{Dataset, EntityId, LogId, Path, VersionRef};
use crate::stale::StaleWrite;
use crate::store::Refusal;

/// Result with heirloom's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, whose fault it is, and what to do.
///
/// Who must act:
///
/// - the caller (nothing was written): `Invalid`, `Inside`, `Misfit`, `Limit`, `NoIndex`,
///   `NotFound`, `Deleted`, `Exists`, `Conflict`, `Rejected`, `CursorLost`, `NoFile`, `NotAFile`,
///   `FileExists`, `ReadOnly`, `Cancelled`, `Forked`;
/// - the application that registered the policies: `UnknownPolicy`, `PolicyFailed`;
/// - nobody here (the content is on another replica, or pruned): `Absent`;
/// - the peer that sent it (nothing of it was stored): `Refused`, `OutOfOrder`, `WrongDataset`;
/// - whoever keeps the file: `Corrupt`, `UnknownFormat`, `NotAStore`, `EmptyFile`, `NeedsWriter`,
///   `FileChanged`, `AlreadyOpen`, `Storage`, `NotWritten`, `Poisoned`, `Closed`.
///
/// Each is shown with its cause and with what to do. [`is_transient`](Self::is_transient) tells
/// which pass by themselves.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The call makes no sense as it is; the text says what to do instead.
    Invalid(String),
    /// A path leads into a variant or an atomic map, which is one value: set that as a whole.
    /// Nothing was written.
    Inside {
        /// The path, its keys joined by dots.
        path: String,
        /// Where the value stands that it leads into.
        value: String,
    },
    /// What is stored does not fit the type that it is read as: which field, by whom, and what to
    /// do. Nothing was written.
    Misfit(Box<Misfit>),
    /// A limit of the format would be broken (FORMAT.md, 1.12); write less at once.
    Limit {
        /// What is limited.
        what: &'static str,
        /// The most there may be.
        limit: u64,
        /// What was given.
        given: u64,
    },
    /// A query over a field that is not indexed: declare it with
    /// [`Builder::index`](crate::Builder::index).
    NoIndex {
        /// The entity type that was asked for.
        entity_type: String,
        /// The field, the keys of its path joined by dots.
        field: String,
    },
    /// No such entity here.
    NotFound(EntityId),
    /// The entity is deleted: restore it first.
    Deleted(EntityId),
    /// An entity with this id is here: change it instead, or restore it if it is deleted.
    Exists {
        /// The entity.
        entity: EntityId,
        /// It is shown as deleted.
        deleted: bool,
    },
    /// Somebody else changed what this write is based on: read it again and decide (R15). Carries
    /// both sides.
    Conflict(Box<StaleWrite>),
    /// A rule of the application refused the write (R8).
    Rejected {
        /// The entity.
        entity: EntityId,
        /// Its type, to which the rule belongs.
        entity_type: String,
        /// What the rule said.
        why: String,
    },
    /// No policy has this name (R18).
    UnknownPolicy(String),
    /// A custom policy panicked, answered two ways, or answered nonsense about this entity; all
    /// others can still be read.
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
    Absent(VersionRef),
    /// A [`Cursor`](crate::Cursor) names a place in the change log of another file, or one that
    /// this file, an older copy, has not reached: start again from
    /// [`Cursor::START`](crate::Cursor::START) or [`Engine::cursor`](crate::Engine::cursor).
    CursorLost,
    /// These bytes are not a commit.
    Refused(Malformed),
    /// A commit came before its predecessor or before a commit that it refers to.
    OutOfOrder {
        /// The log of the commit that came too early.
        log: LogId,
        /// Sequence of its first version.
        first: u64,
    },
    /// The data belongs to another dataset; replicas of different datasets never sync.
    WrongDataset {
        /// The dataset of this store.
        ours: Dataset,
        /// The other.
        theirs: Dataset,
    },
    /// An import brought other bytes for a commit that is here already: the source history was
    /// rewritten, or the import is not deterministic. Nothing was stored.
    ImportDiffers(VersionRef),
    /// The application broke off what it asked for. Nothing was changed.
    Cancelled,
    /// The file is damaged at this place; the rest stays usable. `verify` lists all such places,
    /// `repair` mends them.
    ///
    /// Pages of redb that are damaged are found by a panic of redb, which is caught. Your panic
    /// hook sees it, and prints it if it is the default one: this library sets none.
    Corrupt {
        /// The table.
        table: &'static str,
        /// The key, readable.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// The file was written by a newer heirloom: use that one to open it. It was not changed.
    UnknownFormat {
        /// The format of the file.
        found: u64,
        /// The newest that this library knows.
        known: u64,
    },
    /// The file is no database (or what begins it is damaged), or a redb database but not of
    /// heirloom. It was not changed.
    NotAStore,
    /// No file is at this path, and one was to be there:
    /// see [`Builder::must_exist`](crate::Builder::must_exist).
    NoFile(PathBuf),
    /// Something that is no regular file is at this path. It was not opened, so nothing waited for
    /// it and nothing was taken from it.
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file has no content: it was cut to nothing, or made by something else. A store is made
    /// where there is no file, never in one that is there. It was not changed.
    EmptyFile(PathBuf),
    /// The file cannot be read beside a writer ([`Builder::shared`](crate::Builder::shared)): it
    /// was left by a process that was killed, or copied while it was in use, and only who may write
    /// can recover it.
    NeedsWriter(PathBuf),
    /// While the store was open its file was removed, replaced, cut or written by somebody else.
    /// What was acknowledged before is wherever that file went; nothing more is written, to it or
    /// to what stands at the path now.
    FileChanged {
        /// Where the store was opened.
        path: PathBuf,
        /// What happened to it.
        what: &'static str,
    },
    /// The process forked, and this is not the one that opened the store. Nothing was read or
    /// written; the store goes on in the process that opened it.
    Forked,
    /// Another process, or another engine of this one, has the file open: close that first.
    AlreadyOpen,
    /// The storage below failed.
    Storage(Box<redb::Error>),
    /// Something is at this path already, and a copy, or a store that must be new, is never written
    /// over it: give another path, or move that away.
    FileExists(PathBuf),
    /// A copy could not be written, for want of space or of the right to write there. The store
    /// itself is as it was, and nothing stands at that path.
    NotWritten {
        /// Where it was to go.
        path: PathBuf,
        /// What the storage said.
        why: Box<redb::Error>,
    },
    /// The storage failed before, so nothing more is written, and nothing that is not in memory can
    /// be read: close the store and open it again. All that was acknowledged is there.
    Poisoned,
    /// The engine was closed.
    Closed,
    /// The store was [opened to read it](crate::Builder::open_read_only): nothing of it may change.
    ReadOnly,
}

impl Error {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Error::Invalid(text.into())
    }

    /// Whether the same call may succeed a little later though nobody changes call, store or
    /// application: somebody else has the file open, or the system was too busy.
    ///
    /// All others stay until somebody acts: see the table above and the text of the error. A store
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

    pub(crate) fn inside(path: &Path, value: &Path) -> Self {
        Error::Inside { path: path.to_string(), value: value.to_string() }
    }

    pub(crate) fn corrupt(
        table: &'static str,
        key: impl fmt::Display,
        what: impl fmt::Display,
    ) -> Self {
        Error::Corrupt { table, key: key.to_string(), what: what.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(text) => f.write_str(text),
            Error::Inside { path, value } => {
                write!(f, "{path} leads into {value}, which is one value; set {value} as a whole")
            }
            Error::Misfit(misfit) => write!(f, "{misfit}"),
            Error::Limit { what, limit, given } => {
                let advice = match *what {
                    "depth" => "nest less deeply",
                    "bytes of a key" | "bytes of the actor" | "bytes of the message" => {
                        "shorten it"
                    }
                    "bytes of a version" => "spread the content over several entities",
                    _ => "write less at once",
                };
                write!(f, "{what}: {given} exceeds the format's limit of {limit}; {advice}")
            }
            Error::NoIndex { entity_type, field } => {
                write!(
                    f,
                    "field {field} of {entity_type:?} has no index; declare it with Builder::index"
                )
            }
            Error::NotFound(id) => write!(f, "no entity {id} here; create it, or sync first"),
            Error::Deleted(id) => {
                write!(f, "entity {id} is deleted; restore it before changing it")
            }
            Error::Exists { entity, deleted: false } => {
                write!(f, "entity {entity} exists; patch it instead of creating it")
            }
            Error::Exists { entity, deleted: true } => {
                write!(
                    f,
                    "entity {entity} exists and is deleted; restore it instead of creating it"
                )
            }
            Error::Conflict(stale) => write!(f, "{stale}; read it again and decide"),
            Error::Rejected { entity, entity_type, why } => {
                write!(f, "{entity_type} {entity} breaks a rule: {why}; correct it and write again")
            }
            Error::UnknownPolicy(name) => write!(
                f,
                "no policy is called {name:?}; use auto, merge_fields, delete_wins, update_wins, \
                 last_write_wins, first_write_wins, higher_version_wins, manual, or register a \
                 custom one under that name"
            ),
            Error::PolicyFailed { policy, entity, why } => {
                write!(
                    f,
                    "policy {policy} failed on entity {entity}: {why}; mend the policy, it must \
                     be pure"
                )
            }
            Error::Absent(version) => {
                write!(
                    f,
                    "the content of version {version} is not here; sync with a peer that has it"
                )
            }
            Error::CursorLost => f.write_str(
                "the cursor is of another file, or this one was replaced by an older copy; start \
                 again from Cursor::START or Engine::cursor()",
            ),
            Error::Refused(malformed) => write!(f, "refused bytes that are no commit: {malformed}"),
            Error::OutOfOrder { log, first } => {
                write!(
                    f,
                    "commit {log}/{first} came before one that it builds on; the sender breaks \
                     the causal order"
                )
            }
            Error::WrongDataset { ours, theirs } => {
                write!(
                    f,
                    "this store holds dataset {ours}, not {theirs}; open it under its own, or \
                     take the right one"
                )
            }
            Error::ImportDiffers(at) => {
                write!(
                    f,
                    "the import has another commit at {at} than the store; the source history was \
                     rewritten"
                )
            }
            Error::Corrupt { table, key, what } => {
                write!(f, "damaged record in table {table} at {key}: {what}")
            }
            Error::UnknownFormat { found, known } => {
                write!(
                    f,
                    "the file has format {found}, this library knows {known}; open it with a \
                     newer heirloom"
                )
            }
            Error::NotAStore => f.write_str(
                "the file is no heirloom store, or its beginning is damaged; give another \
                     path, or a backup",
            ),
            Error::NoFile(path) => write!(
                f,
                "there is no file at {}; give the right path, or let Builder::open make a store \
                 there",
                path.display()
            ),
            Error::NotAFile { path, what } => {
                write!(f, "{} is {what}, no file; give the path of a regular file", path.display())
            }
            Error::EmptyFile(path) => write!(
                f,
                "the file {} has no content, so it is no store; bring its content back, or \
                 remove it if nothing was in it",
                path.display()
            ),
            Error::NeedsWriter(path) => write!(
                f,
                "{} was left by a process that was killed, or copied while it was in use; open it \
                 once to write, or read it without Builder::shared",
                path.display()
            ),
            Error::FileChanged { path, what } => write!(
                f,
                "the file of this store changed while it was open: {what} ({}); put the right file \
                 in its place and open it again, or save what can still be read with \
                 Engine::backup",
                path.display()
            ),
            Error::Forked => f.write_str(
                "this process was forked from the one that opened the store; open it here after \
                 it was closed there",
            ),
            Error::AlreadyOpen => f.write_str(
                "the store is open elsewhere; close it there first, or let both ends open it with \
                 Builder::shared, one to write and the others to read",
            ),
            Error::Storage(e) => {
                write!(
                    f,
                    "the storage failed: {e}; see to the path, the space and the disk, then open \
                     the store again"
                )
            }
            Error::FileExists(path) => {
                write!(f, "{} exists; give another path, or move that file away", path.display())
            }
            Error::NotWritten { path, why } => {
                write!(
                    f,
                    "no copy could be written to {}: {why}; see to space and rights there, or give \
                     another path",
                    path.display()
                )
            }
            Error::Poisoned => f.write_str(
                "the storage failed before; open the store again to go on, with all that was \
                     acknowledged",
            ),
            Error::ReadOnly => f.write_str(
                "the store was opened to be read only; open it with Builder::open to change it",
            ),
            Error::Cancelled => f.write_str("it was broken off"),
            Error::Closed => f.write_str("the engine was closed; open it again"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Storage(e) | Error::NotWritten { why: e, .. } => Some(e.as_ref()),
            Error::Refused(e) => Some(e),
            _ => None,
        }
    }
}

impl From<redb::Error> for Error {
    fn from(e: redb::Error) -> Self {
        if let redb::Error::Io(io) = &e
            && let Some(refusal) = Refusal::of(io)
        {
            return refusal.into_error();
        }
        match e {
            // the same under another version of redb
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                Error::AlreadyOpen
            }
            redb::Error::DatabaseClosed => Error::Closed,
            redb::Error::PreviousIo => Error::Poisoned,
            e => Error::Storage(Box::new(e)),
        }
    }
}

macro_rules! from_redb {
    ($($kind:ident),*) => {
        $(impl From<redb::$kind> for Error {
            fn from(e: redb::$kind) -> Self {
                redb::Error::from(e).into()
            }
        })*
    };
}

from_redb!(StorageError, TableError, TransactionError, CommitError, DatabaseError);
