//! The store: redb tables, the log in them, the fold that derives heads from it, and the one
//! writer. Its rooms, each built on those before it:

mod build;
mod commit;
mod damage;
mod file;
mod index;
mod intake;
mod journal;
mod open;
mod read;
mod rows;

pub(crate) use build::Indexer;
pub(crate) use commit::{Drainer, Identity, LogEntry, LogWriter, Store, Waited, Wake};
pub use damage::{Problem, Verification};
pub(crate) use damage::{check_missing, check_peers, part_of};
pub use file::Opened;
pub(crate) use file::{Medium, Partial, Wanted, keep_name, room};
pub(crate) use index::{
    Declared, Field, Index, IndexState, index_key, index_parts, keys_of, read_indexed,
};
pub(crate) use open::{Options, Target};
pub use read::CacheStats;
pub(crate) use read::{
    At, Caches, ClosedCuts, LogCut, Part, Seen, Shown, View, clock_at, content_of, ends_by,
    read_type, see_line, shown_leaves,
};
#[cfg(test)]
pub(crate) use rows::RowBatch;
pub(crate) use rows::{
    ReadTable, Record, Tables, decode_row, drop_staged, fork_of, hex, last_piece, peer_row, pieces,
    put_staged, read_peer, read_staged, seal, staged_in, staging_key, type_key, unreadable, unseal,
};
