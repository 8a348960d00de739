//! The part of a commit that its chain is a hash of (FORMAT.md, 1.3).

use alloc::sync::Arc;
use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::bytes::{Put, Read, Reader};
use crate::limits;
use crate::model::{ChainPrefix, CommitRef, EntityId, Kind, LogId, Metadata, Sequence};

const METADATA: u8 = 1;
const TYPE: u8 = 0x80;
const KIND: u8 = 0x0f;
/// Types of a commit that are known again; of more, the first ones and the last.
const TYPES: usize = 16;

/// A commit's header. Whatever its versions claim, it frames; whether they mean something is told
/// later, from the headers that it builds on (FORMAT.md, 1.10).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Format level, at least 1.
    pub level: u64,
    /// Sequence of the first version, at least 1.
    pub first: Sequence,
    /// How many versions, at least 1; of a newer level, too, whose versions cannot be read.
    pub count: u64,
    /// The device's clock, in milliseconds since 1970.
    pub wall: u64,
    /// By how many milliseconds the stamp lies after the wall.
    pub excess: u64,
    /// Commits that it builds on beside its predecessor, ascending.
    pub refs: Vec<CommitRef>,
    /// Hash over the checksums of the states that its versions result in. In a header of a newer
    /// level this is zero and what follows is empty: it is opaque here.
    pub states_root: [u8; 32],
    /// Who made it and why; empty if unsaid.
    pub metadata: Metadata,
    /// Its versions, in the order of their sequences.
    pub versions: Vec<VersionHeader>,
}

/// What a header says of one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionHeader {
    /// The entity that it is a version of.
    pub entity: EntityId,
    /// A [`Kind`] as a number, or another below 16, which makes the version void.
    pub kind: u8,
    /// The type of the entity, 1 to 255 bytes; of a creation only, unless the version is void.
    pub entity_type: Option<Arc<str>>,
    /// The versions of the entity that it was written on.
    pub parents: Parents,
}

/// Parents of a version: mostly one, which takes no memory of its own.
pub type Parents = SmallVec<[ParentName; 1]>;

/// How a header names a parent: by a path of commits and a place on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ParentName {
    /// On which path: 0 the commit's own, k that of its k-th ref, counted from 1.
    pub path: u64,
    /// The parent's sequence.
    pub sequence: Sequence,
}

impl VersionHeader {
    /// What it does to its entity; nothing if its number stands for no kind.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_bits(self.kind)
    }

    /// Whether it deletes its entity, so that its body is none.
    pub fn is_deletion(&self) -> bool {
        self.kind() == Some(Kind::Delete)
    }
}

impl Header {
    /// Last sequence of the commit that it follows; [`Sequence::START`] where it is the first.
    pub fn before(&self) -> Sequence {
        self.first.back(1).unwrap_or_default()
    }

    /// Sequence of its last version.
    pub fn last(&self) -> Sequence {
        self.first.plus(self.count - 1)
    }

    /// When its versions were written, as writes are ordered: wall and excess together, in
    /// milliseconds since 1970. Nothing where that is beyond the last time; then the commit is
    /// void.
    pub fn stamp(&self) -> Option<u64> {
        self.wall
            .checked_add(self.excess)
            .filter(|s| *s <= crate::model::Timestamp::MAX.as_millis() as u64)
    }

    /// Whether it is of a newer format level than this library understands, so that what follows
    /// its refs is opaque.
    pub fn is_newer(&self) -> bool {
        self.level > limits::LEVEL
    }

