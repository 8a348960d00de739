//! The change log, read: an iterator from a cursor on.

use super::change::Change;
use super::cursor::Cursor;
use super::scan::{Pass, Scan};
use crate::engine::Engine;
use crate::error::Result;

/// The change log from a cursor on: an iterator over what is durable, in the order of arrival.
/// Versions that are void and commits of a newer format have no effect and are left out.
///
/// It is not fused: at the end it gives nothing, and more once more is there. After an error it
/// stands in front of the place that it could not read and tries that again;
/// [`pass_damaged`](Self::pass_damaged) leads on. Between two changes it holds no state of the
/// store: scan as long as you like, the file does not grow for it.
#[must_use = "a scan does nothing until it is read"]
pub struct Changes {
    engine: Engine,
    scan: Scan,
}

impl Changes {
    /// Where to go on: past all that was given or left out.
    pub fn cursor(&self) -> Cursor {
        self.scan.cursor
    }

    /// Moves past the commit that it could not read because its record is damaged
    /// ([`Error::Corrupt`](crate::Error::Corrupt) in table `log`). Its changes are not told, then:
    /// a peer may bring it back, but nobody is told of that. False, and nothing moves, where the
    /// next commit is not damaged.
    pub fn pass_damaged(&mut self) -> Result<bool> {
        self.scan.pass_damaged(&self.engine)
    }

    /// Only what peers may hear of.
    pub(crate) fn shared(mut self) -> Self {
        self.scan.filter.shared = true;
        self
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.scan.step(&self.engine) {
                Ok(Pass::Found(change)) => return Some(Ok(change)),
                Ok(Pass::More) => {}
                Ok(Pass::End) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

/// Choices that scans and subscriptions share. Several narrow it down together.
macro_rules! filters {
    ($type:ty) => {
        impl $type {
            /// Only of entities that are of this type now, and the change by which one became of
            /// this type here or ceased to be
            /// ([`Change::type_before`](crate::Change::type_before)).
            pub fn of_type(mut self, entity_type: impl Into<String>) -> Self {
                self.scan.filter.entity_type = Some(entity_type.into().into());
                self
            }

            /// Only of this entity. It still passes every commit: the past of one entity is quicker
            /// through [`Snapshot::history`](crate::Snapshot::history).
            pub fn entity(mut self, id: heirloom_core::model::EntityId) -> Self {
                self.scan.filter.entity = Some(id);
                self
            }

            /// Only what was written through this file
            /// ([`Change::is_local`](crate::Change::is_local)); takes back `remote`.
            pub fn local(mut self) -> Self {
                self.scan.filter.local = Some(true);
                self
            }

            /// Only what was not written through this file; takes back `local`.
            pub fn remote(mut self) -> Self {
                self.scan.filter.local = Some(false);
                self
            }

            /// Only what enters, leaves or changes within a selection: what this store showed of
            /// the entity is in it before the change came or after it
            /// ([`shown_before`](crate::Change::shown_before),
            /// [`shown_after`](crate::Change::shown_after)), so also what enters or leaves by the
            /// merge of versions that are not in it. With [`of_type`](Self::of_type) only entities
            /// of that type are in it. For a live query.
            ///
            /// Costs a read of both contents for each change that all else lets through, and, where
            /// an entity is met for the first time, a look at each version of it that came since.
            /// Where one cannot be shown, because it is not here, is damaged, or its policy failed,
            /// the change is given: the two methods say why. What a peer brings back of that later
            /// is no change and is not told.
            pub fn matching(
                mut self,
                select: impl Fn(&$crate::read::Entity) -> bool + Send + Sync + 'static,
            ) -> Self {
                self.scan.filter.matching = Some(std::sync::Arc::new(select));
                self
            }

            /// Only what lies in this log.
            pub fn by(mut self, log: heirloom_core::model::LogId) -> Self {
                self.scan.filter.log = Some(log);
                self
            }
        }
    };
}
pub(crate) use filters;

filters!(Changes);

impl Engine {
    /// The end of the change log: past all that is durable now. Reads one commit.
    pub fn cursor(&self) -> Result<Cursor> {
        self.store().catch_up()?;
        let durable = self.store().durable();
        let tables = self.store().tables()?;
        Cursor::end(&self.store().view(&tables), durable)
    }

    /// All changes after a cursor, oldest first. Costs a look at each commit, and one at the
    /// entity for each change.
    ///
    /// A cursor of another file, or one that this file, an older copy, has not reached, is
    /// [`Error::CursorLost`](crate::Error::CursorLost) with the first change.
    ///
    /// ```
    /// use heirloom::{ChangeKind, Content, Cursor, Engine, Patch};
    /// let engine = Engine::in_memory()?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("on", false)))?;
    /// engine.write(|tx| tx.patch(lamp, Patch::new().set("on", true)))?;
    ///
    /// let mut changes = engine.changes(Cursor::START).of_type("lamp");
    /// let created = changes.next().unwrap()?;
    /// let switched = changes.next().unwrap()?;
    /// assert_eq!((created.kind(), switched.kind()), (ChangeKind::Create, ChangeKind::Update));
    /// assert_eq!(switched.before()?.unwrap().get("on")?, Some(false.into()));
    /// assert_eq!(switched.after()?.unwrap().get("on")?, Some(true.into()));
    /// assert!(changes.next().is_none());
    ///
    /// // keep the cursor, and go on from it another day
    /// let cursor = changes.cursor();
    /// engine.write(|tx| tx.delete(lamp))?;
    /// assert_eq!(engine.changes(cursor).next().unwrap()?.kind(), ChangeKind::Delete);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn changes(&self, from: Cursor) -> Changes {
        Changes { engine: self.clone(), scan: Scan::new(from) }
    }
}
