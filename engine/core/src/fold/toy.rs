//! A store in memory that looks things up in the plainest way: what the tests of this room fold
//! into.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::author::{Planned, Tail, author};
use super::commit::fold;
use super::head::{Head, HeadState, Heads, read_inline};
use super::lines::Lines;
use super::lookup::{Fault, Known, Lookup};
use super::parts::{Bodies, Folded, Incoming, Stored};
use crate::format::hash::{chain_after, chain_of_genesis};
use crate::format::header::Header;
use crate::format::value::flatten_content;
use crate::merge::{apply, replacement};
use crate::model::{
    Chain, ChainPrefix, CommitRef, Content, Dot, EntityId, Kind, Line, LogId, Metadata, Sequence,
    State, TypeNumber, VersionRef, Writer,
};

/// The line of what never leaves, where there is one.
pub(super) const LOCAL: Line = Line::new(9);

/// One line for each log; its number is the first byte of the log's id.
#[derive(Default)]
pub(super) struct Toy {
    tails: BTreeMap<Line, (Sequence, Chain, u64)>,
    heads: BTreeMap<EntityId, Heads>,
    versions: BTreeMap<Dot, (EntityId, Known, Option<Head>)>,
    types: RefCell<Vec<Arc<str>>>,
    has_local: bool,
}

/// A commit as it would travel.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) header: Header,
    pub(super) bodies: Vec<u8>,
}

pub(super) fn log(line: Line) -> LogId {
    LogId::from_bytes([line.get() as u8; 16])
}

pub(super) fn entity(number: u8) -> EntityId {
    EntityId::from_bytes([number; 16])
}

fn state(base: Option<&State>, content: &Content) -> State {
    let leaves = flatten_content(content).unwrap();
    let leaves = leaves.into_iter().map(|(path, value)| (path, value.into())).collect();
    let base = base.cloned().unwrap_or_default();
    apply(&base, &replacement(&base, leaves), Writer::OWN)
}

impl Lines for Toy {
    fn log_of(&self, line: Line) -> Option<LogId> {
        Some(log(line))
    }

    fn line_at(&self, line: Line, _: Sequence) -> Line {
        line
    }

    fn path(&self, line: Line, sequence: Sequence) -> Vec<Dot> {
        vec![(line, sequence)]
    }

    fn local(&self) -> Option<Line> {
        self.has_local.then_some(LOCAL)
    }
}

impl Lookup for Toy {
    type Error = Fault;
    type Lines = Self;

    fn lines(&self) -> &Self {
        self
    }

    fn heads(&self, entity: EntityId) -> Result<Arc<Heads>, Fault> {
        Ok(Arc::new(self.heads.get(&entity).cloned().unwrap_or_default()))
    }

    fn line_of(&self, log: LogId, _: Sequence, _: ChainPrefix) -> Result<Option<Line>, Fault> {
        let line = Line::new(u32::from(log.as_bytes()[0]));
        Ok(self.tails.contains_key(&line).then_some(line))
    }

    fn version(&self, entity: EntityId, at: Dot) -> Result<Option<Known>, Fault> {
        let found = self.versions.get(&at).filter(|(of, ..)| *of == entity);
        Ok(found.map(|(_, known, _)| *known))
    }

    fn as_head(&self, at: Dot) -> Result<Arc<Head>, Fault> {
        Ok(Arc::new(self.versions[&at].2.clone().unwrap()))
    }

    fn content(&self, _: EntityId, head: &Head) -> Result<Stored, Fault> {
        Ok(match &head.state {
            HeadState::Tombstone => Stored::Tombstone,
            HeadState::Inline(bytes) => {
                Stored::Live(Arc::new(read_inline(bytes, &head.writer, self)?))
            }
            HeadState::InLog => panic!("tests use small contents"),
            HeadState::Absent => Stored::Absent,
        })
    }

    fn entity_type(&self, number: TypeNumber) -> Result<Arc<str>, Fault> {
        Ok(self.types.borrow()[number.get() as usize].clone())
    }

    fn add_type(&self, name: &str) -> Result<TypeNumber, Fault> {
        let mut types = self.types.borrow_mut();
        let found = types.iter().position(|t| **t == *name).unwrap_or_else(|| {
            types.push(name.into());
            types.len() - 1
        });
        Ok(TypeNumber::new(found as u32))
    }
}

