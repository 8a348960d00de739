//! A naive replica that knows nothing of entities, and a link of bytes and virtual time between two
//! sessions.
#![allow(dead_code, unreachable_pub)]

use heirloom_core::model::{Line, Lsn, Sequence};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use heirloom::replication::{
    Batch, End, Ingested, Located, Peer, Position, Staged, StagedHead, WireCommit, log_root,
};
use heirloom::{Chain, CommitRef, DatasetId, LogId, LogRoot, NodeId, StateDigest};
use heirloom_core::replica::{self, ReplicaError};
use heirloom_sync::{Config, Replica, Report, Result, Session, SyncError};

/// Commits as opaque bytes in a vector. A commit: log (16), first and last sequence (8 each), chain
/// of the commit before (32), number of refs (1), refs (log, sequence, chain), and anything.
pub struct Naive {
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    dataset: Option<DatasetId>,
    own: Option<LogId>,
    /// Each with its line.
    log: Vec<(End, Vec<u8>, Line)>,
    /// Where each line left another.
    lines: Vec<Option<(Line, Sequence)>>,
    /// The last commit written here to each log.
    tips: BTreeMap<LogId, End>,
    node: NodeId,
    policy: [u8; 8],
    staged: BTreeMap<NodeId, (StagedHead, Vec<u8>)>,
    peers: BTreeMap<NodeId, Peer>,
    wrong_digest: bool,
    counts: Counts,
}

/// What a replica was asked to do.
#[derive(Default, Clone, Copy, Debug)]
pub struct Counts {
    pub ingests: u64,
    pub largest_ingest: usize,
    pub skipped: u64,
    pub stages: u64,
    pub remembers: u64,
}

pub const DATASET: DatasetId = DatasetId::from_bytes([7; 16]);

pub fn node(name: u8) -> NodeId {
    NodeId::from_bytes([name; 16])
}

pub fn log(name: u8) -> LogId {
    LogId::from_bytes([name; 16])
}

fn refused(what: &'static str) -> ReplicaError {
    heirloom::Malformed { what, at: 0 }.into()
}

impl Naive {
    /// A replica that writes to log `name`.
    pub fn new(name: u8) -> Self {
        let state = State {
            dataset: Some(DATASET),
            own: Some(log(name)),
            node: node(name),
            policy: [0; 8],
            log: Vec::new(),
            lines: Vec::new(),
            tips: BTreeMap::new(),
            staged: BTreeMap::new(),
            peers: BTreeMap::new(),
            wrong_digest: false,
            counts: Counts::default(),
        };
        Self { state: Mutex::new(state) }
    }

    pub fn with_policy(self, policy: [u8; 8]) -> Self {
        self.state().policy = policy;
        self
    }

