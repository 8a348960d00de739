//! Rows of `missing`: a commit that is damaged, or whose bodies do not verify.

use heirloom_core::bytes::{Put, Read, Reader};
use heirloom_core::fold::{put_line, read_line};
use heirloom_core::model::{Line, Lsn, Sequence};

use super::sealed::{hex, seal, unreadable, unseal};
use super::tables::lsn_of;
use crate::error::{Error, Result, Table};

/// A commit that is damaged, or whose bodies do not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) line: Line,
    /// Its first sequence.
    pub(crate) first: Sequence,
    /// The record cannot be read; else its bodies do not verify.
    pub(crate) damaged: bool,
}

/// The row that marks a commit.
pub(crate) fn gap_row(lsn: Lsn, gap: &Gap) -> Vec<u8> {
    let mut out = vec![u8::from(gap.damaged)];
    put_line(&mut out, gap.line);
    out.varint(gap.first.get());
    seal(&lsn.get().to_be_bytes(), &out)
}

/// What a row marks.
pub(crate) fn read_gap(key: &[u8], row: &[u8]) -> Result<(Lsn, Gap)> {
    let mut r = Reader::new(unseal(Table::Missing, key, row)?);
    let misplaced = || Error::corrupt(Table::Missing, hex(key), "not a place");
    let lsn = lsn_of(key).ok_or_else(misplaced)?;
    let mut read = || -> Read<Gap> {
        let gap =
            Gap { damaged: r.u8()? != 0, line: read_line(&mut r)?, first: r.varint()?.into() };
        r.ensure(gap.first > Sequence::START, "no sequence")?;
        r.end()?;
        Ok(gap)
    };
    Ok((lsn, read().map_err(unreadable(Table::Missing, key))?))
}
