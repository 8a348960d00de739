//! An engine and a [`Replay`] side by side, given the same bytes: two implementations of one
//! format, each the other's judge.

use std::collections::{BTreeMap, BTreeSet};

use heirloom::replication::Ingested;
use heirloom::{
    Change, ChangeKind, Clock, Cursor, DatasetId, Engine, Entity, EntityId, Error, LogId, Lsn,
    Value, VersionRef,
};

use crate::decoder::{self, Id, Leaves, Path, Ref, Refusal, Replay, State, Version, kind};
use crate::forge::Author;

/// All commits of an engine, in arrival order, as they travel.
pub fn commits_of(engine: &Engine) -> Vec<Vec<u8>> {
    let batch = engine
        .replication()
        .commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)
        .expect("a sound store");
    batch.commits.into_iter().map(|commit| commit.bytes).collect()
}

/// Gives an engine one commit.
pub fn ingest(engine: &Engine, commit: &[u8]) -> heirloom::Result<Ingested> {
    engine.replication().ingest(&[commit])
}

/// Carries all that `from` has to `to`.
pub fn carry(from: &Engine, to: &Engine) {
    let commits = commits_of(from);
    let commits: Vec<&[u8]> = commits.iter().map(Vec::as_slice).collect();
    to.replication().ingest(&commits).expect("honest commits in causal order");
}

/// An engine in memory that belongs to a dataset and has written nothing.
pub fn reader(dataset: Id) -> Engine {
    Engine::builder().dataset(DatasetId::from_bytes(dataset)).in_memory().expect("memory")
}

/// A version ref in the engine's words.
pub fn version_ref(of: Ref) -> VersionRef {
    let prefix = heirloom::ChainPrefix::from_bytes(of.prefix);
    VersionRef { log: LogId::from_bytes(of.log), sequence: of.sequence.into(), prefix }
}

fn as_ref(of: VersionRef) -> Ref {
    Ref { log: *of.log.as_bytes(), sequence: of.sequence.get(), prefix: *of.prefix.as_bytes() }
}

/// A value as the decoder prints it.
pub fn print(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Null => "null".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("x\"{}\"", crate::hex::of(bytes)),
        Value::Timestamp(time) => format!("@{}", time.as_millis()),
        Value::Array(items) => format!("[{}]", list(items.iter().map(print).collect())),
        Value::Map(map) => {
            format!(
                "{{{}}}",
                list(map.iter().map(|(key, item)| format!("{key:?}: {}", print(item))).collect())
            )
        }
        Value::Variant(variant) => format!("{}({})", variant.name(), print(variant.content())),
        Value::Atomic(fields) => format!("#{}", print(&Value::Map(fields.clone()))),
        _ => "a value that only the engine knows".into(),
    }
}

/// What is shown of an entity, leaf by leaf, printed.
pub fn print_content(content: &heirloom::Content) -> BTreeMap<Path, String> {
    fn walk(at: &Path, value: &Value, out: &mut BTreeMap<Path, String>) {
        match value {
            Value::Map(map) if !map.is_empty() => {
                map.iter().for_each(|(key, item)| {
                    walk(&[&at[..], std::slice::from_ref(key)].concat(), item, out)
                });
            }
            _ => drop(out.insert(at.clone(), print(value))),
        }
    }
    let mut out = BTreeMap::new();
    content.iter().for_each(|(key, value)| walk(&vec![key.clone()], value, &mut out));
    out
}

/// The same commits, offered to both.
pub struct Twins {
    /// The engine.
    pub engine: Engine,
    /// The independent implementation.
    pub replay: Replay,
    dataset: Id,
    /// What both took, in order of arrival.
    taken: Vec<(Ref, Vec<u8>)>,
}

impl Twins {
    /// Both empty, of this dataset.
    pub fn new(dataset: Id) -> Self {
        Self { engine: reader(dataset), replay: Replay::new(dataset), dataset, taken: Vec::new() }
    }

