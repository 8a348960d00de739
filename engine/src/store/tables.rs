//! The whole schema: every redb table with its key and value (FORMAT.md, part 2). Keys and values are bytes that we lay out.

use redb::{ReadOnlyTable, ReadTransaction, TableDefinition, TableHandle};

use crate::error::Result;
use crate::model::EntityId;

pub(crate) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
pub(crate) type ReadTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// name → sealed value: `format`, `dataset`, `own`, `predecessor`, `node`, `index/N`, `indexes`.
pub(crate) const META: Table = TableDefinition::new("meta");
/// log ordinal (u32be) → sealed log id, genesis, where it forked from.
pub(crate) const LOGS: Table = TableDefinition::new("logs");
/// type ordinal (u32be) → sealed entity type.
pub(crate) const TYPES: Table = TableDefinition::new("types");
/// entity type → type ordinal (u32be): the same the other way round.
pub(crate) const TYPE_NAMES: Table = TableDefinition::new("type_names");
/// lsn (u64be), piece (u32be) → sealed piece of a commit record.
pub(crate) const LOG: Table = TableDefinition::new("log");
/// log ordinal (u32be), first sequence (u64be) → lsn (u64be).
pub(crate) const DOTS: Table = TableDefinition::new("dots");
/// entity id → sealed heads.
pub(crate) const HEADS: Table = TableDefinition::new("heads");
/// type ordinal (u32be), entity id → nothing.
pub(crate) const BY_TYPE: Table = TableDefinition::new("by_type");
/// entity id → nothing; entities that are diverged or have undecided leaves.
pub(crate) const UNSETTLED: Table = TableDefinition::new("unsettled");
/// index ordinal (u32be), sort key, entity id → nothing. It and the next come into being with the first index.
pub(crate) const INDEX: Table = TableDefinition::new("index");
/// entity id → sealed list of what stands of it in `index`.
pub(crate) const INDEXED: Table = TableDefinition::new("indexed");
/// lsn (u64be) → sealed: a commit that is damaged, or whose bodies do not verify. It comes into being with the first.
pub(crate) const MISSING: Table = TableDefinition::new("missing");
/// peer (16), piece (u32be) → sealed; a large commit on its way in.
pub(crate) const STAGING: Table = TableDefinition::new("staging");
/// node id → sealed: what is remembered of a peer.
pub(crate) const PEERS: Table = TableDefinition::new("peers");

pub(crate) const ALL: [Table; 11] =
    [META, LOGS, TYPES, TYPE_NAMES, LOG, DOTS, HEADS, BY_TYPE, UNSETTLED, STAGING, PEERS];

/// Whether the rows of a table carry a checksum.
pub(crate) fn is_sealed(table: Table) -> bool {
    ![TYPE_NAMES, DOTS, BY_TYPE, UNSETTLED, INDEX].iter().any(|t| t.name() == table.name())
}

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

/// The tables as one read transaction sees them. Cheap to share; while it lives, redb keeps the pages that it can see.
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
    pub(crate) transaction: ReadTransaction,
}

impl Tables {
    pub(crate) fn open(transaction: ReadTransaction, commit: u64) -> Result<Self> {
        Ok(Self {
            commit,
            meta: transaction.open_table(META)?,
            types: transaction.open_table(TYPES)?,
            type_names: transaction.open_table(TYPE_NAMES)?,
            log: transaction.open_table(LOG)?,
            dots: transaction.open_table(DOTS)?,
            heads: transaction.open_table(HEADS)?,
            by_type: transaction.open_table(BY_TYPE)?,
            unsettled: transaction.open_table(UNSETTLED)?,
            staging: transaction.open_table(STAGING)?,
            peers: transaction.open_table(PEERS)?,
            transaction,
        })
    }

    /// A table that only some stores have.
    pub(crate) fn optional(&self, table: Table) -> Result<Option<ReadTable>> {
        match self.transaction.open_table(table) {
            Ok(table) => Ok(Some(table)),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}
