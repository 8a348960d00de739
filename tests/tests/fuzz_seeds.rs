//! Replays what the fuzzer starts from and what it has ever found, as its target does, without the fuzzer.

use std::{fs, path::PathBuf};

use heirloom_tests::{decoder::hashes, mend};

fn replay(folder: &str) -> usize {
    let folder: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "fuzz", folder, "decode_commit"].iter().collect();
    let Ok(files) = fs::read_dir(&folder) else { return 0 };
    let mut count = 0;
    for file in files {
        let path = file.unwrap().path();
        // git keeps no empty folder
        if path.extension().is_some_and(|extension| extension == "md") {
            continue;
        }
        let replayed = std::panic::catch_unwind(|| {
            mend::decode_commits(&fs::read(&path).unwrap(), hashes::dataset_id("golden"));
        });
        assert!(replayed.is_ok(), "{} fails", path.display());
        count += 1;
    }
    count
}

#[test]
fn seeds_and_crashers_pass() {
    assert!(replay("seeds") >= 6);
    replay("crashers");
}
