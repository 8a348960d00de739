//! Tree objects, and which paths two trees differ on. Equal subtrees are skipped unread.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::oid::Oid;

const DIRECTORY: u32 = 0o040_000;
const SUBMODULE: u32 = 0o160_000;

/// What stands at a path: a blob or a submodule, never a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// As git prints it, in octal.
    pub(crate) mode: u32,
    /// The blob; of a submodule, the commit over there.
    pub(crate) oid: Oid,
}

impl Entry {
    /// Is it a commit of another repository, without bytes here?
    pub(crate) fn is_submodule(&self) -> bool {
        self.mode == SUBMODULE
    }
}

/// What stands at a path on which a tree differs from one of its commit's parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// What stands there; none: nothing.
    pub(crate) now: Option<Entry>,
    /// The parents, by their index, that have something else there. Of a root, which has none,
    /// empty.
    pub(crate) differs_from: Vec<usize>,
}

/// Path → what changed there.
pub(crate) type Changes = BTreeMap<Vec<u8>, Change>;

/// Reads trees, and remembers the last of them.
#[derive(Debug)]
pub(crate) struct Trees {
    /// Two generations make a cheap bounded cache: what is asked for again moves to the young one.
    young: HashMap<Oid, Arc<[u8]>>,
    old: HashMap<Oid, Arc<[u8]>>,
    young_bytes: usize,
}

impl Trees {
    /// Most bytes in one generation.
    const GENERATION: usize = 16 << 20;

    /// With an empty cache.
    pub(crate) fn new() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_bytes: 0 }
    }

    /// The paths on which `tree` differs from at least one of `parents` (without any: all its
    /// paths), each with what stands there in `tree`.
    pub(crate) fn changes(
        &mut self,
        objects: &mut Objects,
        parents: &[Oid],
        tree: Oid,
    ) -> Result<Changes> {
        let mut changes = Changes::new();
        let oid_len = tree.as_bytes().len();
        let path = Vec::new();
        let mut walk =
            Walk { trees: self, objects, changes: &mut changes, path, oid_len, parent: None };
        if parents.is_empty() {
            walk.differ(None, Some(tree))?;
        }
        for (index, parent) in parents.iter().enumerate() {
            walk.parent = Some(index);
            walk.differ(Some(*parent), Some(tree))?;
        }
        Ok(changes)
    }

    fn read(&mut self, objects: &mut Objects, tree: Oid) -> Result<Arc<[u8]>> {
        if let Some(bytes) = self.young.get(&tree) {
            return Ok(bytes.clone());
        }
        let bytes = match self.old.remove(&tree) {
            Some(bytes) => bytes,
            None => objects.read("tree", tree)?.into(),
        };
        self.young_bytes += bytes.len();
        self.young.insert(tree, bytes.clone());
        if self.young_bytes > Self::GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        Ok(bytes)
    }
}

/// One comparison under way.
struct Walk<'a> {
    trees: &'a mut Trees,
    objects: &'a mut Objects,
    changes: &'a mut Changes,
    path: Vec<u8>,
    oid_len: usize,
    parent: Option<usize>,
}

