//! Every message, and the one list of their tags.
//!
//! A payload is a tag byte and the message in bincode. What must grow is the [`Hello`]: a list of
//! numbered fields.

use bincode::{Decode, Encode};
use heirloom_core::model::{Chain, ChainPrefix, CommitRef, LogId, Sequence};
use heirloom_core::replica::{End, Staged, StagedHead};

use super::codec;
use crate::error::{InvalidMessage, Reason, Result, SyncError};

/// What the first byte of a payload says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Tag {
    Hello = 1,
    Clock = 2,
    Forks = 3,
    Commits = 4,
    Part = 5,
    Ack = 6,
    End = 7,
    Want = 8,
    /// Not given: bodies travel in their commits.
    Bodies = 9,
    Done = 10,
    /// Reserved: the session stays open.
    Live = 11,
    Close = 12,
}

impl Tag {
    const ALL: [Tag; 12] = {
        use Tag::*;
        [Hello, Clock, Forks, Commits, Part, Ack, End, Want, Bodies, Done, Live, Close]
    };
}

/// A message.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    Hello(Hello),
    Clock(Clock),
    Forks(Forks),
    Commits(Commits),
    Part(Part),
    Ack(Ack),
    End(SendingEnds),
    Want(Want),
    Done(Done),
    Close(Close),
}

/// Opens a session, from both ends.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct Hello {
    pub(crate) fields: Vec<Field>,
}

/// A field of a hello; whoever does not know its tag ignores it.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) tag: u16,
    pub(crate) bytes: Vec<u8>,
}

/// The ends of the sender's logs, in one or several frames.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct Clock {
    /// Only what changed since the cut that both remember.
    pub(crate) relative: bool,
    /// Another frame with more ends follows.
    pub(crate) more: bool,
    /// Strictly ascending, over all frames; a log that forked has several.
    pub(crate) ends: Vec<WireEnd>,
    /// The large commit of which the sender has parts already (in the last frame).
    pub(crate) staged: Option<WireStaged>,
    /// The log that the sender writes (in the last frame).
    pub(crate) own: Option<[u8; 16]>,
}

/// Ladders down the branches of logs that forked, in one or several frames.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct Forks {
    /// To the peer's ladders.
    pub(crate) answer: bool,
    /// Another frame with more rungs follows.
    pub(crate) more: bool,
    /// Strictly ascending, over all frames of this round.
    pub(crate) rungs: Vec<WireEnd>,
}

/// Whole commits in arrival order, each as FORMAT.md, 1.7 has it.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct Commits {
    pub(crate) commits: Vec<Vec<u8>>,
}

/// A piece of a large commit.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) head: WireHead,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// So much is durable.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct Ack {
    /// Commit bytes that may be sent in their place.
    pub(crate) credit: u64,
    /// Ends of logs that are durable here now, of those that came since the last one.
    pub(crate) ends: Vec<WireEnd>,
}

/// All that the sender had is sent.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct SendingEnds {
    /// How many commits that was.
    pub(crate) commits: u64,
}

/// Commits whose bodies do not verify at the sender, in one or several frames: it would have them
/// again.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct Want {
    /// Another frame with more commits follows.
    pub(crate) more: bool,
    /// Their ends, in the sender's order of arrival.
    pub(crate) commits: Vec<WireEnd>,
}

/// All that was sent is durable.
#[derive(Encode, Decode, Debug, PartialEq, Clone, Copy)]
pub(crate) struct Done {
    /// Log root of what either end held when the session began.
    pub(crate) cut: [u8; 32],
    /// Log root of what the sender holds now.
    pub(crate) root: [u8; 32],
    /// Its state digest now.
    pub(crate) digest: [u8; 32],
}

/// The sender gives up.
#[derive(Encode, Decode, Debug, PartialEq)]
pub(crate) struct Close {
    pub(crate) reason: u8,
}

/// The end of a log: the last sequence of a commit and 16 bytes of its chain.
#[derive(Encode, Decode, Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
pub(crate) struct WireEnd {
    pub(crate) log: [u8; 16],
    pub(crate) sequence: u64,
    pub(crate) prefix: [u8; 16],
}

