//! The encoder that belongs to [`decoder`](crate::decoder): commits from plain structs, honest ones
//! and any others.
//!
//! An [`Author`] turns a [`CommitSpec`] into a [`Commit`] that obeys every rule (`draft`), and a
//! commit into bytes (`seal`). Mischief is done in between, on the structs, or behind, on the parts
//! of a [`Frame`].

use crate::decoder::primitives::{put_bytes, put_count, put_varint, put_zigzag};
use crate::decoder::{
    Before, Bodies, Body, Commit, Frame, Genesis, Hash, Header, Id, Leaves, Level1, MAX_TIME,
    Metadata, Patch, Path, Ref, Rest, SPLICE, State, Trailer, Value, VersionHeader, Writer,
    full_body, hashes, kind, newest, prefix, put_path,
};

/// Who writes a log: remembers what the next commit follows.
#[derive(Clone, Debug)]
pub struct Author {
    genesis: Genesis,
    log: Id,
    tip: u64,
    chain: Hash,
    wall: u64,
}

/// A commit that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forged {
    /// As it travels.
    pub bytes: Vec<u8>,
    /// The chain after it.
    pub chain: Hash,
    /// Its commit ref.
    pub commit: Ref,
    /// Sequence of its first version.
    pub first: u64,
    /// Its stamp.
    pub stamp: u64,
}

impl Forged {
    /// Its version with this index.
    pub fn version(&self, index: u64) -> Writer {
        Writer { version: Ref { sequence: self.first + index, ..self.commit }, stamp: self.stamp }
    }

    /// Its version with this index as a parent, which from another log is named through this
    /// commit.
    pub fn parent(&self, index: u64) -> Parent {
        Parent { version: self.version(index), through: self.commit }
    }
}

/// A version that another replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    /// The version.
    pub version: Writer,
    /// The commit that names it, if it is of another log: its own or a later one.
    pub through: Ref,
}

/// What a commit shall say.
#[derive(Clone, Debug, Default)]
pub struct CommitSpec {
    /// The device's clock.
    pub wall: u64,
    /// Refs, in any order; those that parents need are added.
    pub refs: Vec<Ref>,
    /// Who and why.
    pub metadata: Option<Metadata>,
    /// The versions.
    pub versions: Vec<VersionSpec>,
}

impl CommitSpec {
    /// A commit without versions yet.
    pub fn at(wall: u64) -> Self {
        Self { wall, ..Self::default() }
    }

    /// Adds a version.
    pub fn version(mut self, version: VersionSpec) -> Self {
        self.versions.push(version);
        self
    }

    /// Adds a ref.
    pub fn after(mut self, commit: &Forged) -> Self {
        self.refs.push(commit.commit);
        self
    }

    /// Says who and why.
    pub fn metadata(mut self, actor: &str, message: &str) -> Self {
        self.metadata = Some(Metadata { actor: actor.to_owned(), message: message.to_owned() });
        self
    }
}

/// What a version shall say.
#[derive(Clone, Debug)]
pub struct VersionSpec {
    /// Entity id.
    pub entity: Id,
    /// See [`kind`].
    pub kind: u8,
    /// The entity's type, which a creation names and every state checksum covers.
    pub entity_type: String,
    /// The versions replaced, in any order.
    pub parents: Vec<Parent>,
    /// The resulting state, own entries as own.
    pub state: State,
    /// How the state is said; a full body unless given, nothing for a deletion.
    pub body: Option<Body>,
}

impl VersionSpec {
    /// A version of any kind.
    pub fn new(kind: u8, entity: Id, entity_type: &str, state: State) -> Self {
        Self {
            entity,
            kind,
            entity_type: entity_type.to_owned(),
            parents: Vec::new(),
            state,
            body: None,
        }
    }

    /// A creation.
    pub fn create(entity: Id, entity_type: &str, leaves: Leaves) -> Self {
        Self::new(kind::CREATE, entity, entity_type, State::Live(leaves))
    }

