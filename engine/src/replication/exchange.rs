//! What sync is built on: commits as they travel, out and in, and a little memory about peers.

use std::collections::VecDeque;
use std::sync::Arc;

use heirloom_core::fold::Lines;
use heirloom_core::format::commit::WireParts;
use heirloom_core::format::hash;
use heirloom_core::model::{
    ChainPrefix, CommitRef, DatasetId, Line, LogId, Lsn, NodeId, Sequence, Timestamp,
};
use heirloom_core::replica;
use heirloom_core::replica::{
    Batch, End, Ingested, Located, Peer, Position, Replica, Staged, StagedHead, WireCommit,
};

use crate::engine::Engine;
use crate::error::{Error, Result, Table};
use crate::store::{Record, View, ends_by};
use crate::traced::TRACED;

/// Reads and stores commits for a session. Cheap to clone. All that it gives is durable.
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
            Err(e) if e.is_damage() => {
                let store = self.engine.store();
                let tables = store.tables()?;
                let view = store.view(&tables);
                let end =
                    |line| view.dot_at(line, Sequence::END).ok().flatten().map(|(_, lsn)| lsn);
                store.note_damage(view.directory.all_shared().filter_map(end))?;
                self.position_as_known()
            }
            known => known,
        }
    }

    fn position_as_known(&self) -> Result<Position> {
        let snapshot = self.engine.snapshot()?;
        Ok(Position {
            lsn: snapshot.tables.end()?,
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
                Err(e) if e.is_damage() && view.missing.first_damaged().is_some() => None,
                other => other?,
            };
            let shown = |r: &Arc<Record>| view.missing.shows(r.line, r.header.last());
            let Some(record) = found.filter(shown) else { return Ok(None) };
            let end = End { log: commit.log, sequence: commit.sequence, chain: record.chain };
            let path = view.directory.path(record.line, commit.sequence);
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
            while let Some(sequence) = end.sequence.back(back).filter(|s| *s > Sequence::START) {
                if let Some(r) = view.commit_at(top.line, sequence)? {
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
    pub fn ends_at_lsn(&self, lsn: Lsn) -> Result<Vec<End>> {
        self.read(|view| {
            let mut out = Vec::new();
            for line in view.directory.all_shared() {
                if let Some(r) = view.tip_among(line, lsn)? {
                    out.push(End {
                        log: view.log_id(line)?,
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
    pub fn first_lsn_beyond(&self, held: &dyn Fn(LogId, Line) -> Sequence) -> Result<Lsn> {
        let snapshot = self.engine.snapshot()?;
        let view = snapshot.view();
        let mut least = snapshot.tables.end()?;
        for line in view.directory.all_shared() {
            // a peer may say anything
            let start = view.directory.branch_point(line).map_or(Sequence::START, |f| f.after);
            let next = held(view.log_id(line)?, line).max(start).next();
            if !view.missing.shows(line, next) {
                continue;
            }
            if let Some(record) = self.sound(&view, view.commit_on(line, next), &[(line, next)])? {
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
        from: Lsn,
        until: Lsn,
        wanted: &dyn Fn(LogId, Line, Sequence) -> bool,
        budget: usize,
    ) -> Result<Batch> {
        let snapshot = self.engine.snapshot()?;
        let (view, until) = (snapshot.view(), until.min(snapshot.tables.end()?));
        let mut batch = Batch { commits: Vec::new(), next_lsn: from };
        let mut bytes = 0;
        while batch.next_lsn < until && (bytes < budget || batch.commits.is_empty()) {
            let lsn = batch.next_lsn;
            batch.next_lsn = lsn.next();
            if view.missing.is_damaged(lsn) {
                continue;
            }
            let record = match view.record(lsn) {
                Err(e) if e.is_damage() => {
                    let next = view.stored_from(lsn)?.unwrap_or(until).min(until);
                    let gone = self.engine.store().gone_between(&view, (lsn, next))?;
                    if next > lsn && gone.is_empty() {
                        // nothing is left of these, and nothing speaks of them
                        batch.next_lsn = next;
                        continue;
                    }
                    self.engine.store().note_damage(gone.into_iter().chain([lsn]))?;
                    return Err(e);
                }
                other => other?,
            };
            if !view.missing.shows(record.line, record.header.last()) {
                continue;
            }
            let log = view.log_id(record.line)?;
            if !view.directory.is_local(record.line)
                && wanted(log, record.line, record.header.last())
            {
                let places =
                    [record.header.before(), record.header.first].map(|s| (record.line, s));
                let commit = self.sound(&view, wire(&view, &record, log), &places)?;
                bytes += commit.bytes.len();
                batch.commits.push(commit);
            }
        }
        Ok(batch)
    }

    /// If something could not be read for damage, notes which of these commits are damaged.
    fn sound<T>(&self, view: &View<'_>, read: Result<T>, places: &[(Line, Sequence)]) -> Result<T> {
        if read.as_ref().is_err_and(Error::is_damage) {
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
                if record.lacks_bodies() && !view.directory.is_local(record.line) {
                    out.push(record.reference(view.log_id(record.line)?));
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
            if record.unverified || !view.missing.shows(record.line, last) {
                return Ok(None);
            }
            wire(view, &record, commit.log).map(Some)
        })
    }

    /// Takes commits in, in arrival order, in one durable commit; in several where what is kept of
    /// them is beyond 32 MiB. What is here already is skipped after its chain was checked; if
    /// another session, an import or a write brought it a moment ago, this waits until that is
    /// durable. What cannot be placed because of damage here waits: see [`Ingested::waiting`].
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::OutOfOrder`], [`Error::WrongDataset`] blame the commit that the
    /// ingest stopped at: those before it are kept, and so durable; it and those after it are not.
    /// [`Error::Storage`], [`Error::Poisoned`]: nothing may be taken for received.
    pub fn ingest(&self, commits: &[&[u8]]) -> Result<Ingested> {
        let span = tracing::debug_span!(target: TRACED, "ingest", commits = commits.len());
        let _entered = span.enter();
        let store = self.engine.store();
        let mut report = Ingested::default();
        let mut next: VecDeque<usize> = (0..commits.len()).collect();
        let stopped = loop {
            let (taken, batch) = {
                let mut writer = store.writer()?;
                let dataset = writer.known.dataset.ok_or_else(|| Error::NoDataset)?;
                let taken = store.ingest(&mut writer, dataset, commits, &mut next, &mut report);
                (taken, writer.rests_on())
            };
            // what was skipped may have come with another session, or an import, a moment ago
            store.flush(batch)?;
            if taken.is_err() || next.is_empty() {
                break taken;
            }
        };
        if report.healed > 0 {
            let tables = store.tables()?;
            store.withhold(&store.view(&tables), store.durable())?;
        }
        let Ingested { added, skipped, healed, .. } = report;
        tracing::debug!(target: TRACED, added, skipped, healed, "ingested");
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

/// A commit in the log as it travels.
pub(crate) fn wire(view: &View<'_>, record: &Record, log: LogId) -> Result<WireCommit> {
    let info = view
        .directory
        .log(record.line)
        .ok_or_else(|| Error::corrupt(Table::Logs, record.line, "unknown"))?;
    let sequence = record.header.before();
    let missing = || Error::corrupt(Table::Log, record.lsn, "its predecessor is missing");
    let (before, genesis): ((Sequence, ChainPrefix), _) = if sequence == Sequence::START {
        ((sequence, hash::chain_of_genesis(&info.genesis).prefix()), Some(&info.genesis[..]))
    } else {
        let before = view.commit_at(record.line, sequence)?.ok_or_else(missing)?;
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

impl Replica for Engine {
    fn dataset(&self) -> replica::Result<Option<DatasetId>> {
        Ok(self.replication().dataset())
    }

    fn dataset_name(&self) -> replica::Result<Option<String>> {
        Ok(self.replication().dataset_name())
    }

    fn adopt(&self, dataset: DatasetId) -> replica::Result<()> {
        Ok(self.replication().adopt(dataset)?)
    }

    fn node(&self) -> replica::Result<NodeId> {
        Ok(self.replication().node()?)
    }

    fn instance(&self) -> Option<[u8; 4]> {
        Some(self.replication().instance())
    }

    fn policy_fingerprint(&self) -> [u8; 8] {
        self.replication().policy_fingerprint()
    }

    fn own_log(&self) -> replica::Result<Option<LogId>> {
        Ok(self.replication().own_log())
    }

    fn position(&self) -> replica::Result<Position> {
        Ok(self.replication().position()?)
    }

    fn locate(&self, commit: &CommitRef) -> replica::Result<Option<Located>> {
        Ok(self.replication().locate(commit)?)
    }

    fn ends_of(&self, log: LogId) -> replica::Result<Vec<End>> {
        Ok(self.replication().ends_of(log)?)
    }

    fn ladder(&self, end: &End) -> replica::Result<Vec<End>> {
        Ok(self.replication().ladder(end)?)
    }

    fn ends_at_lsn(&self, lsn: Lsn) -> replica::Result<Vec<End>> {
        Ok(self.replication().ends_at_lsn(lsn)?)
    }

    fn first_lsn_beyond(&self, held: &dyn Fn(LogId, Line) -> Sequence) -> replica::Result<Lsn> {
        Ok(self.replication().first_lsn_beyond(held)?)
    }

    fn commits(
        &self,
        from: Lsn,
        until: Lsn,
        wanted: &dyn Fn(LogId, Line, Sequence) -> bool,
        budget: usize,
    ) -> replica::Result<Batch> {
        Ok(self.replication().commits(from, until, wanted, budget)?)
    }

    fn unverified(&self, limit: usize) -> replica::Result<Vec<CommitRef>> {
        Ok(self.replication().unverified(limit)?)
    }

    fn verified(&self, commit: &CommitRef) -> replica::Result<Option<WireCommit>> {
        Ok(self.replication().verified(commit)?)
    }

    fn ingest(&self, commits: &[&[u8]]) -> replica::Result<Ingested> {
        Ok(self.replication().ingest(commits)?)
    }

    fn staged(&self, peer: NodeId) -> replica::Result<Option<Staged>> {
        Ok(self.replication().staged(peer)?)
    }

    fn staged_bytes(&self, peer: NodeId) -> replica::Result<Vec<u8>> {
        Ok(self.replication().staged_bytes(peer)?)
    }

    fn stage(
        &self,
        peer: NodeId,
        head: &StagedHead,
        offset: u64,
        bytes: &[u8],
    ) -> replica::Result<()> {
        Ok(self.replication().stage(peer, head, offset, bytes)?)
    }

    fn unstage(&self, peer: NodeId) -> replica::Result<()> {
        Ok(self.replication().unstage(peer)?)
    }

    fn remembered(&self, peer: NodeId) -> replica::Result<Option<Peer>> {
        Ok(self.replication().remembered(peer)?)
    }

    fn remember(&self, node: NodeId, peer: Peer) -> replica::Result<()> {
        Ok(self.replication().remember(node, peer)?)
    }
}

impl Engine {
    /// What sync is built on.
    pub fn replication(&self) -> Replication {
        Replication::new(self.clone())
    }

    /// Forgets a peer that will not come back: what it holds, whether it is a hub, the beginning of
    /// a large commit that it was sending. Nothing that anybody wrote goes. How many logs it opened
    /// here stays counted. If it comes back it is met as a stranger. Does nothing where it is not
    /// known.
    ///
    /// [`Error::Closed`], [`Error::ReadOnly`], [`Error::Storage`].
    pub fn forget_peer(&self, node: NodeId) -> Result<()> {
        self.replication().unstage(node)?;
        self.replication().forget(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Content;

    #[test]
    fn what_commits_become_is_made_durable_before_it_fills_the_memory() {
        let author = Engine::builder().label("author").dataset_name("held").in_memory().unwrap();
        let noise = (0..3 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
        let noise = noise.scan(0, |sum: &mut u8, n| {
            *sum = sum.wrapping_mul(31).wrapping_add(n);
            Some(*sum)
        });
        let noise: Vec<u8> = noise.collect();
        for n in 0..14 {
            let content = Content::new().with("n", n).with("noise", noise.clone());
            author.write(|tx| tx.create("blob", &content)).unwrap();
        }
        let reader = Engine::builder().label("reader").in_memory().unwrap();
        reader.replication().adopt(author.dataset().unwrap()).unwrap();
        let all = author.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX);
        let all = all.unwrap().commits;
        let all: Vec<&[u8]> = all.iter().map(|commit| &commit.bytes[..]).collect();
        let batches = |engine: &Engine| engine.store().writer().unwrap().batch;
        let before = batches(&reader);
        let report = reader.replication().ingest(&all).unwrap();
        assert_eq!(report.added, 14);
        assert!(batches(&reader) - before > 1, "42 MiB at once");
        assert_eq!(reader.state_digest().unwrap(), author.state_digest().unwrap());
    }
}