/// Which commit a part belongs to, and what it must give.
#[derive(Encode, Decode, Debug, PartialEq, Clone, Copy)]
pub(crate) struct WireHead {
    pub(crate) log: [u8; 16],
    pub(crate) sequence: u64,
    pub(crate) chain: [u8; 32],
    /// Bytes of the whole commit.
    pub(crate) total: u64,
    /// First 16 bytes of their BLAKE3 hash.
    pub(crate) digest: [u8; 16],
}

/// How much of a large commit is there.
#[derive(Encode, Decode, Debug, PartialEq, Clone, Copy)]
pub(crate) struct WireStaged {
    pub(crate) head: WireHead,
    pub(crate) bytes: u64,
}

impl Message {
    fn tag(&self) -> Tag {
        match self {
            Message::Hello(_) => Tag::Hello,
            Message::Clock(_) => Tag::Clock,
            Message::Forks(_) => Tag::Forks,
            Message::Commits(_) => Tag::Commits,
            Message::Part(_) => Tag::Part,
            Message::Ack(_) => Tag::Ack,
            Message::End(_) => Tag::End,
            Message::Want(_) => Tag::Want,
            Message::Done(_) => Tag::Done,
            Message::Close(_) => Tag::Close,
        }
    }

    /// For errors.
    pub(crate) fn name(&self) -> &'static str {
        name(self.tag())
    }

    /// The payload of its frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag() as u8];
        match self {
            Message::Hello(m) => codec::encode(m, &mut out),
            Message::Clock(m) => codec::encode(m, &mut out),
            Message::Forks(m) => codec::encode(m, &mut out),
            Message::Commits(m) => codec::encode(m, &mut out),
            Message::Part(m) => codec::encode(m, &mut out),
            Message::Ack(m) => codec::encode(m, &mut out),
            Message::End(m) => codec::encode(m, &mut out),
            Message::Want(m) => codec::encode(m, &mut out),
            Message::Done(m) => codec::encode(m, &mut out),
            Message::Close(m) => codec::encode(m, &mut out),
        }
        out
    }

    /// Reads a payload. Tags that are unknown or reserved are an error: they are sent only to those
    /// who asked for them.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self> {
        let (&first, body) = payload.split_first().ok_or(InvalidMessage::UnknownMessage(0))?;
        let tag = Tag::ALL.into_iter().find(|tag| *tag as u8 == first);
        let message = match tag.ok_or(InvalidMessage::UnknownMessage(first))? {
            Tag::Hello => codec::decode(body).map(Message::Hello),
            Tag::Clock => codec::decode(body).map(Message::Clock),
            Tag::Forks => codec::decode(body).map(Message::Forks),
            Tag::Commits => codec::decode(body).map(Message::Commits),
            Tag::Part => codec::decode(body).map(Message::Part),
            Tag::Ack => codec::decode(body).map(Message::Ack),
            Tag::End => codec::decode(body).map(Message::End),
            Tag::Want => codec::decode(body).map(Message::Want),
            Tag::Done => codec::decode(body).map(Message::Done),
            Tag::Close => codec::decode(body).map(Message::Close),
            Tag::Bodies | Tag::Live => {
                return Err(InvalidMessage::UnknownMessage(first).into());
            }
        };
        let known = tag.map_or("", name);
        message.ok_or_else(|| InvalidMessage::Malformed { message: known, what: "content" }.into())
    }
}

fn name(tag: Tag) -> &'static str {
    match tag {
        Tag::Hello => "Hello",
        Tag::Clock => "Clock",
        Tag::Forks => "Forks",
        Tag::Commits => "Commits",
        Tag::Part => "Part",
        Tag::Ack => "Ack",
        Tag::End => "End",
        Tag::Want => "Want",
        Tag::Bodies => "Bodies",
        Tag::Done => "Done",
        Tag::Live => "Live",
        Tag::Close => "Close",
    }
}

