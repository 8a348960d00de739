//! A replica in memory, as naive as can be: commits in causal order, every version with its state.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Bodies, Body, Commit, Frame, Framing, Genesis, Hash, Id, Leaves, Patch, Ref, Rest, State,
    Unverified, Void, Writer, hashes, kind, prefix, state, void,
};

const MAX_FULL: usize = 16 << 20;
const MAX_FULL_TOGETHER: usize = 64 << 20;

/// Why a commit was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The bytes are not a commit, or not in their place.
    Framing(Framing),
}

impl From<Framing> for Refusal {
    fn from(framing: Framing) -> Self {
        Self::Framing(framing)
    }
}

/// A commit that was taken.
#[derive(Clone, Debug)]
pub struct Held {
    /// The commit.
    pub commit: Commit,
    /// The chain after it.
    pub chain: Hash,
    /// Place of the commit before it.
    before: Option<usize>,
    /// Place of its first version.
    versions: usize,
    /// Why all of it has no effect. A version may be void for a reason of its own.
    pub void: Option<Void>,
    /// Do its bodies verify?
    pub verified: Result<(), Unverified>,
}

/// A version of a commit that was taken.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its version ref and stamp.
    pub writer: Writer,
    /// Entity id.
    pub entity: Id,
    /// Place of the commit before its own.
    before: Option<usize>,
    /// One of [`kind`], unless void.
    pub kind: u8,
    /// The entity's type; of a void version empty.
    pub entity_type: String,
    /// Places of its parents among [`Replay::versions`]; those that exist and are of the entity.
    pub parents: Vec<usize>,
    /// Why it has no effect.
    pub void: Option<Void>,
    /// Its state, if it is here and verified; every entry carries its writer.
    pub state: Option<State>,
    /// Its state checksum, if the commit's bodies verify.
    pub checksum: Option<Id>,
}

impl Version {
    /// The version ref.
    pub fn reference(&self) -> Ref {
        self.writer.version
    }

    /// The place in the order of writes: stamp, log id, sequence, chain prefix.
    pub fn order(&self) -> (u64, Ref) {
        (self.writer.stamp, self.writer.version)
    }
}

/// All commits of one dataset that were added, and what follows from them.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    dataset: Id,
    commits: Vec<Held>,
    by_ref: BTreeMap<Ref, usize>,
    logs: BTreeMap<Id, Log>,
    versions: Vec<Version>,
    by_dot: BTreeMap<(Id, u64), Vec<usize>>,
    heads: BTreeMap<Id, BTreeSet<usize>>,
}

#[derive(Clone, Debug)]
struct Log {
    genesis: Genesis,
    /// The ends of its branches.
    ends: BTreeSet<usize>,
}

impl Replay {
    /// An empty replica of a dataset.
    pub fn new(dataset: Id) -> Self {
        Self { dataset, ..Self::default() }
    }

    /// Takes a commit and returns its commit ref. One that is here already is skipped.
    pub fn add(&mut self, bytes: &[u8]) -> Result<Ref, Refusal> {
        let frame = Frame::split(bytes)?;
        let commit = frame.read()?;
        if commit.genesis.as_ref().is_some_and(|genesis| genesis.dataset != self.dataset) {
            return Err(Framing::GenesisDataset.into());
        }
        let before = self.predecessor(&commit)?;
        let chain = frame.chain(&before.map_or([0; 32], |at| self.commits[at].chain));
        let reference =
            Ref { log: commit.log, sequence: commit.header.last(), prefix: prefix(&chain) };
        if self.by_ref.contains_key(&reference) {
            return Ok(reference);
        }
        if commit.header.refs.iter().any(|named| !self.by_ref.contains_key(named)) {
            return Err(Framing::PlaceRef.into());
        }
        self.hold(commit, chain, before, reference);
        Ok(reference)
    }

    fn predecessor(&self, commit: &Commit) -> Result<Option<usize>, Framing> {
        if commit.before.sequence == 0 {
            return Ok(None);
        }
        let before =
            Ref { log: commit.log, sequence: commit.before.sequence, prefix: commit.before.prefix };
        self.by_ref.get(&before).copied().map(Some).ok_or(Framing::PlaceBefore)
    }

