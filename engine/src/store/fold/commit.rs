//! From a commit's header and bodies to versions and heads (I4, I8). The same for what is written
//! here and what is received.
//!
//! Void or not is a function of headers alone, so all replicas agree. Nothing is refused for its
//! meaning (R36).

use std::sync::Arc;

use heirloom_core::bytes::Reader;
use heirloom_core::format::body::{self, Body, PatchBody, Tag};
use heirloom_core::format::hash::{StateChecksum, state_checksum, states_root};
use heirloom_core::format::header::{Header, ParentName, VersionHeader};
use heirloom_core::format::value::EMPTY_MAP;
use heirloom_core::limits;
use heirloom_core::merge::{apply, conflicts};
use heirloom_core::model::{
    EntityId, Kind, Line, Path, Sequence, State, Timestamp, VersionRef, VoidReason, Writer,
};

use super::parts::{Bodies, Folded, HeadChange, Incoming, Settled};
use crate::error::{Error, Result};
use crate::store::read::{Stored, View};
use crate::store::rows::{Derived, Head, HeadState, Heads, Note, RecordDraft, derive};

const MAX_TIME: u64 = Timestamp::MAX.as_millis() as u64;

/// A version that a header names as a parent: as if it were a head, or void.
struct Parent {
    dot: (Line, Sequence),
    /// Not on the commit's own path. A ref may lead to the own log too.
    through_ref: bool,
    stamp: u64,
    head: Option<Head>,
}

struct Judged {
    parents: Vec<Parent>,
    void: Option<VoidReason>,
    heads: Arc<Heads>,
}

pub(crate) fn fold(view: &View<'_>, incoming: &Incoming<'_>, bodies: Bodies<'_>) -> Result<Folded> {
    let header = incoming.header;
    let mut judged = Vec::with_capacity(header.versions.len());
    for version in &header.versions {
        judged.push(judge(view, incoming, version)?);
    }
    let void = void_commit(incoming, &judged);
    let derived = derive_all(view, incoming, void, &judged)?;
    let (settled, unverified) = match bodies {
        Bodies::Known(settled) => (settled, false),
        Bodies::Received(block) => receive(view, incoming, block, void, &judged, &derived)?,
    };
    let mut notes = Vec::with_capacity(judged.len());
    let (mut changes, mut voids) = (Vec::new(), Vec::new());
    for (i, (judged, derived)) in judged.iter().zip(derived).enumerate() {
        let writer = writer(incoming, i);
        let Some(derived) = derived else {
            let reason = void.or(judged.void).unwrap_or(VoidReason::Kind);
            notes.push(Note::Void(reason));
            voids.push((writer.reference, reason));
            continue;
        };
        let version = &header.versions[i];
        notes.push(note(version, &settled[i], unverified, &derived));
        changes.push(change(view, version, judged, writer, derived, &settled[i]));
    }
    if header.is_newer() {
        voids.push((writer(incoming, 0).reference, VoidReason::Level));
    }
    let draft = RecordDraft {
        line: incoming.line,
        chain: incoming.chain,
        header_bytes: incoming.header_bytes,
        notes: &notes,
        void,
        unverified,
        trailer: incoming.trailer,
        bodies: settled.into_iter().map(|s| s.body).collect(),
    };
    let local = view.directory.is_local(incoming.line);
    Ok(Folded { record: draft.encode(), changes, voids, unverified, local })
}

fn writer(incoming: &Incoming<'_>, index: usize) -> Writer {
    let sequence = incoming.header.first.plus(index as u64);
    let reference = VersionRef { log: incoming.log, sequence, prefix: incoming.chain.prefix() };
    Writer { line: incoming.line, stamp: incoming.header.stamp().unwrap_or(u64::MAX), reference }
}

