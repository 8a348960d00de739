//! What can stop a replay.

use std::path::PathBuf;
use std::{fmt, io};

/// What can stop a replay. A difference that the checks find is none of these: it stands in the
/// summary.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The command line cannot be understood.
    Usage(String),
    /// There is no git binary to read the history with.
    GitMissing,
    /// No git repository at this place; with what git said.
    NotARepository(PathBuf, String),
    /// Git failed, or answered what git never answers.
    Git(String),
    /// The stores hold a history that this repository does not continue.
    OtherHistory(String),
    /// A store failed.
    Store(heirloom::Error),
    /// A sync failed otherwise than by the planned cuts.
    Sync(heirloom_sync::SyncError),
    /// A file, a pipe or a socket failed; with what was being done.
    Io(&'static str, io::Error),
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) => write!(f, "{what}\n\n{}", crate::args::USAGE),
            Self::GitMissing => {
                f.write_str("git is not on the PATH: a replay reads the history through it")
            }
            Self::NotARepository(path, said) => {
                write!(f, "{} is not in a git repository ({said})", path.display())
            }
            Self::Git(what) => write!(f, "git: {what}"),
            Self::OtherHistory(what) => write!(f, "{what}; replay it into a fresh --store"),
            Self::Store(error) => write!(f, "store: {error}"),
            Self::Sync(error) => write!(f, "sync: {error}"),
            Self::Io(doing, error) => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Sync(error) => Some(error),
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

impl From<heirloom::Error> for Error {
    fn from(error: heirloom::Error) -> Self {
        Self::Store(error)
    }
}

impl From<heirloom_sync::SyncError> for Error {
    fn from(error: heirloom_sync::SyncError) -> Self {
        Self::Sync(error)
    }
}

/// Says what was being done when it failed.
pub(crate) trait Doing<T> {
    /// Turns an I/O error into [`Error::Io`].
    fn doing(self, what: &'static str) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &'static str) -> Result<T> {
        self.map_err(|error| Error::Io(what, error))
    }
}
