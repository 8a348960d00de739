//! Making a commit: from what shall become of entities to a header whose chain covers it.

use std::sync::Arc;

use heirloom_core::error::Invalid;
use heirloom_core::format::body::{self, Body, Tag};
use heirloom_core::format::hash::{chain_after, state_checksum, states_root};
use heirloom_core::format::header::{Header, ParentName, VersionHeader};
use heirloom_core::limits;
use heirloom_core::merge::difference;
use heirloom_core::model::{
    Chain, CommitRef, EntityId, Kind, Line, LogId, Metadata, Sequence, State, VersionRef, Writer,
};

use super::commit::{after, encoded_full};
use super::parts::Settled;
use crate::error::{Error, ImportFault, Result};
use crate::store::read::{Stored, View};
use crate::store::rows::Head;

/// What shall become of an entity.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) entity: EntityId,
    pub(crate) kind: Kind,
    /// Of a creation.
    pub(crate) entity_type: Option<Arc<str>>,
    pub(crate) parents: Vec<Head>,
    /// The merge of the parents, if their contents are here.
    pub(crate) base: Option<State>,
    /// With [`Writer::OWN`] as writer of what is new; nothing for a deletion.
    pub(crate) state: Option<State>,
}

/// The log that a commit extends.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) log: LogId,
    pub(crate) line: Line,
    /// Sequence and chain of the commit before.
    pub(crate) before: (Sequence, Chain),
}

/// A commit ready to be folded.
pub(crate) struct NewCommit {
    pub(crate) header: Header,
    pub(crate) header_bytes: Vec<u8>,
    pub(crate) chain: Chain,
    pub(crate) settled: Vec<Settled>,
}

/// `refs` must hold, for each foreign log that a parent lies on, a commit at or after that parent.
pub(crate) fn author(
    view: &View<'_>,
    place: Place,
    wall: u64,
    mut refs: Vec<CommitRef>,
    metadata: &Metadata,
    plan: Vec<Planned>,
) -> Result<NewCommit> {
    refs.sort();
    refs.dedup();
    Invalid::check_limit("versions in a commit", limits::VERSIONS, plan.len())?;
    Invalid::check_limit("refs of a commit", limits::REFS, refs.len())?;
    Invalid::check_limit("bytes of the actor", limits::ACTOR as u64, metadata.actor.len())?;
    Invalid::check_limit("bytes of the message", limits::MESSAGE as u64, metadata.message.len())?;
    let first = place.before.0.next();
    let parents = plan.iter().flat_map(|p| &p.parents);
    let stamp =
        parents.fold(wall, |s, h| s.max(after(h.writer.stamp, !holds(view, place.line, h))));
    let mut versions = Vec::with_capacity(plan.len());
    let mut fulls = Vec::with_capacity(plan.len());
    let mut checksums = Vec::with_capacity(plan.len());
    for (i, p) in plan.iter().enumerate() {
        versions.push(version_header(view, place, &refs, p)?);
        let full = p.state.as_ref().map(|s| body::full(s, &Writer::OWN));
        Invalid::check_limit(
            "bytes of a version",
            limits::FULL_BODY as u64,
            full.as_ref().map_or(0, Vec::len),
        )?;
        let entity_type = type_of(view, p)?;
        checksums.push(state_checksum(
            place.log,
            first.plus(i as u64),
            p.entity,
            &entity_type,
            full.as_deref(),
        ));
        fulls.push(full);
    }
    let total = fulls.iter().flatten().map(Vec::len).sum();
    Invalid::check_limit("bytes of a commit", limits::FULL_BODIES as u64, total)?;
    let header = Header {
        level: limits::LEVEL,
        first,
        count: plan.len() as u64,
        wall,
        excess: stamp - wall,
        refs,
        states_root: states_root(&checksums),
        metadata: metadata.clone(),
        versions,
    };
    if header.last() > Sequence::LAST {
        return Err(Error::LogFull);
    }
    let header_bytes = header.encode();
    Invalid::check_limit("bytes of a header", limits::HEADER as u64, header_bytes.len())?;
    let chain = chain_after(&place.before.1, &header_bytes);
    let settled = plan.into_iter().zip(fulls).enumerate().map(|(i, (p, full))| {
        let reference =
            VersionRef { log: place.log, sequence: first.plus(i as u64), prefix: chain.prefix() };
        settle(p, full, Writer { line: place.line, stamp, reference })
    });
    let settled = settled.collect();
    Ok(NewCommit { settled, header, header_bytes, chain })
}

