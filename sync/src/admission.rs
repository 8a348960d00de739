//! Who may open logs here. A log is a device: whoever opens many makes every clock longer, for ever
//! and for everybody.
//!
//! Only what a directly connected device opens *itself* is asked about. What it relays is not:
//! others build on it, so to refuse it would be to refuse them. And until logs are signed nothing
//! proves who opened a log, so a peer that lies may call its own logs relayed; `PROTOCOL.md`, 2.9
//! says what that leaves.

use std::fmt;
use std::sync::Arc;

use heirloom_core::model::{LogId, NodeId};
use heirloom_core::replica::Span;

/// How many logs of its own one node may open here, unless configured otherwise. A device opens
/// one, and another whenever its file was copied or restored.
pub const OPENED_LOGS: u64 = 64;

/// How many logs that nobody here knows, each with a single version, a peer may bring in one
/// session, unless configured otherwise.
pub const LONE_LOGS: u64 = 65_536;

/// A device that is about to open a log here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Introduction {
    /// The name that the peer gives itself as a node. It is not proven: who is at the other end,
    /// the transport knows.
    pub node: NodeId,
    /// The log that it calls its own, of which nothing is here.
    pub log: LogId,
    /// How many logs this node has opened here before.
    pub opened: u64,
    /// How far its clock is ahead of ours (behind: negative), in milliseconds, if it told.
    pub clock_skew_ms: Option<i64>,
}

/// The answer to an [`Introduction`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The log may be opened here.
    Admit,
    /// It may not: the session ends, with these words in [`Refusal::Hook`].
    Refuse(String),
}

/// Why a peer was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The application's hook said so, in these words.
    Hook(String),
    /// It has opened as many logs here as one node may.
    TooManyLogs {
        /// How many it has opened.
        opened: u64,
        /// The limit.
        limit: u64,
    },
    /// It brings too many logs that hold a single version each and that nobody here knows.
    LoneLogs {
        /// How many.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// Its clock is further off than the configuration allows.
    Clock {
        /// How far ahead it is (behind: negative), in milliseconds.
        ahead_ms: i64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Hook(why) => f.write_str(why),
            Refusal::TooManyLogs { opened, limit } => {
                write!(f, "it has opened {opened} logs here and wants another; {limit} are allowed")
            }
            Refusal::LoneLogs { count, limit } => write!(
                f,
                "it brings {count} unknown logs of a single version each; {limit} are allowed in \
                 one session"
            ),
            Refusal::Clock { ahead_ms } => {
                let way = if *ahead_ms < 0 { "behind" } else { "ahead of" };
                write!(f, "its clock is {} {way} ours", Span(ahead_ms.unsigned_abs()))
            }
        }
    }
}

/// The application's hook.
#[derive(Clone)]
pub(crate) struct Hook(pub(crate) Arc<dyn Fn(&Introduction) -> Admission + Send + Sync>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// What is asked of a newcomer.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) hook: Option<Hook>,
    pub(crate) opened: u64,
    pub(crate) lone: u64,
    /// In milliseconds.
    pub(crate) clock: Option<u64>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { hook: None, opened: OPENED_LOGS, lone: LONE_LOGS, clock: None }
    }
}
