//! The ledger: every version that anybody wrote, as its author meant it and saw it. It is kept outside of the nodes, and follows
//! from the [naive model](super::naive) alone.

use std::collections::{BTreeMap, BTreeSet};

use heirloom::{Content, Entity, EntityId, Error, Kind, Timestamp, Value, Version, VersionRef};

use super::naive::{Conflict, Leaves, OWN, Path, Said, State, Writer, leaves, leaves_at, related};

/// A version that was acknowledged to its author.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// As the author saw it.
    pub(crate) version: Version,
    pub(crate) entity_type: Option<String>,
    /// It and all that it builds on.
    pub(crate) seen: BTreeSet<VersionRef>,
    /// Nothing for a tombstone.
    pub(crate) state: Option<State>,
    pub(crate) said: Said,
}

impl Known {
    pub(crate) fn writer(&self) -> Writer {
        (self.version.stamp(), self.version.reference())
    }
}

#[derive(Default)]
pub(crate) struct Ledger {
    versions: BTreeMap<VersionRef, Known>,
    entities: BTreeMap<EntityId, Vec<VersionRef>>,
}

impl Ledger {
    pub(crate) fn get(&self, version: &VersionRef) -> Option<&Known> {
        self.versions.get(version)
    }

    /// All versions of an entity, as they were written.
    pub(crate) fn of(&self, entity: EntityId) -> impl Iterator<Item = &Known> {
        self.refs(entity).iter().map(|r| &self.versions[r])
    }

    pub(crate) fn refs(&self, entity: EntityId) -> &[VersionRef] {
        self.entities.get(&entity).map_or(&[], |v| v)
    }

    pub(crate) fn entities(&self) -> impl Iterator<Item = EntityId> {
        self.entities.keys().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.versions.len()
    }

    pub(crate) fn add(&mut self, known: Known) {
        let (entity, reference) = (known.version.entity(), known.version.reference());
        self.entities.entry(entity).or_default().push(reference);
        self.versions.insert(reference, known);
    }

    /// Versions without a child.
    pub(crate) fn heads(&self, entity: EntityId) -> BTreeSet<VersionRef> {
        let mut heads: BTreeSet<VersionRef> = self.refs(entity).iter().copied().collect();
        for parent in self.of(entity).flat_map(|v| v.version.parents()) {
            heads.remove(parent);
        }
        heads
    }

    /// The merge of the heads that are live, and how many are not.
    pub(crate) fn merge<'a>(&self, heads: impl IntoIterator<Item = &'a VersionRef>) -> (State, usize) {
        let heads: Vec<_> = heads.into_iter().map(|h| &self.versions[h]).collect();
        let live: Vec<_> = heads.iter().filter_map(|h| Some((h.state.as_ref()?, &h.seen))).collect();
        (State::merge(&live), heads.len() - live.len())
    }

    /// What the heads show, and what is open between them.
    pub(crate) fn view(&self, heads: &BTreeSet<VersionRef>) -> Shown {
        let (state, tombstones) = self.merge(heads);
        let creations = heads.iter().flat_map(|h| &self.versions[h].seen).map(|r| &self.versions[r]);
        let first = creations.filter(|v| v.entity_type.is_some()).min_by_key(|v| v.writer());
        Shown {
            entity_type: first.and_then(|v| v.entity_type.clone()),
            content: (tombstones == 0 && !heads.is_empty()).then(|| state.shown()),
            conflicts: state.conflicts(),
            deletion: tombstones > 0 && tombstones < heads.len(),
            heads: heads.clone(),
        }
    }
}

/// How an entity stands.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Shown {
    pub(crate) heads: BTreeSet<VersionRef>,
    pub(crate) entity_type: Option<String>,
    /// Nothing where it is deleted or unknown.
    pub(crate) content: Option<Leaves>,
    pub(crate) conflicts: Vec<Conflict>,
    pub(crate) deletion: bool,
}

impl Shown {
    pub(crate) fn is_unsettled(&self) -> bool {
        self.heads.len() > 1 || !self.conflicts.is_empty()
    }
}

/// What an application does to one entity.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create {
        id: EntityId,
        entity_type: &'static str,
        content: Content,
    },
    Patch {
        id: EntityId,
        unsets: Vec<Path>,
        sets: Vec<(Path, Value)>,
    },
    /// A form comes back; it may be old.
    Put {
        form: Box<Entity>,
        content: Content,
    },
    Delete {
        id: EntityId,
    },
    Restore {
        id: EntityId,
        version: VersionRef,
    },
}

impl Op {
    pub(crate) fn entity(&self) -> EntityId {
        match self {
            Op::Put { form, .. } => form.id(),
            Op::Create { id, .. } | Op::Patch { id, .. } | Op::Delete { id } | Op::Restore { id, .. } => *id,
        }
    }
}

