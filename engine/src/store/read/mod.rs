//! One consistent state, read: the view, walks into the past, what a policy shows, caches.

mod cache;
mod clocks;
mod content;
mod contents;
mod cut;
mod ends;
mod lookup;
mod missing;
mod past;
mod read_cache;
mod rebuild;
mod seen;
mod show;
mod view;

pub(crate) use clocks::see_line;
pub(crate) use content::{At, Part};
pub(crate) use cut::{ClosedCuts, LogCut, clock_at};
pub(crate) use ends::ends_by;
pub(crate) use missing::Missing;
pub use read_cache::CacheStats;
pub(crate) use seen::{Seen, Shown};
pub(crate) use show::{content_of, shown_leaves};
pub(crate) use view::{Caches, Pending, View, read_type};
