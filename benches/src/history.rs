//! Makes a git repository with a history from a seed: texts of words, a few lines changed at a
//! time, many branches that nobody merged, merges that take sides file by file. Prints what git's
//! pack takes; the example `replay` brings such a repository in, syncs and checks it.
//!
//! `cargo run --release -p heirloom-benches --bin history -- PATH [--commits N] [--seed N]`
#![allow(clippy::print_stdout)]

mod pack;
mod rng;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use rng::Rng;

const FILES: usize = 250;
const AUTHORS: usize = 120;
/// Branches at most; then each new one takes the place of another, which stays as it is.
const BRANCHES: usize = 300;

type Text = Arc<Vec<Arc<str>>>;

/// A branch: its last commit, and the files there.
#[derive(Clone)]
struct Branch {
    name: usize,
    mark: usize,
    files: BTreeMap<usize, Text>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: usize| {
        let given = args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
        given.map_or(default, |n| n.parse().expect("a number"))
    };
    let path = args.first().filter(|a| !a.starts_with("--"));
    let path = Path::new(path.expect("the path of a folder that is not there yet"));
    let (stream, versions) = history(number("--commits", 3_600), number("--seed", 1) as u64);
    let bytes = pack::import(path, stream.as_bytes());
    println!("{versions} versions of files; git, after gc: {:.2} MiB", bytes as f64 / 1_048_576.0);
}

/// What `git fast-import` reads, and how many versions of files that are.
fn history(commits: usize, seed: u64) -> (String, usize) {
    let mut rng = Rng(seed);
    let words: Vec<String> = (0..3_000).map(|_| word(&mut rng)).collect();
    let (mut out, mut versions) = (String::new(), 0);
    let mut first = Branch { name: 0, mark: 1, files: BTreeMap::new() };
    let mut said = Vec::new();
    for file in 0..FILES {
        let lines = (2_000 + rng.below(38_000)) / 50;
        let text: Vec<Arc<str>> = (0..lines).map(|_| line(&mut rng, &words)).collect();
        first.files.insert(file, Arc::new(text));
        said.push(file);
    }
    versions += said.len();
    commit(&mut out, &first, &said, "", &mut rng);
    let (mut branches, mut names) = (vec![first], 1);
    for mark in 2..=commits {
        let at = rng.below(branches.len());
        let mut branch = branches[at].clone();
        let (mut said, mut parents) = (Vec::new(), String::new());
        match rng.below(100) {
            // somebody goes on elsewhere
            0..10 => {
                let _ = writeln!(parents, "from :{}", branch.mark);
                branch.name = names;
                names += 1;
                edit(&mut branch, &mut said, &mut rng, &words);
            }
            // of each file that differs one of both
            10..14 if branches.len() > 1 => {
                let other = branches[rng.below(branches.len())].clone();
                if other.name != branch.name {
                    let _ = writeln!(parents, "merge :{}", other.mark);
                }
                for (file, text) in other.files {
                    if branch.files.get(&file) != Some(&text) && rng.below(2) == 0 {
                        branch.files.insert(file, text);
                        said.push(file);
                    }
                }
            }
            _ => edit(&mut branch, &mut said, &mut rng, &words),
        }
        branch.mark = mark;
        versions += said.len();
        commit(&mut out, &branch, &said, &parents, &mut rng);
        let place = if branch.name == branches[at].name || branches.len() == BRANCHES {
            at
        } else {
            branches.push(branch.clone());
            branches.len() - 1
        };
        branches[place] = branch;
    }
    (out, versions)
}

/// A few lines of one to three files.
fn edit(branch: &mut Branch, said: &mut Vec<usize>, rng: &mut Rng, words: &[String]) {
    for _ in 0..1 + rng.below(3) {
        let file = rng.below(FILES);
        let mut text = Vec::clone(&branch.files[&file]);
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(text.len());
            match rng.below(4) {
                0 => text.insert(at, line(rng, words)),
                1 if text.len() > 20 => drop(text.remove(at)),
                _ => text[at] = line(rng, words),
            }
        }
        branch.files.insert(file, Arc::new(text));
        said.push(file);
    }
    said.sort_unstable();
    said.dedup();
}

fn commit(out: &mut String, branch: &Branch, said: &[usize], parents: &str, rng: &mut Rng) {
    let (mark, author) = (branch.mark, rng.below(AUTHORS));
    let time = 1_600_000_000 + mark * 600;
    let _ = write!(
        out,
        "commit refs/heads/b{}\nmark :{mark}\ncommitter p{author} <p{author}@example.org> {time} \
         +0000\ndata 4\nedit\n{parents}",
        branch.name
    );
    for file in said {
        let text = branch.files[file].concat();
        let _ = write!(out, "M 644 inline d{}/f{file}\ndata {}\n{text}\n", file % 9, text.len());
    }
}

fn word(rng: &mut Rng) -> String {
    (0..2 + rng.below(8)).map(|_| (b'a' + rng.below(26) as u8) as char).collect()
}

fn line(rng: &mut Rng, words: &[String]) -> Arc<str> {
    let words: Vec<&str> = (0..6 + rng.below(5)).map(|_| &*words[rng.below(words.len())]).collect();
    (words.join(" ") + "\n").into()
}
