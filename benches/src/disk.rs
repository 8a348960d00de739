//! A file that counts what is written to it: bytes and syncs are exact where milliseconds are not.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// What a store wrote.
#[derive(Default, Debug)]
pub(crate) struct Counts {
    written: AtomicU64,
    syncs: AtomicU64,
}

impl Counts {
    /// Bytes and syncs so far.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.syncs.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
pub(crate) struct CountedFile {
    file: FileBackend,
    counts: Arc<Counts>,
}

impl CountedFile {
    pub(crate) fn create(path: &Path) -> (Self, Arc<Counts>) {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let file =
            FileBackend::new(file.expect("a temporary file")).expect("no other process has it");
        let counts = Arc::new(Counts::default());
        (Self { file, counts: counts.clone() }, counts)
    }
}

impl StorageBackend for CountedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.counts.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
