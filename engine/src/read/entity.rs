//! What a reader gets of an entity.

use std::fmt;
use std::sync::{Arc, Weak};

use heirloom_core::fold::Heads;
use heirloom_core::format::serde::{Unread, from_leaves};
use heirloom_core::format::value::decode_all;
use heirloom_core::merge::unflatten;
use heirloom_core::model::{Content, EntityId, Value, VersionRef};
use serde::de::DeserializeOwned;

use crate::engine::{Engine, Inner};
use crate::error::{Error, Misfit, Result, Table};
use crate::store::{Seen, Shown, View};

/// An entity as one snapshot shows it: one value for each field, conflicts settled by its type's
/// policy. Cheap to clone.
///
/// It remembers which heads it was read from, so that [`Transaction::put`](crate::Transaction::put)
/// overwrites nothing that came since.
#[derive(Clone)]
pub struct Entity(pub(crate) Arc<Seen>, pub(crate) Origin);

/// The engine that an entity was read from, to be asked who wrote what does not fit. It keeps
/// nothing open.
pub(crate) type Origin = Weak<Inner>;

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entity").field(&self.0).finish()
    }
}

impl Entity {
    /// Its id.
    pub fn id(&self) -> EntityId {
        self.0.id
    }

    /// Its type.
    pub fn entity_type(&self) -> &str {
        &self.0.entity_type
    }

    /// Its versions without a child; several if it diverged.
    pub fn heads(&self) -> &[VersionRef] {
        &self.0.heads
    }

    /// Whether it is shown as deleted. Only listings that ask for deleted ones give such an entity.
    pub fn is_deleted(&self) -> bool {
        matches!(self.0.shown, Shown::Deleted)
    }

    /// Whether somebody still has to decide something: see
    /// [`conflicting_fields`](Self::conflicting_fields).
    pub fn is_conflicted(&self) -> bool {
        self.0.deletion_conflict || !self.0.conflicts.is_empty()
    }

    /// The paths on which writers who had not seen each other differ, keys joined by dots.
    pub fn conflicting_fields(&self) -> &[String] {
        &self.0.conflicts
    }

    /// Whether one deleted it while another changed it.
    pub fn is_deletion_conflict(&self) -> bool {
        self.0.deletion_conflict
    }

    /// Its content as a map; empty if it is deleted.
    pub fn content(&self) -> Content {
        unflatten(self.0.shown.leaves().into_iter())
    }

    /// Its content as any serde type that owns what it holds (`String`, not `&str`).
    /// [`Error::Misfit`] if that does not fit, with the field and who wrote it, [`Error::Deleted`]
    /// if there is none.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        if self.is_deleted() {
            return Err(Error::Deleted(self.0.id));
        }
        from_leaves(&self.0.shown.leaves(), &Unread::default()).map_err(|fault| {
            let misfit = Misfit::new(&self.0, &fault);
            let snapshot = self.1.upgrade().and_then(|inner| Engine { inner }.snapshot().ok());
            match snapshot {
                Some(snapshot) => misfit.by(&snapshot.view(), &self.0).into(),
                None => misfit.into(),
            }
        })
    }

    /// A field; a nested map as a whole.
    pub fn get(&self, field: &str) -> Result<Option<Value>> {
        let mut below = self.0.shown.leaves();
        below.retain(|(p, _)| p.key(0) == field);
        match below[..] {
            [] => Ok(None),
            [(path, value)] if path.depth() == 1 => {
                decode_all(value).map(Some).map_err(|e| Error::corrupt(Table::Heads, self.0.id, e))
            }
            _ => Ok(unflatten(below.into_iter()).remove(field)),
        }
    }
}

/// What the policy of their type shows of some heads; nothing where there are none.
pub(crate) fn entity_of(
    origin: &Origin,
    view: &View<'_>,
    id: EntityId,
    heads: &Heads,
) -> Result<Option<Entity>> {
    Ok(view.show(id, heads)?.map(|seen| Entity(Arc::new(seen), origin.clone())))
}
