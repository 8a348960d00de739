//! Group commit: many commits made durable in one frame of the journal, then published.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use heirloom_core::fold::Heads;
use heirloom_core::model::{EntityId, Lsn, TypeNumber};

use super::group_commit::Batches;
use super::log_writer::{DurableBatch, LogWriter, Writing};
use super::store::Store;
use crate::error::{Error, Result, Table};
use crate::store::index::write_index;
use crate::store::read::View;
use crate::store::rows::{
    Delta, Gap, PIECE, Row, RowBatch, RowTable, Tables, add_checkpoint, catching, dot_key, gap_row,
    log_key, log_row, seal, type_key, unreadable, unseal,
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
    /// opened again; what was on its way may nevertheless turn out to be there then (all of it or
    /// nothing).
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

    /// What redb has, without the journal.
    pub(crate) fn read_tables(&self, commit: u64) -> Result<Arc<Tables>> {
        let base = self.base.read();
        let base = base.as_ref().ok_or(Error::Closed)?;
        catching("its tables", || {
            Tables::open(base.begin_read()?, Delta::default(), commit).map(Arc::new)
        })
    }

    /// The rows that a batch changes.
    fn rows_of(&self, batch: &DurableBatch, before: &Tables) -> Result<Vec<Row>> {
        let tx = RowBatch::over(before);
        self.write_names(&tx, batch)?;
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
            put_record(&mut log, *lsn, bytes);
        }
        let mut dots = tx.open_table(Table::Dots)?;
        for ((line, first), lsn) in &batch.dots {
            dots.insert(&dot_key(*line, *first), &lsn.get().to_be_bytes());
        }
        if !batch.missing.is_empty() {
            let mut missing = tx.open_table(Table::Missing)?;
            for (lsn, gap) in &batch.missing {
                let key = lsn.get().to_be_bytes();
                match gap {
                    Some(gap) => missing.insert(&key, &gap_row(*lsn, gap)),
                    None => missing.remove(&key),
                }
                // it keeps its place, also where that was lost with its record
                if let Some(Gap { line, first, damaged: true }) = gap {
                    dots.insert(&dot_key(*line, *first), &key);
                }
            }
        }
        let retyped = write_heads(&tx, batch)?;
        write_index(&tx, &batch.indexed, &retyped)?;
        Ok(tx.into_rows())
    }

    fn write_names(&self, tx: &RowBatch<'_>, batch: &DurableBatch) -> Result<()> {
        let mut meta = tx.open_table(Table::Meta)?;
        for (name, value) in &batch.meta {
            match value {
                Some(value) => meta.insert(name.as_bytes(), &seal(name.as_bytes(), value)),
                None => meta.remove(name.as_bytes()),
            }
        }
        let mut logs = tx.open_table(Table::Logs)?;
        for line in &batch.logs {
            let Some(info) = self.directory.log(*line) else { continue };
            let key = line.get().to_be_bytes();
            logs.insert(&key, &seal(&key, &log_row(&info)));
        }
        let mut types = tx.open_table(Table::Types)?;
        let mut names = tx.open_table(Table::TypeNames)?;
        for number in &batch.types {
            let Some(name) = self.directory.pending_type(*number) else { continue };
            let key = number.get().to_be_bytes();
            types.insert(&key, &seal(&key, name.as_bytes()));
            names.insert(name.as_bytes(), &key);
        }
        Ok(())
    }
}

impl Batches for Store {
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
        self.tables()
            .and_then(|before| self.rows_of(batch, &before))
            .and_then(|rows| self.write_rows(rows, batch.number))
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

pub(crate) fn put_record(log: &mut RowTable<'_>, lsn: Lsn, bytes: &[u8]) {
    for (i, piece) in bytes.chunks(PIECE).enumerate() {
        let key = log_key(lsn, i as u32);
        log.insert(&key, &seal(&key, piece));
    }
}

pub(crate) fn drop_record(log: &mut RowTable<'_>, lsn: Lsn) -> Result<()> {
    log.remove_between(&log_key(lsn, 0), &log_key(lsn, u32::MAX))
}

/// Heads, and the tables that follow from them: the difference to the row that stood there tells
/// what changes. Returns whose type changed.
fn write_heads(tx: &RowBatch<'_>, batch: &DurableBatch) -> Result<Vec<EntityId>> {
    let mut table = tx.open_table(Table::Heads)?;
    let mut by_type = tx.open_table(Table::ByType)?;
    let mut unsettled = tx.open_table(Table::Unsettled)?;
    let mut retyped = Vec::new();
    for (entity, heads) in &batch.heads {
        let key = entity.as_bytes();
        let row = seal(key, &heads.encode());
        let before = table.get(key)?.map(|old| peek(*entity, old.value())).transpose()?;
        let now = peek(*entity, &row)?;
        table.insert(key, &row);
        match before {
            Some((_, before)) if before == now.1 => {}
            before => {
                if let Some((_, before)) = before {
                    by_type.remove(&type_key(before, *entity));
                    retyped.push(*entity);
                }
                by_type.insert(&type_key(now.1, *entity), &[]);
            }
        }
        match (before.is_some_and(|before| before.0), now.0) {
            (false, true) => unsettled.insert(key, &[]),
            (true, false) => unsettled.remove(key),
            _ => {}
        }
    }
    Ok(retyped)
}

fn peek(entity: EntityId, row: &[u8]) -> Result<(bool, TypeNumber)> {
    let value = unseal(Table::Heads, entity.as_bytes(), row)?;
    Heads::peek(value).map_err(unreadable(Table::Heads, entity.as_bytes()))
}
