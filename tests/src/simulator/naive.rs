//! What an entity is, by the plainest means: no encoding, no index, no clocks; what a version has
//! seen is a set of versions.

use std::collections::{BTreeMap, BTreeSet};

use heirloom::{ChainPrefix, Content, LogId, Sequence, Timestamp, Value, VersionRef};

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
        sequence: Sequence::END,
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

/// Puts a value into nested maps, made where there are none.
fn put_in(map: &mut Value, keys: &[String], value: &Value) {
    let Value::Map(content) = map else { return };
    match keys {
        [] => {}
        [last] => drop(content.insert(last, value.clone())),
        [first, below @ ..] => {
            let mut inner = content.remove(first).unwrap_or_else(|| Value::Map(Content::new()));
            put_in(&mut inner, below, value);
            content.insert(first, inner);
        }
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
    /// Entries that somebody had removed, in which it wrote: what was left of them went.
    pub(crate) torn: Vec<Path>,
}

impl Said {
    /// Whether it took the place of what stood at `path`.
    pub(crate) fn replaces(&self, path: &Path) -> bool {
        self.unsets.iter().chain(&self.torn).any(|u| path.starts_with(u))
            || self.sets.iter().any(|s| related(s, path))
    }

    /// Whether it said anything at, above or below `path`.
    pub(crate) fn is_near(&self, path: &Path) -> bool {
        self.unsets.iter().chain(&self.torn).chain(&self.sets).any(|said| related(said, path))
    }

    pub(crate) fn add(&mut self, later: Said) {
        self.unsets.extend(later.unsets);
        self.sets.extend(later.sets);
        self.torn.extend(later.torn);
    }
}

/// What is to be removed so that of these leaves others are left: the topmost that goes with each,
/// so that a map of which nothing is left goes and one that is empty stays.
pub(crate) fn removed<'p>(before: impl Iterator<Item = &'p Path>, left: &Leaves) -> Vec<Path> {
    let stands = |path: &[String]| left.keys().any(|p| p.starts_with(path));
    let gone = before.filter(|path| !stands(path));
    let tops = gone.map(|path| {
        let top = (1..=path.len()).find(|keys| !stands(&path[..*keys]));
        path[..top.unwrap_or(path.len())].to_vec()
    });
    tops.collect()
}

/// Every leaf with its values and who wrote them.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct State(pub(crate) BTreeMap<Path, BTreeMap<Writer, Value>>);

impl State {
    /// An entry survives if each head has it or has not seen its writer. Heads: their states, and
    /// what they have seen.
    pub(crate) fn merge(heads: &[(&State, &BTreeSet<VersionRef>)]) -> State {
        let mut out = State::default();
        for (head, _) in heads {
            for (path, entries) in &head.0 {
                for (writer, value) in entries {
                    let has = |other: &State| {
                        other.0.get(path).is_some_and(|found| found.contains_key(writer))
                    };
                    if heads.iter().all(|(other, seen)| has(other) || !seen.contains(&writer.1)) {
                        out.0.entry(path.clone()).or_default().insert(*writer, value.clone());
                    }
                }
            }
        }
        out
    }

    /// Whether a map stands at a path, whatever else does.
    fn is_map(&self, path: &[String]) -> bool {
        self.0.get(path).is_some_and(|entries| entries.values().any(is_empty_map))
    }

    /// The topmost paths below which something lies although no map stands there: one removed the
    /// entry, another wrote inside.
    pub(crate) fn torn(&self) -> BTreeSet<Path> {
        let top = |path: &Path| (1..path.len()).find(|keys| !self.is_map(&path[..*keys]));
        self.0.keys().filter_map(|path| top(path).map(|keys| path[..keys].to_vec())).collect()
    }

    /// Unsets, then sets, each in the place of what is at and below it, of scalars above it, and of
    /// what is left of a removed entry around it. What is the only value already is not said again;
    /// to empty a map is to remove what is in it.
    pub(crate) fn patch(&mut self, unsets: &[Path], sets: &Leaves) -> Said {
        let mut said = Said::default();
        for unset in unsets {
            if self.0.keys().any(|p| p.starts_with(unset)) {
                said.unsets.push(unset.clone());
            }
        }
        self.0.retain(|p, _| !said.unsets.iter().any(|u| p.starts_with(u)));
        let before = self.clone();
        let torn = before.torn();
        for (path, value) in sets {
            let stands =
                before.0.get(path).is_some_and(|entries| entries.values().all(|v| v == value));
            let solid = |p: &Path| !before.0[p].values().all(is_empty_map);
            let clashes = before.0.keys().any(|p| {
                let below = before.0.keys().any(|q| q != p && q.starts_with(p));
                path.starts_with(p) && solid(p) && below
            });
            if stands && !clashes && !torn.iter().any(|top| path.starts_with(top)) {
                let inside = before.0.keys().filter(|p| *p != path && p.starts_with(path));
                let inside: BTreeSet<Path> = inside.map(|p| p[..=path.len()].to_vec()).collect();
                self.0.retain(|p, _| !inside.iter().any(|gone| p.starts_with(gone)));
                said.unsets.extend(inside);
                continue;
            }
            for top in torn.iter().filter(|top| path.starts_with(top)) {
                // what this patch wrote itself is not left of it
                self.0.retain(|p, entries| !p.starts_with(top) || entries.contains_key(&OWN));
                said.torn.push(top.clone());
            }
            self.0.retain(|p, _| !p.starts_with(path));
            for keys in 1..path.len() {
                let above = self.0.entry(path[..keys].to_vec()).or_default();
                above.retain(|_, v| is_empty_map(v));
                if above.is_empty() {
                    above.insert(OWN, Value::Map(Content::new()));
                }
            }
            self.0.insert(path.clone(), [(OWN, value.clone())].into());
            said.sets.push(path.clone());
        }
        said
    }

