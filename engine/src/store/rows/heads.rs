//! Rows of `heads`.

use heirloom_core::fold::Heads;

use super::directory::Directory;
use super::sealed::{unreadable, unseal};
use crate::error::Result;

/// The heads that a row holds.
pub(crate) fn decode_row(key: &[u8], row: &[u8], directory: &Directory) -> Result<Heads> {
    let bytes = unseal("heads", key, row)?;
    Heads::decode(bytes, directory).map_err(unreadable("heads", key))
}
