//! What a reader gets of an entity.

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::format::value::decode_all;
use crate::merge::{show, unflatten};
use crate::model::{Content, EntityId, Path, State, Value, VersionRef, from_leaves};

/// An entity as one snapshot shows it: one value for each field, conflicts settled by `auto` (R18).
#[derive(Clone, Debug)]
pub struct Entity {
    pub(crate) id: EntityId,
    pub(crate) entity_type: std::sync::Arc<str>,
    pub(crate) heads: Vec<VersionRef>,
    /// In order of paths; nothing where it is shown as deleted.
    pub(crate) leaves: Option<Vec<(Path, Box<[u8]>)>>,
    pub(crate) conflicts: Vec<String>,
    pub(crate) deletion_conflict: bool,
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
        self.leaves.is_none()
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
        unflatten(self.leaves().map(|(p, v)| (p, &v[..])))
    }

    /// Its content as any serde type. [`Error::Invalid`] if that does not fit, [`Error::Deleted`] if there is none.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let leaves = self.leaves.as_ref().ok_or(Error::Deleted(self.id))?;
        let shown: Vec<_> = leaves.iter().map(|(p, v)| (p, &v[..])).collect();
        from_leaves(&shown)
    }

    /// A field; a nested map as a whole.
    pub fn get(&self, field: &str) -> Result<Option<Value>> {
        let below: Vec<_> = self.leaves().filter(|(p, _)| &*p.0[0] == field).collect();
        match &below[..] {
            [] => Ok(None),
            [(path, value)] if path.0.len() == 1 => {
                decode_all(value).map(Some).map_err(|e| Error::corrupt("heads", self.id, e))
            }
            _ => Ok(unflatten(below.into_iter().map(|(p, v)| (p, &v[..]))).remove(field)),
        }
    }

    fn leaves(&self) -> impl Iterator<Item = &(Path, Box<[u8]>)> {
        self.leaves.iter().flatten()
    }
}
