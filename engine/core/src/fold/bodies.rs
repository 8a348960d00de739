//! Contents that came from elsewhere: believed if all bodies of a commit together give the states
//! root that its header names (FORMAT.md, 1.11).

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::derived::Derived;
use super::head::Head;
use super::judge::Judged;
use super::lookup::{Fault, Lookup};
use super::parts::{Incoming, Settled, Stored};
use crate::bytes::Reader;
use crate::format::body::{self, Body, PatchBody, Tag};
use crate::format::hash::{StateChecksum, state_checksum, states_root};
use crate::format::header::{Header, VersionHeader};
use crate::format::value::EMPTY_MAP;
use crate::limits;
use crate::merge::{Live, apply, merge};
use crate::model::{EntityId, Path, State, VersionRef, VoidReason, Writer};

/// The bodies of a commit as they are to be kept, and whether they do not verify.
pub(super) fn receive<L: Lookup>(
    here: &L,
    incoming: &Incoming<'_>,
    block: &[u8],
    void: Option<VoidReason>,
    judged: &[Judged],
    derived: &[Option<Derived>],
) -> Result<(Vec<Settled>, bool), L::Error> {
    let header = incoming.header;
    if header.is_newer() {
        return Ok((vec![as_it_came(block.to_vec())], true));
    }
    let raw = body::bodies(block, header).map_err(Fault::from)?;
    let keep = || raw.iter().map(|b| as_it_came(encoded(b))).collect::<Vec<_>>();
    // nobody reads what is void, but it is passed on as it came
    if void.is_some() || derived.iter().any(Option::is_none) {
        return Ok((keep(), true));
    }
    let mut settled = Vec::with_capacity(raw.len());
    let mut checksums = Vec::with_capacity(raw.len());
    let mut total = 0;
    for (i, body) in raw.iter().enumerate() {
        let Some(derived) = &derived[i] else { continue };
        match settle(here, incoming, i, body, &judged[i], derived)? {
            Outcome::Settled(one, checksum, size) => {
                total += size;
                // at once: a splice of a few bytes may make megabytes
                if total > limits::FULL_BODIES {
                    return Ok((missing(header), true));
                }
                settled.push(one);
                checksums.push(checksum);
            }
            // a patch without its base is kept for later and passed on
            Outcome::CannotTell => return Ok((keep(), true)),
            Outcome::Nonsense => return Ok((missing(header), true)),
        }
    }
    // The root covers what the bodies result in, not their bytes: a relay may encode a content as
    // a patch or in full, and nobody can change what it says.
    if states_root(&checksums) != header.states_root {
        return Ok((missing(header), true));
    }
    Ok((settled, false))
}

fn encoded(body: &Body<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.payload.len() + 4);
    body.encode(&mut out);
    out
}

pub(super) fn encoded_full(full: &[u8]) -> Vec<u8> {
    encoded(&Body { tag: Tag::Full, payload: full })
}

fn as_it_came(body: Vec<u8>) -> Settled {
    Settled { content: Stored::Absent, body, depth: 0 }
}

/// Bodies that do not give the root are never used.
fn missing(header: &Header) -> Vec<Settled> {
    let tag = |v: &VersionHeader| if v.is_deletion() { Tag::None } else { Tag::Missing };
    header.versions.iter().map(|v| as_it_came(vec![tag(v) as u8])).collect()
}

/// Whether a version that is so many patches away from a full body, itself included, stays one.
///
/// Whoever reads it applies them all, so more than a few must save more than they cost: of a long
/// text with small changes they do, up to where they would outweigh it in full.
pub(super) fn is_patch_worth_it(depth: u64, patch: usize, full: usize) -> bool {
    let outweighs = |patches: u64| patches.saturating_mul(patch as u64) >= full as u64;
    !outweighs(1) && (depth < limits::PATCHES || depth < limits::FULL_EVERY && !outweighs(depth))
}

enum Outcome {
    /// With its checksum, and how large it is in full.
    Settled(Settled, StateChecksum, usize),
    /// What it builds on is not here.
    CannotTell,
    Nonsense,
}

