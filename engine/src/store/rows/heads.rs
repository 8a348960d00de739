//! Rows of `heads`.

use heirloom_core::fold::Heads;

use super::directory::Directory;
use super::sealed::{unreadable, unseal};
use crate::error::{Result, Table};

/// The heads that a row holds.
pub(crate) fn decode_row(key: &[u8], row: &[u8], directory: &Directory) -> Result<Heads> {
    let bytes = unseal(Table::Heads, key, row)?;
    Heads::decode(bytes, directory).map_err(unreadable(Table::Heads, key))
}
