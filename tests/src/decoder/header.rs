//! The header of a commit: what the chain covers.

use super::primitives::Reader;
use super::{Framing, Hash, Id, Ref};

/// The most bytes of a header: 16 MiB.
pub const MAX_HEADER: usize = 16 << 20;
const MAX_VERSIONS: u64 = 65_536;
const MAX_REFS: usize = 65_536;
const MAX_PARENTS: u64 = 4_096;

/// The kinds of versions, the low 4 bits of a kind.
pub mod kind {
    /// A creation: without parents, with a type.
    pub const CREATE: u8 = 1;
    /// A change.
    pub const UPDATE: u8 = 2;
    /// A deletion: the state is a tombstone.
    pub const DELETE: u8 = 3;
    /// What was there before, over what is there.
    pub const RESTORE: u8 = 4;
}

/// A header as its fields. Every level has those up to `refs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Format level, 1 or newer.
    pub level: u64,
    /// Bit 0: metadata follows.
    pub flags: u8,
    /// Sequence of the first version.
    pub first: u64,
    /// How many versions.
    pub count: u64,
    /// The device's clock, milliseconds.
    pub wall: u64,
    /// Stamp less wall.
    pub excess: u64,
    /// The commits at the author's frontier, ascending.
    pub refs: Vec<Ref>,
    /// The rest, as far as it is understood.
    pub rest: Rest,
}

/// What follows the refs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Understood.
    Level1(Level1),
    /// Of a newer level: opaque.
    Newer(Vec<u8>),
}

/// What follows the refs at level 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Level1 {
    /// The hash of the versions' state checksums.
    pub states_root: Hash,
    /// Who and why.
    pub metadata: Option<Metadata>,
    /// The versions, by sequence.
    pub versions: Vec<VersionHeader>,
}

/// Who wrote a commit and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// At most 255 bytes.
    pub actor: String,
    /// At most 4,096 bytes.
    pub message: String,
}

/// The header of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionHeader {
    /// Entity id.
    pub entity: Id,
    /// The low 7 bits of the kind: one of [`kind`] unless the version is void.
    pub kind: u8,
    /// The entity type that is named.
    pub entity_type: Option<String>,
    /// Pairs of 0 for the own path, or k for that of the k-th ref, and a sequence on it.
    pub parents: Vec<(u64, u64)>,
}

impl Header {
    /// Sequence of the last version.
    pub fn last(&self) -> u64 {
        self.first.saturating_add(self.count).saturating_sub(1)
    }

    /// The place of its versions in time.
    pub fn stamp(&self) -> u64 {
        self.wall.saturating_add(self.excess)
    }

    /// The headers of the versions; none of a newer level.
    pub fn versions(&self) -> &[VersionHeader] {
        match &self.rest {
            Rest::Level1(level1) => &level1.versions,
            Rest::Newer(_) => &[],
        }
    }

    /// Reads a header.
    pub fn read(bytes: &[u8]) -> Result<Self, Framing> {
        if bytes.len() > MAX_HEADER {
            return Err(Framing::HeaderSize);
        }
        let mut r = Reader::new(bytes);
        let (level, flags) = (r.varint()?, r.u8()?);
        if level == 0 {
            return Err(Framing::HeaderLevel);
        }
        if level == 1 && flags > 1 {
            return Err(Framing::HeaderFlag);
        }
        let (first, count) = read_sequences(&mut r)?;
        let (wall, excess) = (r.varint()?, r.varint()?);
        let refs = read_refs(&mut r)?;
        let rest = if level > 1 {
            Rest::Newer(r.rest().to_vec())
        } else {
            let states_root = r.array()?;
            let metadata = if flags & 1 != 0 { Some(read_metadata(&mut r)?) } else { None };
            let versions = (0..count).map(|_| read_version(&mut r)).collect::<Result<_, _>>()?;
            r.end()?;
            Rest::Level1(Level1 { states_root, metadata, versions })
        };
        Ok(Self { level, flags, first, count, wall, excess, refs, rest })
    }
}

fn read_sequences(r: &mut Reader<'_>) -> Result<(u64, u64), Framing> {
    let (first, count) = (r.varint()?, r.varint()?);
    if first == 0 {
        return Err(Framing::HeaderFirst);
    }
    if !(1..=MAX_VERSIONS).contains(&count) {
        return Err(Framing::HeaderCount);
    }
    if first.checked_add(count - 1).is_none_or(|last| last >= 1 << 63) {
        return Err(Framing::HeaderLast);
    }
    Ok((first, count))
}

fn read_refs(r: &mut Reader<'_>) -> Result<Vec<Ref>, Framing> {
    let mut refs: Vec<Ref> = Vec::new();
    for _ in 0..r.varint()? {
        let log = r.array()?;
        if refs.last().is_some_and(|last| last.log >= log) {
            return Err(Framing::RefsOrder);
        }
        let in_group = r.varint()?;
        if in_group == 0 {
            return Err(Framing::RefsEmptyGroup);
        }
        for _ in 0..in_group {
            let next = Ref { log, sequence: r.varint()?, prefix: r.array()? };
            if next.sequence == 0 {
                return Err(Framing::RefsSequence);
            }
            if refs.last().is_some_and(|last| *last >= next) {
                return Err(Framing::RefsOrder);
            }
            if refs.len() == MAX_REFS {
                return Err(Framing::RefsTooMany);
            }
            refs.push(next);
        }
    }
    Ok(refs)
}

fn read_metadata(r: &mut Reader<'_>) -> Result<Metadata, Framing> {
    let (actor, message) = (r.text()?.to_owned(), r.text()?.to_owned());
    if actor.len() > 255 || message.len() > 4_096 {
        return Err(Framing::MetadataLength);
    }
    if actor.is_empty() && message.is_empty() {
        return Err(Framing::MetadataEmpty);
    }
    Ok(Metadata { actor, message })
}

fn read_version(r: &mut Reader<'_>) -> Result<VersionHeader, Framing> {
    let (entity, kind) = (r.array()?, r.u8()?);
    if kind & 0x70 != 0 {
        return Err(Framing::KindBits);
    }
    let entity_type = if kind & 0x80 != 0 { Some(r.text()?.to_owned()) } else { None };
    if entity_type.as_ref().is_some_and(|text| !(1..=255).contains(&text.len())) {
        return Err(Framing::TypeLength);
    }
    let count = r.varint()?;
    if count > MAX_PARENTS {
        return Err(Framing::ParentsTooMany);
    }
    let parents =
        (0..count).map(|_| Ok((r.varint()?, r.varint()?))).collect::<Result<_, Framing>>()?;
    Ok(VersionHeader { entity, kind: kind & 0x0f, entity_type, parents })
}
