//! Rows of redb's tables: all that is read of them, and written to them, goes through here. A lint
//! refuses redb's tables and transactions anywhere else in the engine, so that no new code can
//! forget it.
//!
//! redb checks the sums of its pages when it recovers a file, and trusts them when it reads one.
//! What is damaged in its trees makes it panic, or give rows out of order. Both become
//! [`Error::Corrupt`] here, with the table and the key at which it happened; nothing else of the
//! store is touched by it. The panic hook is the application's: what it prints of a caught panic it
//! still prints.

#![allow(clippy::disallowed_types)]

use std::fmt::Display;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{
    AccessGuard, Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    ReadableTable, ReadableTableMetadata, TableDefinition, TableError, TableHandle,
    WriteTransaction,
};

use super::delta::Row;
use super::sealed::hex;
use crate::error::{Error, Result, Table};

/// Keys and values are bytes.
type Column = &'static [u8];

fn definition(table: Table) -> TableDefinition<'static, Column, Column> {
    TableDefinition::new(table.name())
}

pub(crate) const DAMAGED: &str = "redb's own pages are damaged";

/// What redb does, with damage as an error.
fn guard<T, E: Into<redb::Error>>(
    table: Table,
    key: impl FnOnce() -> String,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    let what = match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(e)) => match e.into() {
            redb::Error::Corrupted(what) => format!("{DAMAGED}: {what}"),
            other => return Err(other.into()),
        },
        Err(_) => DAMAGED.to_owned(),
    };
    Err(Error::corrupt(table, key(), what))
}

/// The same of what is more than one row: opening, closing, a whole commit.
pub(crate) fn catching<T>(place: impl Display, act: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(Error::corrupt(Table::Redb, place, DAMAGED)))
}

/// A key or a value.
pub(crate) struct StoredBytes<'t>(AccessGuard<'t, Column>);

impl<'t> StoredBytes<'t> {
    /// Looks at it once: what is cut out of an immutable page then can be cut out again.
    fn of(found: AccessGuard<'t, Column>) -> Self {
        let _: &[u8] = found.value();
        Self(found)
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.0.value()
    }
}

/// Rows one by one, from both ends. The first error is its end: behind it nothing is known to be
/// right.
pub(crate) struct StoredRows<'t> {
    table: Table,
    rows: Option<redb::Range<'t, Column, Column>>,
    /// The last key from the front, and from the back.
    seen: [Option<Vec<u8>>; 2],
}

const FRONT: usize = 0;
const BACK: usize = 1;

impl<'t> StoredRows<'t> {
    fn new(table: Table, rows: redb::Range<'t, Column, Column>) -> Self {
        Self { table, rows: Some(rows), seen: [None, None] }
    }

    fn step(&mut self, end: usize) -> Option<Result<(StoredBytes<'t>, StoredBytes<'t>)>> {
        let rows = self.rows.as_mut()?;
        let read = || {
            let row = if end == FRONT { rows.next() } else { rows.next_back() };
            row.map(|row| row.map(|(key, value)| (StoredBytes::of(key), StoredBytes::of(value))))
                .transpose()
        };
        let place = || match &self.seen[end] {
            Some(key) if end == FRONT => format!("after {}", hex(key)),
            Some(key) => format!("before {}", hex(key)),
            None => ["the first row", "the last row"][end].to_owned(),
        };
        let found = guard(self.table, place, read).transpose().map(|row| self.in_order(row?, end));
        if !matches!(found, Some(Ok(_))) {
            // what panicked may do so again
            drop(catch_unwind(AssertUnwindSafe(|| self.rows = None)));
        }
        found
    }

    fn in_order(
        &mut self,
        row: (StoredBytes<'t>, StoredBytes<'t>),
        end: usize,
    ) -> Result<(StoredBytes<'t>, StoredBytes<'t>)> {
        let key = row.0.value();
        let [front, back] = self.seen.each_ref().map(|seen| seen.as_deref());
        if front.is_some_and(|front| key <= front) || back.is_some_and(|back| key >= back) {
            return Err(Error::corrupt(self.table, hex(key), format!("{DAMAGED}: out of order")));
        }
        let seen = self.seen[end].get_or_insert_default();
        seen.clear();
        seen.extend_from_slice(key);
        Ok(row)
    }
}