/// Whether a version lies on the path that ends in a line.
fn holds(view: &View<'_>, line: Line, head: &Head) -> bool {
    view.directory.line_at(line, head.writer.reference.sequence) == head.writer.line
}

fn version_header(
    view: &View<'_>,
    place: Place,
    refs: &[CommitRef],
    p: &Planned,
) -> Result<VersionHeader> {
    Invalid::check_limit("parents of a version", limits::PARENTS, p.parents.len())?;
    if let Some(t) = &p.entity_type
        && !(1..=limits::TYPE).contains(&t.len())
    {
        return Err(Invalid::EntityType(t.to_string()).into());
    }
    let name = |h: &Head| {
        let VersionRef { log, sequence, .. } = h.writer.reference;
        if holds(view, place.line, h) {
            return Ok(ParentName { path: 0, sequence });
        }
        let first = refs.partition_point(|r| (r.log, r.sequence) < (log, sequence));
        for (at, r) in refs.iter().enumerate().skip(first).take_while(|(_, r)| r.log == log) {
            if sequence <= r.sequence
                && view.line_of(log, r.sequence, r.prefix)?.is_some_and(|line| holds(view, line, h))
            {
                return Ok(ParentName { path: at as u64 + 1, sequence });
            }
        }
        if !view.missing.shows(h.writer.line, sequence) {
            return Err(Error::corrupt(
                "log",
                format!("{log}/{sequence}"),
                "the commit that is written on is damaged",
            ));
        }
        Err(ImportFault::UnseenParent { log, sequence }.into())
    };
    let mut parents = p.parents.iter().map(name).collect::<Result<Vec<_>>>()?;
    parents.sort();
    Ok(VersionHeader {
        entity: p.entity,
        kind: p.kind as u8,
        entity_type: p.entity_type.as_deref().map(Into::into),
        parents,
    })
}

fn type_of(view: &View<'_>, p: &Planned) -> Result<Arc<str>> {
    if let Some(t) = &p.entity_type {
        return Ok(t.clone());
    }
    let least = p.parents.iter().map(|h| h.derived.type_source).min_by_key(|s| s.key());
    let least =
        least.ok_or_else(|| Error::corrupt("types", p.entity, "an entity without a type"))?;
    view.entity_type(least.type_number)
}

/// The shorter of patch and full body; a full one at least every so many generations.
fn settle(p: Planned, full: Option<Vec<u8>>, own: Writer) -> Settled {
    let (Some(mut state), Some(full)) = (p.state, full) else {
        return Settled { content: Stored::Tombstone, body: vec![Tag::None as u8], depth: 0 };
    };
    let depth = p.parents.iter().map(|h| h.depth).max().unwrap_or(0) + 1;
    let patch = p
        .base
        .filter(|_| depth < limits::FULL_EVERY && !p.parents.is_empty())
        .and_then(|base| difference(&base, &state, &Writer::OWN))
        .map(|patch| patch.encode())
        .filter(|patch| patch.len() < full.len());
    state.rename(&Writer::OWN, own);
    let content = Stored::Live(Arc::new(state));
    match patch {
        Some(payload) => {
            let mut out = Vec::with_capacity(payload.len() + 4);
            Body { tag: Tag::Patch, payload: &payload }.encode(&mut out);
            Settled { content, body: out, depth }
        }
        None => Settled { content, body: encoded_full(&full), depth: 0 },
    }
}
