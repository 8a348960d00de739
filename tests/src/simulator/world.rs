//! The world of one run: who is there, what happens next.

use std::collections::BTreeSet;
use std::time::Duration;

use heirloom::{Clock, EntityId, VersionRef};
use heirloom_sync::{Config, Outcome};

use super::canary::Canary;
use super::ledger::Ledger;
use super::link::{Fate, Meeting, Standing};
use super::naive::{Leaves, Path};
use super::node::{Node, Time, present};
use super::policy::Rules;
use super::swarm::Swarm;
use super::{Checked, Run, Tally, Wrong, ensure, short};
use crate::random::Random;

const MINUTE: i64 = 60_000;
const YEAR: i64 = 365 * 24 * 60 * MINUTE;
/// When every run begins, in milliseconds since 1970: some time in 2026.
const BEGIN: i64 = 56 * YEAR;
const NODES_MAX: usize = 6;
const MEETINGS_MAX: usize = 6;

/// What one node showed at some time.
pub(crate) struct Moment {
    pub(crate) clock: Clock,
    /// The versions that it had.
    pub(crate) holds: BTreeSet<VersionRef>,
    pub(crate) contents: std::collections::BTreeMap<EntityId, Leaves>,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) time: Time,
    pub(crate) nodes: Vec<Node>,
    pub(crate) meetings: Vec<Meeting>,
    pub(crate) swarm: Swarm,
    pub(crate) ledger: Ledger,
    /// What no honest device wrote.
    pub(crate) forged: Vec<super::forger::Forged>,
    /// The same, of what no node holds any more.
    pub(crate) lost_forgeries: Vec<super::forger::Forged>,
    pub(crate) entities: BTreeSet<EntityId>,
    pub(crate) moments: Vec<Moment>,
    /// Conflicts that somebody met: the entity, the path (none: deletion), who against whom.
    pub(crate) conflicts: BTreeSet<(EntityId, Option<Path>, Vec<heirloom::VersionRef>)>,
    pub(crate) tally: Tally,
    pub(crate) temper: Temper,
    /// Chance of what is imported.
    pub(crate) imports: Random,
    canary: Option<Canary>,
    trace: bool,
}

/// What kind of world it is; a seed's worlds differ in more than their dice.
pub(crate) struct Temper {
    /// Nobody deletes or restores.
    pub(crate) is_plain: bool,
    /// Some values are large enough to travel in parts.
    pub(crate) has_large_values: bool,
    /// How often two meet, and how often their link breaks, percent.
    meets: usize,
    breaks: usize,
    steps: u64,
}

