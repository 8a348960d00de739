//! Many replicas under what goes wrong between them. One seed is one run: the same commits, the
//! same bytes, the same end.
//!
//! - **Nodes**: 3 to 6 engines in memory, of one dataset; some join late and learn the dataset from
//!   their first peer. Clocks are off by minutes or years, stand before 1970 or at the end of time,
//!   and jump.
//! - **Writes**: creations of the same entity on several devices, patches, forms that come back
//!   late, deletions, restores, several entities at once, transactions that change their mind,
//!   people who decide what is in conflict, in time or too late.
//! - **Policies**: each run draws one for each of the two entity types, a custom one among them,
//!   the same on all nodes.
//! - **Links**: sessions between any two, several at once on one node, frame by frame and slice by
//!   slice; cut at any byte, tried again, timed out, with a byte altered on its way.
//!
//! - **Faults**: each seed draws its own few. Every node lives on a [`Disk`](crate::disk::Disk):
//!   power cuts at any operation, kills, failing and misdirected operations, no room; stores lost
//!   for good, files copied, backups and images that devices go on with; frames repeated, lost,
//!   made up; rows that rot. After each crash what a node had said to hold is there.
//! - **Forgers**: members write what is void, newer, or in another's name, and replace contents on
//!   their way.
//!
//! - **Imports** (`imports`): histories that are on their way while a peer brings them, too, or the
//!   application asks for them.
//!
//! The `ledger` keeps what every author was told, outside of the nodes, and says by the `naive`
//! model what each write must give. While it runs, only the typed errors that it foretells may
//! come. **At rest** everybody syncs with everybody until nothing moves, and `check` compares all
//! nodes with each other and with the ledger: log roots, digests, clocks, heads, contents of all
//! versions, merges, conflicts, times past; no version lost, no edit gone but by the hand of
//! somebody who had seen it, `verify` clean.
//!
//! A [`Canary`] is a bug that is planted in one node on purpose. A simulator that does not catch it
//! is broken.

mod canary;
mod check;
mod faults;
mod forger;
mod imports;
mod ledger;
mod link;
mod naive;
mod node;
mod policy;
mod report;
mod rot;
mod spoil;
mod swarm;
mod world;
mod write;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use canary::Canary;
use heirloom::LogRoot;
pub use swarm::Fault;
use world::World;

/// What a seed does depends on it: raised with each change that makes seeds other runs.
pub const VERSION: u32 = 6;

/// What a run met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Steps taken.
    pub steps: u64,
    /// Commits written.
    pub commits: u64,
    /// Versions in them.
    pub versions: u64,
    /// Versions with several parents.
    pub merges: u64,
    /// Tombstones.
    pub deletes: u64,
    /// Different conflicts that some author met, or that were open at rest.
    pub conflicts: u64,
    /// Writes that were refused as foretold.
    pub refusals: u64,
    /// Decisions of people that were taken.
    pub resolutions: u64,
    /// Decisions and expectations that were refused because other heads were there by then.
    pub stale: u64,
    /// Sessions that went well.
    pub sessions: u64,
    /// Sessions that ended with an error of the link's.
    pub failed_sessions: u64,
    /// Links that were cut under a session.
    pub cuts: u64,
    /// Links that altered a byte.
    pub altered: u64,
    /// Sessions begun on a node that was in one already.
    pub at_once: u64,
    /// Bytes of large commits that did not travel again.
    pub resumed_bytes: u64,
    /// Clocks that jumped.
    pub jumps: u64,
    /// Commits that were on their way to the disk when it failed, never acknowledged, and there
    /// afterwards.
    pub unacknowledged: u64,
    /// Stores that were opened again after a crash.
    pub crashes: u64,
    /// Devices that lost their store and began anew.
    pub losses: u64,
    /// Copies of a store's file that another device went on with.
    pub copies: u64,
    /// Forks that all knew of in the end.
    pub forks: u64,
    /// Forged commits that all hold in the end, each without effect.
    pub void_commits: u64,
    /// Devices that went on with a backup or an earlier image of their disk.
    pub restores: u64,
    /// Commits that nobody else held when their device lost its store.
    pub lost_commits: u64,
    /// Imports that were under way while somebody asked for what they bring.
    pub imports: u64,
    /// Faults that struck, in the order of [`Fault::ALL`].
    pub faults: [u64; Fault::ALL.len()],
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Tally) {
        let Tally {
            steps,
            commits,
            versions,
            merges,
            deletes,
            conflicts,
            refusals,
            resolutions,
            stale,
            ..
        } = other;
        let Tally {
            sessions, failed_sessions, cuts, altered, at_once, resumed_bytes, jumps, ..
        } = other;
        self.steps += steps;
        self.commits += commits;
        self.versions += versions;
        self.merges += merges;
        self.deletes += deletes;
        self.conflicts += conflicts;
        self.refusals += refusals;
        self.resolutions += resolutions;
        self.stale += stale;
        self.sessions += sessions;
        self.failed_sessions += failed_sessions;
        self.cuts += cuts;
        self.altered += altered;
        self.at_once += at_once;
        self.resumed_bytes += resumed_bytes;
        self.jumps += jumps;
        self.unacknowledged += other.unacknowledged;
        self.crashes += other.crashes;
        self.losses += other.losses;
        self.copies += other.copies;
        self.forks += other.forks;
        self.void_commits += other.void_commits;
        self.restores += other.restores;
        self.lost_commits += other.lost_commits;
        self.imports += other.imports;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, more)| *sum += more);
    }

    /// What many runs must have met, else they prove too little: what falls short of it. About half
    /// of what the generator gave when the floors were set.
    pub fn shortfalls(&self, seeds: u64) -> Vec<String> {
        let floors_per_100_seeds = [
            ("cuts", self.cuts, 800),
            ("conflicts", self.conflicts, 800),
            ("deletes", self.deletes, 170),
            ("merges", self.merges, 500),
            ("refusals", self.refusals, 700),
            ("resolutions", self.resolutions, 110),
            ("stale decisions", self.stale, 25),
            ("sessions", self.sessions, 600),
            ("sessions at once", self.at_once, 900),
            ("altered bytes", self.altered, 25),
            ("resumed bytes", self.resumed_bytes, 300_000),
            ("forks", self.forks, 15),
            ("void commits", self.void_commits, 100),
            ("imports", self.imports, 100),
            ("rotten records", self.faults[Fault::RottenRecord as usize], 15),
            ("spoilt contents", self.faults[Fault::SpoiltBodies as usize], 15),
        ];
        let floors =
            floors_per_100_seeds.map(|(what, met, floor)| (what, met, floor * seeds / 100));
        let short = floors.into_iter().filter(|(_, met, floor)| met < floor);
        short
            .map(|(what, met, floor)| format!("{met} {what}, where {floor} are the floor"))
            .collect()
    }
}