/// Finds the parents of a version, and says whether it is void by itself.
fn judge(view: &View<'_>, incoming: &Incoming<'_>, version: &VersionHeader) -> Result<Judged> {
    let heads = view.heads(version.entity)?;
    let mut parents = Vec::with_capacity(version.parents.len());
    let mut void = None;
    for name in &version.parents {
        match find_parent(view, incoming, version.entity, &heads, name)? {
            Some(parent) => {
                if parent.head.is_none() {
                    void = Some(VoidReason::Parent);
                }
                parents.push(parent);
            }
            None => void = Some(VoidReason::Parent),
        }
    }
    if version.parents.windows(2).any(|w| w[0] >= w[1]) {
        void = Some(VoidReason::Parent);
    }
    let creation = version.kind() == Some(Kind::Create);
    if version.kind().is_none()
        || creation != version.parents.is_empty()
        || creation != version.entity_type.is_some()
    {
        void = Some(VoidReason::Kind);
    }
    Ok(Judged { parents, void, heads })
}

fn find_parent(
    view: &View<'_>,
    incoming: &Incoming<'_>,
    entity: EntityId,
    heads: &Heads,
    name: &ParentName,
) -> Result<Option<Parent>> {
    let (end, upto) = if name.path == 0 {
        (incoming.line, incoming.header.before())
    } else {
        let reference =
            usize::try_from(name.path - 1).ok().and_then(|i| incoming.header.refs.get(i));
        let Some(r) = reference else { return Ok(None) };
        match view.line_of(r.log, r.sequence, r.prefix)? {
            Some(line) => (line, r.sequence),
            None => return Ok(None),
        }
    };
    if name.sequence == Sequence::START || name.sequence > upto {
        return Ok(None);
    }
    let (dot, through_ref) =
        ((view.directory.line_at(end, name.sequence), name.sequence), name.path > 0);
    let is_it = |h: &&Head| (h.writer.line, h.writer.reference.sequence) == dot;
    if let Some(head) = heads.list.iter().find(is_it) {
        return Ok(Some(Parent {
            dot,
            through_ref,
            stamp: head.writer.stamp,
            head: Some(head.clone()),
        }));
    }
    let Some(at) = view.version(dot)?.filter(|at| at.header().entity == entity) else {
        return Ok(None);
    };
    let header = &at.record.header;
    let stamp = header.wall.saturating_add(header.excess);
    let head = if at.record.void_of(at.index).is_some() {
        None
    } else {
        Some(Head::clone(&*view.as_head(&at)?))
    };
    Ok(Some(Parent { dot, through_ref, stamp, head }))
}

/// What makes a whole commit void.
fn void_commit(incoming: &Incoming<'_>, judged: &[Judged]) -> Option<VoidReason> {
    let header = incoming.header;
    if header.is_newer() {
        return Some(VoidReason::Level);
    }
    let mut entities: Vec<_> = header.versions.iter().map(|v| v.entity).collect();
    entities.sort();
    if entities.windows(2).any(|w| w[0] == w[1]) {
        return Some(VoidReason::EntityTwice);
    }
    let Some(stamp) = header.stamp() else { return Some(VoidReason::Time) };
    if header.wall < incoming.wall_before {
        return Some(VoidReason::Wall);
    }
    let parents = judged.iter().flat_map(|j| &j.parents);
    let after = parents.map(|p| after(p.stamp, p.through_ref));
    (stamp != after.fold(header.wall, u64::max)).then_some(VoidReason::Stamp)
}

/// The least stamp of a version with such a parent (I5).
pub(crate) fn after(stamp: u64, through_ref: bool) -> u64 {
    stamp.saturating_add(u64::from(through_ref)).min(MAX_TIME)
}

fn derive_all(
    view: &View<'_>,
    incoming: &Incoming<'_>,
    void: Option<VoidReason>,
    judged: &[Judged],
) -> Result<Vec<Option<Derived>>> {
    let one = |(i, j): (usize, &Judged)| {
        if void.or(j.void).is_some() {
            return Ok(None);
        }
        let own_type = incoming.header.versions[i].entity_type.as_deref();
        let own_type = own_type.map(|t| view.add_type(t)).transpose()?;
        let parents = j.parents.iter().filter_map(|p| p.head.as_ref()).map(|h| &h.derived);
        Ok(derive(view.directory, &writer(incoming, i), parents, own_type))
    };
    judged.iter().enumerate().map(one).collect()
}

