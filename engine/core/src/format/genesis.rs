//! The record that opens a log (FORMAT.md, 1.2).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::hash;
use crate::bytes::{Put, Read, Reader};
use crate::limits;
use crate::model::{ChainPrefix, CommitRef, DatasetId, LogId};

const MANAGED: u8 = 1;
const KEY: u8 = 2;
const PREDECESSOR: u8 = 4;
/// Most bytes of a label that is a part of the device id: with its suffix that has 64 at most.
pub const LABEL: usize = 55;
/// Most bytes of a label that is the whole device id.
pub const MANAGED_LABEL: usize = 64;

/// What a log says of itself before its first commit; its hash is the log's id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Genesis {
    /// Format level, at least 1.
    pub level: u64,
    /// The dataset that the log belongs to; [`DatasetId::NONE`] of a log that stays in its store.
    pub dataset: DatasetId,
    /// Tells the log from others of the same label: random, or derived where devices are imported.
    pub nonce: [u8; 16],
    /// Whether the label is the whole device id, given by whoever manages the devices.
    pub managed: bool,
    /// What the device is called: printable ASCII without space, at most [`LABEL`] bytes, or
    /// [`MANAGED_LABEL`] of a managed one.
    pub label: String,
    /// Reserved for signatures.
    pub public_key: Option<[u8; 32]>,
    /// The last commit of the log that this one continues, if it continues one.
    pub predecessor: Option<CommitRef>,
}

/// Whether text can be a label: printable ASCII without space, 1 to [`LABEL`] bytes, or to
/// [`MANAGED_LABEL`] if it is to be the whole device id.
pub fn is_label(text: &str, managed: bool) -> bool {
    let most = if managed { MANAGED_LABEL } else { LABEL };
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

impl Genesis {
    /// Its bytes. Of one of a newer level that was read, further bytes are not kept and so not
    /// written.
    pub fn encode(&self) -> Vec<u8> {
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
            out.varint(p.sequence.get());
            out.extend_from_slice(p.prefix.as_bytes());
        }
        out
    }

    /// Reads a genesis; of a newer level the fields that all levels have. An error for what
    /// FORMAT.md, 1.9 lists, but for its log and its dataset, which whoever asks must compare.
    pub fn decode(bytes: &[u8]) -> Read<Self> {
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
            Some(CommitRef {
                log,
                sequence: sequence.into(),
                prefix: ChainPrefix::from_bytes(r.array()?),
            })
        } else {
            None
        };
        if level == limits::LEVEL {
            r.end()?;
        }
        Ok(Self { level, dataset, nonce, managed, label, public_key, predecessor })
    }

    /// The device id that people see, where `log` is its hash: the label, with the first 8 digits
    /// of the log id unless it is managed.
    pub fn device_id(&self, log: LogId) -> String {
        if self.managed {
            self.label.clone()
        } else {
            format!("{}-{}", self.label, &log.to_string()[..8])
        }
    }

    /// Reads a genesis and checks that it is that of `log`; an error if it is not.
    pub fn of_log(bytes: &[u8], log: LogId) -> Read<Self> {
        let genesis = Self::decode(bytes)?;
        Reader::new(bytes).ensure(hash::log_id(bytes) == log, "a genesis of another log")?;
        Ok(genesis)
    }
}
