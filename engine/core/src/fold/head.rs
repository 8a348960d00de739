//! The heads of an entity, as they lie in their table: all that the next write needs, so that it
//! never reads the log.
//!
//! ```text
//! row     flags u8 (1: unsettled, 2: created twice) · type number · list of heads
//! head    flags u8 (0–1: state, 2: its own creation names the type, 3: has seen only itself)
//!         line · sequence · chain prefix 16 · stamp · generation · depth · type source? ·
//!         entity clock? · inline state?
//! state   list of writers (line, sequence, chain prefix 16, stamp) · leaves as in a full body
//! ```

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::derived::{
    Derived, TypeSource, put_clock, put_writer, read_clock, read_line, read_type_number,
    read_writer,
};
use super::lines::Lines;
use crate::bytes::{Put, Read, Reader};
use crate::format::body::{leaves, put_state};
use crate::format::value::{EMPTY_MAP, path, skip_leaf};
use crate::merge::EntityClock;
use crate::model::{Dot, Kind, Line, PathRef, State, TypeNumber, Writer};

/// A state larger than this stays in the log only.
pub const INLINE: usize = 1_024;

const UNSETTLED: u8 = 1;
const CREATED_TWICE: u8 = 2;

const STATE: u8 = 3;
const OWN_TYPE: u8 = 4;
const ALONE: u8 = 8;

/// What is known of a head's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HeadState {
    /// It was deleted.
    Tombstone,
    /// A table of local writers and leaves, readable in place.
    Inline(Arc<[u8]>),
    /// Too large to stand here.
    InLog,
    /// Its body did not verify here.
    Absent,
}

/// A version without a child.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The version as a writer.
    pub writer: Writer,
    /// What follows from its past.
    pub derived: Derived,
    /// Patches since the last full body.
    pub depth: u64,
    /// Its content, as far as it stands here.
    pub state: HeadState,
}

/// A row of the table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heads {
    /// Sorted by their refs.
    pub list: Vec<Head>,
    /// Diverged, or with undecided leaves.
    pub unsettled: bool,
    /// A second creation came, so that its type may have been another one here.
    pub created_twice: bool,
}

impl HeadState {
    /// How the content of a head is kept.
    pub fn of(state: &State, own: &Writer) -> Self {
        let bytes = inline(state, own);
        if bytes.len() <= INLINE { Self::Inline(bytes.into()) } else { Self::InLog }
    }
}

impl Head {
    /// Where it is.
    pub fn dot(&self) -> Dot {
        self.writer.dot()
    }

    /// Whether it deletes its entity.
    pub fn is_tombstone(&self) -> bool {
        self.state == HeadState::Tombstone
    }

    fn put(&self, out: &mut Vec<u8>) {
        let state = match &self.state {
            HeadState::Tombstone => 0,
            HeadState::Inline(_) => 1,
            HeadState::InLog => 2,
            HeadState::Absent => 3,
        };
        let own_type = self.derived.type_source.creation == self.writer;
        let alone = self.derived.clock == self.alone();
        out.push(state | if own_type { OWN_TYPE } else { 0 } | if alone { ALONE } else { 0 });
        put_writer(out, &self.writer);
        out.varint(self.derived.generation);
        out.varint(self.depth);
        if own_type {
            out.varint(u64::from(self.derived.type_source.type_number.get()));
        } else {
            self.derived.type_source.put(out);
        }
        if !alone {
            put_clock(out, &self.derived.clock);
        }
        if let HeadState::Inline(bytes) = &self.state {
            out.bytes(bytes);
        }
    }

    fn alone(&self) -> EntityClock {
        let mut clock = EntityClock::default();
        clock.see(self.writer.line, self.writer.reference.sequence);
        clock
    }

