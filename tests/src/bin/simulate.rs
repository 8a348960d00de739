//! Runs the simulator over many seeds, then hunts each canary; or replays one seed.
//!
//! ```text
//! simulate [--seeds N] [--from N] [--json]           N seeds (200) on all cores, then each canary; exit code 1 if anything failed.
//!                                                    With --json, standard output is one JSON object
//! simulate --canary NAME [--from N]                  only this canary, until a seed catches it
//! simulate --seed N [--canary NAME]                  one seed, step by step
//! ```

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use heirloom_tests::simulator::{Canary, Failure, Fault, Tally, hunt, run};

struct Args {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    canary: Option<Canary>,
    json: bool,
}

impl Args {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut out = Args { seeds: 200, from: 0, seed: None, canary: None, json: false };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number of seeds"));
            match name.as_str() {
                "--seeds" => out.seeds = number(value()?)?,
                "--from" => out.from = number(value()?)?,
                "--seed" => out.seed = Some(number(value()?)?),
                "--canary" => out.canary = Some(value()?.parse()?),
                "--json" => out.json = true,
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
        Some(failure) => writeln!(
            out,
            "caught  {:34} {:8} after {} seeds: {failure}",
            canary.name(),
            canary.breaks(),
            hunt.seeds
        )?,
        None => writeln!(out, "MISSED  {:34} {:8} in {} seeds", canary.name(), canary.breaks(), hunt.seeds)?,
    }
    Ok(hunt.caught.is_some())
}

/// How many seeds ran, and what came of them.
#[derive(Default)]
struct Campaign {
    total: Tally,
    failures: Vec<Failure>,
}

/// Runs the seeds on all cores. What comes of them does not depend on how many there are.
fn run_all(from: u64, seeds: u64) -> Campaign {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, done) = (AtomicU64::new(from), Mutex::new(Campaign::default()));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    let outcome = run(seed, None, false);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(run) => done.total.add(&run.tally),
                        Err(failure) => done.failures.push(failure),
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.failures.sort_by_key(|failure| failure.seed);
    done
}

fn campaign(out: &mut impl Write, args: &Args) -> std::io::Result<bool> {
    let begin = Instant::now();
    // with --json, standard output holds the object alone
    let mut words: Box<dyn Write + '_> =
        if args.json { Box::new(std::io::stderr().lock()) } else { Box::new(&mut *out) };
    let Campaign { total, failures } = run_all(args.from, args.seeds);
    for failure in &failures {
        writeln!(words, "FAILED  {failure}\n        replay: simulate --seed {}", failure.seed)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    writeln!(words, "{} seeds in {seconds:.1} s, {} failed: {total:?}", args.seeds, failures.len())?;
    for (fault, count) in Fault::ALL.iter().zip(total.faults) {
        writeln!(words, "{count:8}  {}", fault.name())?;
    }
    let mut well = failures.is_empty();
    if args.seeds >= SEEDS_FOR_FLOORS {
        for short in total.shortfalls(args.seeds) {
            writeln!(words, "TOO FEW {short}")?;
            well = false;
        }
    }
    let mut found = 0;
    for canary in Canary::ALL {
        found += usize::from(find(&mut words, canary, args.from)?);
    }
    drop(words);
    if args.json {
        writeln!(out, "{}", report(args, &total, failures.len(), found, begin.elapsed().as_secs_f64()))?;
    }
    Ok(well && found == Canary::ALL.len())
}

fn report(args: &Args, total: &Tally, failures: usize, found: usize, seconds: f64) -> serde_json::Value {
    let faults =
        Fault::ALL.iter().zip(total.faults).map(|(fault, count)| (fault.name().to_owned(), count.into()));
    let mut faults: serde_json::Map<String, serde_json::Value> = faults.collect();
    faults.insert("cut".to_owned(), total.cuts.into());
    faults.insert("altered_byte".to_owned(), total.altered.into());
    faults.insert("clock_jump".to_owned(), total.jumps.into());
    serde_json::json!({
        "seeds": args.seeds,
        "failures": failures,
        "steps": total.steps,
        "faults": faults,
        "forks": total.forks,
        "copies": total.copies,
        "restores": total.restores,
        "crashes": total.crashes,
        "clock_jumps": total.jumps,
        "void_commits": total.void_commits,
        "hub_losses": total.losses,
        "canaries_planted": Canary::ALL.len(),
        "canaries_found": found,
        "seconds": seconds,
    })
}
