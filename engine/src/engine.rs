//! The engine: open, write, look, verify. Start reading here.

use std::collections::BTreeSet;
use std::sync::Arc;

use heirloom_core::merge::Policy;
use heirloom_core::model::{DatasetId, EntityId, LogId};

use crate::error::Result;
use crate::rules::Rules;
use crate::store::{CacheStats, ClosedCuts, Drainer, Identity, Indexer, Store};

/// An embedded store of versioned entities. Cheap to clone; all clones are the same engine;
/// `Send + Sync`.
///
/// Every write makes a new version and keeps all earlier ones; all operations work without any
/// peer.
///
/// ```
/// use heirloom::{Content, Engine, Patch};
/// let engine = Engine::builder().label("phone").dataset_name("home").in_memory()?;
/// let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("brightness", 40)))?;
/// engine.write(|tx| tx.patch(lamp, Patch::new().set("brightness", 80)))?;
///
/// let snapshot = engine.snapshot()?;
/// assert_eq!(snapshot.get(lamp)?.unwrap().get("brightness")?, Some(80.into()));
/// assert_eq!(snapshot.history(lamp)?.count(), 2);
/// assert!(engine.verify()?.is_clean());
/// # Ok::<(), heirloom::Error>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Before the store: it lets go of it when the engine goes.
    pub(crate) _indexer: Indexer,
    pub(crate) _drainer: Drainer,
    pub(crate) store: Arc<Store>,
    pub(crate) identity: Identity,
    pub(crate) rules: Rules,
    pub(crate) local_types: BTreeSet<String>,
    pub(crate) new_id: Arc<dyn Fn() -> EntityId + Send + Sync>,
    pub(crate) closed_cuts: ClosedCuts,
    pub(crate) dataset_name: Option<String>,
    /// Tells this opening of the store from all others.
    pub(crate) instance: [u8; 4],
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("dataset", &self.dataset())
            .field("log", &self.log_id())
            .finish()
    }
}

impl Engine {
    /// The dataset: given by name or id, else drawn with the first write, or adopted from the first
    /// peer; until then none.
    pub fn dataset(&self) -> Option<DatasetId> {
        self.store().dataset()
    }

    /// What the application calls the dataset, now or when it opened the file before; nothing where
    /// it gave no name.
    pub fn dataset_name(&self) -> Option<&str> {
        self.inner.dataset_name.as_deref()
    }

    /// The log that this engine's writes extend; none before its first write.
    pub fn log_id(&self) -> Option<LogId> {
        let own = self.store().known().own?;
        self.store().directory.log_id(own)
    }

    /// The device id under which people see this engine's writes; none before its first write.
    pub fn device_id(&self) -> Option<String> {
        let own = self.store().known().own?;
        self.store().directory.log(own).map(|l| l.device.clone())
    }

    /// How entities of a type are shown that diverged.
    pub fn policy(&self, entity_type: &str) -> Policy {
        self.store().policies.of(entity_type).clone()
    }

    /// A hash over all types whose policy is not `auto`, with the policies' names and versions;
    /// zero if there are none. Stores that give the same show the same; in a sync both sides
    /// are told if they do not.
    pub fn policy_fingerprint(&self) -> [u8; 8] {
        self.store().policies.fingerprint()
    }

    /// How the memory for decoded entities is used, since opening. An entity is kept from the
    /// second read on.
    ///
    /// ```
    /// # use heirloom::{Content, Engine};
    /// # let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// let snapshot = engine.snapshot()?;
    /// (0..4).try_for_each(|_| snapshot.get(lamp).map(drop))?;
    /// let stats = engine.cache_stats();
    /// assert_eq!((stats.hits, stats.misses, stats.hit_rate()), (2, 2, 0.5));
    /// assert!(stats.bytes <= stats.capacity);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn cache_stats(&self) -> CacheStats {
        self.store().caches.entities.stats()
    }

    /// Brings what lies in the journal into redb's tables.
    ///
    /// What was written is durable without it, and is read without it. It is done in the background
    /// when the journal is half full and after a pause in writing
    /// ([`Builder::drain_after`](crate::Builder::drain_after)), and when the store is closed. By
    /// hand it is of use before a measurement, and before a process goes that will be killed: the
    /// next opening then has nothing to read of the journal (up to some milliseconds). Costs a redb
    /// transaction; others read and write meanwhile. Does nothing if the journal is empty.
    ///
    /// [`Error::Closed`](crate::Error::Closed), [`Error::Poisoned`](crate::Error::Poisoned),
    /// [`Error::Storage`](crate::Error::Storage), [`Error::Corrupt`](crate::Error::Corrupt) where
    /// redb's own pages are damaged: all that was durable is.
    pub fn drain(&self) -> Result<()> {
        self.store().drain()
    }

    /// Closes the store for all clones and frees the file for others. Whoever still uses a clone or
    /// a [`Snapshot`](crate::Snapshot) gets [`Error::Closed`](crate::Error::Closed), at the latest
    /// where something would have to be read from the file.
    pub fn close(self) -> Result<()> {
        self.store().close()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }
}
