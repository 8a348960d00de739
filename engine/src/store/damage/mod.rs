//! What is damaged is found, noted and, where it follows from the log, made again.

mod look;
mod lost;
mod part;
mod peers;
mod problem;
mod repair;

pub(crate) use look::check_missing;
pub(crate) use part::part_of;
pub(crate) use peers::check_peers;
pub use problem::{Problem, Verification};
