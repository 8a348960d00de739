//! Replays what the fuzzer starts from and what it has ever found, as its targets do, without the
//! fuzzer.

use std::fs;
use std::path::PathBuf;

use heirloom_tests::fuzz::{self, TARGETS};

/// Replays a folder; how many inputs there are. Seeds that a fuzzer found have 12 hex digits for a
/// name, others say what they are.
fn replay(folder: &str, (name, run): fuzz::Target) -> usize {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "fuzz", folder, name].iter().collect();
    let Ok(files) = fs::read_dir(&folder) else { return 0 };
    let mut count = 0;
    for file in files {
        let path = file.unwrap().path();
        let input = fs::read(&path).unwrap();
        assert!(std::panic::catch_unwind(|| run(&input)).is_ok(), "{} fails", path.display());
        count += 1;
    }
    count
}

#[test]
fn seeds_pass() {
    for target in TARGETS {
        assert!(replay("seeds", target) > 0, "{} has no seeds", target.0);
    }
}

#[test]
fn what_once_failed_passes() {
    for target in TARGETS {
        replay("crashers", target);
    }
}

#[test]
fn every_target_has_its_file() {
    let folder: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "fuzz", "fuzz_targets"].iter().collect();
    let files =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.collect();
    files.sort();
    assert_eq!(files, TARGETS.map(|(name, _)| format!("{name}.rs")));
}
