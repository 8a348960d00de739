//! Flips every bit of the smallest store that has something in each table, one at a time.
//!
//! ```text
//! every_bit [--every N] [--from N] [--processes N]   every Nth bit (1) from one on (0), in so many
//!                                                    processes (2); exit code 1 if anything
//!                                                    panicked or was told wrong
//! every_bit --bit N                                  one bit, with what panics on the way
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use heirloom_tests::every_bit::{Found, Scene, WRONG};

const USAGE: &str = "every_bit [--every N] [--from N] [--processes N], or every_bit --bit N";
/// Where redb panics in a destructor while another of its panics unwinds, nobody can catch it.
const ENDED: &str = "redb ends the process";

fn main() -> ExitCode {
    let (mut every, mut from, mut processes, mut bit, mut child) = (1, 0, 2, None, false);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        match name.as_str() {
            "--help" => {
                let _ = writeln!(std::io::stdout(), "{USAGE}");
                return ExitCode::SUCCESS;
            }
            // a process of the run: a line for each bit
            "--child" => {
                child = true;
                continue;
            }
            _ => {}
        }
        match (name.as_str(), args.next().and_then(|n| n.parse::<u64>().ok())) {
            ("--every", Some(n)) if n > 0 => every = n,
            ("--from", Some(n)) => from = n,
            ("--processes", Some(n)) if n > 0 => processes = n,
            ("--bit", Some(n)) => bit = Some(n),
            _ => {
                eprintln!("every_bit: {name:?} is unknown or lacks a number; {USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let scene = Scene::default();
    if let Some(bit) = bit {
        let found = scene.flip(bit.min(scene.bits() - 1));
        let _ = writeln!(std::io::stdout(), "bit {bit}: {}", found.join(", "));
        return if found.iter().any(|w| w.starts_with(WRONG)) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    if child {
        // redb's panics are caught, hundreds of thousands of them
        std::panic::set_hook(Box::new(|_| {}));
        let mut out = std::io::stdout().lock();
        for bit in (from..scene.bits()).step_by(every as usize) {
            if writeln!(out, "{}", scene.flip(bit).join("\t").replace('\n', " ")).is_err() {
                break;
            }
        }
        return ExitCode::SUCCESS;
    }
    campaign(scene.bits(), from, every, processes)
}

fn campaign(bits: u64, from: u64, every: u64, processes: u64) -> ExitCode {
    let begun = Instant::now();
    let found: Vec<(u64, Found)> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..processes)
            .map(|part| scope.spawn(move || part_of(bits, from + part * every, every * processes)))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    });
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut out = std::io::stdout().lock();
    let mut wrong = 0;
    for (bit, words) in &found {
        for word in words {
            if word.starts_with(WRONG) {
                wrong += 1;
                if wrong <= 100 {
                    let _ = writeln!(out, "bit {bit} (byte {}): {word}", bit / 8);
                }
            } else {
                *counts.entry(word.split(" | ").next().unwrap_or(word)).or_default() += 1;
                if word == ENDED {
                    let _ = writeln!(out, "bit {bit} (byte {}): {word}", bit / 8);
                }
            }
        }
    }
    let seconds = begun.elapsed().as_secs();
    let _ = writeln!(out, "{} of {bits} bits flipped, {seconds} s", found.len());
    for (word, count) in counts {
        let _ = writeln!(out, "{count:>8} {word}");
    }
    let _ = writeln!(out, "{wrong:>8} panics or wrong");
    let all = (from..bits).step_by(every as usize).count();
    if wrong == 0 && found.len() == all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// In a process of its own, and another one from the next bit on where it ended.
fn part_of(bits: u64, from: u64, every: u64) -> Vec<(u64, Found)> {
    let mut out = Vec::new();
    let mut next = from;
    while next < bits {
        let this = std::env::current_exe().expect("this program");
        let mut child = Command::new(this)
            .args(["--child", "--from", &next.to_string(), "--every", &every.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program can be started");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        for line in lines.map_while(Result::ok) {
            out.push((next, line.split('\t').map(str::to_owned).collect()));
            next += every;
        }
        let ended = child.wait().expect("it was started");
        if !ended.success() && next < bits {
            out.push((next, vec![ENDED.to_owned()]));
            next += every;
        }
    }
    out
}
