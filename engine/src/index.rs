//! Declaring indexes, and the thread that builds them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::engine::{Builder, Engine};
use crate::error::{Error, Result};
use crate::format::limits;
use crate::model::Path;
use crate::store::{Field, Index, IndexState, Store};

/// How far an index is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct IndexStatus {
    /// The entity type.
    pub entity_type: String,
    /// The keys that lead to the field.
    pub path: Vec<String>,
    /// Whether queries use it. Until then they look at all entities of the type.
    pub ready: bool,
}

impl Builder {
    /// Keeps an index of a field of an entity type, so that [`Snapshot::query`](crate::Snapshot::query) finds entities by its value (R14).
    ///
    /// Indexed is what is shown: null, true and false, numbers, timestamps, texts, bytes; an array, a map or a field that is not there is
    /// found by no query. Each commit that changes an entity of the type brings its rows along: about two rows for each changed
    /// value. Other types cost nothing.
    ///
    /// Indexes are a choice of each opening. One that is new for the file is built in the background by a thread `heirloom-index`, in slices between
    /// which others write; closing or dropping the engine ends it after the slice at hand, and the next opening goes on there. One that is
    /// no longer declared is dropped in the same way.
    ///
    /// ```
    /// use heirloom::{Content, Engine};
    /// let engine = Engine::builder().index("lamp", "brightness").index_at("lamp", ["colour", "hue"]).in_memory()?;
    /// engine.write(|tx| {
    ///     for b in [70, 20, 50] {
    ///         tx.create("lamp", &Content::new().with("brightness", b))?;
    ///     }
    ///     Ok::<_, heirloom::Error>(())
    /// })?;
    /// let snapshot = engine.snapshot()?;
    /// let bright = snapshot.query("lamp", "brightness")?.at_least(50).entities()?;
    /// let values: Vec<_> = bright.iter().map(|lamp| lamp.get("brightness")).collect::<Result<_, _>>()?;
    /// assert_eq!(values, [Some(50.into()), Some(70.into())]);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    #[must_use]
    pub fn index(self, entity_type: &str, field: &str) -> Self {
        self.index_at(entity_type, [field])
    }

    /// The same for a nested field. Opening is [`Error::Invalid`] with an entity type or a path that no entity can have.
    #[must_use]
    pub fn index_at<K: AsRef<str>>(mut self, entity_type: &str, path: impl IntoIterator<Item = K>) -> Self {
        let field = Field { entity_type: entity_type.to_owned(), path: Path::new(path) };
        if !self.indexes.contains(&field) {
            self.indexes.push(field);
        }
        self
    }
}

/// Fields that entities can have.
pub(crate) fn checked(fields: &[Field]) -> Result<Vec<Field>> {
    for Field { entity_type, path } in fields {
        let keys_fit = path.as_ref().keys().all(|k| k.len() <= limits::KEY);
        if !(1..=limits::TYPE).contains(&entity_type.len())
            || !(1..=limits::DEPTH).contains(&path.depth())
            || !keys_fit
        {
            return Err(Error::invalid(format!(
                "no entity of type {entity_type:?} can have a field {path}: a type has 1 to {} bytes, a path 1 to {} keys of at most {} bytes",
                limits::TYPE,
                limits::DEPTH,
                limits::KEY
            )));
        }
    }
    Ok(fields.to_vec())
}

impl Engine {
    /// The declared indexes, in the order of their declaration, and how far they are.
    pub fn indexes(&self) -> Result<Vec<IndexStatus>> {
        let tables = self.store().tables()?;
        let status = |declared: &crate::store::Declared| {
            let state = declared.ordinal.map(|o| Index::state(&tables, o)).transpose()?;
            Ok(IndexStatus {
                entity_type: declared.field.entity_type.clone(),
                path: declared.field.path.as_ref().keys().map(str::to_owned).collect(),
                ready: state == Some(IndexState::Ready),
            })
        };
        self.store().declared.iter().map(status).collect()
    }

    /// Builds what is still to be built, and drops what is to be dropped, in this thread; returns when all indexes are ready. Others read and write
    /// meanwhile. Looks once at each entity of the types concerned.
    ///
    /// After an error what was built so far stands; the next opening, or another call, goes on there.
    pub fn build_indexes(&self) -> Result<()> {
        while self.store().index_step()? {}
        Ok(())
    }
}

/// The thread that builds indexes, if there was something to do. Ends when it is done, or with the engine.
pub(crate) struct Indexer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    pub(crate) fn start(store: &Arc<Store>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = store.has_index_work().then(|| {
            let (store, stop) = (store.clone(), stop.clone());
            let work = move || {
                // an error or a panic ends the work: queries scan, and the next opening goes on
                let step = || catch_unwind(AssertUnwindSafe(|| store.index_step()));
                while !stop.load(Ordering::Relaxed) && matches!(step(), Ok(Ok(true))) {}
            };
            std::thread::Builder::new().name("heirloom-index".to_owned()).spawn(work).ok()
        });
        Self { stop, thread: thread.flatten() }
    }
}

impl Drop for Indexer {
    /// Waits, so that the file is free when the engine is gone.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
