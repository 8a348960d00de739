//! How long opening takes after a kill: with a journal that was drained, and with one that is
//! nearly half full, in one run.
//!
//! `cargo run --release -p heirloom-benches --bin reopen [-- --mib N]`
//!
//! A child process opens the store, writes entities, drains the journal or does not, and is killed.
//! Each opening reads the store from a file that the system has just written, so from its cache: on
//! a phone the difference is larger.
#![allow(clippy::print_stdout)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use heirloom::{Content, Engine, EntityId};

/// Bytes of an entity.
const SIZE: usize = 64 << 10;
const ROUNDS: usize = 3;
/// Commits of the child: each takes 4 KiB of the 16 MiB of the journal.
const COMMITS: i64 = 2_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [child, path, drained] = &args[..]
        && child == "child"
    {
        return write_and_wait(Path::new(path), drained == "drained");
    }
    let mib = args.iter().position(|a| a == "--mib").and_then(|i| args.get(i + 1));
    let mib: usize = mib.map_or(2 << 10, |n| n.parse().expect("--mib takes a number"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("store");
    fill(&path, mib << 20);
    let bytes = std::fs::metadata(&path).expect("the file").len();
    println!("{:.1} GiB, {} entities", bytes as f64 / (1 << 30) as f64, (mib << 20) / SIZE);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with.push(killed(&path, "drained"));
        without.push(killed(&path, "none"));
    }
    let [with, without] = [with, without].map(|mut all| {
        all.sort();
        all[ROUNDS / 2].as_secs_f64() * 1_000.0
    });
    println!(
        "opening after a kill: {with:.1} ms with a drained journal, {without:.1} ms with {COMMITS} \
         commits in it: {:.0} ×",
        without / with
    );
}

fn open(path: &Path) -> Engine {
    Engine::builder().dataset_name("reopen").drain_after(None).open(path).expect("the store opens")
}

fn entity(n: u64) -> EntityId {
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    EntityId::from_bytes(bytes)
}

/// Bytes that do not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    std::iter::repeat_with(next).take(SIZE / 8).flatten().collect()
}

fn fill(path: &Path, bytes: usize) {
    let engine = open(path);
    let count = (bytes / SIZE) as u64;
    for from in (0..count).step_by(64) {
        let some = |tx: &mut heirloom::Transaction<'_>| {
            (from..count.min(from + 64)).try_for_each(|n| {
                tx.create_with_id(entity(n), "blob", &Content::new().with("bytes", noise(n)))
            })
        };
        engine.write(some).expect("a write");
    }
    engine.close().expect("close");
}

/// The child: writes, drains or not, says so, and waits to be killed.
fn write_and_wait(path: &Path, drained: bool) {
    let engine = open(path);
    engine.drain().expect("a commit");
    for n in 0..COMMITS {
        let content = Content::new().with("name", format!("number {n}")).with("n", n);
        engine.write(|tx| tx.create("mark", &content)).expect("a write");
    }
    if drained {
        engine.drain().expect("a commit");
    }
    println!("ready");
    std::io::stdout().flush().expect("the parent listens");
    std::thread::sleep(Duration::from_secs(3_600));
}

/// How long opening and a first read take after a child was killed.
fn killed(path: &Path, drained: &str) -> Duration {
    let this = std::env::current_exe().expect("this program");
    let mut child = Command::new(this)
        .args(["child".as_ref(), path.as_os_str(), drained.as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its word");
    assert_eq!(line.trim(), "ready");
    child.kill().expect("a kill");
    child.wait().expect("its end");
    let begun = Instant::now();
    let engine = open(path);
    let seen = engine.snapshot().expect("a snapshot").get(entity(0)).expect("a read");
    let took = begun.elapsed();
    assert_eq!(seen.expect("is there").content(), Content::new().with("bytes", noise(0)));
    engine.close().expect("close");
    took
}
