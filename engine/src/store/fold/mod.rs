//! From a plan or from received bytes to what a commit does: versions, heads, void or not.

mod author;
mod fold;
mod parts;

pub(crate) use author::{Place, Planned, author};
pub(crate) use fold::fold;
pub(crate) use parts::{Bodies, Folded, Incoming};
