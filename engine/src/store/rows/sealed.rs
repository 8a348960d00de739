//! Rows with a checksum over key and value, so that a flipped bit or a misplaced row is noticed.

use heirloom_core::bytes::Malformed;

use crate::error::{Error, Result, Table};

const CRC: usize = 4;

fn crc(key: &[u8], value: &[u8]) -> [u8; CRC] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

pub(crate) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CRC + value.len());
    out.extend_from_slice(&crc(key, value));
    out.extend_from_slice(value);
    out
}

pub(crate) fn unseal<'a>(table: Table, key: &[u8], row: &'a [u8]) -> Result<&'a [u8]> {
    match row.split_at_checked(CRC) {
        Some((sum, value)) if sum == crc(key, value) => Ok(value),
        _ => Err(Error::corrupt(table, hex(key), "the checksum does not fit")),
    }
}

/// A row whose checksum fits, but whose bytes make no sense.
pub(crate) fn unreadable(table: Table, key: &[u8]) -> impl Fn(Malformed) -> Error {
    move |e| Error::corrupt(table, hex(key), e)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