impl<'t> Iterator for StoredRows<'t> {
    type Item = Result<(StoredBytes<'t>, StoredBytes<'t>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(FRONT)
    }
}

impl DoubleEndedIterator for StoredRows<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(BACK)
    }
}

/// A table as one read transaction sees it.
pub(crate) struct StoredTable {
    which: Table,
    table: ReadOnlyTable<Column, Column>,
}

impl StoredTable {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<StoredBytes<'static>>> {
        let read = || self.table.get(key).map(|found| found.map(StoredBytes::of));
        guard(self.which, || hex(key), read)
    }

    pub(crate) fn range(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<StoredRows<'static>> {
        let read = || self.table.range::<&[u8]>(bounds);
        let rows = guard(self.which, || "a range".to_owned(), read)?;
        Ok(StoredRows::new(self.which, rows))
    }

    /// How many rows redb says that there are.
    pub(crate) fn len(&self) -> Result<u64> {
        guard(self.which, || "all".to_owned(), || self.table.len())
    }
}

/// A read transaction. While it lives, redb keeps the pages that it can see.
pub(crate) struct ReadTables(ReadTransaction);

impl ReadTables {
    pub(crate) fn begin(database: &impl ReadableDatabase) -> Result<Self> {
        guard(Table::Redb, || "its roots".to_owned(), || database.begin_read()).map(Self)
    }

    /// A table, where there is one.
    pub(crate) fn optional(&self, table: Table) -> Result<Option<StoredTable>> {
        let open = || match self.0.open_table(definition(table)) {
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            other => other.map(Some),
        };
        let found = guard::<_, TableError>(table, || "its root".to_owned(), open)?;
        Ok(found.map(|found| StoredTable { which: table, table: found }))
    }

    /// The same in a file that is known to be a store: one of other types is damaged.
    pub(crate) fn of_store(&self, table: Table) -> Result<Option<StoredTable>> {
        self.optional(table).map_err(of_other_types(table))
    }

    /// A table that every store has.
    pub(crate) fn table(&self, table: Table) -> Result<StoredTable> {
        let missing = || Error::corrupt(table, "its root", "the table is missing");
        self.of_store(table)?.ok_or_else(missing)
    }

    /// The names of all tables, others than ours too.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let names = || {
            let of_one = self.0.list_tables()?.map(|table| table.name().to_owned());
            let of_many = self.0.list_multimap_tables()?;
            let of_many = of_many.map(|table| redb::MultimapTableHandle::name(&table).to_owned());
            Ok::<_, redb::StorageError>(of_one.chain(of_many).collect())
        };
        guard(Table::Redb, || "the names of its tables".to_owned(), names)
    }
}

/// Whether redb says that a table is not of bytes.
pub(crate) fn is_of_other_types(error: &redb::Error) -> bool {
    matches!(
        error,
        redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
    )
}

/// What says so of a table of ours was damaged.
fn of_other_types(table: Table) -> impl Fn(Error) -> Error {
    move |e| match e {
        Error::Storage(e) if is_of_other_types(&e) => {
            Error::corrupt(table, "its root", format!("{DAMAGED}: {e}"))
        }
        e => e,
    }
}

/// A table in a write transaction.
pub(crate) struct WriteTable<'t> {
    which: Table,
    /// There until it is dropped.
    table: Option<redb::Table<'t, Column, Column>>,
}

impl<'t> WriteTable<'t> {
    fn act<T, E: Into<redb::Error>>(
        &mut self,
        key: impl FnOnce() -> String,
        act: impl FnOnce(&mut redb::Table<'t, Column, Column>) -> Result<T, E>,
    ) -> Result<T> {
        let table = self.table.as_mut().ok_or(Error::Closed)?;
        guard(self.which, key, || act(table))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<StoredBytes<'_>>> {
        let table = self.table.as_ref().ok_or(Error::Closed)?;
        let read = || table.get(key).map(|found| found.map(StoredBytes::of));
        guard(self.which, || hex(key), read)
    }

    /// What stood there before.
    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>> {
        let put = |table: &mut redb::Table<'t, Column, Column>| {
            table.insert(key, value).map(|old| old.map(|old| old.value().to_vec()))
        };
        self.act(|| hex(key), put)
    }

