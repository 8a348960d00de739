//! What a replica remembers between sessions: parts of a large commit, and its peers.

use crate::model::{Chain, LogId, LogRoot, Lsn, Sequence};

/// A large commit on its way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StagedHead {
    /// Its log.
    pub log: LogId,
    /// Its last sequence.
    pub sequence: Sequence,
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
    pub lsn: Lsn,
}

/// What is remembered of a store that this one has synced with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Peer {
    /// The last cut that was proven equal.
    pub cut: Option<Cut>,
    /// It is known to hold the first so many commits that arrived here.
    pub held: Lsn,
    /// Whether the application calls it a hub.
    pub is_hub: bool,
    /// How many logs of its own it has opened here: what a cap on them counts. Outlives
    /// forgetting the peer.
    pub opened: u64,
}
