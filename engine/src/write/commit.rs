//! Writing: a closure over a transaction, made a commit.

use heirloom_core::fold::{Dot, Folded, NewCommit, Planned, Tail};
use heirloom_core::model::{CommitRef, DatasetId, Line, LogId, Metadata, Sequence};

use super::transaction::Transaction;
use crate::engine::Engine;
use crate::error::{Error, Result, Table};
use crate::store::LogEntry;

impl Engine {
    /// Changes entities, all or nothing. What the closure did becomes one commit, durable when
    /// this returns.
    ///
    /// The closure sees all that is durable or about to be, and its own changes. Closures run one
    /// at a time, so the closure should be quick; commits of several threads share their way to
    /// the disk. A closure that changes nothing writes nothing. What this returns, an error of the
    /// closure too, never rests on less than is durable: if what the closure saw was still on its
    /// way to the disk, it is awaited.
    ///
    /// # Errors
    /// An error of the closure, or a panic in it, leaves no trace.
    /// [`Invalid::Limit`](crate::Invalid::Limit) if the commit would break a limit of the format.
    /// After [`Error::Storage`] nothing is visible, the engine refuses further writes, and only
    /// reopening tells whether the commit got through (it is there whole or not at all).
    /// [`Error::Storage`] or [`Error::Poisoned`] comes in place of the closure's own answer, too,
    /// where what it saw could not be made durable.
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
        writer: &mut crate::store::LogWriter,
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
        writer: &mut crate::store::LogWriter,
        metadata: &Metadata,
        plan: Vec<Planned>,
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
        for Made { line, new, refs, folded } in made {
            if !folded.local {
                writer.wall = new.header.wall;
            }
            store.append(writer, &LogEntry::of(&new, line, &refs), folded);
        }
        Ok(())
    }

    fn make_both(
        &self,
        writer: &mut crate::store::LogWriter,
        dataset: Option<DatasetId>,
        metadata: &Metadata,
        local: Vec<Planned>,
        shared: Vec<Planned>,
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
        writer: &crate::store::LogWriter,
        (line, log): (Line, LogId),
        (refs, places): (Vec<CommitRef>, Vec<(Line, Sequence)>),
        metadata: &Metadata,
        plan: Vec<Planned>,
    ) -> Result<Made> {
        let store = self.store();
        let tip = writer.tip(line);
        let before = match (tip, store.directory.log(line)) {
            (Some(tip), _) => (tip.last, tip.chain),
            (None, Some(info)) => {
                (Sequence::START, heirloom_core::format::hash::chain_of_genesis(&info.genesis))
            }
            (None, None) => return Err(Error::corrupt(Table::Logs, line, "an unknown log")),
        };
        // what stays here orders nobody's writes but ours: its times may go back when our clock was
        // put right
        let wall_before =
            if store.directory.is_local(line) { 0 } else { tip.map_or(0, |t| t.wall) };
        let wall = writer.wall.max(wall_before).max((store.now)().saturated());
        let view = store.writer_view(writer)?;
        let tail = Tail { log, line, before };
        let mut new = view.author(&tail, wall, refs, metadata, plan)?;
        let folded = new.fold(&view, &tail, wall_before)?;
        Ok(Made { line, new, refs: places, folded })
    }
}

/// A commit that is ready to be taken in.
struct Made {
    line: Line,
    new: NewCommit,
    /// Where what it refers to is.
    refs: Vec<Dot>,
    folded: Folded,
}
