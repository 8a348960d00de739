//! Runs the simulator over many seeds, then hunts each canary; or replays one seed.
//!
//! ```text
//! simulate [--seeds N] [--from N] [--json PATH]      N seeds (200), then each canary; exit code 1 if anything failed
//! simulate --canary NAME [--from N]                  only this canary, until a seed catches it
//! simulate --seed N [--canary NAME]                  one seed, step by step
//! ```

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use heirloom_tests::simulator::{Canary, Tally, hunt, run};

struct Args {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    canary: Option<Canary>,
    json: Option<String>,
}

impl Args {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut out = Args { seeds: 200, from: 0, seed: None, canary: None, json: None };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number of seeds"));
            match name.as_str() {
                "--seeds" => out.seeds = number(value()?)?,
                "--from" => out.from = number(value()?)?,
                "--seed" => out.seed = Some(number(value()?)?),
                "--canary" => out.canary = Some(value()?.parse()?),
                "--json" => out.json = Some(value()?),
                _ => {
                    return Err(format!(
                        "{name:?} is unknown; there are --seeds, --from, --seed, --canary, --json"
                    ));
                }
            }
        }
        Ok(out)
    }
}

/// Below this many seeds the averages are not worth a floor.
const SEEDS_FOR_FLOORS: u64 = 100;

fn main() -> ExitCode {
    let outcome = Args::parse(std::env::args().skip(1)).and_then(|args| {
        let mut out = std::io::stdout().lock();
        let done = match (args.seed, args.canary) {
            (Some(seed), canary) => replay(&mut out, seed, canary),
            (None, Some(canary)) => find(&mut out, canary, args.from),
            (None, None) => campaign(&mut out, &args),
        };
        done.map_err(|e| e.to_string())
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("simulate: {text}");
            ExitCode::from(2)
        }
    }
}

/// One seed with its trace. Well: an honest run holds, one with a canary does not.
fn replay(out: &mut impl Write, seed: u64, canary: Option<Canary>) -> std::io::Result<bool> {
    let outcome = run(seed, canary, true);
    match &outcome {
        Ok(run) => writeln!(out, "seed {seed} holds: {:?}, log root {}", run.tally, run.log_root)?,
        Err(failure) => writeln!(out, "{failure}")?,
    }
    Ok(outcome.is_err() == canary.is_some())
}

fn find(out: &mut impl Write, canary: Canary, from: u64) -> std::io::Result<bool> {
    let hunt = hunt(canary, from);
    match &hunt.caught {
        Some(failure) => writeln!(out, "caught  {:32} after {} seeds: {failure}", canary.name(), hunt.seeds)?,
        None => writeln!(out, "MISSED  {:32} in {} seeds", canary.name(), hunt.seeds)?,
    }
    Ok(hunt.caught.is_some())
}

fn campaign(out: &mut impl Write, args: &Args) -> std::io::Result<bool> {
    let begin = Instant::now();
    let (mut total, mut failures) = (Tally::default(), 0u64);
    for seed in args.from..args.from + args.seeds {
        match run(seed, None, false) {
            Ok(run) => total.add(&run.tally),
            Err(failure) => {
                failures += 1;
                writeln!(out, "FAILED  {failure}\n        replay: simulate --seed {seed}")?;
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    writeln!(out, "{} seeds in {seconds:.1} s, {failures} failed: {total:?}", args.seeds)?;
    let mut well = failures == 0;
    if args.seeds >= SEEDS_FOR_FLOORS {
        for short in total.shortfalls(args.seeds) {
            writeln!(out, "TOO FEW {short}")?;
            well = false;
        }
    }
    let mut found = 0;
    for canary in Canary::ALL {
        found += usize::from(find(out, canary, args.from)?);
    }
    if let Some(path) = &args.json {
        let report = serde_json::json!({
            "seeds": args.seeds,
            "failures": failures,
            "steps": total.steps,
            "cuts": total.cuts,
            "conflicts": total.conflicts,
            "deletes": total.deletes,
            "canaries_planted": Canary::ALL.len(),
            "canaries_found": found,
            "seconds": begin.elapsed().as_secs_f64(),
        });
        std::fs::write(path, format!("{report}\n"))?;
    }
    Ok(well && found == Canary::ALL.len())
}
