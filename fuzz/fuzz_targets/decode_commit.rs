//! Any bytes as a pack of commits, each with its length before it. They are offered as they are, and once more with hashes that fit,
//! so that the fuzzer gets past these: to an engine in memory and to the independent decoder, which must agree on all of it.
//!
//! ```text
//! mkdir -p fuzz/corpus/decode_commit
//! cargo fuzz run -s none decode_commit fuzz/corpus/decode_commit fuzz/seeds/decode_commit
//! ```
//!
//! What it finds (in `fuzz/artifacts/`) is kept in `fuzz/crashers/decode_commit/`: `cargo test` replays that and the seeds, which are the
//! golden commits. Needs cargo-fuzz, and g++ for libFuzzer.
#![no_main]

use heirloom_tests::{decoder::hashes, mend};

libfuzzer_sys::fuzz_target!(|pack: &[u8]| mend::decode_commits(pack, hashes::dataset_id("golden")));
