//! The whole schema: every redb table with its key and value (FORMAT.md, part 2). Keys and values
//! are bytes that we lay out.

use heirloom_core::model::{EntityId, Line, Lsn, Sequence, TypeNumber};

use super::sealed::unseal;

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
/// line (u32be) → sealed log id, genesis, where it forked from.
pub(crate) const LOGS: Table = Table::new("logs");
/// type number (u32be) → sealed entity type.
pub(crate) const TYPES: Table = Table::new("types");
/// entity type → type number (u32be): the same the other way round.
pub(crate) const TYPE_NAMES: Table = Table::new("type_names");
/// lsn (u64be), piece (u32be) → sealed piece of a commit record.
pub(crate) const LOG: Table = Table::new("log");
/// line (u32be), first sequence (u64be) → lsn (u64be).
pub(crate) const DOTS: Table = Table::new("dots");
/// entity id → sealed heads.
pub(crate) const HEADS: Table = Table::new("heads");
/// type number (u32be), entity id → nothing.
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
pub(crate) fn can_hold(table: Table, key: &[u8], value: &[u8]) -> bool {
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

pub(crate) fn log_key(lsn: Lsn, piece: u32) -> [u8; 12] {
    joined(lsn.get().to_be_bytes(), piece.to_be_bytes())
}

pub(crate) fn dot_key(line: Line, first: Sequence) -> [u8; 12] {
    joined(line.get().to_be_bytes(), first.get().to_be_bytes())
}

pub(crate) fn type_key(number: TypeNumber, entity: EntityId) -> [u8; 20] {
    joined(number.get().to_be_bytes(), *entity.as_bytes())
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