    /// A change that results in these leaves.
    pub fn update(entity: Id, entity_type: &str, leaves: Leaves) -> Self {
        Self::new(kind::UPDATE, entity, entity_type, State::Live(leaves))
    }

    /// A change said as a patch of `base`, the merge of its parents.
    pub fn patch(entity: Id, entity_type: &str, base: Leaves, patch: &Patch) -> Self {
        let leaves = patch.apply(base);
        Self {
            body: Some(Body::Patch(self::patch(patch))),
            ..Self::update(entity, entity_type, leaves)
        }
    }

    /// The same, with each value that has something to take from said as a splice.
    pub fn spliced(entity: Id, entity_type: &str, base: Leaves, patch: &Patch) -> Self {
        let splice = |(path, value): &(Path, Value)| {
            let splice = newest(&base, path).and_then(|old| splice(old, value));
            (path.clone(), splice.unwrap_or_else(|| value.clone()))
        };
        let set = patch.set.iter().map(splice).collect();
        let body = self::patch(&Patch { set, ..patch.clone() });
        Self::patch(entity, entity_type, base, patch).body(Body::Patch(body))
    }

    /// A deletion.
    pub fn delete(entity: Id, entity_type: &str) -> Self {
        Self::new(kind::DELETE, entity, entity_type, State::Tombstone)
    }

    /// A restoration that results in these leaves.
    pub fn restore(entity: Id, entity_type: &str, leaves: Leaves) -> Self {
        Self::new(kind::RESTORE, entity, entity_type, State::Live(leaves))
    }

    /// Adds a parent: the version of `commit` with this index.
    pub fn after(mut self, commit: &Forged, index: u64) -> Self {
        self.parents.push(commit.parent(index));
        self
    }

    /// Says the state in another way.
    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }
}

/// Leaves that a version wrote itself, with the maps that they stand in. Keys of a path are parted
/// by `.`.
pub fn own<const N: usize>(leaves: [(&str, Value); N]) -> Leaves {
    changes(leaves, []).apply(Leaves::new())
}

/// A patch. Keys of a path are parted by `.`.
pub fn changes<const S: usize, const U: usize>(set: [(&str, Value); S], unset: [&str; U]) -> Patch {
    let mut patch = Patch {
        unset: unset.into_iter().map(dotted).collect(),
        set: set.into_iter().map(|(path, value)| (dotted(path), value)).collect(),
    };
    patch.unset.sort();
    patch.set.sort();
    patch
}

fn dotted(path: &str) -> Path {
    path.split('.').map(str::to_owned).collect()
}

impl Author {
    /// A fresh log.
    pub fn new(dataset: Id, label: &str, nonce: Id) -> Self {
        let label = label.to_owned();
        let (public_key, predecessor, more) = (None, None, Vec::new());
        Self::open(Genesis {
            level: 1,
            flags: 0,
            dataset,
            nonce,
            label,
            public_key,
            predecessor,
            more,
        })
    }

    /// A fresh log with any genesis.
    pub fn open(genesis: Genesis) -> Self {
        let bytes = self::genesis(&genesis);
        Self {
            log: hashes::log_id(&bytes),
            tip: 0,
            chain: hashes::chain_zero(&bytes),
            wall: 0,
            genesis,
        }
    }

