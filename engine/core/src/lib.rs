//! The part of [heirloom](https://docs.rs/heirloom) that cannot do I/O: no file, no clock, no
//! chance, no thread. It compiles without the standard library, so the compiler itself refuses
//! them.
//!
//! Applications use the crate `heirloom`, which re-exports what they need of this one. This one is
//! for those who build beside it: another store for the same commits, a hub, a tool that reads
//! them.
//!
//! | room | what | uses |
//! |---|---|---|
//! | [`error`] | what a caller gave that cannot be | |
//! | [`limits`] | the figures of FORMAT.md, 1.12 | |
//! | [`bytes`] | a bounded reader, a writer | |
//! | [`model`] | ids, times, values, contents, paths, clocks, versions | the three above |
//! | [`format`] | bytes ↔ model, serde ↔ bytes, hashes: FORMAT.md | model |
//! | [`merge`] | how diverged versions combine, and how that is shown | format |
//! | [`fold`] | what a commit does to a store, and authoring one | merge |
//! | [`replica`] | what a session asks of a store | format |
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod bytes;
pub mod error;
pub mod fold;
pub mod format;
pub mod limits;
pub mod merge;
pub mod model;
pub mod replica;

pub use bytes::Malformed;
pub use error::{Invalid, Result};