    fn hold(&mut self, commit: Commit, chain: Hash, before: Option<usize>, reference: Ref) {
        let (void, mut versions) = self.judge(&commit, before, &reference.prefix);
        let verified = self.settle(&commit, &mut versions);
        let first = self.versions.len();
        for version in versions {
            let at = self.versions.len();
            self.by_dot.entry((commit.log, version.writer.version.sequence)).or_default().push(at);
            if version.void.is_none() {
                let heads = self.heads.entry(version.entity).or_default();
                heads.retain(|head| !version.parents.contains(head));
                heads.insert(at);
            }
            self.versions.push(version);
        }
        let tip = self.commits.len();
        match (self.logs.get_mut(&commit.log), &commit.genesis) {
            (Some(log), _) => {
                before.map(|before| log.ends.remove(&before));
                log.ends.insert(tip);
            }
            (None, Some(genesis)) => drop(
                self.logs.insert(commit.log, Log { genesis: genesis.clone(), ends: [tip].into() }),
            ),
            (None, None) => {} // has a predecessor, so its log is here
        }
        self.by_ref.insert(reference, tip);
        self.commits.push(Held { commit, chain, before, versions: first, void, verified });
    }

    /// Why the commit is void, and its versions, of which only deletions have their states.
    fn judge(
        &self,
        commit: &Commit,
        before: Option<usize>,
        prefix: &Id,
    ) -> (Option<Void>, Vec<Version>) {
        let header = &commit.header;
        let found: Vec<Vec<(u64, usize)>> = header
            .versions()
            .iter()
            .map(|version| {
                let find = |&(path, sequence): &(u64, u64)| {
                    Some((path, self.parent(commit, before, path, sequence)?))
                };
                let of_entity =
                    |&(_, at): &(u64, usize)| self.versions[at].entity == version.entity;
                version.parents.iter().filter_map(find).filter(of_entity).collect()
            })
            .collect();
        let facts: Vec<Vec<void::Parent>> = found
            .iter()
            .map(|parents| {
                let fact = |&(path, at): &(u64, usize)| void::Parent {
                    stamp: self.versions[at].writer.stamp,
                    through_ref: path > 0,
                    void: self.versions[at].void.is_some(),
                };
                parents.iter().map(fact).collect()
            })
            .collect();
        let wall_before = before.map_or(0, |at| self.commits[at].commit.header.wall);
        let whole = void::of_commit(header, wall_before, facts.iter().flatten());
        let mut versions = Vec::new();
        for (i, version) in header.versions().iter().enumerate() {
            let parents: Vec<usize> = found[i].iter().map(|&(_, at)| at).collect();
            let void = whole.or_else(|| void::of_version(version, &facts[i]));
            let reference =
                Ref { log: commit.log, sequence: header.first + i as u64, prefix: *prefix };
            versions.push(Version {
                writer: Writer { version: reference, stamp: header.stamp() },
                entity: version.entity,
                before,
                kind: version.kind,
                entity_type: match void {
                    Some(_) => String::new(),
                    None => self.type_of(&parents, version.entity_type.as_deref()),
                },
                parents,
                void,
                state: (void.is_none() && version.kind == kind::DELETE).then_some(State::Tombstone),
                checksum: None,
            });
        }
        (whole, versions)
    }

    /// The version that a parent of a commit names.
    fn parent(
        &self,
        commit: &Commit,
        before: Option<usize>,
        path: u64,
        sequence: u64,
    ) -> Option<usize> {
        let end = match path.checked_sub(1) {
            None => before?,
            Some(index) => {
                *self.by_ref.get(commit.header.refs.get(usize::try_from(index).ok()?)?)?
            }
        };
        self.on_path(end, sequence)
    }

    /// The version with a sequence on the path that ends with a commit.
    fn on_path(&self, end: usize, sequence: u64) -> Option<usize> {
        let mut at = Some(end);
        while let Some(held) = at.map(|at| &self.commits[at]) {
            let header = &held.commit.header;
            if sequence >= header.first {
                let index = (sequence - header.first) as usize;
                return (index < header.versions().len()).then_some(held.versions + index);
            }
            at = held.before;
        }
        None
    }

    /// The type that the least creation in the past of `parents` gave, or that of this creation
    /// itself.
    fn type_of(&self, parents: &[usize], given: Option<&str>) -> String {
        let creations = self
            .past(parents)
            .into_iter()
            .map(|at| &self.versions[at])
            .filter(|v| v.parents.is_empty());
        let least = creations
            .min_by_key(|version| version.order())
            .map(|version| version.entity_type.as_str());
        least.or(given).unwrap_or_default().to_owned()
    }

