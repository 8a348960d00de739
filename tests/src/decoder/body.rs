//! The bodies of a commit as they stand in it: tags and bytes. What is in them is checked when a
//! replay verifies them.

use super::primitives::Reader;
use super::{Framing, Header, Id, kind};

/// The most bytes of the bodies of a commit, as encoded: 72 MiB.
pub const MAX_BODIES: usize = 72 << 20;

/// The body of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Of a deletion.
    None,
    /// The whole state: a full body.
    Full(Vec<u8>),
    /// What changed against the merge of the parents.
    Patch(Vec<u8>),
    /// Dropped before a horizon; the state checksum.
    Pruned(Id),
    /// Not shown to the receiver; the state checksum.
    Withheld(Id),
    /// The state checksum and a ciphertext.
    Encrypted(Id, Vec<u8>),
    /// Nothing that verifies is known to the sender.
    Missing,
}

/// The bodies of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bodies {
    /// One for each version.
    Level1(Vec<Body>),
    /// Of a newer level: opaque.
    Newer(Vec<u8>),
}

impl Bodies {
    /// Reads the bodies of a commit with this header.
    pub fn read(bytes: &[u8], header: &Header) -> Result<Self, Framing> {
        if bytes.len() > MAX_BODIES {
            return Err(Framing::BodiesSize);
        }
        if header.level > 1 {
            return Ok(Self::Newer(bytes.to_vec()));
        }
        let mut r = Reader::new(bytes);
        let mut bodies = Vec::new();
        for version in header.versions() {
            if r.rest().is_empty() {
                return Err(Framing::BodyCount);
            }
            bodies.push(read_body(&mut r, version.kind == kind::DELETE)?);
        }
        r.end().map_err(|_| Framing::BodyCount)?;
        Ok(Self::Level1(bodies))
    }
}

fn read_body(r: &mut Reader<'_>, deletion: bool) -> Result<Body, Framing> {
    let tag = r.u8()?;
    match (tag, deletion) {
        (7.., _) => return Err(Framing::BodyTag),
        (0, false) => return Err(Framing::BodyNone),
        (1.., true) => return Err(Framing::BodyOfDeletion),
        _ => {}
    }
    Ok(match tag {
        0 => Body::None,
        1 => Body::Full(r.bytes()?.to_vec()),
        2 => Body::Patch(r.bytes()?.to_vec()),
        3 => Body::Pruned(read_checksum(r)?),
        4 => Body::Withheld(read_checksum(r)?),
        5 => {
            let mut inner = Reader::new(r.bytes()?);
            let checksum = inner.array().map_err(|_| Framing::BodyEncrypted)?;
            Body::Encrypted(checksum, inner.rest().to_vec())
        }
        _ => Body::Missing,
    })
}

fn read_checksum(r: &mut Reader<'_>) -> Result<Id, Framing> {
    r.bytes()?.try_into().map_err(|_| Framing::BodyChecksum)
}
