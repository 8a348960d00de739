//! What the journal holds over the tables, read when a store is opened.

use crate::error::{Error, Result, Table};
use crate::store::file::{Layout, Medium};
use crate::store::journal::Ring;
use crate::store::rows::{Delta, JOURNAL, Tables, in_order, read_journal_row, rows_of};

/// The journal, and what it holds over these tables. Reads it from where they say that it begins.
pub(super) fn replay(tables: &Tables, medium: Medium, layout: Layout) -> Result<(Ring, Delta)> {
    let row = tables.meta.get(JOURNAL.as_bytes())?;
    let missing = || Error::corrupt(Table::Meta, JOURNAL, "the row is missing");
    let from = read_journal_row(row.ok_or_else(missing)?.value())?;
    let (ring, payloads) = Ring::open(medium, layout, from)?;
    Ok((ring, Delta::default().with(in_order(rows_of(&payloads)?))))
}
