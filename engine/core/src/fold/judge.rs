//! Which versions of a commit are void, from headers alone (I8).
//!
//! Nothing here looks at a content: a replica that has no bodies, or was told others, must come to
//! the same answer, else digests would differ for ever.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::derived::{Derived, derive};
use super::head::{Head, Heads};
use super::lookup::{Lines, Lookup};
use super::parts::{Dot, Incoming};
use crate::format::header::{ParentName, VersionHeader};
use crate::model::{EntityId, Kind, Sequence, Timestamp, VoidReason};

const MAX_TIME: u64 = Timestamp::MAX.as_millis() as u64;

/// A version that a header names as a parent: as if it were a head, or void.
pub(super) struct Parent {
    pub(super) at: Dot,
    /// Not on the commit's own path. A ref may lead to the own log too.
    through_ref: bool,
    stamp: u64,
    /// Nothing where it is void.
    pub(super) head: Option<Head>,
}

/// A version with its parents found.
pub(super) struct Judged {
    pub(super) parents: Vec<Parent>,
    /// Why it is void by itself, whatever becomes of its commit.
    pub(super) void: Option<VoidReason>,
    /// What the heads of its entity were before.
    pub(super) heads: Arc<Heads>,
}

impl Judged {
    /// Its parents as heads: all of them, if it is not void.
    pub(super) fn parent_heads(&self) -> impl Iterator<Item = &Head> {
        self.parents.iter().filter_map(|p| p.head.as_ref())
    }
}

/// Finds the parents of a version, and says whether it is void by itself.
pub(super) fn judge<L: Lookup>(
    here: &L,
    incoming: &Incoming<'_>,
    version: &VersionHeader,
) -> Result<Judged, L::Error> {
    let heads = here.heads(version.entity)?;
    let mut parents = Vec::with_capacity(version.parents.len());
    let mut void = None;
    for name in &version.parents {
        match find_parent(here, incoming, version.entity, &heads, name)? {
            Some(parent) => {
                // what stands on nothing is nothing, down to the last descendant
                if parent.head.is_none() {
                    void = Some(VoidReason::Parent);
                }
                parents.push(parent);
            }
            None => void = Some(VoidReason::Parent),
        }
    }
    // sorted and without repetition, so that one set of parents has one header
    if version.parents.windows(2).any(|w| w[0] >= w[1]) {
        void = Some(VoidReason::Parent);
    }
    // a creation, and nothing else, has a type and no parents
    let creation = version.kind() == Some(Kind::Create);
    if version.kind().is_none()
        || creation != version.parents.is_empty()
        || creation != version.entity_type.is_some()
    {
        void = Some(VoidReason::Kind);
    }
    Ok(Judged { parents, void, heads })
}

fn find_parent<L: Lookup>(
    here: &L,
    incoming: &Incoming<'_>,
    entity: EntityId,
    heads: &Heads,
    name: &ParentName,
) -> Result<Option<Parent>, L::Error> {
    // a path is the commit's own, or one of its refs: whatever lies on it the author has seen
    let (end, upto) = if name.path == 0 {
        (incoming.line, incoming.header.before())
    } else {
        let reference =
            usize::try_from(name.path - 1).ok().and_then(|i| incoming.header.refs.get(i));
        let Some(r) = reference else { return Ok(None) };
        match here.line_of(r.log, r.sequence, r.prefix)? {
            Some(line) => (line, r.sequence),
            None => return Ok(None),
        }
    };
    if name.sequence == Sequence::START || name.sequence > upto {
        return Ok(None);
    }
    let at = (here.lines().line_at(end, name.sequence), name.sequence);
    let through_ref = name.path > 0;
    // nearly always it is a head, and then nothing is read
    if let Some(head) = heads.list.iter().find(|h| h.dot() == at) {
        let stamp = head.writer.stamp;
        return Ok(Some(Parent { at, through_ref, stamp, head: Some(head.clone()) }));
    }
    let Some(known) = here.version(entity, at)? else { return Ok(None) };
    let head = if known.is_void { None } else { Some(Head::clone(&*here.as_head(at)?)) };
    Ok(Some(Parent { at, through_ref, stamp: known.writer.stamp, head }))
}

/// What makes a whole commit void.
pub(super) fn void_commit(incoming: &Incoming<'_>, judged: &[Judged]) -> Option<VoidReason> {
    let header = incoming.header;
    if header.is_newer() {
        return Some(VoidReason::Level);
    }
    // heads after a version are a function of heads before it: of two in one commit neither is
    // before the other
    let mut entities: Vec<_> = header.versions.iter().map(|v| v.entity).collect();
    entities.sort();
    if entities.windows(2).any(|w| w[0] == w[1]) {
        return Some(VoidReason::EntityTwice);
    }
    let Some(stamp) = header.stamp() else { return Some(VoidReason::Time) };
    if header.wall < incoming.wall_before {
        return Some(VoidReason::Wall);
    }
    // exactly the one that there must be: a later stamp would win where it should not
    let parents = judged.iter().flat_map(|j| &j.parents);
    let after = parents.map(|p| stamp_after(p.stamp, p.through_ref));
    (stamp != after.fold(header.wall, u64::max)).then_some(VoidReason::Stamp)
}

/// The least stamp of a version with such a parent (I5): a parent that came through a ref may be
/// another writer's, whose write must be before this one also where both clocks said the same.
pub(super) fn stamp_after(stamp: u64, through_ref: bool) -> u64 {
    stamp.saturating_add(u64::from(through_ref)).min(MAX_TIME)
}

/// What follows for each version from its past; nothing for one that is void.
pub(super) fn derive_all<L: Lookup>(
    here: &L,
    incoming: &Incoming<'_>,
    void: Option<VoidReason>,
    judged: &[Judged],
) -> Result<Vec<Option<Derived>>, L::Error> {
    let one = |(i, j): (usize, &Judged)| {
        if void.or(j.void).is_some() {
            return Ok(None);
        }
        let own_type = incoming.header.versions[i].entity_type.as_deref();
        let own_type = own_type.map(|t| here.add_type(t)).transpose()?;
        let parents = j.parent_heads().map(|h| &h.derived);
        Ok(derive(here.lines(), &incoming.writer(i), parents, own_type))
    };
    judged.iter().enumerate().map(one).collect()
}
