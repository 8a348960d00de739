//! An entity as a snapshot shows it.

use std::ops::Range;
use std::sync::Arc;

use heirloom_core::fold::LeafPlace;
use heirloom_core::format::serde::ShownLeaf;
use heirloom_core::format::sort_key::sort_key;
use heirloom_core::format::value::decode_all;
use heirloom_core::model::{EntityId, Path, PathRef, VersionRef};

use crate::error::{Error, Result, Table};

/// An entity as a snapshot shows it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) id: EntityId,
    pub(crate) entity_type: Arc<str>,
    pub(crate) heads: Box<[VersionRef]>,
    pub(crate) shown: Shown,
    pub(crate) conflicts: Vec<String>,
    pub(crate) deletion_conflict: bool,
}

/// What is shown of an entity, in order of paths.
#[derive(Debug)]
pub(crate) enum Shown {
    Deleted,
    /// Of one settled head, readable in place: where each path and value lies.
    InPlace(Arc<[u8]>, Vec<LeafPlace>),
    Leaves(Vec<(Path, Box<[u8]>)>),
}

impl Shown {
    pub(crate) fn leaves(&self) -> Vec<ShownLeaf<'_>> {
        match self {
            Shown::Deleted => Vec::new(),
            Shown::InPlace(bytes, places) => {
                let slice = |r: &Range<usize>| &bytes[r.clone()];
                places
                    .iter()
                    .map(|[path, value]| (PathRef::new(slice(path)), slice(value)))
                    .collect()
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

    fn cost(&self) -> usize {
        match self {
            Shown::Deleted => 0,
            Shown::InPlace(bytes, places) => bytes.len() + places.len() * size_of::<LeafPlace>(),
            Shown::Leaves(leaves) => {
                leaves.iter().map(|(p, v)| 64 + p.as_bytes().len() + v.len()).sum()
            }
        }
    }
}

impl Seen {
    /// The sort key of the scalar at a path; none if there is none.
    pub(crate) fn sort_key_at(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let leaves = self.shown.leaves();
        let Some((_, value)) = leaves.iter().find(|(p, _)| *p == path.as_ref()) else {
            return Ok(None);
        };
        let value = decode_all(value).map_err(|e| Error::corrupt(Table::Heads, self.id, e))?;
        Ok(sort_key(&value))
    }

    /// About how much memory it takes.
    pub(crate) fn cost(&self) -> usize {
        192 + self.heads.len() * size_of::<VersionRef>()
            + self.shown.cost()
            + self.conflicts.len() * 48
    }
}
