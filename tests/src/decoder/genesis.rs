//! The record that opens a log.

use super::primitives::Reader;
use super::{Framing, Id, Ref};

/// The most bytes of a genesis.
pub const MAX_GENESIS: usize = 1024;

/// A genesis as its fields. `flags` is what was written; it should agree with the optional fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Genesis {
    /// Format level, 1 or newer.
    pub level: u64,
    /// See [`Genesis::MANAGED`] and its fellows.
    pub flags: u8,
    /// Dataset id.
    pub dataset: Id,
    /// What makes two logs of one label differ.
    pub nonce: Id,
    /// The readable part of the device id.
    pub label: String,
    /// Reserved for signatures.
    pub public_key: Option<[u8; 32]>,
    /// The last commit of the log that this one continues.
    pub predecessor: Option<Ref>,
    /// What a newer level wrote behind.
    pub more: Vec<u8>,
}

impl Genesis {
    /// Flag: the label is the whole device id.
    pub const MANAGED: u8 = 1;
    /// Flag: a public key follows.
    pub const PUBLIC_KEY: u8 = 2;
    /// Flag: a predecessor follows.
    pub const PREDECESSOR: u8 = 4;

    /// Reads a genesis. Whether its hash is the log id and its dataset the right one is not known
    /// here.
    pub fn read(bytes: &[u8]) -> Result<Self, Framing> {
        if bytes.len() > MAX_GENESIS {
            return Err(Framing::GenesisSize);
        }
        let mut r = Reader::new(bytes);
        let (level, flags) = (r.varint()?, r.u8()?);
        if level == 0 {
            return Err(Framing::GenesisLevel);
        }
        if level == 1 && flags >= 8 {
            return Err(Framing::GenesisFlag);
        }
        let (dataset, nonce) = (r.array()?, r.array()?);
        let label = read_label(r.text()?, flags & Self::MANAGED != 0)?;
        let public_key = if flags & Self::PUBLIC_KEY != 0 { Some(r.array()?) } else { None };
        let predecessor = if flags & Self::PREDECESSOR != 0 {
            let (log, sequence, prefix) = (r.array()?, r.varint()?, r.array()?);
            if sequence == 0 {
                return Err(Framing::GenesisPredecessor);
            }
            Some(Ref { log, sequence, prefix })
        } else {
            None
        };
        if level == 1 {
            r.end()?;
        }
        Ok(Self {
            level,
            flags,
            dataset,
            nonce,
            label,
            public_key,
            predecessor,
            more: r.rest().to_vec(),
        })
    }
}

fn read_label(label: &str, managed: bool) -> Result<String, Framing> {
    let most = if managed { 64 } else { 55 };
    let good = (1..=most).contains(&label.len())
        && label.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if good { Ok(label.to_owned()) } else { Err(Framing::GenesisLabel) }
}
