//! The file of a store: what may be opened, how a new one comes into being, and whether it is still
//! the one that was opened.

use std::fmt;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::error::{Error, Result};

/// Which files are opened to be written.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Wanted {
    /// The one that is there, or a new one.
    #[default]
    Any,
    Existing,
    New,
}

/// Whether a store can be opened here. False if there is nothing.
pub(crate) fn is_there(path: &Path) -> Result<bool> {
    // asked before it is opened: opening a pipe waits for its other end
    match fs::metadata(path) {
        Ok(found) => {
            check_kind(path, &found)?;
            if found.len() == 0 { Err(Error::EmptyFile(path.to_owned())) } else { Ok(true) }
        }
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(e)),
        Err(_) if fs::symlink_metadata(path).is_ok() => {
            not_a_file(path, "a link that leads nowhere")
        }
        Err(_) => Ok(false),
    }
}

/// Opens the file of a store that is there.
pub(crate) fn open_file(path: &Path, to_write: bool) -> Result<File> {
    let file = OpenOptions::new().read(true).write(to_write).open(path).map_err(failed)?;
    // it may have been exchanged since it was looked at
    check_kind(path, &file.metadata().map_err(failed)?)?;
    Ok(file)
}

fn check_kind(path: &Path, found: &Metadata) -> Result<()> {
    if found.is_file() { Ok(()) } else { not_a_file(path, kind(found.file_type())) }
}

fn not_a_file<T>(path: &Path, what: &'static str) -> Result<T> {
    Err(Error::NotAFile { path: path.to_owned(), what })
}

fn kind(found: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "a pipe";
        }
        if found.is_socket() {
            return "a socket";
        }
        if found.is_block_device() || found.is_char_device() {
            return "a device";
        }
    }
    if found.is_dir() { "a directory" } else { "something else" }
}

pub(crate) fn failed(e: io::Error) -> Error {
    redb::StorageError::Io(e).into()
}

/// Why the file is no longer touched. Travels through redb inside an [`io::Error`].
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Changed { path: PathBuf, what: &'static str },
    Forked,
}

impl Refusal {
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().cloned()
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Changed { path, what } => Error::FileChanged { path, what },
            Self::Forked => Error::Forked,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clone().into_error().fmt(f)
    }
}

impl std::error::Error for Refusal {}

/// The process that opened a store. After a fork two would go on with what only one may write, and
/// give back locks that both share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    /// Costs a system call.
    pub(crate) fn is_this(self) -> bool {
        self.0 == std::process::id()
    }
}

/// A file below redb that is watched: only what is still at its path, and as it was written here,
/// is written. Clones are the same file.
#[derive(Clone, Debug)]
pub(crate) struct WatchedFile(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    below: FileBackend,
    /// The same open file.
    file: File,
    /// Absolute, so that it means the same wherever the process goes.
    path: PathBuf,
    process: Process,
    /// Where redb's part begins.
    tables_at: OnceLock<u64>,
    known: Mutex<Known>,
    changed: OnceLock<&'static str>,
}

/// What the file must be as long as nobody else changes it.
#[derive(Debug)]
struct Known {
    /// Device and number.
    identity: Option<(u64, u64)>,
    /// Length and redb's header, where nobody else may write. redb writes that with each commit, so
    /// that it tells what was written here from all else.
    content: Option<(u64, Vec<u8>)>,
    /// Where the journal was written last, and with what.
    journal: Option<(u64, Vec<u8>)>,
}

/// Bytes of what was written to the journal that are compared.
const JOURNALED: usize = 64;

/// Bytes of redb's header: what it says of its two last commits.
const HEADER: usize = 320;

impl WatchedFile {
    /// `path`: where it is, or will be. It is watched from [`watch`](Self::watch) on.
    pub(crate) fn new(path: &Path, file: File) -> Result<Self> {
        let identity = identity(&file.metadata().map_err(failed)?);
        Ok(Self(Arc::new(Watched {
            below: FileBackend::new(file.try_clone().map_err(failed)?)?,
            file,
            path: std::path::absolute(path).map_err(failed)?,
            process: Process::this(),
            tables_at: OnceLock::new(),
            known: Mutex::new(Known { identity, content: None, journal: None }),
            changed: OnceLock::new(),
        })))
    }

    /// Says where redb's part begins, before it is used.
    pub(crate) fn divide(&self, tables_at: u64) {
        self.0.tables_at.get_or_init(|| tables_at);
    }

    fn tables_at(&self) -> u64 {
        self.0.tables_at.get().copied().unwrap_or_default()
    }

    /// From here on nobody else may write it, and whoever does is noticed. To be called when it is
    /// locked and divided.
    pub(crate) fn watch(&self) -> Result<()> {
        let mut known = self.0.known.lock();
        let len = self.0.below.len().map_err(failed)?;
        known.content = Some((len, self.header(len).map_err(failed)?));
        Ok(())
    }

    fn header(&self, len: u64) -> io::Result<Vec<u8>> {
        let there = len.saturating_sub(self.tables_at());
        let mut header = vec![0; HEADER.min(usize::try_from(there).unwrap_or(HEADER))];
        self.0.below.read(self.tables_at(), &mut header)?;
        Ok(header)
    }

