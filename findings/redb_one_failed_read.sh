#!/usr/bin/env bash
# redb 4.6: after one read that the storage refused, nothing that is not in redb's cache can be
# read, and nothing can be written, until the database is opened again, however well the storage is.
#
# Guess: a refused read is an error of that call, as it is with a file; the next call, on a storage
# that is well again, gives the row, and writing goes on.
# Seen: from then on each read that needs the storage, and each write, is PreviousIo. What is in the
# cache is still read, so whether a row can be had depends on what was read before. A new opening
# gives everything; nothing was lost.
# So a store on redb has to treat a failed read like a failed write: say so, close, open again.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "one-failed-read"
version = "0.0.0"
edition = "2024"

[dependencies]
redb = "=4.6.0"
TOML
cat > "$dir/src/main.rs" <<'RUST'
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

/// Memory that outlives the database, whose next read can be told to fail.
#[derive(Clone, Default, Debug)]
struct Memory(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>);

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.1.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("the cable was loose for a moment"));
        }
        let bytes = self.0.lock().unwrap();
        out.copy_from_slice(&bytes[offset as usize..offset as usize + out.len()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap()[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn open(memory: &Memory) -> Database {
    Database::builder().set_cache_size(64 << 10).create_with_backend(memory.clone()).unwrap()
}

/// What reading a row gives, in words.
fn read(database: &Database, key: u64) -> String {
    let row = || -> Result<usize, redb::Error> {
        let table = database.begin_read()?.open_table(TABLE)?;
        Ok(table.get(key)?.map_or(0, |row| row.value().len()))
    };
    match row() {
        Ok(length) => format!("{length} bytes"),
        Err(error) => format!("{error:?}").chars().take(10).collect(),
    }
}

fn main() {
    let memory = Memory::default();
    let database = open(&memory);
    let write = database.begin_write().unwrap();
    {
        let mut table = write.open_table(TABLE).unwrap();
        for key in 0..500 {
            table.insert(key, &[7; 1000][..]).unwrap();
        }
    }
    write.commit().unwrap();
    drop(database);

    let database = open(&memory);
    println!("row 1, sound:           {}", read(&database, 1));
    memory.1.store(true, Ordering::SeqCst);
    // far from row 1, so that it is in no cache
    println!("row 400, read refused:  {}", read(&database, 400));
    println!("row 400, sound again:   {}", read(&database, 400));
    println!("row 1, read before:     {}", read(&database, 1));
    println!("a write:                {}", match database.begin_write() {
        Ok(_) => "begins".to_owned(),
        Err(error) => format!("{error:?}"),
    });
    drop(database);
    println!("row 400, opened again:  {}", read(&open(&memory), 400));
}
RUST
seen=$(cargo run --quiet --release --manifest-path "$dir/Cargo.toml")
echo "redb 4.6.0"
echo "$seen"
expected='row 1, sound:           1000 bytes
row 400, read refused:  Io(Custom 
row 400, sound again:   PreviousIo
row 1, read before:     1000 bytes
a write:                Storage(PreviousIo)
row 400, opened again:  1000 bytes'
[ "$seen" = "$expected" ] || { echo "that has changed"; exit 1; }
