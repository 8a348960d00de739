//! From a plan or from received bytes to what a commit does: versions, heads, void or not.

mod author;
mod fold;

pub(crate) use author::{Place, Planned, author};
pub(crate) use fold::{Bodies, Folded, Incoming, fold};
