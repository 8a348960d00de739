//! The state of a version, its full body, and patches.

use std::collections::{BTreeMap, BTreeSet};

use super::primitives::{Reader, put_bytes, put_count, put_varint};
use super::{Ref, Unverified, Value};

/// The most keys of a path, and the most keys, arrays and maps around a value.
pub(super) const MAX_DEPTH: usize = 64;
/// The most bytes of a key.
pub(super) const MAX_KEY: usize = 1024;
/// The most bytes that the splices of a patch may result in.
const MAX_SPLICED: u64 = 16 << 20;
/// What stands in the place of a value's tag where a splice follows.
pub(crate) const SPLICE: u8 = 0x20;

/// Where a leaf is: its keys. The order of paths is that of lists of text: key by key, a prefix
/// before what continues it.
pub type Path = Vec<String>;

/// A path of these keys.
pub fn path<const N: usize>(keys: [&str; N]) -> Path {
    keys.map(str::to_owned).to_vec()
}

/// A version that wrote an entry, ordered by its ref.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Writer {
    /// The version.
    pub version: Ref,
    /// Its stamp.
    pub stamp: u64,
}

/// The values of a leaf by who wrote them. `None` is the version whose state this is.
pub type Entries = BTreeMap<Option<Writer>, Value>;

/// The leaves of a state.
pub type Leaves = BTreeMap<Path, Entries>;

/// What an entity is after a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Deleted.
    Tombstone,
    /// These leaves.
    Live(Leaves),
}

impl State {
    /// The leaves, or `None` for a tombstone.
    pub fn leaves(&self) -> Option<&Leaves> {
        match self {
            Self::Tombstone => None,
            Self::Live(leaves) => Some(leaves),
        }
    }
}

/// A change against the merge of the parents.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patch {
    /// Paths removed with all below them, ascending.
    pub unset: Vec<Path>,
    /// Paths set, ascending.
    pub set: Vec<(Path, Value)>,
}

/// Is `path` at or below `above`?
pub(super) fn at_or_below(path: &[String], above: &[String]) -> bool {
    path.starts_with(above)
}

/// Is one of the paths a prefix of the other, or are they equal?
pub(super) fn related(one: &[String], other: &[String]) -> bool {
    at_or_below(one, other) || at_or_below(other, one)
}

/// The canonical bytes of leaves: what a full body holds and a state checksum covers.
pub fn full_body(leaves: &Leaves) -> Vec<u8> {
    let writers: BTreeSet<Writer> =
        leaves.values().flat_map(BTreeMap::keys).flatten().copied().collect();
    let number = |writer: &Writer| 1 + writers.range(..writer).count();
    let mut out = Vec::new();
    put_count(&mut out, writers.len());
    for writer in &writers {
        out.extend_from_slice(&writer.version.log);
        put_varint(&mut out, writer.version.sequence);
        out.extend_from_slice(&writer.version.prefix);
        put_varint(&mut out, writer.stamp);
    }
    put_count(&mut out, leaves.len());
    for (path, entries) in leaves {
        put_path(&mut out, path);
        put_count(&mut out, entries.len());
        for (writer, value) in entries {
            put_count(&mut out, writer.as_ref().map_or(0, number));
            out.extend_from_slice(value.as_bytes());
        }
    }
    out
}

/// Writes a path.
pub(crate) fn put_path(out: &mut Vec<u8>, path: &Path) {
    put_count(out, path.len());
    for key in path {
        put_bytes(out, key.as_bytes());
    }
}

fn read_path(r: &mut Reader<'_>) -> Result<Path, Unverified> {
    let count = r.varint()?;
    if count == 0 {
        return Err(Unverified::Malformed("a path without keys"));
    }
    if count > MAX_DEPTH as u64 {
        return Err(Unverified::Limit("depth"));
    }
    let key = |r: &mut Reader<'_>| match r.text()? {
        key if key.len() > MAX_KEY => Err(Unverified::Limit("key")),
        key => Ok(key.to_owned()),
    };
    (0..count).map(|_| key(r)).collect()
}

