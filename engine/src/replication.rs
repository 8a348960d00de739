//! What sync is built on: commits as they travel, out and in, and a little memory about peers.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::format::commit::WireParts;
use crate::format::hash;
use crate::model::{
    Chain, ChainPrefix, CommitRef, DatasetId, LogId, LogRoot, NodeId, StateDigest, Timestamp,
};
use crate::store::{self, Record, View};
pub use crate::store::{Ingested, VoidReason};

/// The last commit of a log, or of a branch of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct End {
    /// The log.
    pub log: LogId,
    /// Sequence of its last version.
    pub sequence: u64,
    /// Its chain.
    pub chain: Chain,
}

impl End {
    /// Names it, the same on every replica.
    pub fn reference(&self) -> CommitRef {
        CommitRef { log: self.log, sequence: self.sequence, prefix: self.chain.prefix() }
    }
}

/// A commit that is here, and where: a log that forked has several *lines*, each a local number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    /// The commit.
    pub end: End,
    /// Its arrival position.
    pub lsn: u64,
    /// Its line and sequence; then, where that line left another, how far into that one, and so on:
    /// all that whoever has the commit has of this log.
    pub path: Vec<(u32, u64)>,
}

/// The log root of a set of ends, which must be sorted (FORMAT.md, 1.8).
pub fn log_root(ends: &[End]) -> LogRoot {
    hash::log_root(ends.iter().map(|e| (e.log, e.sequence, e.chain)))
}

/// All that is durable here, at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// How many commits: their lsns are below it.
    pub lsn: u64,
    /// The ends of all logs that travel, sorted.
    pub ends: Vec<End>,
    /// The state digest.
    pub digest: StateDigest,
    /// Nothing of the log is damaged. Else the ends lie in front of what is, and the digest counts
    /// more than they say.
    pub whole: bool,
}

impl Position {
    /// Hash over all commits.
    pub fn log_root(&self) -> LogRoot {
        log_root(&self.ends)
    }
}

/// A commit as it travels (FORMAT.md, 1.7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireCommit {
    /// Its arrival position here.
    pub lsn: u64,
    /// What its log ends with after it.
    pub end: End,
    /// How many versions it holds.
    pub versions: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Some commits, and where to go on.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In arrival order.
    pub commits: Vec<WireCommit>,
    /// The first lsn that was not looked at.
    pub next_lsn: u64,
}

/// A large commit on its way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StagedHead {
    /// Its log.
    pub log: LogId,
    /// Its last sequence.
    pub sequence: u64,
    /// Its chain.
    pub chain: Chain,
    /// Its length in bytes.
    pub total: u64,
    /// A hash of its bytes, so that parts of different encodings are never mixed.
    pub digest: [u8; 16],
}

/// How much of a large commit is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Staged {
    /// Which commit.
    pub head: StagedHead,
    /// Bytes so far.
    pub bytes: u64,
}

/// The last cut that was proven equal with a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Its log root.
    pub root: LogRoot,
    /// How many commits were here at that cut.
    pub lsn: u64,
}

/// What is remembered of a store that this one has synced with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Peer {
    /// The last cut that was proven equal.
    pub cut: Option<Cut>,
    /// It is known to hold the first so many commits that arrived here.
    pub held: u64,
    /// Whether the application calls it a hub.
    pub is_hub: bool,
    /// How many logs of its own it has opened here: what a cap on them counts. Outlives
    /// [`Replication::forget`].
    pub opened: u64,
}

/// Reads and stores commits for a session. Cheap to clone. All that it gives is durable (I9).
#[derive(Clone, Debug)]
pub struct Replication {
    pub(crate) engine: Engine,
}

impl Replication {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// The dataset, if it is settled durably.
    pub fn dataset(&self) -> Option<DatasetId> {
        self.engine.dataset()
    }

    /// What the application called it: see [`Engine::dataset_name`].
    pub fn dataset_name(&self) -> Option<String> {
        self.engine.dataset_name().map(str::to_owned)
    }

    /// Takes over a peer's dataset, durably. [`Error::WrongDataset`] if this store has another: it
    /// keeps that, written to or not.
    pub fn adopt(&self, dataset: DatasetId) -> Result<()> {
        self.engine.store().adopt(dataset)
    }