/// Why a write is refused, the caller's mistake or bad luck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    NotFound,
    Deleted,
    Exists,
    Conflict,
    Invalid,
}

impl Refusal {
    /// Nothing for an error that no write of the simulation may meet.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        Some(match error {
            Error::NotFound(_) => Refusal::NotFound,
            Error::Deleted(_) => Refusal::Deleted,
            Error::Exists(_) => Refusal::Exists,
            Error::Conflict { .. } => Refusal::Conflict,
            Error::Invalid(_) => Refusal::Invalid,
            _ => return None,
        })
    }
}

/// What a transaction should become.
pub(crate) struct Plan<'a> {
    ledger: &'a Ledger,
    /// Of each entity that it touches, the heads that its node has.
    heads: BTreeMap<EntityId, BTreeSet<VersionRef>>,
    /// Versions that its node has, of those that it may restore.
    held: BTreeSet<VersionRef>,
    drafts: BTreeMap<EntityId, Draft>,
    order: Vec<EntityId>,
}

/// What an entity should become.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) entity_type: Option<String>,
    pub(crate) parents: BTreeSet<VersionRef>,
    base: State,
    pub(crate) state: Option<State>,
    pub(crate) said: Said,
}

impl Draft {
    fn is_written(&self) -> bool {
        self.kind != Kind::Update || self.state.as_ref() != Some(&self.base)
    }

    fn patch(&mut self, unsets: &[Path], sets: &Leaves) {
        if let Some(state) = &mut self.state {
            self.said.add(state.patch(unsets, sets));
        }
    }
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        ledger: &'a Ledger,
        heads: BTreeMap<EntityId, BTreeSet<VersionRef>>,
        held: BTreeSet<VersionRef>,
    ) -> Self {
        Self { ledger, heads, held, drafts: BTreeMap::new(), order: Vec::new() }
    }

    /// What its transaction should show of an entity.
    pub(crate) fn shown(&self, id: EntityId) -> Option<Leaves> {
        match self.drafts.get(&id) {
            Some(draft) => draft.state.as_ref().map(State::shown),
            None => self.ledger.view(&self.heads[&id]).content,
        }
    }

    /// What should be written, in this order.
    pub(crate) fn written(self) -> Vec<(EntityId, Draft)> {
        let mut drafts = self.drafts;
        let drafts = self.order.into_iter().filter_map(|id| Some((id, drafts.remove(&id)?)));
        drafts.filter(|(_, draft)| draft.is_written()).collect()
    }

    pub(crate) fn apply(&mut self, op: &Op) -> Result<(), Refusal> {
        let id = op.entity();
        let draft = match op {
            Op::Create { entity_type, content, .. } => {
                if self.drafts.contains_key(&id) || !self.heads[&id].is_empty() {
                    return Err(Refusal::Exists);
                }
                self.creation(entity_type, content)
            }
            Op::Patch { unsets, sets, .. } => {
                let sets = one_patch(sets)?;
                let mut draft = self.open(id)?;
                draft.patch(unsets, &sets);
                draft
            }
            Op::Put { form, content } => {
                let (unsets, sets) = self.put(form, content)?;
                if unsets.is_empty() && sets.is_empty() {
                    return Ok(());
                }
                let mut draft = self.open(id)?;
                draft.patch(&unsets, &sets);
                draft
            }
            Op::Delete { .. } => match self.deletion(id)? {
                Some(draft) => draft,
                None => return Ok(()),
            },
            Op::Restore { version, .. } => self.restored(id, version)?,
        };
        if self.drafts.insert(id, draft).is_none() {
            self.order.push(id);
        }
        Ok(())
    }

    fn creation(&self, entity_type: &str, content: &Content) -> Draft {
        let mut draft = Draft {
            kind: Kind::Create,
            entity_type: Some(entity_type.to_owned()),
            parents: BTreeSet::new(),
            base: State::default(),
            state: Some(State::default()),
            said: Said::default(),
        };
        draft.patch(&[], &leaves(content));
        draft
    }

    /// A write on what is not deleted.
    fn open(&self, id: EntityId) -> Result<Draft, Refusal> {
        if let Some(draft) = self.drafts.get(&id) {
            return if draft.state.is_some() { Ok(draft.clone()) } else { Err(Refusal::Deleted) };
        }
        let (draft, tombstones) = self.whole(id)?;
        if tombstones == 0 { Ok(draft) } else { Err(Refusal::Deleted) }
    }

    /// A write on whatever there is.
    fn whole(&self, id: EntityId) -> Result<(Draft, usize), Refusal> {
        let parents = self.heads[&id].clone();
        if parents.is_empty() {
            return Err(Refusal::NotFound);
        }
        let (base, tombstones) = self.ledger.merge(&parents);
        let state = Some(base.clone());
        let draft =
            Draft { kind: Kind::Update, entity_type: None, parents, base, state, said: Said::default() };
        Ok((draft, tombstones))
    }

    /// Only what the caller changed, unless somebody else changed it, too.
    fn put(&self, form: &Entity, content: &Content) -> Result<(Vec<Path>, Leaves), Refusal> {
        let (old, new) = (leaves(&form.content()), leaves(content));
        let now = self.shown(form.id()).ok_or(Refusal::Conflict)?;
        let differs = |p: &&Path, a: &Leaves, b: &Leaves| a.get(*p) != b.get(*p);
        let mine: Vec<&Path> = old.keys().chain(new.keys()).filter(|p| differs(p, &old, &new)).collect();
        let theirs = old.keys().chain(now.keys()).filter(|p| differs(p, &old, &now));
        for p in theirs.filter(|p| differs(p, &new, &now)) {
            if mine.iter().any(|q| related(p, q)) {
                return Err(Refusal::Conflict);
            }
        }
        let sets: Leaves =
            new.iter().filter(|(p, v)| old.get(*p) != Some(v)).map(|(p, v)| (p.clone(), v.clone())).collect();
        let gone = old.keys().filter(|p| !new.contains_key(*p) && !sets.keys().any(|s| related(s, p)));
        Ok((gone.cloned().collect(), sets))
    }

    /// Nothing is left to write if nobody has seen it yet.
    fn deletion(&mut self, id: EntityId) -> Result<Option<Draft>, Refusal> {
        match self.drafts.get(&id) {
            Some(draft) if draft.state.is_none() => return Err(Refusal::Deleted),
            Some(draft) if matches!(draft.kind, Kind::Create | Kind::Restore) && self.is_gone(id) => {
                self.drafts.remove(&id);
                self.order.retain(|e| *e != id);
                return Ok(None);
            }
            _ => {}
        }
        let (mut draft, _) = self.whole(id)?;
        if self.is_gone(id) {
            return Err(Refusal::Deleted);
        }
        (draft.kind, draft.state) = (Kind::Delete, None);
        Ok(Some(draft))
    }

    /// Whether nobody sees it alive: unknown, or one tombstone.
    fn is_gone(&self, id: EntityId) -> bool {
        let heads = &self.heads[&id];
        heads.is_empty() || (heads.len() == 1 && self.ledger.merge(heads).1 == 1)
    }

    fn restored(&self, id: EntityId, version: &VersionRef) -> Result<Draft, Refusal> {
        let known =
            self.ledger.get(version).filter(|v| v.version.entity() == id && self.held.contains(version));
        let state = known.and_then(|v| v.state.as_ref()).ok_or(Refusal::Invalid)?;
        let (mut draft, _) = self.whole(id)?;
        draft.kind = Kind::Restore;
        if let Some(now) = &mut draft.state {
            draft.said = now.replace(&state.shown());
        }
        Ok(draft)
    }
}

