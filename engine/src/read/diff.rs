//! What differs between two points, entity by entity and field by field (R11, R24).

use std::cmp::Ordering;
use std::collections::BTreeSet;

use heirloom_core::fold::Heads;
use heirloom_core::format::value::{decode_all, flatten_content};
use heirloom_core::model::{Content, EntityId, Line, Patch, Path, Value};

use super::as_of::{Extent, Past, Point};
use super::entity::{Entity, entity_of};
use super::snapshot::Snapshot;
use crate::error::{Error, Result, Table};
use crate::store::View;

impl Snapshot {
    /// What differs between two points, entity by entity, in order of their ids. Applied to what
    /// was shown at the first, all of it gives what was shown at the second.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Patch, Point};
    /// # let engine = Engine::in_memory()?;
    /// let desk = Content::new().with("name", "desk").with("brightness", 40);
    /// let lamp = engine.write(|tx| tx.create("lamp", &desk))?;
    /// let before = engine.clock()?;
    /// engine.write(|tx| tx.patch(lamp, Patch::new().set("brightness", 80)))?;
    ///
    /// let snapshot = engine.snapshot()?;
    /// let found: Vec<_> =
    ///     snapshot.diff(&before, Point::Now)?.of_type("lamp").collect::<Result<_, _>>()?;
    /// let fields = found[0].fields()?;
    /// assert_eq!((found.len(), fields.len()), (1, 1));
    /// assert_eq!(fields[0].path, ["brightness"]);
    /// assert_eq!((&fields[0].before, &fields[0].after), (&Some(40.into()), &Some(80.into())));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// # Costs
    /// Between clocks and arrival positions a look at each commit that lies on one side only, and
    /// for each entity that these changed a walk over its later versions; 16 bytes of memory for
    /// each such entity. Where a point is a time, a look at the heads of each entity that there is,
    /// and such a walk for those that changed after it.
    ///
    /// # Errors
    /// As for [`as_of`](Self::as_of). The items are [`Error::Absent`] where a content is not here.
    pub fn diff(&self, from: impl Into<Point>, to: impl Into<Point>) -> Result<Diff<'_>> {
        let (from, to) = (self.as_of(from)?, self.as_of(to)?);
        let ids: Ids<'_> = match touched(&self.view(), &from.seen, &to.seen)? {
            Some(ids) => Box::new(ids.into_iter().map(Ok)),
            None => Box::new(self.entity_ids()?),
        };
        Ok(Diff { from, to, ids, entity_type: None })
    }
}

type Ids<'a> = Box<dyn Iterator<Item = Result<EntityId>> + 'a>;

/// Entities with a version on one side only; nothing where that cannot be told by place.
fn touched(view: &View<'_>, from: &Extent, to: &Extent) -> Result<Option<BTreeSet<EntityId>>> {
    let (Extent::Upto(from), Extent::Upto(to)) = (from, to) else { return Ok(None) };
    let mut out = BTreeSet::new();
    let logs: BTreeSet<Line> = from.lines().chain(to.lines()).collect();
    for line in logs {
        let (a, b) = (from.upto(line), to.upto(line));
        let mut sequence = a.max(b);
        while sequence > a.min(b) {
            let Some(record) = view.commit_on(line, sequence)? else { break };
            let versions = record.header.versions.iter().enumerate();
            out.extend(
                versions.filter(|(i, _)| record.void_of(*i).is_none()).map(|(_, v)| v.entity),
            );
            sequence = record.header.before();
        }
    }
    Ok(Some(out))
}

/// The differences between two points, read one by one.
#[must_use = "nothing is compared until the differences are read"]
pub struct Diff<'a> {
    from: Past<'a>,
    to: Past<'a>,
    ids: Ids<'a>,
    entity_type: Option<String>,
}

