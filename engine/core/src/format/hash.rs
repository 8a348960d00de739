//! Every hash of the format, each in a context of its own (FORMAT.md, 1.1).

use alloc::vec::Vec;

use crate::bytes::Put;
use crate::model::{Chain, DatasetId, EntityId, LogId, LogRoot, Sequence, VersionRef};

const LOG_ID: &str = "heirloom 1 log id";
const GENESIS: &str = "heirloom 1 genesis";
const CHAIN: &str = "heirloom 1 chain";
const STATE: &str = "heirloom 1 state";
const STATES: &str = "heirloom 1 states";
const HEAD: &str = "heirloom 1 head";
const BRANCH: &str = "heirloom 1 branch";
const ROOT: &str = "heirloom 1 log root";
const DATASET: &str = "heirloom 1 dataset name";
const IMPORT: &str = "heirloom 1 import nonce";
const ANOTHER: &str = "heirloom 1 another nonce";
const FILE: &str = "heirloom 1 file";
const POLICY: &str = "heirloom 1 policy";
const POLICIES: &str = "heirloom 1 policies";
const JOURNAL: &str = "heirloom 1 journal";

/// Checksum over a version's identity and its whole resulting state (FORMAT.md, 1.5).
pub type StateChecksum = [u8; 16];

fn hash(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn first16(hash: [u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

/// The id of the log that a genesis opens, from the bytes of the genesis.
pub fn log_id(genesis: &[u8]) -> LogId {
    LogId::from_bytes(first16(hash(LOG_ID, &[genesis])))
}

/// The chain before a log's first commit, from the bytes of its genesis.
pub fn chain_of_genesis(genesis: &[u8]) -> Chain {
    Chain::from_bytes(hash(GENESIS, &[genesis]))
}

/// What a branch of a log that forked is called, from the chain of its first commit: all replicas
/// agree on it, whatever arrived first.
pub fn branch_name(first: &Chain) -> LogId {
    LogId::from_bytes(first16(hash(BRANCH, &[first.as_bytes()])))
}

/// The chain after a commit, from the chain before it and the bytes of its header.
pub fn chain_after(before: &Chain, header: &[u8]) -> Chain {
    Chain::from_bytes(hash(CHAIN, &[before.as_bytes(), header]))
}

/// The checksum of a version's state (FORMAT.md, 1.5): over where the version stands, its entity
/// and that one's type, and `state`, its full body, nothing for a tombstone.
pub fn state_checksum(
    log: LogId,
    sequence: Sequence,
    entity: EntityId,
    entity_type: &str,
    state: Option<&[u8]>,
) -> StateChecksum {
    let mut identity = Vec::with_capacity(64);
    identity.extend_from_slice(log.as_bytes());
    identity.varint(sequence.get());
    identity.extend_from_slice(entity.as_bytes());
    identity.bytes(entity_type.as_bytes());
    identity.push(u8::from(state.is_some()));
    first16(hash(STATE, &[&identity, state.unwrap_or_default()]))
}

/// What a header says of all states: hash over the checksums of a commit's versions, in their
/// order.
pub fn states_root(checksums: &[StateChecksum]) -> [u8; 32] {
    hash(STATES, &[checksums.as_flattened()])
}

/// The checksum of a frame of a store's journal, over all that follows it (FORMAT.md, 2.8). Local:
/// never in a commit.
pub fn frame_sum(frame: &[u8]) -> [u8; 16] {
    first16(hash(JOURNAL, &[frame]))
}

/// What one head of an entity adds to the state digest.
pub fn head_term(entity: EntityId, head: &VersionRef) -> [u8; 32] {
    let sequence = head.sequence.get().to_be_bytes();
    hash(HEAD, &[entity.as_bytes(), head.log.as_bytes(), &sequence, head.prefix.as_bytes()])
}

/// Hash over all commits of a replica, from the last commit of each branch of each log, sorted:
/// log, last sequence, chain (FORMAT.md, 1.8).
pub fn log_root(ends: impl IntoIterator<Item = (LogId, Sequence, Chain)>) -> LogRoot {
    let mut hasher = blake3::Hasher::new_derive_key(ROOT);
    for (log, sequence, chain) in ends {
        hasher.update(log.as_bytes());
        hasher.update(&sequence.get().to_be_bytes());
        hasher.update(chain.as_bytes());
    }
    LogRoot::from_bytes(*hasher.finalize().as_bytes())
}

impl DatasetId {
    /// The dataset that all devices mean that use this name, before they ever meet.
    pub fn from_name(name: &str) -> Self {
        Self::from_bytes(first16(hash(DATASET, &[name.as_bytes()])))
    }
}

/// The nonce in the genesis of a device whose history is imported: the same wherever it is done.
pub fn import_nonce(dataset: &DatasetId, device: &str) -> [u8; 16] {
    first16(hash(IMPORT, &[dataset.as_bytes(), device.as_bytes()]))
}

/// The nonce to take where this one gives a log that is here already: a machine that was set back
/// as a whole may draw one twice.
pub fn another_nonce(nonce: &[u8; 16]) -> [u8; 16] {
    first16(hash(ANOTHER, &[nonce]))
}

/// What tells a store's file from its copies, from what FORMAT.md, 1.1 lists under *file*. Never
/// leaves the store.
pub fn file_fingerprint(parts: &[&[u8]]) -> [u8; 16] {
    let mut bytes = Vec::new();
    parts.iter().for_each(|part| bytes.bytes(part));
    first16(hash(FILE, &[&bytes]))
}

/// Hash of a policy by its name and version: tells whether two stores show alike.
pub fn policy_hash(name: &str, version: u32) -> [u8; 16] {
    first16(hash(POLICY, &[&version.to_be_bytes(), name.as_bytes()]))
}

/// Fingerprint that sessions compare: over entity types with their policies' names and versions,
/// sorted by type, without those under `auto`.
pub fn policies_hash<'a>(policies: impl Iterator<Item = (&'a str, &'a str, u32)>) -> [u8; 8] {
    let mut bytes = Vec::new();
    for (entity_type, name, version) in policies {
        bytes.bytes(entity_type.as_bytes());
        bytes.extend_from_slice(&policy_hash(name, version));
    }
    let hash = hash(POLICIES, &[&bytes]);
    core::array::from_fn(|i| hash[i])
}
