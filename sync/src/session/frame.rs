//! Frames: four bytes length of the body, one byte codec, four bytes checksum, the body. Numbers
//! have their most significant byte first.
//!
//! The body of codec 0 is the payload; that of codec 1 its length as a bincode varint, then one lz4
//! block. The checksum is the CRC-32 of codec and body: a link that alters bytes must never make up
//! a commit that nobody wrote. (It guards against faults, not against people.)

use super::codec;
use crate::error::{InvalidMessage, PeerMisbehaved, Result};
use crate::limits::{COMPRESS_MIN, FRAME_MAX, HELLO_MAX};

const HEADER: usize = 9;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// Appends a frame with this payload, compressed if that is allowed and pays.
pub(crate) fn write(payload: &[u8], compress: bool, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    if compress && payload.len() >= COMPRESS_MIN {
        codec::encode(&(payload.len() as u64), out);
        let block = out.len();
        out.resize(block + lz4_flex::block::get_maximum_output_size(payload.len()), 0);
        if let Ok(length) = lz4_flex::block::compress_into(payload, &mut out[block..]) {
            let packed = block + length - start - HEADER;
            if packed < payload.len() {
                out.truncate(block + length);
                return seal(out, start, LZ4);
            }
        }
        out.truncate(start + HEADER);
    }
    out.extend_from_slice(payload);
    seal(out, start, PLAIN);
}

fn seal(out: &mut [u8], start: usize, codec: u8) {
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
    compressed: bool,
}

impl FrameReader {
    /// For a peer that has not said hello: small frames, not compressed.
    pub(crate) fn new() -> Self {
        Self {
            header: Vec::with_capacity(HEADER),
            body: Vec::new(),
            limit: HELLO_MAX,
            compressed: false,
        }
    }

    /// The peer has said hello: full frames, compressed if that was negotiated.
    pub(crate) fn greeted(&mut self, compressed: bool) {
        self.limit = FRAME_MAX;
        self.compressed = compressed;
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

    fn unpack(&self, kind: u8, body: Vec<u8>) -> Result<Vec<u8>> {
        match kind {
            PLAIN => Ok(body),
            LZ4 if !self.compressed => Err(PeerMisbehaved::UnnegotiatedCodec.into()),
            LZ4 => {
                let (raw, block) = split_length(&body).ok_or(InvalidMessage::Unpacking)?;
                self.check(raw)?;
                let mut payload = vec![0; raw];
                match lz4_flex::block::decompress_into(block, &mut payload) {
                    Ok(length) if length == raw => Ok(payload),
                    _ => Err(InvalidMessage::Unpacking.into()),
                }
            }
            unknown => Err(InvalidMessage::UnknownCodec(unknown).into()),
        }
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
        reader.greeted(true);
        reader
    }

    fn read(mut bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        reader().take(&mut bytes)
    }

    fn framed(codec: u8, body: &[u8]) -> Vec<u8> {
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
        let error = read(&framed(LZ4, &[varint(1 << 40), vec![0; 20]].concat())).unwrap_err();
        let SyncError::InvalidMessage(InvalidMessage::FrameTooLong { length, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!(length, 1 << 40);
    }

    #[test]
    fn a_block_of_another_length_than_it_says_is_refused() {
        let block = lz4_flex::block::compress(&[7; 1000]);
        assert_eq!(
            read(&framed(LZ4, &[varint(1000), block.clone()].concat())).unwrap(),
            Some(vec![7; 1000])
        );
        for wrong in [0, 999, 1001] {
            let outcome = read(&framed(LZ4, &[varint(wrong), block.clone()].concat()));
            assert!(
                matches!(outcome, Err(SyncError::InvalidMessage(InvalidMessage::Unpacking))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_altered_byte_is_found() {
        let mut frame = Vec::new();
        write(b"the payload", false, &mut frame);
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
        let header = [&((FRAME_MAX + 1) as u32).to_be_bytes()[..], &[PLAIN, 0, 0, 0, 0]].concat();
        assert!(matches!(
            read(&header),
            Err(SyncError::InvalidMessage(InvalidMessage::FrameTooLong { .. }))
        ));
    }

    #[test]
    fn before_the_hello_frames_are_small_and_plain() {
        let mut frame = Vec::new();
        write(&[1; HELLO_MAX + 1], false, &mut frame);
        assert!(FrameReader::new().take(&mut &frame[..]).is_err());
        frame.clear();
        write(&[1; 1000], true, &mut frame);
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
        write(&noise, true, &mut frame);
        assert_eq!((frame[4], frame.len()), (PLAIN, noise.len() + HEADER));
    }

    proptest! {
        #[test]
        fn frames_survive_any_slicing(
            payloads in prop::collection::vec(prop::collection::vec(0u8..4, 0..2000), 0..5),
            compress: bool,
            cut in 1usize..700,
        ) {
            let mut stream = Vec::new();
            for payload in &payloads {
                write(payload, compress, &mut stream);
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