    fn read(r: &mut Reader<'_>, lines: &impl Lines) -> Read<Self> {
        let flags = r.u8()?;
        let writer = read_writer(r, lines)?;
        let (generation, depth) = (r.varint()?, r.varint()?);
        let type_source = if flags & OWN_TYPE != 0 {
            TypeSource { creation: writer, type_number: read_type_number(r)? }
        } else {
            TypeSource::read(r, lines)?
        };
        let clock = if flags & ALONE != 0 {
            let mut own = EntityClock::default();
            own.see(writer.line, writer.reference.sequence);
            own
        } else {
            read_clock(r)?
        };
        let state = match flags & STATE {
            0 => HeadState::Tombstone,
            1 => HeadState::Inline(r.bytes()?.into()),
            2 => HeadState::InLog,
            _ => HeadState::Absent,
        };
        Ok(Self { writer, derived: Derived { generation, type_source, clock }, depth, state })
    }
}

impl Heads {
    /// Whether the entity is unknown.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The type of the entity: that of the least creation in the past of all heads.
    pub fn type_number(&self) -> Option<TypeNumber> {
        self.list
            .iter()
            .map(|h| h.derived.type_source)
            .min_by_key(TypeSource::key)
            .map(|s| s.type_number)
    }

    /// The row, before it is sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.push(flag(self.unsettled, UNSETTLED) | flag(self.created_twice, CREATED_TWICE));
        out.varint(u64::from(self.type_number().unwrap_or_default().get()));
        out.varint(self.list.len() as u64);
        for head in &self.list {
            head.put(&mut out);
        }
        out
    }

    /// Reads a row whose checksum was right.
    pub fn decode(bytes: &[u8], lines: &impl Lines) -> Read<Self> {
        let mut r = Reader::new(bytes);
        let flags = r.u8()?;
        let (unsettled, created_twice) = (flags & UNSETTLED != 0, flags & CREATED_TWICE != 0);
        r.varint()?;
        let n = r.count(20)?;
        let list = (0..n).map(|_| Head::read(&mut r, lines)).collect::<Read<_>>()?;
        r.end()?;
        Ok(Self { list, unsettled, created_twice })
    }

    /// Whether a row is unsettled, and its type, without reading the rest.
    pub fn peek(bytes: &[u8]) -> Read<(bool, TypeNumber)> {
        let mut r = Reader::new(bytes);
        Ok((r.u8()? & UNSETTLED != 0, read_type_number(&mut r)?))
    }

    /// Whether a row says so, without reading the rest.
    pub fn peek_created_twice(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|flags| flags & CREATED_TWICE != 0)
    }
}

/// A state as it stands inline in a head.
pub fn inline(state: &State, own: &Writer) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    put_state(&mut out, state, own, put_writer);
    out
}

/// The state of the head `own` from its inline bytes.
pub fn read_inline(bytes: &[u8], own: &Writer, lines: &impl Lines) -> Read<State> {
    let mut r = Reader::new(bytes);
    let n = r.count(20)?;
    let mut table = vec![*own];
    for _ in 0..n {
        table.push(read_writer(&mut r, lines)?);
    }
    leaves(&mut r, &table)
}

/// Where the bytes of a path and of its value lie.
pub type LeafPlace = [Range<usize>; 2];

/// Where each path and value lies in the inline state of one settled head; nothing where it takes
/// more than that to show it.
pub fn in_place(heads: &Heads) -> Option<(Arc<[u8]>, Vec<LeafPlace>)> {
    let ([Head { state: HeadState::Inline(bytes), .. }], false) =
        (&heads.list[..], heads.unsettled)
    else {
        return None;
    };
    let mut r = Reader::new(bytes);
    let mut read = || -> Read<Option<Vec<LeafPlace>>> {
        for _ in 0..r.count(20)? {
            read_line(&mut r)?;
            r.varint()?;
            r.take(16)?;
            r.varint()?;
        }
        let n = r.count(5)?;
        let mut out: Vec<LeafPlace> = Vec::with_capacity(n);
        // the maps that the next leaf may stand in
        let mut maps: Vec<PathRef<'_>> = Vec::new();
        for _ in 0..n {
            let start = r.at();
            let at = path(&mut r)?;
            let middle = r.at();
            // several writers may have written the same
            if r.varint()? != 1 {
                return Ok(None);
            }
            r.varint()?;
            let from = r.at();
            let is_map = skip_leaf(&mut r, at.depth())? == EMPTY_MAP;
            while maps.last().is_some_and(|map| !at.is_below(*map)) {
                maps.pop();
            }
            // a map for each key above it, else it clashes with a scalar or is an orphan
            if maps.len() + 1 != at.depth() {
                return Ok(None);
            }
            // a map that holds something is told by what it holds
            if out.last().is_some_and(|[p, _]| at.is_below(PathRef::new(&bytes[p.clone()]))) {
                out.pop();
            }
            if is_map {
                maps.push(at);
            }
            out.push([start..middle, from..r.at()]);
        }
        Ok(Some(out))
    };
    read().ok().flatten().map(|places| (bytes.clone(), places))
}

