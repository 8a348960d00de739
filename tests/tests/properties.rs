//! The engine against the independent implementation, on histories that nobody thought of.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use heirloom::{
    Content, DatasetId, Engine, EntityId, Error, Kind, Metadata, Patch, Policy, Resolution, Timestamp, Value,
};
use heirloom_tests::{
    decoder::{self, Frame, Id, Leaves, Ref, Rest, hashes, kind},
    forge::{self, Author, CommitSpec, Forged, VersionSpec},
    mend,
    twins::{self, Twins, carry, commits_of},
};
use proptest::{collection::vec, prelude::*, sample::Index};

const DATASET: &str = "properties";
const START: i64 = 1_700_000_000_000;

fn entity(number: u8) -> EntityId {
    EntityId::from_bytes([number; 16])
}

/// What somebody does.
#[derive(Clone, Debug)]
enum Act {
    /// A device writes to an entity: one commit.
    Write { device: usize, edits: Vec<(u8, Edit)>, at: i64 },
    /// A device gives another all that it has.
    Carry { from: usize, to: usize },
}

#[derive(Clone, Debug)]
enum Edit {
    Put { field: usize, value: Value },
    Unset { field: usize },
    Replace { content: Vec<(usize, Value)> },
    Delete,
    Restore(Index),
    Resolve(Index),
}

/// Some lie below others, so that they clash.
const FIELDS: [&[&str]; 5] = [&["a"], &["m"], &["m", "x"], &["m", "y"], &["m", "x", "deep"]];

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (0..4i64).prop_map(Value::Int),
        prop_oneof![Just(f64::NAN), Just(-0.0), any::<f64>()].prop_map(Value::Float),
        "[a-z]{0,40}".prop_map(Value::Text),
        Just(Value::Map(Content::new())),
        Just(Value::Array(vec![Value::Map(Content::new().with("k", 1)), Value::Null])),
        any::<i64>().prop_map(|millis| Value::Timestamp(Timestamp::from_millis(millis))),
    ]
}

fn edits() -> impl Strategy<Value = Edit> {
    let field = 0..FIELDS.len();
    prop_oneof![
        6 => (field.clone(), values()).prop_map(|(field, value)| Edit::Put { field, value }),
        2 => field.clone().prop_map(|field| Edit::Unset { field }),
        2 => vec((field, values()), 0..4).prop_map(|content| Edit::Replace { content }),
        1 => Just(Edit::Delete),
        1 => any::<Index>().prop_map(Edit::Restore),
        1 => any::<Index>().prop_map(Edit::Resolve),
    ]
}

/// One for each device. What a policy shows decides what a write on it says; how it is written down must be right all the same.
fn policies() -> impl Strategy<Value = Vec<Policy>> {
    const NAMES: [&str; 5] =
        ["auto", "update_wins", "last_write_wins", "first_write_wins", "higher_version_wins"];
    let computed = Policy::custom("computed", 1, |conflict| {
        let count = |patch: Patch, field: &heirloom::FieldConflict| {
            patch.set_at(&field.path, field.sides.len() as i64)
        };
        conflict.fields.iter().fold(Patch::new(), count).into()
    });
    let named = (0..NAMES.len()).prop_map(|i| NAMES[i].parse().unwrap());
    prop_oneof![Just(vec![Policy::Auto; 4]), vec(prop_oneof![5 => named, 1 => Just(computed)], 4),]
}

fn acts(devices: usize) -> impl Strategy<Value = Act> {
    let write = (0..devices, vec((0..3u8, edits()), 1..4), -50..50i64);
    prop_oneof![
        3 => write.prop_map(|(device, edits, at)| Act::Write { device, edits, at }),
        2 => (0..devices, 0..devices).prop_map(|(from, to)| Act::Carry { from, to }),
    ]
}

/// A device with its own clock, which may go back, and the same nonces every time.
struct Device {
    engine: Engine,
    now: Arc<AtomicI64>,
}

impl Device {
    fn new(number: usize) -> Self {
        Self::under(number, Policy::Auto)
    }