    /// Goes on with somebody else's log, of which these are all commits in their order, in their
    /// name.
    pub fn impersonate<'a>(commits: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut author: Option<Self> = None;
        for bytes in commits {
            let frame = Frame::split(bytes).expect("a commit");
            let commit = frame.read().expect("a commit");
            let opened = commit.genesis.clone().map(Self::open);
            let before = author.or(opened).expect("the first commit of a log comes first");
            let chain = frame.chain(&before.chain);
            author =
                Some(Self { tip: commit.header.last(), chain, wall: commit.header.wall, ..before });
        }
        author.expect("a log has commits")
    }

    /// The log id.
    pub fn log(&self) -> Id {
        self.log
    }

    /// Sequence of the last version; 0 before the first.
    pub fn tip(&self) -> u64 {
        self.tip
    }

    /// The chain after the last commit; chain(0) before the first.
    pub fn chain(&self) -> Hash {
        self.chain
    }

    /// The next commit.
    pub fn commit(&mut self, spec: &CommitSpec) -> Forged {
        let draft = self.draft(spec);
        self.seal(&draft)
    }

    /// What the next commit is by all rules: refs and parents in order, wall not before the last,
    /// stamp exact, states root of the states given.
    pub fn draft(&self, spec: &CommitSpec) -> Commit {
        let parents = || spec.versions.iter().flat_map(|version| &version.parents);
        let mut refs = spec.refs.clone();
        refs.extend(parents().filter(|parent| !self.wrote(parent)).map(|parent| parent.through));
        refs.sort_unstable();
        refs.dedup();
        let wall = spec.wall.max(self.wall);
        let least =
            |parent: &Parent| (parent.version.stamp + u64::from(!self.wrote(parent))).min(MAX_TIME);
        let stamp = parents().map(least).fold(wall, u64::max);
        let level1 = Level1 {
            states_root: self.states_root(spec),
            metadata: spec.metadata.clone(),
            versions: spec
                .versions
                .iter()
                .map(|version| self.version_header(version, &refs))
                .collect(),
        };
        Commit {
            log: self.log,
            before: Before { sequence: self.tip, prefix: prefix(&self.chain) },
            genesis: (self.tip == 0).then(|| self.genesis.clone()),
            header: Header {
                level: 1,
                flags: u8::from(spec.metadata.is_some()),
                first: self.tip + 1,
                count: spec.versions.len() as u64,
                wall,
                excess: stamp - wall,
                refs,
                rest: Rest::Level1(level1),
            },
            bodies: Bodies::Level1(spec.versions.iter().map(body_of).collect()),
            trailer: Trailer::default(),
        }
    }

    /// Any commit as bytes; the next one follows it.
    pub fn seal(&mut self, commit: &Commit) -> Forged {
        let frame = frame(commit);
        self.chain = frame.chain(&self.chain);
        self.tip = commit.header.last();
        self.wall = commit.header.wall;
        Forged {
            bytes: join(&frame),
            chain: self.chain,
            commit: Ref { log: commit.log, sequence: self.tip, prefix: prefix(&self.chain) },
            first: commit.header.first,
            stamp: commit.header.stamp(),
        }
    }

    fn wrote(&self, parent: &Parent) -> bool {
        parent.version.version.log == self.log
    }

    fn states_root(&self, spec: &CommitSpec) -> Hash {
        let checksum = |(version, sequence): (&VersionSpec, u64)| {
            let of = hashes::Identity {
                log: self.log,
                sequence,
                entity: version.entity,
                entity_type: &version.entity_type,
            };
            hashes::state_checksum(of, &version.state)
        };
        let checksums: Vec<Id> = spec.versions.iter().zip(self.tip + 1..).map(checksum).collect();
        hashes::states_root(&checksums)
    }

    fn version_header(&self, version: &VersionSpec, refs: &[Ref]) -> VersionHeader {
        let path = |parent: &Parent| {
            if self.wrote(parent) {
                0
            } else {
                1 + refs.partition_point(|named| *named < parent.through) as u64
            }
        };
        let name = |parent: &Parent| (path(parent), parent.version.version.sequence);
        let mut parents: Vec<_> = version.parents.iter().map(name).collect();
        parents.sort_unstable();
        let entity_type = (version.kind == kind::CREATE).then(|| version.entity_type.clone());
        VersionHeader { entity: version.entity, kind: version.kind, entity_type, parents }
    }
}

fn body_of(version: &VersionSpec) -> Body {
    match (&version.body, &version.state) {
        (Some(body), _) => body.clone(),
        (None, State::Live(leaves)) if version.kind != kind::DELETE => {
            Body::Full(full_body(leaves))
        }
        (None, _) if version.kind == kind::DELETE => Body::None,
        (None, _) => Body::Missing,
    }
}

