//! What sessions ask of the engine: commits out and in, and what is remembered of peers.

mod exchange;
mod peers;

pub use exchange::Replication;
pub use heirloom_core::model::{Line, VoidReason};
pub use heirloom_core::replica::{
    Batch, Cut, End, Ingested, Located, Peer, Position, Replica, ReplicaError, Staged, StagedHead,
    WireCommit, log_root,
};
