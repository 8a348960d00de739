//! A commit as it travels (FORMAT.md, 1.7).

use super::bytes::{Put, Read, Reader};
use super::limits;
use crate::model::{ChainPrefix, LogId};

const SIGNATURE: u8 = 1;
const IDEMPOTENCY: u8 = 2;
/// A trailer that says nothing.
pub(crate) const NO_TRAILER: &[u8] = &[0];

/// The parts of a commit, each framed, none believed yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WireParts<'a> {
    pub(crate) log: LogId,
    /// Sequence and chain prefix of the commit before; sequence 0 for the first.
    pub(crate) before: (u64, ChainPrefix),
    pub(crate) genesis: Option<&'a [u8]>,
    pub(crate) header: &'a [u8],
    pub(crate) bodies: &'a [u8],
    pub(crate) trailer: &'a [u8],
}

impl<'a> WireParts<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.header.len() + self.bodies.len() + 64);
        out.extend_from_slice(self.log.as_bytes());
        out.varint(self.before.0);
        out.extend_from_slice(self.before.1.as_bytes());
        if let Some(genesis) = self.genesis {
            out.bytes(genesis);
        }
        out.bytes(self.header);
        out.bytes(self.bodies);
        out.extend_from_slice(self.trailer);
        out
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Read<Self> {
        let mut r = Reader::new(bytes);
        let log = LogId::from_bytes(r.array()?);
        let before = (r.varint()?, ChainPrefix::from_bytes(r.array()?));
        let genesis = if before.0 == 0 { Some(r.bytes()?) } else { None };
        let header = r.bytes()?;
        let bodies = r.bytes()?;
        r.ensure(header.len() <= limits::HEADER, "a header too long")?;
        r.ensure(bodies.len() <= limits::BODIES, "bodies too long")?;
        let trailer = trailer(&mut r)?;
        r.end()?;
        Ok(Self { log, before, genesis, header, bodies, trailer })
    }
}

/// Reads a trailer; returns its bytes.
pub(crate) fn trailer<'a>(r: &mut Reader<'a>) -> Read<&'a [u8]> {
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
