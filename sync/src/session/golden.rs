//! The bytes of every message, once and for all: in no other place would a change of bincode, or of
//! a field's order, be seen before two versions meet. They are read by wincode, too, the maintained
//! twin of bincode.

use heirloom_core::model::{DatasetId, LogRoot, NodeId, Timestamp};
use wincode::SchemaRead;
use wincode::config::{Configuration, deserialize_exact};
use wincode::int_encoding::{LittleEndian, VarInt};
use wincode::len::BincodeLen;

use super::frame::{Codec, FrameWriter};
use super::hello::Greeting;
use super::message::*;

const HEAD: WireHead =
    WireHead { log: [1; 16], sequence: 70_000, chain: [2; 32], total: 300, digest: [3; 16] };
const END: WireEnd = WireEnd { log: [4; 16], sequence: 5, prefix: [6; 16] };

fn clock() -> Clock {
    Clock {
        relative: true,
        more: false,
        ends: vec![END],
        staged: Some(WireStaged { head: HEAD, bytes: 256 }),
        own: Some([9; 16]),
    }
}

fn hello() -> Hello {
    let greeting = Greeting {
        dataset: Some(DatasetId::from_bytes([0xd5; 16])),
        capabilities: 1,
        wall: Some(Timestamp::from_millis(1_705_314_600_123)),
        policy: Some([0; 8]),
        cut: Some(LogRoot::from_bytes([0xcc; 32])),
        clock: Some(Clock { relative: false, more: false, ends: vec![], staged: None, own: None }),
        ..Greeting::new(NodeId::from_bytes([0x10; 16]), LogRoot::from_bytes([0x40; 32]))
    };
    greeting.write()
}

fn done() -> Done {
    Done { cut: [1; 32], root: [2; 32], digest: [3; 32] }
}

