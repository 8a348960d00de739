//! What fuzz targets do with their input. Each is a function that panics where a law is broken, so
//! that `cargo test` replays without the fuzzer what it starts from and what it has ever found.
//!
//! Where bytes are a tape ([`Random::tape`](crate::random::Random::tape)) they choose among what
//! makes sense, so that the fuzzer spends its time behind the checks and not before them.

pub mod commits;
pub mod merge;
pub mod operations;
pub mod rows;
pub mod session;
pub mod text;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; `fuzz/fuzz_targets/` and `fuzz/seeds/` have each under its name.
pub const TARGETS: [Target; 6] = [
    ("commits", commits::run),
    ("merge", merge::run),
    ("operations", operations::run),
    ("rows", rows::run),
    ("session", session::run),
    ("text", text::run),
];
