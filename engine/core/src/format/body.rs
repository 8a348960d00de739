//! Contents of versions as bytes (FORMAT.md, 1.5 and 1.6). Full and patch are interchangeable
//! encodings of one state.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::header::Header;
use super::splice;
use super::value::{path, put_path, skip_leaf};
use crate::bytes::{Put, Read, Reader};
use crate::limits;
use crate::model::{ChainPrefix, Entries, Entry, Leaf, LogId, Path, State, VersionRef, Writer};

/// Which encoding a body has, as the byte that it begins with (FORMAT.md, 1.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Tag {
    /// Nothing: the body of a deletion, and only of one.
    None = 0,
    /// The whole state.
    Full = 1,
    /// What changed against the merge of the parents.
    Patch = 2,
    /// The content was pruned; the checksum of the state stands in its place.
    Pruned = 3,
    /// The content is withheld; the checksum of the state stands in its place.
    Withheld = 4,
    /// The content is encrypted, behind the checksum of the state.
    Encrypted = 5,
    /// The sender knows nothing that verifies.
    Missing = 6,
}

/// A body as it came: framed, not yet believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Body<'a> {
    /// Its encoding.
    pub tag: Tag,
    /// What follows the tag, without its length; empty for [`Tag::None`] and [`Tag::Missing`].
    pub payload: &'a [u8],
}

impl<'a> Body<'a> {
    /// The checksum that stands in the place of a content that was pruned, withheld or encrypted.
    pub fn checksum(&self) -> Option<[u8; 16]> {
        let stands_in = matches!(self.tag, Tag::Pruned | Tag::Withheld | Tag::Encrypted);
        self.payload.get(..16).filter(|_| stands_in).and_then(|b| b.try_into().ok())
    }

    /// Appends it as it stands among the bodies of a commit.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.tag as u8);
        if !matches!(self.tag, Tag::None | Tag::Missing) {
            out.bytes(self.payload);
        }
    }

    /// Reads one body and frames it; what the payload says is not looked at. An error for an
    /// unknown tag, and where a checksum should stand and does not.
    pub fn decode(r: &mut Reader<'a>) -> Read<Self> {
        let tag = match r.u8()? {
            0 => Tag::None,
            1 => Tag::Full,
            2 => Tag::Patch,
            3 => Tag::Pruned,
            4 => Tag::Withheld,
            5 => Tag::Encrypted,
            6 => Tag::Missing,
            _ => return r.bad("an unknown kind of body"),
        };
        let payload = if matches!(tag, Tag::None | Tag::Missing) { &[][..] } else { r.bytes()? };
        r.ensure(
            match tag {
                Tag::Pruned | Tag::Withheld => payload.len() == 16,
                Tag::Encrypted => payload.len() >= 16,
                _ => true,
            },
            "a body without its checksum",
        )?;
        Ok(Self { tag, payload })
    }
}

/// The bodies of a commit of level 1, one for each version in the order of its header. An error
/// unless they are as many, each suits its version, and all are within 72 MiB.
pub fn bodies<'a>(block: &'a [u8], header: &Header) -> Read<Vec<Body<'a>>> {
    let mut r = Reader::new(block);
    r.ensure(block.len() <= limits::BODIES, "bodies too long")?;
    let mut out = Vec::with_capacity(header.versions.len().min(block.len()));
    for v in &header.versions {
        let body = Body::decode(&mut r)?;
        r.ensure(
            (body.tag == Tag::None) == v.is_deletion(),
            "a body that does not suit its version",
        )?;
        out.push(body);
    }
    r.end()?;
    Ok(out)
}

/// A writer as a body names it: the version, and its stamp in milliseconds since 1970.
pub type NamedWriter = (VersionRef, u64);

/// Writers other than the version itself, in the order that bodies list them.
fn writers(state: &State, own: &Writer) -> Vec<Writer> {
    let mut out: Vec<Writer> = state
        .0
        .iter()
        .flat_map(|l| &l.entries)
        .map(|e| e.writer)
        .filter(|w| !is_own(w, own))
        .collect();
    out.sort_by_key(|w| w.reference);
    out.dedup();
    out
}

fn is_own(w: &Writer, own: &Writer) -> bool {
    w == own || *w == Writer::OWN
}

/// Appends the state of the version `own`: the table of its other writers, each in the form that
/// `put_writer` gives it, then the leaves. Entries of [`Writer::OWN`] count as those of `own`.
pub fn put_state(
    out: &mut Vec<u8>,
    state: &State,
    own: &Writer,
    put_writer: impl Fn(&mut Vec<u8>, &Writer),
) {
    let writers = writers(state, own);
    out.varint(writers.len() as u64);
    for w in &writers {
        put_writer(out, w);
    }
    let index = |w: &Writer| {
        if is_own(w, own) {
            return 0;
        }
        writers.binary_search_by_key(&w.reference, |x| x.reference).map_or(0, |i| i as u64 + 1)
    };
    out.varint(state.0.len() as u64);
    for leaf in &state.0 {
        put_path(out, &leaf.path);
        out.varint(leaf.entries.len() as u64);
        let mut entries: Vec<_> =
            leaf.entries.iter().map(|e| (index(&e.writer), &e.value)).collect();
        entries.sort_by_key(|e| e.0);
        for (writer, value) in entries {
            out.varint(writer);
            out.extend_from_slice(value);
        }
    }
}

