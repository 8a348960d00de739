//! The record that opens a log (FORMAT.md, 1.2).

use super::bytes::{Put, Read, Reader};
use super::{hash, limits};
use crate::model::{ChainPrefix, CommitRef, DatasetId, LogId};

const MANAGED: u8 = 1;
const KEY: u8 = 2;
const PREDECESSOR: u8 = 4;
/// Longest label that still leaves room for its suffix in a device id of 64 characters.
pub(crate) const LABEL: usize = 55;
pub(crate) const MANAGED_LABEL: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Genesis {
    pub(crate) level: u64,
    pub(crate) dataset: DatasetId,
    pub(crate) nonce: [u8; 16],
    pub(crate) managed: bool,
    pub(crate) label: String,
    pub(crate) public_key: Option<[u8; 32]>,
    pub(crate) predecessor: Option<CommitRef>,
}

/// Whether text can be a label or a device id.
pub(crate) fn is_label(text: &str, managed: bool) -> bool {
    let most = if managed { MANAGED_LABEL } else { LABEL };
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

impl Genesis {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.varint(self.level);
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.push(
            flag(self.managed, MANAGED)
                | flag(self.public_key.is_some(), KEY)
                | flag(self.predecessor.is_some(), PREDECESSOR),
        );
        out.extend_from_slice(self.dataset.as_bytes());
        out.extend_from_slice(&self.nonce);
        out.bytes(self.label.as_bytes());
        out.extend_from_slice(self.public_key.as_ref().map_or(&[], |k| &k[..]));
        if let Some(p) = &self.predecessor {
            out.extend_from_slice(p.log.as_bytes());
            out.varint(p.sequence);
            out.extend_from_slice(p.prefix.as_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Read<Self> {
        let mut r = Reader::new(bytes);
        r.ensure(bytes.len() <= limits::GENESIS, "a genesis too long")?;
        let level = r.varint()?;
        r.ensure(level > 0, "level 0")?;
        let flags = r.u8()?;
        r.ensure(
            level > limits::LEVEL || flags & !(MANAGED | KEY | PREDECESSOR) == 0,
            "an unknown flag",
        )?;
        let dataset = DatasetId::from_bytes(r.array()?);
        let nonce = r.array()?;
        let managed = flags & MANAGED != 0;
        let label = r.text()?.to_owned();
        r.ensure(is_label(&label, managed), "a label that is none")?;
        let public_key = if flags & KEY != 0 { Some(r.array()?) } else { None };
        let predecessor = if flags & PREDECESSOR != 0 {
            let log = LogId::from_bytes(r.array()?);
            let sequence = r.varint()?;
            r.ensure(sequence > 0, "sequence 0")?;
            Some(CommitRef { log, sequence, prefix: ChainPrefix::from_bytes(r.array()?) })
        } else {
            None
        };
        if level == limits::LEVEL {
            r.end()?;
        }
        Ok(Self { level, dataset, nonce, managed, label, public_key, predecessor })
    }

    /// The device id that people see.
    pub(crate) fn device_id(&self, log: LogId) -> String {
        if self.managed {
            self.label.clone()
        } else {
            format!("{}-{}", self.label, &log.to_string()[..8])
        }
    }

    /// A genesis from its bytes, if it is that of `log`.
    pub(crate) fn of_log(bytes: &[u8], log: LogId) -> Read<Self> {
        let genesis = Self::decode(bytes)?;
        Reader::new(bytes).ensure(hash::log_id(bytes) == log, "a genesis of another log")?;
        Ok(genesis)
    }
}
