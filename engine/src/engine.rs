//! The engine: open, write, look, verify. Start reading here.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::import::Importer;
use crate::index::Indexer;
use crate::past::ClosedCuts;
use crate::replication::Replication;
use crate::snapshot::Snapshot;
use crate::store::{
    Bodies, CacheStats, Folded, Identity, IdleFlush, Incoming, Place, Store, author, fold,
};
use crate::transaction::Transaction;
use crate::validation::Rules;
use heirloom_core::format::header::Header;
use heirloom_core::merge::Policy;
use heirloom_core::model::{
    Chain, Clock, CommitRef, DatasetId, EntityId, LogId, LogRoot, Metadata, NodeId, StateDigest,
};

/// An embedded store of versioned entities. Cheap to clone; all clones are the same engine;
/// `Send + Sync`.
///
/// Every write makes a new version and keeps all earlier ones (R2); all operations work without any
/// peer (R8).
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
    pub(crate) _idle: IdleFlush,
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
    /// Choices before opening.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Opens the store in a file, or makes one, with the defaults of [`Builder`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// A store that lives as long as its engine, with the defaults of [`Builder`].
    pub fn in_memory() -> Result<Self> {
        Self::builder().in_memory()
    }

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

    /// Forgets a peer that will not come back: what it holds, whether it is a hub, the beginning of
    /// a large commit that it was sending. Nothing that anybody wrote goes. How many logs it opened
    /// here stays counted. If it comes back it is met as a stranger. Does nothing where it is not
    /// known.
    ///
    /// [`Error::Closed`], [`Error::ReadOnly`], [`Error::Storage`].
    pub fn forget_peer(&self, node: NodeId) -> Result<()> {
        self.replication().unstage(node)?;
        self.replication().forget(node)
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

    /// Changes entities, all or nothing (R9). What the closure did becomes one commit, durable when
    /// this returns.
    ///
    /// The closure sees all that is durable or about to be, and its own changes. Closures run one
    /// at a time, so the closure should be quick; commits of several threads share their way to
    /// the disk. A closure that changes nothing writes nothing. What this returns, an error of the
    /// closure too, never rests on less than is durable: if what the closure saw was still on its
    /// way to the disk, it is awaited.
    ///
    /// # Errors
    /// An error of the closure, or a panic in it, leaves no trace. [`Invalid::Limit`] if the commit
    /// would break a limit of the format. After [`Error::Storage`] nothing is visible, the engine
    /// refuses further writes, and only reopening tells whether the commit got through (it is there
    /// whole or not at all). [`Error::Storage`] or [`Error::Poisoned`] comes in place of the
    /// closure's own answer, too, where what it saw could not be made durable.
    pub fn write<T, E: From<Error>>(
        &self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.write_with(Metadata::new(), f)
    }

    /// Like [`write`](Self::write), with words about the commit that stay in its header.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Metadata};
    /// # let engine = Engine::in_memory()?;
    /// let why = Metadata::new().with_actor("ada").with_message("moved in");
    /// let lamp = engine.write_with(why, |tx| tx.create("lamp", &Content::new()))?;
    /// assert_eq!(engine.snapshot()?.heads(lamp)?[0].metadata().message(), "moved in");
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn write_with<T, E: From<Error>>(
        &self,
        metadata: Metadata,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let store = self.store();
        let (out, batch) = {
            let mut writer = store.writer()?;
            let seen = writer.rests_on();
            let out = self.attempt(&mut writer, &metadata, f);
            let batch = if out.is_ok() { writer.rests_on() } else { seen };
            (out, batch)
        };
        // an answer without a commit of its own, an error too, rests on what the closure saw
        store.flush(batch)?;
        out
    }

    /// Runs a closure, and takes in what it did.
    fn attempt<T, E: From<Error>>(
        &self,
        writer: &mut crate::store::Writer,
        metadata: &Metadata,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut transaction =
            Transaction::new(self, self.store().writer_view(writer)?, writer.known.own);
        let out = f(&mut transaction)?;
        let plan = transaction.into_plan()?;
        if !plan.is_empty() {
            self.commit(writer, metadata, plan)?;
        }
        Ok(out)
    }

    /// Makes what a transaction did a commit of this engine's own log, and what of it never leaves
    /// one of its local log. Durable with the writer's batch, both or neither.
    fn commit(
        &self,
        writer: &mut crate::store::Writer,
        metadata: &Metadata,
        plan: Vec<crate::store::Planned>,
    ) -> Result<()> {
        let store = self.store();
        let (local, shared): (Vec<_>, Vec<_>) = plan.into_iter().partition(|p| self.stays_here(p));
        let known = writer.known.dataset;
        let draw = || DatasetId::from_bytes((self.inner.identity.nonce)());
        let dataset = if shared.is_empty() { known } else { Some(known.unwrap_or_else(draw)) };
        let made = match self.make_both(writer, dataset, metadata, local, shared) {
            Ok(made) => made,
            Err(e) => {
                // one that was drawn in vain binds nobody
                if known.is_none() {
                    writer.forget_log();
                }
                return Err(e);
            }
        };
        // from here on nothing fails
        if let Some(drawn) = dataset.filter(|_| known.is_none()) {
            writer.settle_dataset(drawn);
        }
        for Made { ordinal, chain, header, places, folded } in made {
            if !folded.local {
                writer.wall = header.wall;
            }
            store.append(writer, ordinal, chain, &header, &places, folded);
        }
        Ok(())
    }

    fn make_both(
        &self,
        writer: &mut crate::store::Writer,
        dataset: Option<DatasetId>,
        metadata: &Metadata,
        local: Vec<crate::store::Planned>,
        shared: Vec<crate::store::Planned>,
    ) -> Result<Vec<Made>> {
        let store = self.store();
        let mut made = Vec::with_capacity(2);
        if let Some(dataset) = dataset.filter(|_| !shared.is_empty()) {
            let log = writer.own_log(store, dataset, &self.inner.identity);
            let refs = writer.refs(store, log.0, &shared);
            made.push(self.make(writer, log, refs, metadata, shared)?);
        }
        if !local.is_empty() {
            let log = writer.local_log(store, &self.inner.identity)?;
            made.push(self.make(writer, log, Default::default(), metadata, local)?);
        }
        Ok(made)
    }

    /// Authors and folds a commit.
    fn make(
        &self,
        writer: &crate::store::Writer,
        (ordinal, log): (u32, LogId),
        (refs, places): (Vec<CommitRef>, Vec<(u32, u64)>),
        metadata: &Metadata,
        plan: Vec<crate::store::Planned>,
    ) -> Result<Made> {
        let store = self.store();
        let tip = writer.tip(ordinal);
        let before = match (tip, store.directory.log(ordinal)) {
            (Some(tip), _) => (tip.last, tip.chain),
            (None, Some(info)) => (0, heirloom_core::format::hash::chain_of_genesis(&info.genesis)),
            (None, None) => return Err(Error::corrupt("logs", ordinal, "an unknown log")),
        };
        // what stays here orders nobody's writes but ours: its times may go back when our clock was
        // put right
        let wall_before =
            if store.directory.is_local(ordinal) { 0 } else { tip.map_or(0, |t| t.wall) };
        let wall = writer.wall.max(wall_before).max((store.now)().saturated());
        let view = store.writer_view(writer)?;
        let authored = author(&view, Place { log, ordinal, before }, wall, refs, metadata, plan)?;
        let incoming = Incoming {
            log,
            ordinal,
            chain: authored.chain,
            header: &authored.header,
            header_bytes: &authored.header_bytes,
            trailer: heirloom_core::format::commit::NO_TRAILER,
            wall_before,
        };
        let folded = fold(&view, &incoming, Bodies::Known(authored.settled))?;
        debug_assert!(folded.voids.is_empty(), "an honest commit is not void: {:?}", folded.voids);
        Ok(Made { ordinal, chain: authored.chain, header: authored.header, places, folded })
    }

    /// One consistent state over all entities, as of the last durable commit (R10). Costs nothing;
    /// never blocks a writer. While it lives, redb keeps the pages that it can see: drop it when
    /// done.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(self.clone(), self.store().tables()?))
    }

    /// How far this store is into each log (R7). Costs a look-up a log.
    pub fn clock(&self) -> Result<Clock> {
        self.snapshot()?.clock()
    }

    /// Hash over all commits: equal log roots prove equal logs (I7). Costs a look-up a log.
    pub fn log_root(&self) -> Result<LogRoot> {
        self.snapshot()?.log_root()
    }

    /// Sum over all heads (R23).
    pub fn state_digest(&self) -> Result<StateDigest> {
        self.snapshot()?.state_digest()
    }

    /// Brings in existing versioned data, as commits of other devices.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the store has no dataset yet: an import derives ids from it, so it
    /// must be given by name or id.
    pub fn importer(&self) -> Result<Importer> {
        Importer::new(self.clone())
    }

    /// How entities of a type are shown that diverged (R18).
    pub fn policy(&self, entity_type: &str) -> Policy {
        self.store().policies.of(entity_type).clone()
    }

    /// A hash over all types whose policy is not `auto`, with the policies' names and versions;
    /// zero if there are none. Stores that give the same show the same (R19); in a sync both sides
    /// are told if they do not.
    pub fn policy_fingerprint(&self) -> [u8; 8] {
        self.store().policies.fingerprint()
    }

    /// How the memory for decoded entities is used (R8), since opening. An entity is kept from the
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

    /// What sync is built on.
    pub fn replication(&self) -> Replication {
        Replication::new(self.clone())
    }

    /// Makes the next opening quick even if the process is killed: call it when the application
    /// goes to the background (R37).
    ///
    /// What was written is durable without it. But after a kill redb walks the whole file at
    /// opening (some seconds for some GiB), unless the last commit was made by this, or by itself
    /// when nothing was written for a while ([`Builder::idle_flush`]). Writes several times what an
    /// ordinary commit does; does nothing if nothing was written since.
    ///
    /// [`Error::Closed`], [`Error::Poisoned`], [`Error::Storage`]: all that was durable is.
    pub fn flush(&self) -> Result<()> {
        self.store().flush_for_opening()
    }

    /// Closes the store for all clones and frees the file for others. Whoever still uses a clone or
    /// a [`Snapshot`] gets [`Error::Closed`], at the latest where something would have to be read
    /// from the file.
    pub fn close(self) -> Result<()> {
        self.store().close()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }
}

/// A commit that is ready to be taken in.
struct Made {
    ordinal: u32,
    chain: Chain,
    header: Header,
    /// Where what it refers to is.
    places: Vec<(u32, u64)>,
    folded: Folded,
}
