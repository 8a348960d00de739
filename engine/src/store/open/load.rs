//! What is kept in memory of a state, read when it is opened, and again where another process
//! writes.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use heirloom_core::bytes::Reader;
use heirloom_core::format::genesis::Genesis;
use heirloom_core::model::{CommitRef, Line, LogId, Lsn, NodeId, Sequence};

use super::replay::replay;
use crate::error::{Error, Result, Table};
use crate::store::commit::{Known, LogWriter, Store, Tip, is_empty};
use crate::store::file::{Fingerprint, Opened};
use crate::store::read::View;
use crate::store::rows::{
    Checkpoint, DATASET, Directory, FINGERPRINT, Gap, LOCAL, LOST, NODE, OWN, PREDECESSOR, Tables,
    branch_point, commit_ref, hex, in_order, number, predecessor_row, rows_of, seal,
    type_number_of, unreadable, unseal,
};

impl Store {
    /// What is kept in memory of a state.
    pub(crate) fn load(
        &self,
        writer: &mut LogWriter,
        tables: &Tables,
        next_lsn: Lsn,
    ) -> Result<()> {
        let known = self.load_known(tables)?;
        // a name that was drawn where nothing may change holds as long as the store is open
        writer.known = Known { node: known.node.or(self.known().node), ..known };
        match self.load_writer(writer, tables, next_lsn) {
            // where it cannot be told how logs end nothing can be written; all else stays readable,
            // and `repair` mends it
            Err(damage @ Error::Corrupt { .. }) => writer.damage = Some(damage),
            other => other?,
        }
        Ok(())
    }

    /// Takes in what the process that writes the file has committed since. Costs two short reads if
    /// that is nothing, else what opening costs.
    pub(crate) fn catch_up(&self) -> Result<()> {
        self.check_process()?;
        let (Some(followed), Some(file)) = (&self.followed, &self.watched) else { return Ok(()) };
        let mut followed = followed.lock();
        let published = self.published.read().clone().ok_or(Error::Closed)?;
        let commit = published.commit + 1;
        let mut journal = self.journal.lock();
        // before the tables are read, so that what is drained between the two is noticed
        let mut now = file.state()?;
        let tables = if *followed == now {
            let added = rows_of(&journal.read_on()?)?;
            if added.is_empty() {
                return Ok(());
            }
            published.under(published.delta.with(in_order(added)), commit)
        } else {
            loop {
                let tables = self.read_tables(commit)?;
                let (medium, layout) = journal.lies_on();
                let (replayed, delta) = replay(&tables, medium, layout)?;
                let then = file.state()?;
                if then == now {
                    *journal = replayed;
                    break tables.under(delta, commit);
                }
                // drained meanwhile: what lay in the ring may be written over
                now = then;
            }
        };
        drop(journal);
        let tables = Arc::new(tables);
        load_names(&tables, &self.directory)?;
        let next_lsn = tables.end()?;
        let mut writer = self.writer.lock();
        self.missing.clear();
        writer.damage = None;
        self.load(&mut writer, &tables, next_lsn)?;
        self.caches.entities.changed(tables.commit, std::iter::empty());
        // what was damaged may have been brought back
        self.caches.healed(tables.commit);
        writer.tables = Some(tables.clone());
        *self.known.write() = writer.knows_from_opening();
        *self.published.write() = Some(tables);
        self.durable.store(next_lsn.get(), Ordering::Release);
        *followed = now;
        drop((writer, followed));
        self.wake.advance(next_lsn.get());
        Ok(())
    }

