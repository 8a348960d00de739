//! What a session asks of a store, and the small types that both speak.

mod ingested;
mod memory;
mod position;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

pub use ingested::{ClockAhead, Fork, Ingested, Span, VoidVersion};
pub use memory::{Cut, Peer, Staged, StagedHead};
pub use position::{Batch, End, Located, Position, WireCommit, log_root};

use crate::bytes::Malformed;
use crate::model::{CommitRef, Dataset, DatasetId, Line, LogId, Lsn, NodeId, Sequence};

/// Result with [`ReplicaError`].
pub type Result<T, E = ReplicaError> = core::result::Result<T, E>;

/// Why a replica did not do what a session asked, sorted by who must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The peer sent bytes that are no commit. Nothing of them was stored.
    #[error("refused bytes that are no commit: {0}")]
    Refused(#[from] Malformed),
    /// The peer sent a commit before one that it builds on. It was not stored.
    #[error("commit {log}/{first} came before one that it builds on")]
    OutOfOrder {
        /// Its log.
        log: LogId,
        /// Sequence of its first version.
        first: Sequence,
    },
    /// The peer's data belongs to another dataset than ours. People must act.
    #[error("this store holds dataset {ours}, not {theirs}")]
    WrongDataset {
        /// The dataset of this store.
        ours: Dataset,
        /// The other.
        theirs: Dataset,
    },
    /// The store itself failed; its own error says what to do.
    #[error(transparent)]
    Store(Box<dyn core::error::Error + Send + Sync>),
}

impl ReplicaError {
    /// Wraps an error of the store itself.
    pub fn store(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Store(source.into())
    }
}

/// A store of commits that can take part in a sync: implemented for `heirloom::Engine`; a hub that
/// keeps commits elsewhere implements it itself. Shared through `&`, `Box` or `Arc` it is one, too.
///
/// Everything read here must be durable: only durable commits leave the process. Methods may
/// block on storage, and are never called while a lock of the session's is held. Several sessions
/// may use one replica at once.
///
/// Errors are sorted by who must act, see [`ReplicaError`], so that a bad peer never looks like a
/// bad disk.
#[auto_impl::auto_impl(&, Box, Arc)]
pub trait Replica {
    /// The dataset, if it is known yet.
    fn dataset(&self) -> Result<Option<DatasetId>>;

    /// What people call the dataset, if it was given by name: for error messages.
    fn dataset_name(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Takes over a peer's dataset; only asked where there is none. [`ReplicaError::WrongDataset`]
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
    fn ends_at_lsn(&self, lsn: Lsn) -> Result<Vec<End>>;

    /// The least lsn of a commit beyond what `held(log, line)` says; the number of commits if there
    /// is none.
    fn first_lsn_beyond(&self, held: &dyn Fn(LogId, Line) -> Sequence) -> Result<Lsn>;

    /// Commits in arrival order from `from` up to before `until`, those that
    /// `wanted(log, line, last sequence)` accepts. Stops once `budget` bytes are reached; at least
    /// one commit if there is any. `next_lsn` is where to go on: `until` at the end.
    fn commits(
        &self,
        from: Lsn,
        until: Lsn,
        wanted: &dyn Fn(LogId, Line, Sequence) -> bool,
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

    /// The large commit of which parts from `peer` are here, and how much of it.
    fn staged(&self, peer: NodeId) -> Result<Option<Staged>>;

    /// The bytes that came so far of the large commit from `peer`.
    fn staged_bytes(&self, peer: NodeId) -> Result<Vec<u8>>;

    /// Adds bytes to the large commit from `peer`, durably. At offset 0 it begins.
    fn stage(&self, peer: NodeId, head: &StagedHead, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Drops the parts of a large commit from `peer`.
    fn unstage(&self, peer: NodeId) -> Result<()>;

    /// What is remembered of a peer: the last cut that was proven equal, how much it holds.
    fn remembered(&self, peer: NodeId) -> Result<Option<Peer>>;

    /// Remembers this of a peer. Equal replicas may greet each other every few minutes: what is
    /// known already must not cost a write.
    fn remember(&self, node: NodeId, peer: Peer) -> Result<()>;
}