    /// redb's header as it is now: it changes with every commit of whoever writes.
    pub(crate) fn state(&self) -> Result<Vec<u8>> {
        self.header(u64::MAX).map_err(failed)
    }

    /// Looks whether the file is still what it was. Once it is not, nothing of it is written any
    /// more, whatever is at the path later. Costs three system calls.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.changed.get().is_none()
            && let Some(what) = self.difference()
        {
            self.0.changed.get_or_init(|| what);
        }
        self.told()
    }

    /// What an earlier look found.
    pub(crate) fn told(&self) -> Result<()> {
        match self.0.changed.get() {
            Some(what) => Err(Error::FileChanged { path: self.0.path.clone(), what }),
            None => Ok(()),
        }
    }

    fn difference(&self) -> Option<&'static str> {
        let known = self.0.known.lock();
        match fs::metadata(&self.0.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Some("nothing is at its path any more");
            }
            // who may no longer look does not know better
            Err(_) => {}
            Ok(found) if known.identity.is_some() && identity(&found) != known.identity => {
                return Some("another file is at its path");
            }
            Ok(_) => {}
        }
        let (len, header) = known.content.as_ref()?;
        // a disk that fails says so when it is written
        match self.0.below.len() {
            Ok(now) if now < *len => return Some("it was cut"),
            Ok(now) if now > *len => return Some("something was added to it"),
            Ok(now) if self.header(now).is_ok_and(|now| now != *header) => {
                return Some("something else was written over it");
            }
            _ => {}
        }
        let (at, written) = known.journal.as_ref()?;
        let mut now = vec![0; written.len()];
        let read = self.0.below.read(*at, &mut now);
        (read.is_ok() && now != *written).then_some("something else was written over it")
    }

    /// Returns when these bytes of the journal are durable.
    pub(crate) fn write_durably(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_write()?;
        // in one step for whoever compares
        let mut known = self.0.known.lock();
        known.journal = None;
        write_durably(&self.0.file, offset, data, &|| {
            self.0.below.write(offset, data)?;
            self.0.below.sync_data()
        })?;
        known.journal = Some((offset, data[..data.len().min(JOURNALED)].to_vec()));
        Ok(())
    }

    fn check_process(&self) -> io::Result<()> {
        if self.0.process.is_this() { Ok(()) } else { Err(io::Error::other(Refusal::Forked)) }
    }

    /// Whether it may be written.
    fn check_write(&self) -> io::Result<()> {
        self.check_process()?;
        match self.0.changed.get() {
            Some(what) => {
                Err(io::Error::other(Refusal::Changed { path: self.0.path.clone(), what }))
            }
            None => Ok(()),
        }
    }
}

/// A sync would wait for all that redb has on its way in the same file. Linux can make one write
/// durable without; elsewhere, and where the file system cannot, it is done `otherwise`.
#[cfg(target_os = "linux")]
fn write_durably(
    file: &File,
    offset: u64,
    data: &[u8],
    otherwise: &dyn Fn() -> io::Result<()>,
) -> io::Result<()> {
    use rustix::io::{Errno, ReadWriteFlags, pwritev2};
    let mut done = 0;
    while done < data.len() {
        let rest = [io::IoSlice::new(&data[done..])];
        match pwritev2(file, &rest, offset + done as u64, ReadWriteFlags::DSYNC) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return otherwise(),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn write_durably(
    _: &File,
    _: u64,
    _: &[u8],
    otherwise: &dyn Fn() -> io::Result<()>,
) -> io::Result<()> {
    otherwise()
}

/// Nothing where the system does not tell.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

impl StorageBackend for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.check_process()?;
        self.0.below.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // what the other process writes may be half of something
        self.check_process()?;
        self.0.below.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_write()?;
        let mut known = self.0.known.lock();
        // where it fails nobody knows how far it got
        let content = known.content.take();
        self.0.below.set_len(len)?;
        known.content = content.map(|(_, header)| (len, header));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check_write()?;
        self.0.below.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_write()?;
        let header = self.tables_at()..self.tables_at() + HEADER as u64;
        if !header.contains(&offset) {
            // redb writes whole pages, and its header alone
            return self.0.below.write(offset, data);
        }
        // in one step for whoever compares
        let mut known = self.0.known.lock();
        let content = known.content.take();
        self.0.below.write(offset, data)?;
        known.content = content.map(|(len, mut header)| {
            let from = ((offset - self.tables_at()) as usize).min(header.len());
            let part = data.len().min(header.len() - from);
            header[from..from + part].copy_from_slice(&data[..part]);
            (len, header)
        });
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        // a lock is shared with the process that this one was forked from: it is not ours to
        // release
        if self.0.process.is_this() { self.0.below.close() } else { Ok(()) }
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.below.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.below.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if self.0.process.is_this() { self.0.below.unlock_range(start, end) } else { Ok(()) }
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.below.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.below.lock_shared_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.below.query_lock_range(start, end)
    }
}
