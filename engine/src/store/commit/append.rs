//! A folded commit taken in, with what is indexed of the entities that it changes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use heirloom_core::fold::Folded;
use heirloom_core::model::EntityId;

use super::log_entry::LogEntry;
use super::log_writer::LogWriter;
use super::store::Store;
use crate::error::Result;
use crate::store::index::{Index, keys_of};
use crate::traced::TRACED;

impl Store {
    /// Takes a folded commit in, with what is indexed of the entities that it changes.
    pub(crate) fn append(&self, writer: &mut LogWriter, entry: &LogEntry<'_>, folded: Folded) {
        let indexed = writer.indexing.indexes.iter().any(Index::is_live);
        let entities: Vec<_> =
            folded.changes.iter().filter(|_| indexed).map(|c| c.entity).collect();
        let LogEntry { line, header, .. } = *entry;
        let (line, first, versions) = (line.get(), header.first.get(), header.count);
        tracing::trace!(target: TRACED, line, first, versions, "commit");
        writer.append(entry, folded);
        self.index_now(writer, &entities);
    }

    /// Finds what stands of entities in indexes from now on.
    pub(crate) fn index_now(&self, writer: &mut LogWriter, entities: &[EntityId]) {
        if !writer.indexing.indexes.iter().any(Index::is_live) {
            return;
        }
        // the commit is in: neither an error nor a panic of what shows entities may undo that
        // halfway
        let index = || self.index_entities(writer, entities);
        if !matches!(catch_unwind(AssertUnwindSafe(index)), Ok(Ok(()))) {
            writer.doubt_indexes();
        }
    }

    /// Finds what shall stand of entities in indexes, to be written with the writer's batch.
    pub(crate) fn index_entities(
        &self,
        writer: &mut LogWriter,
        entities: &[EntityId],
    ) -> Result<()> {
        let mut found = Vec::with_capacity(entities.len());
        let view = self.writer_view(writer)?;
        for id in entities {
            found.push((*id, keys_of(&view, *id, &writer.indexing.indexes)?));
        }
        for (id, keys) in found {
            match keys {
                Some(keys) => drop(writer.indexing.changes.insert(id, keys)),
                None => drop(writer.indexing.changes.remove(&id)),
            }
        }
        Ok(())
    }
}
