//! What is open: conflicts one by one, all of them, and those that await a person.

use std::collections::{BinaryHeap, HashMap};
use std::ops::Bound;

use heirloom_core::fold::Heads;
use heirloom_core::merge::{Conflict, Policy, conflicts};
use heirloom_core::model::EntityId;

use super::snapshot::{Snapshot, entity_id};
use super::version::Version;
use crate::error::{Error, Result, Table};
use crate::store::View;

impl Snapshot {
    /// The conflict that an entity is in, if it is in one. Costs distinct leaves ×
    /// heads.
    ///
    /// [`Error::Absent`] where the content of a head is not here.
    pub fn conflict(&self, id: EntityId) -> Result<Option<Conflict>> {
        let view = self.view();
        conflict_in(&view, id, &*view.heads(id)?)
    }

    /// All conflicts that are open, in order of the entities' ids, whatever their types' policies
    ///. Costs a look at each entity that is diverged or has undecided fields, and at no
    /// other.
    ///
    /// ```
    /// # let engine = heirloom::Engine::in_memory()?;
    /// let snapshot = engine.snapshot()?;
    /// for conflict in snapshot.conflicts().of_type("lamp").limit(10) {
    ///     let conflict = conflict?;
    ///     println!("{}: {:?}", conflict.entity, conflict.kind);
    ///     for field in &conflict.fields {
    ///         for side in &field.sides {
    ///             println!("  {} said {:?} at {}", side.device, side.value, side.stamp);
    ///         }
    ///     }
    /// }
    /// assert_eq!(snapshot.conflicts().count()?, 0);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn conflicts(&self) -> Conflicts<'_> {
        Conflicts {
            snapshot: self,
            entity_type: None,
            after: None,
            limit: usize::MAX,
            manual: false,
        }
    }

    /// The conflicts that await a person: those of types under [`Policy::Manual`]. They stay
    /// here over restarts until somebody, here or elsewhere, decides with
    /// [`Transaction::resolve`](crate::Transaction::resolve) or by writing the open fields. The
    /// options of each are its sides and its heads.
    pub fn queue(&self) -> Conflicts<'_> {
        Conflicts { manual: true, ..self.conflicts() }
    }

    /// The newest version that all heads of an entity have in their past (of stamps at the
    /// last moment of the year 9999 none is the newest); nothing if they have none in common, as
    /// two creations have not. Of a settled entity its only head. Costs a look at each version
    /// between the heads and it; its content, while it is kept, is told by
    /// [`content_at`](Self::content_at).
    pub fn common_ancestor(&self, id: EntityId) -> Result<Option<Version>> {
        let view = self.view();
        let heads = view.heads(id)?;
        // children come after their parents in the order of writes, so whoever has all heads above
        // it when its turn comes is the newest such
        let mut todo = BinaryHeap::new();
        let mut below: HashMap<_, Vec<usize>> = HashMap::new();
        for (i, head) in heads.list.iter().enumerate() {
            let dot = (head.writer.line, head.writer.reference.sequence);
            below.insert(dot, vec![i]);
            todo.push((head.writer.key(), dot));
        }
        while let Some((_, dot)) = todo.pop() {
            let Some(from) = below.get(&dot).cloned() else { continue };
            let missing = || {
                Error::corrupt(Table::Log, format!("{}/{}", dot.0, dot.1), "a version is missing")
            };
            let at = view.version(dot)?.ok_or_else(missing)?;
            if from.len() == heads.list.len() {
                return Version::new(&view, &at, &view.parents(&at)?).map(Some);
            }
            for parent in view.parents(&at)? {
                let known = below.entry(parent).or_default();
                let before = known.len();
                from.iter().for_each(|h| {
                    if !known.contains(h) {
                        known.push(*h)
                    }
                });
                if known.len() > before {
                    let at = view.version(parent)?.ok_or_else(missing)?;
                    todo.push((at.writer.key(), parent));
                }
            }
        }
        Ok(None)
    }
}

fn conflict_in(view: &View<'_>, id: EntityId, heads: &Heads) -> Result<Option<Conflict>> {
    let tombstones = heads.list.iter().filter(|h| h.is_tombstone()).count();
    let live = heads.list.len() - tombstones;
    if !heads.unsettled || live == 0 {
        return Ok(None);
    }
    let merged = view.merged(id, &heads.list)?;
    let open = conflicts(&merged, live, tombstones);
    if open.is_empty() {
        return Ok(None);
    }
    view.conflict_of(id, &heads.list, &merged, &open).map(Some)
}

/// Conflicts, to be narrowed down and then read.
#[derive(Clone)]
#[must_use = "this does nothing until it is read"]
pub struct Conflicts<'a> {
    snapshot: &'a Snapshot,
    entity_type: Option<String>,
    after: Option<EntityId>,
    limit: usize,
    manual: bool,
}

impl<'a> Conflicts<'a> {
    /// Only of this entity type.
    pub fn of_type(mut self, entity_type: &str) -> Self {
        self.entity_type = Some(entity_type.to_owned());
        self
    }

    /// Only of entities whose ids come after this one: the next page.
    pub fn after(mut self, id: EntityId) -> Self {
        self.after = Some(id);
        self
    }

    /// At most so many.
    pub fn limit(mut self, most: usize) -> Self {
        self.limit = most;
        self
    }

    /// How many there are. Costs what reading them costs.
    pub fn count(self) -> Result<u64> {
        let mut count = 0;
        for conflict in self {
            conflict?;
            count += 1;
        }
        Ok(count)
    }

    fn read(self) -> Result<impl Iterator<Item = Result<Conflict>> + 'a> {
        let snapshot = self.snapshot;
        let after = self.after.map_or(Bound::Unbounded, |id| Bound::Excluded(*id.as_bytes()));
        let bounds = (after.as_ref().map(|id| &id[..]), Bound::Unbounded);
        let rows = snapshot.tables.unsettled.range::<&[u8]>(bounds)?;
        let limit = self.limit;
        let conflicts = rows.filter_map(move |row| {
            let read = || self.conflict_of(entity_id(Table::Unsettled, row?.0.value())?);
            read().transpose()
        });
        Ok(conflicts.take(limit))
    }

    fn conflict_of(&self, id: EntityId) -> Result<Option<Conflict>> {
        let view = self.snapshot.view();
        let heads = view.heads(id)?;
        let entity_type = view.type_of(&heads)?.unwrap_or_default();
        let of_type = self.entity_type.as_deref().is_none_or(|t| t == &*entity_type);
        let awaits = !self.manual || *view.policies.of(&entity_type) == Policy::Manual;
        if of_type && awaits { conflict_in(&view, id, &heads) } else { Ok(None) }
    }
}

impl<'a> IntoIterator for Conflicts<'a> {
    type Item = Result<Conflict>;
    type IntoIter = Box<dyn Iterator<Item = Result<Conflict>> + 'a>;

    /// Reads them one by one.
    fn into_iter(self) -> Self::IntoIter {
        match self.read() {
            Ok(conflicts) => Box::new(conflicts),
            Err(e) => Box::new(std::iter::once(Err(e))),
        }
    }
}
