//! Bytes ↔ model. FORMAT.md gives every byte; [`limits`](crate::limits) holds its figures.

pub mod body;
pub mod commit;
pub mod genesis;
pub mod hash;
pub mod header;
pub mod serde;
pub mod sort_key;
mod splice;
pub mod value;
