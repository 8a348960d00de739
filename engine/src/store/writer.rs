//! The one writer: folds commits one after another in memory, makes many of them durable at once
//! (group commit), publishes them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::ThreadId;

use parking_lot::{Mutex, MutexGuard};
use redb::Durability;

use super::fold::Folded;
use super::group_commit::{self, Journal};
use super::head::Heads;
use super::index::{self, Indexing, Keys};
use super::missing::{self, Gap};
use super::record::{Checkpoint, PIECE, Record, add_checkpoint};
use super::rows::{self, WriteTable, WriteTables, catching};
use super::sealed::seal;
use super::tables::{self, Tables, dot_key, log_key, type_key};
use super::view::{Pending, View};
use super::{Base, Store};
use crate::error::{Error, Result};
use heirloom_core::format::hash::head_term;
use heirloom_core::format::header::Header;
use heirloom_core::model::{Chain, CommitRef, DatasetId, EntityId, NodeId, StateDigest};

/// A remote wall further ahead than this is ignored (I5).
pub(crate) const PULL: u64 = 5 * 60 * 1000;

/// The last commit of a log.
#[derive(Clone, Copy)]
pub(crate) struct Tip {
    pub(crate) last: u64,
    pub(crate) chain: Chain,
    pub(crate) wall: u64,
    /// Of a newer level: this library cannot go on from it.
    pub(crate) is_newer: bool,
}

impl Tip {
    pub(crate) fn of(record: &Record) -> Self {
        let header = &record.header;
        Self {
            last: header.last(),
            chain: record.chain,
            wall: header.wall,
            is_newer: header.is_newer(),
        }
    }
}

/// What a store knows of itself. The writer has its own, which is ahead of what is durable; all
/// others are shown what is (I9).
#[derive(Clone, Copy, Default)]
pub(crate) struct Known {
    pub(crate) dataset: Option<DatasetId>,
    /// Ordinal of the log that it extends.
    pub(crate) own: Option<u32>,
    /// Its name among peers; none before the first session.
    pub(crate) node: Option<NodeId>,
    /// The last commit that it made in the log before, until it has a log again.
    pub(crate) predecessor: Option<CommitRef>,
}

/// The fold of all commits, durable or on their way, as far as writing needs it.
pub(crate) struct Writer {
    /// The durable state that `pending` lies over. Replaced together with it.
    pub(crate) tables: Option<Arc<Tables>>,
    pub(crate) pending: Pending,
    /// By log ordinal; none where a log's first commit is not here yet.
    pub(crate) tips: Vec<Option<Tip>>,
    pub(crate) frontier: BTreeSet<u32>,
    pub(crate) digest: StateDigest,
    pub(crate) next_lsn: u64,
    pub(crate) known: Known,
    /// The last batch that changes what it knows.
    known_in: u64,
    /// Commits get this batch; those of earlier ones are durable or on their way there.
    pub(crate) batch: u64,
    /// First lsn, log and type ordinal that are not written yet.
    written: (u64, u32, u32),
    meta: Vec<(Cow<'static, str>, Option<Vec<u8>>)>,
    pub(crate) indexing: Indexing,
    pub(crate) wall: u64,
    /// What the application calls the dataset.
    pub(super) dataset_name: Option<Arc<str>>,
    /// What was damaged when the store was opened, so that there is nothing to write on.
    pub(crate) damage: Option<Error>,
}

/// What one durable commit writes.
pub(crate) struct Batch {
    number: u64,
    lsns: Vec<(u64, Arc<[u8]>)>,
    dots: Vec<((u32, u64), u64)>,
    heads: Vec<(EntityId, Arc<Heads>)>,
    logs: Vec<u32>,
    types: Vec<u32>,
    meta: Vec<(Cow<'static, str>, Option<Vec<u8>>)>,
    indexed: BTreeMap<EntityId, Keys>,
    healed: Vec<(u64, Arc<[u8]>)>,
    missing: BTreeMap<u64, Option<Gap>>,
    next_lsn: u64,
    checkpoint: Checkpoint,
    known: Known,
}

impl Writer {
    pub(crate) fn new(tables: Arc<Tables>, logs: u32, types: u32, next_lsn: u64) -> Self {
        Self {
            tables: Some(tables),
            pending: Pending::default(),
            tips: vec![None; logs as usize],
            frontier: BTreeSet::new(),
            digest: StateDigest::ZERO,
            next_lsn,
            known: Known::default(),
            known_in: 0,
            batch: 1,
            written: (next_lsn, logs, types),
            meta: Vec::new(),
            indexing: Indexing::default(),
            wall: 0,
            damage: None,
            dataset_name: None,
        }
    }

