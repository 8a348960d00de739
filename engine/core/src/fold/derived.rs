//! What follows for a version from its past, and how rows keep it (FORMAT.md, 2.1 and 2.3).

use alloc::vec::Vec;

use super::lines::Lines;
use crate::bytes::{Put, Read, Reader};
use crate::merge::EntityClock;
use crate::model::{ChainPrefix, Line, TypeNumber, VersionRef, Writer};

/// The creation that names an entity's type: of several the least in the order of writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeSource {
    /// The creation.
    pub creation: Writer,
    /// The type that it names.
    pub type_number: TypeNumber,
}

impl TypeSource {
    /// Its place in the order of writes.
    pub fn key(&self) -> (u64, VersionRef) {
        self.creation.key()
    }

    /// Adds it to a row: the writer, then the number.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_writer(out, &self.creation);
        out.varint(u64::from(self.type_number.get()));
    }

    /// Reads it from a row.
    pub fn read(r: &mut Reader<'_>, lines: &impl Lines) -> Read<Self> {
        Ok(Self { creation: read_writer(r, lines)?, type_number: read_type_number(r)? })
    }
}

/// What follows from a version's past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Derived {
    /// Length of the longest line of parents, itself included.
    pub generation: u64,
    /// What names the entity's type.
    pub type_source: TypeSource,
    /// What it has seen of its entity, itself included.
    pub clock: EntityClock,
}

/// Adds an entity clock to a row: how many lines, then each with how far.
pub fn put_clock(out: &mut Vec<u8>, clock: &EntityClock) {
    let entries = clock.iter();
    out.varint(entries.len() as u64);
    for (line, sequence) in entries {
        put_line(out, line);
        out.varint(sequence.get());
    }
}

/// Reads an entity clock from a row.
pub fn read_clock(r: &mut Reader<'_>) -> Read<EntityClock> {
    let mut out = EntityClock::default();
    for _ in 0..r.count(2)? {
        let line = read_line(r)?;
        out.see(line, r.varint()?.into());
    }
    Ok(out)
}

fn local_number(r: &mut Reader<'_>) -> Read<u32> {
    let n = r.varint()?;
    u32::try_from(n).or_else(|_| r.bad("a local number too large"))
}

/// Reads the number of a line from a row.
pub fn read_line(r: &mut Reader<'_>) -> Read<Line> {
    local_number(r).map(Line::new)
}

pub(super) fn read_type_number(r: &mut Reader<'_>) -> Read<TypeNumber> {
    local_number(r).map(TypeNumber::new)
}

/// Adds the number of a line to a row.
pub fn put_line(out: &mut Vec<u8>, line: Line) {
    out.varint(u64::from(line.get()));
}

pub(super) fn put_writer(out: &mut Vec<u8>, w: &Writer) {
    put_line(out, w.line);
    out.varint(w.reference.sequence.get());
    out.extend_from_slice(w.reference.prefix.as_bytes());
    out.varint(w.stamp);
}

pub(super) fn read_writer(r: &mut Reader<'_>, lines: &impl Lines) -> Read<Writer> {
    let line = read_line(r)?;
    let sequence = r.varint()?.into();
    let prefix = ChainPrefix::from_bytes(r.array()?);
    let stamp = r.varint()?;
    let Some(log) = lines.log_of(line) else { return r.bad("an unknown log") };
    Ok(Writer { line, stamp, reference: VersionRef { log, sequence, prefix } })
}

/// What follows for a version from that of its parents.
pub fn derive<'d>(
    lines: &impl Lines,
    writer: &Writer,
    parents: impl Iterator<Item = &'d Derived>,
    own_type: Option<TypeNumber>,
) -> Option<Derived> {
    let mut clock = EntityClock::default();
    let mut generation = 0;
    let mut type_source = own_type.map(|type_number| TypeSource { creation: *writer, type_number });
    for p in parents {
        generation = generation.max(p.generation);
        clock.see_all(&p.clock);
        if type_source.is_none_or(|s| p.type_source.key() < s.key()) {
            type_source = Some(p.type_source);
        }
    }
    lines.see(&mut clock, writer.line, writer.reference.sequence);
    type_source.map(|type_source| Derived { generation: generation + 1, type_source, clock })
}
