//! Making a commit: from what shall become of entities to a header whose chain covers it.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::bodies::{encoded_full, is_patch_worth_it};
use super::commit::fold;
use super::head::Head;
use super::judge::stamp_after;
use super::lines::Lines;
use super::lookup::{Fault, Lookup};
use super::parts::{Bodies, Folded, Incoming, Settled, Stored};
use crate::error::Invalid;
use crate::format::body::{self, Body, Tag};
use crate::format::hash::{chain_after, state_checksum, states_root};
use crate::format::header::{Header, ParentName, Parents, VersionHeader};
use crate::limits;
use crate::merge::difference;
use crate::model::{
    Chain, CommitRef, EntityId, Kind, Line, LogId, Metadata, Sequence, State, VersionRef, Writer,
};

/// What shall become of an entity.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The entity.
    pub entity: EntityId,
    /// What happens to it.
    pub kind: Kind,
    /// Of a creation.
    pub entity_type: Option<Arc<str>>,
    /// The versions that it is written over.
    pub parents: Vec<Head>,
    /// The merge of the parents, if their contents are here.
    pub base: Option<State>,
    /// With [`Writer::OWN`] as writer of what is new; nothing for a deletion.
    pub state: Option<State>,
}

/// The end of the log that a commit extends.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// The log.
    pub log: LogId,
    /// Its line.
    pub line: Line,
    /// Last sequence and chain of the commit before.
    pub before: (Sequence, Chain),
}

/// A commit that was authored and not folded yet.
#[derive(Debug)]
pub struct NewCommit {
    /// What it says of its versions.
    pub header: Header,
    /// The same as bytes.
    pub header_bytes: Vec<u8>,
    /// Its chain.
    pub chain: Chain,
    settled: Vec<Settled>,
}

impl NewCommit {
    /// What it does to the store that it was authored over. `wall_before`: the wall of the commit
    /// before it. Takes the contents along, so that a second time there are none:
    /// [`Fault::Malformed`].
    pub fn fold<L: Lookup>(
        &mut self,
        here: &L,
        tail: &Tail,
        wall_before: u64,
    ) -> Result<Folded, L::Error> {
        let (log, line) = (tail.log, tail.line);
        let bodies = Bodies::Known(core::mem::take(&mut self.settled));
        let incoming = Incoming { log, line, chain: self.chain, header: &self.header, wall_before };
        let folded = fold(here, &incoming, bodies)?;
        // who follows the rules never writes what others take for void
        debug_assert!(folded.voids.is_empty(), "{:?}", folded.voids);
        Ok(folded)
    }
}

/// Makes a commit. `refs` must hold, for each foreign log that a parent lies on, a commit at or
/// after that parent; `wall` must not be before that of the commit before.
pub fn author<L: Lookup>(
    here: &L,
    tail: &Tail,
    wall: u64,
    mut refs: Vec<CommitRef>,
    metadata: &Metadata,
    plan: Vec<Planned>,
) -> Result<NewCommit, L::Error> {
    refs.sort();
    refs.dedup();
    check_limits(&refs, metadata, &plan).map_err(Fault::from)?;
    let first = tail.before.0.next();
    let parents = plan.iter().flat_map(|p| &p.parents);
    let stamp = parents
        .fold(wall, |s, h| s.max(stamp_after(h.writer.stamp, !holds(here.lines(), tail.line, h))));
    let mut versions = Vec::with_capacity(plan.len());
    let mut fulls = Vec::with_capacity(plan.len());
    let mut checksums = Vec::with_capacity(plan.len());
    for (i, p) in (0..).zip(&plan) {
        versions.push(version_header(here, tail, &refs, p)?);
        let full = p.state.as_ref().map(|s| body::full(s, &Writer::OWN));
        let size = full.as_ref().map_or(0, Vec::len);
        Invalid::check_limit("bytes of a version", limits::FULL_BODY as u64, size)
            .map_err(Fault::from)?;
        let (entity_type, sequence) = (type_of(here, p)?, first.plus(i));
        let sum = state_checksum(tail.log, sequence, p.entity, &entity_type, full.as_deref());
        checksums.push(sum);
        fulls.push(full);
    }
    let total = fulls.iter().flatten().map(Vec::len).sum();
    Invalid::check_limit("bytes of a commit", limits::FULL_BODIES as u64, total)
        .map_err(Fault::from)?;
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
        return Err(Fault::LogFull.into());
    }
    let header_bytes = header.encode();
    Invalid::check_limit("bytes of a header", limits::HEADER as u64, header_bytes.len())
        .map_err(Fault::from)?;
    let chain = chain_after(&tail.before.1, &header_bytes);
    let settled = (0..).zip(plan.into_iter().zip(fulls)).map(|(i, (p, full))| {
        let reference =
            VersionRef { log: tail.log, sequence: first.plus(i), prefix: chain.prefix() };
        settle(p, full, Writer { line: tail.line, stamp, reference })
    });
    let settled = settled.collect();
    Ok(NewCommit { settled, header, header_bytes, chain })
}

