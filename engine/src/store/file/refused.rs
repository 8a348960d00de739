//! What redb says, as errors of ours.

use super::watched::Refusal;
use crate::error::Error;

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
