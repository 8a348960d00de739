//! Spans and events, for whoever subscribes to them with the crate `tracing`; without a subscriber
//! they cost a look at a flag.
//!
//! They stand at the seams: opened, each commit, each durable batch, what came from a peer, damage
//! found and mended. None says what an entity holds.

/// The target of all of them, so that a filter finds them wherever the code lies.
pub(crate) const TRACED: &str = "heirloom";
