//! Types whose entities never leave the store: settings of this device, drafts, what only this
//! screen remembers.

use heirloom_core::fold::Planned;

use crate::builder::Builder;
use crate::engine::Engine;

impl Builder {
    /// Entities that this store creates under this type stay here: no sync ever sends them, no peer
    /// ever hears of them. All else is as with others: versions, history, deletion, listing,
    /// snapshots, and transactions over them together with entities that travel, durable at once or
    /// not at all.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Lsn, Patch};
    /// let phone = Engine::builder().dataset_name("home").local_type("draft").in_memory()?;
    /// let draft = phone.write(|tx| {
    ///     tx.create("lamp", &Content::new().with("name", "desk"))?;
    ///     tx.create("draft", &Content::new().with("name", "hall"))
    /// })?;
    ///
    /// let hub = Engine::builder().dataset_name("home").in_memory()?;
    /// let sent = phone.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)?;
    /// hub.replication().ingest(&sent.commits.iter().map(|c| &c.bytes[..]).collect::<Vec<_>>())?;
    /// assert_eq!(hub.snapshot()?.list("lamp").count()?, 1);
    /// assert_eq!(hub.snapshot()?.list("draft").count()?, 0);
    /// assert_eq!(hub.log_root()?, phone.log_root()?);
    /// assert!(phone.snapshot()?.get(draft)?.is_some());
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// Whether an entity stays here is decided when it is created, and for good: declaring a type
    /// later, or no longer, changes nothing for entities that exist, and what peers send under such
    /// a type is synced as ever. Should one with the id of a local entity arrive (ids that were
    /// chosen by hand), the local one yields: from then on the id means what the peers mean, and
    /// what was local is shown at no point any more.
    ///
    /// What stays here counts for arrival positions, the change log, times
    /// ([`Point::Time`](crate::Point::Time)) and `verify`, and for nothing that replicas compare:
    /// no clock, no log root, no state digest. It lies in a log of its own, so a transaction over
    /// both kinds makes two commits. A store that has nothing else counts as empty: it may still
    /// adopt a dataset. A copy of the file holds it; another replica never does, so nobody can give
    /// it back.
    #[must_use]
    pub fn local_type(mut self, entity_type: impl Into<String>) -> Self {
        self.local_types.insert(entity_type.into());
        self
    }
}

impl Engine {
    /// Whether a version belongs into the local log: where the entity's heads lie, a creation by
    /// its type.
    pub(crate) fn stays_here(&self, planned: &Planned) -> bool {
        match planned.parents.first() {
            Some(head) => self.store().directory.is_local(head.writer.line),
            None => {
                planned.entity_type.as_deref().is_some_and(|t| self.inner.local_types.contains(t))
            }
        }
    }
}
