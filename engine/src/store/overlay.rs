//! A file that is only read: what redb writes to it (a repair after a kill, marks of its own) stays in memory.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use parking_lot::Mutex;
use redb::StorageBackend;

use crate::error::{Error, Result};

const PAGE: u64 = 4_096;

/// Holds the file with a shared lock: several may read it at once, and nobody write it meanwhile.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    len: u64,
    /// How much of the file still shows.
    shows: u64,
    written: HashMap<u64, Box<[u8]>>,
}

impl Overlay {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let storage = |e: io::Error| Error::from(redb::StorageError::from(e));
        let file = File::open(path).map_err(storage)?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Err(Error::AlreadyOpen),
            // where there are no locks there is none to honour
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        let len = file.metadata().map_err(storage)?.len();
        if len == 0 {
            return Err(Error::NotAStore);
        }
        Ok(Self { file, state: Mutex::new(State { len, shows: len, written: HashMap::new() }) })
    }

    /// A page as it is now.
    fn page(&self, state: &State, number: u64) -> io::Result<Box<[u8]>> {
        if let Some(page) = state.written.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE as usize].into_boxed_slice();
        let start = number * PAGE;
        let length = state.shows.saturating_sub(start).min(PAGE) as usize;
        read_at(&self.file, start, &mut page[..length])?;
        Ok(page)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let within = (at % PAGE) as usize;
            let length = rest.len().min(PAGE as usize - within);
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&self.page(&state, at / PAGE)?[within..within + length]);
            (at, rest) = (at + length as u64, later);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.written.retain(|number, _| number * PAGE < len);
        if let Some(last) = state.written.get_mut(&(len / PAGE)) {
            last[(len % PAGE) as usize..].fill(0);
        }
        (state.len, state.shows) = (len, state.shows.min(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let within = (at % PAGE) as usize;
            let length = rest.len().min(PAGE as usize - within);
            let mut page = self.page(&state, at / PAGE)?;
            page[within..within + length].copy_from_slice(&rest[..length]);
            state.written.insert(at / PAGE, page);
            (at, rest) = (at + length as u64, &rest[length..]);
        }
        state.len = state.len.max(at);
        Ok(())
    }
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

/// Only called under the overlay's lock, so nobody else moves the place.
#[cfg(not(unix))]
fn read_at(mut file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Write(u64, Vec<u8>),
        Resize(u64),
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_file_and_leaves_the_file_alone(
            first in proptest::collection::vec(any::<u8>(), 1..20_000),
            ops in proptest::collection::vec(prop_oneof![
                (0..20_000u64, proptest::collection::vec(any::<u8>(), 1..6_000)).prop_map(|(at, data)| Op::Write(at, data)),
                (1..24_000u64).prop_map(Op::Resize),
            ], 0..20),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            std::fs::write(&path, &first).unwrap();
            let overlay = Overlay::open(&path).unwrap();
            let mut naive = first.clone();
            for op in ops {
                match op {
                    Op::Write(at, data) => {
                        let end = at as usize + data.len();
                        naive.resize(naive.len().max(end), 0);
                        naive[at as usize..end].copy_from_slice(&data);
                        overlay.write(at, &data).unwrap();
                    }
                    Op::Resize(len) => {
                        naive.resize(len as usize, 0);
                        overlay.set_len(len).unwrap();
                    }
                }
                let mut found = vec![0; overlay.len().unwrap() as usize];
                overlay.read(0, &mut found).unwrap();
                prop_assert!(found == naive);
            }
            prop_assert!(overlay.read(naive.len() as u64, &mut [0]).is_err());
            prop_assert!(std::fs::read(&path).unwrap() == first);
        }
    }
}
