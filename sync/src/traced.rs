//! Events, for whoever subscribes to them with the crate `tracing`; without a subscriber they cost
//! a look at a flag.

/// The target of all of them, so that a filter finds them wherever the code lies.
pub(crate) const TRACED: &str = "heirloom_sync";