/// The leaves that a patch sets; they must fit together.
fn one_patch(sets: &[(Path, Value)]) -> Result<Leaves, Refusal> {
    let mut all = Vec::new();
    for (path, value) in sets {
        leaves_at(path.clone(), value, &mut |p, v| all.push((p, v)));
    }
    let clash = |(i, (p, _)): (usize, &(Path, Value))| all[..i].iter().any(|(q, _)| related(p, q));
    if all.iter().enumerate().any(clash) {
        return Err(Refusal::Invalid);
    }
    Ok(all.into_iter().collect())
}

/// The stamp that a commit must carry (I5): that of the wall, the parents', one more over another log's.
pub(crate) fn stamp_over<'a>(
    wall: Timestamp,
    own: &Version,
    parents: impl Iterator<Item = &'a Known>,
) -> Timestamp {
    let after = |p: &Known| {
        let foreign = i64::from(p.version.log() != own.log());
        Timestamp::from_millis(p.version.stamp().as_millis() + foreign).min(Timestamp::MAX)
    };
    parents.map(after).fold(wall, Timestamp::max)
}

/// A version that has just been written, for the ledger.
pub(crate) fn known(ledger: &Ledger, version: Version, draft: Draft) -> Known {
    let mut seen = BTreeSet::from([version.reference()]);
    for parent in &draft.parents {
        seen.extend(&ledger.versions[parent].seen);
    }
    let mut state = draft.state;
    if let Some(state) = &mut state {
        state.written_by((version.stamp(), version.reference()));
        debug_assert!(state.0.values().all(|entries| !entries.contains_key(&OWN)));
    }
    Known { version, entity_type: draft.entity_type, seen, state, said: draft.said }
}