    /// The last batch with something that an answer may rest on: commits, or what the store knows
    /// of itself. Whoever has looked at more than what is durable waits for it before it answers,
    /// with an error too (I9).
    pub(crate) fn rests_on(&self) -> u64 {
        let heals = || self.pending.healed.values().any(|(_, batch)| *batch == self.batch);
        let holds = self.next_lsn > self.written.0 || heals();
        group_commit::rests_on(self.batch, holds).max(self.known_in)
    }

    /// Changes what the store knows of itself, with the next durable commit.
    pub(super) fn know(&mut self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known);
        self.known_in = self.batch;
    }

    /// What it knows comes from the file, or will be found out again: there is nothing to wait for.
    pub(super) fn knows_from_opening(&mut self) -> Known {
        self.known_in = 0;
        self.known
    }

    pub(crate) fn tip(&self, ordinal: u32) -> Option<Tip> {
        self.tips.get(ordinal as usize).copied().flatten()
    }

    /// Changes a name in `meta` with the next durable commit.
    pub(crate) fn set_meta(&mut self, name: impl Into<Cow<'static, str>>, value: Option<Vec<u8>>) {
        let name = name.into();
        self.meta.retain(|(n, _)| *n != name);
        self.meta.push((name, value));
    }

    /// Takes a folded commit in. `refs`: (ordinal, sequence) of what it refers to. Only
    /// [`Store::append`] calls it, which also indexes.
    pub(super) fn append(
        &mut self,
        ordinal: u32,
        chain: Chain,
        header: &Header,
        refs: &[(u32, u64)],
        folded: Folded,
    ) {
        let lsn = self.next_lsn;
        self.next_lsn += 1;
        self.pending.bytes += folded.record.len();
        self.pending.records.insert(lsn, folded.record.into());
        self.pending.dots.insert((ordinal, header.first), lsn);
        for change in folded.changes {
            for gone in &change.gone {
                self.digest.subtract(&head_term(change.entity, gone));
            }
            if !folded.local {
                self.digest.add(&head_term(change.entity, &change.new));
            }
            self.pending.heads.insert(change.entity, (Arc::new(change.heads), self.batch));
        }
        for (other, sequence) in refs {
            if self.tip(*other).is_some_and(|t| t.last == *sequence) {
                self.frontier.remove(other);
            }
        }
        if !folded.local {
            self.frontier.insert(ordinal);
        }
        if self.tips.len() <= ordinal as usize {
            self.tips.resize(ordinal as usize + 1, None);
        }
        self.tips[ordinal as usize] = Some(Tip {
            last: header.last(),
            chain,
            wall: header.wall,
            is_newer: header.is_newer(),
        });
    }

    /// Puts a commit in its old place again. `heads`: those of which more is known now.
    pub(super) fn heal(&mut self, lsn: u64, record: Vec<u8>, heads: Vec<(EntityId, Heads)>) {
        self.pending.healed.insert(lsn, (record.into(), self.batch));
        for (entity, heads) in heads {
            self.pending.heads.insert(entity, (Arc::new(heads), self.batch));
        }
    }