fn check_limits(
    refs: &[CommitRef],
    metadata: &Metadata,
    plan: &[Planned],
) -> crate::error::Result<()> {
    Invalid::check_limit("versions in a commit", limits::VERSIONS, plan.len())?;
    Invalid::check_limit("refs of a commit", limits::REFS, refs.len())?;
    Invalid::check_limit("bytes of the actor", limits::ACTOR as u64, metadata.actor.len())?;
    Invalid::check_limit("bytes of the message", limits::MESSAGE as u64, metadata.message.len())?;
    let parents = plan.iter().map(|p| p.parents.len()).max().unwrap_or(0);
    Invalid::check_limit("parents of a version", limits::PARENTS, parents)?;
    let types = || plan.iter().filter_map(|p| p.entity_type.as_deref());
    match types().find(|t| !(1..=limits::TYPE).contains(&t.len())) {
        Some(wrong) => Err(Invalid::EntityType(wrong.to_string())),
        None => Ok(()),
    }
}

/// Whether a version lies on the path that ends in a line.
fn holds(lines: &impl Lines, line: Line, head: &Head) -> bool {
    lines.line_at(line, head.writer.reference.sequence) == head.writer.line
}

fn version_header<L: Lookup>(
    here: &L,
    tail: &Tail,
    refs: &[CommitRef],
    p: &Planned,
) -> Result<VersionHeader, L::Error> {
    let mut parents = Parents::with_capacity(p.parents.len());
    for parent in &p.parents {
        parents.push(parent_name(here, tail, refs, parent)?);
    }
    parents.sort();
    Ok(VersionHeader {
        entity: p.entity,
        kind: p.kind as u8,
        entity_type: p.entity_type.clone(),
        parents,
    })
}

/// A parent is named by a path that leads to it: the own one, else the first ref of its log that
/// does. Refs are sorted, so all replicas that know the same refs name it alike.
fn parent_name<L: Lookup>(
    here: &L,
    tail: &Tail,
    refs: &[CommitRef],
    parent: &Head,
) -> Result<ParentName, L::Error> {
    let VersionRef { log, sequence, .. } = parent.writer.reference;
    if holds(here.lines(), tail.line, parent) {
        return Ok(ParentName { path: 0, sequence });
    }
    let first = refs.partition_point(|r| (r.log, r.sequence) < (log, sequence));
    for (at, r) in refs.iter().enumerate().skip(first).take_while(|(_, r)| r.log == log) {
        let line = here.line_of(log, r.sequence, r.prefix)?;
        if line.is_some_and(|line| holds(here.lines(), line, parent)) {
            return Ok(ParentName { path: at as u64 + 1, sequence });
        }
    }
    Err(Fault::Unseen { log, sequence }.into())
}

fn type_of<L: Lookup>(here: &L, p: &Planned) -> Result<Arc<str>, L::Error> {
    if let Some(t) = &p.entity_type {
        return Ok(t.clone());
    }
    let least = p.parents.iter().map(|h| h.derived.type_source).min_by_key(|s| s.key());
    let least = least.ok_or(Fault::NoType(p.entity))?;
    here.entity_type(least.type_number)
}