fn settle<L: Lookup>(
    here: &L,
    incoming: &Incoming<'_>,
    index: usize,
    body: &Body<'_>,
    judged: &Judged,
    derived: &Derived,
) -> Result<Outcome, L::Error> {
    let version = &incoming.header.versions[index];
    let own = incoming.writer(index);
    let entity_type = here.entity_type(derived.type_source.type_number)?;
    let checksum = |full: Option<&[u8]>| {
        state_checksum(incoming.log, own.reference.sequence, version.entity, &entity_type, full)
    };
    let parents: Vec<&Head> = judged.parent_heads().collect();
    let depth = parents.iter().map(|h| h.depth).max().unwrap_or(0) + 1;
    let state = match body.tag {
        Tag::None => {
            let settled = Settled { content: Stored::Tombstone, body: encoded(body), depth: 0 };
            return Ok(Outcome::Settled(settled, checksum(None), 0));
        }
        Tag::Missing => return Ok(Outcome::CannotTell),
        // what stands in for a content names its checksum, so that the others can be verified
        Tag::Pruned | Tag::Withheld | Tag::Encrypted => {
            return Ok(match body.checksum() {
                Some(sum) => Outcome::Settled(as_it_came(encoded(body)), sum, 0),
                None => Outcome::Nonsense,
            });
        }
        Tag::Patch => {
            let parents = parents.iter().copied();
            let Ok(base) = merged(here, version.entity, parents)? else {
                return Ok(Outcome::CannotTell);
            };
            let Ok(patch) = PatchBody::decode(body.payload, &base) else {
                return Ok(Outcome::Nonsense);
            };
            apply(&base, &patch, own)
        }
        Tag::Full => {
            match read_full(here, version.entity, body.payload, &own, derived, &parents)? {
                Some(state) => state,
                None => return Ok(Outcome::Nonsense),
            }
        }
    };
    let full = body::full(&state, &own);
    // a patch of a few bytes may make a content of any size
    if full.len() > limits::FULL_BODY {
        return Ok(Outcome::Nonsense);
    }
    let sum = checksum(Some(&full));
    let size = full.len();
    // a walk back through patches ends after so many, whatever a peer sends
    let (body, depth) = match body.tag {
        Tag::Patch if is_patch_worth_it(depth, body.payload.len(), size) => (encoded(body), depth),
        _ => (encoded_full(&full), 0),
    };
    Ok(Outcome::Settled(Settled { content: Stored::Live(Arc::new(state)), body, depth }, sum, size))
}

/// The merge of the live ones of some heads; in its place a head whose content is not here.
pub fn merged<'h, L: Lookup>(
    here: &L,
    entity: EntityId,
    heads: impl Iterator<Item = &'h Head>,
) -> Result<Result<State, VersionRef>, L::Error> {
    let mut live = Vec::new();
    for head in heads {
        match here.content(entity, head)? {
            Stored::Live(state) => live.push((state, &head.derived.clock)),
            Stored::Tombstone => {}
            Stored::Absent => return Ok(Err(head.writer.reference)),
        }
    }
    let live: Vec<_> = live.iter().map(|(state, clock)| Live { state, clock }).collect();
    Ok(Ok(merge(&live)))
}

/// A full body whose writers all lie in the version's past; nothing if it is nonsense.
fn read_full<L: Lookup>(
    here: &L,
    entity: EntityId,
    payload: &[u8],
    own: &Writer,
    derived: &Derived,
    parents: &[&Head],
) -> Result<Option<State>, L::Error> {
    let mut r = Reader::new(payload);
    let Ok(named) = body::named_writers(&mut r) else { return Ok(None) };
    let mut carried: Vec<Writer> = parents.iter().map(|h| h.writer).collect();
    for head in parents {
        if let Stored::Live(state) = here.content(entity, head)? {
            carried.extend(state.0.iter().flat_map(|l| &l.entries).map(|e| e.writer));
        }
    }
    carried.sort_unstable_by_key(Writer::key);
    let mut table = vec![*own];
    for (reference, stamp) in named {
        let known = carried
            .binary_search_by_key(&(stamp, reference), Writer::key)
            .ok()
            .map(|at| carried[at]);
        let Some(writer) = (match known {
            Some(writer) => Some(writer),
            None => look_up(here, entity, reference, stamp, derived)?,
        }) else {
            return Ok(None);
        };
        table.push(writer);
    }
    let state = body::leaves(&mut r, &table);
    Ok(state.ok().filter(|s| own_writes_fit(s, own)))
}

/// A writer that no parent carries (undone, then restored): a version of the entity in the past.
fn look_up<L: Lookup>(
    here: &L,
    entity: EntityId,
    reference: VersionRef,
    stamp: u64,
    derived: &Derived,
) -> Result<Option<Writer>, L::Error> {
    let line = here.line_of(reference.log, reference.sequence, reference.prefix)?;
    let Some(line) = line else { return Ok(None) };
    if !derived.clock.covers(line, reference.sequence) {
        return Ok(None);
    }
    let found = here.version(entity, (line, reference.sequence))?.filter(|known| !known.is_void);
    Ok(found.map(|known| known.writer).filter(|w| w.reference == reference && w.stamp == stamp))
}

