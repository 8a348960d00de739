//! Names under which our own types cross serde's data model.

/// Name under which a timestamp crosses serde's data model, so that it stays one.
pub(super) const TIMESTAMP: &str = "$heirloom::Timestamp";
/// Name under which a [`Value`](crate::model::Value) does.
pub(super) const VALUE: &str = "$heirloom::Value";
/// Name under which does what shall be one value.
pub(super) const ATOMIC: &str = "$heirloom::Atomic";