/// Bodies that came from elsewhere: believed if all of them together give the states root
/// (FORMAT.md, 1.11).
fn receive(
    view: &View<'_>,
    incoming: &Incoming<'_>,
    block: &[u8],
    void: Option<VoidReason>,
    judged: &[Judged],
    derived: &[Option<Derived>],
) -> Result<(Vec<Settled>, bool)> {
    let header = incoming.header;
    if header.is_newer() {
        return Ok((vec![as_it_came(block.to_vec())], true));
    }
    let raw = body::bodies(block, header).map_err(Error::Refused)?;
    let keep = || {
        let one = |b: &Body<'_>| {
            let mut out = Vec::new();
            b.encode(&mut out);
            as_it_came(out)
        };
        raw.iter().map(one).collect::<Vec<_>>()
    };
    if void.is_some() || derived.iter().any(Option::is_none) {
        return Ok((keep(), true));
    }
    let mut settled = Vec::with_capacity(raw.len());
    let mut checksums = Vec::with_capacity(raw.len());
    let mut total = 0;
    for (i, body) in raw.iter().enumerate() {
        let Some(derived) = &derived[i] else { continue };
        match settle(view, incoming, i, body, &judged[i], derived)? {
            Outcome::Settled(one, checksum, size) => {
                total += size;
                settled.push(one);
                checksums.push(checksum);
            }
            // a patch without its base is kept for later and passed on
            Outcome::CannotTell => return Ok((keep(), true)),
            Outcome::Nonsense => return Ok((missing(header), true)),
        }
    }
    if total > limits::FULL_BODIES || states_root(&checksums) != header.states_root {
        return Ok((missing(header), true));
    }
    Ok((settled, false))
}

fn as_it_came(body: Vec<u8>) -> Settled {
    Settled { content: Stored::Absent, body, depth: 0 }
}

/// Bodies that do not give the root are never used.
fn missing(header: &Header) -> Vec<Settled> {
    let tag = |v: &VersionHeader| if v.is_deletion() { Tag::None } else { Tag::Missing };
    header.versions.iter().map(|v| as_it_came(vec![tag(v) as u8])).collect()
}

enum Outcome {
    Settled(Settled, StateChecksum, usize),
    CannotTell,
    Nonsense,
}

fn settle(
    view: &View<'_>,
    incoming: &Incoming<'_>,
    index: usize,
    body: &Body<'_>,
    judged: &Judged,
    derived: &Derived,
) -> Result<Outcome> {
    let version = &incoming.header.versions[index];
    let own = writer(incoming, index);
    let entity_type = view.entity_type(derived.type_source.type_number)?;
    let checksum = |full: Option<&[u8]>| {
        state_checksum(incoming.log, own.reference.sequence, version.entity, &entity_type, full)
    };
    let parents: Vec<&Head> = judged.parents.iter().filter_map(|p| p.head.as_ref()).collect();
    let depth = parents.iter().map(|h| h.depth).max().unwrap_or(0) + 1;
    let mut encoded = Vec::new();
    body.encode(&mut encoded);
    let state = match body.tag {
        Tag::None => {
            let settled = Settled { content: Stored::Tombstone, body: encoded, depth: 0 };
            return Ok(Outcome::Settled(settled, checksum(None), 0));
        }
        Tag::Missing => return Ok(Outcome::CannotTell),
        Tag::Pruned | Tag::Withheld | Tag::Encrypted => {
            return Ok(match body.checksum() {
                Some(sum) => Outcome::Settled(as_it_came(encoded), sum, 0),
                None => Outcome::Nonsense,
            });
        }
        Tag::Patch => {
            let Ok(patch) = PatchBody::decode(body.payload) else { return Ok(Outcome::Nonsense) };
            let parents: Vec<Head> = parents.into_iter().cloned().collect();
            match view.merged(version.entity, &parents) {
                Ok(base) => apply(&base, &patch, own),
                Err(Error::Absent(_)) => return Ok(Outcome::CannotTell),
                Err(e) => return Err(e),
            }
        }
        Tag::Full => {
            match read_full(view, version.entity, body.payload, &own, derived, &parents)? {
                Some(state) => state,
                None => return Ok(Outcome::Nonsense),
            }
        }
    };
    let full = body::full(&state, &own);
    if full.len() > limits::FULL_BODY {
        return Ok(Outcome::Nonsense);
    }
    let sum = checksum(Some(&full));
    let size = full.len();
    let (body, depth) = match body.tag {
        Tag::Patch if depth < limits::FULL_EVERY => (encoded, depth),
        _ => (encoded_full(&full), 0),
    };
    Ok(Outcome::Settled(Settled { content: Stored::Live(Arc::new(state)), body, depth }, sum, size))
}

