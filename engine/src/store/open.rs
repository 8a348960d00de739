//! Opening and creating a store; what it knows of itself.

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use redb::{Database, StorageBackend};

use super::directory::{BranchPoint, Directory, LogInfo};
use super::file::{self, Partial, Process, Wanted, WatchedFile};
use super::fingerprint::{self, Fingerprint};
use super::group_commit::GroupCommit;
use super::idle::Idle;
use super::index::Field;
use super::missing::{Gap, Missing, is_damage};
use super::overlay::Overlay;
use super::padded::Padded;
use super::place;
use super::record::{Checkpoint, ordinal};
use super::rows;
use super::rows::catching;
use super::sealed::{seal, unreadable, unseal};
use super::tables::{self, Tables};
use super::view::{Caches, View};
use super::wake::Wake;
use super::writer::{Known, Tip, Writer};
use super::{Base, ClockSource, Store};
use crate::error::{Error, Result};
use crate::identity::Opened;
use heirloom_core::bytes::{Put, Read, Reader};
use heirloom_core::format::genesis::Genesis;
use heirloom_core::format::hash::{another_nonce, log_id};
use heirloom_core::limits;
use heirloom_core::merge::Policies;
use heirloom_core::model::{ChainPrefix, CommitRef, Dataset, DatasetId, LogId, NodeId};

/// Version of the layout of part 2 of FORMAT.md.
const FILE_FORMAT: u64 = 1;
pub(super) const FORMAT: &str = "format";
const DATASET: &str = "dataset";
pub(super) const OWN: &str = "own";
pub(super) const NODE: &str = "node";
pub(super) const PREDECESSOR: &str = "predecessor";
const LOCAL: &str = "local";
pub(super) const FINGERPRINT: &str = "fingerprint";

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
}

/// How the next own log will call itself.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) label: String,
    pub(crate) managed: bool,
    pub(crate) nonce: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
}

