//! What a reader gets of an entity.

use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::format::sort_key::sort_key;
use crate::format::value::decode_all;
use crate::merge::{show, unflatten};
use crate::model::{Content, EntityId, Path, PathRef, ShownLeaf, State, Value, VersionRef, from_leaves};
use crate::store::LeafPlace;

/// An entity as one snapshot shows it: one value for each field, conflicts settled by `auto` (R18).
#[derive(Clone, Debug)]
pub struct Entity {
    pub(crate) id: EntityId,
    pub(crate) entity_type: Box<str>,
    pub(crate) heads: Vec<VersionRef>,
    pub(crate) shown: Shown,
    pub(crate) conflicts: Vec<String>,
    pub(crate) deletion_conflict: bool,
}

/// What is shown of an entity, in order of paths.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Deleted,
    /// Of one settled head, readable in place: where each path and value lies.
    InPlace(Arc<[u8]>, Vec<LeafPlace>),
    Leaves(Vec<(Path, Box<[u8]>)>),
}

impl Shown {
    fn leaves(&self) -> Vec<ShownLeaf<'_>> {
        match self {
            Shown::Deleted => Vec::new(),
            Shown::InPlace(bytes, places) => {
                let slice = |r: &Range<usize>| &bytes[r.clone()];
                places.iter().map(|[path, value]| (PathRef::new(slice(path)), slice(value))).collect()
            }
            Shown::Leaves(leaves) => leaves.iter().map(|(p, v)| (p.as_ref(), &v[..])).collect(),
        }
    }

    /// Owned leaves; nothing where it is shown as deleted.
    pub(crate) fn to_owned(&self) -> Option<Vec<(Path, Box<[u8]>)>> {
        if matches!(self, Shown::Deleted) {
            return None;
        }
        Some(self.leaves().into_iter().map(|(p, v)| (p.to_path(), v.into())).collect())
    }
}

/// The shown leaves of a merged state.
pub(crate) fn shown_leaves(state: &State) -> Vec<(Path, Box<[u8]>)> {
    show(state).into_iter().map(|s| (s.path.clone(), s.entry.value.clone())).collect()
}

impl Entity {
    /// Its id.
    pub fn id(&self) -> EntityId {
        self.id
    }

    /// Its type.
    pub fn entity_type(&self) -> &str {
        &self.entity_type
    }

    /// Its versions without a child; several if it diverged.
    pub fn heads(&self) -> &[VersionRef] {
        &self.heads
    }

    /// Whether it is shown as deleted. Only listings that ask for deleted ones give such an entity.
    pub fn is_deleted(&self) -> bool {
        matches!(self.shown, Shown::Deleted)
    }

    /// Whether somebody still has to decide something (R16): see [`conflicting_fields`](Self::conflicting_fields).
    pub fn is_conflicted(&self) -> bool {
        self.deletion_conflict || !self.conflicts.is_empty()
    }

    /// The paths on which writers who had not seen each other differ, keys joined by dots.
    pub fn conflicting_fields(&self) -> &[String] {
        &self.conflicts
    }

    /// Whether one deleted it while another changed it.
    pub fn is_deletion_conflict(&self) -> bool {
        self.deletion_conflict
    }

    /// Its content as a map; empty if it is deleted.
    pub fn content(&self) -> Content {
        unflatten(self.shown.leaves().into_iter())
    }

    /// Its content as any serde type. [`Error::Invalid`] if that does not fit, [`Error::Deleted`] if there is none.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        if self.is_deleted() {
            return Err(Error::Deleted(self.id));
        }
        from_leaves(&self.shown.leaves())
    }

    /// The sort key of the scalar at a path; none if there is none.
    pub(crate) fn sort_key_at(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let leaves = self.shown.leaves();
        let Some((_, value)) = leaves.iter().find(|(p, _)| *p == path.as_ref()) else { return Ok(None) };
        let value = decode_all(value).map_err(|e| Error::corrupt("heads", self.id, e))?;
        Ok(sort_key(&value))
    }

    /// A field; a nested map as a whole.
    pub fn get(&self, field: &str) -> Result<Option<Value>> {
        let mut below = self.shown.leaves();
        below.retain(|(p, _)| p.key(0) == field);
        match below[..] {
            [] => Ok(None),
            [(path, value)] if path.depth() == 1 => {
                decode_all(value).map(Some).map_err(|e| Error::corrupt("heads", self.id, e))
            }
            _ => Ok(unflatten(below.into_iter()).remove(field)),
        }
    }
}