/// A patch where that is worth it, else a full body.
fn settle(p: Planned, full: Option<Vec<u8>>, own: Writer) -> Settled {
    let (Some(mut state), Some(full)) = (p.state, full) else {
        return Settled { content: Stored::Tombstone, body: vec![Tag::None as u8], depth: 0 };
    };
    let depth = p.parents.iter().map(|h| h.depth).max().unwrap_or(0) + 1;
    let patch = p
        .base
        .filter(|_| depth < limits::FULL_EVERY && !p.parents.is_empty())
        .and_then(|base| Some(difference(&base, &state, &Writer::OWN)?.encode(&base)))
        .filter(|patch| is_patch_worth_it(depth, patch.len(), full.len()));
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

#[cfg(test)]
mod tests {
    use super::super::toy::{Toy, log};
    use super::*;
    use crate::model::Content;

    const A: Line = Line::new(1);
    const B: Line = Line::new(2);

    fn content(n: i64) -> Option<Content> {
        Some(Content::new().with("n", n))
    }

    #[test]
    fn a_parent_is_named_by_the_own_path_or_by_the_first_ref_that_leads_to_it() {
        let mut toy = Toy::default();
        toy.write(A, 10, vec![toy.plan(1, Kind::Create, content(1))]).unwrap();
        let own = toy.write(A, 11, vec![toy.plan(1, Kind::Update, content(2))]).unwrap();
        let names = |sent: &super::super::toy::Sent| sent.header.versions[0].parents.clone();
        assert_eq!(*names(&own), [ParentName { path: 0, sequence: Sequence::FIRST }][..]);
        let other = toy.write(B, 12, vec![toy.plan(1, Kind::Update, content(3))]).unwrap();
        assert_eq!(other.header.refs, [CommitRef { sequence: 2.into(), ..other.header.refs[0] }]);
        assert_eq!(*names(&other), [ParentName { path: 1, sequence: 2.into() }][..]);
    }

    #[test]
    fn a_parent_that_no_ref_leads_to_is_the_writers_fault() {
        let mut toy = Toy::default();
        toy.write(A, 10, vec![toy.plan(1, Kind::Create, content(1))]).unwrap();
        let plan = vec![toy.plan(1, Kind::Update, content(2))];
        let before = (Sequence::START, Chain::from_bytes([0; 32]));
        let tail = Tail { log: log(B), line: B, before };
        let refused = author(&toy, &tail, 20, Vec::new(), &Metadata::new(), plan);
        let unseen = Fault::Unseen { log: log(A), sequence: Sequence::FIRST };
        assert_eq!(refused.err(), Some(unseen));
    }

    #[test]
    fn a_log_ends_at_the_last_sequence_that_there_is() {
        let toy = Toy::default();
        let tail = |sequence| Tail {
            log: log(A),
            line: A,
            before: (sequence, Chain::from_bytes([0; 32])),
        };
        let plan = || vec![toy.plan(1, Kind::Create, content(1))];
        let at = |sequence| author(&toy, &tail(sequence), 1, vec![], &Metadata::new(), plan());
        assert_eq!(at(Sequence::LAST.back(1).unwrap()).unwrap().header.last(), Sequence::LAST);
        assert_eq!(at(Sequence::LAST).err(), Some(Fault::LogFull));
    }

    #[test]
    fn limits_of_the_format_are_told_before_anything_is_made() {
        let toy = Toy::default();
        let tail =
            Tail { log: log(A), line: A, before: (Sequence::START, Chain::from_bytes([0; 32])) };
        let mut plan = toy.plan(1, Kind::Create, content(1));
        plan.entity_type = Some("x".repeat(limits::TYPE + 1).into());
        let refused = author(&toy, &tail, 1, vec![], &Metadata::new(), vec![plan]);
        assert!(matches!(refused, Err(Fault::Invalid(Invalid::EntityType(_)))));
        let long = Metadata::new().with_actor("x".repeat(limits::ACTOR + 1));
        let plan = vec![toy.plan(1, Kind::Create, content(1))];
        let refused = author(&toy, &tail, 1, vec![], &long, plan);
        assert!(matches!(refused, Err(Fault::Invalid(Invalid::Limit { .. }))));
    }

    #[test]
    fn folded_a_second_time_it_has_no_contents_any_more() {
        let toy = Toy::default();
        let tail =
            Tail { log: log(A), line: A, before: (Sequence::START, Chain::from_bytes([0; 32])) };
        let plan = vec![toy.plan(1, Kind::Create, content(1))];
        let mut new = author(&toy, &tail, 1, vec![], &Metadata::new(), plan).unwrap();
        assert_eq!(new.fold(&toy, &tail, 0).unwrap().changes.len(), 1);
        assert!(matches!(new.fold(&toy, &tail, 0), Err(Fault::Malformed(_))));
    }

    #[test]
    fn a_version_stands_in_full_as_often_as_its_patches_would_outweigh_it() {
        let mut toy = Toy::default();
        let long = |n: i64| Some(Content::new().with("n", n).with("text", "x".repeat(200)));
        toy.write(A, 1, vec![toy.plan(1, Kind::Create, long(0))]).unwrap();
        let mut full = Vec::new();
        for n in 1..=70 {
            let sent = toy.write(A, 1, vec![toy.plan(1, Kind::Update, long(n))]).unwrap();
            if sent.bodies[0] == Tag::Full as u8 {
                full.push(n);
            }
        }
        assert_eq!(full, [32, 64]);
        let last_of = |patch, full| (1..).find(|d| !is_patch_worth_it(*d, patch, full));
        let cases = [(10, 10, 1), (9, 10, 32), (10, 330, 33), (110, 20_000, 182), (1, 20_000, 256)];
        for (patch, full, first) in cases {
            assert_eq!(last_of(patch, full), Some(first), "{patch} of {full}");
        }
    }
}