/// Every message and its payload: `x*n` stands for n times the byte x.
fn golden() -> [(Message, &'static str); 10] {
    [
        (
            Message::Hello(hello()),
            "01 09 \
             01 04 01010101 \
             02 10 d5*16 \
             03 10 10*16 \
             04 01 01 \
             05 20 40*32 \
             06 06 018d0cabc4bb \
             07 08 00*8 \
             08 20 cc*32 \
             09 05 00 00 00 00 00",
        ),
        (
            Message::Clock(clock()),
            "02 01 00 01 04*16 05 06*16 01 01*16 fc70110100 02*32 fb2c01 03*16 fb0001 01 09*16",
        ),
        (
            Message::Forks(Forks { answer: true, more: false, rungs: vec![END] }),
            "03 01 00 01 04*16 05 06*16",
        ),
        (
            Message::Commits(Commits { commits: vec![b"one".to_vec(), b"three".to_vec()] }),
            "04 02 03 6f6e65 05 7468726565",
        ),
        (
            Message::Part(Part { head: HEAD, offset: 256, bytes: b"part".to_vec() }),
            "05 01*16 fc70110100 02*32 fb2c01 03*16 fb0001 04 70617274",
        ),
        (Message::Ack(Ack { credit: 1 << 20, ends: vec![END] }), "06 fc00001000 01 04*16 05 06*16"),
        (Message::End(SendingEnds { commits: 250 }), "07 fa"),
        (Message::Want(Want { more: true, commits: vec![END] }), "08 01 01 04*16 05 06*16"),
        (Message::Done(done()), "0a 01*32 02*32 03*32"),
        (Message::Close(Close { reason: 6 }), "0c 06"),
    ]
}

fn bytes(text: &str) -> Vec<u8> {
    let byte = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
    let word = |word: &str| match word.split_once('*') {
        Some((hex, times)) => vec![byte(hex); times.parse().unwrap()],
        None => (0..word.len()).step_by(2).map(|at| byte(&word[at..at + 2])).collect(),
    };
    text.split_whitespace().flat_map(word).collect()
}

#[test]
fn messages_have_their_golden_bytes_both_ways() {
    for (message, text) in golden() {
        let payload = message.encode();
        assert_eq!(payload, bytes(text), "{} {payload:02x?}", message.name());
        assert_eq!(Message::decode(&payload).unwrap(), message);
    }
}

#[test]
fn frames_have_their_golden_bytes() {
    let mut out = Vec::new();
    let mut writer = FrameWriter::default();
    writer.greeted(Codec::Lz4);
    writer.write(&Message::End(SendingEnds { commits: 250 }).encode(), &mut out);
    assert_eq!(out, bytes("00000002 00 ed6854d7 07 fa"), "{out:02x?}");
}

#[test]
fn a_cut_or_longer_message_is_refused() {
    for (message, _) in golden() {
        let payload = message.encode();
        for length in 0..payload.len() {
            assert!(
                Message::decode(&payload[..length]).is_err(),
                "{} cut at {length}",
                message.name()
            );
        }
        assert!(
            Message::decode(&[&payload[..], &[0]].concat()).is_err(),
            "{} with a byte more",
            message.name()
        );
    }
}

#[test]
fn reserved_and_unknown_tags_are_refused() {
    for tag in [0, 9, 11, 13, 255] {
        assert!(Message::decode(&[tag, 0, 0, 0]).is_err(), "{tag}");
    }
}

/// What bincode calls its standard configuration.
type TwinConfig = Configuration<true, { 4 << 20 }, BincodeLen, LittleEndian, VarInt>;

/// The body of a golden message as wincode reads it.
fn twin<T: for<'de> SchemaRead<'de, TwinConfig, Dst = T>>(text: &str) -> T {
    deserialize_exact(&bytes(text)[1..], TwinConfig::new()).unwrap()
}

type TwinEnd = ([u8; 16], u64, [u8; 16]);
type TwinClock = (bool, bool, Vec<TwinEnd>, Option<(TwinHead, u64)>, Option<[u8; 16]>);
type TwinHead = ([u8; 16], u64, [u8; 32], u64, [u8; 16]);

fn twin_end(end: &WireEnd) -> TwinEnd {
    (end.log, end.sequence, end.prefix)
}

fn twin_head(head: &WireHead) -> TwinHead {
    (head.log, head.sequence, head.chain, head.total, head.digest)
}

#[test]
fn wincode_reads_what_bincode_wrote() {
    for (message, text) in golden() {
        match message {
            Message::Hello(m) => {
                let fields: Vec<_> = m.fields.into_iter().map(|f| (f.tag, f.bytes)).collect();
                assert_eq!(twin::<Vec<(u16, Vec<u8>)>>(text), fields);
            }
            Message::Clock(m) => {
                let ends: Vec<_> = m.ends.iter().map(twin_end).collect();
                let staged = m.staged.map(|staged| (twin_head(&staged.head), staged.bytes));
                let twin: TwinClock = twin(text);
                assert_eq!(twin, (m.relative, m.more, ends, staged, m.own));
            }
            Message::Forks(m) => {
                let twin: (bool, bool, Vec<TwinEnd>) = twin(text);
                assert_eq!(twin, (m.answer, m.more, m.rungs.iter().map(twin_end).collect()));
            }
            Message::Commits(m) => assert_eq!(twin::<Vec<Vec<u8>>>(text), m.commits),
            Message::Part(m) => {
                let twin: (TwinHead, u64, Vec<u8>) = twin(text);
                assert_eq!(twin, (twin_head(&m.head), m.offset, m.bytes));
            }
            Message::Ack(m) => {
                let twin: (u64, Vec<TwinEnd>) = twin(text);
                assert_eq!(twin, (m.credit, m.ends.iter().map(twin_end).collect()));
            }
            Message::End(m) => assert_eq!(twin::<u64>(text), m.commits),
            Message::Want(m) => {
                let twin: (bool, Vec<TwinEnd>) = twin(text);
                assert_eq!(twin, (m.more, m.commits.iter().map(twin_end).collect()));
            }
            Message::Done(m) => {
                let twin: ([u8; 32], [u8; 32], [u8; 32]) = twin(text);
                assert_eq!(twin, (m.cut, m.root, m.digest));
            }
            Message::Close(m) => {
                assert_eq!(twin::<u8>(text), m.reason);
            }
        }
    }
}
