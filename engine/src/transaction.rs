//! What a write's closure works with.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::engine::Engine;
use crate::entity::{Entity, Shown, shown_leaves};
use crate::error::{Error, Result};
use crate::format::body::PatchBody;
use crate::format::limits;
use crate::format::value::flatten;
use crate::merge::{apply, conflicts};
use crate::model::{
    CommitRef, Content, EntityId, Kind, Patch, Path, State, Value, VersionRef, Writer, to_content,
};
use crate::store::{self, Head, Heads, Planned, View};

/// Changes that become one commit if the closure succeeds, and nothing otherwise. Reads see them.
pub struct Transaction<'a> {
    engine: &'a Engine,
    view: View<'a>,
    own: Option<u32>,
    staged: BTreeMap<EntityId, Staged>,
    /// In the order in which they were touched first.
    order: Vec<EntityId>,
}

/// What shall become of an entity: its merged heads, changed.
#[derive(Clone)]
pub(crate) struct Staged {
    pub(crate) kind: Kind,
    entity_type: Option<Arc<str>>,
    pub(crate) parents: Vec<Head>,
    /// What there is to write on: the merge of the live heads.
    base: Option<State>,
    /// Nothing for a deletion.
    pub(crate) state: Option<State>,
    /// More heads than a version may have parents: then nothing is left out as already said.
    crowded: bool,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(engine: &'a Engine, view: View<'a>, own: Option<u32>) -> Self {
        Self { engine, view, own, staged: BTreeMap::new(), order: Vec::new() }
    }

    /// An entity as this transaction sees it; nothing if it is unknown or shown as deleted.
    pub fn get(&self, id: EntityId) -> Result<Option<Entity>> {
        let Some(staged) = self.staged.get(&id) else {
            let heads = self.view.heads(id)?;
            return Ok(entity_of(&self.view, id, &heads)?.filter(|e| !e.is_deleted()));
        };
        let Some(state) = &staged.state else { return Ok(None) };
        let conflicts = conflicts(state, 1, 0).paths.iter().map(Path::to_string).collect();
        Ok(Some(Entity {
            id,
            entity_type: (&*staged.entity_type(&self.view)?).into(),
            heads: staged.parents.iter().map(|h| h.writer.reference).collect(),
            shown: Shown::Leaves(shown_leaves(state)),
            conflicts,
            deletion_conflict: false,
        }))
    }

    /// Brings an entity into being and returns its id. Content is a map or any serde struct.
    pub fn create<T: Serialize + ?Sized>(&mut self, entity_type: &str, content: &T) -> Result<EntityId> {
        let id = (self.engine.inner.new_id)();
        self.create_with_id(id, entity_type, content)?;
        Ok(id)
    }

    /// Brings an entity into being under an id that the application chose; two devices that choose the same before they ever met
    /// make one entity, and what they say about it merges.
    ///
    /// [`Error::Exists`] if it is here, also as a deleted one (restore that).
    pub fn create_with_id<T: Serialize + ?Sized>(
        &mut self,
        id: EntityId,
        entity_type: &str,
        content: &T,
    ) -> Result<()> {
        if self.staged.contains_key(&id) || !self.view.heads(id)?.is_empty() {
            return Err(Error::Exists(id));
        }
        if !(1..=limits::TYPE).contains(&entity_type.len()) {
            return Err(Error::invalid(format!("an entity type has 1 to {} bytes", limits::TYPE)));
        }
        let patch = patch_body(&Patch::new().set_all(to_content(content)?))?;
        let state = apply(&State::default(), &patch, Writer::OWN);
        let staged = Staged {
            kind: Kind::Create,
            entity_type: Some(entity_type.into()),
            parents: Vec::new(),
            base: None,
            state: Some(state),
            crowded: false,
        };
        self.stage(id, staged);
        Ok(())
    }

    /// Changes the fields that the patch names and no others (R20). What is said already is not said again.
    ///
    /// [`Error::NotFound`], [`Error::Deleted`]; [`Error::Invalid`] if the patch sets a path and another below it; [`Error::Absent`] where
    /// the content is not here.
    pub fn patch(&mut self, id: EntityId, patch: Patch) -> Result<()> {
        let body = patch_body(&patch)?;
        let mut staged = self.open(id)?;
        staged.patch(body);
        self.stage(id, staged);
        Ok(())
    }

