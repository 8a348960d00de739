//! Group commit: many commits made durable in one redb transaction, then published.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use heirloom_core::fold::Heads;
use heirloom_core::model::{EntityId, Lsn, TypeNumber};
use redb::Durability;

use super::group_commit::Journal;
use super::log_writer::{DurableBatch, LogWriter, Writing};
use super::store::{Backing, Store};
use crate::error::{Error, Result, Table};
use crate::store::index::write_index;
use crate::store::read::View;
use crate::store::rows::{
    PIECE, Tables, WriteTable, WriteTables, add_checkpoint, catching, dot_key, gap_row, log_key,
    log_row, seal, transact, type_key, unreadable, unseal,
};
use crate::traced::TRACED;

impl Store {
    /// The writer, unless writing is over.
    pub(crate) fn writer(&self) -> Result<Writing<'_>> {
        self.check_not_held()?;
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        let writer = Writing { writer: self.writer.lock(), holder: &self.holder };
        *self.holder.lock() = Some(std::thread::current().id());
        if self.group.is_broken() {
            return Err(self.broken());
        }
        if let Some(Error::Corrupt { table, key, what }) = &writer.damage {
            return Err(Error::corrupt(*table, key, what));
        }
        if writer.tables.is_none() || self.published.read().is_none() {
            return Err(Error::Closed);
        }
        Ok(writer)
    }

    /// What the writer sees: the durable state under what is on its way.
    pub(crate) fn writer_view<'a>(&'a self, writer: &'a LogWriter) -> Result<View<'a>> {
        let tables = writer.tables.as_deref().ok_or(Error::Closed)?;
        Ok(View { pending: Some(&writer.pending), ..self.view(tables) })
    }

    /// Returns when all commits up to `batch` are durable, visible and announced. Whoever comes
    /// first writes for all that wait.
    ///
    /// After a failure nothing of the batch is visible, and the store refuses writes until it is
    /// opened again; what redb had on its way may nevertheless turn out to be there then (all of it
    /// or nothing).
    pub(crate) fn flush(&self, batch: u64) -> Result<()> {
        self.group.flush(self, batch).map_err(|e| match e {
            Error::Poisoned => self.broken(),
            e => e,
        })?;
        // by each who returns, so that nobody misses its own commit, and out of turn, so that a
        // waker that runs long keeps no writer waiting
        self.wake.advance(self.durable().get());
        Ok(())
    }

    pub(crate) fn read_tables(&self, commit: u64) -> Result<Arc<Tables>> {
        let base = self.base.read();
        let base = base.as_ref().ok_or(Error::Closed)?;
        catching("its tables", || Tables::open(base.begin_read()?, commit).map(Arc::new))
    }

    /// One redb transaction.
    pub(crate) fn transact(&self, write: impl FnOnce(&WriteTables) -> Result<()>) -> Result<()> {
        self.check_not_held()?;
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        let done = self.commit(false, write);
        self.idle.written();
        done
    }

    /// `quick`: opening is quick as long as no other follows.
    pub(crate) fn commit(
        &self,
        quick: bool,
        write: impl FnOnce(&WriteTables) -> Result<()>,
    ) -> Result<()> {
        let base = self.base.read();
        let database = match &*base {
            Some(Backing::Writing(database)) => database,
            Some(Backing::Following(_)) => return Err(Error::ReadOnly),
            None => return Err(Error::Closed),
        };
        // before, so that nothing is written to what is another's; after, so that nobody is told
        // that it is durable what went away with the file
        self.check_file()?;
        let quick = quick || self.marred.load(Ordering::Acquire);
        transact(database, Durability::Immediate, quick, write)?;
        self.check_file()
    }

    fn write_batch(&self, batch: &DurableBatch) -> Result<()> {
        self.transact(|tx| {
            self.write_names(tx, batch)?;
            let mut log = tx.open_table(Table::Log)?;
            let last = batch.next_lsn.before();
            for (lsn, _) in &batch.healed {
                drop_record(&mut log, *lsn)?;
            }
            for (lsn, record) in batch.healed.iter().chain(&batch.lsns) {
                let mut with_checkpoint;
                let mut bytes = &record[..];
                if Some(*lsn) == last {
                    with_checkpoint = bytes.to_vec();
                    add_checkpoint(&mut with_checkpoint, &batch.checkpoint);
                    bytes = &with_checkpoint;
                }
                put_record(&mut log, *lsn, bytes)?;
            }
            let mut dots = tx.open_table(Table::Dots)?;
            for ((line, first), lsn) in &batch.dots {
                dots.insert(&dot_key(*line, *first)[..], &lsn.get().to_be_bytes()[..])?;
            }
            if !batch.missing.is_empty() {
                let mut missing = tx.open_table(Table::Missing)?;
                for (lsn, gap) in &batch.missing {
                    let key = lsn.get().to_be_bytes();
                    match gap {
                        Some(gap) => drop(missing.insert(&key[..], &gap_row(*lsn, gap)[..])?),
                        None => drop(missing.remove(&key[..])?),
                    }
                }
            }
            let retyped = write_heads(tx, batch)?;
            write_index(tx, &batch.indexed, &retyped)
        })
    }

    fn write_names(&self, tx: &WriteTables, batch: &DurableBatch) -> Result<()> {
        if !batch.meta.is_empty() {
            let mut meta = tx.open_table(Table::Meta)?;
            for (name, value) in &batch.meta {
                match value {
                    Some(value) => {
                        drop(meta.insert(name.as_bytes(), &seal(name.as_bytes(), value)[..])?)
                    }
                    None => drop(meta.remove(name.as_bytes())?),
                }
            }
        }
        if !batch.logs.is_empty() {
            let mut logs = tx.open_table(Table::Logs)?;
            for line in &batch.logs {
                let Some(info) = self.directory.log(*line) else { continue };
                let key = line.get().to_be_bytes();
                logs.insert(&key[..], &seal(&key, &log_row(&info))[..])?;
            }
        }
        if !batch.types.is_empty() {
            let mut types = tx.open_table(Table::Types)?;
            let mut names = tx.open_table(Table::TypeNames)?;
            for number in &batch.types {
                let Some(name) = self.directory.pending_type(*number) else { continue };
                let key = number.get().to_be_bytes();
                types.insert(&key[..], &seal(&key, name.as_bytes())[..])?;
                names.insert(name.as_bytes(), &key[..])?;
            }
        }
        Ok(())
    }
}

