//! What can end a session, sorted by who must act.

use std::fmt;
use std::io;
use std::time::Duration;

use heirloom_core::bytes::Malformed;
use heirloom_core::model::{Dataset, LogId, LogRoot, NodeId, StateDigest};
use heirloom_core::replica::ReplicaError;

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
#[derive(Debug)]
#[non_exhaustive]
pub enum SyncError {
    /// The peer's bytes are no message.
    InvalidMessage(InvalidMessage),
    /// The peer's messages break the rules.
    PeerMisbehaved(PeerMisbehaved),
    /// The peer speaks no version of the protocol that we do.
    PeerIncompatible {
        /// Versions spoken here, first and last.
        ours: (u8, u8),
        /// Versions spoken there.
        theirs: (u8, u8),
    },
    /// The peer's data belongs to another dataset. Nothing was exchanged.
    WrongDataset {
        /// The dataset of our store.
        ours: Dataset,
        /// The dataset of the peer's.
        theirs: Dataset,
    },
    /// The peer is this very store: the address leads back here. Nothing was exchanged, and nothing
    /// is remembered of it.
    Oneself {
        /// Our own name among peers.
        node: NodeId,
    },
    /// We turned the peer away. Nothing that it brought in this session was kept beyond what was
    /// acknowledged; what was remembered of it before stays.
    NotAdmitted {
        /// The name that the peer gave itself.
        node: NodeId,
        /// Why.
        reason: Refusal,
    },
    /// The exchange went through, yet both ends do not hold the same.
    Diverged(Divergence),
    /// Our own store failed.
    Replica(Box<dyn std::error::Error + Send + Sync>),
    /// Another session with the same peer brought the large commit that this one was to go on with.
    Overtaken,
    /// The peer ended the session, for this reason.
    PeerFailed(Reason),
    /// The peer's address could not be found out: the name service did not answer, or knows no such
    /// name.
    Lookup(io::Error),
    /// This end could not begin to wait for connections.
    Listen(io::Error),
    /// The connection failed or ended too early.
    Transport(io::Error),
    /// The peer took longer than the configuration allows.
    Timeout(Stall),
    /// Cancelled by our own caller.
    Cancelled,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stall {
    /// No byte came or went for this long.
    Silent(Duration),
    /// The peer's hello was not whole after this long.
    NoHello(Duration),
    /// So many bytes a second were asked for, and fewer moved.
    TooSlow(u64),
}

/// Bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// A frame longer than allowed, as it travels or unpacked.
    FrameTooLong {
        /// Its length in bytes.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// A frame that was altered on its way: the link is bad.
    Checksum,
    /// A codec that does not exist.
    UnknownCodec(u8),
    /// The frame does not unpack.
    Unpacking,
    /// A message that does not exist, or is reserved for a later version.
    UnknownMessage(u8),
    /// A message whose content cannot be read.
    Malformed {
        /// The message.
        message: &'static str,
        /// What cannot be read.
        what: &'static str,
    },
}

/// Rules that a peer can break.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// A message that has no place in this state.
    Unexpected {
        /// The message.
        message: &'static str,
        /// The state of the session.
        state: &'static str,
    },
    /// Compressed although we did not offer it.
    UnnegotiatedCodec,
    /// More data than it was granted, or more credit returned than was used.
    BeyondCredit,
    /// Too many commits or none in a frame, or the number announced at the end differs.
    WrongCount,
    /// A clock that is unsorted, too long, or relative to a cut that was not agreed upon.
    BadClock,
    /// A part that does not continue what came before it.
    PartOutOfPlace,
    /// A commit longer than any commit can be.
    CommitTooLong {
        /// The length announced.
        total: u64,
    },
    /// The parts of a commit do not give the bytes announced.
    WrongDigest,
    /// Bytes that the store refused as a commit.
    Refused(Malformed),
    /// A commit came before one that it builds on.
    OutOfOrder {
        /// Its log.
        log: LogId,
    },
}