impl Walk<'_> {
    fn differ(&mut self, before: Option<Oid>, after: Option<Oid>) -> Result<()> {
        if before == after {
            return Ok(());
        }
        let (before, after) = (self.read(before)?, self.read(after)?);
        let (before, after) = (entries(&before, self.oid_len)?, entries(&after, self.oid_len)?);
        let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
        loop {
            // A directory and a file of one name are two keys: the one goes, the other comes.
            let key = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
                (Some(one), None) | (None, Some(one)) => one.key(),
                (Some(one), Some(other)) => one.key().min(other.key()),
            };
            let one = old.next_if(|one| one.key() == key);
            let other = new.next_if(|other| other.key() == key);
            self.step(key, one.map(|one| one.entry), other.map(|other| other.entry))?;
        }
    }

    fn step(
        &mut self,
        (name, directory): (&[u8], bool),
        old: Option<Entry>,
        new: Option<Entry>,
    ) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let length = self.path.len();
        self.path.extend_from_slice(name);
        if directory {
            self.path.push(b'/');
            self.differ(old.map(|old| old.oid), new.map(|new| new.oid))?;
        } else {
            let change = Change { now: new, differs_from: Vec::new() };
            let change = self.changes.entry(self.path.clone()).or_insert(change);
            change.differs_from.extend(self.parent);
        }
        self.path.truncate(length);
        Ok(())
    }

    fn read(&mut self, tree: Option<Oid>) -> Result<Arc<[u8]>> {
        tree.map_or_else(|| Ok(Arc::default()), |tree| self.trees.read(self.objects, tree))
    }
}

/// One line of a tree object.
#[derive(Debug)]
struct Line<'a> {
    name: &'a [u8],
    entry: Entry,
}

impl<'a> Line<'a> {
    fn key(&self) -> (&'a [u8], bool) {
        (self.name, self.entry.mode == DIRECTORY)
    }
}

/// The lines of a tree object, by name. Sorted here: our order is not git's, and old tools wrote
/// trees in none.
fn entries(mut bytes: &[u8], oid_len: usize) -> Result<Vec<Line<'_>>> {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        let (line, rest) =
            split_line(bytes, oid_len).ok_or_else(|| Error::Git("malformed tree".to_owned()))?;
        lines.push(line);
        bytes = rest;
    }
    lines.sort_by(|one, other| one.key().cmp(&other.key()));
    Ok(lines)
}

/// `<mode in octal> <name>\0<id as bytes>`
fn split_line(bytes: &[u8], oid_len: usize) -> Option<(Line<'_>, &[u8])> {
    let (mode, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b' ')?);
    let mode = u32::from_str_radix(std::str::from_utf8(mode).ok()?, 8).ok()?;
    let (name, rest) = rest[1..].split_at(rest[1..].iter().position(|byte| *byte == 0)?);
    let (oid, rest) = rest[1..].split_at_checked(oid_len)?;
    let entry = Entry { mode: canonical(mode), oid: Oid::from_bytes(oid)? };
    Some((Line { name, entry }, rest))
}

/// The mode that git shows: early versions wrote 100664, for instance.
fn canonical(mode: u32) -> u32 {
    match mode & 0o170_000 {
        0o100_000 if mode & 0o100 != 0 => 0o100_755,
        0o100_000 => 0o100_644,
        0o120_000 => 0o120_000,
        DIRECTORY => DIRECTORY,
        _ => SUBMODULE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_object_is_read_line_by_line() {
        let mut tree = Vec::new();
        for (head, byte) in
            [("100664 b", 1), ("40000 a", 2), ("120000 a", 3), ("160000 \u{e4} \"", 4)]
        {
            tree.extend_from_slice(head.as_bytes());
            tree.push(0);
            tree.extend_from_slice(&[byte; 20]);
        }
        let lines = entries(&tree, 20).unwrap();
        let read: Vec<_> = lines
            .iter()
            .map(|line| (line.name, line.entry.mode, line.entry.oid.as_bytes()[0]))
            .collect();
        assert_eq!(
            read,
            [
                (&b"a"[..], 0o120_000, 3),
                (b"a", DIRECTORY, 2),
                (b"b", 0o100_644, 1),
                ("\u{e4} \"".as_bytes(), SUBMODULE, 4)
            ]
        );
    }

    #[test]
    fn a_tree_cut_anywhere_inside_a_line_is_an_error() {
        let line = [b"100644 name\0".as_slice(), &[7; 32]].concat();
        assert_eq!(entries(&line, 32).unwrap().len(), 1);
        for end in 1..line.len() {
            assert!(entries(&line[..end], 32).is_err(), "{end}");
        }
    }
}