    fn under(number: usize, policy: Policy) -> Self {
        let now = Arc::new(AtomicI64::new(START));
        let (clock, draws) = (now.clone(), AtomicU64::new(0));
        let engine = Engine::builder()
            .label(format!("d{number}"))
            .dataset_name(DATASET)
            .policy("thing", policy)
            .clock(move || Timestamp::from_millis(clock.load(Ordering::Relaxed)))
            .entropy(move || {
                let draw = draws.fetch_add(1, Ordering::Relaxed);
                (u128::from(draw) << 64 | number as u128).to_be_bytes()
            })
            .in_memory()
            .unwrap();
        Self { engine, now }
    }

    fn write(&self, edits: &[(u8, Edit)], later: i64) {
        self.now.fetch_add(later, Ordering::Relaxed);
        let why = Metadata::new().with_message(format!("{} edits", edits.len()));
        let written = self.engine.write_with(why, |tx| {
            edits.iter().try_for_each(|(e, edit)| apply(tx, &self.engine, entity(*e), edit))
        });
        // a write that makes no sense here leaves no trace
        if let Err(error) = written {
            assert!(matches!(error, Error::Invalid(_) | Error::Deleted(_) | Error::NotFound(_)), "{error:?}");
        }
    }
}

fn apply(
    tx: &mut heirloom::Transaction<'_>,
    engine: &Engine,
    id: EntityId,
    edit: &Edit,
) -> heirloom::Result<()> {
    let known = tx.get(id)?.is_some();
    let snapshot = engine.snapshot()?;
    if !known && snapshot.heads(id)?.is_empty() {
        return match tx.create_with_id(id, "thing", &Content::new().with("a", 0)) {
            // in this transaction, then deleted again
            Err(Error::Exists(_)) => Ok(()),
            other => other,
        };
    }
    match edit {
        Edit::Put { field, value } => tx.patch(id, Patch::new().set_at(FIELDS[*field], value.clone())),
        Edit::Unset { field } => tx.patch(id, Patch::new().unset_at(FIELDS[*field])),
        Edit::Replace { content } => {
            let all = Patch::new().unset("a").unset("m");
            let set =
                |patch: Patch, (field, value): &(usize, Value)| patch.set_at(FIELDS[*field], value.clone());
            tx.patch(id, content.iter().fold(all, set))
        }
        Edit::Delete => tx.delete(id),
        Edit::Restore(which) => {
            let history: Vec<_> = snapshot.history(id)?.collect::<Result<_, _>>()?;
            match history.is_empty() {
                true => Ok(()),
                false => tx.restore(id, &which.get(&history).reference()),
            }
        }
        Edit::Resolve(which) => {
            let seen: Vec<_> = snapshot.heads(id)?.iter().map(|head| head.reference()).collect();
            if seen.is_empty() {
                return Ok(());
            }
            let head = Resolution::Head(*which.get(&seen));
            let count = Resolution::Content(Content::new().with("a", seen.len() as i64));
            let some = Patch::new().set("a", 9).into();
            tx.resolve(
                id,
                &seen,
                which.get(&[head, count, some, Resolution::Suggestion, Resolution::Delete]).clone(),
            )
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever devices do under whatever policies, and in whatever order their commits travel: both implementations find the same heads, contents,
    /// conflicts, roots and digests, and so do all devices once they have met.
    #[test]
    fn engine_and_decoder_agree_on_any_history(policies in policies(), acts in vec(acts(4), 1..60)) {
        let devices: Vec<Device> = policies.into_iter().enumerate().map(|(i, policy)| Device::under(i, policy)).collect();
        for act in &acts {
            match act {
                Act::Write { device, edits, at } => devices[*device].write(edits, *at),
                Act::Carry { from, to } => carry(&devices[*from].engine, &devices[*to].engine),
            }
        }
        for device in &devices {
            let mut twins = Twins::new(hashes::dataset_id(DATASET));
            commits_of(&device.engine).iter().for_each(|commit| drop(twins.offer(commit).unwrap()));
            assert_eq!(twins.engine.log_root().unwrap(), device.engine.log_root().unwrap());
            assert!(twins.replay.commits().iter().all(|held| held.void.is_none() && held.verified.is_ok()));
            twins.agree();
            as_written(&device.engine, &twins.engine);
        }
        for _ in 0..2 {
            for pair in devices.windows(2) {
                carry(&pair[0].engine, &pair[1].engine);
                carry(&pair[1].engine, &pair[0].engine);
            }
        }
        carry(&devices[3].engine, &devices[0].engine);
        for device in &devices[1..3] {
            carry(&devices[0].engine, &device.engine);
        }
        for device in &devices {
            as_written(&devices[0].engine, &device.engine);
            let found = device.engine.verify().unwrap();
            assert!(found.is_clean(), "{:?}", found.problems);
        }
    }

    /// Heads are a fold: replacing parents by children, one commit after another, leaves exactly the versions without a child.
    #[test]
    fn heads_are_the_versions_that_no_version_names(acts in vec(acts(3), 1..60)) {
        let devices: Vec<Device> = (0..3).map(Device::new).collect();
        for act in &acts {
            match act {
                Act::Write { device, edits, at } => devices[*device].write(edits, *at),
                Act::Carry { from, to } => carry(&devices[*from].engine, &devices[*to].engine),
            }
        }
        for device in &devices {
            let snapshot = device.engine.snapshot().unwrap();
            for id in snapshot.entity_ids().unwrap().map(Result::unwrap) {
                let history: Vec<_> = snapshot.history(id).unwrap().map(Result::unwrap).collect();
                let named: Vec<_> = history.iter().flat_map(|version| version.parents()).copied().collect();
                let mut childless: Vec<_> =
                    history.iter().map(|v| v.reference()).filter(|v| !named.contains(v)).collect();
                childless.sort();
                let heads: Vec<_> = snapshot.heads(id).unwrap().iter().map(|v| v.reference()).collect();
                assert_eq!(heads, childless);
            }
        }
    }
}

/// Two stores that hold the same commits are the same, and show the same under equal policies.
fn as_written(one: &Engine, other: &Engine) {
    assert_eq!(one.log_root().unwrap(), other.log_root().unwrap());
    assert_eq!(one.state_digest().unwrap(), other.state_digest().unwrap());
    assert_eq!(one.clock().unwrap(), other.clock().unwrap());
    let alike = one.policy("thing") == other.policy("thing");
    let (one, other) = (one.snapshot().unwrap(), other.snapshot().unwrap());
    let ids: Vec<EntityId> = one.entity_ids().unwrap().map(Result::unwrap).collect();
    assert_eq!(ids, other.entity_ids().unwrap().map(Result::unwrap).collect::<Vec<_>>());
    for id in ids {
        let show = |snapshot: &heirloom::Snapshot| {
            let entity = snapshot.get_any(id).unwrap().unwrap();
            let shown = alike.then(|| (entity.content(), entity.is_deleted()));
            (
                shown,
                entity.conflicting_fields().to_vec(),
                entity.heads().to_vec(),
                snapshot.conflict(id).unwrap(),
            )
        };
        assert_eq!(show(&one), show(&other));
    }
    let unsettled =
        |snapshot: &heirloom::Snapshot| snapshot.unsettled().unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(unsettled(&one), unsettled(&other));
}

// ---- forged histories: honest and not ----

/// A commit of a forger, with what is bent in it.
#[derive(Clone, Debug)]
struct Forgery {
    author: usize,
    wall: u64,
    versions: Vec<(u8, u8, Vec<Index>, bool)>,
    refs: Vec<Index>,
    bends: Vec<Bend>,
    /// The states root that follows from the bodies, bent or not.
    root_fits: bool,
}

#[derive(Clone, Copy, Debug)]
enum Bend {
    Excess(u64),
    Wall,
    Kind(u8),
    Parent(u64, u64),
    ParentThroughRef,
    EntityTwice,
    Time,
    Root,
    Level,
    Body(u8),
    Type,
}

fn forgeries() -> impl Strategy<Value = Forgery> {
    let version = (0..3u8, 1..5u8, vec(any::<Index>(), 0..3), any::<bool>());
    let bend = prop_oneof![
        (0..3u64).prop_map(Bend::Excess),
        Just(Bend::Wall),
        (0..16u8).prop_map(Bend::Kind),
        (0..4u64, 0..6u64).prop_map(|(path, sequence)| Bend::Parent(path, sequence)),
        Just(Bend::ParentThroughRef),
        Just(Bend::EntityTwice),
        Just(Bend::Time),
        Just(Bend::Root),
        Just(Bend::Level),
        (1..7u8).prop_map(Bend::Body),
        Just(Bend::Type),
    ];
    (0..3usize, 0..40u64, vec(version, 1..3), vec(any::<Index>(), 0..2), vec(bend, 0..3), any::<bool>())
        .prop_map(|(author, wall, versions, refs, bends, root_fits)| Forgery {
            author,
            wall,
            versions,
            refs,
            bends,
            root_fits,
        })
}

/// The versions that exist of an entity, with the commit that brought each.
fn versions_of(twins: &Twins, made: &[Forged], entity: &Id) -> Vec<(usize, u64)> {
    let of_commit = |(at, forged): (usize, &Forged)| {
        let held = twins.replay.commit(&forged.commit)?;
        let own = held.commit.header.versions().iter().enumerate();
        Some(own.filter(|(_, v)| v.entity == *entity).map(|(i, _)| (at, i as u64)).collect::<Vec<_>>())
    };
    made.iter().enumerate().filter_map(of_commit).flatten().collect()
}

fn forge_one(twins: &Twins, authors: &mut [Author], made: &[Forged], what: &Forgery) -> Forged {
    let author = &mut authors[what.author];
    let mut spec = CommitSpec::at(1_000 + what.wall);
    for named in what.refs.iter().filter(|_| !made.is_empty()) {
        spec = spec.after(named.get(made));
    }
    for (number, kind, parents, patch) in &what.versions {
        let id = [*number; 16];
        let known = versions_of(twins, made, &id);
        let kind = if known.is_empty() { kind::CREATE } else { (*kind).max(2) };
        let leaves = forge::own([("a", decoder::Value::int(what.wall as i64))]);
        let mut version = match kind {
            kind::DELETE => VersionSpec::delete(id, "thing"),
            _ => VersionSpec::new(kind, id, "thing", decoder::State::Live(leaves)),
        };
        let mut named: Vec<_> =
            parents.iter().filter(|_| kind != kind::CREATE).map(|i| *i.get(&known)).collect();
        if named.is_empty() && kind != kind::CREATE {
            named.extend(known.last());
        }
        named.sort_unstable();
        named.dedup();
        for (at, index) in named {
            version = version.after(&made[at], index);
        }
        // over one parent whose state is here a patch says the same as some full body
        if let (true, [parent], true) = (*patch, &version.parents[..], kind == kind::UPDATE)
            && let Some(decoder::State::Live(leaves)) =
                twins.replay.version(&parent.version.version).and_then(|v| v.state.clone())
        {
            let changes = forge::changes([("m.x", decoder::Value::bool(true))], ["a"]);
            let parents = std::mem::take(&mut version.parents);
            version = VersionSpec::patch(id, "thing", leaves, &changes);
            version.parents = parents;
        }
        spec = spec.version(version);
    }
    let mut draft = author.draft(&spec);
    for bend in &what.bends {
        bend_it(&mut draft, *bend, author.log(), made);
    }
    if let (true, Ok(root), Rest::Level1(level1)) =
        (what.root_fits, twins.replay.root_of(&draft), &mut draft.header.rest)
    {
        level1.states_root = root;
    }
    author.seal(&draft)
}

fn bend_it(draft: &mut decoder::Commit, bend: Bend, log: Id, made: &[Forged]) {
    let header = &mut draft.header;
    let first = header.first;
    let own: Option<Ref> = made.iter().map(|f| f.commit).filter(|c| c.log == log).max();
    let (Rest::Level1(level1), decoder::Bodies::Level1(bodies)) = (&mut header.rest, &mut draft.bodies)
    else {
        return; // made opaque by an earlier bend
    };
    match bend {
        Bend::Excess(more) => header.excess += more,
        Bend::Wall => header.wall = header.wall.saturating_sub(30),
        Bend::Time => header.excess = decoder::MAX_TIME,
        Bend::Root => level1.states_root = [7; 32],
        Bend::EntityTwice => {
            let entity = level1.versions[0].entity;
            level1.versions.iter_mut().for_each(|version| version.entity = entity);
        }
        Bend::Kind(bits) => {
            let deletes = level1.versions[0].kind == kind::DELETE;
            if deletes == (bits == kind::DELETE) {
                level1.versions[0].kind = bits;
            }
        }
        Bend::Type => level1.versions[0].entity_type = Some("other".into()),
        Bend::Parent(path, sequence) => level1.versions[0].parents.push((path, sequence)),
        // the own log among the refs: a parent on it may be named through that
        Bend::ParentThroughRef => {
            let Some(own) = own.filter(|own| own.sequence < first) else { return };
            header.refs.push(own);
            header.refs.sort_unstable();
            header.refs.dedup();
            let at = 1 + header.refs.partition_point(|r| *r < own) as u64;
            for version in &mut level1.versions {
                for (path, _) in &mut version.parents {
                    match *path {
                        0 => *path = at,
                        p if p >= at => *path += 1,
                        _ => {}
                    }
                }
                version.parents.sort_unstable();
            }
            // the stamp as it is without that, or as one named through a ref asks for
            if first.is_multiple_of(2) {
                header.excess += 1;
            }
        }
        Bend::Level => {
            header.level = 2;
            header.rest = Rest::Newer(vec![1, 2, 3]);
            draft.bodies = decoder::Bodies::Newer(vec![0xff; 5]);
        }
        Bend::Body(tag) => {
            if level1.versions[0].kind == kind::DELETE {
                return;
            }
            bodies[0] = match tag {
                1 => decoder::Body::Full(decoder::full_body(&Leaves::new())),
                2 => decoder::Body::Patch(vec![0, 0]),
                3 => decoder::Body::Pruned([3; 16]),
                4 => decoder::Body::Withheld([4; 16]),
                5 => decoder::Body::Encrypted([5; 16], vec![1, 2, 3]),
                _ => decoder::Body::Missing,
            };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever a forger writes that frames and chains: both implementations agree on what is void, on what verifies and on all that follows.
    #[test]
    fn engine_and_decoder_agree_on_forged_histories(forgeries in vec(forgeries(), 1..24)) {
        let mut twins = Twins::new(hashes::dataset_id(DATASET));
        let mut authors = ["a", "b", "c"].map(|label| twins::author(DATASET, label));
        let mut made = Vec::new();
        for what in &forgeries {
            let forged = forge_one(&twins, &mut authors, &made, what);
            let (reference, _) = twins.offer(&forged.bytes).unwrap();
            assert_eq!(reference, forged.commit);
            made.push(forged);
        }
        twins.agree();
    }
}

// ---- imports ----

/// An imported commit: its device, the commits seen, its time, and what it puts.
type Imported = (usize, Vec<Index>, i64, Vec<(u8, Option<i64>)>);

fn imported() -> impl Strategy<Value = Imported> {
    (
        0..3usize,
        vec(any::<Index>(), 0..3),
        -5..100i64,
        vec((0..4u8, proptest::option::weighted(0.8, 0..5i64)), 1..3),
    )
}

/// Imports a history and says how many commits were new.
fn import(engine: &Engine, history: &[Imported]) -> usize {
    let mut importer = engine.importer().unwrap();
    let devices = ["one", "two", "three"].map(|name| importer.device(name).unwrap());
    let mut done: Vec<heirloom::Authored> = Vec::new();
    for (at, (device, seen, wall, puts)) in history.iter().enumerate() {
        let past: Vec<heirloom::Authored> =
            seen.iter().filter(|_| !done.is_empty()).map(|index| index.get(&done).clone()).collect();
        let past: Vec<&heirloom::Authored> = past.iter().collect();
        // a past with later commits of the device itself makes no sense
        let Ok(mut draft) = importer.commit(devices[*device], &past, Timestamp::from_millis(*wall)) else {
            continue;
        };
        draft.metadata(Metadata::new().with_message(format!("commit {at}")));
        draft.create(entity(100 + at as u8), "commit", &Content::new().with("at", at as i64)).unwrap();
        let mut written = Vec::new();
        for (number, value) in puts {
            if written.contains(number) {
                continue;
            }
            written.push(*number);
            let id = entity(*number);
            let heads = draft.heads(id).unwrap();
            match value {
                Some(value) => draft.put(id, "file", &Content::new().with("n", *value)).unwrap(),
                None if heads.iter().any(|head| head.kind() != Kind::Delete) => draft.delete(id).unwrap(),
                None => {}
            }
        }
        done.push(draft.finish().unwrap());
    }
    importer.finish().unwrap();
    done.iter().filter(|commit| commit.is_new()).count()
}

fn empty() -> Engine {
    Engine::builder().dataset(DatasetId::from_name(DATASET)).in_memory().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_second_import_adds_nothing_and_a_longer_one_only_what_is_new(
        history in vec(imported(), 1..24),
        cut: Index,
    ) {
        let (store, elsewhere) = (empty(), empty());
        let part = &history[..cut.index(history.len())];
        let first = import(&store, part);
        let root = store.log_root().unwrap();
        prop_assert_eq!(import(&store, part), 0);
        prop_assert_eq!(store.log_root().unwrap(), root);
        let more = import(&store, &history);
        let all = import(&elsewhere, &history);
        prop_assert_eq!(first + more, all);
        prop_assert_eq!(commits_of(&store), commits_of(&elsewhere), "the same bytes on another store");
        let mut twins = Twins::new(hashes::dataset_id(DATASET));
        commits_of(&store).iter().for_each(|commit| drop(twins.offer(commit).unwrap()));
        prop_assert!(twins.replay.commits().iter().all(|held| held.void.is_none() && held.verified.is_ok()));
        twins.agree();
        as_written(&store, &twins.engine);
    }
}

// ---- golden bytes, altered ----

/// The golden histories as the fuzzer's seeds hold them.
const SEEDS: [&[u8]; 3] = [
    include_bytes!("../../fuzz/seeds/decode_commit/written"),
    include_bytes!("../../fuzz/seeds/decode_commit/imported"),
    include_bytes!("../../fuzz/seeds/decode_commit/forged"),
];

#[derive(Clone, Debug)]
enum Alter {
    Set(u8),
    Flip(u8),
    Insert(u8),
    Remove,
    Cut,
}

fn alterations() -> impl Strategy<Value = Alter> {
    prop_oneof![
        any::<u8>().prop_map(Alter::Set),
        (0..8u8).prop_map(Alter::Flip),
        any::<u8>().prop_map(Alter::Insert),
        Just(Alter::Remove),
        Just(Alter::Cut),
    ]
}

fn alter(bytes: &mut Vec<u8>, at: usize, how: &Alter) {
    match how {
        Alter::Set(byte) => bytes[at] = *byte,
        Alter::Flip(bit) => bytes[at] ^= 1 << bit,
        Alter::Insert(byte) => bytes.insert(at, *byte),
        Alter::Remove => drop(bytes.remove(at)),
        Alter::Cut => bytes.truncate(at),
    }
}

/// Alters a part of a commit and leaves the lengths around it right, so that what is in it is looked at.
fn alter_part(commit: &[u8], part: usize, at: Index, how: &Alter) -> Vec<u8> {
    let Ok(mut frame) = Frame::split(commit) else { return commit.to_vec() };
    let mut parts: Vec<&mut Vec<u8>> = vec![&mut frame.header, &mut frame.bodies];
    parts.extend(frame.genesis.as_mut());
    let parts_here = parts.len();
    let bytes = &mut parts[part % parts_here];
    if !bytes.is_empty() {
        alter(bytes, at.index(bytes.len()), how);
    }
    forge::join(&frame)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Both implementations read altered bytes without a panic and agree on what they say, as they are and with hashes that fit again.
    #[test]
    fn altered_golden_commits_are_read_alike(
        seed in 0..SEEDS.len(),
        edits in vec((any::<Index>(), 0..4usize, any::<Index>(), alterations()), 1..4),
    ) {
        let mut commits: Vec<Vec<u8>> = mend::unpack(SEEDS[seed]).into_iter().map(<[u8]>::to_vec).collect();
        let count = commits.len();
        for (which, part, at, how) in &edits {
            let commit = &mut commits[which.index(count)];
            match part {
                3 if !commit.is_empty() => {
                    let at = at.index(commit.len());
                    alter(commit, at, how);
                }
                _ => *commit = alter_part(commit, *part, *at, how),
            }
        }
        mend::decode_commits(&mend::pack(&commits), hashes::dataset_id("golden"));
    }
}
