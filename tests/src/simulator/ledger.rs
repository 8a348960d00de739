//! The ledger: every version that anybody wrote, as its author meant it and saw it. It is kept
//! outside of the nodes, and follows from the [naive model](super::naive) and the meaning of the
//! [policies](super::policy) alone.

use std::collections::{BTreeMap, BTreeSet};

use heirloom::{Content, Entity, EntityId, Error, Kind, Timestamp, Value, Version, VersionRef};

use super::naive::{
    Conflict, Leaves, OWN, Path, Said, State, Writer, is_empty_map, leaves, leaves_at, related,
    removed,
};
use super::policy::{Asked, Choice, Rule, Rules, patched, whim};

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
    /// What of the merge it left out without a word: it was written on what a policy showed.
    pub(crate) dropped: BTreeSet<(Path, Writer)>,
    /// Length of its longest line of parents, itself included.
    pub(crate) generation: u64,
}

impl Known {
    /// Whether it took the place of what another said of a field, which it had seen.
    pub(crate) fn replaces(&self, path: &Path, writer: Writer) -> bool {
        self.said.replaces(path) || self.dropped.contains(&(path.clone(), writer))
    }

    pub(crate) fn writer(&self) -> Writer {
        (self.version.stamp(), self.version.reference())
    }
}

pub(crate) struct Ledger {
    rules: Rules,
    versions: BTreeMap<VersionRef, Known>,
    entities: BTreeMap<EntityId, Vec<VersionRef>>,
    /// What no device holds any more, but for what a backup or an image may bring back.
    lost: BTreeMap<VersionRef, Known>,
}

impl Ledger {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, versions: BTreeMap::new(), entities: BTreeMap::new(), lost: BTreeMap::new() }
    }

    pub(crate) fn rules(&self) -> Rules {
        self.rules
    }
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
        self.lost.remove(&reference);
        self.entities.entry(entity).or_default().push(reference);
        self.versions.insert(reference, known);
    }

    /// Puts aside what was lost with the only device that held it. Nothing else was built on it.
    pub(crate) fn lose(&mut self, lost: &BTreeSet<VersionRef>) {
        let gone = lost.iter().filter_map(|version| self.versions.remove_entry(version));
        self.lost.extend(gone);
        self.entities.values_mut().for_each(|of| of.retain(|version| !lost.contains(version)));
        self.entities.retain(|_, of| !of.is_empty());
    }

    /// What was lost, in the order of writes.
    pub(crate) fn lost(&self) -> Vec<&Known> {
        let mut lost: Vec<&Known> = self.lost.values().collect();
        lost.sort_by_key(|known| known.writer());
        lost
    }

    /// Something of it is there again.
    pub(crate) fn find(&mut self, version: &VersionRef) {
        let found = self.lost.remove(version);
        found.into_iter().for_each(|known| self.add(known));
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Known> {
        self.versions.values()
    }

    /// Versions without a child.
    pub(crate) fn heads(&self, entity: EntityId) -> BTreeSet<VersionRef> {
        let mut heads: BTreeSet<VersionRef> = self.refs(entity).iter().copied().collect();
        for parent in self.of(entity).flat_map(|v| v.version.parents()) {
            heads.remove(parent);
        }
        heads
    }

    /// The versions that all heads have seen, in the order of writes.
    pub(crate) fn common(&self, heads: &BTreeSet<VersionRef>) -> Vec<VersionRef> {
        let seen = heads.iter().map(|h| self.versions[h].seen.clone());
        let common = seen.reduce(|a, b| a.intersection(&b).copied().collect()).unwrap_or_default();
        let mut common: Vec<VersionRef> = common.into_iter().collect();
        common.sort_by_key(|r| self.versions[r].writer());
        common
    }

    /// The merge of the heads that are live, and how many are not.
    pub(crate) fn merge<'a>(
        &self,
        heads: impl IntoIterator<Item = &'a VersionRef>,
    ) -> (State, usize) {
        let heads: Vec<_> = heads.into_iter().map(|h| &self.versions[h]).collect();
        let live: Vec<_> =
            heads.iter().filter_map(|h| Some((h.state.as_ref()?, &h.seen))).collect();
        (State::merge(&live), heads.len() - live.len())
    }

    /// The type of an entity: that of the first creation.
    fn entity_type(&self, heads: &BTreeSet<VersionRef>) -> Option<String> {
        let creations =
            heads.iter().flat_map(|h| &self.versions[h].seen).map(|r| &self.versions[r]);
        let first = creations.filter(|v| v.entity_type.is_some()).min_by_key(|v| v.writer());
        first.and_then(|v| v.entity_type.clone())
    }

    pub(crate) fn rule(&self, heads: &BTreeSet<VersionRef>) -> Rule {
        self.entity_type(heads).map_or(Rule::Auto, |t| self.rules.of(&t))
    }

    /// What is shown of heads, and a write on them starts from; nothing where that is a deletion.
    pub(crate) fn start(&self, heads: &BTreeSet<VersionRef>) -> Option<State> {
        let known = heads.iter().map(|h| &self.versions[h]);
        let rule = self.rule(heads);
        let whole = match rule {
            Rule::LastWriteWins => known.max_by_key(|k| k.writer()),
            Rule::FirstWriteWins => known.min_by_key(|k| k.writer()),
            Rule::HigherVersionWins => known.max_by_key(|k| (k.generation, k.writer())),
            _ => None,
        };
        if let Some(head) = whole {
            return head.state.clone();
        }
        let (merged, tombstones) = self.merge(heads);
        if tombstones == heads.len() {
            return None;
        }
        match rule {
            Rule::UpdateWins => Some(merged),
            Rule::Custom => {
                let open = merged.conflicts();
                if open.is_empty() && tombstones == 0 {
                    return Some(merged);
                }
                let fields = open.into_iter().map(|(p, _)| (p.clone(), merged.sides(&p))).collect();
                let choice = whim(&Asked { heads: heads.clone(), fields });
                chosen(self, merged, tombstones, choice)
            }
            _ => (tombstones == 0).then_some(merged),
        }
    }

    /// What the heads show, and what is open between them.
    pub(crate) fn view(&self, heads: &BTreeSet<VersionRef>) -> Shown {
        let (state, tombstones) = self.merge(heads);
        Shown {
            entity_type: self.entity_type(heads),
            content: self.start(heads).map(|state| state.shown()),
            conflicts: state.conflicts(),
            deletion: tombstones > 0 && tombstones < heads.len(),
            heads: heads.clone(),
        }
    }
}

