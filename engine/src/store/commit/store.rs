//! An open store: what readers share, the one writer, and how it is let go of.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;

use heirloom_core::fold::Lines;
use heirloom_core::merge::Policies;
use heirloom_core::model::{CommitRef, Line, Lsn, Sequence, Timestamp};
use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadOnlyDatabase};

use super::group_commit::GroupCommit;
use super::idle::Idle;
use super::log_writer::{Known, LogWriter};
use super::wake::Wake;
use crate::error::{Error, Result};
use crate::store::file::{Opened, Process, WatchedFile};
use crate::store::index::Declared;
use crate::store::journal::{End, Ring};
use crate::store::read::{Caches, Missing, View};
use crate::store::rows::{Directory, Layer, ReadTables, Tables, catching};

/// Where the engine gets the time from.
pub(crate) type ClockSource = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What redb has opened.
pub(crate) enum Backing {
    Writing(Database),
    /// Beside a process that writes.
    Following(ReadOnlyDatabase),
}

impl Backing {
    pub(in crate::store) fn begin_read(&self) -> Result<ReadTables> {
        match self {
            Self::Writing(database) => ReadTables::begin(database),
            Self::Following(database) => ReadTables::begin(database),
        }
    }

    fn close(self) -> Result<()> {
        match self {
            Self::Writing(database) => Ok(database.close()?),
            Self::Following(database) => Ok(database.close()?),
        }
    }
}

/// Rows that were drained, and up to where in the journal.
pub(in crate::store) type Drained = (Arc<Layer>, End);

/// An open store. Readers share what was published last; there is one writer at a time.
pub(crate) struct Store {
    pub(in crate::store) base: RwLock<Option<Backing>>,
    /// Who opened it: nobody else may use it.
    pub(crate) process: Process,
    /// What opening found it to be.
    pub(crate) opened: Opened,
    /// Nothing of it may change.
    pub(crate) read_only: bool,
    /// What the application calls its dataset.
    pub(crate) dataset_name: Option<Arc<str>>,
    /// Where it is, if it is a file.
    pub(crate) file: Option<PathBuf>,
    /// The same below redb.
    pub(in crate::store) watched: Option<WatchedFile>,
    /// Of one that another process writes: redb's header when what it holds was taken in last.
    pub(in crate::store) followed: Option<Mutex<Vec<u8>>>,
    /// The newest durable state.
    pub(in crate::store) published: RwLock<Option<Arc<Tables>>>,
    pub(crate) directory: Directory,
    /// What is damaged, or does not verify.
    pub(crate) missing: Missing,
    pub(crate) policies: Policies,
    pub(crate) caches: Caches,
    pub(in crate::store) writer: Mutex<LogWriter>,
    pub(in crate::store) known: RwLock<Known>,
    /// The thread that has the writer, so that a write inside a write is an error and no deadlock.
    pub(in crate::store) holder: Mutex<Option<ThreadId>>,
    /// Who makes commits durable; who waits for it joins the next one.
    pub(in crate::store) group: GroupCommit,
    /// Commits that are not in the tables yet, as they lie in the file.
    pub(crate) journal: Mutex<Ring>,
    /// Held by whoever moves them into the tables; what is there and nobody has shown yet.
    pub(in crate::store) drain: Mutex<Option<Drained>>,
    /// How much memory they may take.
    pub(in crate::store) delta_bytes: usize,
    /// Whether there is something to be drained soon.
    pub(in crate::store) idle: Arc<Idle>,
    /// How many commits are published: their lsns are below it.
    pub(in crate::store) durable: AtomicU64,
    /// Calls those who wait for more.
    pub(crate) wake: Arc<Wake>,
    pub(crate) now: ClockSource,
    /// The fields that queries may ask for.
    pub(crate) declared: Vec<Declared>,
}

impl Store {
    /// The newest durable state. Costs a system call; shared by all who ask between two commits.
    pub(crate) fn tables(&self) -> Result<Arc<Tables>> {
        self.catch_up()?;
        self.published.read().clone().ok_or(Error::Closed)
    }

    /// What this store knows of itself, as far as that is durable.
    pub(crate) fn known(&self) -> Known {
        *self.known.read()
    }

