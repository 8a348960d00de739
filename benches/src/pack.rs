//! git, for what it needs to keep the same.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a bare repository of a stream for `git fast-import`. Bytes of its pack after `git gc`,
/// with all differences looked for anew: fast-import sees few of them, and gc would keep its.
pub(crate) fn import(path: &Path, stream: &[u8]) -> u64 {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(path).args(args);
        command
    };
    std::fs::create_dir(path).expect("a fresh folder");
    assert!(git(&["init", "-q", "--bare"]).status().expect("git").success());
    let import = &mut git(&["fast-import", "--quiet"]);
    let mut import = import.stdin(Stdio::piped()).spawn().expect("git");
    let mut input = import.stdin.take().expect("piped");
    input.write_all(stream).expect("git listens");
    drop(input);
    assert!(import.wait().expect("git").success());
    for tidy in [&["repack", "-adfq"][..], &["gc", "-q", "--prune=now"]] {
        assert!(git(tidy).status().expect("git").success());
    }
    let files = std::fs::read_dir(path.join("objects/pack")).expect("packs");
    let sizes = files.map(|file| file.expect("an entry"));
    let packs = sizes.filter(|f| f.path().extension().is_some_and(|e| e == "pack"));
    packs.map(|f| f.metadata().expect("a size").len()).sum()
}
