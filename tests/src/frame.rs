//! Frames, written from PROTOCOL.md alone.

/// One whose checksum fits. Codec 0: the body is the payload.
pub fn frame(codec: u8, body: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(&[&[codec], body].concat());
    let length = (body.len() as u32).to_be_bytes();
    [&length[..], &[codec], &sum.to_be_bytes(), body].concat()
}
