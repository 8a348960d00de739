//! Runs the simulator over many seeds, then hunts each canary; or replays one seed. `--help` says
//! how.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use heirloom_tests::simulator::{Canary, Failure, Fault, Tally, hunt, run};

const HELP: &str = "\
Runs the simulator over many seeds, then hunts each planted bug; or replays one seed.

  simulate [--seeds N] [--from N] [--jobs N] [--json]
                                    N seeds (200) from one on (0), on all cores or so many,
                                    then each planted bug
  simulate --canary NAME [--from N] only this planted bug, until a seed catches it
  simulate --seed N [--canary NAME] one seed, step by step
  simulate --help                   this

With --json standard output holds one JSON object, and words go to standard error.
A seed is the same run every time and on any number of cores.

Exit code: 0 if all went well, 1 if a seed failed or a planted bug was missed (with --seed and
--canary: if it was not caught), 2 if the arguments are wrong or nothing could be printed.

Planted bugs:
";

struct Args {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    canary: Option<Canary>,
    json: bool,
    jobs: usize,
    help: bool,
}

impl Args {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut out =
            Args { seeds: 200, from: 0, seed: None, canary: None, json: false, jobs, help: false };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number"));
            match name.as_str() {
                "--seeds" => out.seeds = number(value()?)?,
                "--from" => out.from = number(value()?)?,
                "--seed" => out.seed = Some(number(value()?)?),
                "--canary" => out.canary = Some(value()?.parse()?),
                "--json" => out.json = true,
                "--jobs" => out.jobs = usize::try_from(number(value()?)?).unwrap_or(jobs).max(1),
                "--help" | "-h" => out.help = true,
                _ => {
                    return Err(format!(
                        "{name:?} is unknown; there are --seeds, --from, --jobs, --seed, --canary, \
                         --json, --help"
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
            _ if args.help => help(&mut out),
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

fn help(out: &mut impl Write) -> std::io::Result<bool> {
    write!(out, "{HELP}")?;
    for canary in Canary::ALL {
        writeln!(out, "  {:34} breaks {}", canary.name(), canary.breaks())?;
    }
    Ok(true)
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
        None => writeln!(
            out,
            "MISSED  {:34} {:8} in {} seeds",
            canary.name(),
            canary.breaks(),
            hunt.seeds
        )?,
    }
    Ok(hunt.caught.is_some())
}

/// How many seeds ran, and what came of them.
#[derive(Default)]
struct Campaign {
    total: Tally,
    failures: Vec<Failure>,
}

/// Runs the seeds on so many threads. What comes of them does not depend on how many there are.
fn run_all(from: u64, seeds: u64, jobs: usize) -> Campaign {
    let (next, done) = (AtomicU64::new(from), Mutex::new(Campaign::default()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed.wrapping_sub(from) >= seeds {
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
    let Campaign { total, failures } = run_all(args.from, args.seeds, args.jobs);
    for failure in &failures {
        writeln!(words, "FAILED  {failure}\n        replay: simulate --seed {}", failure.seed)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    writeln!(
        words,
        "{} seeds in {seconds:.1} s, {} failed: {total:?}",
        args.seeds,
        failures.len()
    )?;
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
        writeln!(
            out,
            "{}",
            report(args, &total, failures.len(), found, begin.elapsed().as_secs_f64())
        )?;
    }
    Ok(well && found == Canary::ALL.len())
}

fn report(
    args: &Args,
    total: &Tally,
    failures: usize,
    found: usize,
    seconds: f64,
) -> serde_json::Value {
    let faults = Fault::ALL
        .iter()
        .zip(total.faults)
        .map(|(fault, count)| (fault.name().to_owned(), count.into()));
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
        "imports": total.imports,
        "canaries_planted": Canary::ALL.len(),
        "canaries_found": found,
        "seconds": seconds,
    })
}
