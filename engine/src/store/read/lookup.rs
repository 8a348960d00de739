//! What a fold asks of this store: answered from one state of it.

use std::sync::Arc;

use heirloom_core::fold::{
    self, Dot, Head, Heads, Known, Lookup, NewCommit, Planned, Stored, Tail,
};
use heirloom_core::model::{
    ChainPrefix, CommitRef, EntityId, Line, LogId, Metadata, Sequence, TypeNumber,
};

use super::view::View;
use crate::error::{Error, ImportFault, Result, Table};
use crate::store::rows::Directory;

impl Lookup for View<'_> {
    type Error = Error;
    type Lines = Directory;

    fn lines(&self) -> &Directory {
        self.directory
    }

    fn heads(&self, entity: EntityId) -> Result<Arc<Heads>> {
        self.heads(entity)
    }

    fn line_of(&self, log: LogId, sequence: Sequence, prefix: ChainPrefix) -> Result<Option<Line>> {
        self.line_of(log, sequence, prefix)
    }

    fn version(&self, entity: EntityId, at: Dot) -> Result<Option<Known>> {
        let found = self.version(at)?.filter(|at| at.header().entity == entity);
        let known = |at: super::At| Known {
            writer: at.writer,
            is_void: at.record.void_of(at.index).is_some(),
        };
        Ok(found.map(known))
    }

    fn as_head(&self, at: Dot) -> Result<Arc<Head>> {
        self.head_at(at)
    }

    fn content(&self, entity: EntityId, head: &Head) -> Result<Stored> {
        self.head_content(entity, head)
    }

    fn entity_type(&self, number: TypeNumber) -> Result<Arc<str>> {
        self.entity_type(number)
    }

    fn add_type(&self, name: &str) -> Result<TypeNumber> {
        self.add_type(name)
    }
}

impl View<'_> {
    /// Makes a commit: see [`fold::author`]. Where what it would be written on is damaged, that is
    /// the error.
    pub(crate) fn author(
        &self,
        tail: &Tail,
        wall: u64,
        refs: Vec<CommitRef>,
        metadata: &Metadata,
        plan: Vec<Planned>,
    ) -> Result<NewCommit> {
        match fold::author(self, tail, wall, refs, metadata, plan) {
            // no ref leads to what cannot be shown
            Err(Error::Import(ImportFault::UnseenParent { log, sequence }))
                if self.directory.lines(log).iter().any(|l| !self.missing.shows(*l, sequence)) =>
            {
                let what = "the commit that is written on is damaged";
                Err(Error::corrupt(Table::Log, format!("{log}/{sequence}"), what))
            }
            other => other,
        }
    }
}
