//! Existing versioned data comes in here: commits of other devices, authored one after another.

use std::collections::HashMap;

use heirloom_core::error::Invalid;
use heirloom_core::fold::{Head, Heads, Stored};
use heirloom_core::format::genesis::{Genesis, is_label};
use heirloom_core::format::hash;
use heirloom_core::limits;
use heirloom_core::model::{
    Chain, Clock, CommitRef, Content, DatasetId, EntityId, LogId, Sequence, VersionRef,
};

use crate::engine::Engine;
use crate::error::{Error, Result, Table};
use crate::read::Version;
use crate::store;
use crate::store::{LogCut, View};

/// Imported commits become durable together when they reach this size.
pub(crate) const FLUSH: usize = 4 << 20;

/// Authors commits for given devices with given pasts and times, as if these devices had written
/// them.
///
/// Deterministic: log ids follow from the dataset and the device ids, so a second import of the
/// same history gives the same bytes and adds nothing, and a longer one adds only what is new.
/// Takes memory for each device and for what is not flushed yet, not for the history.
///
/// What drafts read, and the commits that they give, are durable with the next
/// [`flush`](Self::flush) or [`finish`](Self::finish) that returns well, not before. Errors rest on
/// what is durable: what was on its way is made so before they are given.
///
/// ```
/// use heirloom::{Content, Engine, EntityId, Timestamp};
/// let engine = Engine::builder().dataset_name("notes").in_memory()?;
/// let mut importer = engine.importer()?;
/// let (old, new) = (importer.device("old-app")?, importer.device("new-app")?);
/// let note = EntityId::v5(&[0; 16], b"note 1");
///
/// let mut draft = importer.commit(old, &[], Timestamp::from_millis(1_000))?;
/// draft.create(note, "note", &Content::new().with("text", "first"))?;
/// let first = draft.finish()?;
///
/// let mut draft = importer.commit(new, &[&first], Timestamp::from_millis(2_000))?;
/// draft.put(note, "note", &Content::new().with("text", "second"))?;
/// draft.finish()?;
/// importer.finish()?;
/// assert_eq!(engine.snapshot()?.history(note)?.count(), 2);
/// # Ok::<(), heirloom::Error>(())
/// ```
pub struct Importer {
    pub(super) engine: Engine,
    pub(super) dataset: DatasetId,
    pub(super) devices: Vec<DeviceLog>,
    pub(super) by_log: HashMap<LogId, usize>,
}

/// A device of an [`Importer`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Device(pub(super) usize);

pub(super) struct DeviceLog {
    pub(super) log: LogId,
    pub(super) genesis_bytes: Vec<u8>,
    pub(super) genesis: Genesis,
    /// Last sequence, chain and wall of what was imported so far.
    pub(super) before: (Sequence, Chain),
    pub(super) wall: u64,
}

/// An imported commit: what later ones may name as their past.
#[derive(Clone, Debug)]
pub struct Authored {
    pub(super) commit: CommitRef,
    pub(super) clock: Clock,
    pub(super) new: bool,
    pub(super) versions: usize,
}

impl Authored {
    /// Refers to the commit.
    pub fn commit(&self) -> CommitRef {
        self.commit
    }

    /// All that it has seen, itself included.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether the store did not have it yet.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// How many versions it holds.
    pub fn versions(&self) -> usize {
        self.versions
    }
}

impl Importer {
    pub(crate) fn new(engine: Engine) -> Result<Self> {
        let dataset = engine.dataset().ok_or_else(|| Error::NoDataset)?;
        Ok(Self { engine, dataset, devices: Vec::new(), by_log: HashMap::new() })
    }

    /// A device by its exact id (1 to 64 printable ASCII characters without space). Its log appears
    /// with its first commit.
    pub fn device(&mut self, id: &str) -> Result<Device> {
        if !is_label(id, true) {
            return Err(Invalid::Device { name: id.to_owned(), most: 64 }.into());
        }
        let genesis = Genesis {
            level: limits::LEVEL,
            dataset: self.dataset,
            nonce: hash::import_nonce(&self.dataset, id),
            managed: true,
            label: id.to_owned(),
            public_key: None,
            predecessor: None,
        };
        let genesis_bytes = genesis.encode();
        let log = hash::log_id(&genesis_bytes);
        if let Some(known) = self.by_log.get(&log) {
            return Ok(Device(*known));
        }
        let before = (Sequence::START, hash::chain_of_genesis(&genesis_bytes));
        self.devices.push(DeviceLog { log, genesis_bytes, genesis, before, wall: 0 });
        self.by_log.insert(log, self.devices.len() - 1);
        Ok(Device(self.devices.len() - 1))
    }

