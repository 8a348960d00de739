//! Choices before a store is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use heirloom_core::merge::Policy;
use heirloom_core::model::{DatasetId, EntityId, Timestamp};

use crate::error::Result;
use crate::rules::{Proposal, Rules};
use crate::store::{Field, Wanted};

/// Choices for a store, with their defaults.
#[derive(Clone)]
pub struct Builder {
    pub(crate) label: String,
    pub(crate) managed: bool,
    pub(crate) dataset: Option<DatasetId>,
    pub(crate) dataset_name: Option<String>,
    pub(crate) install: Option<Vec<u8>>,
    pub(crate) drain_after: Option<Duration>,
    pub(crate) journal_bytes: Option<u64>,
    pub(crate) wanted: Wanted,
    pub(crate) shared: bool,
    pub(crate) cache_bytes: usize,
    pub(crate) policies: BTreeMap<String, Policy>,
    /// Types whose policy is given by name.
    pub(crate) named_policies: Vec<(String, String)>,
    pub(crate) registered_policies: Vec<Policy>,
    pub(crate) rules: Rules,
    pub(crate) local_types: BTreeSet<String>,
    pub(crate) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub(crate) entropy: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    pub(crate) new_id: Arc<dyn Fn() -> EntityId + Send + Sync>,
    pub(crate) indexes: Vec<Field>,
    pub(crate) index_in_background: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            label: "device".to_owned(),
            managed: false,
            dataset: None,
            dataset_name: None,
            install: None,
            drain_after: Some(Duration::from_secs(5)),
            journal_bytes: None,
            wanted: Wanted::Any,
            shared: false,
            cache_bytes: 64 << 20,
            policies: BTreeMap::new(),
            named_policies: Vec::new(),
            registered_policies: Vec::new(),
            rules: Rules::default(),
            local_types: BTreeSet::new(),
            now: Arc::new(system_now),
            entropy: Arc::new(|| uuid::Uuid::new_v4().into_bytes()),
            new_id: Arc::new(|| EntityId::from_bytes(uuid::Uuid::now_v7().into_bytes())),
            indexes: Vec::new(),
            index_in_background: true,
        }
    }
}

