//! See `heirloom_tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| heirloom_tests::fuzz::operations::run(input));
