//! A file that is read and never written: what redb would write on opening and closing it stays in
//! memory (R37).
//!
//! redb itself opens a file to read only if its last user closed it. What a crash left, or lies on
//! a medium that cannot be written, has to be recovered first; over this it is, in memory: a header
//! and some pages.

use std::collections::btree_map::{BTreeMap, Entry};
use std::io;
use std::ops::Bound;
use std::path::Path;

use parking_lot::RwLock;
use redb::{BackendError, StorageBackend};

use super::watched::{WatchedFile, failed, open_file};
use crate::error::{Error, Result};

/// Bytes of a block: what is written is kept by blocks.
const BLOCK: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Overlay {
    below: WatchedFile,
    above: RwLock<Above>,
}

#[derive(Debug)]
struct Above {
    len: u64,
    /// The first bytes of the file that were not cut off. What lies behind them is zero, unless it
    /// was written.
    kept: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    /// Others may read the file meanwhile, nobody may write it: [`Error::AlreadyOpen`] if somebody
    /// has it open to write.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = failed;
        let below = WatchedFile::new(path, open_file(path, false)?)?;
        match below.try_lock_shared_range(Bound::Unbounded, Bound::Unbounded) {
            // where files cannot be locked, redb takes no lock either
            Ok(true) | Err(BackendError::Unsupported) => {}
            Ok(false) => return Err(Error::AlreadyOpen),
            Err(BackendError::Io(e)) => return Err(failed(e)),
            Err(e) => return Err(failed(io::Error::other(e))),
        }
        below.watch()?;
        let len = below.len().map_err(failed)?;
        Ok(Self { below, above: RwLock::new(Above { len, kept: len, blocks: BTreeMap::new() }) })
    }

    pub(crate) fn file(&self) -> WatchedFile {
        self.below.clone()
    }

    /// As the file has it, then zeros.
    fn read_below(&self, kept: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = kept.saturating_sub(offset).min(out.len() as u64) as usize;
        let (from_file, zeros) = out.split_at_mut(there);
        zeros.fill(0);
        if from_file.is_empty() { Ok(()) } else { self.below.read(offset, from_file) }
    }
}

fn check_within(len: u64, offset: u64, bytes: usize) -> io::Result<()> {
    match offset.checked_add(bytes as u64) {
        Some(end) if end <= len => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The parts of `offset .. offset + len` that lie in one block each: block, start in it, start in
/// the range, bytes.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let start = (at % BLOCK) as usize;
        let part = (BLOCK as usize - start).min(len - done);
        let out = (at / BLOCK, start, done, part);
        done += part;
        (part > 0).then_some(out)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.above.read().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let above = self.above.read();
        check_within(above.len, offset, out.len())?;
        self.read_below(above.kept, offset, out)?;
        for (block, start, at, bytes) in parts(offset, out.len()) {
            if let Some(written) = above.blocks.get(&block) {
                out[at..at + bytes].copy_from_slice(&written[start..start + bytes]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut above = self.above.write();
        above.kept = above.kept.min(len);
        above.len = len;
        above.blocks.retain(|block, _| block * BLOCK < len);
        // what is cut off does not come back when it grows again
        if let Some(last) = above.blocks.get_mut(&(len / BLOCK)) {
            last[(len % BLOCK) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = self.above.write();
        check_within(above.len, offset, data.len())?;
        let kept = above.kept;
        for (block, start, at, bytes) in parts(offset, data.len()) {
            let written = match above.blocks.entry(block) {
                Entry::Occupied(written) => written.into_mut(),
                Entry::Vacant(free) => {
                    let mut below = vec![0; BLOCK as usize].into_boxed_slice();
                    self.read_below(kept, block * BLOCK, &mut below)?;
                    free.insert(below)
                }
            };
            written[start..start + bytes].copy_from_slice(&data[at..at + bytes]);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Cut(u64),
        Read(u64, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let offset = 0..20_000u64;
        let step = prop_oneof![
            (offset.clone(), prop::collection::vec(any::<u8>(), 0..9_000))
                .prop_map(|(o, d)| Step::Write(o, d)),
            offset.clone().prop_map(Step::Cut),
            (offset, 0..9_000usize).prop_map(|(o, n)| Step::Read(o, n)),
        ];
        prop::collection::vec(step, 1..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: 64,
            ..ProptestConfig::default()
        })]

        #[test]
        fn it_reads_what_was_written_and_the_file_stays_as_it_is(
            steps in steps(),
            len in 0..15_000usize,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let file: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            std::fs::write(&path, &file).unwrap();
            let overlay = Overlay::open(&path).unwrap();
            let mut naive = file.clone();
            for step in steps {
                match step {
                    Step::Write(offset, data) => {
                        let range = offset as usize..offset as usize + data.len();
                        let fits = range.end <= naive.len();
                        prop_assert_eq!(overlay.write(offset, &data).is_ok(), fits);
                        if fits {
                            naive[range].copy_from_slice(&data);
                        }
                    }
                    Step::Cut(len) => {
                        overlay.set_len(len).unwrap();
                        naive.resize(len as usize, 0);
                    }
                    Step::Read(offset, bytes) => {
                        let mut out = vec![7; bytes];
                        let expected = naive.get(offset as usize..offset as usize + bytes);
                        let read = overlay.read(offset, &mut out).ok().map(|()| &out[..]);
                        prop_assert_eq!(read, expected);
                    }
                }
                prop_assert_eq!(overlay.len().unwrap(), naive.len() as u64);
            }
            let mut out = vec![7; naive.len()];
            overlay.read(0, &mut out).unwrap();
            prop_assert_eq!(out, naive);
            prop_assert_eq!(std::fs::read(&path).unwrap(), file);
        }
    }
}
