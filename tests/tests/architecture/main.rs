//! The house as the compiler does not hold it: which room may use which, no circles, few files in a
//! root, files and lines that a person can take in.
//!
//! The rooms stand in the order in which they are built on each other: each may use itself and
//! those before it. Whoever needs an arrow the other way moves what is needed down, and not the
//! room up.

mod arrows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrows::Arrows;

const CORE: &[&str] =
    &["limits.rs", "error.rs", "bytes.rs", "model", "format", "merge", "fold", "replica", "lib.rs"];

const ENGINE: &[&str] = &[
    "traced.rs",
    "error",
    "store/file",
    "store/journal",
    "store/rows",
    "store/read",
    "store/index",
    "store/commit",
    "store/intake",
    "store/damage",
    "store/build",
    "store/open",
    "store/mod.rs",
    "rules.rs",
    "engine.rs",
    "builder.rs",
    "read",
    "write",
    "replication",
    "watch",
    "maintain",
    "open.rs",
    "guide.rs",
    "lib.rs",
];

const SYNC: &[&str] = &[
    "traced.rs",
    "limits.rs",
    "report.rs",
    "admission.rs",
    "error",
    "config.rs",
    "session",
    "transport",
    "lib.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files of Rust below a folder, by their paths in it.
fn sources(folder: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                out.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    out
}

fn holds(folder: &str, rooms: &[&str]) {
    let files = sources(&root().join(folder));
    assert!(files.len() > 10, "{folder} is elsewhere");
    let arrows = Arrows::of(&files);
    assert!(arrows.uses.values().any(|uses| !uses.is_empty()));
    assert_eq!(arrows.upward(rooms), Vec::<String>::new(), "arrows that go up in {folder}");
    assert_eq!(arrows.circles(), Vec::<String>::new(), "files on a circle in {folder}");
    let in_root = files.keys().filter(|file| !file.contains('/')).count();
    assert!(in_root <= 8, "{in_root} files in {folder} itself");
    for (file, text) in &files {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = code.lines().count();
        assert!(lines <= 500, "{folder}/{file} has {lines} lines: it holds more than one idea");
    }
}

#[test]
fn rooms_of_the_core_use_only_those_before_them() {
    holds("engine/core/src", CORE);
}

#[test]
fn rooms_of_the_engine_use_only_those_before_them() {
    holds("engine/src", ENGINE);
}

#[test]
fn rooms_of_sync_use_only_those_before_them() {
    holds("sync/src", SYNC);
}

#[test]
fn an_arrow_that_goes_up_and_a_circle_are_found() {
    let house = |files: &[(&str, &str)]| {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Arrows::of(&files.iter().map(own).collect())
    };
    let rooms = ["cellar", "attic", "lib.rs"];
    let sound = [
        ("lib.rs", "mod attic;\nmod cellar;\npub use attic::Roof;"),
        ("cellar/mod.rs", "mod wall;\npub(crate) use wall::Wall;"),
        ("cellar/wall.rs", "//! use crate::attic::Roof;\npub(crate) struct Wall;"),
        ("attic/mod.rs", "mod beam;\nmod roof;\npub use roof::Roof;"),
        (
            "attic/roof.rs",
            "use super::beam::{self, Beam as B};\nuse crate::cellar::{Wall};\nstruct Roof;",
        ),
        ("attic/beam.rs", "pub(in crate::attic) struct Beam;"),
    ];
    let arrows = house(&sound);
    assert_eq!((arrows.upward(&rooms), arrows.circles()), (vec![], vec![]));
    assert_eq!(arrows.uses["attic/roof.rs"].len(), 2, "{:?}", arrows.uses);

    let mut upward = sound;
    upward[2].1 = "fn f() { crate::attic::Roof }";
    assert_eq!(house(&upward).upward(&rooms), ["cellar/wall.rs uses attic/mod.rs"]);
    let mut circle = sound;
    circle[5].1 = "use super::{\n    roof::{Roof, Tile},\n};\nstruct Beam(Roof, Tile);";
    assert_eq!(house(&circle).circles(), ["attic/beam.rs", "attic/roof.rs"]);
    let mut stray = sound.to_vec();
    stray.push(("shed.rs", "use crate::cellar::Wall;\nstruct Shed(Wall);"));
    assert_eq!(house(&stray).upward(&rooms), ["shed.rs is in no room"]);
}

#[test]
fn no_line_of_code_or_comment_is_longer_than_100_columns() {
    let mut long = Vec::new();
    for folder in ["engine", "sync", "tests", "examples", "benches", "fuzz"] {
        for (file, text) in sources(&root().join(folder)) {
            let over = |(_, line): &(usize, &str)| line.chars().count() > 100;
            long.extend(
                text.lines()
                    .enumerate()
                    .filter(over)
                    .map(|(n, _)| format!("{folder}/{file}:{}", n + 1)),
            );
        }
    }
    assert_eq!(long, Vec::<String>::new());
}

/// What cargo says that a crate is built from, its own features and those of others.
fn tree(of: &str) -> String {
    let cargo = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal,features", "--package", of])
        .args(["--no-default-features", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    String::from_utf8(cargo.stdout).unwrap()
}

#[test]
fn nothing_pulls_the_standard_library_into_the_core() {
    // macros run where the compiler does, and may use what they like
    let macros = ["proc-macro2", "quote", "syn", "unicode-ident"];
    let own = |line: &&str| !macros.iter().any(|name| line.starts_with(name));
    let tree = tree("heirloom-core");
    assert!(tree.contains("blake3") && tree.contains("serde"), "{tree}");
    let std: Vec<&str> =
        tree.lines().filter(own).filter(|line| line.contains("feature \"std\"")).collect();
    assert_eq!(std, Vec::<&str>::new());
    assert!(!tree.contains("redb"));
}

#[test]
fn sync_needs_the_core_and_not_the_engine() {
    let tree = tree("heirloom-sync");
    assert!(tree.contains("heirloom-core v"));
    assert!(!tree.lines().any(|line| line.starts_with("heirloom v") || line.contains("redb")));
}
