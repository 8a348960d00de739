//! redb's part of a store, found as FORMAT.md, 2.0 says, without the engine: for tests that look
//! into its tables, or write there what the engine never would.

use std::io;
use std::path::Path;

use redb::StorageBackend;

/// Where it begins, by the first bytes of a store's file.
pub fn tables_at(first: &[u8]) -> u64 {
    let ring = first[20..28].try_into().expect("eight bytes");
    4096 + u64::from_be_bytes(ring)
}

/// The part of a storage in which redb's tables lie.
#[derive(Debug)]
pub struct TablesPart<B> {
    below: B,
    from: u64,
}

impl<B: StorageBackend> TablesPart<B> {
    /// Of a storage that holds a store.
    pub fn of(below: B) -> io::Result<Self> {
        let mut first = [0; 32];
        below.read(0, &mut first)?;
        Ok(Self { below, from: tables_at(&first) })
    }
}

/// The tables of a store's file.
pub fn open_tables(path: impl AsRef<Path>) -> redb::Database {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("a file");
    tables_on(redb::backends::FileBackend::new(file).expect("a file"))
}

/// The tables of a store on any storage.
pub fn tables_on(below: impl StorageBackend) -> redb::Database {
    let part = TablesPart::of(below).expect("a store");
    redb::Database::builder().create_with_backend(part).expect("tables")
}

/// A file that is divided as one of a store, with nothing in its tables.
pub fn create_tables(path: impl AsRef<Path>) -> redb::Database {
    const RING: u64 = 64 << 10;
    let mut page = b"heirloom store\r\n".to_vec();
    page.extend_from_slice(&1u32.to_be_bytes());
    page.extend_from_slice(&RING.to_be_bytes());
    page.extend_from_slice(&crc32fast::hash(&page).to_be_bytes());
    page.resize(4096 + RING as usize, 0);
    std::fs::write(&path, page).expect("a file");
    open_tables(path)
}

impl<B: StorageBackend> StorageBackend for TablesPart<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.below.len()?.saturating_sub(self.from))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.below.read(self.from + offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(self.from + len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.below.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.below.write(self.from + offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }
}
