//! The name of a git object: a SHA-1 or a SHA-256.

use std::fmt;

/// An object id: 20 or 32 bytes, printed as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Oid {
    bytes: [u8; 32],
    len: u8,
}

impl Oid {
    /// From the bytes that stand in a tree object; none but 20 or 32 bytes are an id.
    pub(crate) fn from_bytes(raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        matches!(raw.len(), 20 | 32).then(|| bytes[..raw.len()].copy_from_slice(raw))?;
        Some(Self { bytes, len: raw.len() as u8 })
    }

    /// From hex, as git prints it.
    pub(crate) fn from_hex(hex: &[u8]) -> Option<Self> {
        let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
        let raw: Option<Vec<u8>> =
            hex.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
        Self::from_bytes(&raw?)
    }

    /// The bytes, 20 or 32.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Is it all zeros, git's way to write "none"?
    pub(crate) fn is_null(&self) -> bool {
        self.bytes == [0; 32]
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_bytes_are_inverse_for_both_hash_lengths() {
        for hex in ["00ff".repeat(10), "12ab".repeat(16)] {
            let oid = Oid::from_hex(hex.as_bytes()).unwrap();
            assert_eq!(oid.to_string(), hex);
            assert_eq!(Oid::from_bytes(oid.as_bytes()), Some(oid));
        }
        assert_eq!(Oid::from_hex(b"abc"), None);
        assert_eq!(Oid::from_hex("zz".repeat(20).as_bytes()), None);
    }
}
