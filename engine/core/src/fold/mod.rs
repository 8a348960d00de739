//! From a plan, or from received bytes, to what a commit does: its place, its versions, which of
//! them are void, the heads after them. The same for what is written here and what is received, in
//! every store of commits.
//!
//! Pure: what is here already is looked up through [`Lookup`], and local numbers of lines mean what
//! [`Lines`] says. Void or not is a function of headers alone, so all replicas agree. Nothing is
//! refused for its meaning.

mod author;
mod bodies;
mod commit;
mod derived;
mod head;
mod judge;
mod lines;
mod lookup;
mod parts;
mod place;
#[cfg(test)]
mod toy;

pub use crate::model::Dot;
pub use author::{NewCommit, Planned, Tail, author};
pub use bodies::merged;
pub use commit::fold;
pub use derived::{Derived, TypeSource, derive, put_clock, put_line, read_clock, read_line};
pub use head::{
    Head, HeadState, HeadWriters, Heads, INLINE, LeafPlace, goes, in_place, inline, read_inline,
};
pub use lines::Lines;
pub use lookup::{Fault, Known, Lookup};
pub use parts::{Bodies, Folded, HeadChange, Incoming, Note, Settled, Stored};
pub use place::{BranchPoint, Spot, spot};