    /// Random bytes that tell this opening of the store from any other, of a copy too: who meets
    /// them at the other end of a session talks to itself.
    pub fn instance(&self) -> [u8; 4] {
        self.engine.inner.instance
    }

    /// The log that this store's writes extend; none before the first is durable.
    pub fn own_log(&self) -> Option<LogId> {
        self.engine.log_id()
    }

    /// The engine's clock.
    pub fn now(&self) -> Timestamp {
        (self.engine.store().now)()
    }

    /// All that is durable now. Costs a look-up a log.
    pub fn position(&self) -> Result<Position> {
        match self.position_as_known() {
            Err(e) if store::is_damage(&e) => {
                let store = self.engine.store();
                let tables = store.tables()?;
                let view = store.view(&tables);
                let end = |line| view.dot_at(line, u64::MAX).ok().flatten().map(|(_, lsn)| lsn);
                store.note_damage(view.directory.all_shared().filter_map(end))?;
                self.position_as_known()
            }
            known => known,
        }
    }

    fn position_as_known(&self) -> Result<Position> {
        let snapshot = self.engine.snapshot()?;
        Ok(Position {
            lsn: snapshot.commits()?,
            ends: ends_by(&snapshot.view(), |line| snapshot.view().shown_tip(line))?,
            digest: snapshot.state_digest()?,
            whole: self.engine.store().missing.first_damaged().is_none(),
        })
    }

    /// A commit by its ref, if it is here, and what it follows.
    pub fn locate(&self, commit: &CommitRef) -> Result<Option<Located>> {
        self.read(|view| {
            if view.directory.shared(commit.log).is_none() {
                return Ok(None);
            }
            let found = match view.find(commit) {
                Err(e) if store::is_damage(&e) && view.missing.first_damaged().is_some() => None,
                other => other?,
            };
            let shown = |r: &Arc<Record>| view.missing.shows(r.ordinal, r.header.last());
            let Some(record) = found.filter(shown) else { return Ok(None) };
            let end = End { log: commit.log, sequence: commit.sequence, chain: record.chain };
            let path = view.directory.path(record.ordinal, commit.sequence);
            Ok(Some(Located { end, lsn: record.lsn, path }))
        })
    }

    /// The ends of all branches of a log, sorted.
    pub fn ends_of(&self, log: LogId) -> Result<Vec<End>> {
        self.read(|view| {
            let mut out = Vec::new();
            for line in
                view.directory.lines(log).into_iter().filter(|o| !view.directory.is_local(*o))
            {
                let tip = view.shown_tip(line)?;
                out.extend(tip.map(|r| End { log, sequence: r.header.last(), chain: r.chain }));
            }
            out.sort();
            Ok(out)
        })
    }

    /// Rungs down a branch, by which a peer with another branch of the log finds where they part:
    /// the commit that `end` names, and those 1, 2, 4, 8, … versions before it, newest first. Costs
    /// a look-up each.
    pub fn ladder(&self, end: &End) -> Result<Vec<End>> {
        self.read(|view| {
            let Some(top) = view.find(&end.reference())? else { return Ok(Vec::new()) };
            let mut out = vec![*end];
            let mut back = 1u64;
            while let Some(sequence) = end.sequence.checked_sub(back).filter(|s| *s > 0) {
                if let Some(r) = view.commit_at(top.ordinal, sequence)? {
                    let rung = End { log: end.log, sequence: r.header.last(), chain: r.chain };
                    if out.last() != Some(&rung) {
                        out.push(rung);
                    }
                }
                back = back.saturating_mul(2);
            }
            Ok(out)
        })
    }

    /// The ends of all logs, sorted, as they were when `lsn` commits were here. Costs a look-up a
    /// log, and for one that went on since, one for each halving of it.
    pub fn ends_at_lsn(&self, lsn: u64) -> Result<Vec<End>> {
        self.read(|view| {
            let mut out = Vec::new();
            for ordinal in view.directory.all_shared() {
                if let Some(r) = view.tip_among(ordinal, lsn)? {
                    out.push(End {
                        log: view.log_id(ordinal)?,
                        sequence: r.header.last(),
                        chain: r.chain,
                    });
                }
            }
            out.sort();
            Ok(out)
        })
    }