/// Of the paths with an own entry none continues another, unless that is a map.
fn own_writes_fit(state: &State, own: &Writer) -> bool {
    let own = state.0.iter().flat_map(|l| {
        l.entries.iter().filter(|e| e.writer == *own).map(|e| (&l.path, *e.value == *EMPTY_MAP))
    });
    // in order, what continues a path follows it directly
    let own: Vec<(&Path, bool)> = own.collect();
    !own.windows(2).any(|w| w[1].0.is_below(w[0].0) && !w[0].1)
}

#[cfg(test)]
mod tests {
    use super::super::toy::{Sent, Toy, entity};
    use super::*;
    use crate::model::{Content, Kind, Line};

    const A: Line = Line::new(1);

    fn content(n: i64) -> Option<Content> {
        Some(Content::new().with("n", n).with("text", "much longer than what changes of it"))
    }

    fn scene() -> (Toy, [Sent; 2]) {
        let mut toy = Toy::default();
        let created = toy.write(A, 10, vec![toy.plan(1, Kind::Create, content(1))]).unwrap();
        let changed = toy.write(A, 20, vec![toy.plan(1, Kind::Update, content(2))]).unwrap();
        (toy, [created, changed])
    }

    fn state_of(toy: &Toy) -> State {
        match toy.stored(&toy.heads_of(1)[0]) {
            Stored::Live(state) => State::clone(&state),
            other => panic!("{other:?}"),
        }
    }

    /// The same commit with another body.
    fn with_body(sent: &Sent, tag: Tag, payload: &[u8]) -> Sent {
        Sent { bodies: encoded(&Body { tag, payload }), ..sent.clone() }
    }

    #[test]
    fn a_patch_and_the_whole_content_are_the_same_body() {
        let (toy, [created, changed]) = scene();
        assert_eq!(changed.bodies[0], Tag::Patch as u8, "the premise: that is shorter");
        let writer = toy.writer_of(1);
        let whole = with_body(&changed, Tag::Full, &body::full(&state_of(&toy), &writer));
        for sent in [&changed, &whole] {
            let mut other = Toy::default();
            other.receive(A, &created).unwrap();
            assert!(!other.receive(A, sent).unwrap().unverified);
            assert_eq!(other.heads_of(1), toy.heads_of(1));
            assert_eq!(state_of(&other), state_of(&toy));
        }
    }

    #[test]
    fn bodies_that_do_not_give_the_root_are_never_used_and_the_version_is_a_head_all_the_same() {
        let (toy, [created, changed]) = scene();
        let lies = [
            with_body(&changed, Tag::Full, b"nonsense"),
            with_body(&changed, Tag::Patch, b"nonsense"),
            Sent { bodies: created.bodies.clone(), ..changed.clone() },
        ];
        for lie in lies {
            let mut other = Toy::default();
            other.receive(A, &created).unwrap();
            let folded = other.receive(A, &lie).unwrap();
            assert!(folded.unverified && folded.voids.is_empty());
            assert_eq!(folded.bodies, [[Tag::Missing as u8]]);
            assert_eq!(other.heads_of(1), toy.heads_of(1), "headers alone say which they are");
            assert!(matches!(other.stored(&other.heads_of(1)[0]), Stored::Absent));
        }
    }

    #[test]
    fn a_patch_without_its_base_is_kept_as_it_came_and_passed_on() {
        let (_, [created, changed]) = scene();
        let mut other = Toy::default();
        other.receive(A, &with_body(&created, Tag::Missing, &[])).unwrap();
        let folded = other.receive(A, &changed).unwrap();
        assert!(folded.unverified);
        assert_eq!(folded.bodies.concat(), changed.bodies);
    }

    #[test]
    fn what_stands_in_for_a_content_names_its_checksum() {
        let (toy, [created, changed]) = scene();
        let (writer, mut sums) = (toy.writer_of(1), Vec::new());
        let full = body::full(&state_of(&toy), &writer);
        let VersionRef { log, sequence, .. } = writer.reference;
        sums.push(state_checksum(log, sequence, entity(1), "lamp", Some(&full)));
        for (sum, verifies) in [(sums[0], true), ([0; 16], false)] {
            let mut other = Toy::default();
            other.receive(A, &created).unwrap();
            let folded = other.receive(A, &with_body(&changed, Tag::Pruned, &sum)).unwrap();
            assert_eq!(folded.unverified, !verifies);
        }
    }

    #[test]
    fn only_bodies_that_do_not_frame_are_an_error() {
        let (_, [created, changed]) = scene();
        let mut other = Toy::default();
        other.receive(A, &created).unwrap();
        for bodies in [&[][..], &[99][..], &[Tag::None as u8][..]] {
            let cut = Sent { bodies: bodies.to_vec(), ..changed.clone() };
            assert!(matches!(other.receive(A, &cut), Err(Fault::Malformed(_))), "{bodies:?}");
        }
    }
}
