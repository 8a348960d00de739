//! An engine that received a history, and what it says of it in the words of the decoder.

use std::collections::BTreeMap;

use heirloom::replication::{Ingested, VoidReason};
use heirloom::{
    ChainPrefix, Clock, ClockEntry, Conflict, Content, Engine, EntityId, Error, FieldConflict,
    LogId, Side, Timestamp, Value, VersionRef,
};
use heirloom_tests::decoder::{Id, Path, Ref};

use super::chance::Chance;
use super::fixture::{Json, hex};
use super::history::{DATASET, History};

/// A store that wrote nothing, and what its ingests reported.
pub(crate) struct Observer {
    pub(crate) engine: Engine,
    pub(crate) report: Ingested,
}

impl Observer {
    /// Takes all commits in, in this order, in batches of random sizes; some of what is there
    /// already comes again.
    pub(crate) fn of(history: &History, order: &[usize], chance: &mut Chance) -> Self {
        let engine = Engine::builder().label("observer").dataset_name(DATASET).in_memory().unwrap();
        let mut report = Ingested::default();
        let mut taken = 0;
        while taken < order.len() {
            let again = chance.below(1 + taken.min(3));
            let end = order.len().min(taken + 1 + chance.below(8));
            let batch: Vec<&[u8]> = order[taken - again..end]
                .iter()
                .map(|&at| &history.commits[at].bytes[..])
                .collect();
            let ingested = engine.replication().ingest(&batch).unwrap();
            assert_eq!((ingested.added, ingested.skipped), ((end - taken) as u64, again as u64));
            report.add(ingested);
            taken = end;
        }
        Self { engine, report }
    }

    /// The commit that arrived, or was written, last.
    pub(crate) fn last_commit(&self) -> Vec<u8> {
        let replication = self.engine.replication();
        let lsn = replication.position().unwrap().lsn;
        let mut batch =
            replication.commits(lsn.before().unwrap(), lsn, &|_, _, _| true, usize::MAX).unwrap();
        batch.commits.pop().expect("a commit").bytes
    }

    /// Void versions, each with the rule that it breaks.
    pub(crate) fn voids(&self) -> BTreeMap<Ref, &'static str> {
        self.report.voids.iter().map(|void| (to_ref(&void.version), rule(void.reason))).collect()
    }
}

fn rule(reason: VoidReason) -> &'static str {
    match reason {
        VoidReason::Level => "level",
        VoidReason::EntityTwice => "entity twice",
        VoidReason::Time => "time",
        VoidReason::Wall => "wall",
        VoidReason::Stamp => "stamp",
        VoidReason::Parent => "parent",
        VoidReason::Kind => "kind",
        _ => "a rule that no fixture knows",
    }
}

pub(crate) fn entity_id(id: &Id) -> EntityId {
    EntityId::from_bytes(*id)
}

pub(crate) fn to_ref(version: &VersionRef) -> Ref {
    Ref {
        log: *version.log.as_bytes(),
        sequence: version.sequence.get(),
        prefix: *version.prefix.as_bytes(),
    }
}

pub(crate) fn version_ref(of: &Ref) -> VersionRef {
    let prefix = ChainPrefix::from_bytes(of.prefix);
    VersionRef { log: LogId::from_bytes(of.log), sequence: of.sequence.into(), prefix }
}

/// The refs of versions, ascending.
pub(crate) fn sorted<'a>(versions: impl IntoIterator<Item = &'a heirloom::Version>) -> Vec<Ref> {
    let mut refs: Vec<Ref> =
        versions.into_iter().map(|version| to_ref(&version.reference())).collect();
    refs.sort_unstable();
    refs
}

/// The clock of a cut that ends with these commits.
pub(crate) fn clock(history: &History, ends: &[usize]) -> Clock {
    let entry = |&end: &usize| {
        let forged = &history.commits[end];
        let stamp = Timestamp::from_millis(forged.stamp.try_into().expect("a time"));
        (
            LogId::from_bytes(forged.commit.log),
            ClockEntry { sequence: forged.commit.sequence.into(), stamp },
        )
    };
    ends.iter().map(entry).collect()
}

/// A result, where content that is not here is no failure.
pub(crate) fn unless_absent<T>(result: heirloom::Result<T>) -> Option<T> {
    match result {
        Ok(found) => Some(found),
        Err(Error::Absent(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Leaves of one value each as the map that the application gets.
pub(crate) fn content<'a>(leaves: impl IntoIterator<Item = (&'a Path, &'a Json)>) -> Content {
    leaves
        .into_iter()
        .fold(Content::new(), |content, (path, json)| with(content, path, value(json)))
}

fn with(mut content: Content, path: &[String], value: Value) -> Content {
    let (key, below) = path.split_first().expect("a path has a key");
    let value = match (below.is_empty(), content.remove(key)) {
        (true, _) => value,
        (false, Some(Value::Map(map))) => Value::Map(with(map, below, value)),
        (false, _) => Value::Map(with(Content::new(), below, value)),
    };
    content.with(key, value)
}

pub(crate) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Int(value) => Value::Int(*value),
        Json::Float(text) => Value::Float(text.parse().expect("a float")),
        Json::Text(text) => Value::Text(text.clone()),
        Json::Bytes(text) => Value::Bytes(hex(text)),
        Json::EmptyMap => Value::Map(Content::new()),
        Json::Array(values) => Value::Array(values.iter().map(value).collect()),
    }
}

/// The paths that are in conflict, each with who wrote what.
pub(crate) fn sides(open: Option<&Conflict>) -> BTreeMap<Path, Vec<(Ref, Value)>> {
    let side = |side: &Side| (to_ref(&side.version), side.value.clone());
    let field =
        |field: &FieldConflict| (field.path.clone(), by_version(field.sides.iter().map(side)));
    open.iter().flat_map(|c| &c.fields).map(field).collect()
}

/// Values in the order of the versions that wrote them.
pub(crate) fn by_version(sides: impl Iterator<Item = (Ref, Value)>) -> Vec<(Ref, Value)> {
    let mut sides: Vec<_> = sides.collect();
    sides.sort_by_key(|(version, _)| *version);
    sides
}