/// Reads a full body. Whether the writers are known is not checked here.
pub(super) fn read_full(bytes: &[u8]) -> Result<Leaves, Unverified> {
    let mut r = Reader::new(bytes);
    let writers = read_writers(&mut r)?;
    let mut used = BTreeSet::new();
    let mut leaves = Leaves::new();
    for _ in 0..r.varint()? {
        let path = read_path(&mut r)?;
        if leaves.last_key_value().is_some_and(|(last, _)| *last >= path) {
            return Err(Unverified::Malformed("order of the leaves"));
        }
        let entries = read_entries(&mut r, &writers, path.len())?;
        used.extend(entries.keys().flatten().copied());
        leaves.insert(path, entries);
    }
    r.end()?;
    if used.len() < writers.len() {
        return Err(Unverified::Malformed("a writer that wrote nothing"));
    }
    Ok(leaves)
}

fn read_writers(r: &mut Reader<'_>) -> Result<Vec<Writer>, Unverified> {
    let mut writers: Vec<Writer> = Vec::new();
    for _ in 0..r.varint()? {
        let version = Ref { log: r.array()?, sequence: r.varint()?, prefix: r.array()? };
        if writers.last().is_some_and(|last| last.version >= version) {
            return Err(Unverified::Malformed("order of the writers"));
        }
        writers.push(Writer { version, stamp: r.varint()? });
    }
    Ok(writers)
}

fn read_entries(
    r: &mut Reader<'_>,
    writers: &[Writer],
    depth: usize,
) -> Result<Entries, Unverified> {
    let mut entries = Entries::new();
    for _ in 0..r.varint()? {
        let writer = match r.varint()? {
            0 => None,
            number => Some(
                usize::try_from(number - 1)
                    .ok()
                    .and_then(|index| writers.get(index).copied())
                    .ok_or(Unverified::Malformed("a number of no writer"))?,
            ),
        };
        if entries.last_key_value().is_some_and(|(last, _)| *last >= writer) {
            return Err(Unverified::Malformed("order of the entries"));
        }
        entries.insert(writer, Value::read(r, depth)?);
    }
    if entries.is_empty() {
        Err(Unverified::Malformed("a leaf without entries"))
    } else {
        Ok(entries)
    }
}

impl Patch {
    /// Reads a patch of `base`.
    pub fn read(bytes: &[u8], base: &Leaves) -> Result<Self, Unverified> {
        let mut r = Reader::new(bytes);
        let mut spliced = 0;
        let mut patch = Self::default();
        for _ in 0..r.varint()? {
            let path = read_path(&mut r)?;
            if patch.unset.last().is_some_and(|last| *last >= path) {
                return Err(Unverified::Malformed("order of the paths unset"));
            }
            patch.unset.push(path);
        }
        for _ in 0..r.varint()? {
            let path = read_path(&mut r)?;
            if patch.set.last().is_some_and(|(last, _)| *last >= path) {
                return Err(Unverified::Malformed("order of the paths set"));
            }
            let value = if r.rest().starts_with(&[SPLICE]) {
                let old =
                    newest(base, &path).ok_or(Unverified::Malformed("a splice of nothing"))?;
                read_splice(&mut r, old, &mut spliced, path.len())?
            } else {
                Value::read(&mut r, path.len())?
            };
            patch.set.push((path, value));
        }
        r.end()?;
        no_clash(patch.set.iter().map(|(path, _)| path))?;
        Ok(patch)
    }

    /// The leaves after the patch: unsets first, then sets, each an own entry, with the maps that
    /// it stands in.
    pub fn apply(&self, mut leaves: Leaves) -> Leaves {
        leaves.retain(|path, _| !self.unset.iter().any(|gone| at_or_below(path, gone)));
        for (path, value) in &self.set {
            let removed: Vec<Path> =
                torn(&leaves).into_iter().filter(|top| at_or_below(path, top)).collect();
            leaves.retain(|other, _| {
                !at_or_below(other, path) && !removed.iter().any(|top| at_or_below(other, top))
            });
            for keys in 1..path.len() {
                let above = leaves.entry(path[..keys].to_vec()).or_default();
                above.retain(|_, value| value.is_empty_map());
                if above.is_empty() {
                    above.insert(None, Value::map(&[]));
                }
            }
            leaves.insert(path.clone(), [(None, value.clone())].into());
        }
        leaves
    }
}