    /// The whole content said anew.
    pub(crate) fn replace(&mut self, leaves: &Leaves) -> Said {
        self.patch(&removed(self.clone().0.keys(), leaves), leaves)
    }

    /// Entries that the other has and this one has not.
    pub(crate) fn lacks(&self, other: &State) -> BTreeSet<(Path, Writer)> {
        let all =
            other.0.iter().flat_map(|(p, entries)| entries.keys().map(move |w| (p.clone(), *w)));
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

    /// Without what is left of removed entries.
    fn whole(&self) -> BTreeMap<Path, BTreeMap<Writer, Value>> {
        let torn = self.torn();
        let mut out = self.0.clone();
        out.retain(|p, _| !torn.iter().any(|top| top != p && p.starts_with(top)));
        out
    }

    /// One value a leaf: the last write. Of paths that clash the newest, then what fits; a map is
    /// told by what is in it.
    pub(crate) fn shown(&self) -> Leaves {
        let last = |entries: &BTreeMap<Writer, Value>| {
            entries.last_key_value().map(|(w, v)| ((!is_empty_map(v)).then_some(*w), v.clone()))
        };
        let whole = self.whole();
        let mut candidates: Vec<_> =
            whole.iter().filter_map(|(p, entries)| last(entries).map(|(w, v)| (w, p, v))).collect();
        candidates.sort_by_key(|(writer, path, _)| std::cmp::Reverse((*writer, *path)));
        let mut out = Leaves::new();
        for (_, path, value) in candidates {
            if !out.keys().any(|p| related(p, path)) {
                out.insert(path.clone(), value);
            }
        }
        out
    }

    /// Leaves with different values, leaves of which one lies above another, and entries that one
    /// removed while another wrote inside.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        let (whole, torn) = (self.whole(), self.torn());
        let solid = |p: &Path| !whole[p].values().all(is_empty_map);
        let clashes =
            |p: &Path| solid(p) && whole.keys().any(|q| q != p && related(p, q) && solid(q));
        let differ = |entries: &BTreeMap<Writer, Value>| {
            entries.values().zip(entries.values().skip(1)).any(|(a, b)| a != b)
        };
        let open =
            whole.iter().filter(|(p, entries)| differ(entries) || clashes(p)).map(|(p, _)| p);
        let open: BTreeSet<&Path> = open.chain(&torn).collect();
        let told =
            |p: &Path| self.sides(p).into_iter().rev().map(|((_, v), value)| (v, value)).collect();
        open.into_iter().map(|p| (p.clone(), told(p))).collect()
    }

    /// Who says what of an open field, in the order of writes. Of a map that holds something no
    /// side is told but of a removed one, where each writer is told with what it wrote inside.
    pub(crate) fn sides(&self, path: &Path) -> BTreeMap<Writer, Value> {
        let holds = self.0.keys().any(|p| p != path && p.starts_with(path));
        let own = self.0.get(path).into_iter().flatten();
        let mut out: BTreeMap<Writer, Value> =
            own.filter(|(_, v)| !holds || !is_empty_map(v)).map(|(w, v)| (*w, v.clone())).collect();
        if self.torn().contains(path) {
            for (p, entries) in self.0.iter().filter(|(p, _)| *p != path && p.starts_with(path)) {
                for (writer, value) in entries {
                    let map = out.entry(*writer).or_insert_with(|| Value::Map(Content::new()));
                    put_in(map, &p[path.len()..], value);
                }
            }
        }
        out
    }

    /// The leaves that one version wrote.
    pub(crate) fn of(&self, writer: Writer) -> impl Iterator<Item = (&Path, &Value)> {
        self.0.iter().filter_map(move |(p, entries)| Some((p, entries.get(&writer)?)))
    }
}