    /// The versions and all before them, by walking.
    pub(super) fn past(&self, from: &[usize]) -> BTreeSet<usize> {
        let mut past = BTreeSet::new();
        let mut left = from.to_vec();
        while let Some(at) = left.pop() {
            if past.insert(at) {
                left.extend(&self.versions[at].parents);
            }
        }
        past
    }

    /// Whether a version in the past of these is that writer's, or lies after it on its path.
    pub(super) fn has_seen(&self, past: &BTreeSet<usize>, writer: &Writer) -> bool {
        past.iter().any(|at| {
            let seen = &self.versions[*at];
            seen.writer == *writer || self.follows(seen.writer.version, seen.before, writer)
        })
    }

    /// Whether a version whose commit comes after `before` lies after a writer's on its path; in
    /// one commit are no two of an entity.
    fn follows(&self, version: Ref, before: Option<usize>, writer: &Writer) -> bool {
        let of_log =
            version.log == writer.version.log && version.sequence > writer.version.sequence;
        let there =
            before.filter(|_| of_log).and_then(|end| self.on_path(end, writer.version.sequence));
        there.is_some_and(|at| self.versions[at].writer == *writer)
    }

    /// The states root that the bodies of a commit give, if it came next; whether the header says
    /// so too is another matter.
    pub fn root_of(&self, commit: &Commit) -> Result<Hash, Unverified> {
        let before = self.predecessor(commit).map_err(|_| Unverified::NoBase)?;
        let (_, versions) = self.judge(commit, before, &[0; 16]);
        let checksums = self.results(commit, &versions)?.into_iter().map(|(checksum, _)| checksum);
        Ok(hashes::states_root(&checksums.collect::<Vec<_>>()))
    }

    /// Gives the versions of a commit their states and checksums if all bodies verify, else
    /// nothing.
    fn settle(&self, commit: &Commit, versions: &mut [Version]) -> Result<(), Unverified> {
        let settled = self.results(commit, versions)?;
        let Rest::Level1(level1) = &commit.header.rest else { return Err(Unverified::Newer) };
        let checksums: Vec<Id> = settled.iter().map(|(checksum, _)| *checksum).collect();
        if hashes::states_root(&checksums) != level1.states_root {
            return Err(Unverified::Root);
        }
        for (version, (checksum, state)) in versions.iter_mut().zip(settled) {
            version.checksum = Some(checksum);
            version.state = state.map(|state| match state {
                State::Live(leaves) => State::Live(state::named(leaves, version.writer)),
                State::Tombstone => State::Tombstone,
            });
        }
        Ok(())
    }

    /// The checksums that the bodies of a commit give or bring, with the states where they are
    /// here.
    fn results(
        &self,
        commit: &Commit,
        versions: &[Version],
    ) -> Result<Vec<(Id, Option<State>)>, Unverified> {
        let Bodies::Level1(bodies) = &commit.bodies else { return Err(Unverified::Newer) };
        if versions.iter().any(|version| version.void.is_some()) {
            // whatever its body is: else it would depend on the encoding
            return Err(Unverified::Void);
        }
        let mut settled = Vec::new();
        let mut size = 0;
        for (version, body) in versions.iter().zip(bodies) {
            settled.push(match body {
                Body::Pruned(checksum)
                | Body::Withheld(checksum)
                | Body::Encrypted(checksum, _) => (*checksum, None),
                _ => {
                    let state = self.state_after(version, body)?;
                    size += check_size(&state)?;
                    (checksum(version, &state), Some(state))
                }
            });
        }
        if size > MAX_FULL_TOGETHER {
            return Err(Unverified::Limit("full bodies of a commit"));
        }
        Ok(settled)
    }

    /// The state that a body gives, with own entries as own.
    fn state_after(&self, version: &Version, body: &Body) -> Result<State, Unverified> {
        let leaves = match body {
            Body::None => return Ok(State::Tombstone),
            Body::Full(bytes) => {
                let leaves = state::read_full(bytes)?;
                self.check_writers(version, &leaves)?;
                leaves
            }
            Body::Patch(bytes) => {
                let base = self.merge(&version.parents).ok_or(Unverified::NoBase)?;
                Patch::read(bytes, &base)?.apply(base)
            }
            _ => return Err(Unverified::Missing),
        };
        state::check_own(&leaves)?;
        Ok(State::Live(leaves))
    }