impl World {
    pub(crate) fn new(seed: u64, canary: Option<Canary>, trace: bool) -> Checked<Self> {
        let mut random = Random::new(seed);
        let temper = Temper {
            is_plain: random.percent(25),
            has_large_values: random.percent(35),
            meets: random.pick(&[10, 25, 40]),
            breaks: random.pick(&[15, 40, 70]),
            steps: 60 + random.below(140) as u64,
        };
        let rules = Rules::draw(&mut random);
        let entities =
            (0..3 + random.below(3)).map(|i| EntityId::v5(&[7; 16], &[i as u8])).collect();
        let mut world = World {
            random,
            time: Time::at(BEGIN),
            nodes: Vec::new(),
            meetings: Vec::new(),
            swarm: Swarm::draw(seed),
            ledger: Ledger::new(rules),
            forged: Vec::new(),
            lost_forgeries: Vec::new(),
            entities,
            moments: Vec::new(),
            conflicts: BTreeSet::new(),
            tally: Tally::default(),
            temper,
            imports: Random::new(seed ^ 0x496d_706f_7274_0001),
            canary,
            trace,
        };
        world.tell(|| format!("policies: {rules:?}"));
        for _ in 0..3 + world.random.below(3) {
            world.join()?;
        }
        Ok(world)
    }

    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:5}  {}", self.tally.steps, text());
        }
    }

    pub(crate) fn play(&mut self) -> Checked<()> {
        while self.tally.steps < self.temper.steps {
            self.tally.steps += 1;
            self.step()?;
            self.go_wrong()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Checked<()> {
        let hour = self.random.percent(3);
        self.time.pass(if hour {
            60 * MINUTE
        } else {
            self.random.pick(&[0, 0, 1, 1, 20, 200, 1000, 20_000])
        });
        let node = self.random.below(self.nodes.len());
        match self.random.below(100) {
            0..36 => self.write(node),
            36..50 if self.random.percent(self.temper.meets) => self.meet_to_the_end(),
            36..50 if self.random.percent(3 * self.temper.meets) => self.meet().map(drop),
            36..50 => self.write(node),
            50..84 => self.move_meetings(),
            84..87 => self.cut_one(),
            87..91 => self.open_form(node),
            91..95 => self.remember_moment(node),
            95..97 => self.set_clock(node),
            97 if self.nodes.len() < NODES_MAX => self.join(),
            _ => self.write(node),
        }
    }

    // --- devices

    /// One more device. The first knows the dataset; of the others some learn it from a peer.
    fn join(&mut self) -> Checked<()> {
        let at = self.nodes.len();
        let knows = at == 0 || self.random.percent(80);
        let canary = self.canary.filter(|_| at == 1);
        let node = Node::new(
            format!("node-{at}"),
            &self.time,
            &mut self.random,
            knows,
            self.ledger.rules(),
            canary,
        )?;
        self.nodes.push(node);
        self.tell(|| format!("node {at} joins{}", if knows { "" } else { ", without a dataset" }));
        self.draw_skew(at);
        Ok(())
    }

    fn set_clock(&mut self, node: usize) -> Checked<()> {
        self.tally.jumps += 1;
        self.draw_skew(node);
        self.nodes[node].is_right = false;
        Ok(())
    }

    /// Minutes, or years, or the bounds of time.
    fn draw_skew(&mut self, node: usize) {
        let random = &mut self.random;
        let (skew, right) = match random.below(20) {
            0 => (-80 * YEAR, false),
            1 => (9_000 * YEAR, false),
            2..5 => (random.pick(&[-30, -3, 1, 8]) * YEAR, false),
            _ => (random.below(4 * MINUTE as usize) as i64 - 2 * MINUTE, true),
        };
        self.nodes[node].set_skew(skew, right);
        self.tell(|| format!("node {node}: its clock says {}", self.nodes[node].now()));
    }

    // --- readers

    fn open_form(&mut self, node: usize) -> Checked<()> {
        let id = self.any_entity();
        let node = &mut self.nodes[node];
        let form = node.engine.snapshot()?.get_any(id)?;
        form.into_iter().for_each(|form| node.keep(form));
        Ok(())
    }

    fn remember_moment(&mut self, node: usize) -> Checked<()> {
        let snapshot = self.nodes[node].engine.snapshot()?;
        let contents = present(&snapshot, &self.entities)?;
        let all = self.ledger.all().map(|known| known.version.reference());
        let holds = all.filter(|version| snapshot.version(version).is_ok()).collect();
        self.moments.push(Moment { clock: snapshot.clock()?, holds, contents });
        Ok(())
    }

    pub(crate) fn any_entity(&mut self) -> EntityId {
        let at = self.random.below(self.entities.len());
        self.entities.iter().nth(at).copied().unwrap_or(EntityId::from_bytes([0; 16]))
    }

    // --- sessions

    /// Two begin a session; where it is in the list.
    fn meet(&mut self) -> Checked<usize> {
        let who = self.random.two(self.nodes.len());
        self.meet_with(who)
    }

    fn meet_with(&mut self, who: [usize; 2]) -> Checked<usize> {
        if self.meetings.len() == MEETINGS_MAX {
            self.cut_one()?;
        }
        let busy = |n: &usize| self.meetings.iter().any(|m| m.who.contains(n));
        self.tally.at_once += u64::from(who.iter().any(busy));
        let fate = self.draw_fate();
        let seams = self.seams(who)?;
        let config = who.map(|node| self.draw_config(node));
        self.tell(|| format!("nodes {} and {} meet, {fate:?}", who[0], who[1]));
        let disks = who.map(|n| self.nodes[n].disk.clone());
        self.meetings.push(Meeting::new(who, seams, config, fate, disks));
        Ok(self.meetings.len() - 1)
    }

    pub(crate) fn seams(&self, [a, b]: [usize; 2]) -> Checked<[super::link::Seam; 2]> {
        let ends = |n: usize| move || self.nodes[n].engine.replication().position().map(|p| p.ends);
        Ok([self.nodes[a].replica(ends(b))?, self.nodes[b].replica(ends(a))?])
    }

    fn draw_fate(&mut self) -> Fate {
        let random = &mut self.random;
        let within_a_large_value = self.temper.has_large_values && random.percent(70);
        let length =
            if within_a_large_value { random.below(150_000) } else { random.of_any_size(12) };
        Fate {
            breaks_after: random.percent(self.temper.breaks).then_some(length),
            alters_after: random.percent(5).then(|| random.below(2000)),
        }
    }

    fn draw_config(&mut self, node: usize) -> Config {
        let patience = self.random.pick(&[30, 3_600, 3_600, 1_000_000, 1_000_000, 1_000_000]);
        let compression = self.random.percent(50);
        let now = self.nodes[node].now();
        let config = Config::new().idle_timeout(Duration::from_secs(patience));
        config.compression(compression).wall_time(now)
    }

    /// Never runs backwards, whatever the clocks of the devices do.
    pub(crate) fn uptime(&self) -> Duration {
        Duration::from_millis((self.time.millis() - BEGIN).unsigned_abs())
    }

    fn move_meetings(&mut self) -> Checked<()> {
        for _ in 0..1 + self.random.below(60) {
            if self.meetings.is_empty() {
                return self.meet().map(drop);
            }
            let at = self.random.below(self.meetings.len());
            self.advance(at)?;
        }
        Ok(())
    }

    /// One move of one session. It leaves the list when it is over.
    fn advance(&mut self, at: usize) -> Checked<Standing> {
        let now = self.uptime();
        let who = self.meetings[at].who;
        who.iter().for_each(|n| self.arm(*n));
        let standing = self.meetings[at].step(&mut self.random, now);
        who.iter().for_each(|n| self.disarm(*n));
        let standing = standing?;
        if who.iter().any(|n| self.nodes[*n].disk.has_failed()) {
            let meeting = self.meetings.remove(at);
            let mut failed: Vec<_> =
                who.into_iter().filter(|n| self.nodes[*n].disk.has_failed()).collect();
            // who may lose its store comes last: only a store that was opened again says what it
            // holds
            failed.sort_by_key(|n| self.nodes[*n].trouble.misdirected.is_some());
            self.restart(&failed)?;
            let standing = if standing == Standing::Finished { standing } else { Standing::Failed };
            self.ended(&meeting, standing)?;
            return Ok(standing);
        }
        for node in who {
            self.nodes[node].note_told()?;
        }
        if !matches!(standing, Standing::Moves | Standing::Waits) {
            let meeting = self.meetings.remove(at);
            self.ended(&meeting, standing)?;
        }
        Ok(standing)
    }

    fn ended(&mut self, meeting: &Meeting, standing: Standing) -> Checked<()> {
        let who = meeting.who;
        self.tell(|| format!("nodes {} and {}: {standing:?}", who[0], who[1]));
        self.tally.altered += u64::from(meeting.altered);
        self.tally.resumed_bytes += meeting.resumed_bytes();
        match standing {
            Standing::Finished => self.tally.sessions += 1,
            Standing::Failed => self.tally.failed_sessions += 1,
            _ => self.tally.cuts += 1,
        }
        if standing != Standing::Finished && self.random.percent(70) {
            self.meet_with(who)?;
        }
        Ok(())
    }

    /// A link breaks for no reason of its own.
    fn cut_one(&mut self) -> Checked<()> {
        if self.meetings.is_empty() {
            return Ok(());
        }
        let mut meeting = self.meetings.remove(self.random.below(self.meetings.len()));
        let now = self.uptime();
        meeting.cut(&mut self.random, now)?;
        self.ended(&meeting, Standing::Cut)
    }

    /// A session with nothing in between, however it ends.
    fn meet_to_the_end(&mut self) -> Checked<()> {
        let mut at = self.meet()?;
        let mut idle = 0;
        loop {
            match self.advance(at)? {
                Standing::Moves => idle = 0,
                // What is gathered is made durable after a while.
                Standing::Waits if idle % 50 == 49 => self.time.pass(100),
                Standing::Waits => {}
                Standing::Finished | Standing::Failed | Standing::Cut => return Ok(()),
            }
            idle += 1;
            // An altered length may make an end wait for a frame that never comes.
            if idle > 1000 {
                let mut meeting = self.meetings.remove(at);
                ensure(meeting.altered || meeting.disturbed, || {
                    format!("the session of nodes {:?} does not end", meeting.who)
                })?;
                let now = self.uptime();
                meeting.cut(&mut self.random, now)?;
                return self.ended(&meeting, Standing::Cut);
            }
            at = at.min(self.meetings.len() - 1);
        }
    }

    // --- rest

    /// Everybody syncs with everybody until nothing moves, and everything is looked at.
    pub(crate) fn rest(&mut self) -> Checked<Run> {
        self.import_beside_others()?;
        self.meetings.clear();
        self.heal()?;
        let log_root = self.check()?;
        self.tally.forks = self.nodes[0].engine.snapshot()?.forks()?.len() as u64;
        self.tally.conflicts = self.conflicts.len() as u64;
        self.tally.void_commits = self.forged.len() as u64;
        Ok(Run { tally: self.tally, log_root })
    }

    fn heal(&mut self) -> Checked<()> {
        for round in 1..=4 {
            let mut quiet = true;
            for b in 1..self.nodes.len() {
                for a in 0..b {
                    let who = if self.random.percent(50) { [a, b] } else { [b, a] };
                    quiet &= self.sync(who)?;
                }
            }
            if quiet {
                self.tell(|| format!("quiet after {round} rounds"));
                return Ok(());
            }
        }
        Err(Wrong("after four rounds of everybody with everybody something still moves".into()))
    }

    /// A whole session over a good link; true if both were equal.
    pub(crate) fn sync(&mut self, who: [usize; 2]) -> Checked<bool> {
        let [a, b] = self.seams(who)?;
        let failed = |e| Wrong(format!("at rest, {}", Wrong::from(e).0));
        let (a, b) = heirloom_sync::sync_in_process(&a.0, &b.0).map_err(failed)?;
        for report in [&a, &b] {
            // between the rungs of a ladder a few are
            let is_new = report.commits_skipped == 0 || self.may_have_forked();
            ensure(is_new, || format!("a commit was sent twice: {}", short(report)))?;
            let is_honest = report.voids + report.unverified == 0 || self.is_forged();
            ensure(is_honest, || format!("an honest commit is void: {}", short(report)))?;
            self.tally.resumed_bytes += report.resumed_bytes;
        }
        let equal = a.outcome == Outcome::AlreadyEqual;
        // stores without any commit must name their dataset, which no genesis names for them
        let empty = self.nodes[who[0]].engine.snapshot()?.commits()? == 0;
        ensure(!equal || empty || a.bytes_in + a.bytes_out < 200, || {
            format!("{} bytes to find equal stores equal", a.bytes_in + a.bytes_out)
        })?;
        // copies that nobody told apart bear one name, and compare their logs before they are sure
        // that neither talks to itself: then all is said if nothing came
        let names = who.map(|node| self.nodes[node].engine.replication().node());
        let [Ok(one), Ok(other)] = names else { return Ok(equal) };
        Ok(equal || (one == other && [&a, &b].iter().all(|r| r.commits_received + r.healed == 0)))
    }
}