/// How the two ends differ after the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Divergence {
    /// The log roots of the cut.
    Roots {
        /// Ours.
        ours: LogRoot,
        /// Theirs.
        theirs: LogRoot,
    },
    /// The logs are equal, the heads folded from them are not.
    Digests {
        /// Ours.
        ours: StateDigest,
        /// Theirs.
        theirs: StateDigest,
    },
    /// The peer claimed a commit that it did not send.
    Missing {
        /// The log.
        log: LogId,
        /// Last sequence of the commit claimed.
        sequence: u64,
    },
}

/// Why the peer gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Its caller cancelled.
    Cancelled,
    /// We took too long.
    Timeout,
    /// A frame of ours was altered on its way.
    Altered,
    /// It could not read our messages.
    InvalidMessage,
    /// It says that we broke the rules.
    Misbehaved,
    /// It speaks no version that we do.
    Incompatible,
    /// Its data belongs to another dataset.
    WrongDataset,
    /// It says that it is this very store.
    Oneself,
    /// It found both ends different after the exchange.
    Diverged,
    /// Its own store failed.
    Replica,
    /// Another session brought it what this one was about to.
    Overtaken,
    /// It does not let us open a log there.
    NotAdmitted,
    /// A reason that this version does not know.
    Other(u8),
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

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyncError::InvalidMessage(e) => {
                write!(f, "the peer sent {e}; check the link and what runs at the other end")
            }
            SyncError::PeerMisbehaved(e) => {
                write!(f, "the peer broke the protocol: {e}; update or distrust it")
            }
            SyncError::PeerIncompatible { ours, theirs } => write!(
                f,
                "protocol versions {} to {} are spoken here, {} to {} there; update the older end",
                ours.0, ours.1, theirs.0, theirs.1
            ),
            SyncError::WrongDataset { ours, theirs } => write!(
                f,
                "this store belongs to dataset {ours}, the peer's to {theirs}; connect to the \
                 right peer, or import the data"
            ),
            SyncError::Oneself { node } => write!(
                f,
                "the peer is this very store, {node}: the address leads back here; give that of \
                 another store"
            ),
            SyncError::NotAdmitted { node, reason } => {
                write!(
                    f,
                    "peer {node} was turned away: {reason}; let it in by configuration, or keep \
                     it out"
                )
            }
            SyncError::Diverged(e) => {
                write!(
                    f,
                    "after the exchange the two ends differ: {e}; verify both stores and sync again"
                )
            }
            SyncError::Replica(e) => {
                write!(f, "our own store failed: {e}; sync again once that is mended")
            }
            SyncError::Overtaken => f.write_str(
                "another session with this peer was quicker; sync again, it goes on from there",
            ),
            SyncError::PeerFailed(reason) => write!(f, "the peer ended the session: {reason}"),
            SyncError::Lookup(e) => {
                write!(f, "the peer's address was not found: {e}; check the name and the network")
            }
            SyncError::Listen(e) => {
                write!(
                    f,
                    "no connections can be waited for there: {e}; give another address or port"
                )
            }
            SyncError::Transport(e) => {
                write!(f, "the connection failed: {e}; {}", advice(e.kind()))
            }
            SyncError::Timeout(stall) => {
                write!(f, "{stall}; connect again, the next session goes on from there")
            }
            SyncError::Cancelled => f.write_str("cancelled; the next session goes on from there"),
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stall::Silent(limit) => write!(f, "nothing moved for {limit:?}"),
            Stall::NoHello(limit) => write!(f, "the peer did not say hello within {limit:?}"),
            Stall::TooSlow(least) => write!(f, "less than {least} bytes a second moved"),
        }
    }
}

impl fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidMessage::FrameTooLong { length, limit } => {
                write!(f, "a frame of {length} bytes where {limit} are allowed")
            }
            InvalidMessage::Checksum => f.write_str("a frame that was altered on its way"),
            InvalidMessage::UnknownCodec(codec) => {
                write!(f, "a frame of the unknown codec {codec}")
            }
            InvalidMessage::Unpacking => f.write_str("a frame that does not unpack"),
            InvalidMessage::UnknownMessage(tag) => write!(f, "a message of the unknown kind {tag}"),
            InvalidMessage::Malformed { message, what } => {
                write!(f, "a message {message} with unreadable {what}")
            }
        }
    }
}