    /// The least lsn of a commit beyond what a peer holds of its line; the number of commits if
    /// there is none. `held`: how far, by log and line.
    pub fn first_lsn_beyond(&self, held: &dyn Fn(LogId, u32) -> u64) -> Result<u64> {
        let snapshot = self.engine.snapshot()?;
        let view = snapshot.view();
        let mut least = snapshot.commits()?;
        for ordinal in view.directory.all_shared() {
            // a peer may say anything
            let start = view.directory.fork(ordinal).map_or(0, |f| f.after);
            let next = held(view.log_id(ordinal)?, ordinal).max(start).saturating_add(1);
            if !view.missing.shows(ordinal, next) {
                continue;
            }
            if let Some(record) =
                self.sound(&view, view.commit_on(ordinal, next), &[(ordinal, next)])?
            {
                least = least.min(record.lsn);
            }
        }
        Ok(least)
    }

    /// Commits in arrival order from lsn `from` up to before `until`, of those that travel the ones
    /// that `wanted(log, line, last sequence)` accepts. Stops once their bytes reach `budget`;
    /// gives at least one if there is any. Passes over what is damaged, and what builds on it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names damage that was not known. It is noted, so that the next session
    /// brings it back.
    pub fn commits(
        &self,
        from: u64,
        until: u64,
        wanted: &dyn Fn(LogId, u32, u64) -> bool,
        budget: usize,
    ) -> Result<Batch> {
        let snapshot = self.engine.snapshot()?;
        let (view, until) = (snapshot.view(), until.min(snapshot.commits()?));
        let mut batch = Batch { commits: Vec::new(), next_lsn: from };
        let mut bytes = 0;
        while batch.next_lsn < until && (bytes < budget || batch.commits.is_empty()) {
            let lsn = batch.next_lsn;
            batch.next_lsn += 1;
            if view.missing.is_damaged(lsn) {
                continue;
            }
            let record = match view.record(lsn) {
                Err(e) if store::is_damage(&e) => {
                    self.engine.store().note_damage([lsn])?;
                    return Err(e);
                }
                other => other?,
            };
            if !view.missing.shows(record.ordinal, record.header.last()) {
                continue;
            }
            let log = view.log_id(record.ordinal)?;
            if !view.directory.is_local(record.ordinal)
                && wanted(log, record.ordinal, record.header.last())
            {
                let places =
                    [record.header.first - 1, record.header.first].map(|s| (record.ordinal, s));
                let commit = self.sound(&view, wire(&view, &record, log), &places)?;
                bytes += commit.bytes.len();
                batch.commits.push(commit);
            }
        }
        Ok(batch)
    }

    /// If something could not be read for damage, notes which of these commits are damaged.
    fn sound<T>(&self, view: &View<'_>, read: Result<T>, places: &[(u32, u64)]) -> Result<T> {
        if read.as_ref().is_err_and(store::is_damage) {
            let dots = places.iter().map(|(line, sequence)| {
                view.dot_at(view.directory.line_at(*line, *sequence), *sequence)
            });
            let dots = dots.collect::<Result<Vec<_>>>()?;
            self.engine.store().note_damage(dots.into_iter().flatten().map(|(_, lsn)| lsn))?;
        }
        read
    }

    /// Commits whose bodies do not verify here, in arrival order, the first so many: a peer may
    /// have them whole.
    pub fn unverified(&self, limit: usize) -> Result<Vec<CommitRef>> {
        self.read(|view| {
            let mut out = Vec::new();
            for lsn in view.missing.unverified(limit) {
                // what was marked in error is nothing to ask for
                let Ok(record) = view.record(lsn) else { continue };
                if record.lacks_bodies() && !view.directory.is_local(record.ordinal) {
                    out.push(record.reference(view.log_id(record.ordinal)?));
                }
            }
            Ok(out)
        })
    }