    fn close_batch(&mut self, logs: u32, types: u32, missing: BTreeMap<u64, Option<Gap>>) -> Batch {
        let number = self.batch;
        self.batch += 1;
        let (lsn, log, entity_type) = self.written;
        let of_batch = |(id, (heads, batch)): (&EntityId, &(Arc<Heads>, u64))| {
            (*batch == number).then(|| (*id, heads.clone()))
        };
        let mut heads: Vec<_> = self.pending.heads.iter().filter_map(of_batch).collect();
        heads.sort_by_key(|(id, _)| *id);
        let healed = self.pending.healed.iter().filter(|(_, (_, batch))| *batch == number);
        let out = Batch {
            number,
            lsns: self.pending.records.range(lsn..).map(|(l, r)| (*l, r.clone())).collect(),
            dots: self
                .pending
                .dots
                .iter()
                .filter(|(_, l)| **l >= lsn)
                .map(|(d, l)| (*d, *l))
                .collect(),
            heads,
            logs: (log..logs).collect(),
            types: (entity_type..types).collect(),
            meta: std::mem::take(&mut self.meta),
            indexed: self.indexing.take_changes(),
            healed: healed.map(|(lsn, (record, _))| (*lsn, record.clone())).collect(),
            missing,
            next_lsn: self.next_lsn,
            checkpoint: Checkpoint {
                digest: self.digest,
                frontier: self.frontier.iter().copied().collect(),
            },
            known: self.known,
        };
        self.written = (self.next_lsn, logs, types);
        self.pending.bytes = 0;
        out
    }

    fn batch_is_durable(&mut self, batch: &Batch, tables: Arc<Tables>) {
        self.tables = Some(tables);
        self.pending.heads.retain(|_, (_, b)| *b > batch.number);
        self.pending.healed.retain(|_, (_, b)| *b > batch.number);
        if let Some((last, _)) = batch.lsns.last() {
            self.pending.records = self.pending.records.split_off(&(last + 1));
            self.pending.dots.retain(|_, lsn| *lsn > *last);
        }
    }
}

/// The writer, held. Marks the thread that holds it, so that code of the application that runs
/// meanwhile (closures, rules, policies) gets an error when it wants to write, and no deadlock.
pub(crate) struct Writing<'a> {
    writer: MutexGuard<'a, Writer>,
    holder: &'a Mutex<Option<ThreadId>>,
}

impl Deref for Writing<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        *self.holder.lock() = None;
    }
}

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
            return Err(Error::corrupt(table, key, what));
        }
        if writer.tables.is_none() || self.published.read().is_none() {
            return Err(Error::Closed);
        }
        Ok(writer)
    }

    /// What the writer sees: the durable state under what is on its way.
    pub(crate) fn writer_view<'a>(&'a self, writer: &'a Writer) -> Result<View<'a>> {
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
        self.wake.advance(self.durable());
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
    pub(super) fn commit(
        &self,
        quick: bool,
        write: impl FnOnce(&WriteTables) -> Result<()>,
    ) -> Result<()> {
        let base = self.base.read();
        let database = match &*base {
            Some(Base::Writing(database)) => database,
            Some(Base::Following(_)) => return Err(Error::ReadOnly),
            None => return Err(Error::Closed),
        };
        // before, so that nothing is written to what is another's; after, so that nobody is told
        // that it is durable what went away with the file
        self.check_file()?;
        let quick = quick || self.marred.load(Ordering::Acquire);
        rows::transact(database, Durability::Immediate, quick, write)?;
        self.check_file()
    }

    fn write_batch(&self, batch: &Batch) -> Result<()> {
        self.transact(|tx| {
            self.write_names(tx, batch)?;
            let mut log = tx.open_table(tables::LOG)?;
            let last = batch.next_lsn.checked_sub(1);
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
            let mut dots = tx.open_table(tables::DOTS)?;
            for ((ordinal, first), lsn) in &batch.dots {
                dots.insert(&dot_key(*ordinal, *first)[..], &lsn.to_be_bytes()[..])?;
            }
            if !batch.missing.is_empty() {
                let mut missing = tx.open_table(tables::MISSING)?;
                for (lsn, gap) in &batch.missing {
                    let key = lsn.to_be_bytes();
                    match gap {
                        Some(gap) => drop(missing.insert(&key[..], &missing::row(*lsn, gap)[..])?),
                        None => drop(missing.remove(&key[..])?),
                    }
                }
            }
            let retyped = write_heads(tx, batch)?;
            index::write(tx, &batch.indexed, &retyped)
        })
    }

    fn write_names(&self, tx: &WriteTables, batch: &Batch) -> Result<()> {
        if !batch.meta.is_empty() {
            let mut meta = tx.open_table(tables::META)?;
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
            let mut logs = tx.open_table(tables::LOGS)?;
            for ordinal in &batch.logs {
                let Some(info) = self.directory.log(*ordinal) else { continue };
                let key = ordinal.to_be_bytes();
                logs.insert(&key[..], &seal(&key, &super::open::log_row(&info))[..])?;
            }
        }
        if !batch.types.is_empty() {
            let mut types = tx.open_table(tables::TYPES)?;
            let mut names = tx.open_table(tables::TYPE_NAMES)?;
            for ordinal in &batch.types {
                let Some(name) = self.directory.pending_type(*ordinal) else { continue };
                let key = ordinal.to_be_bytes();
                types.insert(&key[..], &seal(&key, name.as_bytes())[..])?;
                names.insert(name.as_bytes(), &key[..])?;
            }
        }
        Ok(())
    }
}

