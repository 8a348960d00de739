//! How long opening takes after a kill: with the commit that `mark_clean` makes, and without, in
//! one run.
//!
//! `cargo run --release -p heirloom-benches --bin reopen [-- --mib N]`
//!
//! A child process opens the store, writes an entity, marks the file clean or does not, and is
//! killed. Each opening reads the store from a file that the system has just written, so from its
//! cache: on a phone the difference is larger.
#![allow(clippy::print_stdout)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use heirloom::{Content, Engine, EntityId};

/// Bytes of an entity.
const SIZE: usize = 64 << 10;
const ROUNDS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [child, path, clean] = &args[..]
        && child == "child"
    {
        return write_and_wait(Path::new(path), clean == "clean");
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
        with.push(killed(&path, "clean"));
        without.push(killed(&path, "none"));
    }
    let [with, without] = [with, without].map(|mut all| {
        all.sort();
        all[ROUNDS / 2].as_secs_f64() * 1_000.0
    });
    println!(
        "opening after a kill: {with:.1} ms in a clean file, {without:.1} ms else: {:.0} ×",
        without / with
    );
}

fn open(path: &Path) -> Engine {
    Engine::builder()
        .dataset_name("reopen")
        .mark_clean_after(None)
        .open(path)
        .expect("the store opens")
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

/// The child: writes, marks the file clean or not, says so, and waits to be killed.
fn write_and_wait(path: &Path, clean: bool) {
    let engine = open(path);
    engine.write(|tx| tx.create("mark", &Content::new())).expect("a write");
    if clean {
        engine.mark_clean().expect("a commit");
    }
    println!("ready");
    std::io::stdout().flush().expect("the parent listens");
    std::thread::sleep(Duration::from_secs(3_600));
}

/// How long opening and a first read take after a child was killed.
fn killed(path: &Path, clean: &str) -> Duration {
    let this = std::env::current_exe().expect("this program");
    let mut child = Command::new(this)
        .args(["child".as_ref(), path.as_os_str(), clean.as_ref()])
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
