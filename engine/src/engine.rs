//! The engine: open, write, look, verify. Start reading here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::import::Importer;
use crate::index::Indexer;
use crate::merge::{Policies, Policy};
use crate::model::{Clock, DatasetId, EntityId, LogId, LogRoot, Metadata, StateDigest, Timestamp};
use crate::past::ClosedCuts;
use crate::replication::Replication;
use crate::snapshot::Snapshot;
use crate::store::{Bodies, CacheStats, Field, Identity, Incoming, Options, Place, Store, author, fold};
use crate::transaction::Transaction;
use crate::validation::{Proposal, Rules};
use crate::verify::{Verification, verify};

/// An embedded store of versioned entities. Cheap to clone; all clones are the same engine; `Send + Sync`.
///
/// Every write makes a new version and keeps all earlier ones (R2); all operations work without any peer (R8).
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
    _indexer: Indexer,
    pub(crate) store: Arc<Store>,
    pub(crate) identity: Identity,
    pub(crate) rules: Rules,
    pub(crate) new_id: Arc<dyn Fn() -> EntityId + Send + Sync>,
    pub(crate) closed_cuts: ClosedCuts,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("dataset", &self.dataset()).field("log", &self.log_id()).finish()
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

    /// The dataset: given by name or id, else drawn with the first write, or adopted from the first peer; until then none.
    pub fn dataset(&self) -> Option<DatasetId> {
        self.store().dataset()
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

    /// Changes entities, all or nothing (R9). What the closure did becomes one commit, durable when this returns.
    ///
    /// The closure sees all that is durable or about to be, and its own changes. Closures run one at a time, so the closure should be quick;
    /// commits of several threads share their way to the disk (R4, R8). A closure that changes nothing writes nothing.
    ///
    /// # Errors
    /// An error of the closure, or a panic in it, leaves no trace. [`Error::Limit`] if the commit would break a limit of the
    /// format. After [`Error::Storage`] nothing is visible, the engine refuses further writes, and only reopening tells whether the commit got
    /// through (it is there whole or not at all).
    pub fn write<T, E: From<Error>>(
        &self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.write_with(Metadata::new(), f)
    }

    /// Like [`write`](Self::write), with words about the commit that stay in its header.
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
            let _held = store.hold();
            let mut transaction = Transaction::new(self, store.writer_view(&writer)?, store.known().own);
            let out = f(&mut transaction)?;
            let plan = transaction.into_plan()?;
            if plan.is_empty() {
                return Ok(out);
            }
            self.commit(&mut writer, &metadata, plan)?;
            (out, writer.batch)
        };
        store.flush(batch)?;
        Ok(out)
    }

    /// Authors and folds a commit of this engine's own log; durable with the writer's batch.
    fn commit(
        &self,
        writer: &mut crate::store::Writer,
        metadata: &Metadata,
        plan: Vec<crate::store::Planned>,
    ) -> Result<()> {
        let store = self.store();
        let dataset = match store.known().dataset {
            Some(dataset) => dataset,
            None => {
                let drawn = DatasetId::from_bytes((self.inner.identity.nonce)());
                writer.settle_dataset(drawn);
                drawn
            }
        };
        let (ordinal, log) = writer.own_log(store, dataset, &self.inner.identity);
        let tip = writer.tip(ordinal);
        let before = match (tip, store.directory.log(ordinal)) {
            (Some(tip), _) => (tip.last, tip.chain),
            (None, Some(info)) => (0, crate::format::hash::chain_of_genesis(&info.genesis)),
            (None, None) => return Err(Error::corrupt("logs", ordinal, "an unknown log")),
        };
        let wall = writer.wall.max((store.now)().saturated());
        let (refs, places) = writer.refs(store, ordinal, &plan);
        let authored =
            author(&store.writer_view(writer)?, Place { log, ordinal, before }, wall, refs, metadata, plan)?;
        let incoming = Incoming {
            log,
            ordinal,
            chain: authored.chain,
            header: &authored.header,
            header_bytes: &authored.header_bytes,
            trailer: crate::format::commit::NO_TRAILER,
            wall_before: tip.map_or(0, |t| t.wall),
        };
        let folded = fold(&store.writer_view(writer)?, &incoming, Bodies::Known(authored.settled))?;
        debug_assert!(folded.voids.is_empty(), "an honest commit is not void: {:?}", folded.voids);
        store.append(writer, ordinal, authored.chain, &authored.header, &places, folded);
        writer.wall = wall;
        Ok(())
    }

    /// One consistent state over all entities, as of the last durable commit (R10). Costs nothing; never blocks a writer.
    /// While it lives, redb keeps the pages that it can see: drop it when done.
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

    /// Reads everything again: checksums, chains, states, and what is derived from the log, which it rebuilds and compares (R33).
    /// Reads the whole file and takes memory for the heads of all entities.
    pub fn verify(&self) -> Result<Verification> {
        verify(&self.snapshot()?)
    }

    /// Brings in existing versioned data, as commits of other devices.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the store has no dataset yet: an import derives ids from it, so it must be given by name or id.
    pub fn importer(&self) -> Result<Importer> {
        Importer::new(self.clone())
    }

    /// How entities of a type are shown that diverged (R18).
    pub fn policy(&self, entity_type: &str) -> Policy {
        self.store().policies.of(entity_type).clone()
    }

    /// A hash over all types whose policy is not `auto`, with the policies' names and versions; zero if there are none. Stores that give the same show
    /// the same (R19); in a sync both sides are told if they do not.
    pub fn policy_fingerprint(&self) -> [u8; 8] {
        self.store().policies.fingerprint()
    }

    /// How the memory for decoded entities is used (R8), since opening.
    /// ```
    /// # use heirloom::{Content, Engine};
    /// # let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// let snapshot = engine.snapshot()?;
    /// (0..4).try_for_each(|_| snapshot.get(lamp).map(drop))?;
    /// let stats = engine.cache_stats();
    /// assert_eq!((stats.hits, stats.misses, stats.hit_rate()), (3, 1, 0.75));
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

    /// Closes the store for all clones and frees the file for others. Whoever still uses a clone or a [`Snapshot`] gets [`Error::Closed`], at the
    /// latest where something would have to be read from the file.
    pub fn close(self) -> Result<()> {
        self.store().close()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }
}

