//! The merge of an entity's heads, with what is open in it.

use crate::error::{Error, Result};
use crate::format::value::decode_all;
use crate::merge::{conflicts, show, unflatten};
use crate::model::{Content, EntityId, Path, State, Timestamp, Value, VersionRef};
use crate::snapshot::Snapshot;

/// How the heads of an entity combine under `auto`: fields that do not overlap merge, each overlapping one takes the last write, a deletion
/// wins over a concurrent update (R18). A pure function of the heads, so the same on every replica (R19).
#[derive(Clone, Debug)]
pub struct Merged {
    heads: Vec<VersionRef>,
    conflicts: Vec<FieldConflict>,
    deletion: bool,
    content: Option<Content>,
}

/// A field that writers who had not seen each other gave different values (R16).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FieldConflict {
    /// The keys that lead to it.
    pub path: Vec<String>,
    /// Each side's value, greatest in the order of writes first: that one is shown.
    pub sides: Vec<Side>,
}

/// One side of a conflict.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Side {
    /// The version that wrote the value.
    pub version: VersionRef,
    /// When.
    pub stamp: Timestamp,
    /// The value.
    pub value: Value,
}

impl Merged {
    /// The versions that were merged.
    pub fn heads(&self) -> &[VersionRef] {
        &self.heads
    }

    /// Fields that nobody has decided.
    pub fn conflicts(&self) -> &[FieldConflict] {
        &self.conflicts
    }

    /// Whether one deleted the entity while another changed it.
    pub fn is_deletion_conflict(&self) -> bool {
        self.deletion
    }

    /// Whether anything is open.
    pub fn is_conflicted(&self) -> bool {
        self.deletion || !self.conflicts.is_empty()
    }

    /// What is shown; nothing where the deletion wins.
    pub fn content(&self) -> Option<&Content> {
        self.content.as_ref()
    }
}

impl Snapshot {
    /// The merge of an entity's heads; nothing if it is unknown. Costs distinct leaves × heads.
    ///
    /// [`Error::Absent`] where the content of a head is not here.
    pub fn merge(&self, id: EntityId) -> Result<Option<Merged>> {
        let view = self.view();
        let heads = view.heads(id)?;
        if heads.is_empty() {
            return Ok(None);
        }
        let tombstones = heads.list.iter().filter(|h| h.is_tombstone()).count();
        let state = view.merged(id, &heads.list)?;
        let open = conflicts(&state, heads.list.len() - tombstones, tombstones);
        let shown = show(&state);
        let content = unflatten(shown.iter().map(|s| (s.path.as_ref(), &*s.entry.value)));
        Ok(Some(Merged {
            heads: heads.list.iter().map(|h| h.writer.reference).collect(),
            conflicts: open.paths.iter().map(|p| field(id, &state, p)).collect::<Result<_>>()?,
            deletion: open.deletion,
            content: (tombstones == 0).then_some(content),
        }))
    }
}

fn field(id: EntityId, state: &State, path: &Path) -> Result<FieldConflict> {
    let mut entries: Vec<_> = state.get(path).into_iter().flat_map(|l| &l.entries).collect();
    entries.sort_by_key(|e| std::cmp::Reverse(e.writer.key()));
    let side = |e: &&crate::model::Entry| {
        let value = decode_all(&e.value).map_err(|x| Error::corrupt("heads", id, x))?;
        Ok(Side { version: e.writer.reference, stamp: Timestamp::of(e.writer.stamp), value })
    };
    let sides = entries.iter().map(side).collect::<Result<_>>()?;
    Ok(FieldConflict { path: path.as_ref().keys().map(str::to_owned).collect(), sides })
}
