//! What the tests of more than one crate share. The format is implemented here a second time, from
//! `engine/FORMAT.md` alone: [`decoder`] reads and judges commits, [`forge`] writes them, honest or
//! not; [`journal`] reads what lies in front of a store's tables. None shares code with the engine.
//! [`twins`] give the same commits to both implementations, [`mend`] makes altered ones reach what
//! lies behind the hashes. [`frame`] writes frames of sessions, [`random`] is all chance. [`disk`]
//! is one whose power is cut; [`workload`] is what is done on it, [`specimen`] a store to be
//! mistreated, [`tables_part`] leads to its tables, [`every_bit`] mistreats it bit by bit; [`fuzz`]
//! has what fuzz targets do.

pub mod decoder;
pub mod disk;
pub mod every_bit;
pub mod forge;
pub mod frame;
pub mod fuzz;
pub mod hex;
pub mod journal;
pub mod mend;
pub mod random;
pub mod simulator;
pub mod specimen;
pub mod tables_part;
pub mod twins;
pub mod workload;

/// The code in the guide runs.
#[cfg(doctest)]
#[doc = include_str!("../../engine/CONFLICTS.md")]
struct Guide;
