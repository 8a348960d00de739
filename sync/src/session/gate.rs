//! Asks whether the logs that a peer brings may be opened here, each once.

use heirloom_core::model::{LogId, NodeId, Sequence};
use heirloom_core::replica::Replica;

use crate::admission::{Admission, Introduction, Refusal, Rules};
use crate::error::{Result, SyncError};

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
        told: impl Iterator<Item = (LogId, Sequence)>,
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
            if sequence == Sequence::FIRST && !ours_is_empty && replica.ends_of(log)?.is_empty() {
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