pub(crate) fn encoded_full(full: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(full.len() + 4);
    Body { tag: Tag::Full, payload: full }.encode(&mut out);
    out
}

/// A full body whose writers all lie in the version's past; nothing if it is nonsense.
fn read_full(
    view: &View<'_>,
    entity: EntityId,
    payload: &[u8],
    own: &Writer,
    derived: &Derived,
    parents: &[&Head],
) -> Result<Option<State>> {
    let mut r = Reader::new(payload);
    let Ok(named) = body::named_writers(&mut r) else { return Ok(None) };
    let mut carried: Vec<Writer> = parents.iter().map(|h| h.writer).collect();
    for head in parents {
        if let Stored::Live(state) = view.head_content(entity, head)? {
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
            None => look_up(view, entity, reference, stamp, derived)?,
        }) else {
            return Ok(None);
        };
        table.push(writer);
    }
    let state = body::leaves(&mut r, &table);
    Ok(state.ok().filter(|s| own_writes_fit(s, own)))
}

/// A writer that no parent carries (undone, then restored): a version of the entity in the past.
fn look_up(
    view: &View<'_>,
    entity: EntityId,
    reference: VersionRef,
    stamp: u64,
    derived: &Derived,
) -> Result<Option<Writer>> {
    let line = view.line_of(reference.log, reference.sequence, reference.prefix)?;
    let Some(line) = line else { return Ok(None) };
    if !derived.clock.covers(line, reference.sequence) {
        return Ok(None);
    }
    let found = view.version((line, reference.sequence))?;
    let fits =
        found.filter(|at| at.header().entity == entity && at.record.void_of(at.index).is_none());
    Ok(fits.map(|at| at.writer).filter(|w| w.reference == reference && w.stamp == stamp))
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

/// What must stand in the record because no walk back should go past it.
fn note(version: &VersionHeader, settled: &Settled, unverified: bool, derived: &Derived) -> Note {
    let creation = version.kind() == Some(Kind::Create);
    let patch = settled.body.first() == Some(&(Tag::Patch as u8)) && !unverified;
    if creation || patch { Note::Plain } else { Note::Derived(derived.clone()) }
}

fn change(
    view: &View<'_>,
    version: &VersionHeader,
    judged: &Judged,
    writer: Writer,
    derived: Derived,
    settled: &Settled,
) -> HeadChange {
    let is_parent = |h: &Head| {
        judged.parents.iter().any(|p| p.dot == (h.writer.line, h.writer.reference.sequence))
    };
    // what never leaves stands only while there is nothing that does: else replicas would show
    // different things for ever
    let local = view.directory.local();
    let yields = |h: &Head| Some(h.writer.line) == local && Some(writer.line) != local;
    let (gone, mut list): (Vec<Head>, Vec<Head>) =
        judged.heads.list.iter().cloned().partition(|h| is_parent(h) || yields(h));
    let (state, undecided) = match &settled.content {
        _ if version.is_deletion() => (HeadState::Tombstone, false),
        Stored::Tombstone | Stored::Absent => (HeadState::Absent, false),
        Stored::Live(state) => (HeadState::of(state, &writer), !conflicts(state, 1, 0).is_empty()),
    };
    list.push(Head { writer, derived, depth: settled.depth, state });
    list.sort_by_key(|h| h.writer.reference);
    let unsettled = undecided || list.len() > 1;
    let again = version.kind() == Some(Kind::Create) && !judged.heads.is_empty();
    let created_twice = judged.heads.created_twice || again;
    HeadChange {
        entity: version.entity,
        heads: Heads { list, unsettled, created_twice },
        gone: gone
            .iter()
            .filter(|h| Some(h.writer.line) != local)
            .map(|h| h.writer.reference)
            .collect(),
        new: writer.reference,
        was_diverged: judged.heads.list.len() > 1,
        undecided,
    }
}
