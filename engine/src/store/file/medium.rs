//! What a store lies on: a file, or a storage that the application brought.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use redb::{BackendError, StorageBackend};

use super::watched::WatchedFile;

/// Bytes that can be read and written anywhere. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) enum Medium {
    File(WatchedFile),
    Other(Arc<dyn StorageBackend>),
}

impl Medium {
    fn backend(&self) -> &dyn StorageBackend {
        match self {
            Self::File(file) => file,
            Self::Other(backend) => &**backend,
        }
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        self.backend().len()
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend().set_len(len)
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend().read(offset, out)
    }

    /// Returns when these bytes are durable. What else was written may be, or not.
    pub(crate) fn write_durably(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_durably(offset, data),
            Self::Other(backend) => {
                backend.write(offset, data)?;
                backend.sync_data()
            }
        }
    }

    /// Writes zeros where nobody wrote yet: what is written there later then changes nothing that
    /// the file system knows of the file, and is durable sooner. Does nothing where that is no
    /// file.
    pub(crate) fn prepare(&self, offset: u64, bytes: usize) -> io::Result<()> {
        match self {
            Self::File(file) => file.write(offset, &vec![0; bytes]),
            Self::Other(_) => Ok(()),
        }
    }
}

/// The end of a medium, from a place on, as a storage of its own: redb's part of a store.
#[derive(Debug)]
pub(crate) struct Tail {
    medium: Medium,
    from: u64,
}

impl Tail {
    pub(crate) fn new(medium: Medium, from: u64) -> Self {
        Self { medium, from }
    }
}

fn beyond() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}

impl StorageBackend for Tail {
    fn len(&self) -> io::Result<u64> {
        Ok(self.medium.len()?.saturating_sub(self.from))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.medium.read(self.from.checked_add(offset).ok_or_else(beyond)?, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.medium.set_len(self.from.checked_add(len).ok_or_else(beyond)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.medium.backend().sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.medium.backend().write(self.from.checked_add(offset).ok_or_else(beyond)?, data)
    }

    fn close(&self) -> io::Result<()> {
        self.medium.backend().close()
    }

    // locks are of the whole: nobody else opens only a part
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.medium.backend().try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.medium.backend().try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.medium.backend().lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.medium.backend().lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.medium.backend().unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.medium.backend().query_lock_range(start, end)
    }
}
