//! What the application writes: transactions, typed collections, imports.

mod carry;
mod collection;
mod import;
mod local;
mod outcome;
mod staged;
mod transaction;
mod write;

pub use collection::{Collection, Document, Documents};
pub use import::{Authored, Device, Draft, Importer};
pub use outcome::Outcome;
pub use transaction::Transaction;
