//! Who may open logs here. A log is a device: whoever opens many makes every clock longer, for ever
//! and for everybody.
//!
//! Only what a directly connected device opens *itself* is asked about. What it relays is not:
//! others build on it, so to refuse it would be to refuse them. And until logs are signed nothing
//! proves who opened a log, so a peer that lies may call its own logs relayed; `PROTOCOL.md`, 2.9
//! says what that leaves.

use std::fmt;
use std::sync::Arc;

use heirloom::{LogId, NodeId, Span};

use crate::error::{Result, SyncError};
use crate::replica::Replica;

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

/// Watches over the logs that one peer brings in one session.
pub(crate) struct Gate {
    rules: Rules,
    node: NodeId,
    /// The log that it calls its own, if nothing of it is here.
    newcomer: Option<LogId>,
    asked: bool,
    clock_skew_ms: Option<i64>,
}

impl Gate {
    /// At the peer's hello.
    pub(crate) fn new(rules: &Rules, node: NodeId, clock_skew_ms: Option<i64>) -> Result<Self> {
        let rules = rules.clone();
        let gate = Self { rules, node, newcomer: None, asked: false, clock_skew_ms };
        match (gate.rules.clock, clock_skew_ms) {
            (Some(limit), Some(ahead_ms)) if ahead_ms.unsigned_abs() > limit => {
                Err(gate.refuse(Refusal::Clock { ahead_ms }))
            }
            _ => Ok(gate),
        }
    }

    /// At the peer's clock, before anything is exchanged: it names the log that the peer writes.
    /// `ours_is_empty`: whoever holds nothing knows nobody, so the logs that it does not know say
    /// nothing.
    pub(crate) fn check_clock<R: Replica>(
        &mut self,
        replica: &R,
        own: Option<LogId>,
        told: impl Iterator<Item = (LogId, u64)>,
        ours_is_empty: bool,
    ) -> Result<()> {
        if let Some(log) = own
            && replica.ends_of(log)?.is_empty()
        {
            self.newcomer = Some(log);
        }
        let mut count = 0;
        for (log, sequence) in told {
            self.check(replica, log)?;
            if sequence == 1 && !ours_is_empty && replica.ends_of(log)?.is_empty() {
                count += 1;
            }
        }
        let limit = self.rules.lone;
        if count > limit { Err(self.refuse(Refusal::LoneLogs { count, limit })) } else { Ok(()) }
    }

    /// Before a commit of this log is taken in.
    pub(crate) fn check<R: Replica>(&mut self, replica: &R, log: LogId) -> Result<()> {
        if self.newcomer != Some(log) || std::mem::replace(&mut self.asked, true) {
            return Ok(());
        }
        let opened = replica.remembered(self.node)?.map_or(0, |peer| peer.opened);
        let limit = self.rules.opened;
        if opened >= limit {
            return Err(self.refuse(Refusal::TooManyLogs { opened, limit }));
        }
        let (node, clock_skew_ms) = (self.node, self.clock_skew_ms);
        match self
            .rules
            .hook
            .as_ref()
            .map(|hook| hook.0(&Introduction { node, log, opened, clock_skew_ms }))
        {
            Some(Admission::Refuse(why)) => Err(self.refuse(Refusal::Hook(why))),
            Some(Admission::Admit) | None => Ok(()),
        }
    }

    /// After commits were made durable: a log that was opened counts from its first commit on.
    pub(crate) fn count<R: Replica>(&mut self, replica: &R) -> Result<()> {
        let Some(log) = self.newcomer else { return Ok(()) };
        if !replica.ends_of(log)?.is_empty() {
            self.newcomer = None;
            // a copy of ours that nobody noticed yet
            if self.node == replica.node()? {
                return Ok(());
            }
            let mut peer = replica.remembered(self.node)?.unwrap_or_default();
            peer.opened += 1;
            replica.remember(self.node, peer)?;
        }
        Ok(())
    }

    fn refuse(&self, reason: Refusal) -> SyncError {
        SyncError::NotAdmitted { node: self.node, reason }
    }
}