    /// Writes back the whole content of an entity that was read: only what the caller changed, so that nothing that arrived since is
    /// overwritten (R15).
    ///
    /// [`Error::Conflict`] if something that the caller changed was changed by somebody else since, or the entity was deleted.
    pub fn put<T: Serialize + ?Sized>(&mut self, read: &Entity, content: &T) -> Result<()> {
        let id = read.id;
        let old = read.shown.to_owned().ok_or(Error::Deleted(id))?;
        let new = patch_body(&Patch::new().set_all(to_content(content)?))?.sets;
        let conflict = |why: &str| Error::Conflict { entity: id, why: why.to_owned() };
        let mut body = PatchBody {
            sets: new.iter().filter(|leaf| !old.contains(leaf)).cloned().collect(),
            unsets: old
                .iter()
                .map(|(p, _)| p)
                .filter(|p| !new.iter().any(|(q, _)| q == *p))
                .cloned()
                .collect(),
        };
        let now = self.get(id)?.ok_or_else(|| conflict("it was deleted since it was read"))?;
        let now = now.shown.to_owned().unwrap_or_default();
        let changed = now.iter().filter(|l| !old.contains(l)).chain(old.iter().filter(|l| !now.contains(l)));
        for (path, _) in changed {
            let touched = body.sets.iter().map(|(p, _)| p).chain(&body.unsets);
            let same = new.iter().find(|(p, _)| p == path) == now.iter().find(|(p, _)| p == path);
            if !same && touched.into_iter().any(|p| p.is_related(path)) {
                return Err(conflict(&format!("somebody else changed {path} since it was read")));
            }
        }
        body.unsets.retain(|u| !body.sets.iter().any(|(p, _)| p.is_related(u)));
        if body == PatchBody::default() {
            return Ok(());
        }
        let mut staged = self.open(id)?;
        staged.patch(body);
        self.stage(id, staged);
        Ok(())
    }

    /// Deletes an entity: a tombstone, which syncs like any other version (R5).
    ///
    /// [`Error::NotFound`], [`Error::Deleted`] if nobody has to be told.
    pub fn delete(&mut self, id: EntityId) -> Result<()> {
        if self.staged.get(&id).is_some_and(|s| s.kind == Kind::Create) {
            // nobody has seen it
            self.staged.remove(&id);
            self.order.retain(|e| *e != id);
            return Ok(());
        }
        if self.staged.get(&id).is_some_and(|s| s.state.is_none()) {
            return Err(Error::Deleted(id));
        }
        let heads = self.view.heads(id)?;
        match &heads.list[..] {
            [] => return Err(Error::NotFound(id)),
            [only] if only.is_tombstone() => return Err(Error::Deleted(id)),
            _ => {}
        }
        let (parents, crowded) = self.parents(&heads);
        let staged =
            Staged { kind: Kind::Delete, entity_type: None, parents, base: None, state: None, crowded };
        self.stage(id, staged);
        Ok(())
    }

    /// Brings back the content that an entity had at a version, deleted since or not (R5, R22). What already stands so keeps its writer.
    ///
    /// [`Error::NotFound`], [`Error::Absent`] if that content is not here, [`Error::Invalid`] if the version is none of this entity or a deletion.
    pub fn restore(&mut self, id: EntityId, version: &VersionRef) -> Result<()> {
        let leaves = self.leaves_at(id, version)?;
        let mut staged = self.whole(id)?;
        staged.kind = Kind::Restore;
        staged.replace(leaves);
        self.stage(id, staged);
        Ok(())
    }

    fn leaves_at(&self, id: EntityId, version: &VersionRef) -> Result<Vec<(Path, Box<[u8]>)>> {
        let none = || Error::invalid(format!("{version} is no version of entity {id} here"));
        let ordinal = self.view.directory.ordinal(version.log).ok_or_else(none)?;
        let at = self.view.version((ordinal, version.sequence))?.ok_or_else(none)?;
        if at.header().entity != id || at.writer.reference != *version {
            return Err(none());
        }
        match self.view.content(&at)? {
            store::Content::Live(state) => Ok(shown_leaves(&state)),
            store::Content::Absent => Err(Error::Absent(*version)),
            store::Content::Tombstone => {
                Err(Error::invalid(format!("version {version} deletes; restore one before it")))
            }
        }
    }

    /// What a write on an entity starts from; [`Error::Deleted`] where it is shown as deleted.
    fn open(&self, id: EntityId) -> Result<Staged> {
        if let Some(staged) = self.staged.get(&id) {
            return if staged.state.is_some() { Ok(staged.clone()) } else { Err(Error::Deleted(id)) };
        }
        let staged = self.whole(id)?;
        // `auto`: a deletion wins over a concurrent update
        if staged.parents.iter().any(Head::is_tombstone) {
            return Err(Error::Deleted(id));
        }
        match staged.base {
            Some(_) => Ok(staged),
            None => Err(self.view.merged(id, &staged.parents).err().unwrap_or(Error::NotFound(id))),
        }
    }

