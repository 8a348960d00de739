//! What can be chosen about a session.

use std::time::Duration;

use crate::session::limits::IDLE;

/// Choices about a session. The defaults suit a phone on a mobile network as well as two processes of one machine.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) idle_timeout: Duration,
    pub(crate) compression: bool,
    pub(crate) peer_is_hub: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { idle_timeout: IDLE, compression: true, peer_is_hub: false }
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
}
