//! What the tests of more than one crate share. The format is implemented here a second time, from `engine/FORMAT.md`
//! alone: [`decoder`] reads and judges commits, [`forge`] writes them, honest or not. Neither shares code with the engine.
//! [`twins`] give the same commits to both implementations, [`mend`] makes altered ones reach what lies behind the hashes.
//! [`disk`] is one whose power is cut.

pub mod decoder;
pub mod disk;
pub mod forge;
pub mod hex;
pub mod mend;
pub mod simulator;
pub mod twins;

/// The code in the guide runs.
#[cfg(doctest)]
#[doc = include_str!("../../engine/CONFLICTS.md")]
struct Guide;
