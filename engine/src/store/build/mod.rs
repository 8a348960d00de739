//! Indexes that are declared or no longer declared, built and dropped beside all else.

mod background;
mod indexes;

pub(crate) use background::Indexer;
