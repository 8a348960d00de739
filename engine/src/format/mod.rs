//! Bytes ↔ model, pure. FORMAT.md says every byte; [`limits`] holds its figures.
#![deny(clippy::disallowed_methods)]

pub(crate) mod body;
pub(crate) mod bytes;
pub(crate) mod commit;
pub(crate) mod genesis;
pub(crate) mod hash;
pub(crate) mod header;
pub mod limits;
pub(crate) mod sort_key;
pub(crate) mod value;

pub use bytes::Malformed;