    /// Goes on under a fresh log if this is not the file that was written. Writes nothing: the
    /// fingerprint goes along with the next commit.
    pub(crate) fn recognise(&mut self, tables: &Tables, mark: Option<Fingerprint>) -> Result<()> {
        let Some(mark) = mark else { return Ok(()) };
        let known = self.meta(tables, FINGERPRINT)?;
        if known.as_deref() == Some(&mark[..]) {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        writer.set_meta(FINGERPRINT, Some(mark.to_vec()));
        if known.is_some() {
            // peers would take it for the other
            writer.know(|known| known.node = None);
            writer.set_meta(NODE, None);
            if let Some(log) = self.leave_own_log(&mut writer) {
                self.opened = Opened::Copied { log };
            }
        }
        Ok(())
    }

    fn load_known(&self, tables: &Tables) -> Result<Known> {
        let own = self.own_as_of(tables)?;
        if let Some(local) = self.meta(tables, LOCAL)?.map(|b| number(LOCAL, &b)).transpose()? {
            let known = u32::try_from(local).ok().filter(|line| *line < self.directory.log_count());
            let known = known.map(Line::new);
            self.directory.set_local(
                known.ok_or_else(|| Error::corrupt(Table::Meta, LOCAL, "an unknown log"))?,
            );
        }
        let dataset = self.read_dataset(tables)?.map(|dataset| dataset.id);
        if dataset.is_none() && !is_empty(&self.view(tables))? {
            return Err(Error::corrupt(Table::Meta, DATASET, "the row is missing"));
        }
        let node = self.meta(tables, NODE)?.map(|b| b.try_into());
        let node =
            node.transpose().map_err(|_| Error::corrupt(Table::Meta, NODE, "not a node id"))?;
        Ok(Known { dataset, own, predecessor: None, node: node.map(NodeId::from_bytes) })
    }

    /// One record a log, and the checkpoint of the last: however long the history.
    pub(crate) fn load_writer(
        &self,
        writer: &mut LogWriter,
        tables: &Tables,
        next_lsn: Lsn,
    ) -> Result<()> {
        let view = self.view(tables);
        writer.known.predecessor = self.predecessor_as_of(tables)?;
        self.missing.load(tables, next_lsn)?;
        if tables.logged()? < next_lsn {
            // found one after the other they would cost a look at the log each
            self.mark_gone(tables, next_lsn)?;
        }
        if self.check_journal(tables).is_err() {
            self.mark_lost(&view, next_lsn)?;
        }
        let mut cut_short = Vec::new();
        writer.tips.resize(self.directory.log_count() as usize, None);
        for line in self.directory.all() {
            let Some((first, lsn)) = view.dot_at(line, Sequence::END)? else { continue };
            if lsn >= next_lsn {
                return Err(Error::corrupt(Table::Log, lsn, "the last record is missing"));
            }
            match view.commit_of(line, (first, lsn)) {
                Ok(end) => writer.tips[line.index()] = Some(Tip::of(&end)),
                Err(e) if e.is_damage() => {
                    self.missing.set(lsn, Some(Gap { line, first, damaged: true }));
                    cut_short.push(line);
                }
                Err(e) => return Err(e),
            }
        }
        check_last(&view, writer, next_lsn)?;
        self.withhold(&view, next_lsn)?;
        for line in cut_short {
            writer.tips[line.index()] = view.shown_tip(line)?.map(|end| Tip::of(&end));
        }
        if let Some(Checkpoint { digest, frontier }) = view.checkpoint(next_lsn)? {
            writer.digest = digest;
            writer.frontier = frontier.into_iter().collect();
        }
        writer.wall = writer.known.own.and_then(|o| writer.tip(o)).map_or(0, |t| t.wall);
        Ok(())
    }

    fn own_as_of(&self, tables: &Tables) -> Result<Option<Line>> {
        Ok(self
            .meta(tables, OWN)?
            .map(|b| number(OWN, &b))
            .transpose()?
            .map(|n| Line::new(n as u32)))
    }

    fn predecessor_as_of(&self, tables: &Tables) -> Result<Option<CommitRef>> {
        self.meta(tables, PREDECESSOR)?.map(|b| commit_ref(&b)).transpose()
    }

    /// The row of `meta` for a copy of these tables that shall go on under a log of its own: what
    /// that log continues.
    pub(crate) fn predecessor_of_copy(&self, tables: &Tables) -> Result<Option<Vec<u8>>> {
        let view = self.view(tables);
        let tip = match self.own_as_of(tables)? {
            None => self.predecessor_as_of(tables)?,
            Some(own) => match view.tip(own)? {
                Some(tip) => Some(tip.reference(view.log_id(own)?)),
                None => self.directory.log(own).and_then(|info| info.predecessor),
            },
        };
        Ok(tip.map(|tip| seal(PREDECESSOR.as_bytes(), &predecessor_row(&tip))))
    }

    /// What stands under a name in `meta`.
    /// An error where a frame of the journal is damaged, and until `repair` has accounted for what
    /// it held.
    pub(crate) fn check_journal(&self, tables: &Tables) -> Result<()> {
        self.journal.lock().check()?;
        match self.meta(tables, LOST)? {
            Some(_) => Err(Error::corrupt(Table::Journal, LOST, "frames were damaged")),
            None => Ok(()),
        }
    }

    pub(crate) fn meta(&self, tables: &Tables, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(row) = tables.meta.get(name.as_bytes())? else { return Ok(None) };
        unseal(Table::Meta, name.as_bytes(), row.value()).map(|v| Some(v.to_vec()))
    }
}

/// The rows from a number on; of the first all, also such as are no numbers.
fn from(number: &[u8; 4]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let first = if *number == [0; 4] { Bound::Unbounded } else { Bound::Included(&number[..]) };
    (first, Bound::Unbounded)
}

/// Those that are not known yet. Of entity types only how many there are, however many that be.
pub(crate) fn load_names(tables: &Tables, directory: &Directory) -> Result<()> {
    for row in tables.logs.range::<&[u8]>(from(&directory.log_count().to_be_bytes()))? {
        let (key, value) = row?;
        check_number(Table::Logs, key.value(), directory.log_count())?;
        let bytes = unseal(Table::Logs, key.value(), value.value())?;
        let mut r = Reader::new(bytes);
        let mut read = || {
            let id = LogId::from_bytes(r.array()?);
            let genesis = r.bytes()?;
            let fork = branch_point(&mut r, Line::new(directory.log_count()))?;
            r.end()?;
            Ok((id, genesis, Genesis::of_log(genesis, id)?, fork))
        };
        let (id, bytes, genesis, fork) = read().map_err(unreadable(Table::Logs, key.value()))?;
        let wrong = |what| Err(Error::corrupt(Table::Logs, hex(key.value()), what));
        match fork {
            None if directory.first_line(id).is_some() => {
                return wrong("a log that is here already");
            }
            None => drop(directory.add_log(id, bytes, &genesis)),
            Some(fork) if directory.branch(fork.name).is_some() => {
                return wrong("a branch that is here already");
            }
            Some(fork) if directory.log_id(fork.of) == Some(id) => drop(directory.add_branch(fork)),
            Some(_) => return wrong("a branch of another log"),
        }
    }
    if let Some((key, _)) = tables.types.last()? {
        let next = type_number_of(key.value()).and_then(|last| last.get().checked_add(1));
        let misplaced = || Error::corrupt(Table::Types, hex(key.value()), "not a number");
        directory.types_are_durable(next.ok_or_else(misplaced)?);
    }
    Ok(())
}

/// Numbers are given without gaps: where one is lost all after it would be mistaken.
fn check_number(table: Table, key: &[u8], next: u32) -> Result<()> {
    if key == next.to_be_bytes() {
        Ok(())
    } else {
        Err(Error::corrupt(table, next, "the row is missing"))
    }
}

/// The last record must be the end of its line: where `dots` has lost that, its sequence would be
/// used again.
fn check_last(view: &View<'_>, writer: &LogWriter, next_lsn: Lsn) -> Result<()> {
    let Some(last) = next_lsn.before() else { return Ok(()) };
    match view.record_uncached(last) {
        Ok(r) if writer.tip(r.line).is_none_or(|tip| tip.last != r.header.last()) => {
            Err(Error::corrupt(
                Table::Dots,
                format!("{}/{}", r.line, r.header.first),
                "the row is missing",
            ))
        }
        Err(e) if !e.is_damage() => Err(e),
        _ => Ok(()),
    }
}
