//! What can be chosen about a session.

use std::sync::Arc;
use std::time::Duration;

use heirloom_core::model::Timestamp;

use crate::admission::{Admission, Hook, Introduction, Rules};
use crate::limits::{HANDSHAKE, IDLE, LEAST_SPEED};

/// Choices about a session. The defaults suit a phone on a mobile network as well as two processes
/// of one machine.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) idle_timeout: Duration,
    pub(crate) compression: bool,
    /// Nothing: no word about clocks.
    pub(crate) wall_time: Option<Timestamp>,
    pub(crate) handshake_timeout: Duration,
    /// Bytes a second.
    pub(crate) least_speed: u64,
    /// Nothing: it stays what it was.
    pub(crate) peer_is_hub: Option<bool>,
    pub(crate) rules: Rules,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_timeout: IDLE,
            handshake_timeout: HANDSHAKE,
            least_speed: LEAST_SPEED,
            compression: true,
            wall_time: None,
            peer_is_hub: None,
            rules: Rules::default(),
        }
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives up when nothing has moved for so long. Default 30 s: a link that is silent for longer,
    /// while acknowledgements are due every 100 ms, has gone. [`Duration::MAX`]: never.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Gives up when the peer's hello is not whole after so long. Default 10 s: it is one short
    /// frame, and until it is here nothing is known of whoever connected. [`Duration::MAX`]: only
    /// [`idle_timeout`](Self::idle_timeout) counts.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// The least that must move after the hellos, in bytes a second of both ways together. Default
    /// 256; 0: no floor.
    ///
    /// The session may wait for its peer as long as [`idle_timeout`](Self::idle_timeout) says in
    /// all, and each so many bytes give back a second of that. So a link that stalls now and then
    /// is no fault, and a peer that sends a byte now and then cannot hold a session for long. What
    /// this end needs to read and write its own store does not count.
    pub fn least_speed(mut self, bytes_a_second: u64) -> Self {
        self.least_speed = bytes_a_second;
        self
    }

    /// The physical time at which the session begins, by which it tells how far the clocks of both
    /// ends differ ([`Report::clock_skew`](crate::Report::clock_skew)). Default: the drivers of
    /// this crate take the system's time. A session that you drive yourself knows none then: it
    /// says nothing of clocks, to the peer either, and no [`clock_limit`](Self::clock_limit) holds.
    pub fn wall_time(mut self, now: Timestamp) -> Self {
        self.wall_time = Some(now);
        self
    }

    /// Whether frames may be compressed, if the peer agrees. Default true: with zstd, which costs a
    /// few milliseconds a megabyte and 2.5 MiB of memory for as long as the session lasts, or with
    /// lz4 where an end was built without the feature `zstd`. Turn it off where the link is faster
    /// than that (PROTOCOL.md, 1.1).
    pub fn compression(mut self, on: bool) -> Self {
        self.compression = on;
        self
    }

    /// Says that the peer is a hub, a node through which others get what this one writes, or that
    /// it is none. It is remembered of the peer once the session has come to an exchange, so that
    /// the engine's status can say what the hub holds; the protocol makes no difference. Default:
    /// what was said of this peer in an earlier session stays, and of a new one that it is no hub.
    pub fn peer_is_hub(mut self, yes: bool) -> Self {
        self.peer_is_hub = Some(yes);
        self
    }

    /// Asks the application before a directly connected device opens a log here: called at most
    /// once a session, before anything is exchanged, and only for a device of which nothing is here
    /// yet. Default: whoever connects is let in. The closure should be quick, and may know what the
    /// transport knows of the peer, since each session has a configuration of its own.
    ///
    /// It decides about logs, not about reading: whoever must not read must not get as far as a
    /// session.
    ///
    /// ```
    /// use heirloom::{Content, Engine};
    /// use heirloom_sync::{Admission, Config, Refusal, SyncError, sync_in_process_with};
    ///
    /// let hub = Engine::builder().label("hub").dataset_name("home").in_memory()?;
    /// let stranger = Engine::builder().label("stranger").dataset_name("home").in_memory()?;
    /// stranger.write(|tx| tx.create("lamp", &Content::new()))?;
    ///
    /// let closed = Config::new().admit(|_| Admission::Refuse("no newcomers on sundays".into()));
    /// let error = sync_in_process_with(&stranger, Config::new(), &hub, closed).unwrap_err();
    /// assert!(matches!(error, SyncError::NotAdmitted { reason: Refusal::Hook(_), .. }));
    /// assert!(hub.snapshot()?.clock()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn admit(
        mut self,
        hook: impl Fn(&Introduction) -> Admission + Send + Sync + 'static,
    ) -> Self {
        self.rules.hook = Some(Hook(Arc::new(hook)));
        self
    }

    /// How many logs of its own one node may open here, over all sessions. Default
    /// [`OPENED_LOGS`](crate::admission::OPENED_LOGS).
    pub fn opened_logs(mut self, limit: u64) -> Self {
        self.rules.opened = limit;
        self
    }

    /// How many logs of a single version that nobody here knows a peer may bring in one session,
    /// relayed ones included; a store without commits does not count. Default
    /// [`LONE_LOGS`](crate::admission::LONE_LOGS).
    ///
    /// A guard against a flood, no more: where so many devices may really have joined since the
    /// last session, raise it.
    pub fn lone_logs(mut self, limit: u64) -> Self {
        self.rules.lone = limit;
        self
    }

    /// Turns away a peer whose clock differs from ours by more than this. Default: none, since a
    /// wrong clock moves nobody's and is reported. A peer that does not say what its clock is is
    /// let in; so is everybody where this end was not told the time: see
    /// [`wall_time`](Self::wall_time).
    pub fn clock_limit(mut self, limit: Duration) -> Self {
        self.rules.clock = Some(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        self
    }
}
