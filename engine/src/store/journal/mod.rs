//! The journal: durable commits in front of redb's tables, in a ring that is written over and over.

mod frame;
mod ring;

pub(crate) use frame::{End, Frame};
pub(crate) use ring::Ring;
