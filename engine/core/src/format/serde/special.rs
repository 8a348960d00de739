//! Kinds of value that serde has no word for, in the form in which formats of others get them: a
//! map with one entry whose key says the kind. A map that has such a key itself is wrapped, too.

use alloc::format;

use super::fault::Fault;
use crate::model::{Content, Value, Variant};

/// `{"$variant": {"Scene": "dusk"}}`
pub(super) const VARIANT: &str = "$variant";
/// `{"$atomic": {"nanos": 0, "secs": 5}}`
pub(super) const ATOMIC: &str = "$atomic";
/// `{"$timestamp": 1700000000000}`
pub(super) const TIMESTAMP: &str = "$timestamp";
/// `{"$bytes": [0, 255]}`
pub(super) const BYTES: &str = "$bytes";
/// `{"$float": "NaN"}`, `"inf"`, `"-inf"`: what JSON has no number for.
pub(super) const FLOAT: &str = "$float";
/// `{"$map": {"$bytes": 1}}`: nothing but a map.
pub(super) const MAP: &str = "$map";

/// Whether a key says a kind.
pub(super) fn is_kind(key: &str) -> bool {
    matches!(key, VARIANT | ATOMIC | TIMESTAMP | BYTES | FLOAT | MAP)
}

/// A variant from the map that says its name and what it carries.
pub(super) fn variant(fields: Content) -> Result<Value, Fault> {
    let mut fields = fields.into_iter();
    match (fields.next(), fields.next()) {
        (Some((name, content)), None) => Ok(Variant::new(name, content).into()),
        _ => Err(Fault::new("a variant is a map with one entry: its name and what it carries")),
    }
}

/// A float that is no number of JSON.
pub(super) fn float(text: &str) -> Result<f64, Fault> {
    text.parse().map_err(|_| Fault::new(format!("{text:?} is no float")))
}