/// What a choice makes of a conflict between heads as a whole; nothing for a deletion.
fn chosen(ledger: &Ledger, merged: State, tombstones: usize, choice: Choice) -> Option<State> {
    let leaves = match choice {
        Choice::Suggestion => return (tombstones == 0).then_some(merged),
        Choice::Delete => return None,
        Choice::Content(content) => leaves(&content),
        Choice::Patch { unsets, sets } => patched(merged.shown(), &unsets, &sets),
        Choice::Head(version) => ledger.versions[&version].state.as_ref()?.shown(),
    };
    let mut state = merged;
    state.replace(&leaves);
    Some(state)
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
    /// A person decides, having looked at these heads; it may be long ago.
    Resolve {
        id: EntityId,
        seen: Vec<VersionRef>,
        choice: Choice,
    },
    /// What follows is meant for these heads.
    Expect {
        id: EntityId,
        heads: Vec<VersionRef>,
    },
}

impl Op {
    pub(crate) fn entity(&self) -> EntityId {
        match self {
            Op::Put { form, .. } => form.id(),
            Op::Create { id, .. }
            | Op::Patch { id, .. }
            | Op::Delete { id }
            | Op::Restore { id, .. }
            | Op::Resolve { id, .. }
            | Op::Expect { id, .. } => *id,
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
            Error::Exists { .. } => Refusal::Exists,
            Error::Stale { .. } => Refusal::Conflict,
            Error::Invalid(_)
            | Error::AlreadyChanged(_)
            | Error::NotAHead { .. }
            | Error::NotOfEntity { .. }
            | Error::Tombstone(_) => Refusal::Invalid,
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
    dropped: BTreeSet<(Path, Writer)>,
    /// It joins its parents, whatever else it does.
    joins: bool,
}

impl Draft {
    fn is_written(&self) -> bool {
        let joins = self.joins && self.parents.len() > 1;
        self.kind != Kind::Update || joins || self.state.as_ref() != Some(&self.base)
    }

    fn replace(&mut self, leaves: &Leaves) {
        if let Some(state) = &mut self.state {
            self.said.add(state.replace(leaves));
        }
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
            Op::Resolve { seen, choice, .. } => match self.resolved(id, seen, choice)? {
                Some(draft) => draft,
                None => return Ok(()),
            },
            Op::Expect { heads, .. } => return self.expect(id, heads),
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
            dropped: BTreeSet::new(),
            joins: false,
        };
        draft.patch(&[], &leaves(content));
        draft
    }

    /// A write on what is not deleted.
    fn open(&self, id: EntityId) -> Result<Draft, Refusal> {
        if let Some(draft) = self.drafts.get(&id) {
            return if draft.state.is_some() { Ok(draft.clone()) } else { Err(Refusal::Deleted) };
        }
        let (mut draft, _) = self.whole(id)?;
        let start = self.ledger.start(&draft.parents).ok_or(Refusal::Deleted)?;
        draft.dropped = start.lacks(&draft.base);
        draft.base = start.clone();
        draft.state = Some(start);
        Ok(draft)
    }

    /// A write on the merge, whatever is shown of it.
    fn whole(&self, id: EntityId) -> Result<(Draft, usize), Refusal> {
        let parents = self.heads[&id].clone();
        if parents.is_empty() {
            return Err(Refusal::NotFound);
        }
        let (base, tombstones) = self.ledger.merge(&parents);
        let draft = Draft {
            kind: Kind::Update,
            entity_type: None,
            parents,
            state: Some(base.clone()),
            base,
            said: Said::default(),
            dropped: BTreeSet::new(),
            joins: false,
        };
        Ok((draft, tombstones))
    }

    /// Only what the caller changed, unless somebody else changed it, too.
    fn put(&self, form: &Entity, content: &Content) -> Result<(Vec<Path>, Leaves), Refusal> {
        let (old, new) = (leaves(&form.content()), leaves(content));
        let now = self.shown(form.id()).ok_or(Refusal::Conflict)?;
        let differs = |p: &&Path, a: &Leaves, b: &Leaves| a.get(*p) != b.get(*p);
        // a map that the caller emptied stays, empty, while it stands
        let stands = |p: &Path| now.keys().any(|n| n.starts_with(p));
        let emptied = |p: &Path, v: &Value| {
            is_empty_map(v) && old.keys().any(|o| o != p && o.starts_with(p)) && stands(p)
        };
        let changed = new.iter().filter(|(p, v)| old.get(*p) != Some(v) && !emptied(p, v));
        let sets: Leaves = changed.map(|(p, v)| (p.clone(), v.clone())).collect();
        let gone = removed(old.keys(), &new);
        let theirs = old.keys().chain(now.keys()).filter(|p| differs(p, &old, &now));
        for p in theirs.filter(|p| differs(p, &new, &now)) {
            if sets.keys().chain(&gone).any(|q| related(p, q)) {
                return Err(Refusal::Conflict);
            }
        }
        let gone = gone.into_iter().filter(|p| !sets.keys().any(|s| related(s, p)));
        Ok((gone.collect(), sets))
    }

    /// Nothing is left to write if nobody has seen it yet.
    fn deletion(&mut self, id: EntityId) -> Result<Option<Draft>, Refusal> {
        match self.drafts.get(&id) {
            Some(draft) if draft.state.is_none() => return Err(Refusal::Deleted),
            Some(draft)
                if matches!(draft.kind, Kind::Create | Kind::Restore) && self.is_gone(id) =>
            {
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
        let known = self
            .ledger
            .get(version)
            .filter(|v| v.version.entity() == id && self.held.contains(version));
        let state = known.and_then(|v| v.state.as_ref()).ok_or(Refusal::Invalid)?;
        let (mut draft, _) = self.whole(id)?;
        draft.kind = Kind::Restore;
        draft.replace(&state.shown());
        Ok(draft)
    }

    fn expect(&self, id: EntityId, heads: &[VersionRef]) -> Result<(), Refusal> {
        let now = &self.heads[&id];
        if now.is_empty() {
            return Err(Refusal::NotFound);
        }
        if *now == heads.iter().copied().collect() { Ok(()) } else { Err(Refusal::Conflict) }
    }

    /// Decides what it names, over the merge.
    fn resolved(
        &mut self,
        id: EntityId,
        seen: &[VersionRef],
        choice: &Choice,
    ) -> Result<Option<Draft>, Refusal> {
        self.expect(id, seen)?;
        if self.drafts.contains_key(&id) {
            return Err(Refusal::Invalid);
        }
        let (mut draft, tombstones) = self.whole(id)?;
        if tombstones == draft.parents.len() {
            return Err(Refusal::Deleted);
        }
        draft.joins = true;
        match choice {
            Choice::Delete => return self.deletion(id),
            Choice::Suggestion if tombstones > 0 => return self.deletion(id),
            Choice::Suggestion => {
                let open: BTreeSet<Path> =
                    draft.base.conflicts().into_iter().map(|(p, _)| p).collect();
                let mut shown = draft.base.shown();
                let torn = draft.base.torn().into_iter().filter(|top| !shown.contains_key(top));
                let gone: Vec<Path> = torn.collect();
                shown.retain(|p, _| open.contains(p));
                draft.patch(&gone, &shown);
            }
            Choice::Patch { unsets, sets } => draft.patch(unsets, &one_patch(sets)?),
            Choice::Content(content) => draft.replace(&leaves(content)),
            Choice::Head(version) => {
                let head = draft.parents.get(version).ok_or(Refusal::Invalid)?;
                match &self.ledger.versions[head].state {
                    Some(state) => draft.replace(&state.shown()),
                    None => return self.deletion(id),
                }
            }
        }
        Ok(Some(draft))
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

/// The stamp that a commit must carry (I5): that of the wall, the parents', one more over another
/// line's. `line`: what lies before it in its own.
pub(crate) fn stamp_over<'a>(
    wall: Timestamp,
    line: &BTreeSet<VersionRef>,
    parents: impl Iterator<Item = &'a Known>,
) -> Timestamp {
    let after = |p: &Known| {
        let foreign = i64::from(!line.contains(&p.version.reference()));
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
    let above = draft.parents.iter().map(|p| ledger.versions[p].generation).max();
    Known {
        version,
        entity_type: draft.entity_type,
        seen,
        state,
        said: draft.said,
        dropped: draft.dropped,
        generation: above.unwrap_or(0) + 1,
    }
}
