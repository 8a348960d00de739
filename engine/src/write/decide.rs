//! What decides more than a field: deletion, restoring, resolving a conflict.

use std::collections::BTreeSet;

use heirloom_core::fold::{Head, Stored};
use heirloom_core::format::body::PatchBody;
use heirloom_core::merge::{Resolution, conflicts, show};
use heirloom_core::model::{EntityId, Kind, Path, State, VersionRef};

use super::staged::{StagedEntity, content_leaves, patch_body};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::store::shown_leaves;

impl Transaction<'_> {
    /// Insists that the heads of an entity are exactly these, so that what follows is written on
    /// what the caller saw, or not at all. The token of an [`Entity`](crate::Entity) is its
    /// [`heads`](crate::Entity::heads); a single version stands for itself.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Error, Patch};
    /// # let engine = Engine::in_memory()?;
    /// # let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("on", false)))?;
    /// let read = engine.snapshot()?.get(lamp)?.expect("it was created");
    /// // meanwhile, elsewhere
    /// engine.write(|tx| tx.patch(lamp, Patch::new().set("note", "broken")))?;
    /// let refused = engine.write(|tx| {
    ///     tx.expect(lamp, read.heads())?;
    ///     tx.patch(lamp, Patch::new().set("on", true))
    /// });
    /// assert!(matches!(refused, Err(Error::Stale(_))));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::Stale`] if they are others, [`Error::NotFound`].
    pub fn expect(&self, id: EntityId, heads: &[VersionRef]) -> Result<()> {
        let now: BTreeSet<_> = self.known_heads(id)?.into_iter().collect();
        if now.is_empty() {
            return Err(Error::NotFound(id));
        }
        if now == heads.iter().copied().collect() {
            Ok(())
        } else {
            Err(self.stale(heads, id, false, Vec::new())?)
        }
    }

    /// Deletes an entity: a tombstone, which syncs like any other version.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Error};
    /// # let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// engine.write(|tx| tx.delete(lamp))?;
    /// assert!(engine.snapshot()?.get(lamp)?.is_none());
    /// assert!(matches!(engine.write(|tx| tx.delete(lamp)), Err(Error::Deleted(_))));
    /// assert_eq!(engine.snapshot()?.history(lamp)?.count(), 2); // nothing is lost
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::NotFound`], [`Error::Deleted`] if nobody has to be told.
    pub fn delete(&mut self, id: EntityId) -> Result<()> {
        let heads = self.view.heads(id)?;
        let is_lone_tombstone = matches!(&heads.list[..], [only] if only.is_tombstone());
        match self.staged.get(&id) {
            Some(staged) if staged.state.is_none() => return Err(Error::Deleted(id)),
            // nobody has seen it alive
            Some(_) if heads.is_empty() || is_lone_tombstone => {
                self.staged.remove(&id);
                self.order.retain(|e| *e != id);
                return Ok(());
            }
            None if heads.is_empty() => return Err(Error::NotFound(id)),
            None if is_lone_tombstone => return Err(Error::Deleted(id)),
            _ => {}
        }
        let (parents, crowded) = self.parents(&heads);
        self.stage(id, StagedEntity { crowded, ..StagedEntity::deletion(parents) });
        Ok(())
    }

    /// Brings back the content that an entity had at a version, deleted since or not.
    /// What already stands so keeps its writer. It takes the place of what this transaction changed
    /// of the entity before.
    ///
    /// ```
    /// # use heirloom::{Content, Engine};
    /// # let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("name", "desk")))?;
    /// let first = engine.snapshot()?.heads(lamp)?[0].reference();
    /// engine.write(|tx| tx.delete(lamp))?;
    /// engine.write(|tx| tx.restore(lamp, &first))?;
    /// assert_eq!(engine.snapshot()?.get(lamp)?.unwrap().get("name")?, Some("desk".into()));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::NotFound`]; [`Error::NotHere`] or [`Error::Absent`] if the version or its content
    /// is not here, [`Error::NotOfEntity`] if it is another entity's, [`Error::Tombstone`] if it
    /// is a deletion.
    pub fn restore(&mut self, id: EntityId, version: &VersionRef) -> Result<()> {
        let mut staged = self.whole(id)?.0;
        let leaves = self.leaves_at(id, version)?;
        staged.kind = Kind::Restore;
        staged.replace(leaves);
        self.stage(id, staged);
        Ok(())
    }

    /// Settles a conflict for good and for all: a version whose parents are all heads. `seen`
    /// names the heads that the person looked at, as [`Conflict::seen`](crate::Conflict::seen)
    /// gives them, so that nothing is decided unseen. A [`Resolution::Patch`] decides the fields
    /// that it names and leaves others open. Two people who decide alike make no new conflict.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Patch};
    /// # let engine = Engine::in_memory()?;
    /// # let lamp = engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// # let snapshot = engine.snapshot()?;
    /// for conflict in snapshot.conflicts() {
    ///     let conflict = conflict?;
    ///     let name = conflict.field("name").map(|f| f.sides[0].value.clone());
    ///     let decided = Patch::new().set("name", name);
    ///     engine.write(|tx| tx.resolve(conflict.entity, &conflict.seen(), decided))?;
    /// }
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::Stale`] if the heads are others by now, [`Error::Deleted`] if nothing lives,
    /// [`Error::NotFound`], [`Error::Absent`]; [`Error::NotAHead`] if a resolution takes a version
    /// that is no head, [`Error::AlreadyChanged`] if this transaction changed the entity already.
    pub fn resolve(
        &mut self,
        id: EntityId,
        seen: &[VersionRef],
        resolution: impl Into<Resolution>,
    ) -> Result<()> {
        self.expect(id, seen)?;
        if self.staged.contains_key(&id) {
            return Err(Error::AlreadyChanged(id));
        }
        let (mut staged, merged) = self.whole(id)?;
        if staged.parents.iter().all(Head::is_tombstone) {
            return Err(Error::Deleted(id));
        }
        let resolution = resolution.into();
        let merged = match merged {
            Err(e) if resolution != Resolution::Delete => return Err(e),
            merged => merged.unwrap_or_default(),
        };
        staged.joins = true;
        match resolution {
            Resolution::Delete => return self.delete(id),
            Resolution::Suggestion if staged.parents.iter().any(Head::is_tombstone) => {
                return self.delete(id);
            }
            Resolution::Suggestion => staged.patch(suggestion(&merged)),
            Resolution::Patch(patch) => {
                staged.check_inside(&patch)?;
                staged.patch(patch_body(&patch)?);
            }
            Resolution::Content(content) => staged.replace(content_leaves(&content)?),
            Resolution::Head(version) => {
                let heads = self.view.heads(id)?;
                let head = heads.list.iter().find(|h| h.writer.reference == version);
                let head = head.ok_or_else(|| Error::NotAHead { entity: id, version })?;
                match self.view.head_content(id, head)? {
                    Stored::Live(state) => staged.replace(shown_leaves(&state)),
                    Stored::Tombstone => return self.delete(id),
                    Stored::Absent => return Err(Error::Absent(version)),
                }
            }
        }
        self.stage(id, staged);
        Ok(())
    }
}

/// What `auto` shows of each open field, said explicitly; of an entry that one removed, that it is
/// removed.
fn suggestion(merged: &State) -> PatchBody {
    let open = conflicts(merged, 1, 0);
    let shown = show(merged);
    let is_open = |path: &Path| open.paths.binary_search(path).is_ok();
    let sets = shown.iter().filter(|s| is_open(s.path));
    let is_shown = |top: &&Path| shown.binary_search_by_key(top, |s| s.path).is_ok();
    PatchBody {
        // what is shown in the place of a removed entry takes the rest of it along
        unsets: open.torn.tops().iter().filter(|top| !is_shown(top)).cloned().collect(),
        sets: sets.map(|s| (s.path.clone(), s.entry.value.clone())).collect(),
    }
}