/// The parts of a commit.
pub fn frame(commit: &Commit) -> Frame {
    Frame {
        log: commit.log,
        before: commit.before,
        genesis: commit.genesis.as_ref().map(genesis),
        header: header(&commit.header),
        bodies: bodies(&commit.bodies),
        trailer: trailer(&commit.trailer),
    }
}

/// The parts put together.
pub fn join(frame: &Frame) -> Vec<u8> {
    let mut out = frame.log.to_vec();
    put_varint(&mut out, frame.before.sequence);
    out.extend_from_slice(&frame.before.prefix);
    for part in frame.genesis.iter().chain([&frame.header, &frame.bodies]) {
        put_bytes(&mut out, part);
    }
    out.extend_from_slice(&frame.trailer);
    out
}

/// The bytes of a genesis, its fields as they are.
pub fn genesis(genesis: &Genesis) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, genesis.level);
    out.push(genesis.flags);
    out.extend_from_slice(&genesis.dataset);
    out.extend_from_slice(&genesis.nonce);
    put_bytes(&mut out, genesis.label.as_bytes());
    out.extend(genesis.public_key.iter().flatten());
    if let Some(before) = &genesis.predecessor {
        out.extend_from_slice(&before.log);
        put_place(&mut out, before);
    }
    out.extend_from_slice(&genesis.more);
    out
}

/// The bytes of a header, its fields as they are.
pub fn header(header: &Header) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, header.level);
    out.push(header.flags);
    for number in [header.first, header.count, header.wall, header.excess] {
        put_varint(&mut out, number);
    }
    put_refs(&mut out, &header.refs);
    match &header.rest {
        Rest::Newer(bytes) => out.extend_from_slice(bytes),
        Rest::Level1(level1) => put_level1(&mut out, level1),
    }
    out
}

fn put_refs(out: &mut Vec<u8>, refs: &[Ref]) {
    let groups: Vec<&[Ref]> = refs.chunk_by(|one, next| one.log == next.log).collect();
    put_count(out, groups.len());
    for group in groups {
        out.extend_from_slice(&group[0].log);
        put_count(out, group.len());
        for named in group {
            put_place(out, named);
        }
    }
}

fn put_place(out: &mut Vec<u8>, named: &Ref) {
    put_varint(out, named.sequence);
    out.extend_from_slice(&named.prefix);
}

fn put_level1(out: &mut Vec<u8>, level1: &Level1) {
    out.extend_from_slice(&level1.states_root);
    if let Some(Metadata { actor, message }) = &level1.metadata {
        put_bytes(out, actor.as_bytes());
        put_bytes(out, message.as_bytes());
    }
    for version in &level1.versions {
        out.extend_from_slice(&version.entity);
        out.push(version.kind | if version.entity_type.is_some() { 0x80 } else { 0 });
        if let Some(entity_type) = &version.entity_type {
            put_bytes(out, entity_type.as_bytes());
        }
        put_count(out, version.parents.len());
        for &(path, sequence) in &version.parents {
            put_varint(out, path);
            put_varint(out, sequence);
        }
    }
}

/// The bytes of bodies, one after another.
pub fn bodies(bodies: &Bodies) -> Vec<u8> {
    match bodies {
        Bodies::Newer(bytes) => bytes.clone(),
        Bodies::Level1(bodies) => bodies.iter().flat_map(body).collect(),
    }
}

/// The bytes of a body.
pub fn body(body: &Body) -> Vec<u8> {
    let (tag, content): (u8, Option<Vec<u8>>) = match body {
        Body::None => (0, None),
        Body::Full(bytes) => (1, Some(bytes.clone())),
        Body::Patch(bytes) => (2, Some(bytes.clone())),
        Body::Pruned(checksum) => (3, Some(checksum.to_vec())),
        Body::Withheld(checksum) => (4, Some(checksum.to_vec())),
        Body::Encrypted(checksum, ciphertext) => (5, Some([&checksum[..], ciphertext].concat())),
        Body::Missing => (6, None),
    };
    let mut out = vec![tag];
    if let Some(content) = content {
        put_bytes(&mut out, &content);
    }
    out
}

