//! Frames: four bytes length of the body, one byte codec, four bytes checksum, the body. Numbers
//! have their most significant byte first.
//!
//! The body of codec 0 is the payload; that of codec 1 its length as a bincode varint, then one lz4
//! block; that of codec 2 the same length, then how the sender's zstd stream goes on. The checksum
//! is the CRC-32 of codec and body: a link that alters bytes must never make up
//! a commit that nobody wrote. (It guards against faults, not against people.)

use super::codec;
#[cfg(feature = "zstd")]
use super::zstd::{Packer, Unpacker};
use crate::error::{InvalidMessage, PeerMisbehaved, Result};
use crate::limits::{COMPRESS_MIN, FRAME_MAX, HELLO_MAX};

const HEADER: usize = 9;

/// How a body is made of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub(crate) enum Codec {
    #[default]
    Plain = 0,
    Lz4 = 1,
    #[cfg(feature = "zstd")]
    Zstd = 2,
}

impl Codec {
    /// Those that compress, the best first.
    const ALL: &[Self] = &[
        #[cfg(feature = "zstd")]
        Self::Zstd,
        Self::Lz4,
    ];

    /// The bit of a hello's capabilities that says that one can unpack it.
    const fn bit(self) -> u64 {
        (1 << self as u8) >> 1
    }

    /// The capabilities of an end that takes all that this build can.
    pub(crate) fn capabilities() -> u64 {
        Self::ALL.iter().map(|codec| codec.bit()).sum()
    }

    /// The best that an end with these capabilities can unpack.
    pub(crate) fn best_of(capabilities: u64) -> Self {
        let can = |codec: &&Self| capabilities & codec.bit() != 0;
        Self::ALL.iter().find(can).copied().unwrap_or_default()
    }
}

/// Writes frames.
#[derive(Default)]
pub(crate) struct FrameWriter {
    codec: Codec,
    #[cfg(feature = "zstd")]
    packer: Packer,
}

impl FrameWriter {
    /// From now on compresses.
    pub(crate) fn greeted(&mut self, codec: Codec) {
        self.codec = codec;
    }

    /// Appends a frame with this payload, compressed if that was agreed on and pays.
    pub(crate) fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        let packed = payload.len() >= COMPRESS_MIN && self.pack(payload, out);
        if !packed {
            out.truncate(start + HEADER);
            out.extend_from_slice(payload);
        }
        seal(out, start, if packed { self.codec } else { Codec::Plain });
    }

    /// Appends the body; false where the payload should rather travel as it is.
    fn pack(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        codec::encode(&(payload.len() as u64), out);
        match self.codec {
            Codec::Plain => false,
            Codec::Lz4 => {
                let block = out.len();
                out.resize(block + lz4_flex::block::get_maximum_output_size(payload.len()), 0);
                let length = lz4_flex::block::compress_into(payload, &mut out[block..]);
                out.truncate(block + length.unwrap_or(payload.len()));
                out.len() - start < payload.len()
            }
            // what is in the stream has to travel: noise is longer by a few bytes then
            #[cfg(feature = "zstd")]
            Codec::Zstd => match self.packer.pack(payload, out) {
                Ok(()) => true,
                Err(_) => {
                    // a stream that broke off is over, but frames need none
                    self.codec = Codec::Plain;
                    false
                }
            },
        }
    }
}

fn seal(out: &mut [u8], start: usize, codec: Codec) {
    let codec = codec as u8;
    let length = (out.len() - start - HEADER) as u32;
    let checksum = checksum(codec, &out[start + HEADER..]);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4] = codec;
    out[start + 5..start + HEADER].copy_from_slice(&checksum.to_be_bytes());
}

fn checksum(codec: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[codec]);
    hasher.update(body);
    hasher.finalize()
}

/// Puts frames together from slices of a stream, however these are cut. Holds one frame at most.
pub(crate) struct FrameReader {
    header: Vec<u8>,
    body: Vec<u8>,
    limit: usize,
    /// What the peer was told that it may use.
    capabilities: u64,
    #[cfg(feature = "zstd")]
    unpacker: Unpacker,
}

impl FrameReader {
    /// For a peer that has not said hello: small frames, not compressed.
    pub(crate) fn new() -> Self {
        Self {
            header: Vec::with_capacity(HEADER),
            body: Vec::new(),
            limit: HELLO_MAX,
            capabilities: 0,
            #[cfg(feature = "zstd")]
            unpacker: Unpacker::default(),
        }
    }

    /// The peer has said hello: full frames, compressed as it was told that it may.
    pub(crate) fn greeted(&mut self, capabilities: u64) {
        self.limit = FRAME_MAX;
        self.capabilities = capabilities;
    }