/// Whether a head is one no more after a version with these parents: where it is one of them, or
/// where it is of what never leaves this store and the version is not.
///
/// What never leaves stands only while there is nothing that does: else replicas would show
/// different things for ever. `local` is the line of what never leaves.
pub fn goes(head: Dot, version: Dot, parents: &[Dot], local: Option<Line>) -> bool {
    parents.contains(&head) || Some(head.0) == local && Some(version.0) != local
}

/// The heads of an entity as its versions give them, one after another in any causal order: by what
/// rows are checked, and made again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeadWriters {
    /// The heads.
    pub list: Vec<Writer>,
    /// A creation came when the entity was there already.
    pub created_twice: bool,
}

impl HeadWriters {
    /// Whether this place is that of a head.
    pub fn contains(&self, at: Dot) -> bool {
        self.list.iter().any(|head| head.dot() == at)
    }

    /// The next version of the entity, which is not void.
    pub fn see(
        &mut self,
        version: Writer,
        kind: Option<Kind>,
        parents: &[Dot],
        local: Option<Line>,
    ) {
        self.created_twice |= kind == Some(Kind::Create) && !self.list.is_empty();
        self.list.retain(|head| !goes(head.dot(), version.dot(), parents, local));
        self.list.push(version);
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy::{LOCAL, Toy, entity};
    use super::*;
    use crate::fold::Lookup;
    use crate::model::Content;

    const A: Line = Line::new(1);
    const B: Line = Line::new(2);

    fn content(text: &str) -> Option<Content> {
        Some(Content::new().with("text", text))
    }

    /// Entities that are settled, diverged and deleted, in the store where both ends met.
    fn scene() -> Toy {
        let (mut phone, mut hub) = (Toy::default(), Toy::default());
        let created = (1..=3).map(|n| phone.plan(n, Kind::Create, content("one"))).collect();
        hub.receive(A, &phone.write(A, 10, created).unwrap()).unwrap();
        let theirs = vec![hub.plan(2, Kind::Update, content("two"))];
        hub.write(B, 20, theirs).unwrap();
        let ours =
            vec![phone.plan(2, Kind::Update, content("three")), phone.plan(3, Kind::Delete, None)];
        hub.receive(A, &phone.write(A, 30, ours).unwrap()).unwrap();
        assert_eq!([1, 2, 3].map(|n| hub.heads_of(n).len()), [1, 2, 1], "the premise");
        hub
    }

    #[test]
    fn a_row_is_read_as_it_was_written_and_says_in_front_what_all_of_it_says() {
        let hub = scene();
        for n in 1..=3 {
            let heads = hub.heads(entity(n)).unwrap();
            let row = heads.encode();
            assert_eq!(Heads::decode(&row, &hub).unwrap(), *heads);
            let in_front = Heads::peek(&row).unwrap();
            assert_eq!(in_front, (heads.unsettled, heads.type_number().unwrap()));
            assert_eq!(Heads::peek_created_twice(&row), heads.created_twice);
            for cut in 0..row.len() {
                assert!(Heads::decode(&row[..cut], &hub).is_err(), "{cut} of {}", row.len());
            }
        }
    }

    #[test]
    fn only_one_settled_head_is_read_in_place() {
        let hub = scene();
        let in_place = |n| in_place(&hub.heads(entity(n)).unwrap());
        let (bytes, places) = in_place(1).unwrap();
        let [[path, value]] = &places[..] else { panic!("one leaf: {places:?}") };
        assert_eq!(PathRef::new(&bytes[path.clone()]).keys().collect::<Vec<_>>(), ["text"]);
        assert!(bytes[value.clone()].ends_with(b"one"));
        assert!(in_place(2).is_none() && in_place(3).is_none());
    }

    #[test]
    fn a_large_content_stays_in_the_log() {
        let mut toy = Toy::default();
        let large = content(&"x".repeat(INLINE));
        toy.write(A, 10, vec![toy.plan(1, Kind::Create, large)]).unwrap();
        assert_eq!(toy.heads(entity(1)).unwrap().list[0].state, HeadState::InLog);
    }

    #[test]
    fn two_who_had_not_seen_each_other_leave_two_heads_whoever_came_first() {
        let mut phone = Toy::default();
        let created =
            phone.write(A, 10, vec![phone.plan(1, Kind::Create, content("one"))]).unwrap();
        let mut tablet = Toy::default();
        tablet.receive(A, &created).unwrap();
        let ours = phone.write(A, 20, vec![phone.plan(1, Kind::Update, content("two"))]).unwrap();
        let theirs = tablet.write(B, 20, vec![tablet.plan(1, Kind::Update, content("three"))]);
        phone.receive(B, &theirs.unwrap()).unwrap();
        tablet.receive(A, &ours).unwrap();
        assert_eq!(phone.heads_of(1), tablet.heads_of(1));
        assert_eq!(phone.heads_of(1).len(), 2);
        let merge = phone.write(A, 30, vec![phone.plan(1, Kind::Update, content("four"))]).unwrap();
        tablet.receive(A, &merge).unwrap();
        assert_eq!((tablet.heads_of(1).len(), phone.heads_of(1)), (1, tablet.heads_of(1)));
    }

    #[test]
    fn what_never_leaves_yields_to_what_travels_and_to_nothing_else() {
        let mut toy = Toy::with_local();
        toy.write(LOCAL, 10, vec![toy.plan(1, Kind::Create, content("mine"))]).unwrap();
        let mut other = Toy::default();
        let created =
            other.write(A, 10, vec![other.plan(1, Kind::Create, content("ours"))]).unwrap();
        let folded = toy.receive(A, &created).unwrap();
        assert_eq!(toy.heads_of(1), other.heads_of(1), "or replicas would differ for ever");
        assert!(folded.changes[0].gone.is_empty(), "the digest never counted it");
        let place = |line| (line, crate::model::Sequence::FIRST);
        assert!(goes(place(LOCAL), place(A), &[], Some(LOCAL)));
        assert!(!goes(place(A), place(LOCAL), &[], Some(LOCAL)));
        assert!(!goes(place(A), place(B), &[], None));
        assert!(goes(place(A), place(B), &[place(A)], None));
    }

    #[test]
    fn gone_through_once_more_versions_give_the_same_heads() {
        let mut again = HeadWriters::default();
        let writer = |line: Line, sequence: u64| Writer {
            line,
            reference: crate::model::VersionRef {
                sequence: sequence.into(),
                ..Writer::OWN.reference
            },
            ..Writer::OWN
        };
        let [a, b, merge] = [writer(A, 1), writer(B, 1), writer(A, 2)];
        again.see(a, Some(Kind::Create), &[], None);
        assert!(!again.created_twice);
        again.see(b, Some(Kind::Create), &[], None);
        assert!(again.created_twice && again.contains(a.dot()) && again.contains(b.dot()));
        again.see(merge, Some(Kind::Update), &[a.dot(), b.dot()], None);
        assert_eq!(again.list, [merge]);
    }
}
