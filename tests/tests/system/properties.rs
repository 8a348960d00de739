//! The engine against the independent implementation, on histories that nobody thought of.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use heirloom::{
    Content, DatasetId, Engine, EntityId, Error, Kind, Metadata, Patch, Policy, Resolution,
    Timestamp, Value, Variant,
};
use heirloom_tests::decoder::{Frame, hashes};
use heirloom_tests::twins::{Twins, carry, commits_of};
use heirloom_tests::{forge, fuzz};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

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
        (0..2i64).prop_map(|n| Variant::new("V", Content::new().with("x", n)).into()),
        (0..2i64).prop_map(|n| Value::Atomic(Content::new().with("x", n))),
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

/// One for each device. What a policy shows decides what a write on it says; how it is written down
/// must be right all the same.
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
            .wall_clock(move || Timestamp::from_millis(clock.load(Ordering::Relaxed)))
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
            let makes_none = matches!(
                error,
                Error::Invalid(_)
                    | Error::AlreadyChanged(_)
                    | Error::Tombstone(_)
                    | Error::NotOfEntity { .. }
                    | Error::Deleted(_)
                    | Error::NotFound(_)
            );
            assert!(makes_none, "{error:?}");
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
            Err(Error::Exists { .. }) => Ok(()),
            other => other,
        };
    }
    match edit {
        Edit::Put { field, value } => {
            tx.patch(id, Patch::new().set_at(FIELDS[*field], value.clone()))
        }
        Edit::Unset { field } => tx.patch(id, Patch::new().unset_at(FIELDS[*field])),
        Edit::Replace { content } => {
            let all = Patch::new().unset("a").unset("m");
            let set = |patch: Patch, (field, value): &(usize, Value)| {
                patch.set_at(FIELDS[*field], value.clone())
            };
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

    /// Whatever devices do under whatever policies, and in whatever order their commits travel:
    /// both implementations find the same heads, contents, conflicts, roots and digests, and so do
    /// all devices once they have met.
    #[test]
    fn engine_and_decoder_agree_on_any_history(
        policies in policies(),
        acts in vec(acts(4), 1..60),
    ) {
        let devices: Vec<Device> =
            policies.into_iter().enumerate().map(|(i, policy)| Device::under(i, policy)).collect();
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
            let mut held = twins.replay.commits().iter();
            assert!(held.all(|held| held.void.is_none() && held.verified.is_ok()));
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

    /// Heads are a fold: replacing parents by children, one commit after another, leaves exactly
    /// the versions without a child.
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
                let named: Vec<_> =
                    history.iter().flat_map(|version| version.parents()).copied().collect();
                let mut childless: Vec<_> =
                    history.iter().map(|v| v.reference()).filter(|v| !named.contains(v)).collect();
                childless.sort();
                let heads: Vec<_> =
                    snapshot.heads(id).unwrap().iter().map(|v| v.reference()).collect();
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
    let unsettled = |snapshot: &heirloom::Snapshot| {
        snapshot.unsettled().unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(unsettled(&one), unsettled(&other));
}

// ---- forged histories: honest and not ----

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever a forger writes that frames and chains: both implementations agree on what is void,
    /// on what verifies and on all that follows, and the order in which it comes makes no
    /// difference.
    #[test]
    fn engine_and_decoder_agree_on_forged_histories(tape in vec(any::<u8>(), 0..400)) {
        fuzz::merge::run(&tape);
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
        let past: Vec<heirloom::Authored> = seen
            .iter()
            .filter(|_| !done.is_empty())
            .map(|index| index.get(&done).clone())
            .collect();
        let past: Vec<&heirloom::Authored> = past.iter().collect();
        // a past with later commits of the device itself makes no sense
        let Ok(mut draft) = importer.commit(devices[*device], &past, Timestamp::from_millis(*wall))
        else {
            continue;
        };
        draft.metadata(Metadata::new().with_message(format!("commit {at}")));
        draft
            .create(entity(100 + at as u8), "commit", &Content::new().with("at", at as i64))
            .unwrap();
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
                None if heads.iter().any(|head| head.kind() != Kind::Delete) => {
                    draft.delete(id).unwrap()
                }
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
        prop_assert_eq!(
            commits_of(&store),
            commits_of(&elsewhere),
            "the same bytes on another store"
        );
        let mut twins = Twins::new(hashes::dataset_id(DATASET));
        commits_of(&store).iter().for_each(|commit| drop(twins.offer(commit).unwrap()));
        let mut held = twins.replay.commits().iter();
        prop_assert!(held.all(|held| held.void.is_none() && held.verified.is_ok()));
        twins.agree();
        as_written(&store, &twins.engine);
    }
}

// ---- golden bytes, altered ----

/// The golden histories as the fuzzer's seeds hold them.
const SEEDS: [&[u8]; 3] = [
    include_bytes!("../../../fuzz/seeds/commits/written"),
    include_bytes!("../../../fuzz/seeds/commits/imported"),
    include_bytes!("../../../fuzz/seeds/commits/forged"),
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

/// Alters a part of a commit and leaves the lengths around it right, so that what is in it is
/// looked at.
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

    /// Both implementations read altered bytes without a panic and agree on what they say, as they
    /// are and with hashes that fit again.
    #[test]
    fn altered_golden_commits_are_read_alike(
        seed in 0..SEEDS.len(),
        edits in vec((any::<Index>(), 0..4usize, any::<Index>(), alterations()), 1..4),
    ) {
        let mut commits: Vec<Vec<u8>> =
            fuzz::commits::unpack(SEEDS[seed]).into_iter().map(<[u8]>::to_vec).collect();
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
        fuzz::commits::run(&fuzz::commits::pack(&commits));
    }
}
