//! What needs more than one crate: the engine against the independent implementation, histories,
//! stories, damage, the simulator. What must be a process of its own has one (`power_cuts`,
//! `kills`, `full_disks`), and so has `architecture`.

mod bad_input;
mod conflict_table;
mod corrected;
mod durable_answers;
mod every_bit;
mod forks;
mod fuzz_seeds;
mod golden;
mod model_fixtures;
mod properties;
mod repair;
mod simulation;
mod stories;
