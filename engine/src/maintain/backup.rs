//! Copies of a store in use: a backup, which is another store with the same past, and a compact
//! copy that takes the store's place.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::store::{Medium, Partial, Target, keep_name, room};
use crate::traced::TRACED;

/// How far a backup is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct BackupProgress {
    /// Rows of the store that are copied.
    pub rows: u64,
    /// Rows that there are.
    pub of: u64,
    /// Bytes in those that are copied, keys and values.
    pub bytes: u64,
}

/// What a compaction came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Compaction {
    /// Bytes that the store's file took on the disk; none if it lies in memory or on a storage of
    /// the application's own.
    pub before: Option<u64>,
    /// Bytes that the copy takes.
    pub after: u64,
}

impl Engine {
    /// Writes a backup to a new file: one consistent state, that of the last durable commit,
    /// while readers and writers go on. Returns how many bytes of the disk it takes; it is
    /// longer than that by the part of the journal that was never used.
    ///
    /// **To restore is to open it**, here or on another device, instead of the store or beside it.
    /// The backup is a store of its own: it has all entities, versions and logs, the dataset,
    /// the indexes, and of local types what was there; its first write opens a fresh log, which
    /// names as its predecessor the last commit that the store had written; it knows no peers, and
    /// none knows it. So whatever was written in the store after the backup comes back with the
    /// next sync, if it ever got to a peer, and stands beside what the backup wrote meanwhile. Any
    /// number of backups may be opened and written to, and the store too. Policies, rules and
    /// indexes are declared by the application when it opens it, as ever; a builder with a
    /// [`device_id`](crate::Builder::device_id) has to give a new one.
    ///
    /// ```
    /// use heirloom::{Content, Engine};
    /// # let dir = std::env::temp_dir().join(format!("heirloom-backup-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir).unwrap();
    /// # let path = dir.join("monday");
    /// let phone = Engine::builder().label("phone").dataset_name("home").in_memory()?;
    /// let lamp = phone.write(|tx| tx.create("lamp", &Content::new().with("name", "desk")))?;
    /// phone.backup(&path)?;
    /// drop(phone); // lost
    ///
    /// let phone = Engine::builder().label("phone").dataset_name("home").open(&path)?;
    /// assert_eq!(phone.snapshot()?.get(lamp)?.unwrap().get("name")?, Some("desk".into()));
    /// assert!(phone.verify()?.is_clean());
    /// # phone.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// It reads the whole file and checks the checksum of each row; it does not look at what the
    /// rows say, as [`verify`](Self::verify) does, which can be asked of the opened backup. While
    /// it runs redb keeps the pages of the state that it copies, so the file grows by what is
    /// rewritten meanwhile. It takes about 20 MiB of memory. The backup is written in key order
    /// without gaps, so it is mostly smaller than the store.
    ///
    /// The file gets its name when all of it is durable: a crash leaves none, but maybe one beside
    /// it whose name ends in `.partial` and that can be deleted.
    ///
    /// # Errors
    /// [`Error::FileExists`], [`Error::NotWritten`]. [`Error::Corrupt`] names a damaged row: a
    /// backup holds no damage. After an error nothing stands at that path, and the store is as it
    /// was.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.backup_with(path, |_| {})
    }

    /// Like [`backup`](Self::backup); says every few megabytes how far it is, with no lock held:
    /// the closure may read and write. If it panics, nothing stands at that path.
    pub fn backup_with(
        &self,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(BackupProgress),
    ) -> Result<u64> {
        let tables = self.store().tables()?;
        write_file(path.as_ref(), self.store().journal_bytes(), |target| {
            self.store().copy(&tables, false, target, &mut |copied| {
                progress(BackupProgress { rows: copied.rows, of: copied.of, bytes: copied.bytes });
            })
        })
    }

    /// Writes the store anew into another file, without the room that redb keeps free inside, and
    /// closes the store for all clones.
    ///
    /// The copy **is** the store: same log, same name among peers. It is there to take the file's
    /// place, and whoever writes to both makes one log into two ([`Fork`](crate::Fork)). So writers
    /// wait while it runs, and get [`Error::Closed`] then; readers go on until the end. For a
    /// second store there is [`backup`](Self::backup).
    ///
    /// ```
    /// # use heirloom::{Content, Engine};
    /// # let dir = std::env::temp_dir().join(format!("heirloom-compact-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir).unwrap();
    /// # let (path, compact) = (dir.join("store"), dir.join("compact"));
    /// # let engine = Engine::open(&path)?;
    /// # engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// let sizes = engine.compact_to(&compact)?;
    /// std::fs::rename(&compact, &path).expect("both are in one directory");
    /// let engine = Engine::open(&path)?;
    /// assert!(sizes.before.is_some_and(|before| sizes.after <= before));
    /// # engine.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`backup`](Self::backup); [`Error::Poisoned`] after a write that failed. After an
    /// error nothing stands at that path, and the store stays open for other clones.
    pub fn compact_to(self, path: impl AsRef<Path>) -> Result<Compaction> {
        let store = self.store();
        let size = |file: &PathBuf| fs::metadata(file).ok().map(|file| room(&file));
        let before = store.file.as_ref().and_then(size);
        let after =
            write_file(path.as_ref(), store.journal_bytes(), |target| store.move_to(target))?;
        Ok(Compaction { before, after })
    }
}

/// A file that is written under another name, and gets its own once it is whole. Returns how much
/// room it takes.
fn write_file(path: &Path, journal: u64, write: impl FnOnce(Target) -> Result<()>) -> Result<u64> {
    let failed = |e: io::Error| match e.kind() {
        ErrorKind::AlreadyExists => Error::FileExists(path.to_owned()),
        _ => Error::NotWritten { path: path.to_owned(), why: Box::new(redb::Error::Io(e)) },
    };
    let (partial, file) = Partial::create(path).map_err(failed)?;
    let backend = redb::backends::FileBackend::new(file);
    let backend = backend.map_err(|e| failed(io::Error::other(e)))?;
    write(Target::new(path, Medium::Other(Arc::new(backend)), journal)?)?;
    let size = partial.arrive(path, &keep_name).map_err(failed)?;
    tracing::info!(target: TRACED, size, "copied to another file");
    Ok(size)
}