impl EntityId {
    /// A fresh id from the machine's clock and randomness (UUID v7), so that ids of one device ascend.
    pub fn new_v7() -> Self {
        Self::from_bytes(uuid::Uuid::now_v7().into_bytes())
    }
}

/// Choices for a store, with their defaults.
#[derive(Clone)]
pub struct Builder {
    label: String,
    managed: bool,
    dataset: Option<DatasetId>,
    cache_bytes: usize,
    policies: BTreeMap<String, Policy>,
    /// Types whose policy is given by name.
    named_policies: Vec<(String, String)>,
    registered_policies: Vec<Policy>,
    rules: Rules,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    entropy: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    new_id: Arc<dyn Fn() -> EntityId + Send + Sync>,
    pub(crate) indexes: Vec<Field>,
    pub(crate) index_in_background: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            label: "device".to_owned(),
            managed: false,
            dataset: None,
            cache_bytes: 64 << 20,
            policies: BTreeMap::new(),
            named_policies: Vec::new(),
            registered_policies: Vec::new(),
            rules: Rules::default(),
            now: Arc::new(system_now),
            entropy: Arc::new(|| uuid::Uuid::new_v4().into_bytes()),
            new_id: Arc::new(EntityId::new_v7),
            indexes: Vec::new(),
            index_in_background: true,
        }
    }
}