/// The machine's clock; before 1970 and after 9999 the bounds of the format.
fn system_now() -> Timestamp {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Builder {
    /// What people shall call this device; the device id adds 8 digits, so labels may repeat.
    /// Default: `device`. 1 to 55 printable ASCII characters without space.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self.managed = false;
        self
    }

    /// The exact device id, where the application manages identity and never gives one twice. 1 to
    /// 64 printable ASCII characters without space.
    #[must_use]
    pub fn device_id(mut self, id: impl Into<String>) -> Self {
        self.label = id.into();
        self.managed = true;
        self
    }

    /// The dataset by name: devices that use the same name can write before they ever meet. The
    /// file keeps the name, so that who opens it under another one is told.
    #[must_use]
    pub fn dataset_name(self, name: &str) -> Self {
        Self { dataset_name: Some(name.to_owned()), ..self.dataset(DatasetId::from_name(name)) }
    }

    /// The dataset. Default: that of the file; of a new one it is random with the first write, or
    /// adopted from the first peer. A store that has one keeps it, written to or not: a peer of
    /// another is refused.
    #[must_use]
    pub fn dataset(mut self, dataset: DatasetId) -> Self {
        (self.dataset, self.dataset_name) = (Some(dataset), None);
        self
    }

    /// Memory for caches, in bytes, an eighth of it for what is in the journal alone. Default: 64
    /// MiB, which a phone can spare; a hub may want more.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How entities of a type are shown that diverged. Default: [`Policy::Auto`]. The last
    /// one given for a type counts.
    #[must_use]
    pub fn policy(mut self, entity_type: impl Into<String>, policy: Policy) -> Self {
        let entity_type = entity_type.into();
        self.named_policies.retain(|(t, _)| *t != entity_type);
        self.policies.insert(entity_type, policy);
        self
    }

    /// How entities of a type are shown, by the name of the policy as it stands in a configuration:
    /// one of the eight that [`Policy`] lists, or of a custom one given to
    /// [`register_policy`](Self::register_policy). Opening gives
    /// [`Invalid::UnknownPolicy`](crate::Invalid::UnknownPolicy) if there is none.
    ///
    /// ```
    /// use heirloom::{Engine, Error, Invalid, Policy, Resolution};
    /// let keep =
    ///     Policy::custom("keep", 1, |conflict| Resolution::Head(conflict.heads[0].version));
    /// let engine =
    ///     Engine::builder().register_policy(keep).policy_named("note", "keep").in_memory()?;
    /// assert_eq!(engine.policy("note").name(), "keep");
    /// let unknown = Engine::builder().policy_named("note", "newest").in_memory();
    /// let Err(Error::Invalid(Invalid::UnknownPolicy(name))) = unknown else {
    ///     panic!("there is no such policy");
    /// };
    /// assert_eq!(name, "newest");
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

    /// A rule for what is written here on entities of a type: it sees each entity before and
    /// after, and an error of it undoes the whole transaction with
    /// [`Error::Rejected`](crate::Error::Rejected). Several rules must all agree. What other
    /// devices wrote was judged there and is taken as it is.
    ///
    /// ```
    /// use heirloom::{Content, Engine, Error, Value};
    /// let engine = Engine::builder()
    ///     .validate("lamp", |lamp| match lamp.after.as_ref().and_then(|c| c.get("brightness")) {
    ///         Some(Value::Int(n)) if !(0..=100).contains(n) => {
    ///             Err(format!("brightness {n} is not 0 to 100"))
    ///         }
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

    /// Some bytes that the application keeps outside of what is backed up or copied (a keychain, a
    /// registry, a file that backups leave out), drawn when it was installed. A store that is
    /// opened with another one than it was written with is a copy: see
    /// [`Engine::opened`](crate::Engine::opened). Default: none; a file is then told from its
    /// copies by what the system says of it.
    #[must_use]
    pub fn install_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.install = Some(id.into());
        self
    }

    /// [`open`](Self::open) makes no store: where there is no file it is
    /// [`Error::NoFile`](crate::Error::NoFile). Takes the place of
    /// [`must_be_new`](Self::must_be_new). Default: it makes one where there is none.
    ///
    /// ```
    /// use heirloom::{Engine, Error};
    /// let opened = Engine::builder().must_exist().open("no/such/file");
    /// assert!(matches!(opened, Err(Error::NoFile(_))));
    /// ```
    #[must_use]
    pub fn must_exist(mut self) -> Self {
        self.wanted = Wanted::Existing;
        self
    }

    /// [`open`](Self::open) makes a new store: where anything is already it is
    /// [`Error::FileExists`](crate::Error::FileExists), and of two who make it at once one gets
    /// that. Takes the place of [`must_exist`](Self::must_exist).
    ///
    /// ```
    /// use heirloom::{Engine, Error};
    /// # let dir = std::env::temp_dir().join(format!("heirloom-new-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir).unwrap();
    /// # let path = dir.join("store");
    /// Engine::builder().must_be_new().open(&path)?.close()?;
    /// let again = Engine::builder().must_be_new().open(&path);
    /// assert!(matches!(again, Err(Error::FileExists(_))));
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    #[must_use]
    pub fn must_be_new(mut self) -> Self {
        self.wanted = Wanted::New;
        self
    }

    /// One process writes the file while others read it: a viewer or a command-line tool beside a
    /// running hub. Both sides ask for it, the writer with [`open`](Self::open), the readers with
    /// [`open_read_only`](Self::open_read_only); who does not is
    /// [`Error::AlreadyOpen`](crate::Error::AlreadyOpen) while the other has the file. Of stores in
    /// files; on Linux, Apple's systems and Windows. Default: a writer is alone.
    ///
    /// Each [`snapshot`](crate::Engine::snapshot) of a reader is of the newest commit, and so are
    /// [`changes`](crate::Engine::changes); it may be a moment before that is durable, which the
    /// writer itself never shows. Nobody wakes it: a blocking
    /// [`Subscription`](crate::Subscription) looks ten times a second, an async one only when it is
    /// polled. An index that was built after it opened serves it from the next opening on.
    ///
    /// # Costs
    /// A reader's snapshot does two short reads of the file, and after each commit of the writer
    /// reads the ends of all logs, as opening does. While a snapshot lives, in whatever process,
    /// the file grows by what is rewritten.
    ///
    /// # Errors
    /// [`Error::NeedsWriter`](crate::Error::NeedsWriter) for a reader of a file that was left by a
    /// process that was killed, or copied while it was in use, until a writer has opened it once,
    /// or, without this, `open_read_only` reads it.
    ///
    /// ```
    /// use heirloom::{Content, Engine};
    /// # let dir = std::env::temp_dir().join(format!("heirloom-shared-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir).unwrap();
    /// # let path = dir.join("store");
    /// let hub = Engine::builder().shared().open(&path)?;
    /// // in another process
    /// let viewer = Engine::builder().shared().open_read_only(&path)?;
    /// hub.write(|tx| tx.create("lamp", &Content::new()))?;
    /// assert_eq!(viewer.snapshot()?.list("lamp").count()?, 1);
    /// # viewer.close()?;
    /// # hub.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// After how long without a write the engine brings what lies in the journal into redb's
    /// tables, as [`Engine::drain`](crate::Engine::drain) does, on a thread of its own. Of stores
    /// in files only. Default: 5 seconds; `None`: only when the journal is half full, and at the
    /// end.
    #[must_use]
    pub fn drain_after(mut self, pause: impl Into<Option<Duration>>) -> Self {
        self.drain_after = pause.into();
        self
    }

    /// How large the journal of a store is that is made: bytes at the beginning of its file, of
    /// which only those take room on the disk that were ever used. A larger one is brought into the
    /// tables less often, in larger parts, which costs less altogether; and opening after a kill
    /// reads up to half of it. From 64 KiB to 1 GiB. A store that exists keeps what it has.
    /// Default: 16 MiB in a file, 256 KiB elsewhere.
    #[must_use]
    pub fn journal_bytes(mut self, bytes: u64) -> Self {
        self.journal_bytes = Some(bytes);
        self
    }

    /// Where the time comes from. Default: the machine's clock. For tests and simulations.
    #[must_use]
    pub fn wall_clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.now = Arc::new(now);
        self
    }

    /// Where randomness comes from: 16 fresh bytes a call, for the nonces of logs, random datasets
    /// and new entity ids. Default: the machine's. For tests and simulations: two logs that draw
    /// the same are one log.
    #[must_use]
    pub fn entropy(mut self, draw: impl Fn() -> [u8; 16] + Send + Sync + 'static) -> Self {
        self.entropy = Arc::new(draw);
        let draw = self.entropy.clone();
        self.new_id = Arc::new(move || EntityId::from_bytes(draw()));
        self
    }
}
