//! Rows to be written together: all of them become durable, or none.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::ops::RangeBounds;

use super::delta::{Row, in_order};
use super::open_tables::Tables;
use super::read_table::{Bytes, ReadTable, Rows};
use crate::error::{Result, Table};

/// What one durable commit changes. Whoever reads through it sees what was there before.
pub(crate) struct RowBatch<'t> {
    tables: &'t Tables,
    rows: RefCell<Vec<Row>>,
}

/// A table of it.
pub(crate) struct RowTable<'b> {
    table: Table,
    before: ReadTable,
    rows: &'b RefCell<Vec<Row>>,
}

impl<'t> RowBatch<'t> {
    pub(crate) fn over(tables: &'t Tables) -> Self {
        Self { tables, rows: RefCell::default() }
    }

    /// A table, which comes into being with its first row.
    pub(crate) fn open_table(&self, table: Table) -> Result<RowTable<'_>> {
        Ok(RowTable { table, before: self.tables.any(table)?, rows: &self.rows })
    }

    /// What it changes, in order.
    pub(crate) fn into_rows(self) -> Vec<Row> {
        in_order(self.rows.into_inner())
    }
}

impl RowTable<'_> {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.before.get(key)
    }

    pub(crate) fn range<'k, K: Borrow<&'k [u8]> + 'k>(
        &self,
        bounds: impl RangeBounds<K> + 'k,
    ) -> Result<Rows> {
        self.before.range(bounds)
    }

    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) {
        self.rows.borrow_mut().push(Row::new(self.table, key, Some(value)));
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.rows.borrow_mut().push(Row::new(self.table, key, None));
    }

    /// Removes all rows between two keys, both included, that were there before.
    pub(crate) fn remove_between(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        for row in self.before.range(from..=to)? {
            self.remove(row?.0.value());
        }
        Ok(())
    }
}