    /// Every writer that is named must be a version of the entity that the entity clock covers.
    fn check_writers(&self, version: &Version, leaves: &Leaves) -> Result<(), Unverified> {
        let past = self.past(&version.parents);
        let known = |writer: &Writer| {
            let named = self.version(&writer.version);
            named.is_some_and(|named| {
                named.writer == *writer && named.entity == version.entity && named.void.is_none()
            }) && (self.has_seen(&past, writer)
                || self.follows(version.writer.version, version.before, writer))
        };
        if leaves.values().flat_map(BTreeMap::keys).flatten().all(known) {
            Ok(())
        } else {
            Err(Unverified::Writer)
        }
    }

    /// All commits in the order in which they were added.
    pub fn commits(&self) -> &[Held] {
        &self.commits
    }

    /// A commit by its commit ref.
    pub fn commit(&self, reference: &Ref) -> Option<&Held> {
        self.by_ref.get(reference).map(|&at| &self.commits[at])
    }

    /// All versions in the order in which they were added.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// A version by its version ref.
    pub fn version(&self, reference: &Ref) -> Option<&Version> {
        let of_name = self.by_dot.get(&(reference.log, reference.sequence))?;
        of_name
            .iter()
            .map(|at| &self.versions[*at])
            .find(|version| version.reference() == *reference)
    }

    /// The logs by their id, each with its genesis and the commit at its end; one that forked once
    /// for each end.
    pub fn logs(&self) -> impl Iterator<Item = (Id, &Genesis, &Held)> {
        let ends = move |(id, log)| {
            let (id, log): (&Id, &Log) = (id, log);
            log.ends.iter().map(move |end| (*id, &log.genesis, &self.commits[*end]))
        };
        self.logs.iter().flat_map(ends)
    }

    /// How far into each log; a branch counts as one, and is named by the hash of its first
    /// commit's chain.
    pub fn clock(&self) -> BTreeMap<Id, u64> {
        let mut clock = BTreeMap::new();
        for (at, held) in self.commits.iter().enumerate() {
            let highest = clock.entry(self.branch(at)).or_default();
            *highest = held.commit.header.last().max(*highest);
        }
        clock
    }

    /// What the log is called that a commit belongs to: walks back to the last place where branches
    /// part.
    fn branch(&self, mut at: usize) -> Id {
        loop {
            let held = &self.commits[at];
            let beside =
                |other: &&Held| other.commit.log == held.commit.log && other.before == held.before;
            if self.commits.iter().filter(beside).count() > 1 {
                return hashes::branch_name(&held.chain);
            }
            match held.before {
                Some(before) => at = before,
                None => return held.commit.log,
            }
        }
    }

    /// All entities that have a head.
    pub fn entities(&self) -> impl Iterator<Item = Id> {
        self.heads.keys().copied()
    }

    /// The heads of an entity in the order of writes.
    pub fn heads(&self, entity: &Id) -> Vec<&Version> {
        let mut heads: Vec<_> =
            self.head_places(entity).into_iter().map(|at| &self.versions[at]).collect();
        heads.sort_by_key(|head| head.order());
        heads
    }

    pub(super) fn head_places(&self, entity: &Id) -> Vec<usize> {
        self.heads.get(entity).into_iter().flatten().copied().collect()
    }

    /// The hash over the ends of all logs.
    pub fn log_root(&self) -> Hash {
        let mut ends: Vec<_> =
            self.logs().map(|(id, _, end)| (id, end.commit.header.last(), end.chain)).collect();
        ends.sort();
        hashes::log_root(ends)
    }

    /// The sum over all heads of all entities.
    pub fn state_digest(&self) -> Hash {
        let places =
            self.heads.iter().flat_map(|(entity, heads)| heads.iter().map(|&at| (*entity, at)));
        hashes::state_digest(places.map(|(entity, at)| (entity, self.versions[at].reference())))
    }
}

fn checksum(version: &Version, state: &State) -> Id {
    let Ref { log, sequence, .. } = version.writer.version;
    let (entity, entity_type) = (version.entity, version.entity_type.as_str());
    hashes::state_checksum(hashes::Identity { log, sequence, entity, entity_type }, state)
}

