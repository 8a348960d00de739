//! bincode, and nowhere else: the standard configuration (little endian, variable-length integers)
//! with a limit on what a message may claim. Golden bytes hold its output, so that no other version
//! can change the wire unnoticed.

use bincode::{Decode, Encode, config};

use crate::limits::DECODE_MAX;

type Config =
    config::Configuration<config::LittleEndian, config::Varint, config::Limit<DECODE_MAX>>;

const CONFIG: Config = config::standard().with_limit::<DECODE_MAX>();

/// Appends the bytes of `value`.
pub(crate) fn encode<T: Encode>(value: &T, out: &mut Vec<u8>) {
    bincode::encode_into_std_write(value, out, CONFIG).expect("a Vec takes every byte");
}

/// Reads a value from all of `bytes`; `None` if they are anything else than one.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Option<T> {
    match bincode::decode_from_slice(bytes, CONFIG) {
        Ok((value, length)) if length == bytes.len() => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_memory_is_taken() {
        let mut bytes = Vec::new();
        encode(&u64::MAX, &mut bytes);
        assert_eq!(decode::<Vec<u64>>(&bytes), None);
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(decode::<u8>(&[1]), Some(1));
        assert_eq!(decode::<u8>(&[1, 2]), None);
    }
}
