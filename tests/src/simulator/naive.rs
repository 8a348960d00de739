//! What an entity is, by the plainest means: no encoding, no index, no clocks; what a version has seen is a set of versions.

use std::collections::{BTreeMap, BTreeSet};

use heirloom::{ChainPrefix, Content, LogId, Timestamp, Value, VersionRef};

/// The keys that lead to a leaf.
pub(crate) type Path = Vec<String>;

/// A content, leaf by leaf.
pub(crate) type Leaves = BTreeMap<Path, Value>;

/// Who wrote a value, in the order of writes.
pub(crate) type Writer = (Timestamp, VersionRef);

/// Stands for the version that is being written; after all others.
pub(crate) const OWN: Writer = (
    Timestamp::from_millis(i64::MAX),
    VersionRef {
        log: LogId::from_bytes([0xff; 16]),
        sequence: u64::MAX,
        prefix: ChainPrefix::from_bytes([0xff; 16]),
    },
);

/// A field that nobody has decided: its path, and who says what, the last write first.
pub(crate) type Conflict = (Path, Vec<(VersionRef, Value)>);

pub(crate) fn path(dotted: &str) -> Path {
    dotted.split('.').map(str::to_owned).collect()
}

pub(crate) fn related(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// The leaves of a content: scalars, arrays, empty maps.
pub(crate) fn leaves(content: &Content) -> Leaves {
    let mut out = Leaves::new();
    for (name, value) in content {
        leaves_at(vec![name.clone()], value, &mut |path, value| drop(out.insert(path, value)));
    }
    out
}

/// The leaves that setting a value at a path sets.
pub(crate) fn leaves_at(path: Path, value: &Value, out: &mut impl FnMut(Path, Value)) {
    match value {
        Value::Map(map) if !map.is_empty() => {
            for (key, below) in map {
                let mut path = path.clone();
                path.push(key.clone());
                leaves_at(path, below, out);
            }
        }
        leaf => out(path, leaf.clone()),
    }
}

pub(crate) fn is_empty_map(value: &Value) -> bool {
    matches!(value, Value::Map(map) if map.is_empty())
}

/// What a write said, without what was said already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) unsets: Vec<Path>,
    pub(crate) sets: Vec<Path>,
}

impl Said {
    /// Whether it took the place of what stood at `path`.
    pub(crate) fn replaces(&self, path: &Path) -> bool {
        self.unsets.iter().any(|u| path.starts_with(u)) || self.sets.iter().any(|s| related(s, path))
    }

    pub(crate) fn add(&mut self, later: Said) {
        self.unsets.extend(later.unsets);
        self.sets.extend(later.sets);
    }
}

/// Every leaf with its values and who wrote them.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct State(pub(crate) BTreeMap<Path, BTreeMap<Writer, Value>>);

impl State {
    /// An entry survives if each head has it or has not seen its writer. Heads: their states, and what they have seen.
    pub(crate) fn merge(heads: &[(&State, &BTreeSet<VersionRef>)]) -> State {
        let mut out = State::default();
        for (head, _) in heads {
            for (path, entries) in &head.0 {
                for (writer, value) in entries {
                    let has =
                        |other: &State| other.0.get(path).is_some_and(|found| found.contains_key(writer));
                    if heads.iter().all(|(other, seen)| has(other) || !seen.contains(&writer.1)) {
                        out.0.entry(path.clone()).or_default().insert(*writer, value.clone());
                    }
                }
            }
        }
        out
    }

    /// Unsets, then sets, each in the place of what is at, below and above it; what is the only value already is not said again.
    pub(crate) fn patch(&mut self, unsets: &[Path], sets: &Leaves) -> Said {
        let mut said = Said::default();
        for unset in unsets {
            if self.0.keys().any(|p| p.starts_with(unset)) {
                said.unsets.push(unset.clone());
            }
        }
        self.0.retain(|p, _| !said.unsets.iter().any(|u| p.starts_with(u)));
        let before = self.clone();
        for (path, value) in sets {
            let near: Vec<_> = before.0.iter().filter(|(p, _)| related(p, path)).collect();
            if matches!(&near[..], [(p, entries)] if *p == path && entries.values().all(|v| v == value)) {
                continue;
            }
            self.0.retain(|p, _| !related(p, path));
            self.0.insert(path.clone(), [(OWN, value.clone())].into());
            said.sets.push(path.clone());
        }
        said
    }

    /// The whole content said anew.
    pub(crate) fn replace(&mut self, leaves: &Leaves) -> Said {
        let gone: Vec<Path> = self.0.keys().filter(|p| !leaves.contains_key(*p)).cloned().collect();
        self.patch(&gone, leaves)
    }

    /// Entries that the other has and this one has not.
    pub(crate) fn lacks(&self, other: &State) -> BTreeSet<(Path, Writer)> {
        let all = other.0.iter().flat_map(|(p, entries)| entries.keys().map(move |w| (p.clone(), *w)));
        all.filter(|(p, w)| !self.0.get(p).is_some_and(|entries| entries.contains_key(w))).collect()
    }

    /// The version that was being written is known now.
    pub(crate) fn written_by(&mut self, writer: Writer) {
        for entries in self.0.values_mut() {
            if let Some(value) = entries.remove(&OWN) {
                entries.insert(writer, value);
            }
        }
    }

    /// One value a leaf: the last write. Of paths that clash the newest, then what fits; empty maps give way.
    pub(crate) fn shown(&self) -> Leaves {
        let last = |entries: &BTreeMap<Writer, Value>| {
            entries.last_key_value().map(|(w, v)| (!is_empty_map(v), *w, v.clone()))
        };
        let mut candidates: Vec<_> = self
            .0
            .iter()
            .filter_map(|(p, entries)| last(entries).map(|(solid, w, v)| (solid, w, p, v)))
            .collect();
        candidates.sort_by_key(|(solid, writer, path, _)| std::cmp::Reverse((*solid, *writer, *path)));
        let mut out = Leaves::new();
        for (_, _, path, value) in candidates {
            if !out.keys().any(|p| related(p, path)) {
                out.insert(path.clone(), value);
            }
        }
        out
    }

    /// Leaves with different values, and leaves of which one lies above another.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        let solid = |p: &Path| self.0[p].values().any(|v| !is_empty_map(v));
        let clashes = |p: &Path| solid(p) && self.0.keys().any(|q| q != p && related(p, q) && solid(q));
        let differ = |entries: &BTreeMap<Writer, Value>| {
            entries.values().zip(entries.values().skip(1)).any(|(a, b)| a != b)
        };
        let open = self.0.iter().filter(|(p, entries)| differ(entries) || clashes(p));
        open.map(|(p, entries)| {
            (p.clone(), entries.iter().rev().map(|((_, r), v)| (*r, v.clone())).collect())
        })
        .collect()
    }

    /// The leaves that one version wrote.
    pub(crate) fn of(&self, writer: Writer) -> impl Iterator<Item = (&Path, &Value)> {
        self.0.iter().filter_map(move |(p, entries)| Some((p, entries.get(&writer)?)))
    }
}
