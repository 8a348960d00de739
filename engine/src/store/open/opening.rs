//! Opening and creating a store; what it knows of itself.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use heirloom_core::merge::Policies;
use heirloom_core::model::DatasetId;
use parking_lot::{Mutex, RwLock};
use redb::{Database, StorageBackend};

use super::load::load_names;
use super::replay::replay;
use crate::error::{Error, Result, Table};
use crate::store::commit::{Backing, ClockSource, GroupCommit, LogWriter, Store, Wake};
use crate::store::file::{
    Fingerprint, Layout, Medium, Opened, Overlay, Padded, Partial, Process, Tail, Wanted,
    WatchedFile, failed, is_there, keep_name, of_backend, of_file, open_file,
};
use crate::store::index::Field;
use crate::store::read::{Caches, Missing};
use crate::store::rows::{
    Delta, Directory, FILE_FORMAT, FORMAT, Tables, catching, create_tables, is_of_other_types,
    number, unseal,
};

pub(crate) struct Options {
    pub(crate) cache_bytes: usize,
    pub(crate) now: ClockSource,
    /// Given by the application; of a store that exists it must be the same.
    pub(crate) dataset: Option<DatasetId>,
    pub(crate) dataset_name: Option<String>,
    pub(crate) policies: Policies,
    /// What the application keeps outside backups.
    pub(crate) install: Option<Vec<u8>>,
    /// Fields to be indexed.
    pub(crate) indexes: Vec<Field>,
    pub(crate) wanted: Wanted,
    /// One process writes while others read.
    pub(crate) shared: bool,
    /// Bytes of the journal of a store that is made.
    pub(crate) journal_bytes: Option<u64>,
}

/// Bytes of the journal, unless somebody wants another size.
const JOURNAL_IN_FILES: u64 = 16 << 20;
const JOURNAL_ELSEWHERE: u64 = 256 << 10;

/// What is known of what is opened.
struct Found<'a> {
    /// Nothing is in it yet.
    fresh: bool,
    /// Makes its name durable.
    keep_name: &'a dyn Fn() -> io::Result<()>,
    mark: Option<Fingerprint>,
    read_only: bool,
    watched: Option<WatchedFile>,
    /// What it lies on, and how that is divided.
    medium: Medium,
    layout: Layout,
}

/// A file that does not begin as redb's do is a mistake of the caller and no fault of the disk.
fn not_a_store(e: redb::DatabaseError) -> Error {
    match e {
        redb::DatabaseError::Storage(redb::StorageError::Io(e))
            if e.kind() == std::io::ErrorKind::InvalidData =>
        {
            Error::NotAStore
        }
        e => e.into(),
    }
}

impl Store {
    pub(crate) fn open_file(path: &Path, options: Options) -> Result<Self> {
        Self::open_file_with(path, options, &keep_name)
    }

    fn open_file_with(
        path: &Path,
        options: Options,
        keep_name: &dyn Fn(&Path) -> io::Result<()>,
    ) -> Result<Self> {
        let mut store = catching(path.display(), || {
            let (database, file, layout, fresh) = open_or_make(path, &options)?;
            file.watch()?;
            let mark = of_file(path, options.install.as_deref());
            let keep_name = &|| keep_name(path);
            let (medium, watched) = (Medium::File(file.clone()), Some(file));
            let found = Found { fresh, keep_name, mark, read_only: false, watched, medium, layout };
            Self::open(Backing::Writing(database), found, options)
        })?;
        store.file = Some(path.to_owned());
        Ok(store)
    }

    pub(crate) fn open_backend(backend: impl StorageBackend, options: Options) -> Result<Self> {
        catching("its backend", || {
            let medium = Medium::Other(Arc::new(backend));
            let new = Layout::with_ring(options.journal_bytes.unwrap_or(JOURNAL_ELSEWHERE));
            let (layout, fresh) = Layout::open_or_create(&medium, new)?;
            let database = builder(&options)
                .create_with_backend(tables_part(&medium, layout))
                .map_err(not_a_store)?;
            let mark = of_backend(options.install.as_deref());
            let keep_name = &|| Ok(());
            let found =
                Found { fresh, keep_name, mark, read_only: false, watched: None, medium, layout };
            Self::open(Backing::Writing(database), found, options)
        })
    }

