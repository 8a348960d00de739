//! What a write's closure works with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heirloom_core::error::Invalid;
use heirloom_core::fold::{Head, Heads, Lines, Stored};
use heirloom_core::format::body::PatchBody;
use heirloom_core::format::serde::{Fault, to_content};
use heirloom_core::limits;
use heirloom_core::merge::{
    Leaves, Nearby, Policy, StaleField, StaleWrite, conflicts, is_emptied, leaf, removed,
};
use heirloom_core::model::{EntityId, Kind, Line, Patch, Path, Sequence, State, VersionRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::carry::Glass;
use super::staged::{StagedEntity, content_leaves, patch_body};
use crate::engine::Engine;
use crate::error::{Error, Misfit, Result};
use crate::read::Entity;
use crate::store::{Seen, Shown, View, shown_leaves};

/// Changes that become one commit if the closure succeeds, and nothing otherwise. Reads see them.
///
/// A change to an entity whose writers diverged starts from what its type's [`Policy`] shows. Under
/// those that look at each field it decides only what it touches; under those that look at
/// whole versions, and over what a custom one computed, it writes down all that is shown.
pub struct Transaction<'a> {
    pub(super) engine: &'a Engine,
    pub(super) view: View<'a>,
    pub(super) own: Option<Line>,
    pub(super) staged: BTreeMap<EntityId, StagedEntity>,
    /// In the order in which they were touched first.
    pub(super) order: Vec<EntityId>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(engine: &'a Engine, view: View<'a>, own: Option<Line>) -> Self {
        Self { engine, view, own, staged: BTreeMap::new(), order: Vec::new() }
    }

    /// An entity as this transaction sees it; nothing if it is unknown or shown as deleted.
    pub fn get(&self, id: EntityId) -> Result<Option<Entity>> {
        let Some(staged) = self.staged.get(&id) else {
            return Ok(self.view.entity(id)?.map(|e| self.entity(e)).filter(|e| !e.is_deleted()));
        };
        let Some(state) = &staged.state else { return Ok(None) };
        Ok(Some(self.entity(Arc::new(Seen {
            id,
            entity_type: staged.entity_type(&self.view)?,
            heads: staged.parents.iter().map(|h| h.writer.reference).collect(),
            shown: Shown::Leaves(shown_leaves(state)),
            conflicts: conflicts(state, 1, 0).paths.iter().map(Path::to_string).collect(),
            deletion_conflict: false,
        }))))
    }

    pub(super) fn entity(&self, seen: Arc<Seen>) -> Entity {
        Entity(seen, Arc::downgrade(&self.engine.inner))
    }

    /// Brings an entity into being and returns its id. Content is a map or any serde struct.
    pub fn create<T: Serialize + ?Sized>(
        &mut self,
        entity_type: &str,
        content: &T,
    ) -> Result<EntityId> {
        let id = (self.engine.inner.new_id)();
        self.create_with_id(id, entity_type, content)?;
        Ok(id)
    }

    /// Brings an entity into being under an id that the application chose; two devices that choose
    /// the same before they ever met make one entity, and what they say about it merges.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, EntityId, Error};
    /// # let engine = Engine::in_memory()?;
    /// let settings = EntityId::v5(&[7; 16], b"settings of ada");
    /// let dark = Content::new().with("theme", "dark");
    /// engine.write(|tx| tx.create_with_id(settings, "settings", &dark))?;
    /// let again = engine.write(|tx| tx.create_with_id(settings, "settings", &Content::new()));
    /// assert!(matches!(again, Err(Error::Exists { .. })));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::Exists`] if it is here, also as a deleted one (restore that).
    pub fn create_with_id<T: Serialize + ?Sized>(
        &mut self,
        id: EntityId,
        entity_type: &str,
        content: &T,
    ) -> Result<()> {
        if self.staged.contains_key(&id) || !self.view.heads(id)?.is_empty() {
            // one that cannot be shown is no deleted one
            let deleted = matches!(self.get(id), Ok(None));
            return Err(Error::Exists { entity: id, deleted });
        }
        if !(1..=limits::TYPE).contains(&entity_type.len()) {
            return Err(Invalid::EntityType(entity_type.to_owned()).into());
        }
        let mut staged = StagedEntity::creation(entity_type);
        staged.patch(patch_body(&Patch::new().set_all(to_content(content)?))?);
        self.stage(id, staged);
        Ok(())
    }

    /// Changes the fields that the patch names and no others. What is said already is not
    /// said again.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Patch};
    /// # let engine = Engine::in_memory()?;
    /// let desk = Content::new().with("name", "desk").with("note", "old");
    /// let lamp = engine.write(|tx| tx.create("lamp", &desk))?;
    /// engine.write(|tx| tx.patch(lamp, Patch::new().set("brightness", 80).unset("note")))?;
    /// # let expected = Content::new().with("name", "desk").with("brightness", 80);
    /// # assert_eq!(engine.snapshot()?.get(lamp)?.unwrap().content(), expected);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::NotFound`], [`Error::Deleted`]; [`Error::Invalid`] if the patch sets a path and
    /// another below it; [`Invalid::Inside`] if a path
    /// leads into a variant or an atomic map; [`Error::Absent`] where the content is not here;
    /// [`Error::PolicyFailed`].
    pub fn patch(&mut self, id: EntityId, patch: Patch) -> Result<()> {
        let body = patch_body(&patch)?;
        let mut staged = self.open(id)?;
        staged.check_inside(&patch)?;
        staged.patch(body);
        self.stage(id, staged);
        Ok(())
    }

    /// Writes back the whole content of an entity that was read: only what the caller changed, so
    /// that nothing that arrived since is overwritten. If nothing was changed nothing is
    /// written. What the caller's type does not know stays: fields of a newer release, and the kind
    /// of a value that it reads as another (bytes as `Vec<u8>`, a timestamp as `i64`). A
    /// [`Content`](crate::Content) knows everything, so what it leaves out is removed.
    ///
    /// The order of a list counts. A type that keeps none, like a `HashSet`, is best written as a
    /// [`Document`](crate::Document), which knows what it was read as.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Error, Patch};
    /// # let engine = Engine::in_memory()?;
    /// # let desk = Content::new().with("name", "desk").with("brightness", 40);
    /// # let lamp = engine.write(|tx| tx.create("lamp", &desk))?;
    /// let form = engine.snapshot()?.get(lamp)?.expect("it was created");
    /// // meanwhile, elsewhere
    /// engine.write(|tx| tx.patch(lamp, Patch::new().set("brightness", 80)))?;
    /// // another field: both changes stand
    /// engine.write(|tx| tx.put(&form, &form.content().with("name", "bed")))?;
    /// // the same field: nobody is overwritten unseen
    /// let refused = engine.write(|tx| tx.put(&form, &form.content().with("brightness", 10)));
    /// let Err(Error::Stale(stale)) = refused else { panic!("80 was not seen") };
    /// let field = &stale.fields[0];
    /// assert_eq!((&field.yours, &field.theirs), (&Some(10.into()), &Some(80.into())));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::Stale`] if something that the caller changed was changed by somebody else since,
    /// or the entity was deleted; [`Error::Misfit`] if what was read does not fit the type;
    /// [`Error::Invalid`] if the type would not read back what it writes. All else as for
    /// [`patch`](Self::patch).
    pub fn put<T: Serialize + DeserializeOwned>(
        &mut self,
        read: &Entity,
        content: &T,
    ) -> Result<()> {
        let glass = Glass::of::<T>();
        let leaves = read.0.shown.leaves();
        if read.is_deleted() {
            return Err(Error::Deleted(read.id()));
        }
        let misfit =
            |fault: Fault| Error::from(Misfit::new(&read.0, &fault).by(&self.view, &read.0));
        let before = glass.see(&leaves).map_err(misfit)?;
        self.put_carried(read, glass, &before, to_content(content)?)
    }

    /// Writes what the caller made of what a type sees in an entity.
    pub(crate) fn put_carried(
        &mut self,
        read: &Entity,
        glass: Glass,
        before: &heirloom_core::model::Content,
        now: heirloom_core::model::Content,
    ) -> Result<()> {
        let made = glass.carry(&read.0.shown.leaves(), before, now)?;
        let old = read.0.shown.to_owned().ok_or(Error::Deleted(read.id()))?;
        // nothing is written where nothing was changed; that it is gone is told all the same
        let new = made.map_or_else(|| Ok(old.clone()), |made| content_leaves(&made))?;
        self.put_change(read, &old, &new)
    }

    /// Writes what lies between `old` and `new`, on what is there now.
    pub(super) fn put_change(&mut self, read: &Entity, old: &Leaves, new: &Leaves) -> Result<()> {
        let id = read.id();
        let mut body = PatchBody {
            sets: new.iter().filter(|(p, v)| leaf(old, p) != Some(v)).cloned().collect(),
            unsets: removed(old.iter().map(|(p, _)| p), new),
        };
        let seen = read.0.shown.to_owned().ok_or(Error::Deleted(id))?;
        let now = match self.get(id)? {
            Some(now) => now.0.shown.to_owned().unwrap_or_default(),
            None if self.known_heads(id)?.is_empty() => return Err(Error::NotFound(id)),
            None => return Err(self.stale(read.heads(), id, true, Vec::new())?),
        };
        // where the map is gone by now the caller's, empty, takes its place
        let stands = |p: &Path| now.iter().any(|(n, _)| n.is_below(p));
        body.sets.retain(|(p, v)| !is_emptied(p, v, old) || !stands(p));
        let changed = |p: &&Path| leaf(&seen, p) != leaf(&now, p) && leaf(new, p) != leaf(&now, p);
        let theirs: Vec<&Path> = now.iter().chain(&seen).map(|(p, _)| p).filter(changed).collect();
        let mine = || body.sets.iter().map(|(p, _)| p).chain(&body.unsets);
        let (near_mine, near_theirs) = (Nearby::new(mine()), Nearby::new(theirs.iter().copied()));
        let mut overlap: BTreeSet<&Path> =
            theirs.into_iter().filter(|p| near_mine.touches(p)).collect();
        overlap.extend(mine().filter(|p| near_theirs.touches(p)));
        if !overlap.is_empty() {
            let fields =
                overlap.into_iter().map(|p| StaleField::new(p, &seen, new, &now)).collect();
            return Err(self.stale(read.heads(), id, false, fields)?);
        }
        let sets = Nearby::new(body.sets.iter().map(|(p, _)| p));
        body.unsets.retain(|u| !sets.touches(u));
        if body != PatchBody::default() {
            let mut staged = self.open(id)?;
            staged.patch(body);
            self.stage(id, staged);
        }
        Ok(())
    }

    /// What of an entity a version says, as a type that somebody changes; and whatever he made of
    /// it, written as a whole over all heads.
    pub(crate) fn rewrite<R, E: From<Error>>(
        &mut self,
        id: EntityId,
        version: &VersionRef,
        change: impl FnOnce(&Entity) -> Result<(R, Option<heirloom_core::model::Content>), E>,
    ) -> Result<R, E> {
        let mut staged = self.whole(id)?.0;
        if staged.parents.iter().all(Head::is_tombstone) {
            return Err(Error::Deleted(id).into());
        }
        let mut leaves = self.leaves_at(id, version)?;
        let entity = self.entity(Arc::new(Seen {
            id,
            entity_type: staged.entity_type(&self.view)?,
            heads: [*version].into(),
            shown: Shown::Leaves(leaves.clone()),
            conflicts: Vec::new(),
            deletion_conflict: false,
        }));
        let (out, made) = change(&entity)?;
        if let Some(made) = made {
            leaves = content_leaves(&made)?;
        }
        staged.joins = true;
        staged.replace(leaves);
        self.stage(id, staged);
        Ok(out)
    }

    /// Who wrote what does not fit, also where it is not durable yet.
    pub(crate) fn explained(&self, error: Error, entity: &Entity) -> Error {
        match error {
            Error::Misfit(misfit) => misfit.by(&self.view, &entity.0).into(),
            error => error,
        }
    }

    pub(super) fn leaves_at(
        &self,
        id: EntityId,
        version: &VersionRef,
    ) -> Result<Vec<(Path, Box<[u8]>)>> {
        let none = || Error::NotOfEntity { entity: id, version: *version };
        let at = self.view.version_by(version)?.ok_or_else(none)?;
        if at.header().entity != id {
            return Err(none());
        }
        match self.view.content(&at)? {
            Stored::Live(state) => Ok(shown_leaves(&state)),
            Stored::Absent => Err(Error::Absent(*version)),
            Stored::Tombstone => Err(Error::Tombstone(*version)),
        }
    }

    /// The type of an entity, deleted or not, whatever its content. Nothing if it is unknown.
    pub(crate) fn type_of(&self, id: EntityId) -> Result<Option<Arc<str>>> {
        match self.staged.get(&id) {
            Some(staged) => staged.entity_type(&self.view).map(Some),
            None => self.view.type_of(&*self.view.heads(id)?),
        }
    }

    /// Why there is nothing to change.
    pub(crate) fn gone(&self, id: EntityId) -> Result<Error> {
        Ok(if self.known_heads(id)?.is_empty() { Error::NotFound(id) } else { Error::Deleted(id) })
    }

    pub(super) fn known_heads(&self, id: EntityId) -> Result<Vec<VersionRef>> {
        Ok(self.view.heads(id)?.list.iter().map(|h| h.writer.reference).collect())
    }

    pub(super) fn stale(
        &self,
        seen: &[VersionRef],
        id: EntityId,
        deleted: bool,
        fields: Vec<StaleField>,
    ) -> Result<Error> {
        let (seen, now) = (seen.to_vec(), self.known_heads(id)?);
        Ok(Error::Stale(Box::new(StaleWrite::new(id, seen, now, deleted, fields))))
    }

    /// What a write on an entity starts from; [`Error::Deleted`] where it is shown as deleted.
    pub(super) fn open(&self, id: EntityId) -> Result<StagedEntity> {
        if let Some(staged) = self.staged.get(&id) {
            return if staged.state.is_some() {
                Ok(staged.clone())
            } else {
                Err(Error::Deleted(id))
            };
        }
        let (mut staged, merged) = self.whole(id)?;
        let entity_type = staged.entity_type(&self.view)?;
        let policy = self.view.policies.of(&entity_type);
        let start = self
            .view
            .shown_state(id, policy, &staged.parents, merged)?
            .ok_or(Error::Deleted(id))?;
        if policy.whole().is_some() || matches!(policy, Policy::Custom(_)) {
            staged.start = Some(start.clone());
        }
        staged.state = Some(start);
        Ok(staged)
    }

    /// Whatever the policy: the merge of the live heads, or nothing over tombstones alone. Over
    /// content that is not here there is no base, and the error says so: only a restore or a
    /// deletion may follow.
    pub(super) fn whole(&self, id: EntityId) -> Result<(StagedEntity, Result<State>)> {
        let heads = self.view.heads(id)?;
        if heads.is_empty() {
            return Err(Error::NotFound(id));
        }
        let (parents, crowded) = self.parents(&heads);
        let merged = self.view.merged(id, &parents);
        let base = match merged {
            Err(e) if !matches!(e, Error::Absent(_)) => return Err(e),
            ref merged => merged.as_ref().ok().cloned(),
        };
        Ok((StagedEntity { crowded, ..StagedEntity::on(Kind::Update, parents, base) }, merged))
    }

    /// All heads. Where they are more than a version may have: the least in the order of writes
    /// that has seen the last version of the entity on the own path, else the entity clock would
    /// claim what was not seen; then the least.
    pub(super) fn parents(&self, heads: &Heads) -> (Vec<Head>, bool) {
        let mut list = heads.list.clone();
        let most = limits::PARENTS as usize;
        if list.len() <= most {
            return (list, false);
        }
        list.sort_by_key(|h| h.writer.key());
        // how far on the own path, that of the own line first
        let path =
            self.own.map_or_else(Vec::new, |own| self.view.directory.path(own, Sequence::END));
        let seen = |h: &Head| {
            let on =
                |(line, upto): &(Line, Sequence)| h.derived.clock.get(*line).map(|s| s.min(*upto));
            path.iter().find_map(on)
        };
        let own_last = list.iter().filter_map(seen).max();
        let first =
            list.iter().position(|h| own_last.is_some() && seen(h) == own_last).unwrap_or(0);
        let chosen = list.remove(first);
        list.insert(0, chosen);
        list.truncate(most);
        (list, true)
    }

    pub(super) fn stage(&mut self, id: EntityId, staged: StagedEntity) {
        if self.staged.insert(id, staged).is_none() {
            self.order.push(id);
        }
    }
}