    /// Whether it stood there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<bool> {
        self.act(|| hex(key), |table| table.remove(key).map(|old| old.is_some()))
    }
}

impl Drop for WriteTable<'_> {
    /// Where redb panicked inside, it panics here again; one panic more while another unwinds ends
    /// the process.
    fn drop(&mut self) {
        drop(catch_unwind(AssertUnwindSafe(|| self.table = None)));
    }
}

/// A write transaction.
pub(crate) struct WriteTables(WriteTransaction);

impl WriteTables {
    /// A table, made if there is none.
    pub(crate) fn open_table(&self, table: Table) -> Result<WriteTable<'_>> {
        let open = || self.0.open_table(definition(table));
        let open = guard(table, || "its root".to_owned(), open);
        let open = open.map_err(of_other_types(table))?;
        Ok(WriteTable { which: table, table: Some(open) })
    }

    /// Writes rows, which come table by table.
    pub(crate) fn apply<'r>(&self, rows: impl Iterator<Item = &'r Row>) -> Result<()> {
        let mut open: Option<WriteTable<'_>> = None;
        for row in rows {
            let table = match &mut open {
                Some(table) if table.which == row.table() => table,
                other => {
                    // one table is open at a time
                    *other = None;
                    other.insert(self.open_table(row.table())?)
                }
            };
            match row.value() {
                Some(value) => drop(table.insert(row.key(), value)?),
                None => drop(table.remove(row.key())?),
            }
        }
        Ok(())
    }

    /// Removes a table whose pages are known to be its own.
    pub(crate) fn delete_table(&self, table: Table) -> Result<()> {
        guard(table, || "all".to_owned(), || self.0.delete_table(definition(table))).map(drop)
    }

    /// Puts a table whose tree is broken out of the way, and an empty one in its place. Its pages
    /// are not freed: nobody knows whether they are its own.
    pub(crate) fn set_aside(&self, table: Table) -> Result<WriteTable<'_>> {
        for number in 0u32.. {
            let name = format!("{ASIDE}{}/{number}", table.name());
            let aside = TableDefinition::<Column, Column>::new(&name);
            let renamed = || match self.0.rename_table(definition(table), aside) {
                Err(TableError::TableExists(_)) => Ok(false),
                other => other.map(|()| true),
            };
            let renamed = guard::<_, TableError>(table, || "its root".to_owned(), renamed);
            if renamed.map_err(of_other_types(table))? {
                break;
            }
        }
        self.open_table(table)
    }
}

/// How the names of tables begin that were set aside.
pub(crate) const ASIDE: &str = "broken/";

/// One redb transaction: all of what is written, or nothing. A durable one notes which pages are
/// free, so that no opening need walk the file.
///
/// No panic passes through it: redb would leave it for the next opening to walk the whole file,
/// which it refuses where anything is damaged.
pub(crate) fn transact<T>(
    database: &Database,
    durability: Durability,
    write: impl FnOnce(&WriteTables) -> Result<T>,
) -> Result<T> {
    let begin = || {
        let mut transaction = database.begin_write().map_err(redb::Error::from)?;
        transaction.set_durability(durability).map_err(redb::Error::from)?;
        transaction.set_quick_repair(!matches!(durability, Durability::None));
        Ok::<_, redb::Error>(WriteTables(transaction))
    };
    let place = || "a commit".to_owned();
    let transaction = guard(Table::Redb, place, begin)?;
    match catching("a commit", || write(&transaction)) {
        Ok(done) => guard(Table::Redb, place, || transaction.0.commit()).map(|()| done),
        Err(e) => {
            drop(guard(Table::Redb, place, || transaction.0.abort()));
            Err(e)
        }
    }
}
