//! Errors say what happened, why, and whether it passes by itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use heirloom::{Content, Engine, EntityId, Error};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

/// A disk that fails when it is told to.
#[derive(Debug)]
struct Disk(InMemoryBackend, Arc<AtomicBool>);

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        match self.1.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the cable is loose")),
            false => Ok(()),
        }
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

#[test]
fn each_error_shows_its_cause_and_passes_by_itself_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let fails = Arc::new(AtomicBool::new(false));
    let disk = Engine::builder().open_backend(Disk(InMemoryBackend::new(), fails.clone())).unwrap();
    fails.store(true, Ordering::Relaxed);
    let storage = disk.write(|tx| tx.create("lamp", &Content::new())).unwrap_err();
    let poisoned = disk.write(|tx| tx.create("lamp", &Content::new())).unwrap_err();
    let engine = Engine::open(&path).unwrap();
    let open = Engine::open(&path).unwrap_err();
    let not_written = engine.backup(dir.path().join("no/such/place")).unwrap_err();
    let passing = |kind: io::ErrorKind| Error::from(redb::Error::Io(kind.into()));
    let unknown = EntityId::from_bytes([1; 16]);
    let cases = [
        (&storage, "the cable is loose", false),
        (&poisoned, "open the store again", false),
        (&open, "close it there first", true),
        (&not_written, "No such file or directory", false),
        (&passing(io::ErrorKind::Interrupted), "the storage failed", true),
        (&passing(io::ErrorKind::TimedOut), "the storage failed", true),
        (&passing(io::ErrorKind::StorageFull), "the storage failed", false),
        (&Error::NotFound(unknown), "create it, or sync first", false),
        (&Error::Exists { entity: unknown, deleted: false }, "patch it instead", false),
        (&Error::Exists { entity: unknown, deleted: true }, "restore it instead", false),
        (&Error::Deleted(unknown), "restore it", false),
        (&Error::NoFile(path.clone()), "there is no file", false),
        (&Error::EmptyFile(path.clone()), "no content", false),
        (&Error::NeedsWriter(path.clone()), "open it once to write", false),
        (&Error::Forked, "forked", false),
    ];
    for (error, says, passes) in cases {
        let text = error.to_string();
        assert!(text.contains(says), "{text}");
        assert_eq!(error.is_transient(), passes, "{text}");
    }
}
