//! How everything was at some point: the fold of a part of the logs (R11).

use std::sync::Arc;

use heirloom_core::fold::Heads;
use heirloom_core::model::{Clock, CommitRef, EntityId, Lsn, Timestamp};

use super::entity::{Entity, entity_of};
use super::snapshot::Snapshot;
use super::version::Version;
use crate::error::{Error, Result};
use crate::store::{LogCut, Part, clock_at};

/// A point in the past of a store, or of all stores.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Point {
    /// When somebody had seen exactly this. The same on all replicas that have it, for ever.
    Clock(Clock),
    /// All versions that were written then or before, as the clocks of their writers had it
    /// ([`Version::wall`]). The same on replicas with equal logs; but what another device wrote by
    /// then and sends later joins it, so the answer for yesterday may still change tomorrow.
    ///
    /// What was written by a clock that was ahead is there from that time on, or from when somebody
    /// whose clock was right wrote on top of it: that version holds what it was written on.
    Time(Timestamp),
    /// When so many commits had arrived here: see [`Snapshot::commits`]. Means something only to
    /// this store.
    Lsn(Lsn),
    /// All that the snapshot has.
    Now,
}

impl From<Clock> for Point {
    fn from(clock: Clock) -> Self {
        Self::Clock(clock)
    }
}

impl From<&Clock> for Point {
    fn from(clock: &Clock) -> Self {
        Self::Clock(clock.clone())
    }
}

impl From<Timestamp> for Point {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl Snapshot {
    /// Everything as it was at a point: as of a clock, a time, or an arrival position.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Patch, Point};
    /// # let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("brightness", 40)))?;
    /// let (clock, commits) = (engine.clock()?, engine.snapshot()?.commits()?);
    /// engine.write(|tx| tx.delete(lamp))?;
    ///
    /// let snapshot = engine.snapshot()?;
    /// assert!(snapshot.get(lamp)?.is_none());
    /// for then in [Point::from(clock), Point::Lsn(commits.into())] {
    ///     let was = snapshot.as_of(then)?.get(lamp)?.unwrap();
    ///     assert_eq!(was.get("brightness")?, Some(40.into()));
    /// }
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// # Costs
    /// As of a time nothing. As of an arrival position a look-up a log, and for a log that went on
    /// since, one for each halving of it. As of a clock a look at each of its commits that is not
    /// in a clock that was asked for lately.
    ///
    /// # Errors
    /// [`Error::Clock`] if a clock names a place that is no end of a commit here, or is not
    /// causally closed; [`Error::NotArrived`] if fewer commits are here than [`Point::Lsn`] says.
    pub fn as_of(&self, point: impl Into<Point>) -> Result<Past<'_>> {
        Past::new(self, point.into())
    }

    /// What had been seen when this commit was written, itself included. Costs a look at each
    /// commit in it.
    pub fn clock_at(&self, commit: &CommitRef) -> Result<Clock> {
        clock_at(&self.view(), commit)
    }
}

/// Everything as it was at a point.
///
/// An entity that has not changed since costs one look at the row of its heads; of another each
/// later version is looked at once more.
pub struct Past<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) seen: Extent,
}

/// Which versions there were.
#[derive(Clone)]
pub(crate) enum Extent {
    Upto(Arc<LogCut>),
    Written(u64),
}

impl<'a> Past<'a> {
    fn new(snapshot: &'a Snapshot, point: Point) -> Result<Self> {
        let view = snapshot.view();
        let seen = match point {
            Point::Clock(clock) => {
                let cut = LogCut::of(&view, &clock)?;
                Extent::Upto(snapshot.engine.inner.closed_cuts.check(&view, cut)?)
            }
            Point::Time(time) => match u64::try_from(time.as_millis()) {
                Ok(time) => Extent::Written(time),
                // no commit is older than 1970
                Err(_) => Extent::Upto(Arc::default()),
            },
            Point::Lsn(end) => {
                let here = snapshot.tables.end()?;
                if end > here {
                    return Err(Error::NotArrived { asked: end, here });
                }
                Extent::Upto(Arc::new(LogCut::arrived(&view, end)?))
            }
            Point::Now => Extent::Upto(Arc::new(LogCut::arrived(&view, Lsn::END)?)),
        };
        Ok(Self { snapshot, seen })
    }

    /// The heads that an entity had, given those that it has now.
    pub(crate) fn heads_of(&self, now: &Heads) -> Result<Heads> {
        let view = self.snapshot.view();
        match &self.seen {
            Extent::Upto(cut) => view.heads_in(now, &Part::Upto(&|o| cut.upto(o))),
            Extent::Written(time) => view.heads_in(now, &Part::Written(*time)),
        }
    }

    fn heads_by_id(&self, id: EntityId) -> Result<Heads> {
        self.heads_of(&*self.snapshot.view().heads(id)?)
    }

    /// An entity as it was shown; nothing if it was unknown or deleted.
    ///
    /// [`Error::Absent`] where the content is not here.
    pub fn get(&self, id: EntityId) -> Result<Option<Entity>> {
        let entity =
            entity_of(&self.snapshot.origin(), &self.snapshot.view(), id, &self.heads_by_id(id)?)?;
        Ok(entity.filter(|e| !e.is_deleted()))
    }

    /// The heads that an entity had.
    pub fn heads(&self, id: EntityId) -> Result<Vec<Version>> {
        self.heads_by_id(id)?
            .list
            .iter()
            .map(|h| self.snapshot.version(&h.writer.reference))
            .collect()
    }

    /// The entities of a type that were there, in order of their ids. Costs a look at all entities
    /// that there are now.
    pub fn list(
        &self,
        entity_type: &str,
    ) -> Result<impl Iterator<Item = Result<Entity>> + use<'_, 'a>> {
        let found = self.of_type(entity_type)?.map(|found| {
            let (id, heads) = found?;
            entity_of(&self.snapshot.origin(), &self.snapshot.view(), id, &heads)
        });
        Ok(found.filter_map(|entity| entity.map(|e| e.filter(|e| !e.is_deleted())).transpose()))
    }

    /// How many entities of a type were there. Costs a look at the heads of all entities that there
    /// are now, at no content but of those that were diverged then.
    pub fn count(&self, entity_type: &str) -> Result<u64> {
        let mut count = 0;
        for found in self.of_type(entity_type)? {
            let (id, heads) = found?;
            let shown = match &heads.list[..] {
                [only] => !only.is_tombstone(),
                _ => entity_of(&self.snapshot.origin(), &self.snapshot.view(), id, &heads)?
                    .is_some_and(|e| !e.is_deleted()),
            };
            count += u64::from(shown);
        }
        Ok(count)
    }

    /// Ids and heads of the entities that were of a type, deleted ones too.
    fn of_type(
        &self,
        entity_type: &str,
    ) -> Result<impl Iterator<Item = Result<(EntityId, Heads)>> + use<'_, 'a>> {
        let wanted = self.snapshot.view().type_number(entity_type)?;
        let found = self.snapshot.entity_ids()?.map(|id| {
            let id = id?;
            Ok((id, self.heads_by_id(id)?))
        });
        let fits = move |heads: &Heads| wanted.is_some() && heads.type_number() == wanted;
        Ok(found.filter(move |found| found.as_ref().map_or(true, |(_, heads)| fits(heads))))
    }
}