    /// Takes bytes off `input`; the payload once a frame is whole, `None` when `input` is used up.
    pub(crate) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>> {
        move_up_to(input, &mut self.header, HEADER);
        let [a, b, c, d, kind, e, f, g, h] = self.header[..] else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        self.check(length)?;
        if self.body.capacity() == 0 {
            self.body.reserve_exact(length);
        }
        move_up_to(input, &mut self.body, length);
        if self.body.len() < length {
            return Ok(None);
        }
        self.header.clear();
        let body = std::mem::take(&mut self.body);
        if checksum(kind, &body) != u32::from_be_bytes([e, f, g, h]) {
            return Err(InvalidMessage::Checksum.into());
        }
        self.unpack(kind, body).map(Some)
    }

    fn check(&self, length: usize) -> Result<()> {
        let (length, limit) = (length as u64, self.limit as u64);
        if length > limit {
            return Err(InvalidMessage::FrameTooLong { length, limit }.into());
        }
        Ok(())
    }

    fn unpack(&mut self, kind: u8, body: Vec<u8>) -> Result<Vec<u8>> {
        if kind == Codec::Plain as u8 {
            return Ok(body);
        }
        let Some(codec) = Codec::ALL.iter().find(|codec| **codec as u8 == kind) else {
            return Err(InvalidMessage::UnknownCodec(kind).into());
        };
        if self.capabilities & codec.bit() == 0 {
            return Err(PeerMisbehaved::UnnegotiatedCodec.into());
        }
        let (raw, packed) = split_length(&body).ok_or(InvalidMessage::Unpacking)?;
        self.check(raw)?;
        let payload = match codec {
            #[cfg(feature = "zstd")]
            Codec::Zstd => self.unpacker.unpack(packed, raw),
            _ => lz4_flex::block::decompress(packed, raw).ok().filter(|p| p.len() == raw),
        };
        payload.ok_or(InvalidMessage::Unpacking.into())
    }
}

fn move_up_to(input: &mut &[u8], into: &mut Vec<u8>, length: usize) {
    let (head, tail) = input.split_at(input.len().min(length.saturating_sub(into.len())));
    into.extend_from_slice(head);
    *input = tail;
}

