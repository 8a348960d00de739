//! A storage that reads as zeros behind its end.
//!
//! Where a tree of redb is damaged it may name a page that the file never had. An error of the
//! storage would make redb refuse all that is asked of it afterwards; zeros are no page, so that
//! only what needs that page is refused.

use std::io;
use std::ops::Bound;

use redb::{BackendError, StorageBackend};

use crate::error::Result;

#[derive(Debug)]
pub(crate) struct Padded<B>(pub(crate) B);

impl<B: StorageBackend> StorageBackend for Padded<B> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // what begins a file must be there; and the length is asked for where it matters alone
        match self.0.read(offset, out) {
            Err(e) if offset == 0 => Err(e),
            Err(e) => {
                let there = self.0.len()?.saturating_sub(offset).min(out.len() as u64) as usize;
                if there == out.len() {
                    return Err(e);
                }
                let (from_storage, behind) = out.split_at_mut(there);
                behind.fill(0);
                if from_storage.is_empty() { Ok(()) } else { self.0.read(offset, from_storage) }
            }
            done => done,
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