impl Toy {
    pub(super) fn with_local() -> Self {
        Self { has_local: true, ..Self::default() }
    }

    fn tail(&self, line: Line) -> (Sequence, Chain, u64) {
        let start = || (Sequence::START, chain_of_genesis(log(line).as_bytes()), 0);
        self.tails.get(&line).copied().unwrap_or_else(start)
    }

    /// The last commit of a line.
    pub(super) fn end(&self, line: Line) -> CommitRef {
        let (sequence, chain, _) = self.tail(line);
        CommitRef { log: log(line), sequence, prefix: chain.prefix() }
    }

    pub(super) fn heads_of(&self, number: u8) -> Vec<VersionRef> {
        let heads = self.heads.get(&entity(number)).cloned().unwrap_or_default();
        heads.list.iter().map(|head| head.writer.reference).collect()
    }

    /// The one head of an entity, as a writer.
    pub(super) fn writer_of(&self, number: u8) -> Writer {
        let [head] = &self.heads[&entity(number)].list[..] else { panic!("one head") };
        head.writer
    }

    /// What is kept of a version that is not void.
    pub(super) fn stored(&self, version: &VersionRef) -> Stored {
        let mut heads = self.versions.values().filter_map(|(_, _, head)| head.as_ref());
        let head = heads.find(|head| head.writer.reference == *version).unwrap();
        self.content(entity(0), head).unwrap()
    }

    /// What becomes of an entity, over all its heads here.
    pub(super) fn plan(&self, number: u8, kind: Kind, content: Option<Content>) -> Planned {
        let parents = self.heads.get(&entity(number)).cloned().unwrap_or_default().list;
        let base = super::merged(self, entity(number), parents.iter()).unwrap().ok();
        Planned {
            entity: entity(number),
            kind,
            entity_type: (kind == Kind::Create).then(|| "lamp".into()),
            state: content.map(|content| state(base.as_ref(), &content)),
            base: base.filter(|_| !parents.is_empty()),
            parents,
        }
    }

    /// Authors a commit at a time, folds it, and gives it as it would travel.
    pub(super) fn write(
        &mut self,
        line: Line,
        wall: u64,
        plan: Vec<Planned>,
    ) -> Result<Sent, Fault> {
        let (sequence, chain, wall_before) = self.tail(line);
        let tail = Tail { log: log(line), line, before: (sequence, chain) };
        let others = self.tails.keys().filter(|other| **other != line && **other != LOCAL);
        let refs = others.map(|other| self.end(*other)).collect();
        let mut new = author(self, &tail, wall, refs, &Metadata::new(), plan)?;
        let folded = new.fold(self, &tail, wall_before)?;
        let bodies = folded.bodies.concat();
        self.apply(line, new.chain, &new.header, &folded);
        Ok(Sent { header: new.header, bodies })
    }

    /// Takes in what travelled.
    pub(super) fn receive(&mut self, line: Line, sent: &Sent) -> Result<Folded, Fault> {
        let (_, before, wall_before) = self.tail(line);
        let chain = chain_after(&before, &sent.header.encode());
        let incoming = Incoming { log: log(line), line, chain, header: &sent.header, wall_before };
        let folded = fold(self, &incoming, Bodies::Received(&sent.bodies))?;
        self.apply(line, chain, &sent.header, &folded);
        Ok(folded)
    }

    fn apply(&mut self, line: Line, chain: Chain, header: &Header, folded: &Folded) {
        let incoming = Incoming { log: log(line), line, chain, header, wall_before: 0 };
        for (index, version) in header.versions.iter().enumerate() {
            let writer = incoming.writer(index);
            let is_void = folded.voids.iter().any(|(void, _)| *void == writer.reference);
            let known = Known { writer, is_void };
            let change = folded.changes.iter().find(|c| c.new == writer.reference);
            let is_it = |head: &&Head| head.writer == writer;
            let head = change.and_then(|c| c.heads.list.iter().find(is_it).cloned());
            self.versions.insert(writer.dot(), (version.entity, known, head));
        }
        for change in &folded.changes {
            self.heads.insert(change.entity, change.heads.clone());
        }
        self.tails.insert(line, (header.last(), chain, header.wall));
    }
}