    /// Offers a commit to both and checks that both take it or neither does, and that both find the
    /// same in it.
    pub fn offer(&mut self, commit: &[u8]) -> Result<(Ref, Ingested), (Refusal, Error)> {
        let held = self.replay.commits().len();
        match (self.replay.add(commit), ingest(&self.engine, commit)) {
            (Ok(reference), Ok(report)) => {
                assert_eq!(report.added + report.skipped + report.healed, 1);
                assert_eq!(
                    report.added,
                    (self.replay.commits().len() - held) as u64,
                    "new or known"
                );
                if report.added == 1 {
                    self.taken.push((reference, commit.to_vec()));
                    self.same_report(&reference, &report);
                }
                if report.healed == 1 {
                    self.heal(&reference, commit);
                }
                Ok((reference, report))
            }
            (Err(refusal), Err(error)) => {
                let blames_the_sender =
                    matches!(error, Error::Refused(_) | Error::OutOfOrder { .. });
                assert!(
                    blames_the_sender || matches!(error, Error::WrongDataset { .. }),
                    "{error:?}"
                );
                Err((refusal, error))
            }
            (decoder, engine) => panic!("the decoder says {decoder:?}, the engine {engine:?}"),
        }
    }

    /// Bodies came that verify, in the place of some that did not. Who has them would send what
    /// follows again, too, where it did not verify for want of them.
    fn heal(&mut self, reference: &Ref, commit: &[u8]) {
        let at = self.taken.iter().position(|(taken, _)| taken == reference).expect("it is known");
        self.taken[at].1 = commit.to_vec();
        self.replay = Replay::new(self.dataset);
        for (reference, bytes) in &self.taken {
            assert_eq!(self.replay.add(bytes), Ok(*reference), "as before");
        }
        assert!(
            self.replay.commit(reference).is_some_and(|held| held.verified.is_ok()),
            "it verifies now"
        );
        for (_, bytes) in &self.taken[at + 1..] {
            let again = ingest(&self.engine, bytes).expect("it is known");
            assert_eq!(again.skipped + again.healed, 1);
        }
    }

    fn same_report(&self, reference: &Ref, report: &Ingested) {
        let held = self.replay.commit(reference).expect("was added a moment ago");
        assert_eq!(report.versions, held.commit.header.count);
        assert_eq!(report.unverified == 0, held.verified.is_ok(), "{:?}", held.verified);
        let mut void: BTreeSet<Ref> =
            report.voids.iter().map(|void| as_ref(void.version)).collect();
        if held.commit.header.level > 1 {
            // opaque: the engine reports the first version for all
            assert_eq!(
                void.pop_first().map(|version| version.sequence),
                Some(held.commit.header.first)
            );
        }
        let of_commit = |version: &&Version| version.reference().prefix == reference.prefix;
        let expected = self
            .replay
            .versions()
            .iter()
            .filter(of_commit)
            .filter(|version| version.void.is_some());
        assert_eq!(void, expected.map(Version::reference).collect());
    }

    /// Checks that everything that can be read is the same on both, that the engine verifies, and
    /// that what it passes on says the same again.
    pub fn agree(&self) {
        let snapshot = self.engine.snapshot().expect("open");
        assert_eq!(snapshot.log_root().unwrap().as_bytes(), &self.replay.log_root(), "log roots");
        assert_eq!(
            snapshot.state_digest().unwrap().as_bytes(),
            &self.replay.state_digest(),
            "state digests"
        );
        self.same_clock(&snapshot.clock().unwrap());
        let known: Vec<Id> =
            snapshot.entity_ids().unwrap().map(|id| *id.unwrap().as_bytes()).collect();
        assert_eq!(known, self.replay.entities().collect::<Vec<_>>());
        known.iter().for_each(|entity| self.same_entity(&snapshot, entity));
        self.replay.versions().iter().for_each(|version| self.same_version(&snapshot, version));
        self.same_changes();
        let found = self.engine.verify().unwrap();
        assert!(found.is_clean(), "{:?}", found.problems);
        self.passed_on_it_says_the_same();
    }

