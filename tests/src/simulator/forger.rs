//! A member that forges: commits that break a rule, that only a newer version can read, in somebody
//! else's name, or with contents that are not what they were. They are kept and passed on, change
//! nothing that anybody sees, and all agree on them.

use heirloom::replication::Ingested;
use heirloom::{CommitRef, Lsn};

use super::node::DATASET;
use super::swarm::Fault;
use super::world::World;
use super::{Checked, Wrong, ensure, same};
use crate::decoder::{Bodies, Commit, Frame, Leaves, MAX_TIME, Rest, hashes, kind};
use crate::forge::{self, Author, CommitSpec, VersionSpec};
use crate::twins;

/// A forged commit that some node holds.
pub(crate) struct Forged {
    pub(crate) commit: CommitRef,
    /// How many versions it counts: of a newer level none can be told apart.
    pub(crate) versions: u64,
    /// How many of them are void.
    pub(crate) voids: u64,
    /// Whether its contents are such as nothing is compared with.
    pub(crate) unverified: u64,
}

impl World {
    /// A node is given a forged commit by somebody who is let in.
    pub(crate) fn forge(&mut self, fault: Fault, node: usize) -> Checked<()> {
        let engine = self.nodes[node].engine.clone();
        if engine.dataset().is_none() {
            return Ok(());
        }
        let Some(mut author) = (match fault {
            Fault::ForgedName => self.anybody(node)?,
            _ => Some(self.a_forger()),
        }) else {
            return Ok(());
        };
        let draft = self.draft_forgery(fault, &author);
        let forged = author.seal(&draft);
        let taken = twins::ingest(&engine, &forged.bytes)?;
        let Ingested { added, unverified, voids, .. } = taken;
        let reference = twins::version_ref(forged.commit);
        let (log, sequence, prefix) = (reference.log, reference.sequence, reference.prefix);
        let commit = CommitRef { log, sequence, prefix };
        let is_newer = draft.header.level > 1;
        let count = if is_newer { 1 } else { draft.header.count };
        same("what a node says of a forged commit", &(added, voids.len() as u64), &(1, count))?;
        self.tell(|| format!("node {node} is given a commit that is {}, {commit}", fault.name()));
        self.count(fault);
        let versions = if is_newer { 0 } else { count };
        // the same forgery, given to several
        self.forged.retain(|forged| forged.commit != commit);
        self.lost_forgeries.retain(|forged| forged.commit != commit);
        self.forged.push(Forged { commit, versions, voids: count, unverified });
        Ok(self.nodes[node].note_told()?)
    }

    /// Whether what nobody wrote honestly may be void here.
    pub(crate) fn is_forged(&self) -> bool {
        !self.forged.is_empty()
    }

    /// Those of which no copy is left are as if they had never been.
    pub(crate) fn strike_lost_forgeries(&mut self) -> Checked<()> {
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        for forged in std::mem::take(&mut self.forged) {
            let mut is_held = false;
            for node in &self.nodes {
                is_held |= node.engine.replication().locate(&forged.commit)?.is_some();
            }
            if is_held { kept.push(forged) } else { lost.push(forged) }
        }
        self.forged = kept;
        let names = |clock: &heirloom::Clock, c: &CommitRef| {
            clock.iter().any(|(log, entry)| log == c.log && entry.sequence >= c.sequence)
        };
        self.moments.retain(|moment| !lost.iter().any(|f| names(&moment.clock, &f.commit)));
        self.lost_forgeries.extend(lost);
        Ok(())
    }

    /// A backup or an image may bring some of them back.
    pub(crate) fn find_lost_forgeries(&mut self, node: usize) -> Checked<()> {
        let replication = self.nodes[node].engine.replication();
        for forged in std::mem::take(&mut self.lost_forgeries) {
            let is_back = replication.locate(&forged.commit)?.is_some();
            if is_back { &mut self.forged } else { &mut self.lost_forgeries }.push(forged);
        }
        Ok(())
    }

    fn a_forger(&mut self) -> Author {
        Author::new(hashes::dataset_id(DATASET), "forger", self.swarm.chance.bytes16())
    }