/// The length of the full body of a state, if it is within the limit.
fn check_size(state: &State) -> Result<usize, Unverified> {
    let size = state.leaves().map_or(0, |leaves| super::full_body(leaves).len());
    if size > MAX_FULL { Err(Unverified::Limit("full body")) } else { Ok(size) }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use crate::forge::tests::{DATASET, LAMP, ROOM, author, story};
    use crate::forge::{self, CommitSpec, Forged, VersionSpec};

    fn replay(commits: &[Forged]) -> Replay {
        let mut replay = Replay::new(DATASET);
        for commit in commits {
            replay.add(&commit.bytes).unwrap();
        }
        replay
    }

    /// The first commit of the story with other bodies.
    fn with_bodies(bodies: &[u8]) -> (Replay, Result<(), Unverified>) {
        let mut frame = Frame::split(&story()[0].bytes).unwrap();
        frame.bodies = bodies.to_vec();
        let mut replay = Replay::new(DATASET);
        let reference = replay.add(&forge::join(&frame)).unwrap();
        let verified = replay.commit(&reference).unwrap().verified;
        (replay, verified)
    }

    /// A commit that changes the lamp of the story's first two, with this body; says whether it
    /// verifies.
    fn changed(leaves: Leaves, body: Option<Body>) -> Result<(), Unverified> {
        let [a1, b1, ..] = story();
        let mut version = VersionSpec::update(LAMP, "lamp", leaves).after(&b1, 0);
        version.body = body;
        let commit = author("c").commit(&CommitSpec::at(1).version(version));
        let replay = replay(&[a1, b1, commit.clone()]);
        assert_eq!(replay.heads(&LAMP).len(), 1, "a head, verified or not");
        replay.commit(&commit.commit).unwrap().verified
    }

    fn by(writer: Writer) -> Leaves {
        [(path(["on"]), [(Some(writer), Value::bool(true))].into())].into()
    }

    #[test]
    fn full_and_patch_are_interchangeable() {
        let story = story();
        let one = replay(&story);
        let mut other = Replay::new(DATASET);
        for forged in &story {
            let mut frame = Frame::split(&forged.bytes).unwrap();
            let versions: Vec<_> = (0..frame.read().unwrap().header.count)
                .map(|i| forged.version(i).version)
                .collect();
            let body = |version| match &one.version(version).unwrap().state {
                Some(State::Live(leaves)) => Body::Full(full_body(&unnamed(leaves, version))),
                _ => Body::None,
            };
            frame.bodies = forge::bodies(&Bodies::Level1(versions.iter().map(body).collect()));
            let reference = other.add(&forge::join(&frame)).unwrap();
            assert_eq!(other.commit(&reference).unwrap().verified, Ok(()));
        }
        assert_eq!(one.log_root(), other.log_root());
        assert_eq!(one.merged(&LAMP), other.merged(&LAMP));
    }

    fn unnamed(leaves: &Leaves, own: &Ref) -> Leaves {
        let name = |writer: &Option<Writer>| writer.filter(|writer| writer.version != *own);
        let entries = |entries: &Entries| {
            entries.iter().map(|(writer, value)| (name(writer), value.clone())).collect()
        };
        leaves.iter().map(|(path, found)| (path.clone(), entries(found))).collect()
    }

    #[test]
    fn absent_bodies_leave_their_checksums() {
        let whole = replay(&story()[..1]);
        let sums: Vec<Id> =
            whole.versions().iter().map(|version| version.checksum.unwrap()).collect();
        let pruned = [Body::Pruned(sums[0]), Body::Withheld(sums[1])];
        let (replay, verified) = with_bodies(&forge::bodies(&Bodies::Level1(pruned.to_vec())));
        assert_eq!(verified, Ok(()));
        assert_eq!(
            (replay.log_root(), replay.state_digest()),
            (whole.log_root(), whole.state_digest())
        );
        assert_eq!((replay.merged(&LAMP), replay.merged(&ROOM)), (None, None));
        let swapped = [Body::Encrypted(sums[1], vec![1]), Body::Pruned(sums[0])];
        assert_eq!(
            with_bodies(&forge::bodies(&Bodies::Level1(swapped.to_vec()))).1,
            Err(Unverified::Root)
        );
    }

    #[test]
    fn bodies_verify_together_or_not_at_all() {
        let good = Frame::split(&story()[0].bytes).unwrap().bodies;
        assert_eq!(with_bodies(&good).1, Ok(()));
        let first = 2 + usize::from(good[1]);
        let (replay, verified) = with_bodies(&[&good[..first], &[6]].concat());
        assert_eq!(verified, Err(Unverified::Missing));
        assert!(
            replay
                .versions()
                .iter()
                .all(|version| version.state.is_none() && version.checksum.is_none())
        );
        assert_eq!(with_bodies(&[1, 2, 0, 0, 1, 2, 0, 0]).1, Err(Unverified::Root));
        assert_eq!(
            with_bodies(&[1, 1, 0, 1, 2, 0, 0]).1,
            Err(Unverified::Primitive(Fault::VarintCut))
        );
        assert_eq!(with_bodies(&[2, 2, 0, 0, 1, 2, 0, 0]).1, Err(Unverified::Root));
        assert!(matches!(
            with_bodies(&[1, 6, 0, 1, 1, 1, b'a', 0, 1, 2, 0, 0]).1,
            Err(Unverified::Malformed(_))
        ));
    }

    #[test]
    fn a_writer_is_a_version_of_the_entity_that_was_seen() {
        let [a1, b1, c1, ..] = story();
        let (lamp, room, seen) = (a1.version(0), a1.version(1), b1.version(0));
        assert_eq!(changed(by(lamp), None), Ok(()));
        assert_eq!(changed(by(seen), None), Ok(()));
        assert_eq!(changed(by(room), None), Err(Unverified::Writer), "of another entity");
        assert_eq!(changed(by(c1.version(0)), None), Err(Unverified::Writer), "not here");
        assert_eq!(
            changed(by(Writer { stamp: seen.stamp + 1, ..seen }), None),
            Err(Unverified::Writer)
        );
        let forked = Writer { version: Ref { prefix: [0; 16], ..seen.version }, ..seen };
        assert_eq!(changed(by(forked), None), Err(Unverified::Writer));
        let unseen = author("u").commit(
            &CommitSpec::at(1).version(VersionSpec::update(LAMP, "lamp", by(seen)).after(&a1, 0)),
        );
        let replay = replay(&[a1, b1, unseen.clone()]);
        assert_eq!(
            replay.commit(&unseen.commit).unwrap().verified,
            Err(Unverified::Writer),
            "concurrent"
        );
    }

    #[test]
    fn a_writer_is_of_the_entity_and_not_void() {
        let [a1, ..] = story();
        let room = |replay: &mut Replay, b: &mut forge::Author, leaves| {
            let version = VersionSpec::update(ROOM, "room", leaves).after(&a1, 1);
            let commit = b.commit(&CommitSpec::at(1).version(version));
            replay.add(&commit.bytes).unwrap();
            replay.commit(&commit.commit).unwrap().verified
        };
        let (mut replay, mut b) = (replay(&story()[..1]), author("b"));
        assert_eq!(
            room(&mut replay, &mut b, by(a1.version(0))),
            Err(Unverified::Writer),
            "of the lamp"
        );
        assert_eq!(room(&mut replay, &mut b, by(a1.version(1))), Ok(()));
        let update = VersionSpec::update(ROOM, "room", Leaves::new()).after(&a1, 1);
        let mut draft = b.draft(&CommitSpec::at(1).version(update));
        draft.header.excess += 1;
        let void = b.seal(&draft);
        replay.add(&void.bytes).unwrap();
        assert_eq!(room(&mut replay, &mut b, by(void.version(0))), Err(Unverified::Writer), "void");
    }

    #[test]
    fn the_entity_clock_covers_the_own_path_also_where_parents_do_not() {
        let [a1, ..] = story();
        let (mut replay, mut b) = (replay(&story()[..1]), author("b"));
        let first = b.commit(
            &CommitSpec::at(1)
                .version(VersionSpec::update(LAMP, "lamp", Leaves::new()).after(&a1, 0)),
        );
        let beside = VersionSpec::update(LAMP, "lamp", by(first.version(0))).after(&a1, 0);
        let second = b.commit(&CommitSpec::at(1).version(beside));
        replay.add(&first.bytes).unwrap();
        replay.add(&second.bytes).unwrap();
        assert_eq!(replay.commit(&second.commit).unwrap().verified, Ok(()));
        assert_eq!(replay.heads(&LAMP).len(), 2, "a head is replaced by naming it alone");
    }

    #[test]
    fn own_writes_and_limits_are_checked_also_where_the_root_is_right() {
        let null = || Value::null();
        let mut clashing = forge::own([("a.b", null())]);
        assert_eq!(changed(clashing.clone(), None), Ok(()), "a map and what stands in it");
        clashing.insert(path(["a"]), [(None, null())].into());
        assert_eq!(changed(clashing, None), Err(Unverified::OwnClash));
        let deep = |keys| forge::own([(&*["k"; 65][..keys].join("."), null())]);
        assert_eq!(changed(deep(64), None), Ok(()));
        assert_eq!(changed(deep(65), None), Err(Unverified::Limit("depth")));
        let large = |length| forge::own([("a", Value::bytes(&vec![0; length]))]);
        let around = full_body(&large(16_000_000)).len() - 16_000_000;
        assert_eq!(changed(large(MAX_FULL - around), None), Ok(()));
        assert_eq!(
            changed(large(MAX_FULL - around + 1), None),
            Err(Unverified::Limit("full body"))
        );
        let mut reserved = forge::own([("a", Value::raw(vec![0x10, 0]))]);
        assert!(matches!(changed(reserved.clone(), None), Err(Unverified::Malformed(_))));
        reserved.clear();
        assert_eq!(changed(reserved, None), Ok(()), "an entity without leaves");
    }

    #[test]
    fn full_bodies_of_a_commit_have_a_limit_together() {
        let large = |length| forge::own([("a", Value::bytes(&vec![0; length]))]);
        let around = full_body(&large(16_000_000)).len() - 16_000_000;
        let commit = |last: usize| {
            let mut spec = CommitSpec::at(1);
            for (i, length) in
                [MAX_FULL, MAX_FULL, MAX_FULL, MAX_FULL - 200, last].into_iter().enumerate()
            {
                let leaves = large(length - around);
                spec = spec.version(VersionSpec::create([i as u8; 16], "lamp", leaves));
            }
            let forged = author("a").commit(&spec);
            replay(std::slice::from_ref(&forged)).commit(&forged.commit).unwrap().verified
        };
        // What a short last one takes beside its bytes is less than what a long one does.
        let exact = 200 + around - (full_body(&large(200)).len() - 200);
        assert_eq!(commit(exact), Ok(()));
        assert_eq!(commit(exact + 1), Err(Unverified::Limit("full bodies of a commit")));
    }

    #[test]
    fn a_patch_without_its_base_waits() {
        let [a1, b1, ..] = story();
        let mut frame = Frame::split(&a1.bytes).unwrap();
        frame.bodies = vec![6, 6];
        let mut replay = Replay::new(DATASET);
        replay.add(&forge::join(&frame)).unwrap();
        replay.add(&b1.bytes).unwrap();
        assert_eq!(replay.commit(&b1.commit).unwrap().verified, Err(Unverified::NoBase));
        assert_eq!(replay.heads(&LAMP)[0].state, None);
        let delete = author("d")
            .commit(&CommitSpec::at(1).version(VersionSpec::delete(LAMP, "lamp").after(&b1, 0)));
        replay.add(&delete.bytes).unwrap();
        assert_eq!(
            replay.commit(&delete.commit).unwrap().verified,
            Ok(()),
            "a deletion needs no base"
        );
    }

    #[test]
    fn both_branches_of_a_fork_are_kept_and_have_not_seen_each_other() {
        let mut one = author("a");
        let first = one.commit(&CommitSpec::at(1).version(VersionSpec::create(
            LAMP,
            "lamp",
            forge::own([("on", Value::null())]),
        )));
        let mut other = one.clone();
        let on = |value| forge::own([("on", Value::bool(value))]);
        let change = |author: &mut forge::Author, value| {
            let version = VersionSpec::update(LAMP, "lamp", on(value)).after(&first, 0);
            author.commit(&CommitSpec::at(2).version(version))
        };
        let (left, right) = (change(&mut one, true), change(&mut other, false));
        let two = replay(&[first.clone(), left.clone(), right.clone()]);
        let swapped = replay(&[first, right, left]);
        assert_eq!(two.heads(&LAMP).len(), 2);
        assert_eq!(two.merged(&LAMP).unwrap()[&path(["on"])].len(), 2);
        assert_eq!(two.log_root(), swapped.log_root());
        assert_eq!(two.merged(&LAMP), swapped.merged(&LAMP));
    }
}
