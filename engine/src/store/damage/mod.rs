//! What is damaged is found, noted and, where it follows from the log, made again.

mod look;
mod peers;
mod problem;
mod repair;

pub(crate) use look::check_missing;
pub(crate) use peers::check_peers;
pub use problem::{Problem, Verification};
pub(crate) use repair::part_of;
