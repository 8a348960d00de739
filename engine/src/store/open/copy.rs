//! A copy of one consistent state in a fresh file: row by row in the order of keys, so that it is
//! as small as a file with these rows can be.

use std::path::{Path, PathBuf};

use redb::{Database, Durability};

use crate::error::{Error, Result, Table};
use crate::store::commit::Store;
use crate::store::file::{Layout, Medium, Tail};
use crate::store::rows::{
    FINGERPRINT, FORMAT, JOURNAL, NODE, OWN, PREDECESSOR, ReadTable, Tables, WriteTables,
    create_tables, tables, transact, unseal,
};

/// Bytes of rows that one transaction of the copy writes.
const SLICE: u64 = 4 << 20;
/// Memory for its pages.
const CACHE: usize = 16 << 20;

/// In the order in which they are copied. A copy that is another store has the first nine, and the
/// indexes where there are any.
const OF_DATA: &[Table] = &[
    Table::Meta,
    Table::Logs,
    Table::Types,
    Table::TypeNames,
    Table::Log,
    Table::Dots,
    Table::Heads,
    Table::ByType,
    Table::Unsettled,
];
const OF_PEERS: &[Table] = &[Table::Staging, Table::Peers];

/// How far a copy is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Copied {
    pub(crate) rows: u64,
    pub(crate) of: u64,
    pub(crate) bytes: u64,
}

/// The file that a copy goes to.
pub(crate) struct Target {
    /// As the caller knows it.
    path: PathBuf,
    database: Database,
}

impl Target {
    /// `journal`: bytes of the ring that it gets.
    pub(crate) fn new(path: &Path, medium: Medium, journal: u64) -> Result<Self> {
        let failed = |e: redb::DatabaseError| not_written(path, e);
        let (layout, _) =
            Layout::open_or_create(&medium, Layout::with_ring(journal)).map_err(|e| match e {
                Error::Storage(why) => not_written(path, *why),
                other => other,
            })?;
        let backend = Tail::new(medium, layout.tables_at());
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create_with_backend(backend)
            .map_err(failed)?;
        let target = Self { path: path.to_owned(), database };
        match create_tables(&target.database) {
            Err(Error::Storage(why)) => Err(not_written(path, *why)),
            other => other.map(|()| target),
        }
    }

    /// An error of the target, which is not one of the store.
    fn failed(&self) -> impl Fn(Error) -> Error {
        |e| match e {
            Error::Storage(why) => not_written(&self.path, *why),
            Error::Poisoned => not_written(&self.path, redb::Error::PreviousIo),
            other => other,
        }
    }

    fn transact<T>(
        &self,
        durability: Durability,
        write: impl FnOnce(&WriteTables) -> Result<T>,
    ) -> Result<T> {
        let mut of_write = None;
        let write = |tx: &WriteTables| {
            write(tx).map_err(|e| {
                of_write = Some(e);
                Error::Cancelled
            })
        };
        let done = transact(&self.database, durability, write);
        match of_write {
            Some(e) => Err(e),
            None => done.map_err(self.failed()),
        }
    }

    /// Makes all of it durable.
    fn close(self) -> Result<()> {
        self.transact(Durability::Immediate, |_| Ok(()))?;
        self.database.close().map_err(|e| not_written(&self.path, e))
    }
}

fn not_written(path: &Path, why: impl Into<redb::Error>) -> Error {
    Error::NotWritten { path: path.to_owned(), why: Box::new(why.into()) }
}

impl Store {
    /// Copies what these tables show, durably. `same`: the copy is this store, to replace it; else
    /// it is another one, that shares nothing with this but the past.
    pub(crate) fn copy(
        &self,
        tables: &Tables,
        same: bool,
        target: Target,
        progress: &mut dyn FnMut(Copied),
    ) -> Result<()> {
        // the copy would have the holes, and nothing that tells of them
        self.check_journal(tables)?;
        let mut sources = Vec::new();
        for table in OF_DATA.iter().chain(&Table::OF_SOME).chain(OF_PEERS.iter().filter(|_| same)) {
            if let Some(rows) = tables.optional(*table)? {
                sources.push((table, rows));
            }
        }
        let mut copied = Copied::default();
        for (_, rows) in &sources {
            copied.of += rows.len()?;
        }
        for (table, rows) in &sources {
            let is_left_out = |key: &[u8]| **table == Table::Meta && is_left_out(key, same);
            copy_table(table, rows, &target, &is_left_out, &mut copied, progress)?;
        }
        if !same && let Some(row) = self.predecessor_of_copy(tables)? {
            target.transact(Durability::None, |tx| {
                let mut meta = tx.open_table(Table::Meta).map_err(target.failed())?;
                meta.insert(PREDECESSOR.as_bytes(), &row[..]).map_err(target.failed())?;
                Ok(())
            })?;
        }
        target.close()
    }