/// Canonical bytes of the state of the version `own`: its full body.
pub fn full(state: &State, own: &Writer) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    put_state(&mut out, state, own, |out, w| {
        out.extend_from_slice(w.reference.log.as_bytes());
        out.varint(w.reference.sequence.get());
        out.extend_from_slice(w.reference.prefix.as_bytes());
        out.varint(w.stamp);
    });
    out
}

/// Reads the table of writers that a full body begins with. An error unless they are in order.
pub fn named_writers(r: &mut Reader<'_>) -> Read<Vec<NamedWriter>> {
    let mut out: Vec<NamedWriter> = Vec::new();
    for _ in 0..r.count(34)? {
        let log = LogId::from_bytes(r.array()?);
        let sequence = r.varint()?.into();
        let reference = VersionRef { log, sequence, prefix: ChainPrefix::from_bytes(r.array()?) };
        r.ensure(out.last().is_none_or(|l| l.0 < reference), "writers out of order")?;
        out.push((reference, r.varint()?));
    }
    Ok(out)
}

/// Reads the leaves that follow a table of writers, to the end of the bytes; `table[0]` is the
/// version itself, which the bytes do not list. An error unless all is in order, each value is
/// canonical and each listed writer wrote something.
pub fn leaves(r: &mut Reader<'_>, table: &[Writer]) -> Read<State> {
    let mut used = vec![false; table.len()];
    let mut out: Vec<Leaf> = Vec::new();
    for _ in 0..r.count(5)? {
        let path = path(r)?;
        r.ensure(out.last().is_none_or(|l| l.path.as_ref() < path), "leaves out of order")?;
        let mut entries = Entries::new();
        let mut last = None;
        let n = r.count(2)?;
        r.ensure(n > 0, "a leaf without a value")?;
        for _ in 0..n {
            let writer = r.varint()?;
            r.ensure(last.is_none_or(|l| l < writer), "entries out of order")?;
            last = Some(writer);
            let index = usize::try_from(writer).unwrap_or(usize::MAX);
            let Some(known) = table.get(index) else { return r.bad("a writer that is not listed") };
            used[index] = true;
            entries.push(Entry { writer: *known, value: skip_leaf(r, path.depth())?.into() });
        }
        out.push(Leaf { path: path.to_path(), entries });
    }
    r.end()?;
    r.ensure(used.iter().skip(1).all(|u| *u), "a writer that wrote nothing")?;
    Ok(State(out))
}

/// Of a leaf that stands at a path the value that is greatest in the order of writes: what a splice
/// there takes from.
fn shown<'s>(base: &'s State, path: &Path) -> Option<&'s [u8]> {
    let newest = base.get(path)?.entries.iter().max_by_key(|e| e.writer.key());
    newest.map(|e| &*e.value)
}

/// A change against the merge of the parents (FORMAT.md, 1.6).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PatchBody {
    /// Paths that are removed with all below them, ascending; they go before anything is set.
    pub unsets: Vec<Path>,
    /// Paths with the canonical bytes of their new values, ascending; none is a prefix of another.
    pub sets: Vec<(Path, Box<[u8]>)>,
}

impl PatchBody {
    /// Its bytes: the payload of a body that is a patch of `base`, the merge of the parents. Long
    /// values that are much like those there are said as splices of these.
    pub fn encode(&self, base: &State) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.varint(self.unsets.len() as u64);
        for p in &self.unsets {
            put_path(&mut out, p);
        }
        out.varint(self.sets.len() as u64);
        for (p, value) in &self.sets {
            put_path(&mut out, p);
            match shown(base, p).and_then(|old| splice::splice(old, value)) {
                Some(splice) => out.extend_from_slice(&splice),
                None => out.extend_from_slice(value),
            }
        }
        out
    }

    /// Reads the payload of a body that is a patch of `base`, the merge of the parents. An error
    /// unless paths are in order, none that is set clashes with another, each value is canonical,
    /// and all that are said as splices have room in a full body together: no more memory is taken.
    pub fn decode(bytes: &[u8], base: &State) -> Read<Self> {
        let mut r = Reader::new(bytes);
        let mut room = limits::FULL_BODY;
        let mut out = Self::default();
        for _ in 0..r.count(2)? {
            let p = path(&mut r)?.to_path();
            r.ensure(out.unsets.last().is_none_or(|l| *l < p), "unsets out of order")?;
            out.unsets.push(p);
        }
        for _ in 0..r.count(3)? {
            let p = path(&mut r)?.to_path();
            // sorted, a path that is a prefix of another comes somewhere before it: right before is
            // enough to look at, because all that lies between them continues it too
            r.ensure(
                out.sets.last().is_none_or(|l| l.0 < p && !p.is_below(&l.0)),
                "sets out of order or clashing",
            )?;
            let value = splice::read(&mut r, || shown(base, &p), &mut room, p.depth())?;
            out.sets.push((p, value));
        }
        r.end()?;
        Ok(out)
    }
}
