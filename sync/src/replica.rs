//! The seam: what a session needs from whoever keeps the commits.

use heirloom::replication::{
    Batch, End, Ingested, Located, Peer, Position, Staged, StagedHead, WireCommit,
};
use heirloom::{CommitRef, DatasetId, Engine, LogId, NodeId, Timestamp};

use crate::error::{PeerMisbehaved, Result, SyncError};

/// A store of commits that can take part in a sync: implemented for [`heirloom::Engine`]; a hub
/// that keeps commits elsewhere implements it itself.
///
/// Everything read here must be durable: only durable commits leave the process (I9). Methods may
/// block on storage, and are never called while a lock of the session's is held. Several sessions
/// may use one replica at once.
///
/// Errors are sorted by who must act: [`SyncError::refused`] and
/// [`PeerMisbehaved::OutOfOrder`] blame the peer,
/// [`SyncError::replica`] our own store. So a bad peer never looks like a bad disk.
pub trait Replica {
    /// The dataset, if it is known yet.
    fn dataset(&self) -> Result<Option<DatasetId>>;

    /// What people call the dataset, if it was given by name: for error messages.
    fn dataset_name(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Takes over a peer's dataset; only asked where there is none. [`SyncError::WrongDataset`]
    /// where there is another by now.
    fn adopt(&self, dataset: DatasetId) -> Result<()>;

    /// The name by which peers remember this replica: drawn once, the same from then on.
    fn node(&self) -> Result<NodeId>;

    /// Random bytes drawn when it was opened: by them, beside its name, it recognises itself at the
    /// other end. Nothing: it never does.
    fn instance(&self) -> Option<[u8; 4]> {
        None
    }

    /// Fingerprint of the policies by which it shows conflicts; zero for none. Both ends are told
    /// if theirs differ.
    fn policy_fingerprint(&self) -> [u8; 8];

    /// The log that it extends itself; none before its first write, or if it never writes. The peer
    /// may ask who opens a log there.
    fn own_log(&self) -> Result<Option<LogId>> {
        Ok(None)
    }

    /// The replica's clock: only for the report about how far the clocks of both ends differ.
    fn now(&self) -> Timestamp;

    /// How many commits are here, the ends of all logs, and the state digest, all of one moment.
    fn position(&self) -> Result<Position>;

    /// A commit, if it is here, and its path: on which *line* it lies, and how far into each line
    /// that this one continues. A line is a local number, one for each log, and one more for each
    /// branch where a log forked.
    fn locate(&self, commit: &CommitRef) -> Result<Option<Located>>;

    /// The ends of all branches of `log`, sorted.
    fn ends_of(&self, log: LogId) -> Result<Vec<End>>;

    /// Commits down the path that ends there, itself first, at distances that double.
    fn ladder(&self, end: &End) -> Result<Vec<End>>;

    /// The ends of all logs, sorted, as they were when `lsn` commits were here.
    fn ends_at_lsn(&self, lsn: u64) -> Result<Vec<End>>;

    /// The least lsn of a commit beyond what `held(log, line)` says; the number of commits if there
    /// is none.
    fn first_lsn_beyond(&self, held: &dyn Fn(LogId, u32) -> u64) -> Result<u64>;

    /// Commits in arrival order from `from` up to before `until`, those that
    /// `wanted(log, line, last sequence)` accepts. Stops once `budget` bytes are reached; at least
    /// one commit if there is any. `next_lsn` is where to go on: `until` at the end.
    fn commits(
        &self,
        from: u64,
        until: u64,
        wanted: &dyn Fn(LogId, u32, u64) -> bool,
        budget: usize,
    ) -> Result<Batch>;

    /// Commits whose bodies do not verify here, in arrival order, the first so many. A replica that
    /// looks at no bodies has none.
    fn unverified(&self, _limit: usize) -> Result<Vec<CommitRef>> {
        Ok(Vec::new())
    }

    /// A commit as it travels, if it is here and its bodies verify.
    fn verified(&self, _commit: &CommitRef) -> Result<Option<WireCommit>> {
        Ok(None)
    }

    /// Stores these commits, in this order, in one durable commit. Those that are here already are
    /// skipped. After an error that blames one of them, those before it may have been kept.
    fn ingest(&self, commits: &[&[u8]]) -> Result<Ingested>;

    /// The large commit of which parts from `peer` are here.
    fn staged(&self, peer: NodeId) -> Result<Option<Staged>>;

    /// Its bytes so far.
    fn staged_bytes(&self, peer: NodeId) -> Result<Vec<u8>>;

    /// Adds bytes to it, durably. At offset 0 it begins.
    fn stage(&self, peer: NodeId, head: &StagedHead, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Drops it.
    fn unstage(&self, peer: NodeId) -> Result<()>;

    /// What is remembered of a peer: the last cut that was proven equal, how much it holds.
    fn remembered(&self, peer: NodeId) -> Result<Option<Peer>>;

    /// Remembers it. Equal replicas may greet each other every few minutes: what is known already
    /// must not cost a write.
    fn remember(&self, node: NodeId, peer: Peer) -> Result<()>;
}

impl Replica for Engine {
    fn dataset(&self) -> Result<Option<DatasetId>> {
        Ok(self.replication().dataset())
    }

    fn dataset_name(&self) -> Result<Option<String>> {
        Ok(self.replication().dataset_name())
    }

    fn adopt(&self, dataset: DatasetId) -> Result<()> {
        self.replication().adopt(dataset).map_err(sort)
    }

    fn instance(&self) -> Option<[u8; 4]> {
        Some(self.replication().instance())
    }

    fn node(&self) -> Result<NodeId> {
        self.replication().node().map_err(sort)
    }

    fn policy_fingerprint(&self) -> [u8; 8] {
        self.replication().policy_fingerprint()
    }

    fn own_log(&self) -> Result<Option<LogId>> {
        Ok(self.replication().own_log())
    }

    fn now(&self) -> Timestamp {
        self.replication().now()
    }

    fn position(&self) -> Result<Position> {
        self.replication().position().map_err(sort)
    }

    fn locate(&self, commit: &CommitRef) -> Result<Option<Located>> {
        self.replication().locate(commit).map_err(sort)
    }

    fn ends_of(&self, log: LogId) -> Result<Vec<End>> {
        self.replication().ends_of(log).map_err(sort)
    }

    fn ladder(&self, end: &End) -> Result<Vec<End>> {
        self.replication().ladder(end).map_err(sort)
    }

    fn ends_at_lsn(&self, lsn: u64) -> Result<Vec<End>> {
        self.replication().ends_at_lsn(lsn).map_err(sort)
    }

    fn first_lsn_beyond(&self, held: &dyn Fn(LogId, u32) -> u64) -> Result<u64> {
        self.replication().first_lsn_beyond(held).map_err(sort)
    }

    fn commits(
        &self,
        from: u64,
        until: u64,
        wanted: &dyn Fn(LogId, u32, u64) -> bool,
        budget: usize,
    ) -> Result<Batch> {
        self.replication().commits(from, until, wanted, budget).map_err(sort)
    }

    fn unverified(&self, limit: usize) -> Result<Vec<CommitRef>> {
        self.replication().unverified(limit).map_err(sort)
    }

    fn verified(&self, commit: &CommitRef) -> Result<Option<WireCommit>> {
        self.replication().verified(commit).map_err(sort)
    }

    fn ingest(&self, commits: &[&[u8]]) -> Result<Ingested> {
        self.replication().ingest(commits).map_err(sort)
    }

    fn staged(&self, peer: NodeId) -> Result<Option<Staged>> {
        self.replication().staged(peer).map_err(sort)
    }

    fn staged_bytes(&self, peer: NodeId) -> Result<Vec<u8>> {
        self.replication().staged_bytes(peer).map_err(sort)
    }

    fn stage(&self, peer: NodeId, head: &StagedHead, offset: u64, bytes: &[u8]) -> Result<()> {
        self.replication().stage(peer, head, offset, bytes).map_err(sort)
    }

    fn unstage(&self, peer: NodeId) -> Result<()> {
        self.replication().unstage(peer).map_err(sort)
    }

    fn remembered(&self, peer: NodeId) -> Result<Option<Peer>> {
        self.replication().remembered(peer).map_err(sort)
    }

    fn remember(&self, node: NodeId, peer: Peer) -> Result<()> {
        self.replication().remember(node, peer).map_err(sort)
    }
}

/// Who must act on an error of the engine's: what is wrong with the bytes is the peer's, everything
/// else our own store's.
fn sort(error: heirloom::Error) -> SyncError {
    match error {
        heirloom::Error::Refused(_) => SyncError::refused(error),
        heirloom::Error::OutOfOrder { log, .. } => PeerMisbehaved::OutOfOrder { log }.into(),
        heirloom::Error::WrongDataset { ours, theirs } => SyncError::WrongDataset { ours, theirs },
        ours => SyncError::replica(ours),
    }
}

/// Whatever points to a replica is one.
macro_rules! pointer {
    ($pointer:ty) => {
        impl<R: Replica + ?Sized> Replica for $pointer {
            fn dataset(&self) -> Result<Option<DatasetId>> {
                (**self).dataset()
            }
            fn dataset_name(&self) -> Result<Option<String>> {
                (**self).dataset_name()
            }
            fn adopt(&self, dataset: DatasetId) -> Result<()> {
                (**self).adopt(dataset)
            }
            fn instance(&self) -> Option<[u8; 4]> {
                (**self).instance()
            }
            fn node(&self) -> Result<NodeId> {
                (**self).node()
            }
            fn policy_fingerprint(&self) -> [u8; 8] {
                (**self).policy_fingerprint()
            }
            fn own_log(&self) -> Result<Option<LogId>> {
                (**self).own_log()
            }
            fn now(&self) -> Timestamp {
                (**self).now()
            }
            fn position(&self) -> Result<Position> {
                (**self).position()
            }
            fn locate(&self, commit: &CommitRef) -> Result<Option<Located>> {
                (**self).locate(commit)
            }
            fn ends_of(&self, log: LogId) -> Result<Vec<End>> {
                (**self).ends_of(log)
            }
            fn ladder(&self, end: &End) -> Result<Vec<End>> {
                (**self).ladder(end)
            }
            fn ends_at_lsn(&self, lsn: u64) -> Result<Vec<End>> {
                (**self).ends_at_lsn(lsn)
            }
            fn first_lsn_beyond(&self, held: &dyn Fn(LogId, u32) -> u64) -> Result<u64> {
                (**self).first_lsn_beyond(held)
            }
            fn commits(
                &self,
                from: u64,
                until: u64,
                wanted: &dyn Fn(LogId, u32, u64) -> bool,
                budget: usize,
            ) -> Result<Batch> {
                (**self).commits(from, until, wanted, budget)
            }
            fn unverified(&self, limit: usize) -> Result<Vec<CommitRef>> {
                (**self).unverified(limit)
            }
            fn verified(&self, commit: &CommitRef) -> Result<Option<WireCommit>> {
                (**self).verified(commit)
            }
            fn ingest(&self, commits: &[&[u8]]) -> Result<Ingested> {
                (**self).ingest(commits)
            }
            fn staged(&self, peer: NodeId) -> Result<Option<Staged>> {
                (**self).staged(peer)
            }
            fn staged_bytes(&self, peer: NodeId) -> Result<Vec<u8>> {
                (**self).staged_bytes(peer)
            }
            fn stage(
                &self,
                peer: NodeId,
                head: &StagedHead,
                offset: u64,
                bytes: &[u8],
            ) -> Result<()> {
                (**self).stage(peer, head, offset, bytes)
            }
            fn unstage(&self, peer: NodeId) -> Result<()> {
                (**self).unstage(peer)
            }
            fn remembered(&self, peer: NodeId) -> Result<Option<Peer>> {
                (**self).remembered(peer)
            }
            fn remember(&self, node: NodeId, peer: Peer) -> Result<()> {
                (**self).remember(node, peer)
            }
        }
    };
}

pointer!(&R);
pointer!(std::sync::Arc<R>);
