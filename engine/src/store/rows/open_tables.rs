//! The tables, opened: what one read transaction sees of them.

use super::guard::{ASIDE, ReadTable, ReadTables};
use super::tables::{
    ALL, BY_TYPE, DOTS, HEADS, LOG, META, OF_SOME, PEERS, STAGING, TYPE_NAMES, TYPES, Table,
    UNSETTLED,
};
use crate::error::Result;

/// The tables as one read transaction sees them. Cheap to share; while it lives, redb keeps the
/// pages that it can see.
pub(crate) struct Tables {
    pub(crate) meta: ReadTable,
    pub(crate) types: ReadTable,
    pub(crate) type_names: ReadTable,
    pub(crate) log: ReadTable,
    pub(crate) dots: ReadTable,
    pub(crate) heads: ReadTable,
    pub(crate) by_type: ReadTable,
    pub(crate) unsettled: ReadTable,
    pub(crate) staging: ReadTable,
    pub(crate) peers: ReadTable,
    /// Number of the durable commit that it shows, counted since opening.
    pub(crate) commit: u64,
    pub(crate) transaction: ReadTables,
}

impl Tables {
    pub(crate) fn open(transaction: ReadTables, commit: u64) -> Result<Self> {
        Ok(Self {
            commit,
            meta: transaction.table(META)?,
            types: transaction.table(TYPES)?,
            type_names: transaction.table(TYPE_NAMES)?,
            log: transaction.table(LOG)?,
            dots: transaction.table(DOTS)?,
            heads: transaction.table(HEADS)?,
            by_type: transaction.table(BY_TYPE)?,
            unsettled: transaction.table(UNSETTLED)?,
            staging: transaction.table(STAGING)?,
            peers: transaction.table(PEERS)?,
            transaction,
        })
    }

    /// A table that only some stores have.
    pub(crate) fn optional(&self, table: Table) -> Result<Option<ReadTable>> {
        self.transaction.of_store(table)
    }

    /// Whether the tree of each table is sound, as redb must have it: rows read, and what is wrong.
    pub(crate) fn check_trees(&self) -> Vec<(Table, u64, Result<()>)> {
        let check = |table: Table| match self.optional(table) {
            Ok(Some(found)) => {
                let (rows, checked) = found.check();
                (table, rows, checked)
            }
            Ok(None) => (table, 0, Ok(())),
            Err(e) => (table, 0, Err(e)),
        };
        ALL.into_iter().chain(OF_SOME).map(check).collect()
    }

    /// How many broken trees `repair` put out of the way.
    pub(crate) fn set_aside(&self) -> Result<u64> {
        let names = self.transaction.names()?;
        Ok(names.iter().filter(|name| name.starts_with(ASIDE)).count() as u64)
    }
}
