//! What follows for a version from its past, as rows keep it.

use heirloom_core::bytes::{Put, Read, Reader};
use heirloom_core::merge::EntityClock;
use heirloom_core::model::{ChainPrefix, Line, TypeNumber, VersionRef, Writer};

use super::directory::Directory;

/// The creation that names an entity's type: of several the least in the order of writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TypeSource {
    pub(crate) creation: Writer,
    pub(crate) type_number: TypeNumber,
}

impl TypeSource {
    pub(crate) fn key(&self) -> (u64, VersionRef) {
        self.creation.key()
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_writer(out, &self.creation);
        out.varint(u64::from(self.type_number.get()));
    }

    pub(crate) fn read(r: &mut Reader<'_>, directory: &Directory) -> Read<Self> {
        Ok(Self { creation: writer(r, directory)?, type_number: type_number(r)? })
    }
}

/// What follows from a version's past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Derived {
    /// Length of the longest line of parents, itself included.
    pub(crate) generation: u64,
    pub(crate) type_source: TypeSource,
    pub(crate) clock: EntityClock,
}

pub(crate) fn put_clock(out: &mut Vec<u8>, clock: &EntityClock) {
    let entries = clock.iter();
    out.varint(entries.len() as u64);
    for (line, sequence) in entries {
        put_line(out, line);
        out.varint(sequence.get());
    }
}

pub(crate) fn clock(r: &mut Reader<'_>) -> Read<EntityClock> {
    let mut out = EntityClock::default();
    for _ in 0..r.count(2)? {
        let line = line(r)?;
        out.see(line, r.varint()?.into());
    }
    Ok(out)
}

pub(crate) fn local_number(r: &mut Reader<'_>) -> Read<u32> {
    let n = r.varint()?;
    u32::try_from(n).or_else(|_| r.bad("a local number too large"))
}

pub(crate) fn line(r: &mut Reader<'_>) -> Read<Line> {
    local_number(r).map(Line::new)
}

pub(crate) fn type_number(r: &mut Reader<'_>) -> Read<TypeNumber> {
    local_number(r).map(TypeNumber::new)
}

pub(crate) fn put_line(out: &mut Vec<u8>, line: Line) {
    out.varint(u64::from(line.get()));
}

pub(crate) fn put_writer(out: &mut Vec<u8>, w: &Writer) {
    put_line(out, w.line);
    out.varint(w.reference.sequence.get());
    out.extend_from_slice(w.reference.prefix.as_bytes());
    out.varint(w.stamp);
}

pub(crate) fn writer(r: &mut Reader<'_>, directory: &Directory) -> Read<Writer> {
    let line = line(r)?;
    let sequence = r.varint()?.into();
    let prefix = ChainPrefix::from_bytes(r.array()?);
    let stamp = r.varint()?;
    let Some(log) = directory.log_id(line) else { return r.bad("an unknown log") };
    Ok(Writer { line, stamp, reference: VersionRef { log, sequence, prefix } })
}

/// What follows for a version from that of its parents.
pub(crate) fn derive<'d>(
    directory: &Directory,
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
    directory.see(&mut clock, writer.line, writer.reference.sequence);
    type_source.map(|type_source| Derived { generation: generation + 1, type_source, clock })
}