    /// What redb writes stays in memory. Beside a process that writes it writes nothing.
    pub(crate) fn open_read_only(path: &Path, options: Options) -> Result<Self> {
        if !is_there(path)? {
            return Err(Error::NoFile(path.to_owned()));
        }
        let mut store = catching(path.display(), || {
            let builder = file_builder(&options);
            let (base, file, medium, layout) = if options.shared {
                let file = WatchedFile::new(path, open_file(path, false)?)?;
                let (medium, layout) = divided(&file)?;
                let opened = builder.open_read_only_with_backend(tables_part(&medium, layout));
                let base = opened.map_err(|e| match e {
                    redb::DatabaseError::RepairAborted => Error::NeedsWriter(path.to_owned()),
                    e => not_a_store(e),
                })?;
                (Backing::Following(base), file, medium, layout)
            } else {
                let overlay = Overlay::open(path)?;
                let file = overlay.file();
                let (_, layout) = divided(&file)?;
                file.watch()?;
                let medium = Medium::Other(Arc::new(overlay));
                let opened = builder.create_with_backend(tables_part(&medium, layout));
                (Backing::Writing(opened.map_err(not_a_store)?), file, medium, layout)
            };
            if is_blank(&base)? {
                return Err(Error::NotAStore);
            }
            let (mark, keep_name, watched) = (None, &|| Ok(()), Some(file));
            let found =
                Found { fresh: false, keep_name, mark, read_only: true, watched, medium, layout };
            Self::open(base, found, options)
        })?;
        store.file = Some(path.to_owned());
        Ok(store)
    }

    fn open(base: Backing, found: Found<'_>, options: Options) -> Result<Self> {
        let Found { fresh, keep_name, mark, read_only, watched, medium, layout } = found;
        let blank = is_blank(&base)?;
        match &base {
            Backing::Writing(database) if blank => {
                // before its first commit: after a kill between the two nobody would know what is
                // owed
                keep_name().map_err(failed)?;
                create_tables(database)?;
            }
            _ => check_format(&base)?,
        }
        // before it is read: what is drained meanwhile is noticed later
        let followed = match (&base, &watched) {
            (Backing::Following(_), Some(file)) => Some(Mutex::new(file.state()?)),
            _ => None,
        };
        let tables = Tables::open(base.begin_read()?, Delta::default(), 0)?;
        let (journal, delta) = replay(&tables, medium, layout)?;
        let tables = Arc::new(tables.under(delta, 0));
        let directory = Directory::default();
        load_names(&tables, &directory)?;
        let next_lsn = tables.end()?;
        let writer =
            LogWriter::new(tables.clone(), directory.log_count(), directory.type_count(), next_lsn);
        let mut store = Self {
            base: RwLock::new(Some(base)),
            process: Process::this(),
            opened: if fresh || blank { Opened::New } else { Opened::Known },
            read_only,
            dataset_name: None,
            file: None,
            watched,
            followed,
            published: RwLock::new(Some(tables.clone())),
            directory,
            missing: Missing::default(),
            policies: options.policies,
            caches: Caches::new(options.cache_bytes / 4),
            writer: Mutex::new(writer),
            known: RwLock::default(),
            holder: Mutex::new(None),
            group: GroupCommit::default(),
            journal: Mutex::new(journal),
            drain: Mutex::default(),
            delta_bytes: options.cache_bytes / 8,
            idle: Arc::default(),
            durable: AtomicU64::new(next_lsn.get()),
            wake: Arc::new(Wake::new(next_lsn.get())),
            now: options.now,
            declared: Vec::new(),
        };
        store.load(&mut store.writer.lock(), &tables, next_lsn)?;
        if !tables.delta.is_empty() {
            // what a kill left is drained after a pause, like anything else
            store.idle.written(false);
        }
        if let Err(damage) = store.check_journal(&tables) {
            store.writer.get_mut().damage = Some(damage);
        }
        store.recognise(&tables, mark)?;
        *store.known.get_mut() = store.writer.get_mut().knows_from_opening();
        let named = store.read_dataset(&tables).ok().flatten().and_then(|dataset| dataset.name);
        store.dataset_name = named.map(Into::into);
        store.agree_on_dataset(options.dataset, options.dataset_name)?;
        store.declare(options.indexes)?;
        Ok(store)
    }
}

/// The file that is there, or a new one; whether it is new.
fn open_or_make(path: &Path, options: &Options) -> Result<(Database, WatchedFile, Layout, bool)> {
    let (wanted, builder) = (options.wanted, file_builder(options));
    let taken = || Error::FileExists(path.to_owned());
    if wanted == Wanted::New && std::fs::symlink_metadata(path).is_ok() {
        return Err(taken());
    }
    if !is_there(path)? {
        if wanted == Wanted::Existing {
            return Err(Error::NoFile(path.to_owned()));
        }
        if let Some((database, file, layout)) = make(path, options, &builder)? {
            return Ok((database, file, layout, true));
        }
        // somebody else was quicker
        if wanted == Wanted::New {
            return Err(taken());
        }
    }
    let file = WatchedFile::new(path, open_file(path, true)?)?;
    let (medium, layout) = divided(&file)?;
    let database =
        builder.create_with_backend(tables_part(&medium, layout)).map_err(not_a_store)?;
    Ok((database, file, layout, false))
}

