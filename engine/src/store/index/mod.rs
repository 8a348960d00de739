//! Rows that lead from a value to entities: their keys, and what a batch writes of them.

mod keys;

pub(crate) use keys::{
    Declared, Field, Index, IndexState, Indexing, Keys, if_shown, index_key, index_parts,
    indexed_row, keys_of, read_indexed, write_index,
};
