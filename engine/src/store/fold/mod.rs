//! From a plan or from received bytes to what a commit does: versions, heads, void or not.

mod author;
mod commit;
mod parts;

pub(crate) use author::{Place, Planned, author};
pub(crate) use commit::fold;
pub(crate) use parts::{Bodies, Folded, Incoming};
