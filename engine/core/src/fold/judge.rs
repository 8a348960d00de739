//! Which versions of a commit are void, from headers alone (I8).
//!
//! Nothing here looks at a content: a replica that has no bodies, or was told others, must come to
//! the same answer, else digests would differ for ever.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::derived::{Derived, derive};
use super::head::{Head, Heads};
use super::lines::Lines;
use super::lookup::Lookup;
use super::parts::Incoming;
use crate::format::header::{ParentName, VersionHeader};
use crate::model::{Dot, EntityId, Kind, Sequence, Timestamp, VoidReason};

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

#[cfg(test)]
mod tests {
    use super::super::toy::{Sent, Toy, entity};
    use super::*;
    use crate::model::{Content, Line};

    const A: Line = Line::new(1);
    const B: Line = Line::new(2);

    fn content(n: i64) -> Option<Content> {
        Some(Content::new().with("n", n))
    }

    /// A lamp that was created and changed, and the store that did it.
    fn scene() -> (Toy, [Sent; 2]) {
        let mut toy = Toy::default();
        let created = toy.write(A, 10, vec![toy.plan(1, Kind::Create, content(1))]).unwrap();
        let changed = toy.write(A, 20, vec![toy.plan(1, Kind::Update, content(2))]).unwrap();
        (toy, [created, changed])
    }

    /// Why what is received last is void, after the change was made to it.
    fn voids(change: impl FnOnce(&mut Sent)) -> Vec<VoidReason> {
        let (_, [created, mut changed]) = scene();
        change(&mut changed);
        let mut toy = Toy::default();
        toy.receive(A, &created).unwrap();
        let folded = toy.receive(A, &changed).unwrap();
        folded.voids.into_iter().map(|(_, reason)| reason).collect()
    }

    #[test]
    fn what_follows_the_rules_is_not_void() {
        assert_eq!(voids(|_| ()), []);
    }

    #[test]
    fn a_version_needs_parents_that_its_commit_had_seen_each_once() {
        let parent = |sent: &mut Sent, path, sequence: u64| {
            sent.header.versions[0].parents =
                [ParentName { path, sequence: sequence.into() }].into();
        };
        assert_eq!(voids(|sent| parent(sent, 0, 0)), [VoidReason::Parent], "none has sequence 0");
        assert_eq!(voids(|sent| parent(sent, 0, 2)), [VoidReason::Parent], "its own commit");
        assert_eq!(voids(|sent| parent(sent, 1, 1)), [VoidReason::Parent], "a path of no ref");
        let twice = |sent: &mut Sent| {
            let parents = &mut sent.header.versions[0].parents;
            parents.push(parents[0]);
        };
        assert_eq!(voids(twice), [VoidReason::Parent]);
        let of_another = |sent: &mut Sent| sent.header.versions[0].entity = entity(7);
        assert_eq!(voids(of_another), [VoidReason::Parent]);
    }

    #[test]
    fn only_a_creation_has_a_type_and_no_parents() {
        let without_parents = |sent: &mut Sent| sent.header.versions[0].parents.clear();
        let with_a_type = |sent: &mut Sent| sent.header.versions[0].entity_type = Some("x".into());
        let as_a_creation = |sent: &mut Sent| sent.header.versions[0].kind = Kind::Create as u8;
        let as_nothing = |sent: &mut Sent| sent.header.versions[0].kind = 15;
        assert_eq!(voids(without_parents), [VoidReason::Kind]);
        assert_eq!(voids(with_a_type), [VoidReason::Kind]);
        assert_eq!(voids(as_a_creation), [VoidReason::Kind]);
        assert_eq!(voids(as_nothing), [VoidReason::Kind]);
    }

    #[test]
    fn walls_never_go_back_and_the_stamp_is_exactly_the_one_that_there_must_be() {
        assert_eq!(voids(|sent| sent.header.wall = 9), [VoidReason::Wall]);
        assert_eq!(voids(|sent| sent.header.excess = 1), [VoidReason::Stamp]);
        assert_eq!(voids(|sent| sent.header.wall = u64::MAX), [VoidReason::Time]);
        assert_eq!(voids(|sent| sent.header.wall = 10), [], "the same wall is not before it");
    }

    #[test]
    fn of_two_versions_of_one_entity_neither_counts_nor_does_the_rest_of_their_commit() {
        let (mut toy, _) = scene();
        let plan = [3, 4].map(|n| toy.plan(n, Kind::Create, content(1)));
        let mut sent = toy.write(B, 30, plan.into()).unwrap();
        sent.header.versions[1].entity = entity(3);
        let mut other = Toy::default();
        let folded = other.receive(B, &sent);
        // it refers to a log that is not here: only its framing was looked at
        let folded = folded.unwrap();
        assert_eq!(folded.void, Some(VoidReason::EntityTwice));
        assert_eq!(folded.voids.len(), 2);
        assert!(folded.changes.is_empty() && other.heads_of(3).is_empty());
    }

    #[test]
    fn what_builds_on_a_void_version_is_void_too_and_what_does_not_is_not() {
        let (mut toy, [created, mut changed]) = scene();
        changed.header.versions[0].kind = 15;
        let mut other = Toy::default();
        other.receive(A, &created).unwrap();
        assert_eq!(other.receive(A, &changed).unwrap().voids.len(), 1);
        // over what the first store took for a head, and the second for void
        let next = toy.write(A, 30, vec![toy.plan(1, Kind::Update, content(3))]).unwrap();
        let folded = other.receive(A, &next).unwrap();
        assert_eq!(folded.voids.iter().map(|v| v.1).collect::<Vec<_>>(), [VoidReason::Parent]);
        let beside = other.write(A, 40, vec![other.plan(1, Kind::Update, content(4))]);
        assert!(beside.is_ok(), "the last head that counts can be written on");
    }

    #[test]
    fn a_parent_through_a_ref_pushes_the_stamp_beyond_its_own() {
        let (mut toy, _) = scene();
        // another writer, whose clock is behind
        let sent = toy.write(B, 5, vec![toy.plan(1, Kind::Update, content(5))]).unwrap();
        assert_eq!((sent.header.wall, sent.header.stamp()), (5, Some(21)));
        assert_eq!(stamp_after(20, false), 20);
        assert_eq!(stamp_after(u64::MAX, true), MAX_TIME);
    }
}
