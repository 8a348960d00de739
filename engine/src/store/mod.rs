//! The store: redb tables, the log in them, the fold that derives heads from it, and the one writer.

mod author;
mod cache;
mod directory;
mod fold;
mod head;
mod index;
mod ingest;
mod open;
mod past;
mod record;
mod sealed;
mod tables;
mod view;
mod writer;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use redb::Database;

use crate::error::{Error, Result};
use crate::model::Timestamp;

pub(crate) use author::{Place, Planned, author};
use directory::Directory;
pub(crate) use fold::{Bodies, Incoming, fold};
pub(crate) use head::Place as LeafPlace;
pub(crate) use head::{Head, Heads, decode_row, in_place};
pub(crate) use index::{
    Declared, Field, Index, State as IndexState, if_shown, index_key, index_parts, keys_of, read_indexed,
};
pub use ingest::Ingested;
pub(crate) use open::{Identity, Options};
pub(crate) use past::{At, Content, Dot};
pub(crate) use record::Record;
pub use record::Void as VoidReason;
pub(crate) use sealed::{hex, seal, unreadable, unseal};
pub(crate) use tables::{INDEX, INDEXED, PEERS, ReadTable, STAGING, Tables, log_key, staging_key, type_key};
pub(crate) use view::{Caches, View};
pub(crate) use writer::Writer;

use writer::Known;

/// Where the engine gets the time from.
pub(crate) type ClockSource = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// An open store. Readers share what was published last; there is one writer at a time.
pub(crate) struct Store {
    database: RwLock<Option<Database>>,
    /// The newest durable state.
    published: RwLock<Option<Arc<Tables>>>,
    pub(crate) directory: Directory,
    caches: Caches,
    writer: Mutex<Writer>,
    known: Arc<RwLock<Known>>,
    /// The thread whose closure is running, so that a write inside a write is an error and no deadlock.
    pub(crate) holder: Mutex<Option<std::thread::ThreadId>>,
    /// Held while a durable commit is on its way; who waits for it joins the next one.
    flushing: Mutex<()>,
    pub(crate) now: ClockSource,
    /// The fields that queries may ask for.
    pub(crate) declared: Vec<Declared>,
}

impl Store {
    /// The newest durable state. Costs nothing; shared by all who ask between two commits.
    pub(crate) fn tables(&self) -> Result<Arc<Tables>> {
        self.published.read().clone().ok_or(Error::Closed)
    }

    /// What this store knows of itself.
    pub(crate) fn known(&self) -> Known {
        *self.known.read()
    }

    pub(crate) fn view<'a>(&'a self, tables: &'a Tables) -> View<'a> {
        View { tables, directory: &self.directory, caches: &self.caches, pending: None }
    }

    /// Lets readers see what was written beside the log.
    pub(crate) fn publish(&self) -> Result<()> {
        // in turn with the durable commits, so that no older state is published over a newer one
        let _turn = self.flushing.lock();
        let tables = self.read_tables()?;
        let mut writer = self.writer.lock();
        *self.published.write() = Some(tables.clone());
        writer.tables = Some(tables);
        Ok(())
    }

    /// Lets go of the file, whoever still reads it.
    pub(crate) fn close(&self) -> Result<()> {
        let _no_flush = self.flushing.lock();
        self.published.write().take();
        match self.database.write().take() {
            Some(database) => Ok(database.close()?),
            None => Ok(()),
        }
    }
}
