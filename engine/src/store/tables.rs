//! The whole schema: every redb table with its key and value (FORMAT.md, part 2). Keys and values
//! are bytes that we lay out.

use super::rows::{ASIDE, ReadTable, ReadTables};
use super::sealed::{hex, unseal};
use crate::error::{Error, Result};
use heirloom_core::model::EntityId;

/// A table, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Table(&'static str);

impl Table {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self(name)
    }

    pub(crate) fn name(self) -> &'static str {
        self.0
    }
}

/// name → sealed value: `format`, `dataset`, `own`, `predecessor`, `node`, `index/N`, `indexes`.
pub(crate) const META: Table = Table::new("meta");
/// log ordinal (u32be) → sealed log id, genesis, where it forked from.
pub(crate) const LOGS: Table = Table::new("logs");
/// type ordinal (u32be) → sealed entity type.
pub(crate) const TYPES: Table = Table::new("types");
/// entity type → type ordinal (u32be): the same the other way round.
pub(crate) const TYPE_NAMES: Table = Table::new("type_names");
/// lsn (u64be), piece (u32be) → sealed piece of a commit record.
pub(crate) const LOG: Table = Table::new("log");
/// log ordinal (u32be), first sequence (u64be) → lsn (u64be).
pub(crate) const DOTS: Table = Table::new("dots");
/// entity id → sealed heads.
pub(crate) const HEADS: Table = Table::new("heads");
/// type ordinal (u32be), entity id → nothing.
pub(crate) const BY_TYPE: Table = Table::new("by_type");
/// entity id → nothing; entities that are diverged or have undecided leaves.
pub(crate) const UNSETTLED: Table = Table::new("unsettled");
/// index ordinal (u32be), sort key, entity id → nothing. It and the next come into being with the
/// first index.
pub(crate) const INDEX: Table = Table::new("index");
/// entity id → sealed list of what stands of it in `index`.
pub(crate) const INDEXED: Table = Table::new("indexed");
/// lsn (u64be) → sealed: a commit that is damaged, or whose bodies do not verify. It comes into
/// being with the first.
pub(crate) const MISSING: Table = Table::new("missing");
/// peer (16), piece (u32be) → sealed; a large commit on its way in.
pub(crate) const STAGING: Table = Table::new("staging");
/// node id → sealed: what is remembered of a peer.
pub(crate) const PEERS: Table = Table::new("peers");

/// Those that every store has.
pub(crate) const ALL: [Table; 11] =
    [META, LOGS, TYPES, TYPE_NAMES, LOG, DOTS, HEADS, BY_TYPE, UNSETTLED, STAGING, PEERS];
/// Those that come into being with their first row.
pub(crate) const OF_SOME: [Table; 3] = [MISSING, INDEX, INDEXED];

/// Whether the rows of a table carry a checksum.
pub(crate) fn is_sealed(table: Table) -> bool {
    ![TYPE_NAMES, DOTS, BY_TYPE, UNSETTLED, INDEX].contains(&table)
}

/// Whether a row can be one of a table, by what it looks like. A tree that holds others leads to
/// pages that are not its own: to change it would free what another table still needs.
pub(super) fn can_hold(table: Table, key: &[u8], value: &[u8]) -> bool {
    let keys = match table {
        LOGS | TYPES => 4..=4,
        MISSING => 8..=8,
        // a piece of a record may be as long as an lsn, but bears its checksum
        LOG if value.len() == 8 && unseal(LOG.name(), key, value).is_err() => return false,
        LOG | DOTS => 12..=12,
        HEADS | UNSETTLED | INDEXED | PEERS => 16..=16,
        BY_TYPE | STAGING => 20..=20,
        // between the number of an index and the id stands a key
        INDEX => 21..=usize::MAX,
        _ => 1..=usize::MAX,
    };
    let values = match table {
        BY_TYPE | UNSETTLED | INDEX => 0..=0,
        TYPE_NAMES => 4..=4,
        DOTS => 8..=8,
        // with a checksum, right or wrong
        _ => 1..=usize::MAX,
    };
    keys.contains(&key.len()) && values.contains(&value.len())
}

/// Tables whose rows look alike, each with others of which it may have become a part: which one the
/// pages belonged to does not matter, as long as one of the two goes on without them.
const ALIKE: [(Table, &[Table]); 2] = [(PEERS, &[HEADS]), (INDEXED, &[HEADS, PEERS])];

pub(crate) fn log_key(lsn: u64, piece: u32) -> [u8; 12] {
    joined(lsn.to_be_bytes(), piece.to_be_bytes())
}

pub(crate) fn dot_key(ordinal: u32, first: u64) -> [u8; 12] {
    joined(ordinal.to_be_bytes(), first.to_be_bytes())
}

pub(crate) fn type_key(ordinal: u32, entity: EntityId) -> [u8; 20] {
    joined(ordinal.to_be_bytes(), *entity.as_bytes())
}

pub(crate) fn staging_key(peer: &[u8; 16], piece: u32) -> [u8; 20] {
    joined(*peer, piece.to_be_bytes())
}

fn joined<const A: usize, const B: usize, const C: usize>(a: [u8; A], b: [u8; B]) -> [u8; C] {
    let mut out = [0; C];
    out[..A].copy_from_slice(&a);
    out[A..].copy_from_slice(&b);
    out
}

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
    pub(super) transaction: ReadTables,
}

impl Tables {
    pub(super) fn open(transaction: ReadTables, commit: u64) -> Result<Self> {
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
                let (rows, checked) = found.check(|key, value| can_hold(table, key, value));
                let checked = checked.and_then(|()| self.check_apart(table, &found));
                (table, rows, checked)
            }
            Ok(None) => (table, 0, Ok(())),
            Err(e) => (table, 0, Err(e)),
        };
        ALL.into_iter().chain(OF_SOME).map(check).collect()
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
                    let what = format!("the row stands in {} too", other.name());
                    return Err(Error::corrupt(table.name(), hex(key.value()), what));
                }
            }
        }
        Ok(())
    }

    /// The lsn behind the last record.
    pub(super) fn logged(&self) -> Result<u64> {
        let Some((key, _)) = self.log.last()? else { return Ok(0) };
        let lsn = key.value().first_chunk().map(|b| u64::from_be_bytes(*b));
        let end = lsn.and_then(|lsn| lsn.checked_add(1));
        end.ok_or_else(|| Error::corrupt("log", hex(key.value()), "not an lsn"))
    }

    /// How many commits there are, by the log and by `dots`: one that only `dots` names is damaged,
    /// and not one that never was. Costs a look at the end of the log unless there are such.
    pub(crate) fn commits(&self) -> Result<u64> {
        let logged = self.logged()?;
        // Each commit has a row there, and lsns have no gaps: one that is not lower than the number
        // of rows is damaged itself. What cannot be read says nothing.
        let rows = self.dots.len().unwrap_or(0);
        if rows <= logged {
            return Ok(logged);
        }
        let named = self.dots.iter().into_iter().flatten().map_while(Result::ok);
        let named =
            named.filter_map(|(_, lsn)| lsn.value().try_into().ok().map(u64::from_be_bytes));
        Ok(named.filter(|lsn| *lsn < rows).map(|lsn| lsn + 1).max().unwrap_or(0).max(logged))
    }

    /// How many broken trees `repair` put out of the way.
    pub(crate) fn set_aside(&self) -> Result<u64> {
        let names = self.transaction.names()?;
        Ok(names.iter().filter(|name| name.starts_with(ASIDE)).count() as u64)
    }
}
