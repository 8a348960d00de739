//! What the application writes: transactions, typed collections, imports.

mod carry;
mod collection;
mod commit;
mod decide;
mod draft;
mod gone;
mod import;
mod local;
mod outcome;
mod plan;
mod read_back;
mod staged;
mod steps;
mod transaction;

pub use collection::{Collection, Document, Documents};
pub use draft::Draft;
pub use import::{Authored, Device, Importer};
pub use outcome::Outcome;
pub use transaction::Transaction;
