//! The hello: what both ends say first, as numbered fields that anybody may add to.

use heirloom_core::model::{DatasetId, LogRoot, NodeId, Timestamp};

use super::codec;
use super::message::{Clock, Field, Hello};
use crate::error::{InvalidMessage, Result, SyncError};
use crate::limits::{HELLO_FIELDS, LEVEL, PROTOCOL};

const VERSIONS: u16 = 1;
const DATASET: u16 = 2;
const NODE: u16 = 3;
const CAPABILITIES: u16 = 4;
const ROOT: u16 = 5;
const WALL: u16 = 6;
const POLICY: u16 = 7;
const CUT: u16 = 8;
const CLOCK: u16 = 9;
const UNVERIFIED: u16 = 11;
const INSTANCE: u16 = 12;
const DATASET_NAME: u16 = 13;

/// Bytes of a dataset's name; a longer one is not told.
const NAME: usize = 255;

/// A hello, read.
#[derive(Debug, PartialEq)]
pub(crate) struct Greeting {
    /// Protocol versions spoken, first and last.
    pub(crate) protocol: (u8, u8),
    /// Format levels understood, first and last.
    pub(crate) level: (u8, u8),
    pub(crate) dataset: Option<DatasetId>,
    /// The sender's name among those that it syncs with.
    pub(crate) node: NodeId,
    /// Bits; unknown ones are ignored.
    pub(crate) capabilities: u64,
    pub(crate) root: LogRoot,
    pub(crate) wall: Option<Timestamp>,
    /// Fingerprint of the policies by which conflicts are shown; none where all entity types are
    /// under `auto`.
    pub(crate) policy: Option<[u8; 8]>,
    /// Fingerprint of the commits whose bodies do not verify at the sender; none where all do.
    pub(crate) unverified: Option<[u8; 8]>,
    /// In an answer to somebody of our node name: which opening of which store this is.
    pub(crate) instance: Option<[u8; 4]>,
    /// In an answer to somebody of another dataset: what people call ours.
    pub(crate) dataset_name: Option<String>,
    /// In an answer: root of the last cut remembered with this peer.
    pub(crate) cut: Option<LogRoot>,
    /// In an answer: the clock, when it is small.
    pub(crate) clock: Option<Clock>,
}

impl Greeting {
    pub(crate) fn new(node: NodeId, root: LogRoot) -> Self {
        Self {
            protocol: PROTOCOL,
            level: LEVEL,
            dataset: None,
            node,
            capabilities: 0,
            root,
            wall: None,
            policy: None,
            unverified: None,
            instance: None,
            dataset_name: None,
            cut: None,
            clock: None,
        }
    }

    pub(crate) fn write(&self) -> Hello {
        let mut fields = Vec::new();
        let mut put = |tag, bytes: &[u8]| fields.push(Field { tag, bytes: bytes.to_vec() });
        put(VERSIONS, &[self.protocol.0, self.protocol.1, self.level.0, self.level.1]);
        if let Some(dataset) = self.dataset {
            put(DATASET, dataset.as_bytes());
        }
        put(NODE, self.node.as_bytes());
        if self.capabilities != 0 {
            put(CAPABILITIES, &encoded(&self.capabilities));
        }
        put(ROOT, self.root.as_bytes());
        if let Some(wall) = self.wall {
            // Six bytes last until the year 9999, at which times of the format end.
            let millis = wall.as_millis().clamp(0, Timestamp::MAX.as_millis()) as u64;
            put(WALL, &millis.to_be_bytes()[2..]);
        }
        if let Some(policy) = self.policy {
            put(POLICY, &policy);
        }
        if let Some(unverified) = self.unverified {
            put(UNVERIFIED, &unverified);
        }
        if let Some(instance) = self.instance {
            put(INSTANCE, &instance);
        }
        if let Some(name) = self.dataset_name.as_deref().filter(|name| name.len() <= NAME) {
            put(DATASET_NAME, name.as_bytes());
        }
        if let Some(cut) = self.cut {
            put(CUT, cut.as_bytes());
        }
        if let Some(clock) = &self.clock {
            put(CLOCK, &encoded(clock));
        }
        Hello { fields }
    }