    /// Also over tombstones: it starts from the live heads beside them, or from nothing. Over content that is not here there is no
    /// base: only a restore or a deletion may follow.
    fn whole(&self, id: EntityId) -> Result<Staged> {
        let heads = self.view.heads(id)?;
        if heads.is_empty() {
            return Err(Error::NotFound(id));
        }
        let (parents, crowded) = self.parents(&heads);
        let base = match self.view.merged(id, &parents) {
            Ok(base) => Some(base),
            Err(Error::Absent(_)) => None,
            Err(e) => return Err(e),
        };
        let state = Some(base.clone().unwrap_or_default());
        Ok(Staged { kind: Kind::Update, entity_type: None, parents, state, base, crowded })
    }

    /// All heads. Where they are more than a version may have: the least in the order of writes that has seen the last version of the
    /// entity on the own path, else the entity clock would claim what was not seen; then the least (I4).
    fn parents(&self, heads: &Heads) -> (Vec<Head>, bool) {
        let mut list = heads.list.clone();
        let most = limits::PARENTS as usize;
        if list.len() <= most {
            return (list, false);
        }
        list.sort_by_key(|h| h.writer.key());
        let seen = |h: &Head| self.own.and_then(|o| h.derived.clock.get(o));
        let own_last = list.iter().filter_map(seen).max();
        let first = list.iter().position(|h| own_last.is_some() && seen(h) == own_last).unwrap_or(0);
        let chosen = list.remove(first);
        list.insert(0, chosen);
        list.truncate(most);
        (list, true)
    }

    fn stage(&mut self, id: EntityId, staged: Staged) {
        if self.staged.insert(id, staged).is_none() {
            self.order.push(id);
        }
    }

    /// What to commit, without what changes nothing.
    pub(crate) fn into_plan(mut self) -> Result<Vec<Planned>> {
        let mut plan = Vec::with_capacity(self.order.len());
        for id in std::mem::take(&mut self.order) {
            let Some(staged) = self.staged.remove(&id) else { continue };
            if staged.changes_something() {
                plan.push(staged.into_planned(id));
            }
        }
        Ok(plan)
    }
}

impl Staged {
    /// For an import: over heads that an entity had in some past.
    pub(crate) fn over(view: &View<'_>, id: EntityId, parents: Vec<Head>) -> Result<Self> {
        let base = view.merged(id, &parents)?;
        Ok(Self {
            kind: Kind::Update,
            entity_type: None,
            parents,
            state: Some(base.clone()),
            base: Some(base),
            crowded: false,
        })
    }

    /// For an import: a creation.
    pub(crate) fn creation(entity_type: &str) -> Self {
        Self {
            kind: Kind::Create,
            entity_type: Some(entity_type.into()),
            parents: Vec::new(),
            base: None,
            state: Some(State::default()),
            crowded: false,
        }
    }

    /// For an import: a deletion.
    pub(crate) fn deletion(parents: Vec<Head>) -> Self {
        Self { kind: Kind::Delete, entity_type: None, parents, base: None, state: None, crowded: false }
    }

    fn entity_type(&self, view: &View<'_>) -> Result<Arc<str>> {
        if let Some(t) = &self.entity_type {
            return Ok(t.clone());
        }
        let heads = Heads { list: self.parents.clone(), unsettled: false };
        heads
            .type_ordinal()
            .and_then(|t| view.directory.entity_type(t))
            .ok_or_else(|| Error::corrupt("types", "?", "an entity without a type"))
    }

    /// Applies a patch, without what changes nothing: unsets that touch nothing, sets of what is already the only value.
    pub(crate) fn patch(&mut self, mut patch: PatchBody) {
        let Some(state) = &mut self.state else { return };
        if !self.crowded {
            patch.unsets.retain(|u| state.0.iter().any(|l| l.path.is_below(u)));
            let gone = |p: &Path| patch.unsets.iter().any(|u| p.is_below(u));
            let rest: Vec<_> = state.0.iter().filter(|l| !gone(&l.path)).collect();
            patch.sets.retain(|(path, value)| {
                let mut near = rest.iter().filter(|l| l.path.is_related(path));
                let only =
                    near.next().filter(|l| l.path == *path && l.entries.iter().all(|e| e.value == *value));
                only.is_none() || near.next().is_some()
            });
        }
        *state = apply(state, &patch, Writer::OWN);
    }

    /// The whole content, said explicitly: what already stands alone keeps its writer, the rest is written anew.
    pub(crate) fn replace(&mut self, leaves: Vec<(Path, Box<[u8]>)>) {
        let Some(state) = &self.state else { return };
        let unsets =
            state.0.iter().map(|l| &l.path).filter(|p| !leaves.iter().any(|(q, _)| q == *p)).cloned();
        self.patch(PatchBody { unsets: unsets.collect(), sets: leaves });
    }

