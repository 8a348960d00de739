//! What the tests of more than one crate share. The format is implemented here a second time, from `engine/FORMAT.md`
//! alone: [`decoder`] reads and judges commits, [`forge`] writes them, honest or not. Neither shares code with the engine.

pub mod decoder;
pub mod forge;