/// The bytes of a patch, its paths in the order given.
pub fn patch(patch: &Patch) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(&mut out, patch.unset.len());
    for path in &patch.unset {
        put_path(&mut out, path);
    }
    put_count(&mut out, patch.set.len());
    for (path, value) in &patch.set {
        put_path(&mut out, path);
        out.extend_from_slice(value.as_bytes());
    }
    out
}

/// A splice of an old value: what both begin and end with taken from there, the rest new. None if
/// they are not of one kind that has a length.
pub fn splice(old: &Value, new: &Value) -> Option<Value> {
    let (kind, old) = old.inner()?;
    let (_, new) = new.inner().filter(|(other, _)| *other == kind)?;
    let equal = |(a, b): &(&u8, &u8)| a == b;
    let begin = old.iter().zip(new).take_while(equal).count();
    let (rest, new_rest) = (&old[begin..], &new[begin..]);
    let end = rest.iter().rev().zip(new_rest.iter().rev()).take_while(equal).count();
    let between = &new_rest[..new_rest.len() - end];
    let skipped = (rest.len() - end) as i64;
    let pieces =
        [Piece::Old(0, begin as u64), Piece::New(between), Piece::Old(skipped, end as u64)];
    Some(pieced(new.len() as u64, &pieces))
}

/// A piece of a splice.
pub enum Piece<'a> {
    /// How far behind the last such piece it begins in the old value, how long it is.
    Old(i64, u64),
    /// What is new.
    New(&'a [u8]),
}