/// How a run ended well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// What it met.
    pub tally: Tally,
    /// What all nodes held in the end.
    pub log_root: LogRoot,
}

/// What a run found, and how to see it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The seed that replays it.
    pub seed: u64,
    /// The step at which it was found; the last one for what was found at rest.
    pub step: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, step {}: {}", self.seed, self.step, self.what)
    }
}

impl std::error::Error for Failure {}

/// Runs one seed; with a canary, if one is given. `trace` tells each step on standard error.
pub fn run(seed: u64, canary: Option<Canary>, trace: bool) -> Result<Run, Failure> {
    let mut world = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let world = world.insert(World::new(seed, canary, trace)?);
        world.play()?;
        world.rest()
    }));
    let step = world.map_or(0, |w| w.tally.steps);
    match outcome {
        Ok(Ok(run)) => Ok(run),
        Ok(Err(Wrong(what))) => Err(Failure { seed, step, what }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
            Err(Failure { seed, step, what: format!("panic: {text}") })
        }
    }
}

/// How [`hunt`] ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hunt {
    /// Seeds that ran.
    pub seeds: u64,
    /// What gave the canary away, if anything did.
    pub caught: Option<Failure>,
}

/// Runs seeds from `from` on with a canary, until one catches it or [`Canary::within`] have run.
pub fn hunt(canary: Canary, from: u64) -> Hunt {
    for seeds in 1..=canary.within() {
        if let Err(failure) = run(from + seeds - 1, Some(canary), false) {
            return Hunt { seeds, caught: Some(failure) };
        }
    }
    Hunt { seeds: canary.within(), caught: None }
}

/// Something that must not be.
#[derive(Debug)]
struct Wrong(String);

type Checked<T> = Result<T, Wrong>;

impl From<heirloom::Error> for Wrong {
    fn from(error: heirloom::Error) -> Self {
        Wrong(format!("the engine failed: {}", chain(&error)))
    }
}

impl From<heirloom_sync::SyncError> for Wrong {
    fn from(error: heirloom_sync::SyncError) -> Self {
        Wrong(format!("a session failed: {}", chain(&error)))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked<()> {
    if holds { Ok(()) } else { Err(Wrong(what())) }
}

/// Both must be the same.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Checked<()> {
    ensure(found == expected, || {
        format!("{what}: {}, where {} is right", short(found), short(expected))
    })
}

/// Debug text that stays readable when a value is large.
fn short(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    if let Some((end, _)) = text.char_indices().nth(600) {
        text.truncate(end);
        text.push('…');
    }
    text
}
