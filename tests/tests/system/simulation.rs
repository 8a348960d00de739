//! The simulator in short; `cargo run --release -p heirloom-tests --bin simulate` is the long run.

use heirloom_tests::simulator::{Canary, Tally, VERSION, hunt, run};

#[test]
fn twenty_seeds_hold() {
    let mut total = Tally::default();
    for seed in 0..20 {
        total.add(&run(seed, None, false).unwrap_or_else(|failure| panic!("{failure}")).tally);
    }
    assert!(
        total.cuts > 50 && total.conflicts > 50 && total.deletes > 10 && total.sessions > 50,
        "{total:?}"
    );
    assert!(
        total.forks > 0 && total.void_commits > 10 && total.crashes > 10 && total.losses > 5,
        "{total:?}"
    );
}

#[test]
fn seeds_that_once_failed_hold() {
    let corpus = include_str!("../../corpus/seeds.txt");
    assert_eq!(
        corpus.lines().next(),
        Some(&*format!("# version {VERSION}")),
        "the seeds are other runs now"
    );
    for line in corpus.lines().filter(|line| !line.starts_with('#')) {
        let seed = line.split_whitespace().next().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| panic!("{line:?} does not begin with a seed"));
        run(seed, None, false).unwrap_or_else(|failure| panic!("{failure}; it once found: {line}"));
    }
}

#[test]
fn every_canary_is_caught_and_the_failure_names_its_seed() {
    for canary in Canary::ALL {
        let hunt = hunt(canary, FROM);
        let caught = hunt
            .caught
            .unwrap_or_else(|| panic!("{} missed in {} seeds", canary.name(), hunt.seeds));
        assert_eq!(caught.seed, FROM + hunt.seeds - 1);
        assert!(caught.to_string().starts_with(&format!("seed {}, step", caught.seed)), "{caught}");
    }
}

/// From here on all canaries sing soon.
const FROM: u64 = 1000;

#[test]
fn a_seed_is_the_same_run_every_time() {
    let runs = [run(1, None, false), run(1, None, false)];
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].is_ok());
    assert_ne!(runs[0], run(2, None, false));
    let caught = || hunt(Canary::WithholdsDeletions, FROM);
    assert_eq!(caught(), caught());
}

#[test]
fn runs_that_meet_too_little_fall_short() {
    let short = Tally { cuts: 799, conflicts: 1_000_000, ..Tally::default() }.shortfalls(100);
    assert!(short.iter().any(|s| s == "799 cuts, where 800 are the floor"), "{short:?}");
    assert!(short.iter().all(|s| !s.contains("conflicts")), "{short:?}");
    assert!(
        Tally { cuts: 800, ..Tally::default() }.shortfalls(100).iter().all(|s| !s.contains("cuts"))
    );
}

/// All but I11, which is about memory: the fuzz targets run under a limit.
#[test]
fn every_invariant_has_a_canary() {
    let broken: Vec<&str> =
        Canary::ALL.iter().flat_map(|canary| canary.breaks().split(", ")).collect();
    for invariant in (1..=10).map(|n| format!("I{n}")) {
        assert!(broken.contains(&&*invariant), "{invariant}");
    }
}

#[test]
fn canaries_go_by_their_names() {
    for canary in Canary::ALL {
        assert_eq!(canary.name().parse(), Ok(canary));
    }
    assert!("no-such-bird".parse::<Canary>().unwrap_err().contains("sends-out-of-order"));
}

#[test]
fn help_is_answered_with_every_option_and_every_planted_bug() {
    let simulate = |arg: &str| {
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_simulate")).arg(arg).output();
        let run = run.expect("it runs");
        (run.status.code(), String::from_utf8(run.stdout).expect("text"))
    };
    for asked in ["--help", "-h"] {
        let (code, text) = simulate(asked);
        assert_eq!(code, Some(0));
        let options = ["--seeds", "--from", "--jobs", "--seed", "--canary", "--json"];
        let canaries = Canary::ALL.map(Canary::name);
        for named in options.into_iter().chain(canaries) {
            assert!(text.contains(named), "{named} is missing");
        }
    }
    assert_eq!(simulate("--hepl"), (Some(2), String::new()));
}