    /// Its bytes; its refs must be in order. One of a newer level that was read cannot be written
    /// again: keep its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + 40 * (self.versions.len() + self.refs.len()));
        out.varint(self.level);
        out.push(if self.metadata.is_empty() { 0 } else { METADATA });
        for n in [self.first.get(), self.count, self.wall, self.excess] {
            out.varint(n);
        }
        put_refs(&mut out, &self.refs);
        out.extend_from_slice(&self.states_root);
        if !self.metadata.is_empty() {
            out.bytes(self.metadata.actor.as_bytes());
            out.bytes(self.metadata.message.as_bytes());
        }
        for v in &self.versions {
            v.encode(&mut out);
        }
        out
    }

    /// Reads a header; of a newer level the fields that all levels have. An error for what
    /// FORMAT.md, 1.9 lists.
    pub fn decode(bytes: &[u8]) -> Read<Self> {
        let mut r = Reader::new(bytes);
        r.ensure(bytes.len() <= limits::HEADER, "a header too long")?;
        let level = r.varint()?;
        r.ensure(level > 0, "level 0")?;
        let flags = r.u8()?;
        let (first, count, wall, excess) = (r.varint()?, r.varint()?, r.varint()?, r.varint()?);
        r.ensure(first > 0, "sequence 0")?;
        r.ensure((1..=limits::VERSIONS).contains(&count), "no versions or too many")?;
        r.ensure(first <= i64::MAX as u64 - (count - 1), "a sequence too large")?;
        let refs = refs(&mut r)?;
        let mut out = Self {
            level,
            first: first.into(),
            count,
            wall,
            excess,
            refs,
            states_root: [0; 32],
            metadata: Metadata::new(),
            versions: Vec::new(),
        };
        if out.is_newer() {
            return Ok(out);
        }
        r.ensure(flags & !METADATA == 0, "an unknown flag")?;
        out.states_root = r.array()?;
        if flags & METADATA != 0 {
            let (actor, message) = (r.text()?, r.text()?);
            let fits = actor.len() <= limits::ACTOR && message.len() <= limits::MESSAGE;
            out.metadata = Metadata::new().with_actor(actor).with_message(message);
            r.ensure(fits && !out.metadata.is_empty(), "metadata empty or too long")?;
        }
        r.ensure(r.left() as u64 / 18 >= count, "bytes are missing")?;
        let mut types = Vec::new();
        out.versions.reserve_exact(count as usize);
        for _ in 0..count {
            out.versions.push(VersionHeader::decode(&mut r, &mut types)?);
        }
        r.end()?;
        Ok(out)
    }
}

impl VersionHeader {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.entity.as_bytes());
        out.push(self.kind | if self.entity_type.is_some() { TYPE } else { 0 });
        if let Some(t) = &self.entity_type {
            out.bytes(t.as_bytes());
        }
        out.varint(self.parents.len() as u64);
        for p in &self.parents {
            out.varint(p.path);
            out.varint(p.sequence.get());
        }
    }

    /// `types`: some that came before, of which versions share the text.
    fn decode(r: &mut Reader<'_>, types: &mut Vec<Arc<str>>) -> Read<Self> {
        let entity = EntityId::from_bytes(r.array()?);
        let bits = r.u8()?;
        r.ensure(bits & !(TYPE | KIND) == 0, "an unknown bit in the kind")?;
        let entity_type = if bits & TYPE != 0 {
            let text = r.text()?;
            r.ensure((1..=limits::TYPE).contains(&text.len()), "a type that is none")?;
            let known = types.iter().rev().find(|known| &***known == text).cloned();
            Some(known.unwrap_or_else(|| {
                types.truncate(TYPES - 1);
                types.push(text.into());
                types[types.len() - 1].clone()
            }))
        } else {
            None
        };
        let n = r.count(2)?;
        r.ensure(n as u64 <= limits::PARENTS, "too many parents")?;
        let mut parents = Parents::with_capacity(n);
        for _ in 0..n {
            parents.push(ParentName { path: r.varint()?, sequence: r.varint()?.into() });
        }
        Ok(Self { entity, kind: bits & KIND, entity_type, parents })
    }
}

fn put_refs(out: &mut Vec<u8>, refs: &[CommitRef]) {
    let groups: Vec<_> = refs.chunk_by(|a, b| a.log == b.log).collect();
    out.varint(groups.len() as u64);
    for group in groups {
        out.extend_from_slice(group[0].log.as_bytes());
        out.varint(group.len() as u64);
        for r in group {
            out.varint(r.sequence.get());
            out.extend_from_slice(r.prefix.as_bytes());
        }
    }
}

fn refs(r: &mut Reader<'_>) -> Read<Vec<CommitRef>> {
    let mut out: Vec<CommitRef> = Vec::new();
    for _ in 0..r.count(16 + 1 + 17)? {
        let log = LogId::from_bytes(r.array()?);
        r.ensure(out.last().is_none_or(|l| l.log < log), "refs out of order")?;
        let n = r.count(17)?;
        r.ensure(n > 0, "an empty group of refs")?;
        r.ensure((out.len() + n) as u64 <= limits::REFS, "too many refs")?;
        for _ in 0..n {
            let sequence = r.varint()?;
            r.ensure(sequence > 0, "sequence 0")?;
            let new = CommitRef {
                log,
                sequence: sequence.into(),
                prefix: ChainPrefix::from_bytes(r.array()?),
            };
            r.ensure(out.last().is_none_or(|l| *l < new), "refs out of order")?;
            out.push(new);
        }
    }
    Ok(out)
}
