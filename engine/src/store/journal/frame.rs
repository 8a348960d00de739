//! Frames: what is written to the ring in one piece (FORMAT.md, 2.8). Pure; the ring is elsewhere.

use heirloom_core::bytes::{Put, Read, Reader};
use heirloom_core::format::hash::frame_sum;

/// Frames begin at multiples of it, so that no write touches a block that holds another.
pub(crate) const BLOCK: u64 = 4096;

/// Checksum over a frame, and over the sum of the one before it.
pub(crate) type Sum = [u8; 16];

/// Where a frame ends, and so where the next one begins and what that follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct End {
    /// Bytes of all frames ever written, and of what was passed by: it only grows.
    pub(crate) position: u64,
    pub(crate) sum: Sum,
}

impl End {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.varint(self.position);
        out.extend_from_slice(&self.sum);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Read<Self> {
        let position = r.varint()?;
        r.ensure(position % BLOCK == 0, "a position inside a block")?;
        Ok(Self { position, sum: r.array()? })
    }
}

/// What a frame begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) sum: Sum,
    /// The sum of the frame that it follows.
    pub(crate) before: Sum,
    pub(crate) position: u64,
    /// Of the payload.
    pub(crate) len: u32,
}

pub(crate) const HEAD: usize = 16 + 16 + 8 + 4;

impl Head {
    pub(crate) fn decode(bytes: &[u8; HEAD]) -> Self {
        fn part<const N: usize>(bytes: &[u8; HEAD], at: usize) -> [u8; N] {
            std::array::from_fn(|i| bytes[at + i])
        }
        Self {
            sum: part(bytes, 0),
            before: part(bytes, 16),
            position: u64::from_be_bytes(part(bytes, 32)),
            len: u32::from_be_bytes(part(bytes, 40)),
        }
    }

    /// Whether these are the bytes of such a frame, from `before` on.
    pub(crate) fn fits(&self, bytes: &[u8]) -> bool {
        frame_sum(bytes) == self.sum
    }

    /// Bytes in the ring.
    pub(crate) fn size(&self) -> u64 {
        size(self.len as usize)
    }
}

/// Bytes in the ring of a frame with such a payload.
pub(crate) fn size(payload: usize) -> u64 {
    (HEAD as u64 + payload as u64).next_multiple_of(BLOCK)
}

/// A frame in the making: its payload is written behind a place for its head.
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    pub(crate) fn new() -> Self {
        Self(vec![0; HEAD])
    }

    pub(crate) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(crate) fn size(&self) -> u64 {
        size(self.0.len() - HEAD)
    }

    /// Its bytes, padded, and its end.
    pub(crate) fn finish(self, position: u64, before: &Sum) -> (Vec<u8>, End) {
        let size = self.size();
        let mut bytes = self.0;
        let len = (bytes.len() - HEAD) as u32;
        bytes[16..32].copy_from_slice(before);
        bytes[32..40].copy_from_slice(&position.to_be_bytes());
        bytes[40..44].copy_from_slice(&len.to_be_bytes());
        let sum = frame_sum(&bytes[16..]);
        bytes[..16].copy_from_slice(&sum);
        bytes.resize(size as usize, 0);
        (bytes, End { position: position + size, sum })
    }
}
