//! What can be chosen about a session.

use std::sync::Arc;
use std::time::Duration;

use crate::admission::{Admission, Hook, Introduction, Rules};
use crate::session::limits::IDLE;

/// Choices about a session. The defaults suit a phone on a mobile network as well as two processes of one machine.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) idle_timeout: Duration,
    pub(crate) compression: bool,
    pub(crate) peer_is_hub: bool,
    pub(crate) rules: Rules,
}

impl Default for Config {
    fn default() -> Self {
        Self { idle_timeout: IDLE, compression: true, peer_is_hub: false, rules: Rules::default() }
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives up when nothing has moved for so long. Default 30 s: a link that is silent for longer, while acknowledgements are due every
    /// 100 ms, has gone.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Whether frames may be compressed with lz4, if the peer agrees. Default true: it costs a few milliseconds a megabyte. Turn it off where
    /// the link is faster than that.
    pub fn compression(mut self, on: bool) -> Self {
        self.compression = on;
        self
    }

    /// Whether the peer is a hub, a node through which others get what this one writes. Default false. It is remembered of the peer, so that the
    /// engine's status can say what the hub holds (R13); the protocol makes no difference.
    pub fn peer_is_hub(mut self, yes: bool) -> Self {
        self.peer_is_hub = yes;
        self
    }

    /// Asks the application before a directly connected device opens a log here: called at most once a session, before anything is exchanged, and
    /// only for a device of which nothing is here yet. Default: whoever connects is let in. The closure should be quick, and may know what
    /// the transport knows of the peer, since each session has a configuration of its own.
    ///
    /// It decides about logs, not about reading: whoever must not read must not get as far as a session.
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
    pub fn admit(mut self, hook: impl Fn(&Introduction) -> Admission + Send + Sync + 'static) -> Self {
        self.rules.hook = Some(Hook(Arc::new(hook)));
        self
    }

    /// How many logs of its own one node may open here, over all sessions. Default [`OPENED_LOGS`](crate::admission::OPENED_LOGS).
    pub fn opened_logs(mut self, limit: u64) -> Self {
        self.rules.opened = limit;
        self
    }

    /// How many logs of a single version that nobody here knows a peer may bring in one session, relayed ones included; a store without commits does not count.
    /// Default [`LONE_LOGS`](crate::admission::LONE_LOGS).
    ///
    /// A guard against a flood, no more: where so many devices may really have joined since the last session, raise it.
    pub fn lone_logs(mut self, limit: u64) -> Self {
        self.rules.lone = limit;
        self
    }

    /// Turns away a peer whose clock differs from ours by more than this. Default: none, since a wrong clock moves nobody's and is reported (R6).
    pub fn clock_limit(mut self, limit: Duration) -> Self {
        self.rules.clock = Some(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        self
    }
}
