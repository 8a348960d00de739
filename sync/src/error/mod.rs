//! What can end a session, sorted by who must act.

use std::io;

use heirloom_core::model::{Dataset, NodeId};
use heirloom_core::replica::ReplicaError;

mod reasons;

pub use reasons::{Divergence, InvalidMessage, PeerMisbehaved, Reason, Stall};

use crate::admission::Refusal;

/// Result with [`SyncError`].
pub type Result<T, E = SyncError> = std::result::Result<T, E>;

/// Why a session ended without success. Whatever it is, all that was acknowledged is durable, and
/// the next session goes on from there.
///
/// | variants | who must act |
/// |---|---|
/// | `InvalidMessage`, `PeerMisbehaved` | the peer: broken or hostile; retrying it will not help |
/// | `PeerIncompatible`, `WrongDataset`, `Oneself` | people: the texts say what to do |
/// | `NotAdmitted`, `Diverged`, `Listen` | people: the texts say what to do |
/// | `PeerFailed` | the peer: it gave up, and said why |
/// | `Lookup` | nobody if the network is away, people if the name is wrong |
/// | `Transport` | nobody, as a rule: try again |
/// | `Timeout`, `Overtaken` | nobody: try again |
/// | `Cancelled` | nobody: our caller asked for it |
/// | `Replica` | whoever keeps our own store |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The peer's bytes are no message.
    #[error("the peer sent {0}; check the link and what runs at the other end")]
    InvalidMessage(#[from] InvalidMessage),
    /// The peer's messages break the rules.
    #[error("the peer broke the protocol: {0}; update or distrust it")]
    PeerMisbehaved(#[from] PeerMisbehaved),
    /// The peer speaks no version of the protocol that we do.
    #[error(
        "protocol versions {} to {} are spoken here, {} to {} there; update the older end",
        ours.0, ours.1, theirs.0, theirs.1
    )]
    PeerIncompatible {
        /// Versions spoken here, first and last.
        ours: (u8, u8),
        /// Versions spoken there.
        theirs: (u8, u8),
    },
    /// The peer's data belongs to another dataset. Nothing was exchanged.
    #[error(
        "this store belongs to dataset {ours}, the peer's to {theirs}; connect to the right peer, \
         or import the data"
    )]
    WrongDataset {
        /// The dataset of our store.
        ours: Dataset,
        /// The dataset of the peer's.
        theirs: Dataset,
    },
    /// The peer is this very store: the address leads back here. Nothing was exchanged, and nothing
    /// is remembered of it.
    #[error(
        "the peer is this very store, {node}: the address leads back here; give that of another \
         store"
    )]
    Oneself {
        /// Our own name among peers.
        node: NodeId,
    },
    /// We turned the peer away. Nothing that it brought in this session was kept beyond what was
    /// acknowledged; what was remembered of it before stays.
    #[error("peer {node} was turned away: {reason}; let it in by configuration, or keep it out")]
    NotAdmitted {
        /// The name that the peer gave itself.
        node: NodeId,
        /// Why.
        reason: Refusal,
    },
    /// The exchange went through, yet both ends do not hold the same.
    #[error("after the exchange the two ends differ: {0}; verify both stores and sync again")]
    Diverged(Divergence),
    /// Our own store failed.
    #[error("our own store failed: {0}; sync again once that is mended")]
    Replica(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another session with the same peer brought the large commit that this one was to go on with.
    #[error("another session with this peer was quicker; sync again, it goes on from there")]
    Overtaken,
    /// The peer ended the session, for this reason.
    #[error("the peer ended the session: {0}")]
    PeerFailed(Reason),
    /// The peer's address could not be found out: the name service did not answer, or knows no such
    /// name.
    #[error("the peer's address was not found: {0}; check the name and the network")]
    Lookup(#[source] io::Error),
    /// This end could not begin to wait for connections.
    #[error("no connections can be waited for there: {0}; give another address or port")]
    Listen(#[source] io::Error),
    /// The connection failed or ended too early.
    #[error("the connection failed: {0}; {advice}", advice = advice(_0.kind()))]
    Transport(#[from] io::Error),
    /// The peer took longer than the configuration allows.
    #[error("{0}; connect again, the next session goes on from there")]
    Timeout(Stall),
    /// Cancelled by our own caller.
    #[error("cancelled; the next session goes on from there")]
    Cancelled,
}

impl SyncError {
    /// Our own store cannot go on, for a reason that the session found.
    pub(crate) fn replica(why: &'static str) -> Self {
        SyncError::Replica(why.into())
    }

    /// Whether another attempt may succeed without anybody doing anything: the link failed, or the
    /// peer had a passing trouble. Worth trying again after a while; where it stays for long
    /// somebody should look.
    ///
    /// A name that could not be looked up counts as transient, since a device without a network
    /// cannot look any up.
    pub fn is_transient(&self) -> bool {
        match self {
            SyncError::Transport(e) => passes(e.kind()),
            SyncError::Lookup(e) => e.kind() != io::ErrorKind::InvalidInput,
            SyncError::InvalidMessage(e) => *e == InvalidMessage::Checksum,
            SyncError::Timeout(_) | SyncError::Overtaken => true,
            SyncError::PeerFailed(reason) => {
                matches!(
                    reason,
                    Reason::Timeout | Reason::Cancelled | Reason::Overtaken | Reason::Altered
                )
            }
            SyncError::PeerMisbehaved(_)
            | SyncError::PeerIncompatible { .. }
            | SyncError::WrongDataset { .. }
            | SyncError::Oneself { .. }
            | SyncError::NotAdmitted { .. }
            | SyncError::Diverged(_)
            | SyncError::Replica(_)
            | SyncError::Listen(_)
            | SyncError::Cancelled => false,
        }
    }
}

/// Whether a link that failed so may hold the next time. Of the others somebody is the cause: an
/// address that cannot be, a right that is missing, a certificate that does not verify.
fn passes(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        AddrInUse, AddrNotAvailable, InvalidData, InvalidInput, PermissionDenied, Unsupported,
    };
    !matches!(
        kind,
        AddrInUse | AddrNotAvailable | InvalidData | InvalidInput | PermissionDenied | Unsupported
    )
}

/// What to do about a link that failed so.
fn advice(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut,
    };
    match kind {
        ConnectionRefused => "nobody listens there now; check the address, or connect later",
        HostUnreachable | NetworkDown | NetworkUnreachable | TimedOut => {
            "check the network and the address, or connect later"
        }
        kind if passes(kind) => "connect again, the next session goes on from there",
        _ => "check the address, and what this program may do",
    }
}

impl From<Divergence> for SyncError {
    fn from(e: Divergence) -> Self {
        SyncError::Diverged(e)
    }
}

impl From<ReplicaError> for SyncError {
    fn from(error: ReplicaError) -> Self {
        match error {
            ReplicaError::Refused(why) => PeerMisbehaved::Refused(why).into(),
            ReplicaError::OutOfOrder { log, .. } => PeerMisbehaved::OutOfOrder { log }.into(),
            ReplicaError::WrongDataset { ours, theirs } => SyncError::WrongDataset { ours, theirs },
            ReplicaError::Store(source) => SyncError::Replica(source),
            other => SyncError::Replica(other.into()),
        }
    }
}
