//! Draining: what lies in the journal goes into redb's tables, in the order of keys, in one redb
//! transaction. Each page is then written once for many commits, and the ring is free again.
//!
//! A background thread does it beside writers: what it drains is frozen first, and hides behind
//! what they add meanwhile. Where a commit finds no room in the ring, whoever has the turn drains
//! at once. Lock order: the turn, then `drain`; who holds that one never asks for the turn.

use std::sync::Arc;

use redb::Durability;

use super::log_writer::LogWriter;
use super::store::{Backing, Drained, Store};
use crate::error::{Error, Result, Table};
use crate::store::journal::{End, Frame};
use crate::store::rows::{
    JOURNAL, LOST, Layer, Row, RowBatch, Tables, WriteTables, catching, journal_row, seal, transact,
};
use crate::traced::TRACED;

impl Store {
    /// Rows written beside the log: durable, and visible, when it returns.
    pub(crate) fn transact(&self, write: impl FnOnce(&RowBatch<'_>) -> Result<()>) -> Result<()> {
        self.check_not_held()?;
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        // in turn with the durable commits, so that no older state is published over a newer one
        self.group.in_turn(|| {
            // what a failed commit left would become visible, and its number is not known
            if self.group.is_broken() {
                return Err(self.broken());
            }
            let tables = self.write_beside(write)?;
            self.show(&mut self.writer.lock(), tables);
            Ok(())
        })
    }

    /// The same for whoever has the turn; the state after it, to be [shown](Self::show).
    pub(in crate::store) fn write_beside(
        &self,
        write: impl FnOnce(&RowBatch<'_>) -> Result<()>,
    ) -> Result<Arc<Tables>> {
        let before = self.tables()?;
        let batch = RowBatch::over(&before);
        write(&batch)?;
        self.write_rows(batch.into_rows(), before.commit)
    }

    /// Lets readers see a state that holds the same commits as the one before.
    pub(in crate::store) fn show(&self, writer: &mut LogWriter, tables: Arc<Tables>) {
        *self.published.write() = Some(tables.clone());
        writer.tables = Some(tables);
    }

    /// Makes rows durable, for whoever has the turn. The state after them, which has this number.
    pub(super) fn write_rows(&self, rows: Vec<Row>, commit: u64) -> Result<Arc<Tables>> {
        let before = self.tables()?;
        if rows.is_empty() {
            return Ok(Arc::new(before.under(before.delta.clone(), commit)));
        }
        // before, so that nothing is written to what is another's; after, so that nobody is told
        // that it is durable what went away with the file
        self.check_file()?;
        let mut frame = Frame::new();
        rows.iter().for_each(|row| row.put(frame.payload()));
        let mut journal = self.journal.lock();
        if !journal.has_room(&frame) {
            drop((journal, frame));
            return self.drain_with(rows, commit);
        }
        catching("the journal", || journal.append(frame))?;
        let (is_half_full, is_sound) = (journal.is_half_full(), journal.check().is_ok());
        drop(journal);
        self.check_file()?;
        let delta = before.delta.with(rows);
        let is_full = is_sound && (is_half_full || delta.growing_cost() > self.delta_bytes);
        let tables = Arc::new(before.under(delta, commit));
        self.idle.written(is_full);
        if is_full && !self.idle.is_watched() {
            // nobody else does it; what fails here is durable all the same
            return Ok(self.drain_now(&tables, Vec::new()).unwrap_or(tables));
        }
        Ok(tables)
    }

    /// All that the journal holds goes into the tables, and these rows with it, for whoever has the
    /// turn.
    fn drain_with(&self, rows: Vec<Row>, commit: u64) -> Result<Arc<Tables>> {
        // what is drained is no longer known to be damaged
        self.journal.lock().check()?;
        let before = self.tables()?;
        let numbered = before.under(before.delta.clone(), commit);
        self.drain_now(&numbered, rows)
    }

    /// The state that shows the same as `before` and these rows, and needs no journal.
    fn drain_now(&self, before: &Tables, rows: Vec<Row>) -> Result<Arc<Tables>> {
        let mut drain = self.drain.lock();
        // one that is not shown yet is in the tables, whatever is written over it
        let drained = drain.take();
        let delta = drained.map_or(before.delta.clone(), |(layer, _)| before.delta.drained(&layer));
        let delta = delta.with(rows).freeze();
        let end = self.journal.lock().freeze();
        self.write_tables(delta.draining(), end)?;
        self.journal.lock().drained(end.position);
        self.read_tables(before.commit)
    }

    /// One redb transaction that holds a layer, and says up to where the journal is in the tables.
    fn write_tables(&self, layer: &Layer, end: End) -> Result<()> {
        let rows = layer.len();
        let span = tracing::debug_span!(target: TRACED, "drain", rows);
        let _entered = span.enter();
        self.write_directly(|tx| {
            tx.apply(layer.rows())?;
            let mut meta = tx.open_table(Table::Meta)?;
            meta.insert(JOURNAL.as_bytes(), &journal_row(end))?;
            Ok(())
        })
        .inspect_err(|error| tracing::error!(target: TRACED, %error, "not drained"))
    }

    /// One redb transaction, past the journal: for what is in no order of time.
    fn write_directly(&self, write: impl FnOnce(&WriteTables) -> Result<()>) -> Result<()> {
        let base = self.base.read();
        let database = match &*base {
            Some(Backing::Writing(database)) => database,
            Some(Backing::Following(_)) => return Err(Error::ReadOnly),
            None => return Err(Error::Closed),
        };
        self.check_file()?;
        transact(database, Durability::Immediate, write)?;
        self.check_file()
    }

    /// Rewrites tables as a whole, for whoever has the turn; the journal is empty before and after,
    /// and what was damaged in it no longer stands in the way.
    /// Whoever needs what it wrote reads the tables [anew](Self::read_tables).
    pub(in crate::store) fn rewrite(
        &self,
        write: impl FnOnce(&WriteTables) -> Result<()>,
    ) -> Result<()> {
        let tables = self.tables()?;
        let is_damaged = self.journal.lock().check().is_err();
        if is_damaged || !tables.delta.is_empty() {
            let rows = RowBatch::over(&tables);
            // with what was in front of it and behind it, so that no kill in between forgets it
            if is_damaged {
                rows.open_table(Table::Meta)?.insert(LOST.as_bytes(), &seal(LOST.as_bytes(), &[]));
            }
            let tables = self.drain_now(&tables, rows.into_rows())?;
            *self.published.write() = Some(tables);
        }
        let done = self.write_directly(write);
        self.idle.written(false);
        done
    }

    /// Rewrites tables under the journal, for whoever has the turn. What lies in it must not go
    /// into a table whose tree is broken.
    pub(in crate::store) fn rewrite_beneath(
        &self,
        write: impl FnOnce(&WriteTables) -> Result<()>,
    ) -> Result<()> {
        let mut drain = self.drain.lock();
        self.write_directly(write)?;
        // one that is not shown yet is in the tables, and stays in what lies over them
        *drain = None;
        Ok(())
    }

    /// Drains while others write. Returns when all that was durable at its call is in the tables.
    pub(crate) fn drain(&self) -> Result<()> {
        self.check_not_held()?;
        if self.read_only {
            return Ok(());
        }
        let Some((mut drain, layer, end)) = self.group.in_turn(|| {
            if self.group.is_broken() {
                return Err(self.broken());
            }
            self.journal.lock().check()?;
            let mut drain = self.drain.lock();
            self.show_drained(&mut drain)?;
            let tables = self.tables()?;
            if tables.delta.is_empty() {
                return Ok(None);
            }
            let frozen = Arc::new(tables.under(tables.delta.freeze(), tables.commit));
            self.show(&mut self.writer.lock(), frozen.clone());
            Ok(Some((drain, frozen.delta.draining().clone(), self.journal.lock().freeze())))
        })?
        else {
            return Ok(());
        };
        self.write_tables(&layer, end)?;
        *drain = Some((layer, end));
        drop(drain);
        self.group.in_turn(|| self.show_drained(&mut self.drain.lock()))
    }

    /// Lets readers see what was drained in the tables, for whoever has the turn.
    fn show_drained(&self, drain: &mut Option<Drained>) -> Result<()> {
        // whoever drained meanwhile has shown it, too
        let Some((layer, end)) = drain.take() else { return Ok(()) };
        let before = self.tables()?;
        let tables = self.read_tables(before.commit)?;
        let tables = tables.under(before.delta.drained(&layer), before.commit);
        self.journal.lock().drained(end.position);
        self.show(&mut self.writer.lock(), Arc::new(tables));
        Ok(())
    }

    /// At the end of a store: so that its file at rest needs no journal. What fails is durable all
    /// the same.
    pub(super) fn drain_at_end(&self) {
        let drained = || {
            self.journal.lock().check()?;
            let tables = self.tables()?;
            if self.read_only || self.group.is_broken() || tables.delta.is_empty() {
                return Ok(());
            }
            self.drain_now(&tables, Vec::new()).map(drop)
        };
        drop(drained());
    }
}