/// The value at a path that was written last.
pub(crate) fn newest<'a>(base: &'a Leaves, path: &Path) -> Option<&'a Value> {
    let order = |writer: &Option<Writer>| writer.map(|w| (w.stamp, w.version));
    base.get(path)?.iter().max_by_key(|(writer, _)| order(writer)).map(|(_, value)| value)
}

/// Reads a splice of `old`. `spliced`: how many bytes the splices before it result in.
fn read_splice(
    r: &mut Reader<'_>,
    old: &Value,
    spliced: &mut u64,
    depth: usize,
) -> Result<Value, Unverified> {
    let wrong = |what| Unverified::Malformed(what);
    let (_, mut r) = (r.u8()?, Reader::new(r.bytes()?));
    let (kind, old) = old.inner().ok_or(wrong("a splice of a short kind"))?;
    let wanted = r.varint()?;
    *spliced = spliced.saturating_add(wanted);
    if *spliced > MAX_SPLICED {
        return Err(Unverified::Limit("splices"));
    }
    let (mut made, mut ended) = (Vec::new(), 0);
    while (made.len() as u64) < wanted {
        let piece = r.varint()?;
        let length = usize::try_from(piece / 2).map_err(|_| wrong("a piece's length"))?;
        if length == 0 {
            return Err(wrong("an empty piece"));
        }
        if piece % 2 == 1 {
            made.extend_from_slice(r.take(length)?);
        } else {
            let begin = i128::from(r.zigzag()?) + ended as i128;
            let begin = usize::try_from(begin).map_err(|_| wrong("a piece's place"))?;
            let taken = old.get(begin..).and_then(|rest| rest.get(..length));
            made.extend_from_slice(taken.ok_or(wrong("a piece's place"))?);
            ended = begin + length;
        }
    }
    r.end()?;
    if made.len() as u64 > wanted {
        return Err(wrong("more than a splice promised"));
    }
    let mut value = vec![kind];
    put_bytes(&mut value, &made);
    let mut whole = Reader::new(&value);
    let value = Value::read(&mut whole, depth)?;
    whole.end()?;
    Ok(value)
}

/// The topmost paths below which something lies although no map stands there.
pub fn torn(leaves: &Leaves) -> BTreeSet<Path> {
    let is_map = |path: &[String]| {
        leaves.get(path).is_some_and(|entries| entries.values().any(Value::is_empty_map))
    };
    let top = |path: &Path| (1..path.len()).find(|keys| !is_map(&path[..*keys]));
    leaves.keys().filter_map(|path| top(path).map(|keys| path[..keys].to_vec())).collect()
}

/// Fails if of paths in their order one is a prefix of another.
fn no_clash<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), Unverified> {
    let paths: Vec<_> = paths.collect();
    // What continues a path follows it at once.
    if paths.windows(2).any(|pair| at_or_below(pair[1], pair[0])) {
        Err(Unverified::OwnClash)
    } else {
        Ok(())
    }
}

/// Fails if own writes clash: an own map may have others in it.
pub(super) fn check_own(leaves: &Leaves) -> Result<(), Unverified> {
    let own: Vec<_> =
        leaves.iter().filter_map(|(path, entries)| Some((path, entries.get(&None)?))).collect();
    let clash =
        |at: usize, above: &Path| own[at..].iter().any(|(path, _)| at_or_below(path, above));
    let clashes = (0..own.len()).any(|at| !own[at].1.is_empty_map() && clash(at + 1, own[at].0));
    if clashes { Err(Unverified::OwnClash) } else { Ok(()) }
}