    pub(crate) fn view<'a>(&'a self, tables: &'a Tables) -> View<'a> {
        View {
            tables,
            directory: &self.directory,
            missing: &self.missing,
            caches: &self.caches,
            policies: &self.policies,
            pending: None,
        }
    }

    /// What waits for the writer, or for whoever waits for it, must not be called by the one who
    /// has it.
    pub(crate) fn check_not_held(&self) -> Result<()> {
        self.check_process()?;
        // only this thread can have put its own id there, so a race cannot give a wrong answer
        match *self.holder.lock() {
            Some(thread) if thread == std::thread::current().id() => Err(Error::InsideWrite),
            _ => Ok(()),
        }
    }

    /// [`Error::Forked`] in a process that was forked from the one that opened the store. Before
    /// any lock is taken: who held it then is not here to release it.
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.process.is_this() { Ok(()) } else { Err(Error::Forked) }
    }

    /// [`Error::FileChanged`] if somebody removed, replaced, cut or wrote the file, now or earlier.
    pub(crate) fn check_file(&self) -> Result<()> {
        self.watched.as_ref().map_or(Ok(()), WatchedFile::check)
    }

    /// Whether another process writes the file.
    pub(crate) fn follows(&self) -> bool {
        self.followed.is_some()
    }

    /// Why nothing more is written after a failure.
    pub(crate) fn broken(&self) -> Error {
        self.watched.as_ref().and_then(|file| file.told().err()).unwrap_or(Error::Poisoned)
    }

    /// How large the journal is.
    pub(crate) fn journal_bytes(&self) -> u64 {
        self.journal.lock().len()
    }

    /// Behind the last commit that is durable and visible. Tables that are asked for afterwards
    /// hold all before it.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::Acquire))
    }

    /// Whether the commit of a log that ends at `last` was written through this file, or the one
    /// that it was copied from: it lies in the own log, or in one that it continues, up to the
    /// commit that it continues.
    pub(crate) fn wrote(&self, view: &View<'_>, line: Line, last: Sequence) -> Result<bool> {
        let known = self.known();
        if self.directory.is_local(line) {
            return Ok(true);
        }
        let place = |p: Option<CommitRef>| -> Result<Option<(Line, Sequence)>> {
            let Some(p) = p else { return Ok(None) };
            Ok(view.line_of(p.log, p.sequence, p.prefix)?.map(|line| (line, p.sequence)))
        };
        let mut own = match known.own {
            Some(own) => Some((own, Sequence::END)),
            None => place(known.predecessor)?,
        };
        while let Some((end, until)) = own {
            if self.directory.path(end, until).iter().any(|(l, upto)| *l == line && last <= *upto) {
                return Ok(true);
            }
            own = place(self.directory.log(end).and_then(|info| info.predecessor))?;
        }
        Ok(false)
    }

    /// Lets go of the file, whoever still reads it.
    pub(crate) fn close(&self) -> Result<()> {
        self.close_after(|| Ok(()))
    }

    /// The same, after a last act between two durable commits. If that fails the store stays open.
    pub(crate) fn close_after<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check_not_held()?;
        let done = self.group.in_turn(|| {
            let done = act()?;
            self.drain_at_end();
            // redb writes when it closes, and must not write to what is another's by now
            let file = self.check_file();
            let closed = catching("closing", || {
                self.published.write().take();
                self.base.write().take().map_or(Ok(()), Backing::close)
            });
            file.and(closed)?;
            Ok(done)
        });
        if self.published.read().is_none() {
            self.wake.close();
        }
        done
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !self.process.is_this() {
            // whoever holds redb's locks is in the other process; and the file is in use there
            std::mem::forget(self.base.get_mut().take());
            std::mem::forget(self.published.get_mut().take());
            std::mem::forget(self.writer.get_mut().tables.take());
            return;
        }
        self.wake.close();
        self.drain_at_end();
        self.check_file().ok();
        // redb writes when it closes, and panics on what it finds damaged then: nobody is left to
        // be told
        let closed = catching("closing", || {
            self.writer.get_mut().tables.take();
            self.published.get_mut().take();
            drop(self.base.get_mut().take());
            Ok(())
        });
        drop(closed);
    }
}