/// What is known of what is opened.
struct Found<'a> {
    /// Nothing is in it yet.
    fresh: bool,
    /// Makes its name durable.
    keep_name: &'a dyn Fn() -> io::Result<()>,
    mark: Option<Fingerprint>,
    read_only: bool,
    /// Knows whether it was recovered.
    idle: Arc<Idle>,
    watched: Option<WatchedFile>,
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
        Self::open_file_with(path, options, &place::keep_name)
    }

    fn open_file_with(
        path: &Path,
        options: Options,
        keep_name: &dyn Fn(&Path) -> io::Result<()>,
    ) -> Result<Self> {
        let mut store = catching(path.display(), || {
            let idle = Arc::default();
            let builder = file_builder(&options, &idle);
            let (database, file, fresh) = open_or_make(path, options.wanted, &builder)?;
            file.watch()?;
            if fresh {
                idle.written();
            }
            let mark = fingerprint::of_file(path, options.install.as_deref());
            let keep_name = &|| keep_name(path);
            let found =
                Found { fresh, keep_name, mark, read_only: false, idle, watched: Some(file) };
            Self::open(Base::Writing(database), found, options)
        })?;
        store.file = Some(path.to_owned());
        Ok(store)
    }

    pub(crate) fn open_backend(backend: impl StorageBackend, options: Options) -> Result<Self> {
        let fresh = backend.len().map_err(|e| Error::from(redb::StorageError::from(e)))? == 0;
        catching("its backend", || {
            let idle = Arc::default();
            let database = builder(&options, &idle)
                .create_with_backend(Padded(backend))
                .map_err(not_a_store)?;
            let mark = fingerprint::of_backend(options.install.as_deref());
            let keep_name = &|| Ok(());
            let found = Found { fresh, keep_name, mark, read_only: false, idle, watched: None };
            Self::open(Base::Writing(database), found, options)
        })
    }

    /// What redb writes stays in memory. Beside a process that writes it writes nothing.
    pub(crate) fn open_read_only(path: &Path, options: Options) -> Result<Self> {
        if !file::is_there(path)? {
            return Err(Error::NoFile(path.to_owned()));
        }
        let mut store = catching(path.display(), || {
            let idle = Arc::default();
            let builder = file_builder(&options, &idle);
            let (base, file) = if options.shared {
                let file = WatchedFile::new(path, file::open(path, false)?)?;
                let opened = builder.open_read_only_with_backend(Padded(file.clone()));
                let base = opened.map_err(|e| match e {
                    redb::DatabaseError::RepairAborted => Error::NeedsWriter(path.to_owned()),
                    e => not_a_store(e),
                })?;
                (Base::Following(base), file)
            } else {
                let overlay = Overlay::open(path)?;
                let file = overlay.file();
                let opened = builder.create_with_backend(Padded(overlay));
                (Base::Writing(opened.map_err(not_a_store)?), file)
            };
            if is_blank(&base)? {
                return Err(Error::NotAStore);
            }
            let (mark, keep_name, watched) = (None, &|| Ok(()), Some(file));
            let found = Found { fresh: false, keep_name, mark, read_only: true, idle, watched };
            Self::open(base, found, options)
        })?;
        store.file = Some(path.to_owned());
        Ok(store)
    }

    fn open(base: Base, found: Found<'_>, options: Options) -> Result<Self> {
        let Found { fresh, keep_name, mark, read_only, idle, watched } = found;
        let blank = is_blank(&base)?;
        match &base {
            Base::Writing(database) if blank => {
                // before its first commit: after a kill between the two nobody would know what is
                // owed
                keep_name().map_err(file::failed)?;
                create_tables(database)?;
                idle.written();
            }
            _ => check_format(&base)?,
        }
        // before it is read: what is committed meanwhile is taken in later
        let followed = match (&base, &watched) {
            (Base::Following(_), Some(file)) => Some(Mutex::new(file.state()?)),
            _ => None,
        };
        let tables = Arc::new(Tables::open(base.begin_read()?, 0)?);
        let directory = Directory::default();
        load_names(&tables, &directory)?;
        let next_lsn = tables.commits()?;
        let writer =
            Writer::new(tables.clone(), directory.log_count(), directory.type_count(), next_lsn);
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
            idle,
            marred: AtomicBool::new(tables.set_aside()? > 0),
            durable: AtomicU64::new(next_lsn),
            wake: Arc::new(Wake::new(next_lsn)),
            now: options.now,
            declared: Vec::new(),
        };
        store.load(&mut store.writer.lock(), &tables, next_lsn)?;
        if store.missing.first_damaged().is_some() {
            store.is_marred();
        }
        store.recognise(&tables, mark)?;
        *store.known.get_mut() = store.writer.get_mut().knows_from_opening();
        let named = store.read_dataset(&tables).ok().flatten().and_then(|dataset| dataset.name);
        store.dataset_name = named.map(Into::into);
        store.agree_on_dataset(options.dataset, options.dataset_name)?;
        store.declare(options.indexes)?;
        Ok(store)
    }

    /// What is kept in memory of a state.
    fn load(&self, writer: &mut Writer, tables: &Tables, next_lsn: u64) -> Result<()> {
        let known = self.load_known(tables)?;
        // a name that was drawn where nothing may change holds as long as the store is open
        writer.known = Known { node: known.node.or(self.known().node), ..known };
        match self.load_writer(writer, tables, next_lsn) {
            // where it cannot be told how logs end nothing can be written; all else stays readable,
            // and `repair` mends it
            Err(damage @ Error::Corrupt { .. }) => writer.damage = Some(damage),
            other => other?,
        }
        Ok(())
    }

    /// Takes in what the process that writes the file has committed since. Costs a read of the
    /// file's first bytes if that is nothing, else what opening costs.
    pub(crate) fn catch_up(&self) -> Result<()> {
        self.check_process()?;
        let (Some(followed), Some(file)) = (&self.followed, &self.watched) else { return Ok(()) };
        let mut followed = followed.lock();
        let published = self.published.read().clone().ok_or(Error::Closed)?;
        // before the tables are read, so that a commit between the two is noticed the next time
        let now = file.state()?;
        if *followed == now {
            return Ok(());
        }
        let tables = self.read_tables(published.commit + 1)?;
        load_names(&tables, &self.directory)?;
        let next_lsn = tables.commits()?;
        let mut writer = self.writer.lock();
        self.missing.clear();
        writer.damage = None;
        self.load(&mut writer, &tables, next_lsn)?;
        self.caches.entities.changed(tables.commit, std::iter::empty());
        // what was damaged may have been brought back
        self.caches.healed(tables.commit);
        writer.tables = Some(tables.clone());
        *self.known.write() = writer.knows_from_opening();
        *self.published.write() = Some(tables);
        self.durable.store(next_lsn, Ordering::Release);
        *followed = now;
        drop((writer, followed));
        self.wake.advance(next_lsn);
        Ok(())
    }

    /// Goes on under a fresh log if this is not the file that was written. Writes nothing: the
    /// fingerprint goes along with the next commit.
    fn recognise(&mut self, tables: &Tables, mark: Option<Fingerprint>) -> Result<()> {
        let Some(mark) = mark else { return Ok(()) };
        let known = self.meta(tables, FINGERPRINT)?;
        if known.as_deref() == Some(&mark[..]) {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        writer.set_meta(FINGERPRINT, Some(mark.to_vec()));
        if known.is_some() {
            // peers would take it for the other
            writer.know(|known| known.node = None);
            writer.set_meta(NODE, None);
            if let Some(log) = self.leave_own_log(&mut writer) {
                self.opened = Opened::Copied { log };
            }
        }
        Ok(())
    }

    /// Goes on under a fresh log. Returns the one that it left.
    pub(crate) fn leave_own_log(&self, writer: &mut Writer) -> Option<LogId> {
        let own = writer.known.own?;
        let info = self.directory.log(own)?;
        let tip = writer.tip(own);
        let tip =
            tip.map(|t| CommitRef { log: info.id, sequence: t.last, prefix: t.chain.prefix() });
        writer.leave_log(tip.or(info.predecessor));
        Some(info.id)
    }

    fn load_known(&self, tables: &Tables) -> Result<Known> {
        let own = self.own_as_of(tables)?;
        if let Some(local) = self.meta(tables, LOCAL)?.map(|b| number(LOCAL, &b)).transpose()? {
            let known = u32::try_from(local).ok().filter(|o| *o < self.directory.log_count());
            self.directory
                .set_local(known.ok_or_else(|| Error::corrupt("meta", LOCAL, "an unknown log"))?);
        }
        let dataset = self.read_dataset(tables)?.map(|dataset| dataset.id);
        if dataset.is_none() && !is_empty(&self.view(tables))? {
            return Err(Error::corrupt("meta", DATASET, "the row is missing"));
        }
        let node = self.meta(tables, NODE)?.map(|b| b.try_into());
        let node = node.transpose().map_err(|_| Error::corrupt("meta", NODE, "not a node id"))?;
        Ok(Known { dataset, own, predecessor: None, node: node.map(NodeId::from_bytes) })
    }

    /// One record a log, and the checkpoint of the last: however long the history.
    pub(super) fn load_writer(
        &self,
        writer: &mut Writer,
        tables: &Tables,
        next_lsn: u64,
    ) -> Result<()> {
        let view = self.view(tables);
        writer.known.predecessor = self.predecessor_as_of(tables)?;
        self.missing.load(tables, next_lsn)?;
        if tables.logged()? < next_lsn {
            // found one after the other they would cost a look at the log each
            self.mark_gone(tables, next_lsn)?;
        }
        let mut cut_short = Vec::new();
        writer.tips.resize(self.directory.log_count() as usize, None);
        for ordinal in 0..self.directory.log_count() {
            let Some((first, lsn)) = view.dot_at(ordinal, u64::MAX)? else { continue };
            if lsn >= next_lsn {
                return Err(Error::corrupt("log", lsn, "the last record is missing"));
            }
            match view.commit_of(ordinal, (first, lsn)) {
                Ok(end) => writer.tips[ordinal as usize] = Some(Tip::of(&end)),
                Err(e) if is_damage(&e) => {
                    self.missing.set(lsn, Some(Gap { ordinal, first, damaged: true }));
                    cut_short.push(ordinal);
                }
                Err(e) => return Err(e),
            }
        }
        check_last(&view, writer, next_lsn)?;
        self.withhold(&view, next_lsn)?;
        for ordinal in cut_short {
            writer.tips[ordinal as usize] = view.shown_tip(ordinal)?.map(|end| Tip::of(&end));
        }
        if let Some(Checkpoint { digest, frontier }) = view.checkpoint(next_lsn)? {
            writer.digest = digest;
            writer.frontier = frontier.into_iter().collect();
        }
        writer.wall = writer.known.own.and_then(|o| writer.tip(o)).map_or(0, |t| t.wall);
        Ok(())
    }

    fn own_as_of(&self, tables: &Tables) -> Result<Option<u32>> {
        Ok(self.meta(tables, OWN)?.map(|b| number(OWN, &b)).transpose()?.map(|n| n as u32))
    }

    fn predecessor_as_of(&self, tables: &Tables) -> Result<Option<CommitRef>> {
        self.meta(tables, PREDECESSOR)?.map(|b| commit_ref(&b)).transpose()
    }

    /// The row of `meta` for a copy of these tables that shall go on under a log of its own: what
    /// that log continues.
    pub(super) fn predecessor_of_copy(&self, tables: &Tables) -> Result<Option<Vec<u8>>> {
        let view = self.view(tables);
        let tip = match self.own_as_of(tables)? {
            None => self.predecessor_as_of(tables)?,
            Some(own) => match view.tip(own)? {
                Some(tip) => Some(tip.reference(view.log_id(own)?)),
                None => self.directory.log(own).and_then(|info| info.predecessor),
            },
        };
        Ok(tip.map(|tip| seal(PREDECESSOR.as_bytes(), &predecessor_row(&tip))))
    }

    /// What stands under a name in `meta`.
    pub(super) fn meta(&self, tables: &Tables, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(row) = tables.meta.get(name.as_bytes())? else { return Ok(None) };
        unseal("meta", name.as_bytes(), row.value()).map(|v| Some(v.to_vec()))
    }

    fn read_dataset(&self, tables: &Tables) -> Result<Option<Dataset>> {
        let Some(bytes) = self.meta(tables, DATASET)? else { return Ok(None) };
        let wrong = || Error::corrupt("meta", DATASET, "not a dataset");
        let (id, name) = bytes.split_first_chunk().ok_or_else(wrong)?;
        let name = std::str::from_utf8(name).map_err(|_| wrong())?;
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Ok(Some(Dataset { id: DatasetId::from_bytes(*id), name }))
    }

    /// With its name, if that is known.
    pub(crate) fn named(&self, id: DatasetId) -> Dataset {
        let name = self.dataset_name.as_deref().filter(|name| DatasetId::from_name(name) == id);
        Dataset { id, name: name.map(str::to_owned) }
    }

    /// The dataset, once it is settled.
    pub(crate) fn dataset(&self) -> Option<DatasetId> {
        self.known().dataset
    }

    fn agree_on_dataset(&mut self, wanted: Option<DatasetId>, name: Option<String>) -> Result<()> {
        let ours = self.dataset();
        if let (Some(ours), Some(id)) = (ours, wanted)
            && ours != id
            && !is_empty(&self.view(&*self.tables()?))?
        {
            return Err(Error::WrongDataset {
                ours: self.named(ours),
                theirs: Dataset { id, name },
            });
        }
        let is_new = name.is_some() && name.as_deref() != self.dataset_name.as_deref();
        self.dataset_name = name.map(Into::into).or(self.dataset_name.take());
        self.writer.get_mut().dataset_name = self.dataset_name.clone();
        match wanted {
            _ if self.read_only => Ok(()),
            Some(wanted) if ours != Some(wanted) => self.set_dataset(wanted),
            // goes along with the next commit
            Some(same) if is_new => {
                self.writer.get_mut().name_dataset(same);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Its name among peers; drawn, for good, the first time that somebody asks. Where nothing may
    /// change, for as long as it is open.
    pub(crate) fn node(&self, draw: &dyn Fn() -> [u8; 16]) -> Result<NodeId> {
        if let Some(node) = self.known().node {
            return Ok(node);
        }
        if self.read_only {
            return Ok(*self.known.write().node.get_or_insert_with(|| NodeId::from_bytes(draw())));
        }
        let (node, batch) = {
            let mut writer = self.writer()?;
            let node = match writer.known.node {
                // drawn by another session, and on its way
                Some(node) => node,
                None => {
                    let drawn = NodeId::from_bytes(draw());
                    writer.know(|known| known.node = Some(drawn));
                    writer.set_meta(NODE, Some(drawn.as_bytes().to_vec()));
                    drawn
                }
            };
            (node, writer.rests_on())
        };
        self.flush(batch)?;
        Ok(node)
    }

    /// The dataset of a peer, where there is none yet.
    pub(crate) fn adopt(&self, dataset: DatasetId) -> Result<()> {
        let (adopted, batch) = {
            let mut writer = self.writer()?;
            let adopted = match writer.known.dataset {
                Some(ours) if ours != dataset => {
                    Err(Error::WrongDataset { ours: self.named(ours), theirs: dataset.into() })
                }
                Some(_) => Ok(()),
                None => {
                    writer.settle_dataset(dataset);
                    Ok(())
                }
            };
            // what is there already may be on its way, brought by another
            (adopted, writer.rests_on())
        };
        self.flush(batch)?;
        adopted
    }

    /// Another one, by the application. Only of a store without commits but local ones.
    fn set_dataset(&self, dataset: DatasetId) -> Result<()> {
        let (settled, batch) = {
            let mut writer = self.writer()?;
            let settled = match writer.known.dataset {
                Some(ours) if ours == dataset => Ok(()),
                Some(ours) if !is_empty(&self.writer_view(&writer)?)? => {
                    Err(Error::WrongDataset { ours: self.named(ours), theirs: self.named(dataset) })
                }
                _ => {
                    writer.settle_dataset(dataset);
                    if writer.known.own.is_some() {
                        // drawn for a first commit that failed, and of the dataset that was
                        writer.forget_log();
                    }
                    Ok(())
                }
            };
            // what is there already may be on its way, brought by another
            (settled, writer.rests_on())
        };
        self.flush(batch)?;
        settled
    }
}

/// Whether no commit is here that a peer may hear of.
fn is_empty(view: &View<'_>) -> Result<bool> {
    for ordinal in view.directory.all_shared() {
        if view.dot_at(ordinal, u64::MAX)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Writer {
    /// For good, once a commit is here.
    pub(crate) fn settle_dataset(&mut self, dataset: DatasetId) {
        self.know(|known| known.dataset = Some(dataset));
        self.name_dataset(dataset);
    }

    /// The row of the dataset, with its name if that is known.
    fn name_dataset(&mut self, dataset: DatasetId) {
        let mut row = dataset.as_bytes().to_vec();
        let name =
            self.dataset_name.as_deref().filter(|name| DatasetId::from_name(name) == dataset);
        row.extend_from_slice(name.unwrap_or_default().as_bytes());
        self.set_meta(DATASET, Some(row));
    }

    /// The log that this store extends; drawn with its first commit.
    pub(crate) fn own_log(
        &mut self,
        store: &Store,
        dataset: DatasetId,
        identity: &Identity,
    ) -> (u32, LogId) {
        self.leave_newer_log(store);
        // where a commit of it is damaged no peer would take what follows; and of a damaged end
        // nobody knows where it was
        if self.known.own.is_some_and(|own| store.missing.until(own).is_some()) {
            store.leave_own_log(self);
        }
        if let Some((ordinal, log)) =
            self.known.own.and_then(|o| Some((o, store.directory.log_id(o)?)))
        {
            return (ordinal, log);
        }
        let genesis = Genesis {
            level: limits::LEVEL,
            dataset,
            nonce: [0; 16],
            managed: identity.managed,
            label: identity.label.clone(),
            public_key: None,
            predecessor: self.known.predecessor,
        };
        let (ordinal, log) = fresh_log(store, identity, genesis);
        self.know_log(Some(ordinal), None);
        self.set_meta(OWN, Some(varint(u64::from(ordinal))));
        self.set_meta(PREDECESSOR, None);
        (ordinal, log)
    }

    /// The log of what never leaves this store; drawn with its first commit. It is of no dataset,
    /// so that no peer would take it.
    ///
    /// [`Error::Corrupt`] where its end is damaged: no peer has it.
    pub(crate) fn local_log(&mut self, store: &Store, identity: &Identity) -> Result<(u32, LogId)> {
        if let Some((ordinal, log)) =
            store.directory.local().and_then(|o| Some((o, store.directory.log_id(o)?)))
        {
            if store
                .missing
                .until(ordinal)
                .is_some_and(|until| self.tip(ordinal).map_or(0, |t| t.last) == until)
            {
                return Err(Error::corrupt(
                    "log",
                    "the end of what stays here",
                    "the record is damaged",
                ));
            }
            return Ok((ordinal, log));
        }
        let genesis = Genesis {
            level: limits::LEVEL,
            dataset: DatasetId::NONE,
            nonce: [0; 16],
            managed: false,
            label: LOCAL.to_owned(),
            public_key: None,
            predecessor: None,
        };
        let (ordinal, log) = fresh_log(store, identity, genesis);
        store.directory.set_local(ordinal);
        self.set_meta(LOCAL, Some(varint(u64::from(ordinal))));
        Ok((ordinal, log))
    }

    /// As if none had been drawn.
    pub(crate) fn forget_log(&mut self) {
        self.know_log(None, None);
        self.set_meta(OWN, None);
    }

    fn know_log(&mut self, own: Option<u32>, predecessor: Option<CommitRef>) {
        self.know(|known| (known.own, known.predecessor) = (own, predecessor));
    }

    /// A newer version of this library has written here: its commits stay, but nothing can be built
    /// on a state that cannot be read.
    fn leave_newer_log(&mut self, store: &Store) {
        let own = self.known.own.and_then(|o| Some((store.directory.log_id(o)?, self.tip(o)?)));
        if let Some((log, tip)) = own.filter(|(_, tip)| tip.is_newer) {
            self.leave_log(Some(CommitRef { log, sequence: tip.last, prefix: tip.chain.prefix() }));
        }
    }

    /// Goes on under a fresh log, whose wall starts from the physical clock (I5). `tip`: the last
    /// commit of the one before that was written here.
    pub(crate) fn leave_log(&mut self, tip: Option<CommitRef>) {
        self.know_log(None, tip);
        self.wall = 0;
        self.set_meta(OWN, None);
        self.set_meta(PREDECESSOR, tip.map(|tip| predecessor_row(&tip)));
    }
}

fn predecessor_row(tip: &CommitRef) -> Vec<u8> {
    let mut out = tip.log.as_bytes().to_vec();
    out.varint(tip.sequence);
    out.extend_from_slice(tip.prefix.as_bytes());
    out
}

/// A machine that was set back as a whole may draw once more what a log that is here was drawn
/// from: that one is not fresh.
fn fresh_log(store: &Store, identity: &Identity, mut genesis: Genesis) -> (u32, LogId) {
    genesis.nonce = (identity.nonce)();
    loop {
        let bytes = genesis.encode();
        let log = log_id(&bytes);
        if store.directory.ordinal(log).is_none() {
            return (store.directory.add_log(log, &bytes, &genesis), log);
        }
        genesis.nonce = another_nonce(&genesis.nonce);
    }
}

/// The file that is there, or a new one; whether it is new.
fn open_or_make(
    path: &Path,
    wanted: Wanted,
    builder: &redb::Builder,
) -> Result<(Database, WatchedFile, bool)> {
    let taken = || Error::FileExists(path.to_owned());
    if wanted == Wanted::New && std::fs::symlink_metadata(path).is_ok() {
        return Err(taken());
    }
    if !file::is_there(path)? {
        if wanted == Wanted::Existing {
            return Err(Error::NoFile(path.to_owned()));
        }
        if let Some((database, file)) = make(path, builder)? {
            return Ok((database, file, true));
        }
        // somebody else was quicker
        if wanted == Wanted::New {
            return Err(taken());
        }
    }
    let file = WatchedFile::new(path, file::open(path, true)?)?;
    let database = builder.create_with_backend(Padded(file.clone())).map_err(not_a_store)?;
    Ok((database, file, false))
}

/// A new file, which gets its name when redb has made it, so that none is ever seen half made. Its
/// tables come with its first commit, after the name was made durable. Nothing if somebody else
/// takes the name.
fn make(path: &Path, builder: &redb::Builder) -> Result<Option<(Database, WatchedFile)>> {
    let unless_taken = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => Ok(None),
        _ => Err(file::failed(e)),
    };
    let (partial, file) = match Partial::create(path) {
        Ok(made) => made,
        Err(e) => return unless_taken(e),
    };
    let file = WatchedFile::new(path, file)?;
    let database = builder.create_with_backend(Padded(file.clone())).map_err(not_a_store)?;
    match partial.arrive(path, &|_| Ok(())) {
        Ok(_) => Ok(Some((database, file))),
        Err(e) => unless_taken(e),
    }
}

/// Whoever recovers a file commits to it, and not so that the next opening is quick.
fn builder(options: &Options, idle: &Arc<Idle>) -> redb::Builder {
    let mut builder = Database::builder();
    let idle = idle.clone();
    builder.set_repair_callback(move |_| idle.written());
    // the rest is for what is decoded
    builder.set_cache_size(options.cache_bytes / 4 * 3);
    builder
}

/// The same for a file, which others may read meanwhile if both want it.
fn file_builder(options: &Options, idle: &Arc<Idle>) -> redb::Builder {
    let mut builder = builder(options, idle);
    if options.shared {
        builder.set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
    }
    builder
}

pub(super) fn create_tables(database: &Database) -> Result<()> {
    rows::transact(database, redb::Durability::Immediate, false, |tx| {
        for table in tables::ALL {
            tx.open_table(table)?;
        }
        let row = seal(FORMAT.as_bytes(), &varint(FILE_FORMAT));
        tx.open_table(tables::META)?.insert(FORMAT.as_bytes(), &row[..])?;
        Ok(())
    })
}

/// Whether nothing was ever committed: creating the store was cut off before its first commit,
/// which makes its tables.
fn is_blank(base: &Base) -> Result<bool> {
    Ok(base.begin_read()?.names()?.is_empty())
}

/// Before anything else is believed.
fn check_format(base: &Base) -> Result<()> {
    let meta = match base.begin_read()?.optional(tables::META) {
        Ok(found) => found.ok_or(Error::NotAStore)?,
        // a table of this name, and not of bytes: another's
        Err(Error::Storage(_)) => return Err(Error::NotAStore),
        Err(e) => return Err(e),
    };
    let row = meta.get(FORMAT.as_bytes())?.ok_or(Error::NotAStore)?;
    let found = number(FORMAT, unseal("meta", FORMAT.as_bytes(), row.value())?)?;
    if found == FILE_FORMAT {
        Ok(())
    } else {
        Err(Error::UnknownFormat { found, known: FILE_FORMAT })
    }
}

/// The rows from a number on; of the first all, also such as are no numbers.
fn from(ordinal: &[u8; 4]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let first = if *ordinal == [0; 4] { Bound::Unbounded } else { Bound::Included(&ordinal[..]) };
    (first, Bound::Unbounded)
}

/// Those that are not known yet. Of entity types only how many there are, however many that be.
fn load_names(tables: &Tables, directory: &Directory) -> Result<()> {
    let logs = tables.transaction.table(tables::LOGS)?;
    for row in logs.range::<&[u8]>(from(&directory.log_count().to_be_bytes()))? {
        let (key, value) = row?;
        check_ordinal("logs", key.value(), directory.log_count())?;
        let bytes = unseal("logs", key.value(), value.value())?;
        let mut r = Reader::new(bytes);
        let mut read = || {
            let id = LogId::from_bytes(r.array()?);
            let genesis = r.bytes()?;
            let fork = fork(&mut r, directory.log_count())?;
            r.end()?;
            Ok((id, genesis, Genesis::of_log(genesis, id)?, fork))
        };
        let (id, bytes, genesis, fork) = read().map_err(unreadable("logs", key.value()))?;
        let wrong = |what| Err(Error::corrupt("logs", super::hex(key.value()), what));
        match fork {
            None if directory.ordinal(id).is_some() => return wrong("a log that is here already"),
            None => drop(directory.add_log(id, bytes, &genesis)),
            Some(fork) if directory.branch(fork.name).is_some() => {
                return wrong("a branch that is here already");
            }
            Some(fork) if directory.log_id(fork.of) == Some(id) => drop(directory.add_branch(fork)),
            Some(_) => return wrong("a branch of another log"),
        }
    }
    if let Some((key, _)) = tables.types.last()? {
        let last = key.value().try_into().map(u32::from_be_bytes);
        let next = last.ok().and_then(|last| last.checked_add(1));
        let misplaced = || Error::corrupt("types", super::hex(key.value()), "not a number");
        directory.types_are_durable(next.ok_or_else(misplaced)?);
    }
    Ok(())
}

/// Numbers are given without gaps: where one is lost all after it would be mistaken.
fn check_ordinal(table: &'static str, key: &[u8], next: u32) -> Result<()> {
    if key == next.to_be_bytes() {
        Ok(())
    } else {
        Err(Error::corrupt(table, next, "the row is missing"))
    }
}

/// Row of a line: log id, genesis, and where it left another.
pub(crate) fn log_row(info: &LogInfo) -> Vec<u8> {
    let mut out = info.id.as_bytes().to_vec();
    out.bytes(&info.genesis);
    out.push(u8::from(info.fork.is_some()));
    if let Some(fork) = info.fork {
        out.varint(u64::from(fork.of));
        out.varint(fork.after);
        out.extend_from_slice(fork.name.as_bytes());
        out.extend_from_slice(fork.other.as_bytes());
    }
    out
}

/// `next`: the number of the line; it can only have left one that was here before.
fn fork(r: &mut Reader<'_>, next: u32) -> Read<Option<BranchPoint>> {
    match r.u8()? {
        0 => return Ok(None),
        1 => {}
        _ => return r.bad("an unknown flag"),
    }
    let (of, after) = (ordinal(r)?, r.varint()?);
    r.ensure(of < next, "a branch of a later line")?;
    let (name, other) = (LogId::from_bytes(r.array()?), LogId::from_bytes(r.array()?));
    Ok(Some(BranchPoint { of, after, name, other }))
}

/// The last record must be the end of its line: where `dots` has lost that, its sequence would be
/// used again.
fn check_last(view: &View<'_>, writer: &Writer, next_lsn: u64) -> Result<()> {
    let Some(last) = next_lsn.checked_sub(1) else { return Ok(()) };
    match view.record_uncached(last) {
        Ok(r) if writer.tip(r.ordinal).is_none_or(|tip| tip.last != r.header.last()) => {
            Err(Error::corrupt(
                "dots",
                format!("{}/{}", r.ordinal, r.header.first),
                "the row is missing",
            ))
        }
        Err(e) if !is_damage(&e) => Err(e),
        _ => Ok(()),
    }
}

fn varint(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    out.varint(n);
    out
}

fn number(name: &'static str, bytes: &[u8]) -> Result<u64> {
    Reader::new(bytes).varint().map_err(|e| Error::corrupt("meta", name, e))
}

fn commit_ref(bytes: &[u8]) -> Result<CommitRef> {
    let mut r = Reader::new(bytes);
    let mut read = || -> Read<CommitRef> {
        let log = LogId::from_bytes(r.array()?);
        Ok(CommitRef { log, sequence: r.varint()?, prefix: ChainPrefix::from_bytes(r.array()?) })
    };
    read().map_err(|e| Error::corrupt("meta", PREDECESSOR, e))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use heirloom_core::model::Timestamp;

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
