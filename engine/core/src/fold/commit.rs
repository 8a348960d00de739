//! A commit folded: its versions judged, its contents settled, the heads after it (I4).

use alloc::vec::Vec;

use super::bodies::receive;
use super::derived::Derived;
use super::head::{Head, HeadState, Heads, goes};
use super::judge::{Judged, derive_all, judge, void_commit};
use super::lines::Lines;
use super::lookup::{Fault, Lookup};
use super::parts::{Bodies, Folded, HeadChange, Incoming, Note, Settled, Stored};
use crate::bytes::Malformed;
use crate::format::body::Tag;
use crate::format::header::VersionHeader;
use crate::merge::conflicts;
use crate::model::{Dot, Kind, VersionRef, VoidReason, Writer};

impl Incoming<'_> {
    /// The version at an index as a writer.
    pub fn writer(&self, index: usize) -> Writer {
        let sequence = self.header.first.plus(index as u64);
        let reference = VersionRef { log: self.log, sequence, prefix: self.chain.prefix() };
        // one without a time makes its whole commit void, so that nothing is ever ordered by it
        let stamp = self.header.stamp().unwrap_or(u64::MAX);
        Writer { line: self.line, stamp, reference }
    }
}

/// What a commit does to a store in which all is that it follows and refers to.
///
/// Void versions change nothing and are named; bodies that do not verify are kept as they came, or
/// as missing. Only bodies that do not frame are an error, and what the store itself says.
pub fn fold<L: Lookup>(
    here: &L,
    incoming: &Incoming<'_>,
    bodies: Bodies<'_>,
) -> Result<Folded, L::Error> {
    let header = incoming.header;
    let mut judged = Vec::with_capacity(header.versions.len());
    for version in &header.versions {
        judged.push(judge(here, incoming, version)?);
    }
    let void = void_commit(incoming, &judged);
    let derived = derive_all(here, incoming, void, &judged)?;
    // after judging, which never depends on it
    let (settled, unverified) = match bodies {
        Bodies::Known(settled) if settled.len() == header.versions.len() => (settled, false),
        Bodies::Known(_) => {
            let what = "another number of contents than of versions";
            return Err(Fault::Malformed(Malformed { what, at: 0 }).into());
        }
        Bodies::Received(block) => receive(here, incoming, block, void, &judged, &derived)?,
    };
    let mut notes = Vec::with_capacity(judged.len());
    let (mut changes, mut voids) = (Vec::new(), Vec::new());
    for (i, (judged, derived)) in judged.iter().zip(derived).enumerate() {
        let writer = incoming.writer(i);
        let Some(derived) = derived else {
            let reason = void.or(judged.void).unwrap_or(VoidReason::Kind);
            notes.push(Note::Void(reason));
            voids.push((writer.reference, reason));
            continue;
        };
        let version = &header.versions[i];
        notes.push(note(version, &settled[i], unverified, &derived));
        changes.push(change(here.lines(), version, judged, writer, derived, &settled[i]));
    }
    if header.is_newer() {
        voids.push((incoming.writer(0).reference, VoidReason::Level));
    }
    let local = here.lines().local() == Some(incoming.line);
    let bodies = settled.into_iter().map(|s| s.body).collect();
    Ok(Folded { notes, void, unverified, bodies, changes, voids, local })
}

/// What must be noted because no walk back should go past it.
fn note(version: &VersionHeader, settled: &Settled, unverified: bool, derived: &Derived) -> Note {
    let creation = version.kind() == Some(Kind::Create);
    let patch = settled.body.first() == Some(&(Tag::Patch as u8)) && !unverified;
    if creation || patch { Note::Plain } else { Note::Derived(derived.clone()) }
}

/// The heads of an entity after one of its versions: the version, and of those before it all that
/// are none of its parents. A version is a head until a child of it is here, so the order in which
/// commits come makes no difference.
fn change(
    lines: &impl Lines,
    version: &VersionHeader,
    judged: &Judged,
    writer: Writer,
    derived: Derived,
    settled: &Settled,
) -> HeadChange {
    let local = lines.local();
    let parents: Vec<Dot> = judged.parents.iter().map(|p| p.at).collect();
    let (gone, mut list): (Vec<Head>, Vec<Head>) = judged
        .heads
        .list
        .iter()
        .cloned()
        .partition(|h| goes(h.dot(), writer.dot(), &parents, local));
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