    /// Reads what it knows. The versions come first, so that an incompatible peer is told as such
    /// whatever else it sent.
    pub(crate) fn read(hello: &Hello) -> Result<Self> {
        if hello.fields.len() > HELLO_FIELDS {
            return Err(malformed("number of fields"));
        }
        let [first, last, level_first, level_last] =
            array(hello, VERSIONS, "versions")?.ok_or_else(|| malformed("versions"))?;
        if last < PROTOCOL.0 || first > PROTOCOL.1 {
            return Err(SyncError::PeerIncompatible { ours: PROTOCOL, theirs: (first, last) });
        }
        Ok(Self {
            protocol: (first, last),
            level: (level_first, level_last),
            dataset: array(hello, DATASET, "dataset")?.map(DatasetId::from_bytes),
            node: array(hello, NODE, "node")?
                .map(NodeId::from_bytes)
                .ok_or_else(|| malformed("node"))?,
            capabilities: decoded(hello, CAPABILITIES, "capabilities")?.unwrap_or(0),
            root: array(hello, ROOT, "root")?
                .map(LogRoot::from_bytes)
                .ok_or_else(|| malformed("root"))?,
            wall: array(hello, WALL, "wall")?
                .map(|[a, b, c, d, e, f]| i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
                .map(Timestamp::from_millis),
            policy: array(hello, POLICY, "policy")?,
            unverified: array(hello, UNVERIFIED, "unverified")?,
            instance: array(hello, INSTANCE, "instance")?,
            dataset_name: text(hello, DATASET_NAME, "name of the dataset")?,
            cut: array(hello, CUT, "cut")?.map(LogRoot::from_bytes),
            clock: decoded(hello, CLOCK, "clock")?,
        })
    }
}

fn encoded<T: bincode::Encode>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(value, &mut out);
    out
}

/// The field's bytes; an error if it is there twice.
fn find<'a>(hello: &'a Hello, tag: u16, name: &'static str) -> Result<Option<&'a [u8]>> {
    let mut found =
        hello.fields.iter().filter(|field| field.tag == tag).map(|field| &field.bytes[..]);
    match (found.next(), found.next()) {
        (bytes, None) => Ok(bytes),
        _ => Err(malformed(name)),
    }
}

fn array<const N: usize>(hello: &Hello, tag: u16, name: &'static str) -> Result<Option<[u8; N]>> {
    let bytes = find(hello, tag, name)?;
    bytes.map(|bytes| bytes.try_into().map_err(|_| malformed(name))).transpose()
}

/// A name for people; one that is too long is none.
fn text(hello: &Hello, tag: u16, name: &'static str) -> Result<Option<String>> {
    let text = |bytes: &[u8]| {
        let fits = Some(bytes).filter(|bytes| bytes.len() <= NAME);
        fits.and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned)
    };
    let bytes = find(hello, tag, name)?;
    bytes.map(|bytes| text(bytes).ok_or_else(|| malformed(name))).transpose()
}

fn decoded<T: bincode::Decode<()>>(
    hello: &Hello,
    tag: u16,
    name: &'static str,
) -> Result<Option<T>> {
    let bytes = find(hello, tag, name)?;
    bytes.map(|bytes| codec::decode(bytes).ok_or_else(|| malformed(name))).transpose()
}

fn malformed(what: &'static str) -> SyncError {
    InvalidMessage::Malformed { message: "Hello", what }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Greeting {
        Greeting {
            dataset: Some(DatasetId::from_bytes([1; 16])),
            capabilities: 1,
            wall: Some(Timestamp::from_millis(1_705_314_600_123)),
            policy: Some([0; 8]),
            instance: Some([5; 4]),
            dataset_name: Some("home".to_owned()),
            cut: Some(LogRoot::from_bytes([4; 32])),
            clock: Some(Clock {
                relative: false,
                more: false,
                ends: Vec::new(),
                staged: None,
                own: None,
            }),
            ..Greeting::new(NodeId::from_bytes([2; 16]), LogRoot::from_bytes([3; 32]))
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for greeting in
            [full(), Greeting::new(NodeId::from_bytes([8; 16]), LogRoot::from_bytes([9; 32]))]
        {
            assert_eq!(Greeting::read(&greeting.write()).unwrap(), greeting);
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let mut hello = full().write();
        hello.fields.insert(0, Field { tag: 4000, bytes: vec![1, 2, 3] });
        hello.fields.push(Field { tag: 4000, bytes: vec![] });
        assert_eq!(Greeting::read(&hello).unwrap(), full());
    }

    #[test]
    fn a_field_that_is_doubled_missing_or_of_another_length_is_an_error() {
        let changes: [fn(&mut Vec<Field>); 4] = [
            |fields| fields.retain(|f| f.tag != ROOT),
            |fields| fields.push(Field { tag: ROOT, bytes: vec![3; 32] }),
            |fields| fields.iter_mut().for_each(|f| f.bytes.push(0)),
            |fields| fields.extend((0..HELLO_FIELDS).map(|_| Field { tag: 5000, bytes: vec![] })),
        ];
        for change in changes {
            let mut hello = full().write();
            change(&mut hello.fields);
            assert!(matches!(Greeting::read(&hello), Err(SyncError::InvalidMessage(_))));
        }
    }

    #[test]
    fn a_peer_of_another_protocol_is_named_as_such_whatever_else_it_says() {
        let hello = Hello { fields: vec![Field { tag: VERSIONS, bytes: vec![7, 9, 1, 1] }] };
        let error = Greeting::read(&hello).unwrap_err();
        assert!(matches!(error, SyncError::PeerIncompatible { theirs: (7, 9), .. }), "{error}");
    }
}