/// The same leaves with own entries named after `own`: what other versions see.
pub(super) fn named(leaves: Leaves, own: Writer) -> Leaves {
    let name = |entries: Entries| {
        entries.into_iter().map(|(writer, value)| (writer.or(Some(own)), value)).collect()
    };
    leaves.into_iter().map(|(path, entries)| (path, name(entries))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(log: u8, sequence: u64) -> Writer {
        Writer { version: Ref { log: [log; 16], sequence, prefix: [7; 16] }, stamp: 300 }
    }

    fn sample() -> Leaves {
        let (a, b) = (Some(writer(1, 2)), Some(writer(2, 1)));
        [
            (path(["a"]), [(None, Value::int(1))].into()),
            (path(["b", "x"]), [(a, Value::null()), (b, Value::bool(true))].into()),
            (path(["b!"]), [(b, Value::map(&[]))].into()),
        ]
        .into()
    }

    fn sample_bytes() -> Vec<u8> {
        [
            &[2][..],
            &[1; 16],
            &[2],
            &[7; 16],
            &[0xac, 0x02],
            &[2; 16],
            &[1],
            &[7; 16],
            &[0xac, 0x02],
            &[3],
            &[1, 1, b'a', 1, 0, 3, 2],
            &[2, 1, b'b', 1, b'x', 2, 1, 0, 2, 2],
            &[1, 2, b'b', b'!', 1, 2, 9, 1, 0],
        ]
        .concat()
    }

    #[test]
    fn a_full_body_has_these_bytes() {
        assert_eq!(full_body(&sample()), sample_bytes());
        assert_eq!(read_full(&sample_bytes()), Ok(sample()));
        assert_eq!(full_body(&Leaves::new()), [0, 0]);
        assert_eq!(read_full(&[0, 0]), Ok(Leaves::new()));
    }

    #[test]
    fn paths_are_ordered_key_by_key() {
        let ordered = [path(["a"]), path(["a", "b"]), path(["a", "z"]), path(["a!"]), path(["b"])];
        assert!(ordered.is_sorted());
    }

    #[test]
    fn full_bodies_in_another_form_are_malformed() {
        let one = |log| [&[log; 16][..], &[1], &[7; 16], &[5]].concat();
        let refused: [Vec<u8>; 14] = [
            vec![],
            vec![0],
            vec![0, 0, 0],
            vec![0, 1, 0, 1, 0, 0],                // a path without keys
            vec![0, 1, 1, 1, b'a', 0],             // a leaf without entries
            vec![0, 1, 1, 1, b'a', 1, 1, 0],       // no such writer
            vec![0, 1, 1, 1, b'a', 2, 0, 0, 0, 1], // an own entry twice
            vec![0, 2, 1, 1, b'b', 1, 0, 0, 1, 1, b'a', 1, 0, 0], // leaves unsorted
            vec![0, 2, 1, 1, b'a', 1, 0, 0, 1, 1, b'a', 1, 0, 0], // leaves doubled
            [&[1][..], &one(1), &[0]].concat(),    // a writer unused
            // writers unsorted
            [&[2][..], &one(2), &one(1), &[1, 1, 1, b'a', 2, 1, 0, 2, 0]].concat(),
            // writers doubled
            [&[2][..], &one(1), &one(1), &[1, 1, 1, b'a', 2, 1, 0, 2, 0]].concat(),
            [&[1][..], &one(1), &[1, 1, 1, b'a', 2, 1, 0, 0, 0]].concat(), // entries unsorted
            [&[0, 1, 65][..], &[1, b'a'].repeat(65), &[1, 0, 0]].concat(), // too deep
        ];
        for bytes in refused {
            assert!(read_full(&bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_malformed() {
        let bytes = sample_bytes();
        for end in 0..bytes.len() {
            assert!(read_full(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn own_writes_may_not_be_prefixes_of_each_other() {
        let own = |keys: &[&[&str]]| -> Leaves {
            let entries = Entries::from([(None, Value::null())]);
            keys.iter()
                .map(|keys| (keys.iter().map(|&key| key.to_owned()).collect(), entries.clone()))
                .collect()
        };
        assert_eq!(check_own(&own(&[&["a"], &["a", "b"]])), Err(Unverified::OwnClash));
        assert_eq!(check_own(&own(&[&["a"], &["a!"], &["b", "c"], &["b", "d"]])), Ok(()));
        let mut nested = own(&[&["a", "b"]]);
        nested.insert(path(["a"]), [(None, Value::map(&[]))].into());
        assert_eq!(check_own(&nested), Ok(()), "what stands in a map");
        let mut mixed = own(&[&["a"]]);
        mixed.insert(path(["a", "b"]), [(Some(writer(1, 1)), Value::null())].into());
        assert_eq!(check_own(&mixed), Ok(()), "the other entry is not its own");
    }

    #[test]
    fn a_patch_has_these_bytes() {
        let bytes = [2, 1, 1, b'a', 2, 1, b'a', 1, b'b', 1, 1, 1, b'c', 0];
        let patch = Patch {
            unset: vec![path(["a"]), path(["a", "b"])],
            set: vec![(path(["c"]), Value::null())],
        };
        assert_eq!(Patch::read(&bytes, &Leaves::new()), Ok(patch));
        let refused: [&[u8]; 6] = [
            &[0],
            &[0, 0, 0],
            &[2, 1, 1, b'b', 1, 1, b'a', 0],
            &[0, 2, 1, 1, b'b', 0, 1, 1, b'a', 0],
            &[0, 2, 1, 1, b'a', 0, 1, 1, b'a', 0],
            &[0, 2, 1, 1, b'a', 0, 2, 1, b'a', 1, b'b', 0],
        ];
        for bytes in refused {
            assert!(Patch::read(bytes, &Leaves::new()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_splice_takes_from_what_was_written_last() {
        let base: Leaves = [(
            path(["t"]),
            Entries::from([
                (Some(Writer { stamp: 9, ..writer(1, 1) }), Value::text("abcdef")),
                (Some(Writer { stamp: 8, ..writer(2, 1) }), Value::text("other!")),
            ]),
        )]
        .into();
        let splice = |result, pieces: &[u8]| {
            let mut bytes = vec![0, 1, 1, 1, b't', SPLICE];
            put_bytes(&mut bytes, &[&[result], pieces].concat());
            Patch::read(&bytes, &base).map(|patch| patch.set[0].1.clone())
        };
        // d e, then a b (four before where that ended, 7 as zigzag), then x
        let pieces = [4, 6, 4, 9, 3, b'x'];
        assert_eq!(splice(5, &pieces), Ok(Value::text("deabx")));
        for result in [0, 3, 4, 6] {
            assert!(splice(result, &pieces).is_err(), "{result}");
        }
        assert!(splice(2, &[4, 10]).is_err(), "f and what follows it");
        assert!(splice(1, &[2, 1]).is_err(), "one before the first");
        assert!(splice(0, &[]).is_ok_and(|value| value == Value::text("")));
    }

    #[test]
    fn unsets_go_first_then_sets_clear_their_place() {
        let leaf = |value| Entries::from([(Some(writer(1, 1)), value)]);
        let (number, map) = (|n| leaf(Value::int(n)), || leaf(Value::map(&[])));
        let base: Leaves = [
            (path(["a"]), number(1)),
            (path(["b"]), map()),
            (path(["b", "x"]), number(2)),
            (path(["b", "y"]), number(3)),
            (path(["c"]), number(4)),
            (path(["d"]), map()),
            (path(["d", "e"]), number(5)),
            (path(["f"]), map()),
            (path(["f", "x"]), number(9)),
            (path(["g", "x"]), number(9)),
            (path(["h", "x"]), number(9)),
        ]
        .into();
        let patch = Patch {
            unset: vec![path(["b"]), path(["nothing"])],
            set: vec![
                (path(["b", "x"]), Value::int(6)),
                (path(["c", "z"]), Value::int(7)),
                (path(["d"]), Value::int(8)),
                (path(["f", "y"]), Value::int(9)),
                (path(["g", "y"]), Value::int(9)),
            ],
        };
        let own = |value| Entries::from([(None, value)]);
        let (own_number, own_map) = (|n| own(Value::int(n)), || own(Value::map(&[])));
        let expected: Leaves = [
            (path(["a"]), number(1)),
            (path(["b"]), own_map()),
            (path(["b", "x"]), own_number(6)),
            (path(["c"]), own_map()),
            (path(["c", "z"]), own_number(7)),
            (path(["d"]), own_number(8)),
            // a map that stands stays whose it is
            (path(["f"]), map()),
            (path(["f", "x"]), number(9)),
            (path(["f", "y"]), own_number(9)),
            // what was left of a removed entry goes with the first write in it
            (path(["g"]), own_map()),
            (path(["g", "y"]), own_number(9)),
            // and stays as it is where nobody writes
            (path(["h", "x"]), number(9)),
        ]
        .into();
        assert_eq!(patch.apply(base), expected);
    }
}