    /// A last copy that is this store; then the store is closed, so that no write is lost between.
    pub(crate) fn move_to(&self, target: Target) -> Result<()> {
        // not inside a write, and not after one that failed
        drop(self.writer()?);
        self.close_after(|| {
            if self.group.is_broken() {
                return Err(self.broken());
            }
            self.copy(&*self.tables()?, true, target, &mut |_| {})
        })
    }
}

/// Whether a row of `meta` is not copied: the target has its own format, and another store its own
/// identity.
fn is_left_out(name: &[u8], same: bool) -> bool {
    let of_identity = [OWN, PREDECESSOR, NODE].iter().any(|n| n.as_bytes() == name);
    // a new file has a format, a journal and a fingerprint of its own
    [FORMAT, FINGERPRINT, JOURNAL].iter().any(|n| n.as_bytes() == name) || of_identity && !same
}

fn copy_table(
    table: &'static Table,
    source: &ReadTable,
    target: &Target,
    is_left_out: &dyn Fn(&[u8]) -> bool,
    copied: &mut Copied,
    progress: &mut dyn FnMut(Copied),
) -> Result<()> {
    let mut rows = source.range::<&[u8]>(..)?;
    let mut more = true;
    while more {
        more = target.transact(Durability::None, |tx| {
            let mut out = tx.open_table(*table).map_err(target.failed())?;
            let until = copied.bytes + SLICE;
            while copied.bytes < until {
                let Some(row) = rows.next() else { return Ok(false) };
                let (key, value) = row?;
                let (key, value) = (key.value(), value.value());
                if tables::is_sealed(*table) {
                    unseal(*table, key, value)?;
                }
                copied.rows += 1;
                copied.bytes += (key.len() + value.len()) as u64;
                if !is_left_out(key) {
                    out.insert(key, value).map_err(target.failed())?;
                }
            }
            Ok(true)
        })?;
        progress(*copied);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::Content;
    use crate::engine::Engine;

    /// A disk on which so many bytes can still be written.
    #[derive(Debug)]
    struct Disk(InMemoryBackend, Arc<AtomicU64>);

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
            Ok(())
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            let left = |free: u64| free.checked_sub(data.len() as u64);
            self.1
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
                .map_err(|_| io::ErrorKind::StorageFull)?;
            self.0.write(offset, data)
        }
    }

    #[test]
    fn a_disk_that_is_full_is_an_error_and_the_store_goes_on() {
        let engine = Engine::in_memory().unwrap();
        let mut text = String::new();
        for i in 0..200_000u32 {
            text.push(char::from(33 + (i.wrapping_mul(2_654_435_761) >> 26) as u8));
        }
        for _ in 0..40 {
            engine
                .write(|tx| tx.create("noise", &Content::new().with("text", text.clone())))
                .unwrap();
        }
        let free = Arc::new(AtomicU64::new(u64::MAX));
        let copy = |bytes: u64, same: bool| {
            free.store(bytes, Ordering::Relaxed);
            let disk = Disk(InMemoryBackend::new(), free.clone());
            let target = Target::new(Path::new("there"), Medium::Other(Arc::new(disk)), 0)?;
            let store = engine.store();
            if same {
                store.move_to(target)
            } else {
                store.copy(&*store.tables()?, same, target, &mut |_| {})
            }
        };
        copy(u64::MAX, false).unwrap();
        let needed = u64::MAX - free.load(Ordering::Relaxed);
        for part in 0..20 {
            for same in [false, true] {
                let error = copy(needed * part / 20, same).unwrap_err();
                assert!(
                    matches!(&error, Error::NotWritten { path, .. } if path == Path::new("there")),
                    "{error}"
                );
                engine.write(|tx| tx.create("lamp", &Content::new())).unwrap();
            }
        }
        assert!(engine.verify().unwrap().is_clean());
        copy(u64::MAX, true).unwrap();
        assert!(matches!(engine.snapshot(), Err(Error::Closed)));
    }
}
