//! Rows of `missing`: a commit that is damaged, or whose bodies do not verify.

use heirloom_core::bytes::{Put, Read, Reader};

use super::derived::ordinal;
use super::sealed::{hex, seal, unreadable, unseal};
use crate::error::{Error, Result};

/// A commit that is damaged, or whose bodies do not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) ordinal: u32,
    /// Its first sequence.
    pub(crate) first: u64,
    /// The record cannot be read; else its bodies do not verify.
    pub(crate) damaged: bool,
}

/// The row that marks a commit.
pub(crate) fn gap_row(lsn: u64, gap: &Gap) -> Vec<u8> {
    let mut out = vec![u8::from(gap.damaged)];
    out.varint(u64::from(gap.ordinal));
    out.varint(gap.first);
    seal(&lsn.to_be_bytes(), &out)
}

/// What a row marks.
pub(crate) fn read_gap(key: &[u8], row: &[u8]) -> Result<(u64, Gap)> {
    let mut r = Reader::new(unseal("missing", key, row)?);
    let lsn = <[u8; 8]>::try_from(key).map(u64::from_be_bytes);
    let lsn = lsn.map_err(|_| Error::corrupt("missing", hex(key), "not a place"))?;
    let mut read = || -> Read<Gap> {
        let gap = Gap { damaged: r.u8()? != 0, ordinal: ordinal(&mut r)?, first: r.varint()? };
        r.ensure(gap.first > 0, "no sequence")?;
        r.end()?;
        Ok(gap)
    };
    Ok((lsn, read().map_err(unreadable("missing", key))?))
}
