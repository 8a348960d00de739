//! Flips every bit of the smallest store that has something in each table, one at a time.
//!
//! ```text
//! every_bit [--every N] [--from N] [--threads N]    every Nth bit (1) from one on (0), on so many threads (2);
//!                                                   exit code 1 if anything panicked or was told wrong
//! every_bit --bit N                                 one bit
//! ```

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use heirloom_tests::every_bit::Scene;

const USAGE: &str = "every_bit [--every N] [--from N] [--threads N], or every_bit --bit N";

fn main() -> ExitCode {
    let (mut every, mut from, mut threads, mut bit) = (1, 0, 2, None);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().and_then(|n| n.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--every", Some(n)) if n > 0 => every = n,
            ("--from", Some(n)) => from = n,
            ("--threads", Some(n)) if n > 0 => threads = n as usize,
            ("--bit", Some(n)) => bit = Some(n),
            ("--help", None) => {
                let _ = writeln!(std::io::stdout(), "{USAGE}");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("every_bit: {name:?} is unknown or lacks a number; {USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    if bit.is_none() {
        // redb's panics are caught, hundreds of thousands of them
        std::panic::set_hook(Box::new(|_| {}));
    }
    let (scene, begun) = (Scene::default(), Instant::now());
    let tally = match bit {
        Some(bit) => scene.flip(bit.min(scene.bits() - 1)),
        None => scene.run(from, every, threads, &|done| {
            if done % 20_000 == 0 {
                eprintln!("{done} openings, {} s", begun.elapsed().as_secs());
            }
        }),
    };
    let mut out = std::io::stdout().lock();
    for (bit, wrong) in tally.failures.iter().take(100) {
        let _ = writeln!(out, "bit {bit} (byte {}): {wrong}", bit / 8);
    }
    let seconds = begun.elapsed().as_secs();
    let _ = writeln!(
        out,
        "{} of {} bits in {seconds} s: {} without effect, {} refused when opened {:?}, {} named by verify, {} with \
         errors when read; repair made {} right, left something of {}, was refused for {} {:?}, asks peers for \
         commits in {}, made {} tables anew; {} failures",
        tally.openings,
        scene.bits(),
        tally.without_effect,
        tally.refused.values().sum::<u64>(),
        tally.refused,
        tally.named,
        tally.errors,
        tally.mended,
        tally.left,
        tally.unrepaired.values().sum::<u64>(),
        tally.unrepaired,
        tally.awaited,
        tally.remade,
        tally.failures.len(),
    );
    if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