/// The machine's clock; before 1970 and after 9999 the bounds of the format.
fn system_now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Builder {
    /// What people shall call this device; the device id adds 8 digits, so labels may repeat. Default: `device`. 1 to 55 printable ASCII
    /// characters without space.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self.managed = false;
        self
    }

    /// The exact device id, where the application manages identity and never gives one twice. 1 to 64 printable ASCII characters without space.
    #[must_use]
    pub fn device_id(mut self, id: impl Into<String>) -> Self {
        self.label = id.into();
        self.managed = true;
        self
    }

    /// The dataset by name: devices that use the same name can write before they ever meet.
    #[must_use]
    pub fn dataset_name(self, name: &str) -> Self {
        self.dataset(DatasetId::from_name(name))
    }

    /// The dataset. Default: that of the file; of a new one it is random with the first write, or adopted from the first peer.
    #[must_use]
    pub fn dataset(mut self, dataset: DatasetId) -> Self {
        self.dataset = Some(dataset);
        self
    }

    /// Memory for caches, in bytes. Default: 64 MiB, which a phone can spare; a hub may want more.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How entities of a type are shown that diverged (R18). Default: [`Policy::Auto`]. The last one given for a type counts.
    #[must_use]
    pub fn policy(mut self, entity_type: impl Into<String>, policy: Policy) -> Self {
        let entity_type = entity_type.into();
        self.named_policies.retain(|(t, _)| *t != entity_type);
        self.policies.insert(entity_type, policy);
        self
    }

    /// The same by name, as it stands in a configuration: one of the eight that [`Policy`] lists, or of a custom one given to
    /// [`register_policy`](Self::register_policy). Opening gives [`Error::UnknownPolicy`] if there is none.
    /// ```
    /// use heirloom::{Engine, Error, Policy, Resolution};
    /// let keep = Policy::custom("keep", 1, |conflict| Resolution::Head(conflict.heads[0].version));
    /// let engine = Engine::builder().register_policy(keep).policy_named("note", "keep").in_memory()?;
    /// assert_eq!(engine.policy("note").name(), "keep");
    /// let unknown = Engine::builder().policy_named("note", "newest").in_memory();
    /// assert!(matches!(unknown, Err(Error::UnknownPolicy(name)) if name == "newest"));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    #[must_use]
    pub fn policy_named(mut self, entity_type: impl Into<String>, name: impl Into<String>) -> Self {
        let entity_type = entity_type.into();
        self.named_policies.retain(|(t, _)| *t != entity_type);
        self.named_policies.push((entity_type, name.into()));
        self
    }

    /// Makes a custom policy known by its name.
    #[must_use]
    pub fn register_policy(mut self, policy: Policy) -> Self {
        self.registered_policies.push(policy);
        self
    }

    /// A rule for what is written here on entities of a type (R8): it sees each entity before and after, and an error of it undoes the whole
    /// transaction with [`Error::Rejected`]. Several rules must all agree. What other devices wrote was judged there and is taken as it is.
    ///
    /// ```
    /// use heirloom::{Content, Engine, Error, Value};
    /// let engine = Engine::builder()
    ///     .validate("lamp", |lamp| match lamp.after.as_ref().and_then(|c| c.get("brightness")) {
    ///         Some(Value::Int(n)) if !(0..=100).contains(n) => Err(format!("brightness {n} is not 0 to 100")),
    ///         _ => Ok(()),
    ///     })
    ///     .in_memory()?;
    /// let refused = engine.write(|tx| tx.create("lamp", &Content::new().with("brightness", 300)));
    /// assert!(matches!(refused, Err(Error::Rejected { .. })));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    #[must_use]
    pub fn validate(
        mut self,
        entity_type: &str,
        rule: impl Fn(&Proposal) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.rules.add(entity_type, rule);
        self
    }

    /// Where the time comes from. Default: the machine's clock. For tests and simulations.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.now = Arc::new(now);
        self
    }

    /// Where randomness comes from: 16 fresh bytes a call, for the nonces of logs, random datasets and new entity ids. Default:
    /// the machine's. For tests and simulations: two logs that draw the same are one log.
    #[must_use]
    pub fn entropy(mut self, draw: impl Fn() -> [u8; 16] + Send + Sync + 'static) -> Self {
        self.entropy = Arc::new(draw);
        let draw = self.entropy.clone();
        self.new_id = Arc::new(move || EntityId::from_bytes(draw()));
        self
    }

    /// Opens the store in a file, or makes one. Does not read the log, however long it is. Damage in the log does not keep it from
    /// opening: what is sound stays readable; if the last commits are damaged, writing is [`Error::Corrupt`].
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`], [`Error::UnknownFormat`], [`Error::NotAStore`], [`Error::Corrupt`], [`Error::Storage`]: the file is as it was.
    /// [`Error::WrongDataset`] if it holds commits of another dataset than the one given. [`Error::Invalid`] for a label that is none.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Engine> {
        let store = Store::open_file(path.as_ref(), self.options()?)?;
        Ok(self.engine(store))
    }

    /// A store that lives as long as its engine.
    pub fn in_memory(self) -> Result<Engine> {
        self.open_backend(redb::backends::InMemoryBackend::new())
    }

    /// A store on any storage that redb can use. Errors as for [`open`](Self::open).
    pub fn open_backend(self, backend: impl redb::StorageBackend) -> Result<Engine> {
        let store = Store::open_backend(backend, self.options()?)?;
        Ok(self.engine(store))
    }

    fn options(&self) -> Result<Options> {
        if !crate::format::genesis::is_label(&self.label, self.managed) {
            let most = if self.managed { "64" } else { "55" };
            return Err(Error::invalid(format!(
                "{:?} cannot name a device: use 1 to {most} printable ASCII characters without space",
                self.label
            )));
        }
        Ok(Options {
            cache_bytes: self.cache_bytes,
            now: self.now.clone(),
            dataset: self.dataset,
            policies: Policies::new(self.policies.clone(), &self.named_policies, &self.registered_policies)?,
            indexes: crate::index::checked(&self.indexes)?,
        })
    }

    fn engine(self, store: Store) -> Engine {
        let identity = Identity { label: self.label, managed: self.managed, nonce: self.entropy };
        let store = Arc::new(store);
        let _indexer = Indexer::start(&store, self.index_in_background);
        Engine {
            inner: Arc::new(Inner {
                _indexer,
                store,
                identity,
                rules: self.rules,
                new_id: self.new_id,
                closed_cuts: ClosedCuts::default(),
            }),
        }
    }
}
