//! What stands in a fixture: a history of commits by their place in it, and what follows from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use heirloom_tests::decoder::{Path, Value};
use serde::{Deserialize, Deserializer};

/// A version: the place of its commit in the history, and its sequence.
pub(crate) type Place = (usize, u64);

#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    /// Entity ids in hex.
    pub(crate) entities: Vec<String>,
    pub(crate) logs: Vec<Log>,
    /// In a causal order.
    pub(crate) commits: Vec<Commit>,
    pub(crate) expected: Expected,
}

#[derive(Deserialize)]
pub(crate) struct Log {
    pub(crate) label: String,
    /// In hex.
    pub(crate) nonce: String,
}

#[derive(Deserialize)]
pub(crate) struct Commit {
    pub(crate) log: usize,
    pub(crate) first: u64,
    pub(crate) wall: u64,
    pub(crate) excess: u64,
    pub(crate) refs: Vec<usize>,
    /// Not so where a version is void, or its author lied: then the states root is no hash of
    /// anything.
    pub(crate) verifies: bool,
    pub(crate) versions: Vec<Version>,
}

#[derive(Deserialize)]
pub(crate) struct Version {
    pub(crate) entity: usize,
    /// The name of a kind, or anything else for one that does not exist.
    pub(crate) kind: String,
    #[serde(rename = "type")]
    pub(crate) given_type: Option<String>,
    pub(crate) parents: Vec<Parent>,
    /// Absent where the parents stand in order.
    pub(crate) order: Option<Order>,
    pub(crate) body: Option<Body>,
    /// `None` where it is not known: in a commit that does not verify, except for deletions.
    pub(crate) state: Option<State>,
    /// The entity's type, unless void.
    pub(crate) entity_type: Option<String>,
    /// The length of the longest line of parents, unless void.
    pub(crate) r#gen: Option<u64>,
    /// By log the highest sequence of the entity in its past, unless void.
    pub(crate) clock: Option<BTreeMap<usize, u64>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Parent {
    Own {
        own: u64,
    },
    Through {
        r#ref: usize,
        seq: u64,
    },
    /// An index that no ref has.
    Nowhere {
        ref_index: u64,
        seq: u64,
    },
}

/// How parents are out of order.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Descending.
    Reversed,
    /// Ascending, each twice.
    Doubled,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Body {
    Told(Told),
    Full { full: Leaves },
    Patch { patch: Patch },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// A full body of the version's state.
    Full,
    /// Nothing that verifies is known.
    Missing,
}

#[derive(Deserialize)]
pub(crate) struct Patch {
    pub(crate) unsets: Vec<Path>,
    pub(crate) sets: Vec<(Path, Json)>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum State {
    Tombstone(Tombstone),
    Live(Leaves),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tombstone {
    Tombstone,
}

pub(crate) type Leaves = Vec<(Path, Vec<(Writer, Json)>)>;

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Writer {
    Of(Place),
    Own(Own),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Own {
    Own,
}

#[derive(Deserialize)]
pub(crate) struct Expected {
    /// Void versions, each with all rules that it breaks.
    pub(crate) void: Vec<(usize, u64, Vec<String>)>,
    /// In the order of the ids.
    pub(crate) entities: Vec<Entity>,
    pub(crate) cuts: Vec<Cut>,
}

#[derive(Deserialize)]
pub(crate) struct Entity {
    pub(crate) heads: Vec<Place>,
    /// Of an entity with heads: the type.
    #[serde(rename = "type")]
    pub(crate) entity_type: Option<String>,
    pub(crate) merged: Option<Known<Leaves>>,
    pub(crate) conflicts: Option<Known<Conflicts>>,
    /// What `auto` shows. `None` where a tie of stamps decides: log ids, which differ between
    /// implementations, settle it.
    #[serde(default, deserialize_with = "present")]
    pub(crate) view: Option<Option<Known<Shown>>>,
}

/// One value a leaf.
pub(crate) type Shown = Vec<(Path, Json)>;

/// What follows from the contents of heads.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Known<T> {
    /// The content of a head does not verify.
    Absent(Absent),
    Here(T),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Absent {
    Absent,
}

impl<T> Known<T> {
    pub(crate) fn here(&self) -> Option<&T> {
        match self {
            Self::Absent(_) => None,
            Self::Here(known) => Some(known),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Conflicts {
    pub(crate) paths: Vec<Path>,
    pub(crate) tombstone_beside: bool,
}

/// A causally closed part of the history.
#[derive(Deserialize)]
pub(crate) struct Cut {
    /// Its last commit of each log.
    pub(crate) ends: Vec<usize>,
    /// By entity.
    pub(crate) heads: Vec<Vec<Place>>,
}

/// A value by its kind.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    /// As text, so that it can be infinite or NaN.
    Float(String),
    Text(String),
    /// In hex.
    Bytes(String),
    EmptyMap,
    Array(Vec<Json>),
}

impl Json {
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Null => Value::null(),
            Self::Bool(value) => Value::bool(*value),
            Self::Int(value) => Value::int(*value),
            Self::Float(text) => Value::float(text.parse().expect("a float")),
            Self::Text(text) => Value::text(text),
            Self::Bytes(text) => Value::bytes(&hex(text)),
            Self::EmptyMap => Value::map(&[]),
            Self::Array(values) => {
                Value::array(&values.iter().map(Self::value).collect::<Vec<_>>())
            }
        }
    }
}

/// The bytes that hex digits stand for.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(pair).collect()
}

/// Tells what is null from what is not there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// All fixtures, by name.
pub(crate) fn all() -> Vec<Fixture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/model");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("fixtures").map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 30, "fixtures are missing");
    let read = |file: &PathBuf| {
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap_or_else(|e| panic!("{file:?}: {e}"))
    };
    files.iter().map(read).collect()
}
