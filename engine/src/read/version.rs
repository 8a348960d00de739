//! A version as a reader sees it.

use std::sync::Arc;

use heirloom_core::fold::Dot;
use heirloom_core::model::{
    CommitRef, EntityId, Kind, LogId, Metadata, Timestamp, VersionId, VersionRef,
};

use crate::error::{Result, Table};
use crate::store::{At, View};

/// One immutable version of an entity.
#[derive(Clone, Debug)]
pub struct Version {
    reference: VersionRef,
    commit: CommitRef,
    entity: EntityId,
    kind: Kind,
    stamp: Timestamp,
    wall: Timestamp,
    parents: Vec<VersionRef>,
    device: Arc<str>,
    metadata: Metadata,
}

impl Version {
    pub(crate) fn new(view: &View<'_>, at: &At, parents: &[Dot]) -> Result<Self> {
        let log = at.writer.reference.log;
        let mut refs = Vec::with_capacity(parents.len());
        for (line, sequence) in parents {
            let record = view.commit_at(*line, *sequence)?;
            let missing = || {
                crate::error::Error::corrupt(
                    Table::Log,
                    format!("{line}/{sequence}"),
                    "a version is missing",
                )
            };
            let prefix = record.ok_or_else(missing)?.chain.prefix();
            refs.push(VersionRef { log: view.log_id(*line)?, sequence: *sequence, prefix });
        }
        let header = &at.record.header;
        let device = view.directory.device(at.writer.line, at.writer.reference.sequence);
        Ok(Self {
            reference: at.writer.reference,
            commit: at.record.reference(log),
            entity: at.header().entity,
            kind: at.header().kind().unwrap_or(Kind::Update),
            stamp: Timestamp::of(at.writer.stamp),
            wall: Timestamp::of(header.wall),
            parents: refs,
            device: device.into(),
            metadata: header.metadata.clone(),
        })
    }

    /// Refers to it, the same on every replica.
    pub fn reference(&self) -> VersionRef {
        self.reference
    }

    /// Its name for people.
    pub fn id(&self) -> Result<VersionId> {
        Ok(VersionId::new(self.stamp, &*self.device, self.reference.sequence)?)
    }

    /// The commit that brought it.
    pub fn commit(&self) -> CommitRef {
        self.commit
    }

    /// Its entity.
    pub fn entity(&self) -> EntityId {
        self.entity
    }

    /// What it did.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it deleted its entity.
    pub fn is_tombstone(&self) -> bool {
        self.kind == Kind::Delete
    }

    /// When, as writes are ordered: never before its parents.
    pub fn stamp(&self) -> Timestamp {
        self.stamp
    }

    /// When, by its device's clock.
    pub fn wall(&self) -> Timestamp {
        self.wall
    }

    /// The versions that it replaced; several in a merge, none in a creation.
    pub fn parents(&self) -> &[VersionRef] {
        &self.parents
    }

    /// The device that wrote it.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The log that it lies in.
    pub fn log(&self) -> LogId {
        self.reference.log
    }

    /// What its commit says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