/// The varint in front: one byte below 251, else 251, 252 or 253 and two, four or eight bytes,
/// least significant first.
fn split_length(body: &[u8]) -> Option<(usize, &[u8])> {
    let width = match *body.first()? {
        251 => 3,
        252 => 5,
        253 => 9,
        _ => 1,
    };
    let (varint, rest) = body.split_at_checked(width)?;
    Some((usize::try_from(codec::decode::<u64>(varint)?).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::SyncError;

    fn reader() -> FrameReader {
        let mut reader = FrameReader::new();
        reader.greeted(Codec::capabilities());
        reader
    }

    fn writer(codec: Codec) -> FrameWriter {
        let mut writer = FrameWriter::default();
        writer.greeted(codec);
        writer
    }

    fn read(mut bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        reader().take(&mut bytes)
    }

    fn framed(codec: Codec, body: &[u8]) -> Vec<u8> {
        let mut frame = [&[0; HEADER][..], body].concat();
        seal(&mut frame, 0, codec);
        frame
    }

    fn varint(length: u64) -> Vec<u8> {
        let mut out = Vec::new();
        codec::encode(&length, &mut out);
        out
    }

    #[test]
    fn a_decompression_bomb_is_refused_before_memory_is_taken() {
        for codec in Codec::ALL {
            let bomb = framed(*codec, &[varint(1 << 40), vec![0; 20]].concat());
            let error = read(&bomb).unwrap_err();
            let SyncError::InvalidMessage(InvalidMessage::FrameTooLong { length, .. }) = error
            else {
                panic!("{error}")
            };
            assert_eq!(length, 1 << 40);
        }
    }

    #[test]
    fn a_block_of_another_length_than_it_says_is_refused() {
        let block = lz4_flex::block::compress(&[7; 1000]);
        assert_eq!(
            read(&framed(Codec::Lz4, &[varint(1000), block.clone()].concat())).unwrap(),
            Some(vec![7; 1000])
        );
        for wrong in [0, 999, 1001] {
            let outcome = read(&framed(Codec::Lz4, &[varint(wrong), block.clone()].concat()));
            assert!(
                matches!(outcome, Err(SyncError::InvalidMessage(InvalidMessage::Unpacking))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_altered_byte_is_found() {
        let mut frame = Vec::new();
        FrameWriter::default().write(b"the payload", &mut frame);
        for at in 4..frame.len() {
            let mut altered = frame.clone();
            altered[at] ^= 0x10;
            assert!(
                matches!(read(&altered), Err(SyncError::InvalidMessage(InvalidMessage::Checksum))),
                "{at}"
            );
        }
    }

    #[test]
    fn a_long_frame_is_refused_by_its_length_alone() {
        let header = [&((FRAME_MAX + 1) as u32).to_be_bytes()[..], &[0, 0, 0, 0, 0]].concat();
        assert!(matches!(
            read(&header),
            Err(SyncError::InvalidMessage(InvalidMessage::FrameTooLong { .. }))
        ));
    }

    #[test]
    fn before_the_hello_frames_are_small_and_plain() {
        let mut frame = Vec::new();
        FrameWriter::default().write(&[1; HELLO_MAX + 1], &mut frame);
        assert!(FrameReader::new().take(&mut &frame[..]).is_err());
        frame.clear();
        writer(Codec::Lz4).write(&[1; 1000], &mut frame);
        let error = FrameReader::new().take(&mut &frame[..]).unwrap_err();
        assert!(matches!(error, SyncError::PeerMisbehaved(PeerMisbehaved::UnnegotiatedCodec)));
    }

    #[test]
    fn what_does_not_shrink_travels_plain() {
        let mut noise = Vec::new();
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"noise");
        noise.resize(4000, 0);
        hasher.finalize_xof().fill(&mut noise);
        let mut frame = Vec::new();
        writer(Codec::Lz4).write(&noise, &mut frame);
        assert_eq!((frame[4], frame.len()), (0, noise.len() + HEADER));
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn a_zstd_stream_remembers_what_it_said_and_needs_little_more_for_noise() {
        let mut noise = vec![0; 4000];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut noise);
        let mut writer = writer(Codec::Zstd);
        let lengths = [0, 1].map(|_| {
            let mut frame = Vec::new();
            writer.write(&noise, &mut frame);
            assert_eq!(frame[4], 2);
            frame.len()
        });
        assert!(lengths[0] < noise.len() + 32 && lengths[1] < 64, "{lengths:?}");
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn a_zstd_stream_that_goes_on_otherwise_than_it_says_is_refused() {
        let mut packed = Vec::new();
        Packer::default().pack(&[7; 1000], &mut packed).unwrap();
        let said =
            |length, packed: &[u8]| read(&framed(Codec::Zstd, &[&varint(length), packed].concat()));
        assert_eq!(said(1000, &packed).unwrap(), Some(vec![7; 1000]));
        let cut = &packed[..packed.len() - 1];
        for (length, packed) in [(999, &packed[..]), (1001, &packed), (0, &packed), (1000, cut)] {
            let refused = said(length, packed);
            assert!(
                matches!(refused, Err(SyncError::InvalidMessage(InvalidMessage::Unpacking))),
                "{length}"
            );
        }
        // the second frame of a stream is none without the first
        let mut packer = Packer::default();
        let mut parts = [Vec::new(), Vec::new()];
        parts.iter_mut().for_each(|part| packer.pack(&[7; 1000], part).unwrap());
        assert!(said(1000, &parts[1]).is_err());
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn a_zstd_stream_that_looks_back_further_than_both_keep_is_refused() {
        use zstd::stream::raw::CParameter;
        let packed = |window| {
            let mut stream = zstd::stream::Encoder::new(varint(5000), 1).unwrap();
            stream.set_parameter(CParameter::WindowLog(window)).unwrap();
            std::io::Write::write_all(&mut stream, &[7; 5000]).unwrap();
            std::io::Write::flush(&mut stream).unwrap();
            stream.get_ref().clone()
        };
        assert_eq!(read(&framed(Codec::Zstd, &packed(20))).unwrap(), Some(vec![7; 5000]));
        assert!(read(&framed(Codec::Zstd, &packed(21))).is_err());
    }

    proptest! {
        #[test]
        fn frames_survive_any_slicing(
            payloads in prop::collection::vec(prop::collection::vec(0u8..4, 0..2000), 0..5),
            capabilities in 0..4u64,
            cut in 1usize..700,
        ) {
            let mut stream = Vec::new();
            let mut writer = writer(Codec::best_of(capabilities));
            for payload in &payloads {
                writer.write(payload, &mut stream);
            }
            let (mut reader, mut out) = (reader(), Vec::new());
            for mut slice in stream.chunks(cut) {
                while let Some(payload) = reader.take(&mut slice).unwrap() {
                    out.push(payload);
                }
            }
            prop_assert_eq!(out, payloads);
        }

        #[test]
        fn any_bytes_are_a_frame_an_error_or_incomplete(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = read(&bytes);
        }
    }
}
