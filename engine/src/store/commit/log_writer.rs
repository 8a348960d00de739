//! The one writer: folds commits one after another in memory, makes many of them durable at once
//! (group commit), publishes them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread::ThreadId;

use heirloom_core::fold::{Dot, Folded, Heads};
use heirloom_core::format::hash::head_term;
use heirloom_core::model::{
    Chain, CommitRef, DatasetId, EntityId, Line, Lsn, NodeId, Sequence, StateDigest, TypeNumber,
};
use parking_lot::{Mutex, MutexGuard};

use super::group_commit::rests_on;
use super::log_entry::LogEntry;
use crate::error::Error;
use crate::store::index::{Indexing, Keys};
use crate::store::read::Pending;
use crate::store::rows::{Checkpoint, Gap, Record, Tables};

/// The last commit of a log.
#[derive(Clone, Copy)]
pub(crate) struct Tip {
    pub(crate) last: Sequence,
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
    pub(crate) own: Option<Line>,
    /// Its name among peers; none before the first session.
    pub(crate) node: Option<NodeId>,
    /// The last commit that it made in the log before, until it has a log again.
    pub(crate) predecessor: Option<CommitRef>,
}

/// The fold of all commits, durable or on their way, as far as writing needs it.
pub(crate) struct LogWriter {
    /// The durable state that `pending` lies over. Replaced together with it.
    pub(crate) tables: Option<Arc<Tables>>,
    pub(crate) pending: Pending,
    /// By line; none where a log's first commit is not here yet.
    pub(crate) tips: Vec<Option<Tip>>,
    pub(crate) frontier: BTreeSet<Line>,
    pub(crate) digest: StateDigest,
    pub(crate) next_lsn: Lsn,
    pub(crate) known: Known,
    /// The last batch that changes what it knows.
    known_in: u64,
    /// Commits get this batch; those of earlier ones are durable or on their way there.
    pub(crate) batch: u64,
    /// First lsn, line and type number that are not written yet.
    written: (Lsn, u32, u32),
    meta: Vec<(Cow<'static, str>, Option<Vec<u8>>)>,
    pub(crate) indexing: Indexing,
    pub(crate) wall: u64,
    /// What the application calls the dataset.
    pub(crate) dataset_name: Option<Arc<str>>,
    /// What was damaged when the store was opened, so that there is nothing to write on.
    pub(crate) damage: Option<Error>,
}

/// What one durable commit writes.
pub(crate) struct DurableBatch {
    pub(crate) number: u64,
    pub(crate) lsns: Vec<(Lsn, Arc<[u8]>)>,
    pub(crate) dots: Vec<((Line, Sequence), Lsn)>,
    pub(crate) heads: Vec<(EntityId, Arc<Heads>)>,
    pub(crate) logs: Vec<Line>,
    pub(crate) types: Vec<TypeNumber>,
    pub(crate) meta: Vec<(Cow<'static, str>, Option<Vec<u8>>)>,
    pub(crate) indexed: BTreeMap<EntityId, Keys>,
    pub(crate) healed: Vec<(Lsn, Arc<[u8]>)>,
    pub(crate) missing: BTreeMap<Lsn, Option<Gap>>,
    pub(crate) next_lsn: Lsn,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) known: Known,
}

impl LogWriter {
    pub(crate) fn new(tables: Arc<Tables>, logs: u32, types: u32, next_lsn: Lsn) -> Self {
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
        rests_on(self.batch, holds).max(self.known_in)
    }

    /// Changes what the store knows of itself, with the next durable commit.
    pub(crate) fn know(&mut self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known);
        self.known_in = self.batch;
    }

    /// What it knows comes from the file, or will be found out again: there is nothing to wait for.
    pub(crate) fn knows_from_opening(&mut self) -> Known {
        self.known_in = 0;
        self.known
    }

    pub(crate) fn tip(&self, line: Line) -> Option<Tip> {
        self.tips.get(line.index()).copied().flatten()
    }

    /// Changes a name in `meta` with the next durable commit.
    pub(crate) fn set_meta(&mut self, name: impl Into<Cow<'static, str>>, value: Option<Vec<u8>>) {
        let name = name.into();
        self.meta.retain(|(n, _)| *n != name);
        self.meta.push((name, value));
    }

    /// Takes a folded commit in. Only `Store::append` calls it, which also indexes.
    pub(crate) fn append(&mut self, entry: &LogEntry<'_>, folded: Folded) {
        let LogEntry { line, chain, header, refs, .. } = *entry;
        let record = entry.record(&folded);
        let lsn = self.next_lsn;
        self.next_lsn = lsn.next();
        self.pending.bytes += record.len();
        self.pending.records.insert(lsn, record.into());
        self.pending.dots.insert((line, header.first), lsn);
        // a sum over heads, so that order makes no difference and one commit costs what it changes;
        // what never leaves is no part of it
        for change in folded.changes {
            for gone in &change.gone {
                self.digest.subtract(&head_term(change.entity, gone));
            }
            if !folded.local {
                self.digest.add(&head_term(change.entity, &change.new));
            }
            self.pending.heads.insert(change.entity, (Arc::new(change.heads), self.batch));
        }
        // a ref to an earlier commit of a line leaves its end unreferred
        for (other, sequence) in refs {
            if self.tip(*other).is_some_and(|t| t.last == *sequence) {
                self.frontier.remove(other);
            }
        }
        if !folded.local {
            self.frontier.insert(line);
        }
        if self.tips.len() <= line.index() {
            self.tips.resize(line.index() + 1, None);
        }
        self.tips[line.index()] = Some(Tip {
            last: header.last(),
            chain,
            wall: header.wall,
            is_newer: header.is_newer(),
        });
    }