    fn same_clock(&self, clock: &Clock) {
        let found = clock.iter().map(|(log, entry)| (*log.as_bytes(), entry.sequence.get()));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), self.replay.clock());
    }

    fn same_entity(&self, snapshot: &heirloom::Snapshot, bytes: &Id) {
        let id = EntityId::from_bytes(*bytes);
        let heads = snapshot.heads(id).unwrap();
        let found: BTreeSet<Ref> = heads.iter().map(|head| as_ref(head.reference())).collect();
        let expected = self.replay.heads(bytes);
        assert_eq!(found, expected.iter().map(|head| head.reference()).collect(), "heads of {id}");
        let read = snapshot.conflict(id).and_then(|open| Ok((open, snapshot.get_any(id)?)));
        let (open, entity, leaves) = match (read, self.replay.merged(bytes)) {
            (Err(Error::Absent(_)), None) => return,
            (Ok((open, Some(entity))), Some(leaves)) => (open, entity, leaves),
            other => panic!("{id}: {other:?}"),
        };
        let conflicts = self.replay.conflicts(bytes).unwrap();
        assert_eq!(entity.is_deletion_conflict(), conflicts.deletion, "{id}");
        let mut sides = BTreeMap::new();
        for field in open.iter().flat_map(|open| &open.fields) {
            let side = |side: &heirloom::Side| {
                (as_ref(side.version), side.stamp.as_millis() as u64, print(&side.value))
            };
            sides.insert(field.path.clone(), field.sides.iter().map(side).collect::<BTreeSet<_>>());
        }
        let torn = decoder::torn(&leaves);
        let entries = |path: &Path| {
            let below = |p: &&Path| *p != path && p.starts_with(path);
            let holds = leaves.keys().any(|p| below(&p));
            let own = leaves.get(path).into_iter().flatten();
            let own = own.filter(|(_, value)| !holds || !value.is_empty_map());
            let mut out: BTreeSet<_> =
                own.map(|(writer, value)| side(writer, value.to_string())).collect();
            if torn.contains(path) {
                out.extend(inside(&leaves, path));
            }
            out
        };
        assert_eq!(
            sides,
            conflicts.paths.iter().map(|path| (path.clone(), entries(path))).collect(),
            "conflicts of {id}"
        );
        let live = expected.iter().all(|head| head.state != Some(State::Tombstone));
        assert_eq!(!entity.is_deleted(), live, "{id}");
        if live {
            same_leaves(&print_content(&entity.content()), &leaves);
        }
        for field in open.iter().flat_map(|open| &open.fields) {
            assert_eq!(field.removed, torn.contains(&field.path), "{id}: {:?}", field.path);
        }
        let types = expected.iter().map(|head| head.entity_type.as_str());
        assert!(types.collect::<BTreeSet<_>>().contains(entity.entity_type()));
    }

    fn same_version(&self, snapshot: &heirloom::Snapshot, version: &Version) {
        let reference = version_ref(version.reference());
        if version.void.is_some() {
            return;
        }
        let found = snapshot.version(&reference).unwrap();
        assert_eq!(
            (found.entity().as_bytes(), found.kind() as u8),
            (&version.entity, version.kind)
        );
        assert_eq!(found.stamp().as_millis() as u64, version.writer.stamp);
        let parents: BTreeSet<Ref> = found.parents().iter().map(|parent| as_ref(*parent)).collect();
        let expected = version.parents.iter().map(|&at| self.replay.versions()[at].reference());
        assert_eq!(parents, expected.collect());
        match (snapshot.content_at(&reference), &version.state) {
            (Ok(None), Some(State::Tombstone)) | (Err(Error::Absent(_)), None) => {}
            (Ok(Some(content)), Some(State::Live(leaves))) => {
                same_leaves(&print_content(&content), leaves)
            }
            (found, expected) => panic!("{reference}: {found:?}, not {expected:?}"),
        }
    }

    /// The change log is all that has an effect, in the order of arrival.
    fn same_changes(&self) {
        let changes: Vec<Change> = self.engine.changes(Cursor::START).map(Result::unwrap).collect();
        let expected: Vec<&Version> =
            self.replay.versions().iter().filter(|v| v.void.is_none()).collect();
        let found: Vec<Ref> = changes.iter().map(|change| as_ref(change.version())).collect();
        assert_eq!(found, expected.iter().map(|version| version.reference()).collect::<Vec<_>>());
        for (change, version) in changes.iter().zip(expected) {
            let kind = match version.kind {
                kind::CREATE => ChangeKind::Create,
                kind::UPDATE if version.parents.len() > 1 => ChangeKind::Merge,
                kind::UPDATE => ChangeKind::Update,
                kind::DELETE => ChangeKind::Delete,
                _ => ChangeKind::Restore,
            };
            assert_eq!((change.kind(), change.entity().as_bytes()), (kind, &version.entity));
            assert!(!change.is_local());
            same_shown(change.after(), version.state.as_ref());
            if let [parent] = version.parents[..] {
                same_shown(change.before(), self.replay.versions()[parent].state.as_ref());
            }
        }
    }

    fn passed_on_it_says_the_same(&self) {
        let mut next = Replay::new(self.dataset);
        for commit in commits_of(&self.engine) {
            let reference = next.add(&commit).expect("what is passed on is a commit");
            let (ours, theirs) =
                (self.replay.commit(&reference).unwrap(), next.commit(&reference).unwrap());
            assert_eq!(ours.commit.header, theirs.commit.header);
            assert_eq!(ours.commit.trailer, theirs.commit.trailer);
            assert_eq!(ours.verified.is_ok(), theirs.verified.is_ok());
        }
        assert_eq!(next.log_root(), self.replay.log_root());
        for version in self.replay.versions() {
            assert_eq!(next.version(&version.reference()).map(|v| &v.state), Some(&version.state));
        }
    }
}

