//! What stands in which table, and how it is read and written: the schema, the guard around
//! redb, one file for each kind of row.

mod batch;
mod delta;
mod directory;
mod gap;
mod guard;
mod heads;
mod logs;
mod meta;
mod open_tables;
mod peers;
mod read_table;
mod record;
mod sealed;
pub(crate) mod tables;

pub(crate) use batch::{RowBatch, RowTable};
pub(crate) use delta::{Delta, Layer, Row, in_order, rows_of};
pub(crate) use directory::{Directory, fork_of};
pub(crate) use gap::{Gap, gap_row, read_gap};
pub(crate) use guard::{
    ReadTables, WriteTable, WriteTables, catching, is_of_other_types, transact,
};
pub(crate) use heads::decode_row;
pub(crate) use logs::{branch_point, log_row};
pub(crate) use meta::{
    DATASET, FILE_FORMAT, FINGERPRINT, FORMAT, JOURNAL, LOCAL, LOST, NODE, OWN, PREDECESSOR,
    commit_ref, create_tables, journal_row, number, predecessor_row, read_journal_row, varint,
};
pub(crate) use open_tables::Tables;
pub(crate) use peers::{
    drop_staged, last_piece, peer_row, pieces, put_staged, read_peer, read_staged, spoilt,
    staged_in,
};
pub(crate) use read_table::{Bytes, ReadTable};
pub(crate) use record::{Checkpoint, PIECE, Record, RecordBytes, RecordDraft, add_checkpoint};
pub(crate) use sealed::{hex, seal, unreadable, unseal};
pub(crate) use tables::{
    dot_key, dot_of, log_key, lsn_of, lsn_of_piece, staging_key, type_key, type_number_of,
};