    /// For an import: several heads are joined even if nothing else changes.
    pub(crate) fn says_something(&self) -> bool {
        self.parents.len() > 1 || self.changes_something()
    }

    fn changes_something(&self) -> bool {
        self.kind != Kind::Update || self.state != self.base
    }

    pub(crate) fn into_planned(self, entity: EntityId) -> Planned {
        Planned {
            entity,
            kind: self.kind,
            entity_type: self.entity_type,
            parents: self.parents,
            base: self.base,
            state: self.state,
        }
    }
}

/// Leaves of a patch; what one version sets must fit together.
pub(crate) fn patch_body(patch: &Patch) -> Result<PatchBody> {
    let mut sets = Vec::with_capacity(patch.sets.len());
    for (path, value) in &patch.sets {
        check_path(path)?;
        flatten(path.clone(), value, &mut sets)?;
    }
    let mut unsets = patch.unsets.clone();
    for path in &unsets {
        check_path(path)?;
    }
    unsets.sort();
    unsets.dedup();
    sets.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(w) = sets.windows(2).find(|w| w[1].0.is_below(&w[0].0)) {
        return Err(Error::invalid(format!("a patch cannot set {} and {} at once", w[0].0, w[1].0)));
    }
    Ok(PatchBody { unsets, sets: sets.into_iter().map(|(p, v)| (p, v.into())).collect() })
}

fn check_path(path: &Path) -> Result<()> {
    if path.depth() == 0 {
        return Err(Error::invalid("a path needs at least one key"));
    }
    flatten(path.clone(), &Value::Null, &mut Vec::new())
}

/// The leaves of a whole content.
pub(crate) fn content_leaves(content: &Content) -> Result<Vec<(Path, Box<[u8]>)>> {
    Ok(patch_body(&Patch::new().set_all(content.clone()))?.sets)
}

/// What `auto` shows of some heads; nothing where there are none.
pub(crate) fn entity_of(view: &View<'_>, id: EntityId, heads: &Heads) -> Result<Option<Entity>> {
    let Some(type_ordinal) = heads.type_ordinal() else { return Ok(None) };
    let entity_type = view
        .directory
        .entity_type(type_ordinal)
        .ok_or_else(|| Error::corrupt("types", type_ordinal, "an unknown type"))?;
    let refs = heads.list.iter().map(|h| h.writer.reference).collect();
    let tombstones = heads.list.iter().filter(|h| h.is_tombstone()).count();
    let live = heads.list.len() - tombstones;
    let mut entity = Entity {
        id,
        entity_type: (&*entity_type).into(),
        heads: refs,
        shown: Shown::Deleted,
        conflicts: Vec::new(),
        deletion_conflict: false,
    };
    if live == 0 {
        return Ok(Some(entity));
    }
    if let Some((bytes, places)) = store::in_place(heads) {
        entity.shown = Shown::InPlace(bytes, places);
        return Ok(Some(entity));
    }
    let merged = match view.merged(id, &heads.list) {
        // deleted, whatever stands beside it
        Err(Error::Absent(_)) if tombstones > 0 => State::default(),
        merged => merged?,
    };
    let open = conflicts(&merged, live, tombstones);
    entity.conflicts = open.paths.iter().map(Path::to_string).collect();
    entity.deletion_conflict = open.deletion;
    if tombstones == 0 {
        entity.shown = Shown::Leaves(shown_leaves(&merged));
    }
    Ok(Some(entity))
}

impl store::Writer {
    /// What the next own commit refers to, as refs and as local places: the frontier without the own log, and for a foreign parent
    /// whose log is not among them the last commit of that log (I4).
    pub(crate) fn refs(
        &self,
        store: &store::Store,
        own: u32,
        plan: &[Planned],
    ) -> (Vec<CommitRef>, Vec<(u32, u64)>) {
        let foreign = plan.iter().flat_map(|p| &p.parents).map(|h| h.writer.ordinal);
        let mut needed: Vec<u32> = foreign.filter(|o| *o != own).collect();
        needed.sort_unstable();
        needed.dedup();
        let mut logs: Vec<u32> =
            self.frontier.iter().copied().filter(|o| *o != own && !needed.contains(o)).collect();
        // of a frontier wider than a commit may name, later commits name the rest
        logs.truncate((limits::REFS as usize).saturating_sub(needed.len()));
        logs.extend(needed);
        let place = |ordinal: &u32| {
            let (tip, log) = (self.tip(*ordinal)?, store.directory.log_id(*ordinal)?);
            let reference = CommitRef { log, sequence: tip.last, prefix: tip.chain.prefix() };
            Some((reference, (*ordinal, tip.last)))
        };
        logs.iter().filter_map(place).unzip()
    }
}