/// What a change shows of a version's state.
fn same_shown(shown: heirloom::Result<Option<Entity>>, state: Option<&State>) {
    match (shown, state) {
        (Ok(None), Some(State::Tombstone)) | (Err(Error::Absent(_)), None) => {}
        (Ok(Some(entity)), Some(State::Live(leaves))) => {
            same_leaves(&print_content(&entity.content()), leaves)
        }
        (found, expected) => panic!("{found:?}, not {expected:?}"),
    }
}

/// Who says what: a version, its stamp, and the value printed.
type Said = (Ref, u64, String);

fn side(writer: &Option<decoder::Writer>, value: String) -> Said {
    let writer = writer.expect("merged leaves name their writers");
    (writer.version, writer.stamp, value)
}

/// What each writer wrote inside of a removed entry, printed as the map that it makes.
fn inside(leaves: &Leaves, top: &Path) -> BTreeSet<Said> {
    let mut by_writer: BTreeMap<_, Vec<(&[String], String)>> = BTreeMap::new();
    for (path, entries) in leaves.iter().filter(|(p, _)| *p != top && p.starts_with(top)) {
        for (writer, value) in entries {
            by_writer.entry(*writer).or_default().push((&path[top.len()..], value.to_string()));
        }
    }
    by_writer.into_iter().map(|(writer, own)| side(&writer, print_map(&own))).collect()
}

/// Leaves in order of their paths as the map that they make.
fn print_map(leaves: &[(&[String], String)]) -> String {
    let mut fields: BTreeMap<&String, Vec<(&[String], String)>> = BTreeMap::new();
    for (path, value) in leaves {
        fields.entry(&path[0]).or_default().push((&path[1..], value.clone()));
    }
    let field = |(key, mut own): (&String, Vec<(&[String], String)>)| {
        // a map that holds something is told by that
        let holds = own.len() > 1;
        own.retain(|(rest, _)| !holds || !rest.is_empty());
        let value = if own[0].0.is_empty() { own.remove(0).1 } else { print_map(&own) };
        format!("{key:?}: {value}")
    };
    format!("{{{}}}", fields.into_iter().map(field).collect::<Vec<_>>().join(", "))
}

/// Every leaf that stands alone is shown; of several values of a leaf one; of clashing paths some;
/// a map by what is in it, and nothing of an entry that one removed.
fn same_leaves(shown: &BTreeMap<Path, String>, leaves: &Leaves) {
    let torn = decoder::torn(leaves);
    let is_orphan = |path: &Path| torn.iter().any(|top| top != path && path.starts_with(top));
    for path in shown.keys() {
        assert!(leaves.contains_key(path) && !is_orphan(path), "{path:?} is shown, but not there");
    }
    let leaves: Leaves =
        leaves.iter().filter(|(p, _)| !is_orphan(p)).map(|(p, e)| (p.clone(), e.clone())).collect();
    let leaves = &leaves;
    for (path, entries) in leaves {
        let related =
            |other: &&Path| *other != path && (other.starts_with(path) || path.starts_with(other));
        match shown.get(path) {
            Some(value) => {
                assert!(
                    entries.values().any(|entry| entry.to_string() == *value),
                    "{path:?} {value}"
                );
            }
            None => assert!(leaves.keys().any(|other| related(&other)), "{path:?} is not shown"),
        }
    }
}

/// A forged log in the dataset with this name.
pub fn author(dataset: &str, label: &str) -> Author {
    Author::new(decoder::hashes::dataset_id(dataset), label, [label.as_bytes()[0]; 16])
}