/// A splice as it stands in the place of a value. Pieces of no length are left out.
pub fn pieced(result: u64, pieces: &[Piece<'_>]) -> Value {
    let mut inner = Vec::new();
    put_varint(&mut inner, result);
    let mut passed = 0;
    for piece in pieces {
        match *piece {
            Piece::Old(distance, 0) => passed += distance,
            Piece::Old(distance, length) => {
                put_varint(&mut inner, 2 * length);
                put_zigzag(&mut inner, passed + distance);
                passed = 0;
            }
            Piece::New([]) => {}
            Piece::New(new) => {
                put_varint(&mut inner, 2 * new.len() as u64 + 1);
                inner.extend_from_slice(new);
            }
        }
    }
    let mut out = vec![SPLICE];
    put_bytes(&mut out, &inner);
    Value::raw(out)
}

/// The bytes of a trailer.
pub fn trailer(trailer: &Trailer) -> Vec<u8> {
    let flags =
        u8::from(trailer.signature.is_some()) | u8::from(trailer.idempotency_key.is_some()) << 1;
    let mut out = vec![flags];
    out.extend(trailer.signature.iter().flatten());
    out.extend(trailer.idempotency_key.iter().flatten());
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::decoder::path;

    pub(crate) const DATASET: Id = [0xda; 16];
    pub(crate) const LAMP: Id = [0x1a; 16];
    pub(crate) const ROOM: Id = [0x20; 16];

    pub(crate) fn author(label: &str) -> Author {
        Author::new(DATASET, label, [label.as_bytes()[0]; 16])
    }

    /// Three devices and two entities, in a causal order:
    ///
    /// ```text
    /// a1 ── b1 (lamp.on) ── b2 (room.name) ───────── b3 (lamp.on, sees a2 and c2)
    ///  ├─── c1 (lamp.on, lamp.name, room deleted) ── c2 (lamp.mood unset)
    ///  └─── a2 (lamp.mood.x, merges b1 and c1)
    /// ```
    pub(crate) fn story() -> [Forged; 7] {
        let (mut a, mut b, mut c) = (author("a"), author("b"), author("c"));
        let lamp = own([
            ("name", Value::text("lamp")),
            ("on", Value::bool(false)),
            ("mood.x", Value::int(1)),
        ]);
        let room = own([("name", Value::text("den"))]);
        let a1 = a.commit(
            &CommitSpec::at(1000)
                .version(VersionSpec::create(LAMP, "lamp", lamp))
                .version(VersionSpec::create(ROOM, "room", room))
                .metadata("ann", "moved in"),
        );
        let leaf = |by: &Forged, index, value| (Some(by.version(index)), value);
        let first: Leaves = [
            (path(["name"]), [leaf(&a1, 0, Value::text("lamp"))].into()),
            (path(["on"]), [leaf(&a1, 0, Value::bool(false))].into()),
            (path(["mood"]), [leaf(&a1, 0, Value::map(&[]))].into()),
            (path(["mood", "x"]), [leaf(&a1, 0, Value::int(1))].into()),
        ]
        .into();
        let on = changes([("on", Value::bool(true))], []);
        let b1 = b.commit(
            &CommitSpec::at(2000)
                .version(VersionSpec::patch(LAMP, "lamp", first.clone(), &on).after(&a1, 0)),
        );
        let renamed = changes([("name", Value::text("Lamp")), ("on", Value::null())], []);
        let c1 = c.commit(
            &CommitSpec::at(500)
                .version(VersionSpec::patch(LAMP, "lamp", first.clone(), &renamed).after(&a1, 0))
                .version(VersionSpec::delete(ROOM, "room").after(&a1, 1)),
        );
        let hall = own([("name", Value::text("hall"))]);
        let b2 = b.commit(
            &CommitSpec::at(2001).version(VersionSpec::update(ROOM, "room", hall).after(&a1, 1)),
        );
        let merged: Leaves = [
            (path(["name"]), [leaf(&c1, 0, Value::text("Lamp"))].into()),
            (path(["on"]), [leaf(&b1, 0, Value::bool(true)), leaf(&c1, 0, Value::null())].into()),
            (path(["mood"]), [leaf(&a1, 0, Value::map(&[]))].into()),
            (path(["mood", "x"]), [leaf(&a1, 0, Value::int(1))].into()),
        ]
        .into();
        let mood = changes([("mood.x", Value::int(2))], []);
        let a2 = a.commit(
            &CommitSpec::at(3000).version(
                VersionSpec::update(LAMP, "lamp", mood.apply(merged.clone()))
                    .after(&b1, 0)
                    .after(&c1, 0),
            ),
        );
        let mut after_c1 = merged.clone();
        after_c1.insert(path(["on"]), [leaf(&c1, 0, Value::null())].into());
        let calm = changes([], ["mood"]);
        let c2 = c.commit(
            &CommitSpec::at(600)
                .version(VersionSpec::patch(LAMP, "lamp", after_c1, &calm).after(&c1, 0)),
        );
        let mut all = merged;
        all.remove(&path(["mood"]));
        all.insert(path(["mood", "x"]), [leaf(&a2, 0, Value::int(2))].into());
        let off = changes([("on", Value::bool(false))], []);
        let b3 = b.commit(
            &CommitSpec::at(1)
                .version(VersionSpec::patch(LAMP, "lamp", all, &off).after(&a2, 0).after(&c2, 0)),
        );
        [a1, b1, c1, b2, a2, c2, b3]
    }

    #[test]
    fn a_commit_has_these_bytes() {
        let mut author = author("a");
        let spec = CommitSpec::at(300)
            .version(VersionSpec::create(LAMP, "lamp", own([("on", Value::bool(true))])))
            .metadata("me", "why");
        let genesis = [&[1, 0][..], &DATASET, &[b'a'; 16], &[1, b'a']].concat();
        let log = &blake3::derive_key("heirloom 1 log id", &genesis)[..16];
        let zero = blake3::derive_key("heirloom 1 genesis", &genesis);
        let state = [&[0, 1][..], &[1, 2, b'o', b'n'], &[1, 0, 2]].concat();
        let identity = [log, &[1], &LAMP, &[4], b"lamp", &[1], &state].concat();
        let root = blake3::derive_key(
            "heirloom 1 states",
            &blake3::derive_key("heirloom 1 state", &identity)[..16],
        );
        let header = [
            &[1, 1, 1, 1, 0xac, 0x02, 0, 0][..],
            &root,
            &[2, b'm', b'e', 3, b'w', b'h', b'y'],
            &LAMP,
            &[0x81, 4, b'l', b'a', b'm', b'p', 0],
        ]
        .concat();
        let bodies = [&[1, state.len() as u8][..], &state].concat();
        let bytes = [
            log,
            &[0],
            &zero[..16],
            &[genesis.len() as u8],
            &genesis,
            &[header.len() as u8],
            &header,
            &[bodies.len() as u8],
            &bodies,
            &[0],
        ]
        .concat();
        let forged = author.commit(&spec);
        assert_eq!(forged.bytes, bytes);
        assert_eq!(
            forged.chain,
            blake3::derive_key("heirloom 1 chain", &[&zero[..], &header].concat())
        );
        assert_eq!(
            forged.commit,
            Ref { log: log.try_into().unwrap(), sequence: 1, prefix: prefix(&forged.chain) }
        );
    }

    #[test]
    fn refs_are_grouped_by_log_and_parents_numbered_in_their_order() {
        let refs = [([1; 16], 5), ([1; 16], 300), ([2; 16], 1)].map(|(log, sequence)| Ref {
            log,
            sequence,
            prefix: [sequence as u8; 16],
        });
        let parent = |at: usize, sequence| Parent {
            version: Writer { version: Ref { sequence, ..refs[at] }, stamp: 50 },
            through: refs[at],
        };
        let mut version = VersionSpec::update(LAMP, "lamp", Leaves::new());
        version.parents = vec![parent(2, 1), parent(1, 200)];
        let spec = CommitSpec {
            wall: 10,
            refs: vec![refs[2], refs[0]],
            metadata: None,
            versions: vec![version],
        };
        let draft = author("a").draft(&spec);
        assert_eq!(draft.header.refs, refs);
        assert_eq!(draft.header.versions()[0].parents, [(2, 200), (3, 1)]);
        assert_eq!(draft.header.stamp(), 51, "after parents that are named through refs");
        let bytes = header(&draft.header);
        let groups = [
            &[2][..],
            &[1; 16],
            &[2, 5],
            &[5; 16],
            &[0xac, 0x02],
            &[44; 16],
            &[2; 16],
            &[1, 1],
            &[1; 16],
        ]
        .concat();
        assert_eq!(bytes[..6], [1, 0, 1, 1, 10, 41]);
        assert_eq!(bytes[6..6 + groups.len()], groups);
    }

    #[test]
    fn what_is_forged_is_read_back() {
        let mut all: Vec<Vec<u8>> = story().into_iter().map(|forged| forged.bytes).collect();
        let mut managed = author("m").genesis;
        managed.flags = Genesis::MANAGED | Genesis::PUBLIC_KEY | Genesis::PREDECESSOR;
        managed.public_key = Some([5; 32]);
        managed.predecessor = Some(Ref { log: [6; 16], sequence: 900, prefix: [7; 16] });
        let mut managed = Author::open(managed);
        let bodies = [
            Body::Full(vec![1, 2]),
            Body::Patch(vec![]),
            Body::Pruned([3; 16]),
            Body::Withheld([4; 16]),
            Body::Encrypted([5; 16], vec![6; 200]),
            Body::Missing,
        ];
        let mut spec = CommitSpec::at(7);
        for (i, body) in bodies.into_iter().enumerate() {
            spec =
                spec.version(VersionSpec::create([i as u8; 16], "lamp", Leaves::new()).body(body));
        }
        let mut draft = managed.draft(&spec);
        draft.trailer = Trailer { signature: Some([8; 64]), idempotency_key: Some([9; 16]) };
        assert_eq!(Commit::decode(&join(&frame(&draft))), Ok(draft.clone()));
        all.push(managed.seal(&draft).bytes);
        for bytes in all {
            let parts = Frame::split(&bytes).unwrap();
            assert_eq!(join(&parts), bytes);
            assert_eq!(frame(&parts.read().unwrap()), parts);
        }
    }
}