    /// A handle for a commit that is here already, with its clock
    /// ([`Snapshot::clock_at`](crate::Snapshot::clock_at), or the one that
    /// [`Draft::finish`](crate::Draft::finish) gave). If it belongs to a device of this import,
    /// that goes on after it.
    pub fn authored(&mut self, commit: &CommitRef, clock: Clock) -> Result<Authored> {
        // which may be on its way, brought by somebody else
        self.make_durable()?;
        let none = || Error::NotHere { log: commit.log, sequence: commit.sequence };
        let record = self.with_view(|view| view.find(commit)?.ok_or_else(none))?;
        if let Some(device) = self.by_log.get(&commit.log).map(|i| &mut self.devices[*i])
            && device.before.0 < commit.sequence
        {
            device.before = (commit.sequence, record.chain);
            device.wall = record.header.wall;
        }
        Ok(Authored { commit: *commit, clock, new: false, versions: record.header.versions.len() })
    }

    /// The heads that an entity had in a past. Costs a look at each of its later versions.
    pub fn heads(&self, past: &Clock, entity: EntityId) -> Result<Vec<Version>> {
        self.with_view(|view| {
            let heads = heads_in(view, past, entity)?;
            let version = |h: &Head| {
                let dot = (h.writer.line, h.writer.reference.sequence);
                let missing =
                    || Error::corrupt(Table::Log, h.writer.reference, "a version is missing");
                let at = view.version(dot)?.ok_or_else(missing)?;
                Version::new(view, &at, &view.parents(&at)?)
            };
            heads.list.iter().map(version).collect()
        })
    }

    /// The content of a version, as `auto` shows it; nothing for a tombstone.
    pub fn content(&self, version: &VersionRef) -> Result<Option<Content>> {
        self.with_view(|view| {
            let none = || Error::NotHere { log: version.log, sequence: version.sequence };
            let at = view.version_by(version)?.ok_or_else(none)?;
            match view.content(&at)? {
                Stored::Live(state) => {
                    let shown = heirloom_core::merge::show(&state);
                    Ok(Some(heirloom_core::merge::unflatten(
                        shown.iter().map(|s| (s.path.as_ref(), &*s.entry.value)),
                    )))
                }
                Stored::Tombstone => Ok(None),
                Stored::Absent => Err(Error::Absent(*version)),
            }
        })
    }

    pub(super) fn with_view<T>(&self, f: impl FnOnce(&View<'_>) -> Result<T>) -> Result<T> {
        let store = self.engine.store();
        let writer = store.writer()?;
        f(&store.writer_view(&writer)?)
    }

    /// Makes all that was imported durable and visible, and what others had on its way before it.
    /// So does size, every few MiB. Writes nothing if nothing is on its way.
    pub fn flush(&mut self) -> Result<()> {
        self.make_durable()
    }

    fn make_durable(&self) -> Result<()> {
        let store = self.engine.store();
        let batch = store.writer()?.rests_on();
        store.flush(batch)
    }

    /// An error rests on commits that may be on their way: on nothing less than is durable then.
    pub(super) fn refused(&self, error: Error) -> Error {
        self.make_durable().err().unwrap_or(error)
    }

    /// Makes all that was imported durable, as [`flush`](Self::flush) does, and ends the import.
    pub fn finish(mut self) -> Result<()> {
        self.flush()
    }
}

pub(crate) fn heads_in(view: &View<'_>, past: &Clock, entity: EntityId) -> Result<Heads> {
    let heads = view.heads(entity)?;
    if view.directory.has_forks() {
        let cut = LogCut::of(view, past)?;
        return view.heads_in(&heads, &store::Part::Upto(&|line| cut.upto(line)));
    }
    let upto = |line| {
        let log = view.directory.log_id(line);
        log.and_then(|l| past.get(l)).map_or(Sequence::START, |e| e.sequence)
    };
    view.heads_in(&heads, &store::Part::Upto(&upto))
}

impl Engine {
    /// Brings in existing versioned data, as commits of other devices.
    ///
    /// # Errors
    /// [`Error::NoDataset`] if the store has no dataset yet: an import derives ids from it, so it
    /// must be given by name or id.
    pub fn importer(&self) -> Result<Importer> {
        Importer::new(self.clone())
    }
}
