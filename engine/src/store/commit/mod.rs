//! The open store and its one writer: commits taken in, made durable in groups, published.

mod append;
mod dataset;
mod drain;
mod drainer;
mod flush;
mod group_commit;
mod idle;
mod log_entry;
mod log_writer;

mod own_log;
mod primitives;
mod store;
mod wake;

pub(crate) use dataset::is_empty;
pub(crate) use drainer::Drainer;
pub(crate) use flush::{drop_record, put_record};
pub(crate) use group_commit::GroupCommit;
pub(crate) use log_entry::LogEntry;
pub(crate) use log_writer::{Known, LogWriter, Tip};

pub(crate) use own_log::Identity;
pub(crate) use store::{Backing, ClockSource, Store};
pub(crate) use wake::{Waited, Wake};