impl Journal for Store {
    type Batch = Batch;
    type State = Arc<Tables>;
    type Error = Error;

    fn close_batch(&self) -> (u64, Batch) {
        let batch = self.writer.lock().close_batch(
            self.directory.log_count(),
            self.directory.type_count(),
            self.missing.take_changes(),
        );
        (batch.number, batch)
    }

    fn write(&self, batch: &Batch) -> Result<Arc<Tables>> {
        self.write_batch(batch)?;
        self.read_tables(batch.number)
    }

    fn publish(&self, batch: Batch, tables: Arc<Tables>) {
        let mut writer = self.writer.lock();
        if !batch.healed.is_empty() {
            self.caches.healed(batch.number);
        }
        self.caches.entities.changed(batch.number, batch.heads.iter().map(|(id, _)| id));
        *self.published.write() = Some(tables.clone());
        *self.known.write() = batch.known;
        if let Some((last, _)) = batch.lsns.last() {
            self.durable.store(last + 1, Ordering::Release);
        }
        writer.batch_is_durable(&batch, tables);
        // now that both views read them from the tables
        if let Some(last) = batch.types.last() {
            self.directory.types_are_durable(last + 1);
        }
    }

    fn refused() -> Error {
        Error::Poisoned
    }
}

pub(super) fn put_record(log: &mut WriteTable<'_>, lsn: u64, bytes: &[u8]) -> Result<()> {
    for (i, piece) in bytes.chunks(PIECE).enumerate() {
        let key = log_key(lsn, i as u32);
        log.insert(&key[..], &seal(&key, piece)[..])?;
    }
    Ok(())
}

pub(super) fn drop_record(log: &mut WriteTable<'_>, lsn: u64) -> Result<()> {
    log.remove_between(&log_key(lsn, 0), &log_key(lsn, u32::MAX))
}

/// Heads, and the tables that follow from them: the difference to the row that stood there tells
/// what changes. Returns whose type changed.
fn write_heads(tx: &WriteTables, batch: &Batch) -> Result<Vec<EntityId>> {
    let mut table = tx.open_table(tables::HEADS)?;
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
        let mut table = tx.open_table(tables::BY_TYPE)?;
        for (entity, before, now) in by_type {
            if let Some(before) = before {
                table.remove(&type_key(before, entity)[..])?;
            }
            table.insert(&type_key(now, entity)[..], &[][..])?;
        }
    }
    if !unsettled.is_empty() {
        let mut table = tx.open_table(tables::UNSETTLED)?;
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

fn peek(entity: EntityId, row: &[u8]) -> Result<(bool, u32)> {
    let value = super::sealed::unseal("heads", entity.as_bytes(), row)?;
    Heads::peek(value).map_err(super::sealed::unreadable("heads", entity.as_bytes()))
}
