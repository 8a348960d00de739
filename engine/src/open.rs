//! Opening a store: what was chosen becomes an engine.

use std::path::Path;
use std::sync::Arc;

use heirloom_core::error::Invalid;
use heirloom_core::merge::Policies;

use crate::builder::Builder;
use crate::engine::{Engine, Inner};
use crate::error::Result;
use crate::maintain::checked;
use crate::store::{ClosedCuts, Drainer, Identity, Indexer, Options, Store};
use crate::traced::TRACED;

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
}

impl Builder {
    /// Opens the store in a file, or makes one. Does not read the log, however long it is. Damage
    /// in the log does not keep it from opening: what is sound stays readable; if the last commits
    /// are damaged, writing is [`Error::Corrupt`](crate::Error::Corrupt).
    ///
    /// After a crash or a power cut the file holds all that was acknowledged. A new file gets its
    /// name when it is a store: a crash before leaves none, but maybe one beside it whose name ends
    /// in `.partial` and that can be deleted.
    ///
    /// While it is open the file must stay at this path, and nobody else may write it. Where it was
    /// removed, replaced, cut or written, the next commit and [`Engine::verify`] are
    /// [`Error::FileChanged`](crate::Error::FileChanged), and nothing is written from then on. In a
    /// process that was forked from this one every call is [`Error::Forked`](crate::Error::Forked).
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`](crate::Error::AlreadyOpen),
    /// [`Error::UnknownFormat`](crate::Error::UnknownFormat),
    /// [`Error::NotAStore`](crate::Error::NotAStore), [`Error::Corrupt`](crate::Error::Corrupt),
    /// [`Error::Storage`](crate::Error::Storage): the file is as it was.
    /// [`Error::NotAFile`](crate::Error::NotAFile) for a directory, a pipe, a socket, a device;
    /// [`Error::EmptyFile`](crate::Error::EmptyFile) for one that was cut to nothing: a store is
    /// only made where there is no file. [`Error::WrongDataset`](crate::Error::WrongDataset) if it
    /// holds commits of another dataset than the one given.
    /// [`Error::Invalid`](crate::Error::Invalid) for a label that is none.
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

    pub(crate) fn options(&self) -> Result<Options> {
        if !heirloom_core::format::genesis::is_label(&self.label, self.managed) {
            let most = if self.managed { 64 } else { 55 };
            return Err(Invalid::Device { name: self.label.clone(), most }.into());
        }
        Ok(Options {
            cache_bytes: self.cache_bytes,
            now: self.now.clone(),
            dataset: self.dataset,
            policies: Policies::new(
                self.policies.clone(),
                &self.named_policies,
                &self.registered_policies,
            )?,
            install: self.install.clone(),
            indexes: checked(&self.indexes)?,
            dataset_name: self.dataset_name.clone(),
            wanted: self.wanted,
            shared: self.shared,
            journal_bytes: self.journal_bytes,
        })
    }

    pub(crate) fn engine(self, store: Store) -> Engine {
        let identity = Identity { label: self.label, managed: self.managed, nonce: self.entropy };
        let dataset_name = store.dataset_name.as_deref().map(str::to_owned);
        let store = Arc::new(store);
        let (commits, opened) = (store.durable().get(), store.opened);
        tracing::info!(target: TRACED, commits, ?opened, read_only = store.read_only, "opened");
        let _indexer = Indexer::start(&store, self.index_in_background && !store.read_only);
        let _drainer = Drainer::start(&store, self.drain_after);
        // never from the application's entropy: two stores that draw the same are not one
        let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
        let instance = [a, b, c, d];
        Engine {
            inner: Arc::new(Inner {
                _indexer,
                _drainer,
                store,
                identity,
                rules: self.rules,
                local_types: self.local_types,
                new_id: self.new_id,
                closed_cuts: ClosedCuts::default(),
                dataset_name: self.dataset_name.or(dataset_name),
                instance,
            }),
        }
    }
}