/// A new file, which gets its name when redb has made it, so that none is ever seen half made. Its
/// tables come with its first commit, after the name was made durable. Nothing if somebody else
/// takes the name.
fn make(
    path: &Path,
    options: &Options,
    builder: &redb::Builder,
) -> Result<Option<(Database, WatchedFile, Layout)>> {
    let unless_taken = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => Ok(None),
        _ => Err(failed(e)),
    };
    let (partial, file) = match Partial::create(path) {
        Ok(made) => made,
        Err(e) => return unless_taken(e),
    };
    let file = WatchedFile::new(path, file)?;
    let medium = Medium::File(file.clone());
    let new = Layout::with_ring(options.journal_bytes.unwrap_or(JOURNAL_IN_FILES));
    let (layout, _) = Layout::open_or_create(&medium, new)?;
    file.divide(layout.tables_at());
    let database =
        builder.create_with_backend(tables_part(&medium, layout)).map_err(not_a_store)?;
    match partial.arrive(path, &|_| Ok(())) {
        Ok(_) => Ok(Some((database, file, layout))),
        Err(e) => unless_taken(e),
    }
}

/// How the file of a store is divided.
fn divided(file: &WatchedFile) -> Result<(Medium, Layout)> {
    let medium = Medium::File(file.clone());
    let layout = Layout::open(&medium)?;
    file.divide(layout.tables_at());
    Ok((medium, layout))
}

/// What redb is given of it.
fn tables_part(medium: &Medium, layout: Layout) -> Padded<Tail> {
    Padded(Tail::new(medium.clone(), layout.tables_at()))
}

fn builder(options: &Options) -> redb::Builder {
    let mut builder = Database::builder();
    // the rest is for what is decoded, and for what is not in the tables yet
    builder.set_cache_size(options.cache_bytes / 8 * 5);
    builder
}

/// The same for a file, which others may read meanwhile if both want it.
fn file_builder(options: &Options) -> redb::Builder {
    let mut builder = builder(options);
    if options.shared {
        builder.set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
    }
    builder
}

/// Whether nothing was ever committed: creating the store was cut off before its first commit,
/// which makes its tables.
fn is_blank(base: &Backing) -> Result<bool> {
    Ok(base.begin_read()?.names()?.is_empty())
}

/// Before anything else is believed.
fn check_format(base: &Backing) -> Result<()> {
    let meta = match base.begin_read()?.optional(Table::Meta) {
        Ok(found) => found.ok_or(Error::NotAStore)?,
        // a table of this name, and not of bytes: another's
        Err(Error::Storage(e)) if is_of_other_types(&e) => return Err(Error::NotAStore),
        Err(e) => return Err(e),
    };
    let row = meta.get(FORMAT.as_bytes())?.ok_or(Error::NotAStore)?;
    let found = number(FORMAT, unseal(Table::Meta, FORMAT.as_bytes(), row.value())?)?;
    if found == FILE_FORMAT {
        Ok(())
    } else {
        Err(Error::UnknownFormat { found, known: FILE_FORMAT })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use heirloom_core::model::Timestamp;

    use super::*;

    fn options() -> Options {
        Options {
            cache_bytes: 1 << 20,
            now: Arc::new(|| Timestamp::EPOCH),
            dataset: None,
            policies: Policies::default(),
            install: None,
            indexes: Vec::new(),
            dataset_name: None,
            wanted: Wanted::Any,
            shared: false,
            journal_bytes: None,
        }
    }

    #[test]
    fn the_directory_of_a_new_file_is_synced_before_its_first_commit_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let failing = |_: &Path| Err(io::Error::other("this sync fails"));
        let opened = Store::open_file_with(&path, options(), &failing);
        assert!(matches!(opened, Err(Error::Storage(_))));
        // it failed before the first commit, and so the next opening makes up for it
        let synced = Cell::new(0);
        let counting = |file: &Path| {
            assert_eq!(file, path);
            synced.set(synced.get() + 1);
            Ok(())
        };
        for opened in [Opened::New, Opened::Known, Opened::Known] {
            let store = Store::open_file_with(&path, options(), &counting).unwrap();
            assert_eq!((store.opened, synced.get()), (opened, 1));
        }
    }
}