    /// How many of its commits another is known to hold.
    pub fn held_by(&self, name: u8) -> Option<u64> {
        self.state().peers.get(&node(name)).map(|peer| peer.held.get())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn with_dataset(self, dataset: Option<DatasetId>) -> Self {
        self.state().dataset = dataset;
        self
    }

    pub fn with_wrong_digest(self) -> Self {
        self.state().wrong_digest = true;
        self
    }

    /// As if the file had been copied.
    pub fn copy(&self) -> Self {
        Self { state: Mutex::new(self.state().clone()) }
    }

    /// Writes a commit of `versions` versions with `payload` to its own log, on top of all it
    /// holds.
    pub fn write(&self, versions: u64, payload: &[u8]) {
        let own = self.state().own.expect("writes need a log");
        self.write_to(own, versions, payload);
    }

    /// The same for any log (as an import does).
    pub fn write_to(&self, log: LogId, versions: u64, payload: &[u8]) {
        let mut state = self.state();
        let before = state.tips.get(&log).copied();
        let (sequence, chain) =
            before.map_or((0, Chain::from_bytes([0; 32])), |end| (end.sequence.get(), end.chain));
        let mut bytes = log.as_bytes().to_vec();
        bytes.extend_from_slice(&(sequence + 1).to_be_bytes());
        bytes.extend_from_slice(&(sequence + versions).to_be_bytes());
        bytes.extend_from_slice(chain.as_bytes());
        let ends = state.ends_at(state.log.len() as u64);
        let refs: Vec<&End> = ends.iter().filter(|end| end.log != log).rev().take(3).collect();
        bytes.push(refs.len() as u8);
        for end in refs {
            bytes.extend_from_slice(end.log.as_bytes());
            bytes.extend_from_slice(&end.sequence.get().to_be_bytes());
            bytes.extend_from_slice(end.chain.as_bytes());
        }
        bytes.extend_from_slice(payload);
        let end = state.add(&bytes).unwrap().unwrap();
        state.tips.insert(log, end);
    }

    pub fn root(&self) -> LogRoot {
        self.position().unwrap().log_root()
    }

    pub fn len(&self) -> usize {
        self.state().log.len()
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    pub fn reset_counts(&self) {
        self.state().counts = Counts::default();
    }

    /// Every commit here, sorted.
    pub fn all(&self) -> Vec<Vec<u8>> {
        let mut all: Vec<_> = self.state().log.iter().map(|(_, bytes, _)| bytes.clone()).collect();
        all.sort();
        all
    }

    pub fn forget_cuts(&self) {
        self.state().peers.values_mut().for_each(|peer| peer.cut = None);
    }

    pub fn staged_so_far(&self, peer: NodeId) -> u64 {
        self.staged(peer).unwrap().map_or(0, |staged| staged.bytes)
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

impl State {
    /// Adds a commit; nothing if it is here already.
    fn add(&mut self, bytes: &[u8]) -> replica::Result<Option<End>> {
        if bytes.len() < 65 {
            return Err(refused("too short for a commit"));
        }
        let log = LogId::from_bytes(bytes[..16].try_into().unwrap());
        let (first, sequence) = (number(&bytes[16..24]), number(&bytes[24..32]));
        let chain = Chain::from_bytes(*blake3::hash(bytes).as_bytes());
        let end = End { log, sequence: sequence.into(), chain };
        if sequence < first || first == 0 {
            return Err(refused("no versions"));
        }
        if self.log.iter().any(|(here, ..)| *here == end) {
            return Ok(None);
        }
        let before =
            self.log.iter().find(|(e, ..)| e.log == log && e.chain.as_bytes()[..] == bytes[32..64]);
        let line = match before.map(|(e, _, line)| (e.sequence, *line)) {
            None if first == 1 && bytes[32..64] == [0; 32] => self.line_after(None),
            Some((last, line)) if last.next().get() == first => self.line_after(Some((line, last))),
            _ => return Err(ReplicaError::OutOfOrder { log, first: Sequence::START }),
        };
        let refs = bytes[65..].chunks(56).take(usize::from(bytes[64]));
        for r in refs {
            let there = r.len() == 56
                && self.log.iter().any(|(e, ..)| {
                    e.log.as_bytes()[..] == r[..16]
                        && e.sequence.get() == number(&r[16..24])
                        && e.chain.as_bytes()[..] == r[24..]
                });
            if !there {
                return Err(ReplicaError::OutOfOrder { log, first: Sequence::START });
            }
        }
        self.log.push((end, bytes.to_vec(), line));
        Ok(Some(end))
    }

    /// The line of the next commit after a place; another one if that has a successor.
    fn line_after(&mut self, place: Option<(Line, Sequence)>) -> Line {
        let on = |line: Line| self.log.iter().filter(move |(_, _, l)| *l == line);
        let fork = match place {
            Some((line, last)) if on(line).all(|(e, ..)| e.sequence <= last) => return line,
            Some(place) => Some(place),
            None => None,
        };
        self.lines.push(fork);
        Line::new(self.lines.len() as u32 - 1)
    }

    fn path(&self, line: Line, sequence: Sequence) -> Vec<(Line, Sequence)> {
        let (mut out, mut line) = (vec![(line, sequence)], line);
        while let Some((of, after)) = self.lines[line.index()] {
            out.push((of, after));
            line = of;
        }
        out
    }

    /// The last commit of each line.
    fn ends_at(&self, lsn: u64) -> Vec<End> {
        let ends: BTreeMap<Line, End> =
            self.log[..lsn as usize].iter().map(|(end, _, line)| (*line, *end)).collect();
        let mut ends: Vec<End> = ends.into_values().collect();
        ends.sort();
        ends
    }
}

impl Replica for Naive {
    fn dataset(&self) -> replica::Result<Option<DatasetId>> {
        Ok(self.state().dataset)
    }

    fn adopt(&self, dataset: DatasetId) -> replica::Result<()> {
        let mut state = self.state();
        assert!(state.log.is_empty(), "a store with commits was asked to adopt a dataset");
        state.dataset = Some(dataset);
        Ok(())
    }

    fn node(&self) -> replica::Result<NodeId> {
        Ok(self.state().node)
    }

    fn policy_fingerprint(&self) -> [u8; 8] {
        self.state().policy
    }

    fn own_log(&self) -> replica::Result<Option<LogId>> {
        Ok(self.state().own)
    }

    fn position(&self) -> replica::Result<Position> {
        let state = self.state();
        let ends = state.ends_at(state.log.len() as u64);
        let mut digest = *blake3::hash(log_root(&ends).as_bytes()).as_bytes();
        digest[0] ^= u8::from(state.wrong_digest);
        Ok(Position {
            lsn: Lsn::new(state.log.len() as u64),
            ends,
            digest: StateDigest::from_bytes(digest),
            whole: true,
        })
    }

    fn locate(&self, commit: &CommitRef) -> replica::Result<Option<Located>> {
        let state = self.state();
        let found = state.log.iter().position(|(end, ..)| end.reference() == *commit);
        Ok(found.map(|at| {
            let (end, _, line) = &state.log[at];
            Located { end: *end, lsn: Lsn::new(at as u64), path: state.path(*line, end.sequence) }
        }))
    }

    fn ends_of(&self, log: LogId) -> replica::Result<Vec<End>> {
        let state = self.state();
        Ok(state.ends_at(state.log.len() as u64).into_iter().filter(|end| end.log == log).collect())
    }

    fn ladder(&self, end: &End) -> replica::Result<Vec<End>> {
        let state = self.state();
        let (mut out, mut chain, mut step) = (Vec::new(), *end.chain.as_bytes(), 1);
        while let Some((end, bytes, _)) =
            state.log.iter().find(|(e, ..)| *e.chain.as_bytes() == chain)
        {
            out.push(*end);
            chain = bytes[32..64].try_into().unwrap();
            for _ in 1..step {
                let before = state.log.iter().find(|(e, ..)| *e.chain.as_bytes() == chain);
                chain = before.map_or([0; 32], |(_, bytes, _)| bytes[32..64].try_into().unwrap());
            }
            step *= 2;
        }
        Ok(out)
    }

    fn ends_at_lsn(&self, lsn: Lsn) -> replica::Result<Vec<End>> {
        Ok(self.state().ends_at(lsn.get()))
    }

    fn first_lsn_beyond(&self, held: &dyn Fn(LogId, Line) -> Sequence) -> replica::Result<Lsn> {
        let state = self.state();
        let beyond =
            state.log.iter().position(|(end, _, line)| end.sequence > held(end.log, *line));
        Ok(Lsn::new(beyond.unwrap_or(state.log.len()) as u64))
    }

    fn commits(
        &self,
        from: Lsn,
        until: Lsn,
        wanted: &dyn Fn(LogId, Line, Sequence) -> bool,
        budget: usize,
    ) -> replica::Result<Batch> {
        let state = self.state();
        let (mut commits, mut bytes, mut lsn) = (Vec::new(), 0, from);
        while lsn < until && bytes < budget {
            let (end, commit, line) = &state.log[lsn.get() as usize];
            if wanted(end.log, *line, end.sequence) {
                bytes += commit.len();
                let versions = end.sequence.next().get() - number(&commit[16..24]);
                commits.push(WireCommit { lsn, end: *end, versions, bytes: commit.clone() });
            }
            lsn = lsn.next();
        }
        Ok(Batch { commits, next_lsn: lsn })
    }

    fn ingest(&self, commits: &[&[u8]]) -> replica::Result<Ingested> {
        let mut state = self.state();
        let (lines, length) = (state.lines.clone(), state.log.len());
        let mut ingested = Ingested::default();
        for commit in commits {
            match state.add(commit) {
                Ok(Some(_)) => {
                    ingested.added += 1;
                    ingested.versions += 1;
                }
                Ok(None) => ingested.skipped += 1,
                Err(error) => {
                    state.lines = lines;
                    state.log.truncate(length);
                    return Err(error);
                }
            }
        }
        state.counts.ingests += 1;
        state.counts.largest_ingest = state.counts.largest_ingest.max(commits.len());
        state.counts.skipped += ingested.skipped;
        Ok(ingested)
    }

    fn staged(&self, peer: NodeId) -> replica::Result<Option<Staged>> {
        let state = self.state();
        Ok(state
            .staged
            .get(&peer)
            .map(|(head, bytes)| Staged { head: *head, bytes: bytes.len() as u64 }))
    }

    fn staged_bytes(&self, peer: NodeId) -> replica::Result<Vec<u8>> {
        Ok(self.state().staged.get(&peer).map(|(_, bytes)| bytes.clone()).unwrap_or_default())
    }

    fn stage(
        &self,
        peer: NodeId,
        head: &StagedHead,
        offset: u64,
        bytes: &[u8],
    ) -> replica::Result<()> {
        let mut state = self.state();
        state.counts.stages += 1;
        if offset == 0 {
            state.staged.insert(peer, (*head, Vec::new()));
        }
        let (known, so_far) = state.staged.get_mut(&peer).expect("staging begins at 0");
        assert_eq!(
            (&*known, so_far.len() as u64),
            (head, offset),
            "parts must continue each other"
        );
        so_far.extend_from_slice(bytes);
        Ok(())
    }

    fn unstage(&self, peer: NodeId) -> replica::Result<()> {
        self.state().staged.remove(&peer);
        Ok(())
    }

    fn remembered(&self, peer: NodeId) -> replica::Result<Option<Peer>> {
        Ok(self.state().peers.get(&peer).copied())
    }

    fn remember(&self, node: NodeId, peer: Peer) -> replica::Result<()> {
        let mut state = self.state();
        if state.peers.insert(node, peer) != Some(peer) {
            state.counts.remembers += 1;
        }
        Ok(())
    }
}

/// A link in virtual time: what is sent arrives in slices; it may break after so many bytes.
pub struct Link {
    pub config: Config,
    /// Bytes that each side receives at once.
    pub slice: usize,
    /// Bytes in all, both ways, after which the link breaks.
    pub breaks_after: Option<u64>,
    /// Time that passes with each slice.
    pub tick: Duration,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            config: Config::default(),
            slice: 1500,
            breaks_after: None,
            tick: Duration::from_millis(1),
        }
    }
}

/// What came of a session: one result an end, and how often the direction on the wire changed.
pub struct Ended {
    pub a: Result<Report>,
    pub b: Result<Report>,
    pub turns: u32,
    pub bytes: u64,
}

impl Ended {
    #[track_caller]
    pub fn unwrap(self) -> (Report, Report) {
        match (self.a, self.b) {
            (Ok(a), Ok(b)) => (a, b),
            (a, b) => panic!("{a:?} {b:?}"),
        }
    }
}

impl Link {
    pub fn breaking(after: u64) -> Self {
        Self { breaks_after: Some(after), ..Self::default() }
    }

    /// Runs a session, `a` speaking first.
    pub fn sync<R: Replica>(&self, a: &R, b: &R) -> Ended {
        let mut a = Half::new(Session::initiator(a, self.config.clone()));
        let mut b = Half::new(Session::responder(b, self.config.clone()));
        let (mut now, mut bytes, mut turns, mut last) = (Duration::ZERO, 0, 0u32, None);
        loop {
            let mut moved = false;
            let room = |bytes: u64| self.breaks_after.map_or(u64::MAX, |limit| limit - bytes);
            for from_a in [true, false] {
                let (from, to) = if from_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
                from.transmit(now);
                let length = (from.wire.len().min(self.slice) as u64).min(room(bytes)) as usize;
                if length > 0 {
                    let slice: Vec<u8> = from.wire.drain(..length).collect();
                    to.receive(now, &slice);
                    bytes += length as u64;
                    turns += u32::from(last.replace(from_a) != Some(from_a));
                    moved = true;
                }
            }
            now += self.tick;
            let drained = a.wire.is_empty() && b.wire.is_empty();
            let over = a.is_over() && b.is_over() && drained;
            if room(bytes) == 0 || over || (!moved && drained && (a.is_over() || b.is_over())) {
                break;
            }
            for half in [&mut a, &mut b] {
                let due = half.session.poll_timeout().is_some_and(|due| due <= now || !moved);
                if due && !half.is_over() {
                    now = now.max(half.session.poll_timeout().unwrap());
                    let outcome = half.session.handle_timeout(now);
                    half.note(outcome);
                }
            }
        }
        Ended { a: a.end(now), b: b.end(now), turns, bytes }
    }
}

struct Half<R> {
    session: Session<R>,
    wire: VecDeque<u8>,
    failed: Option<SyncError>,
}

impl<R: Replica> Half<R> {
    fn new(session: Session<R>) -> Self {
        Self { session, wire: VecDeque::new(), failed: None }
    }

    fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            assert!(self.failed.is_none(), "a session fails once: {error}");
            self.failed = Some(error);
        }
    }