    /// Puts a commit in its old place again, which `dots` may have lost, too. `heads`: those of
    /// which more is known now.
    pub(crate) fn heal(
        &mut self,
        (lsn, dot): (Lsn, Dot),
        record: Vec<u8>,
        heads: Vec<(EntityId, Heads)>,
    ) {
        self.pending.healed.insert(lsn, (record.into(), self.batch));
        self.pending.dots.insert(dot, lsn);
        for (entity, heads) in heads {
            self.pending.heads.insert(entity, (Arc::new(heads), self.batch));
        }
    }

    pub(crate) fn close_batch(
        &mut self,
        logs: u32,
        types: u32,
        missing: BTreeMap<Lsn, Option<Gap>>,
    ) -> DurableBatch {
        let number = self.batch;
        self.batch += 1;
        let (lsn, log, entity_type) = self.written;
        let of_batch = |(id, (heads, batch)): (&EntityId, &(Arc<Heads>, u64))| {
            (*batch == number).then(|| (*id, heads.clone()))
        };
        // in the order of the table, as redb fills pages best
        let mut heads: Vec<_> = self.pending.heads.iter().filter_map(of_batch).collect();
        heads.sort_by_key(|(id, _)| *id);
        let is_healed =
            |lsn: &Lsn| self.pending.healed.get(lsn).is_some_and(|(_, batch)| *batch == number);
        let healed = self.pending.healed.iter().filter(|(lsn, _)| is_healed(lsn));
        let out = DurableBatch {
            number,
            lsns: self.pending.records.range(lsn..).map(|(l, r)| (*l, r.clone())).collect(),
            dots: self
                .pending
                .dots
                .iter()
                .filter(|(_, l)| **l >= lsn || is_healed(l))
                .map(|(d, l)| (*d, *l))
                .collect(),
            heads,
            logs: (log..logs).map(Line::new).collect(),
            types: (entity_type..types).map(TypeNumber::new).collect(),
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

    pub(crate) fn batch_is_durable(&mut self, batch: &DurableBatch, tables: Arc<Tables>) {
        // what later batches changed again stays: the tables have an older state of it
        self.tables = Some(tables);
        self.pending.heads.retain(|_, (_, b)| *b > batch.number);
        self.pending.healed.retain(|_, (_, b)| *b > batch.number);
        if let Some((last, _)) = batch.lsns.last() {
            self.pending.records = self.pending.records.split_off(&last.next());
        }
        let healed = &self.pending.healed;
        self.pending.dots.retain(|_, lsn| *lsn >= batch.next_lsn || healed.contains_key(lsn));
    }
}

/// The writer, held. Marks the thread that holds it, so that code of the application that runs
/// meanwhile (closures, rules, policies) gets an error when it wants to write, and no deadlock.
pub(crate) struct Writing<'a> {
    pub(crate) writer: MutexGuard<'a, LogWriter>,
    pub(crate) holder: &'a Mutex<Option<ThreadId>>,
}

impl Deref for Writing<'_> {
    type Target = LogWriter;

    fn deref(&self) -> &LogWriter {
        &self.writer
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut LogWriter {
        &mut self.writer
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        *self.holder.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use heirloom_core::model::Line;

    use crate::{Content, Engine, Lsn};

    fn open(label: &str) -> Engine {
        Engine::builder().label(label).dataset_name("home").in_memory().unwrap()
    }

    fn create(engine: &Engine) {
        engine.write(|tx| tx.create("lamp", &Content::new())).unwrap();
    }

    fn carry(from: &Engine, to: &Engine) {
        let all = &|_, _, _| true;
        let batch = from.replication().commits(Lsn::START, Lsn::END, all, usize::MAX).unwrap();
        let commits: Vec<_> = batch.commits.iter().map(|c| &c.bytes[..]).collect();
        to.replication().ingest(&commits).unwrap();
    }

    #[test]
    fn the_frontier_is_what_no_commit_refers_to() {
        let (phone, tablet) = (open("phone"), open("tablet"));
        create(&phone);
        create(&tablet);
        carry(&phone, &tablet);
        let frontier = || {
            let writer = tablet.store().writer().unwrap();
            writer.frontier.iter().copied().collect::<Vec<_>>()
        };
        assert_eq!(frontier(), [Line::new(0), Line::new(1)], "neither has seen the other");
        create(&tablet);
        assert_eq!(frontier(), [Line::new(0)], "the last refers to the phone's");
    }

    #[test]
    fn the_running_digest_is_that_of_all_heads() {
        let (phone, tablet) = (open("phone"), open("tablet"));
        for _ in 0..3 {
            create(&phone);
        }
        carry(&phone, &tablet);
        create(&tablet);
        for engine in [&phone, &tablet] {
            let running = engine.store().writer().unwrap().digest;
            assert_eq!(running, engine.state_digest().unwrap());
            assert!(engine.verify().unwrap().is_clean(), "which sums up all heads again");
        }
    }

    #[test]
    fn an_answer_rests_on_a_batch_only_while_something_is_on_its_way() {
        let phone = open("phone");
        create(&phone);
        let store = phone.store();
        let (batch, rests_on) = {
            let writer = store.writer().unwrap();
            (writer.batch, writer.rests_on())
        };
        assert!(rests_on < batch, "all of it is durable: {rests_on}, {batch}");
        let rests_on = {
            let mut writer = store.writer().unwrap();
            writer.know(|known| known.predecessor = None);
            writer.rests_on()
        };
        assert_eq!(rests_on, batch, "what it knows of itself counts, too");
    }
}
