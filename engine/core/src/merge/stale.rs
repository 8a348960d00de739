//! A write that is based on something that is no longer so.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::format::value::decode_all;
use crate::model::{EntityId, Path, Value, VersionRef};

/// Why a write was refused that would have overwritten what its author had not seen: both sides, so
/// that a person can look at them. Nothing was written; read the entity again and decide.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct StaleWrite {
    /// The entity.
    pub entity: EntityId,
    /// The heads that the write was based on.
    pub seen: Vec<VersionRef>,
    /// The heads that the entity has now.
    pub now: Vec<VersionRef>,
    /// Whether the entity was deleted meanwhile.
    pub deleted: bool,
    /// The fields that both changed; none where the write insisted on the heads themselves.
    pub fields: Vec<StaleField>,
}

impl StaleWrite {
    /// A write that was based on `seen` where `now` are the heads.
    pub fn new(
        entity: EntityId,
        seen: Vec<VersionRef>,
        now: Vec<VersionRef>,
        deleted: bool,
        fields: Vec<StaleField>,
    ) -> Self {
        Self { entity, seen, now, deleted, fields }
    }
}

/// A field that the author of a write and somebody else changed.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct StaleField {
    /// The keys that lead to it.
    pub path: Vec<String>,
    /// What the author had read; nothing where the field was not there.
    pub read: Option<Value>,
    /// What the author wants; nothing to remove it.
    pub yours: Option<Value>,
    /// What stands there now; nothing where it is gone.
    pub theirs: Option<Value>,
}

/// Leaves of a content, each with the canonical bytes of its value, in order of their paths.
pub type Leaves = [(Path, Box<[u8]>)];

/// Canonical bytes of the value at exactly this path, if a leaf is there.
pub fn leaf<'l>(leaves: &'l Leaves, path: &Path) -> Option<&'l [u8]> {
    leaves.binary_search_by(|(p, _)| p.cmp(path)).ok().map(|at| &*leaves[at].1)
}

impl StaleField {
    /// What the author had read, wants, and would overwrite at a path.
    pub fn new(path: &Path, read: &Leaves, yours: &Leaves, theirs: &Leaves) -> Self {
        let value = |leaves: &Leaves| leaf(leaves, path).map(|v| decode_all(v).unwrap_or_default());
        Self {
            path: path.as_ref().keys().map(str::to_owned).collect(),
            read: value(read),
            yours: value(yours),
            theirs: value(theirs),
        }
    }
}

impl fmt::Display for StaleWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entity {}: ", self.entity)?;
        if self.deleted {
            return f.write_str("it was deleted since it was read");
        }
        if self.fields.is_empty() {
            return f.write_str("another version arrived since it was read");
        }
        f.write_str("somebody else changed ")?;
        for (i, field) in self.fields.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, field.path.join("."))?;
        }
        f.write_str(" since it was read")
    }
}
