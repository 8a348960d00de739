//! How long the peer may take: silence, the time until its hello, a floor on progress. Reads no
//! clock. What counts is the time that the session waits: a store of ours that is slow is no fault
//! of the peer's.

use std::time::Duration;

use crate::config::Config;
use crate::error::{Result, Stall, SyncError};

/// Its account of time.
pub(crate) struct Pace {
    idle: Duration,
    handshake: Duration,
    /// Bytes a second; 0: no floor.
    floor: u64,
    /// The peer's hello is here.
    greeted: bool,
    /// What the session has waited since a byte moved.
    silent: Duration,
    /// What it may still wait. Bytes that move lengthen that, once the hello is here.
    left: Duration,
    /// What it waited beyond that: bytes pay it back first, so that one now and then buys nothing.
    owed: Duration,
    /// Since when it waits; none while it works.
    since: Option<Duration>,
}

impl Pace {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            idle: config.idle_timeout,
            handshake: config.handshake_timeout,
            floor: config.least_speed,
            greeted: false,
            silent: Duration::ZERO,
            left: config.handshake_timeout,
            owed: Duration::ZERO,
            since: None,
        }
    }

    /// From now on there is nothing to do but wait.
    pub(crate) fn waits(&mut self, now: Duration) {
        self.works(now);
        self.since = Some(now);
    }

    /// From now on something is done that may take long.
    pub(crate) fn works(&mut self, now: Duration) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now.saturating_sub(since));
        self.silent = self.silent.saturating_add(waited);
        self.owed = self.owed.saturating_add(waited.saturating_sub(self.left));
        self.left = self.left.saturating_sub(waited);
    }

    /// The link is alive.
    pub(crate) fn moved(&mut self, now: Duration) {
        self.works(now);
        self.silent = Duration::ZERO;
    }

    /// So many bytes came or were given out. Those before the hello buy no time: it is short.
    pub(crate) fn earn(&mut self, bytes: u64) {
        if self.greeted && self.floor > 0 {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.floor);
            let more = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            let spare = more.saturating_sub(self.owed);
            self.owed = self.owed.saturating_sub(more);
            self.left = self.left.saturating_add(spare).min(self.idle);
        }
    }

    /// The hello is whole.
    pub(crate) fn greeted(&mut self) {
        self.greeted = true;
        (self.left, self.owed) = (self.idle, Duration::ZERO);
    }

    /// Whether the peer has taken too long.
    pub(crate) fn check(&self, now: Duration) -> Result<()> {
        let waited = self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let stall = if !self.greeted && waited >= self.left {
            Stall::NoHello(self.handshake)
        } else if self.silent.saturating_add(waited) >= self.idle {
            Stall::Silent(self.idle)
        } else if self.floor > 0 && (waited >= self.left || !self.owed.is_zero()) {
            Stall::TooSlow(self.floor)
        } else {
            return Ok(());
        };
        Err(SyncError::Timeout(stall))
    }

    /// When [`Pace::check`] fails if nothing moves until then.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let left = if self.greeted && self.floor == 0 { Duration::MAX } else { self.left };
        let silence = self.idle.saturating_sub(self.silent);
        Some(self.since?.saturating_add(left.min(silence)))
    }
}
