//! What a fold asks of the store that it folds for.

use alloc::sync::Arc;

use super::head::{Head, Heads};
use super::lines::Lines;
use super::parts::Stored;
use crate::bytes::Malformed;
use crate::error::Invalid;
use crate::model::{ChainPrefix, Dot, EntityId, Line, LogId, Sequence, TypeNumber, Writer};

/// A version that is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// The version as a writer.
    pub writer: Writer,
    /// Whether it changes nothing.
    pub is_void: bool,
}

/// What is here already, as one state of a store has it.
///
/// A fold never writes: what it finds out is in what it returns. Errors of the store go through it
/// as they are.
pub trait Lookup {
    /// Why something could not be looked up, or what a fold found wrong with what it was given.
    type Error: From<Fault>;
    /// What local numbers stand for.
    type Lines: Lines;

    /// What local numbers stand for.
    fn lines(&self) -> &Self::Lines;

    /// The heads of an entity; none where it is unknown.
    fn heads(&self, entity: EntityId) -> Result<Arc<Heads>, Self::Error>;

    /// The line of the commit that holds `sequence` and whose chain begins with `prefix`.
    fn line_of(
        &self,
        log: LogId,
        sequence: Sequence,
        prefix: ChainPrefix,
    ) -> Result<Option<Line>, Self::Error>;

    /// The version of `entity` at a place; nothing where there is none, or one of another entity.
    fn version(&self, entity: EntityId, at: Dot) -> Result<Option<Known>, Self::Error>;

    /// A version that is not void, as if it were a head.
    fn as_head(&self, at: Dot) -> Result<Arc<Head>, Self::Error>;

    /// What a head of an entity holds.
    fn content(&self, entity: EntityId, head: &Head) -> Result<Stored, Self::Error>;

    /// An entity type by its number.
    fn entity_type(&self, number: TypeNumber) -> Result<Arc<str>, Self::Error>;

    /// The number of an entity type, a new one where it has none yet.
    fn add_type(&self, name: &str) -> Result<TypeNumber, Self::Error>;
}

/// What a fold finds wrong with what it is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The peer's: these are no bodies of that header.
    Malformed(Malformed),
    /// The writer's: a limit of the format (FORMAT.md, 1.12).
    Invalid(Invalid),
    /// The writer's log has had all sequences that there are.
    LogFull,
    /// The writer's: a parent lies in no commit that it refers to.
    Unseen {
        /// The log of the parent.
        log: LogId,
        /// Its sequence.
        sequence: Sequence,
    },
    /// An entity that was never created.
    NoType(EntityId),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}
