//! The whole schema: every redb table with its key and value (FORMAT.md, part 2). Keys and values
//! are bytes that we lay out; big-endian numbers, so that rows stand in their order.
//!
//! ```text
//! meta         name → sealed: format, dataset, own, predecessor, node, index/N, indexes, …
//! logs         line → sealed: log id, genesis, where it left another
//! types        type number → sealed: entity type
//! type_names   entity type → type number
//! log          lsn, piece → sealed: a piece of a commit record
//! dots         line, first sequence → lsn
//! heads        entity id → sealed: heads
//! by_type      type number, entity id → nothing
//! unsettled    entity id → nothing
//! index        index ordinal, sort key, entity id → nothing
//! indexed      entity id → sealed: what stands of it in index
//! missing      lsn → sealed: a commit that is damaged, or whose bodies do not verify
//! staging      peer, piece → sealed: a large commit on its way in
//! peers        node id → sealed: what is remembered of a peer
//! ```

use heirloom_core::fold::Dot;
use heirloom_core::model::{EntityId, Line, Lsn, Sequence, TypeNumber};

use super::sealed::unseal;
use crate::error::Table;

/// Whether the rows of a table carry a checksum.
pub(crate) fn is_sealed(table: Table) -> bool {
    ![Table::TypeNames, Table::Dots, Table::ByType, Table::Unsettled, Table::Index].contains(&table)
}

/// Whether a row can be one of a table, by what it looks like. A tree that holds others leads to
/// pages that are not its own: to change it would free what another table still needs.
pub(crate) fn can_hold(table: Table, key: &[u8], value: &[u8]) -> bool {
    let keys = match table {
        Table::Logs | Table::Types => 4..=4,
        Table::Missing => 8..=8,
        // a piece of a record may be as long as an lsn, but bears its checksum
        Table::Log if value.len() == 8 && unseal(table, key, value).is_err() => {
            return false;
        }
        Table::Log | Table::Dots => 12..=12,
        Table::Heads | Table::Unsettled | Table::Indexed | Table::Peers => 16..=16,
        Table::ByType | Table::Staging => 20..=20,
        // between the number of an index and the id stands a key
        Table::Index => 21..=usize::MAX,
        _ => 1..=usize::MAX,
    };
    let values = match table {
        Table::ByType | Table::Unsettled | Table::Index => 0..=0,
        Table::TypeNames => 4..=4,
        Table::Dots => 8..=8,
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

/// The lsn that a key or a value is.
pub(crate) fn lsn_of(bytes: &[u8]) -> Option<Lsn> {
    bytes.try_into().ok().map(|lsn| Lsn::new(u64::from_be_bytes(lsn)))
}

/// The lsn of the record that a row of `log` is a piece of.
pub(crate) fn lsn_of_piece(key: &[u8]) -> Option<Lsn> {
    key.get(..8).and_then(lsn_of)
}

/// The place that a key of `dots` is. No commit begins at 0.
pub(crate) fn dot_of(key: &[u8]) -> Option<Dot> {
    let (line, first) = key.split_first_chunk()?;
    let first = Sequence::new(u64::from_be_bytes(first.try_into().ok()?));
    (first > Sequence::START).then(|| (Line::new(u32::from_be_bytes(*line)), first))
}

/// The number of an entity type, as a key of `types` and a value of `type_names` have it.
pub(crate) fn type_number_of(bytes: &[u8]) -> Option<TypeNumber> {
    bytes.try_into().ok().map(|number| TypeNumber::new(u32::from_be_bytes(number)))
}

/// Which piece of a large commit a key of `staging` is of.
pub(crate) fn staged_piece_of(key: &[u8]) -> Option<u32> {
    key.get(16..).and_then(|piece| piece.try_into().ok()).map(u32::from_be_bytes)
}

fn joined<const A: usize, const B: usize, const C: usize>(a: [u8; A], b: [u8; B]) -> [u8; C] {
    let mut out = [0; C];
    out[..A].copy_from_slice(&a);
    out[A..].copy_from_slice(&b);
    out
}