    fn transmit(&mut self, now: Duration) {
        let mut out = Vec::new();
        while self.wire.len() < 4096 {
            out.clear();
            match self.session.poll_transmit(now, &mut out) {
                Ok(true) => self.wire.extend(&out),
                Ok(false) => return,
                Err(error) => self.note(Err(error)),
            }
        }
    }

    fn receive(&mut self, now: Duration, bytes: &[u8]) {
        let outcome = self.session.handle_input(now, bytes);
        self.note(outcome);
    }

    fn is_over(&self) -> bool {
        self.session.is_finished() || self.failed.is_some()
    }

    fn end(mut self, now: Duration) -> Result<Report> {
        if !self.is_over() {
            let outcome = self.session.handle_end_of_input(now);
            self.note(outcome);
        }
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.session.report().clone()),
        }
    }
}

/// A session in which the byte at `at` of what `a` sends is altered.
pub fn alter<R: Replica>(a: &R, b: &R, at: u64, mask: u8) {
    let mut a = Session::initiator(a, Default::default());
    let mut b = Session::responder(b, Default::default());
    let (mut sent, mut bytes) = (0, Vec::new());
    loop {
        let before = sent;
        bytes.clear();
        let Ok(from_a) = a.poll_transmit(Duration::ZERO, &mut bytes) else { return };
        if let Some(byte) = usize::try_from(at - sent.min(at))
            .ok()
            .and_then(|at| bytes.get_mut(at))
            .filter(|_| sent <= at)
        {
            *byte ^= mask;
        }
        sent += bytes.len() as u64;
        if b.handle_input(Duration::ZERO, &bytes).is_err() {
            return;
        }
        bytes.clear();
        let Ok(from_b) = b.poll_transmit(Duration::ZERO, &mut bytes) else { return };
        if a.handle_input(Duration::ZERO, &bytes).is_err() || !(from_a || from_b || sent > before) {
            return;
        }
    }
}

/// A small generator of numbers, so that a seed is a test.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        blake3::Hasher::new()
            .update(&self.below(u64::MAX >> 33).to_be_bytes())
            .finalize_xof()
            .fill(&mut out);
        out
    }
}
