//! draft
mod error;
mod format;
mod merge;
mod model;

pub use error::{Error, Result};
pub use format::Malformed;
pub use merge::{apply_patch, diff};
pub use model::*;