    /// The author of a log that a node holds, as far as it holds it.
    fn anybody(&mut self, node: usize) -> Checked<Option<Author>> {
        let replication = self.nodes[node].engine.replication();
        let ends = replication.position()?.ends;
        if ends.is_empty() {
            return Ok(None);
        }
        let log = ends[self.swarm.chance.below(ends.len())].log;
        if replication.ends_of(log)?.len() > 1 {
            return Ok(None);
        }
        let of_it = replication.commits(Lsn::START, Lsn::END, &|of, _, _| of == log, usize::MAX)?;
        let commits: Vec<Vec<u8>> = of_it.commits.into_iter().map(|commit| commit.bytes).collect();
        Ok(Some(Author::impersonate(commits.iter().map(Vec::as_slice))))
    }

    fn draft_forgery(&mut self, fault: Fault, author: &Author) -> Commit {
        let id = *self.any_entity().as_bytes();
        let chance = &mut self.swarm.chance;
        // from long ago to the end of time: nobody's clock may follow it far
        let wall = chance.pick(&[1, 1_800_000_000_000, 40_000_000_000_000, MAX_TIME - 1]);
        let create = || VersionSpec::create(id, "light", Leaves::new());
        let spec = CommitSpec::at(wall).version(create());
        if fault == Fault::NewerCommit || chance.percent(20) {
            let mut draft = author.draft(&spec);
            draft.header.level = 2;
            draft.header.rest = Rest::Newer(chance.bytes(5));
            draft.bodies = Bodies::Newer(chance.bytes(9));
            return draft;
        }
        let mut draft = author.draft(&spec);
        let Rest::Level1(level1) = &mut draft.header.rest else { return draft };
        match chance.below(3) {
            // at the end of time nothing is left to exceed
            0 if draft.header.wall < MAX_TIME => {
                draft.header.excess = (MAX_TIME - draft.header.wall).min(7)
            }
            0 | 1 => level1.versions[0].kind = 0x0b,
            _ => {
                level1.versions[0].kind = kind::UPDATE;
                level1.versions[0].entity_type = None;
                level1.versions[0].parents = vec![(0, draft.header.first)];
            }
        }
        draft
    }

    /// A member that stands between two nodes replaces the contents of a commit that one lacks:
    /// they do not verify there, and come whole as soon as the two meet.
    pub(crate) fn spoil_bodies(&mut self, node: usize) -> Checked<()> {
        let other = self.swarm.chance.below(self.nodes.len());
        let (from, to) =
            (self.nodes[other].engine.replication(), self.nodes[node].engine.replication());
        if other == node || self.nodes[node].engine.dataset().is_none() {
            return Ok(());
        }
        let mut lacking = None;
        for commit in from.commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)?.commits {
            if to.locate(&commit.end.reference())?.is_none() {
                lacking = Some(commit);
                break;
            }
        }
        let Some(commit) = lacking else { return Ok(()) };
        let mut frame = Frame::split(&commit.bytes).map_err(|e| Wrong(format!("{e:?}")))?;
        if let Some(byte) = frame.bodies.last_mut() {
            *byte ^= 0x41;
        }
        match to.ingest(&[&forge::join(&frame)]) {
            Ok(taken) if taken.unverified == 1 && taken.voids.is_empty() => {}
            // where nothing can be replaced it does not even frame; void versions need no contents
            Ok(_) | Err(heirloom::Error::Refused(_)) => return Ok(self.nodes[node].note_told()?),
            Err(error) => return Err(error.into()),
        }
        self.tell(|| format!("node {node} is given a commit of node {other} with other contents"));
        self.count(Fault::SpoiltBodies);
        let [a, b] = self.seams([node, other])?;
        let (report, _) = heirloom_sync::sync_in_process(&a.0, &b.0)?;
        ensure(report.healed == 1, || {
            format!("contents that were replaced came back: {}", report.healed)
        })?;
        let left = self.nodes[node].engine.replication().unverified(9)?;
        ensure(left.is_empty(), || format!("node {node}: {left:?} still do not verify"))?;
        for node in [node, other] {
            self.nodes[node].note_told()?;
        }
        Ok(())
    }
}