    /// A commit as it travels, if it is here and its bodies verify.
    pub fn verified(&self, commit: &CommitRef) -> Result<Option<WireCommit>> {
        let Some(here) = self.locate(commit)? else { return Ok(None) };
        self.read(|view| {
            let record = view.record(here.lsn)?;
            let last = record.header.last();
            if record.unverified || !view.missing.shows(record.ordinal, last) {
                return Ok(None);
            }
            wire(view, &record, commit.log).map(Some)
        })
    }

    /// Takes commits in, in arrival order, in one durable commit. What is here already is skipped
    /// after its chain was checked; if another session, an import or a write brought it a moment
    /// ago, this waits until that is durable. What cannot be placed because of damage here waits:
    /// see [`Ingested::waiting`].
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::OutOfOrder`], [`Error::WrongDataset`] blame the commit that the
    /// ingest stopped at: those before it are kept, and so durable; it and those after it are not.
    /// [`Error::Storage`], [`Error::Poisoned`]: nothing may be taken for received.
    pub fn ingest(&self, commits: &[&[u8]]) -> Result<Ingested> {
        let store = self.engine.store();
        let mut report = Ingested::default();
        let (stopped, batch) = {
            let mut writer = store.writer()?;
            let dataset = writer
                .known
                .dataset
                .ok_or_else(|| Error::invalid("no dataset yet: adopt the peer's first"))?;
            let stopped = store.ingest(&mut writer, dataset, commits, &mut report);
            (stopped, writer.rests_on())
        };
        // what was skipped may have come with another session, or an import, a moment ago
        store.flush(batch)?;
        if report.healed > 0 {
            let tables = store.tables()?;
            store.withhold(&store.view(&tables), store.durable())?;
        }
        stopped.map(|()| report)
    }

    /// This store's name among peers, drawn and made durable the first time.
    pub fn node(&self) -> Result<NodeId> {
        self.engine.store().node(&*self.engine.inner.identity.nonce)
    }

    /// Tells whether two stores show alike: see [`Engine::policy_fingerprint`].
    pub fn policy_fingerprint(&self) -> [u8; 8] {
        self.engine.policy_fingerprint()
    }

    fn read<T>(&self, f: impl FnOnce(&View<'_>) -> Result<T>) -> Result<T> {
        let store = self.engine.store();
        let tables = store.tables()?;
        f(&store.view(&tables))
    }
}

/// The ends of all lines that travel, sorted, by what is taken for the last commit of each.
pub(crate) fn ends_by(
    view: &View<'_>,
    tip: impl Fn(u32) -> Result<Option<Arc<Record>>>,
) -> Result<Vec<End>> {
    let mut out = Vec::new();
    for ordinal in view.directory.all_shared() {
        if let Some(tip) = tip(ordinal)? {
            out.push(End {
                log: view.log_id(ordinal)?,
                sequence: tip.header.last(),
                chain: tip.chain,
            });
        }
    }
    out.sort();
    Ok(out)
}

/// A commit in the log as it travels.
pub(crate) fn wire(view: &View<'_>, record: &Record, log: LogId) -> Result<WireCommit> {
    let info = view
        .directory
        .log(record.ordinal)
        .ok_or_else(|| Error::corrupt("logs", record.ordinal, "unknown"))?;
    let sequence = record.header.first - 1;
    let missing = || Error::corrupt("log", record.lsn, "its predecessor is missing");
    let (before, genesis): ((u64, ChainPrefix), _) = if sequence == 0 {
        ((0, hash::chain_of_genesis(&info.genesis).prefix()), Some(&info.genesis[..]))
    } else {
        let before = view.commit_at(record.ordinal, sequence)?.ok_or_else(missing)?;
        ((sequence, before.chain.prefix()), None)
    };
    let bodies = view.with_bytes(record.lsn, |bytes| record.bodies(bytes))?;
    let parts = WireParts {
        log,
        before,
        genesis,
        header: &record.header_bytes,
        bodies: &bodies,
        trailer: &record.trailer,
    };
    let end = End { log, sequence: record.header.last(), chain: record.chain };
    Ok(WireCommit { lsn: record.lsn, end, versions: record.header.count, bytes: parts.encode() })
}