impl Diff<'_> {
    /// Only entities of this type. Contents of others are not read.
    pub fn of_type(mut self, entity_type: &str) -> Self {
        self.entity_type = Some(entity_type.to_owned());
        self
    }

    fn compare(&self, entity: EntityId) -> Result<Option<Difference>> {
        let view = self.from.snapshot.view();
        let now = view.heads(entity)?;
        let (before, after) = (self.from.heads_of(&now)?, self.to.heads_of(&now)?);
        let refs =
            |heads: &Heads| heads.list.iter().map(|h| h.writer.reference).collect::<Vec<_>>();
        if refs(&before) == refs(&after) {
            return Ok(None);
        }
        let type_number = after.type_number().or(before.type_number());
        let type_number =
            type_number.ok_or_else(|| Error::corrupt(Table::Types, entity, "an unknown type"))?;
        let entity_type = view.entity_type(type_number)?;
        if self.entity_type.as_ref().is_some_and(|wanted| **wanted != *entity_type) {
            return Ok(None);
        }
        let shown = |heads: &Heads| -> Result<Option<Content>> {
            let entity = entity_of(&self.from.snapshot.origin(), &view, entity, heads)?;
            Ok(entity.filter(|e| !e.is_deleted()).map(|e: Entity| e.content()))
        };
        let (before, after) = (shown(&before)?, shown(&after)?);
        let same = before == after;
        Ok((!same).then(|| Difference {
            entity,
            entity_type: (&*entity_type).into(),
            before,
            after,
        }))
    }
}

impl Iterator for Diff<'_> {
    type Item = Result<Difference>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let id = self.ids.next()?;
            if let Some(found) = id.and_then(|id| self.compare(id)).transpose() {
                return Some(found);
            }
        }
    }
}

/// How an entity differs between two points.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The entity.
    pub entity: EntityId,
    /// Its type.
    pub entity_type: String,
    /// What was shown of it before; nothing where it was unknown or deleted.
    pub before: Option<Content>,
    /// What is shown of it after.
    pub after: Option<Content>,
}

/// How a field differs.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct FieldDifference {
    /// The keys that lead to it.
    pub path: Vec<String>,
    /// Its value before; nothing where it was not there.
    pub before: Option<Value>,
    /// Its value after.
    pub after: Option<Value>,
}

impl Difference {
    /// The leaves that differ, in order of their paths: a field of a nested map counts for itself.
    /// An entity that appears or goes shows all its fields; none differ where an empty one does.
    pub fn fields(&self) -> Result<Vec<FieldDifference>> {
        let (before, after) = (leaves(self.before.as_ref())?, leaves(self.after.as_ref())?);
        let (mut a, mut b) = (before.iter().peekable(), after.iter().peekable());
        let mut out = Vec::new();
        loop {
            let order = match (a.peek(), b.peek()) {
                (None, None) => return Ok(out),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((p, _)), Some((q, _))) => p.cmp(q),
            };
            let old = if order.is_le() { a.next() } else { None };
            let new = if order.is_ge() { b.next() } else { None };
            if let Some((path, _)) = old.or(new).filter(|_| old != new) {
                let value =
                    |leaf: Option<&(Path, Vec<u8>)>| leaf.map(|(_, v)| decode_all(v)).transpose();
                let unreadable = |e| Error::corrupt(Table::Heads, self.entity, e);
                out.push(FieldDifference {
                    path: path.as_ref().keys().map(str::to_owned).collect(),
                    before: value(old).map_err(unreadable)?,
                    after: value(new).map_err(unreadable)?,
                });
            }
        }
    }

    /// The patch from what was shown before to what is shown after, each nothing where the entity
    /// was not there. Of two contents [`diff`](crate::diff()) gives it.
    /// ```
    /// # use heirloom::{Content, Engine, Patch, Point};
    /// # let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("brightness", 40)))?;
    /// let before = engine.clock()?;
    /// engine.write(|tx| tx.patch(lamp, Patch::new().set("brightness", 80)))?;
    /// let snapshot = engine.snapshot()?;
    /// // undo all that happened since
    /// let back = snapshot.diff(Point::Now, &before)?.collect::<Result<Vec<_>, _>>()?;
    /// engine.write(|tx| back.iter().try_for_each(|d| tx.patch(d.entity, d.patch()?)))?;
    /// assert_eq!(engine.snapshot()?.get(lamp)?.unwrap().get("brightness")?, Some(40.into()));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn patch(&self) -> Result<Patch> {
        let nothing = Content::new();
        let (before, after) = (self.before.as_ref(), self.after.as_ref());
        Ok(heirloom_core::merge::diff(before.unwrap_or(&nothing), after.unwrap_or(&nothing))?)
    }
}

fn leaves(content: Option<&Content>) -> Result<Vec<(Path, Vec<u8>)>> {
    Ok(content.map_or_else(|| Ok(Vec::new()), flatten_content)?)
}