impl Journal for Store {
    type Batch = DurableBatch;
    type State = Arc<Tables>;
    type Error = Error;

    fn close_batch(&self) -> (u64, DurableBatch) {
        let batch = self.writer.lock().close_batch(
            self.directory.log_count(),
            self.directory.type_count(),
            self.missing.take_changes(),
        );
        (batch.number, batch)
    }

    fn write(&self, batch: &DurableBatch) -> Result<Arc<Tables>> {
        let (number, commits, healed) = (batch.number, batch.lsns.len(), batch.healed.len());
        let span = tracing::debug_span!(target: TRACED, "flush", number, commits, healed);
        let _entered = span.enter();
        self.write_batch(batch)
            .and_then(|()| self.read_tables(batch.number))
            .inspect_err(|error| tracing::error!(target: TRACED, %error, "not durable"))
    }

    fn publish(&self, batch: DurableBatch, tables: Arc<Tables>) {
        let mut writer = self.writer.lock();
        if !batch.healed.is_empty() {
            self.caches.healed(batch.number);
        }
        self.caches.entities.changed(batch.number, batch.heads.iter().map(|(id, _)| id));
        *self.published.write() = Some(tables.clone());
        *self.known.write() = batch.known;
        if let Some((last, _)) = batch.lsns.last() {
            self.durable.store(last.next().get(), Ordering::Release);
        }
        writer.batch_is_durable(&batch, tables);
        // now that both views read them from the tables
        if let Some(last) = batch.types.last() {
            self.directory.types_are_durable(last.get() + 1);
        }
    }

    fn refused() -> Error {
        Error::Poisoned
    }
}

pub(crate) fn put_record(log: &mut WriteTable<'_>, lsn: Lsn, bytes: &[u8]) -> Result<()> {
    for (i, piece) in bytes.chunks(PIECE).enumerate() {
        let key = log_key(lsn, i as u32);
        log.insert(&key[..], &seal(&key, piece)[..])?;
    }
    Ok(())
}

pub(crate) fn drop_record(log: &mut WriteTable<'_>, lsn: Lsn) -> Result<()> {
    log.remove_between(&log_key(lsn, 0), &log_key(lsn, u32::MAX))
}

/// Heads, and the tables that follow from them: the difference to the row that stood there tells
/// what changes. Returns whose type changed.
fn write_heads(tx: &WriteTables, batch: &DurableBatch) -> Result<Vec<EntityId>> {
    let mut table = tx.open_table(Table::Heads)?;
    let (mut by_type, mut unsettled) = (Vec::new(), Vec::new());
    for (entity, heads) in &batch.heads {
        let key = entity.as_bytes();
        let row = seal(key, &heads.encode());
        let before = match table.insert(&key[..], &row[..])? {
            Some(old) => Some(peek(*entity, &old)?),
            None => None,
        };
        let now = peek(*entity, &row)?;
        if before.map(|b| b.1) != Some(now.1) {
            by_type.push((*entity, before.map(|b| b.1), now.1));
        }
        if before.is_some_and(|b| b.0) != now.0 {
            unsettled.push((*entity, now.0));
        }
    }
    drop(table);
    let retyped =
        by_type.iter().filter_map(|(entity, before, _)| before.map(|_| *entity)).collect();
    if !by_type.is_empty() {
        let mut table = tx.open_table(Table::ByType)?;
        for (entity, before, now) in by_type {
            if let Some(before) = before {
                table.remove(&type_key(before, entity)[..])?;
            }
            table.insert(&type_key(now, entity)[..], &[][..])?;
        }
    }
    if !unsettled.is_empty() {
        let mut table = tx.open_table(Table::Unsettled)?;
        for (entity, is) in unsettled {
            if is {
                table.insert(&entity.as_bytes()[..], &[][..])?;
            } else {
                table.remove(&entity.as_bytes()[..])?;
            }
        }
    }
    Ok(retyped)
}

fn peek(entity: EntityId, row: &[u8]) -> Result<(bool, TypeNumber)> {
    let value = unseal(Table::Heads, entity.as_bytes(), row)?;
    Heads::peek(value).map_err(unreadable(Table::Heads, entity.as_bytes()))
}