impl fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerMisbehaved::Unexpected { message, state } => {
                write!(f, "{message} came while {state}")
            }
            PeerMisbehaved::UnnegotiatedCodec => {
                f.write_str("it compressed what was not to be compressed")
            }
            PeerMisbehaved::BeyondCredit => f.write_str("it went beyond the credit"),
            PeerMisbehaved::WrongCount => f.write_str("the number of commits is wrong"),
            PeerMisbehaved::BadClock => {
                f.write_str("its clock is unsorted, too long, or relative to nothing")
            }
            PeerMisbehaved::PartOutOfPlace => {
                f.write_str("a part of a commit does not continue the one before")
            }
            PeerMisbehaved::CommitTooLong { total } => {
                write!(f, "a commit of {total} bytes is beyond the limit")
            }
            PeerMisbehaved::WrongDigest => {
                f.write_str("the parts of a commit do not give what was announced")
            }
            PeerMisbehaved::Refused(e) => write!(f, "the store refused a commit: {e}"),
            PeerMisbehaved::OutOfOrder { log } => {
                write!(f, "a commit of log {log} came before one that it builds on")
            }
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Divergence::Roots { ours, theirs } => write!(f, "log root {ours} here, {theirs} there"),
            Divergence::Digests { ours, theirs } => {
                write!(f, "equal logs, but state digest {ours} here, {theirs} there")
            }
            Divergence::Missing { log, sequence } => {
                write!(f, "the peer claimed commit {log}/{sequence} and did not send it")
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Cancelled => f.write_str("it was cancelled there; try later"),
            Reason::Timeout => f.write_str("we took too long; try again"),
            Reason::Altered => f.write_str("a frame was altered on its way; try again"),
            Reason::InvalidMessage => {
                f.write_str("it could not read our messages; update the older end")
            }
            Reason::Misbehaved => {
                f.write_str("it says that we broke the protocol; update the older end")
            }
            Reason::Incompatible => f.write_str("no common protocol version; update the older end"),
            Reason::WrongDataset => {
                f.write_str("it holds another dataset; connect to the right peer")
            }
            Reason::Oneself => f.write_str("it is this very store; give the address of another"),
            Reason::Diverged => f.write_str("it found both ends different; verify both stores"),
            Reason::Replica => f.write_str("its own store failed; look there"),
            Reason::Overtaken => f.write_str("another session with it was quicker; sync again"),
            Reason::NotAdmitted => {
                f.write_str("it does not let us open a log there; ask whoever keeps it")
            }
            Reason::Other(n) => write!(f, "reason {n}, unknown to this version; update this end"),
        }
    }
}

impl std::error::Error for SyncError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SyncError::InvalidMessage(e) => Some(e),
            SyncError::PeerMisbehaved(e) => Some(e),
            SyncError::Replica(e) => Some(e.as_ref()),
            SyncError::Lookup(e) | SyncError::Listen(e) | SyncError::Transport(e) => Some(e),
            _ => None,
        }
    }
}

impl std::error::Error for InvalidMessage {}

impl std::error::Error for PeerMisbehaved {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PeerMisbehaved::Refused(e) => Some(e),
            _ => None,
        }
    }
}

impl From<InvalidMessage> for SyncError {
    fn from(e: InvalidMessage) -> Self {
        SyncError::InvalidMessage(e)
    }
}

impl From<PeerMisbehaved> for SyncError {
    fn from(e: PeerMisbehaved) -> Self {
        SyncError::PeerMisbehaved(e)
    }
}

impl From<Divergence> for SyncError {
    fn from(e: Divergence) -> Self {
        SyncError::Diverged(e)
    }
}

impl From<io::Error> for SyncError {
    fn from(e: io::Error) -> Self {
        SyncError::Transport(e)
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
