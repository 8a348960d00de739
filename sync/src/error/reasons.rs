//! What exactly went wrong: unreadable messages, broken rules, differences, the reasons of a peer.

use std::fmt;
use std::time::Duration;

use heirloom_core::bytes::Malformed;
use heirloom_core::model::{LogId, LogRoot, Sequence, StateDigest};

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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// A frame longer than allowed, as it travels or unpacked.
    #[error("a frame of {length} bytes where {limit} are allowed")]
    FrameTooLong {
        /// Its length in bytes.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// A frame that was altered on its way: the link is bad.
    #[error("a frame that was altered on its way")]
    Checksum,
    /// A codec that does not exist.
    #[error("a frame of the unknown codec {0}")]
    UnknownCodec(u8),
    /// The frame does not unpack.
    #[error("a frame that does not unpack")]
    Unpacking,
    /// A message that does not exist, or is reserved for a later version.
    #[error("a message of the unknown kind {0}")]
    UnknownMessage(u8),
    /// A message whose content cannot be read.
    #[error("a message {message} with unreadable {what}")]
    Malformed {
        /// The message.
        message: &'static str,
        /// What cannot be read.
        what: &'static str,
    },
}

/// Rules that a peer can break.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// A message that has no place in this state.
    #[error("{message} came while {state}")]
    Unexpected {
        /// The message.
        message: &'static str,
        /// The state of the session.
        state: &'static str,
    },
    /// Compressed although we did not offer it.
    #[error("it compressed what was not to be compressed")]
    UnnegotiatedCodec,
    /// More data than it was granted, or more credit returned than was used.
    #[error("it went beyond the credit")]
    BeyondCredit,
    /// Too many commits or none in a frame, or the number announced at the end differs.
    #[error("the number of commits is wrong")]
    WrongCount,
    /// A clock that is unsorted, too long, or relative to a cut that was not agreed upon.
    #[error("its clock is unsorted, too long, or relative to nothing")]
    BadClock,
    /// A part that does not continue what came before it.
    #[error("a part of a commit does not continue the one before")]
    PartOutOfPlace,
    /// A commit longer than any commit can be.
    #[error("a commit of {total} bytes is beyond the limit")]
    CommitTooLong {
        /// The length announced.
        total: u64,
    },
    /// The parts of a commit do not give the bytes announced.
    #[error("the parts of a commit do not give what was announced")]
    WrongDigest,
    /// Bytes that the store refused as a commit.
    #[error("the store refused a commit: {0}")]
    Refused(#[source] Malformed),
    /// A commit came before one that it builds on.
    #[error("a commit of log {log} came before one that it builds on")]
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
        sequence: Sequence,
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

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stall::Silent(limit) => write!(f, "nothing moved for {limit:?}"),
            Stall::NoHello(limit) => write!(f, "the peer did not say hello within {limit:?}"),
            Stall::TooSlow(least) => write!(f, "less than {least} bytes a second moved"),
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
