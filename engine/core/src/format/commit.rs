//! A commit as it travels (FORMAT.md, 1.7).

use alloc::vec::Vec;

use crate::bytes::{Put, Read, Reader};
use crate::limits;
use crate::model::{ChainPrefix, LogId, Sequence};

const SIGNATURE: u8 = 1;
const IDEMPOTENCY: u8 = 2;
/// The bytes of a trailer that says nothing.
pub const NO_TRAILER: &[u8] = &[0];

/// The parts of a commit, each framed, none believed yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireParts<'a> {
    /// The log that it belongs to.
    pub log: LogId,
    /// Last sequence and chain prefix of the commit before; [`Sequence::START`] for the first.
    pub before: (Sequence, ChainPrefix),
    /// The bytes of the log's genesis, of the first commit only.
    pub genesis: Option<&'a [u8]>,
    /// The bytes of its header, which its chain is a hash of.
    pub header: &'a [u8],
    /// The bytes of its bodies, one after another; opaque if the header is of a newer level.
    pub bodies: &'a [u8],
    /// What follows and no hash covers: [`NO_TRAILER`], or reserved fields.
    pub trailer: &'a [u8],
}

impl<'a> WireParts<'a> {
    /// Its bytes. `genesis` must be there if and only if the sequence before is 0.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.header.len() + self.bodies.len() + 64);
        out.extend_from_slice(self.log.as_bytes());
        out.varint(self.before.0.get());
        out.extend_from_slice(self.before.1.as_bytes());
        if let Some(genesis) = self.genesis {
            out.bytes(genesis);
        }
        out.bytes(self.header);
        out.bytes(self.bodies);
        out.extend_from_slice(self.trailer);
        out
    }

    /// Takes a commit apart, without a look into genesis, header and bodies. An error if something
    /// is cut short, left over or too long, or the trailer has an unknown flag.
    pub fn decode(bytes: &'a [u8]) -> Read<Self> {
        let mut r = Reader::new(bytes);
        let log = LogId::from_bytes(r.array()?);
        let before = (r.varint()?.into(), ChainPrefix::from_bytes(r.array()?));
        let genesis = if before.0 == Sequence::START { Some(r.bytes()?) } else { None };
        let header = r.bytes()?;
        let bodies = r.bytes()?;
        r.ensure(header.len() <= limits::HEADER, "a header too long")?;
        r.ensure(bodies.len() <= limits::BODIES, "bodies too long")?;
        let trailer = trailer(&mut r)?;
        r.end()?;
        Ok(Self { log, before, genesis, header, bodies, trailer })
    }
}

/// Steps over a trailer and returns its bytes; an error for an unknown flag.
pub fn trailer<'a>(r: &mut Reader<'a>) -> Read<&'a [u8]> {
    let from = r.at();
    let flags = r.u8()?;
    r.ensure(flags & !(SIGNATURE | IDEMPOTENCY) == 0, "an unknown flag")?;
    if flags & SIGNATURE != 0 {
        r.take(64)?;
    }
    if flags & IDEMPOTENCY != 0 {
        r.take(16)?;
    }
    Ok(r.since(from))
}