impl Close {
    /// What the peer is told about an error of ours; nothing where the link or the peer itself has
    /// ended the session.
    pub(crate) fn for_error(error: &SyncError) -> Option<Self> {
        let reason = match error {
            SyncError::Cancelled => Reason::Cancelled,
            SyncError::Timeout(_) => Reason::Timeout,
            SyncError::InvalidMessage(InvalidMessage::Checksum) => Reason::Altered,
            SyncError::InvalidMessage(_) => Reason::InvalidMessage,
            SyncError::PeerMisbehaved(_) => Reason::Misbehaved,
            SyncError::PeerIncompatible { .. } => Reason::Incompatible,
            SyncError::WrongDataset { .. } => Reason::WrongDataset,
            SyncError::Oneself { .. } => Reason::Oneself,
            SyncError::NotAdmitted { .. } => Reason::NotAdmitted,
            SyncError::Diverged(_) => Reason::Diverged,
            SyncError::Replica(_) => Reason::Replica,
            SyncError::Overtaken => Reason::Overtaken,
            SyncError::PeerFailed(_)
            | SyncError::Transport(_)
            | SyncError::Lookup(_)
            | SyncError::Listen(_) => return None,
        };
        Some(Self { reason: number(reason) })
    }

    /// What the peer's reason is to us.
    pub(crate) fn into_error(self) -> SyncError {
        let known = REASONS.iter().find(|(n, _)| *n == self.reason);
        SyncError::PeerFailed(known.map_or(Reason::Other(self.reason), |(_, reason)| *reason))
    }
}

/// 7 is not given.
const REASONS: [(u8, Reason); 12] = [
    (1, Reason::Cancelled),
    (2, Reason::Timeout),
    (3, Reason::InvalidMessage),
    (4, Reason::Misbehaved),
    (5, Reason::Incompatible),
    (6, Reason::WrongDataset),
    (8, Reason::Diverged),
    (9, Reason::Replica),
    (10, Reason::Overtaken),
    (11, Reason::NotAdmitted),
    (12, Reason::Oneself),
    (13, Reason::Altered),
];

fn number(reason: Reason) -> u8 {
    match reason {
        Reason::Other(n) => n,
        known => REASONS.iter().find(|(_, r)| *r == known).map_or(0, |(n, _)| *n),
    }
}

impl From<&End> for WireEnd {
    fn from(end: &End) -> Self {
        Self {
            log: *end.log.as_bytes(),
            sequence: end.sequence.get(),
            prefix: *end.chain.prefix().as_bytes(),
        }
    }
}

impl From<&CommitRef> for WireEnd {
    fn from(commit: &CommitRef) -> Self {
        Self {
            log: *commit.log.as_bytes(),
            sequence: commit.sequence.get(),
            prefix: *commit.prefix.as_bytes(),
        }
    }
}

impl WireEnd {
    pub(crate) fn log(&self) -> LogId {
        LogId::from_bytes(self.log)
    }

    pub(crate) fn sequence(&self) -> Sequence {
        self.sequence.into()
    }

    pub(crate) fn reference(&self) -> CommitRef {
        let prefix = ChainPrefix::from_bytes(self.prefix);
        CommitRef { log: self.log(), sequence: self.sequence(), prefix }
    }

    /// Of the same log.
    pub(crate) fn is(&self, end: &End) -> bool {
        self.sequence() == end.sequence
            && ChainPrefix::from_bytes(self.prefix) == end.chain.prefix()
    }
}

impl From<&StagedHead> for WireHead {
    fn from(head: &StagedHead) -> Self {
        Self {
            log: *head.log.as_bytes(),
            sequence: head.sequence.get(),
            chain: *head.chain.as_bytes(),
            total: head.total,
            digest: head.digest,
        }
    }
}

impl WireHead {
    pub(crate) fn of_commit(end: &End, bytes: &[u8]) -> Self {
        let (log, chain) = (*end.log.as_bytes(), *end.chain.as_bytes());
        Self {
            log,
            sequence: end.sequence.get(),
            chain,
            total: bytes.len() as u64,
            digest: digest(bytes),
        }
    }

    pub(crate) fn to_head(self) -> StagedHead {
        StagedHead {
            log: LogId::from_bytes(self.log),
            sequence: self.sequence.into(),
            chain: Chain::from_bytes(self.chain),
            total: self.total,
            digest: self.digest,
        }
    }
}

impl From<&Staged> for WireStaged {
    fn from(staged: &Staged) -> Self {
        Self { head: (&staged.head).into(), bytes: staged.bytes }
    }
}

/// First 16 bytes of the BLAKE3 hash of a commit as it travels.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    out
}
