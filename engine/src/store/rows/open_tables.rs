//! The tables, opened: what one read transaction sees of them.

use std::sync::{Arc, OnceLock};

use heirloom_core::model::Lsn;

use super::delta::Delta;
use super::guard::{ASIDE, ReadTables};
use super::read_table::{Bytes, ReadTable};
use super::sealed::hex;
use super::tables::{can_hold, lsn_of, lsn_of_piece, type_number_of};
use crate::error::{Error, Result, Table};

/// Tables whose rows look alike, each with others of which it may have become a part: which one the
/// pages belonged to does not matter, as long as one of the two goes on without them.
const ALIKE: [(Table, &[Table]); 2] =
    [(Table::Peers, &[Table::Heads]), (Table::Indexed, &[Table::Heads, Table::Peers])];

/// The tables as a reader sees them: one read transaction of redb under a delta of the journal.
/// Cheap to share; while it lives, redb keeps the pages that it can see.
pub(crate) struct Tables {
    pub(crate) meta: ReadTable,
    pub(crate) logs: ReadTable,
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
    transaction: Arc<ReadTables>,
    pub(crate) delta: Delta,
    /// What was found out where the log is shorter than `dots` says.
    cut: OnceLock<Lsn>,
}

impl Tables {
    pub(crate) fn open(transaction: ReadTables, delta: Delta, commit: u64) -> Result<Self> {
        let table = |table| {
            Ok::<_, Error>(ReadTable::new(table, Some(transaction.table(table)?), delta.clone()))
        };
        Ok(Self {
            commit,
            meta: table(Table::Meta)?,
            logs: table(Table::Logs)?,
            types: table(Table::Types)?,
            type_names: table(Table::TypeNames)?,
            log: table(Table::Log)?,
            dots: table(Table::Dots)?,
            heads: table(Table::Heads)?,
            by_type: table(Table::ByType)?,
            unsettled: table(Table::Unsettled)?,
            staging: table(Table::Staging)?,
            peers: table(Table::Peers)?,
            transaction: Arc::new(transaction),
            delta,
            cut: OnceLock::new(),
        })
    }

    /// What redb has, under another delta.
    pub(crate) fn under(&self, delta: Delta, commit: u64) -> Self {
        Self {
            commit,
            meta: self.meta.under(&delta),
            logs: self.logs.under(&delta),
            types: self.types.under(&delta),
            type_names: self.type_names.under(&delta),
            log: self.log.under(&delta),
            dots: self.dots.under(&delta),
            heads: self.heads.under(&delta),
            by_type: self.by_type.under(&delta),
            unsettled: self.unsettled.under(&delta),
            staging: self.staging.under(&delta),
            peers: self.peers.under(&delta),
            transaction: self.transaction.clone(),
            delta,
            cut: OnceLock::new(),
        }
    }

    /// A table, empty where the store has none.
    pub(crate) fn any(&self, table: Table) -> Result<ReadTable> {
        let open = match table {
            Table::Meta => &self.meta,
            Table::Logs => &self.logs,
            Table::Types => &self.types,
            Table::TypeNames => &self.type_names,
            Table::Log => &self.log,
            Table::Dots => &self.dots,
            Table::Heads => &self.heads,
            Table::ByType => &self.by_type,
            Table::Unsettled => &self.unsettled,
            Table::Staging => &self.staging,
            Table::Peers => &self.peers,
            Table::Missing | Table::Index | Table::Indexed | Table::Journal | Table::Redb => {
                let stored = self.transaction.of_store(table)?;
                return Ok(ReadTable::new(table, stored, self.delta.clone()));
            }
        };
        Ok(open.clone())
    }

    /// A table that only some stores have.
    pub(crate) fn optional(&self, table: Table) -> Result<Option<ReadTable>> {
        self.any(table).map(|table| Some(table).filter(ReadTable::exists))
    }

    /// Whether the tree of each table is sound, as redb must have it: rows read, and what is wrong.
    pub(crate) fn check_trees(&self) -> Vec<(Table, u64, Result<()>)> {
        let check = |table: Table| match self.optional(table) {
            Ok(Some(found)) => {
                let (rows, checked) = found.check(|key, value| can_hold(table, key, value));
                let checked = checked.and_then(|()| self.check_apart(table, &found));
                (table, rows, checked)
            }
            Ok(None) => (table, 0, Ok(())),
            Err(e) => (table, 0, Err(e)),
        };
        Table::ALL.into_iter().chain(Table::OF_SOME).map(check).collect()
    }

    /// Where the root of a table leads into the tree of another, its first row stands there too.
    fn check_apart(&self, table: Table, found: &ReadTable) -> Result<()> {
        let Some((key, value)) = found.iter()?.next().transpose()? else { return Ok(()) };
        for (_, others) in ALIKE.iter().filter(|(alike, _)| *alike == table) {
            for other in *others {
                // what is damaged there is said of the other
                let row = self.optional(*other).ok().flatten().map(|t| t.get(key.value()));
                if let Some(Ok(Some(row))) = row
                    && row.value() == value.value()
                {
                    let what = format!("the row stands in {other} too");
                    return Err(Error::corrupt(table, hex(key.value()), what));
                }
            }
        }
        Ok(())
    }

    /// The lsn behind the last record.
    pub(crate) fn logged(&self) -> Result<Lsn> {
        behind(self.log.last()?)
    }

    /// Behind the last commit, by the log and by `dots`: one that only `dots` names is damaged,
    /// and not one that never was. Costs a look at the end of the log; where there are such, a walk
    /// through `dots` once.
    pub(crate) fn end(&self) -> Result<Lsn> {
        let logged = self.logged()?;
        // Each commit has a row there, and lsns have no gaps: one that is not lower than the number
        // of rows is damaged itself. What cannot be read says nothing. Rows of the journal come and
        // go as a whole.
        let rows = Lsn::new(self.dots.stored_len().unwrap_or(0));
        if rows <= behind(self.log.stored_last()?)? {
            return Ok(logged);
        }
        Ok(*self.cut.get_or_init(|| {
            let named = self.dots.iter().into_iter().flatten().map_while(Result::ok);
            let named = named.filter_map(|(_, lsn)| lsn_of(lsn.value()));
            named.filter(|lsn| *lsn < rows).map(Lsn::next).max().unwrap_or_default().max(logged)
        }))
    }

    /// Whether each type of redb's has a name there, as far as their numbers tell.
    pub(crate) fn names_are_whole(&self) -> Result<bool> {
        let last = self.types.stored_last()?.and_then(|(key, _)| type_number_of(key.value()));
        let types = last.map_or(0, |last| u64::from(last.get()) + 1);
        Ok(self.type_names.stored_len()? == types)
    }

    /// How many broken trees `repair` put out of the way.
    pub(crate) fn set_aside(&self) -> Result<u64> {
        let names = self.transaction.names()?;
        Ok(names.iter().filter(|name| name.starts_with(ASIDE)).count() as u64)
    }
}

/// Behind a row of the log.
fn behind(row: Option<(Bytes, Bytes)>) -> Result<Lsn> {
    let Some((key, _)) = row else { return Ok(Lsn::START) };
    let last = lsn_of_piece(key.value()).filter(|lsn| *lsn < Lsn::END);
    let misplaced = || Error::corrupt(Table::Log, hex(key.value()), "not an lsn");
    last.map(Lsn::next).ok_or_else(misplaced)
}
