//! Versions that are heads no more: where they are, what they follow, and which were heads once.

use std::collections::HashSet;
use std::sync::Arc;

use heirloom_core::fold::{self, Dot, Head, HeadState, Heads, Lines, Stored, read_inline};
use heirloom_core::model::{EntityId, Line, Lsn, Sequence, State, VersionRef};

use super::content::{At, Part, Step};
use super::view::View;
use crate::error::{Error, Result, Table};
use crate::store::rows::Record;

impl View<'_> {
    /// A version by its ref, void or not.
    pub(crate) fn version_by(&self, reference: &VersionRef) -> Result<Option<At>> {
        let Some(line) = self.line_of(reference.log, reference.sequence, reference.prefix)? else {
            return Ok(None);
        };
        Ok(self.version((line, reference.sequence))?.filter(|at| at.writer.reference == *reference))
    }

    /// The version at a place, void or not.
    pub(crate) fn version(&self, (line, sequence): Dot) -> Result<Option<At>> {
        let Some(record) = self.commit_at(line, sequence)? else { return Ok(None) };
        let Some(index) = record.index(sequence) else { return Ok(None) };
        let log = self.log_id(record.line)?;
        Ok(Some(At { writer: record.writer(log, index), record, index }))
    }

    /// A version of a record that is at hand.
    pub(crate) fn place(&self, record: &Arc<Record>, index: usize) -> Result<At> {
        let log = self.log_id(record.line)?;
        Ok(At { writer: record.writer(log, index), record: record.clone(), index })
    }

    pub(crate) fn log_id(&self, line: Line) -> Result<heirloom_core::model::LogId> {
        self.directory
            .log_id(line)
            .ok_or_else(|| Error::corrupt(Table::Logs, line, "an unknown log"))
    }

    /// A version that must be there, since something that was folded names it.
    pub(super) fn known(&self, dot: Dot) -> Result<At> {
        self.version(dot)?.ok_or_else(|| {
            Error::corrupt(Table::Log, format!("{}/{}", dot.0, dot.1), "a version is missing")
        })
    }

    /// Where the parents of a version are. Only of one that is not void.
    pub(crate) fn parents(&self, at: &At) -> Result<Vec<Dot>> {
        let dot = |line, sequence| (self.directory.line_at(line, sequence), sequence);
        let names = at.header().parents.iter();
        names
            .map(|p| {
                if p.path == 0 {
                    return Ok(dot(at.record.line, p.sequence));
                }
                let missing =
                    || Error::corrupt(Table::Log, at.record.lsn, "a parent's log is unknown");
                let r = at.record.header.refs.get(p.path as usize - 1).ok_or_else(missing)?;
                let line = self.line_of(r.log, r.sequence, r.prefix)?;
                line.map(|line| dot(line, p.sequence)).ok_or_else(missing)
            })
            .collect()
    }

    /// What a walk needs of the version at a place. It comes by the same places again and again,
    /// and a record is large.
    fn step(&self, dot: Dot) -> Result<Arc<Step>> {
        if let Some(known) = self.caches.steps.get(&dot) {
            return Ok(known);
        }
        let at = self.known(dot)?;
        let parents = self.parents(&at)?.into();
        let step = Arc::new(Step { lsn: at.record.lsn, wall: at.record.header.wall, parents });
        self.caches.steps.insert(dot, step.clone(), 120 + step.parents.len() * size_of::<Dot>());
        Ok(step)
    }

    /// Whether two versions of an entity follow, or are, one and the same. Costs a look at each
    /// version that they follow.
    pub(crate) fn have_a_version_in_common(&self, a: &Head, b: &Head) -> Result<bool> {
        let dot = |head: &Head| (head.writer.line, head.writer.reference.sequence);
        let (mut todo, mut before) = (vec![dot(a)], HashSet::new());
        while let Some(next) = todo.pop() {
            if before.insert(next) {
                todo.extend_from_slice(&self.step(next)?.parents);
            }
        }
        let (mut todo, mut seen) = (vec![dot(b)], HashSet::new());
        while let Some(next) = todo.pop() {
            if before.contains(&next) {
                return Ok(true);
            }
            if seen.insert(next) {
                todo.extend_from_slice(&self.step(next)?.parents);
            }
        }
        Ok(false)
    }

    /// The last commit of a log among the first `commits` that arrived here. Costs a look-up if
    /// that is its end, else one for each halving of the log.
    pub(crate) fn tip_among(&self, line: Line, commits: Lsn) -> Result<Option<Arc<Record>>> {
        let Some(tip) = self.tip(line)? else { return Ok(None) };
        if tip.lsn < commits {
            return Ok(Some(tip));
        }
        // one place arrived in time, or is where the line begins; at the other begins a commit that
        // came later
        let start = self.directory.branch_point(line).map_or(Sequence::START, |f| f.after);
        let (mut early, mut late) = (start, tip.header.first);
        while early.next() < late {
            let middle = early.plus(late.since(early).unwrap_or(0) / 2);
            match self.dot_at(line, middle)? {
                Some((first, lsn)) if lsn >= commits => late = first,
                _ => early = middle,
            }
        }
        // rows of `dots` have no checksum: the commits must say the same
        let next = self.commit_on(line, late)?;
        let last = if early == start { None } else { self.commit_on(line, early)? };
        let fits = next.is_some_and(|r| r.lsn >= commits && r.header.first == late)
            && last.as_ref().map_or(early == start, |r| r.lsn < commits);
        if fits {
            Ok(last)
        } else {
            Err(Error::corrupt(Table::Dots, format!("{line}/{late}"), "out of order"))
        }
    }

    /// A version by its place as if it were a head.
    pub(crate) fn head_at(&self, dot: Dot) -> Result<Arc<Head>> {
        match self.caches.heads.get(&dot) {
            Some(known) => Ok(known),
            None => self.as_head(&self.known(dot)?),
        }
    }

    /// The parents of a version as if they were heads, with their contents.
    pub(crate) fn parent_contents(&self, at: &At) -> Result<Vec<(Head, Stored)>> {
        let one = |dot: Dot| {
            let parent = self.known(dot)?;
            Ok((Head::clone(&*self.as_head(&parent)?), self.content(&parent)?))
        };
        self.parents(at)?.into_iter().map(one).collect()
    }

    /// The content of a head.
    pub(crate) fn head_content(&self, entity: EntityId, head: &Head) -> Result<Stored> {
        match &head.state {
            HeadState::Tombstone => Ok(Stored::Tombstone),
            HeadState::Absent => Ok(Stored::Absent),
            HeadState::Inline(bytes) => read_inline(bytes, &head.writer, self.directory)
                .map(|s| Stored::Live(Arc::new(s)))
                .map_err(|e| Error::corrupt(Table::Heads, entity, e)),
            HeadState::InLog => {
                match self.caches.contents.get(&head.writer.dot(), self.directory) {
                    Some(known) => Ok(known),
                    None => self.content(&self.known(head.writer.dot())?),
                }
            }
        }
    }

    /// The merge of the live heads. [`Error::Absent`] where the content of one is not here.
    pub(crate) fn merged(&self, entity: EntityId, heads: &[Head]) -> Result<State> {
        fold::merged(self, entity, heads.iter())?.map_err(Error::Absent)
    }

    /// The heads that an entity had in a part of the logs, given those that it has now.
    ///
    /// Reads nothing where all of them are inside; else costs a look at each version of the entity
    /// that is not.
    pub(crate) fn heads_in(&self, now: &Heads, part: &Part<'_>) -> Result<Heads> {
        let (mut found, mut todo): (Vec<Head>, Vec<Dot>) = Default::default();
        for head in &now.list {
            let dot = (head.writer.line, head.writer.reference.sequence);
            let inside = match part {
                Part::Upto(place) => dot.1 <= place(dot.0),
                // for sure: nothing is written after its stamp
                Part::Written(time) => head.writer.stamp <= *time,
                Part::Arrived(commits) => self.step(dot)?.lsn < *commits,
            };
            if inside {
                found.push(head.clone());
            } else {
                todo.push(dot);
            }
        }
        if todo.is_empty() {
            return Ok(now.clone());
        }
        let (mut seen, local) = (HashSet::new(), self.directory.local());
        while let Some(dot) = todo.pop() {
            if !seen.insert(dot) {
                continue;
            }
            let inside = match part {
                // none of it is inside, and it leads nowhere else
                Part::Upto(place) if Some(dot.0) == local && place(dot.0) == Sequence::START => {
                    continue;
                }
                Part::Upto(place) => dot.1 <= place(dot.0),
                Part::Written(time) => self.step(dot)?.wall <= *time,
                Part::Arrived(commits) => self.step(dot)?.lsn < *commits,
            };
            if inside {
                found.push(Head::clone(&*self.head_at(dot)?));
            } else {
                todo.extend_from_slice(&self.step(dot)?.parents);
            }
        }
        // a version in the part that another one there has seen is no head of it
        let dominated = |h: &Head| {
            found.iter().any(|o| o.writer != h.writer && o.derived.clock.has_seen(&h.writer))
        };
        let mut list: Vec<Head> = found.iter().filter(|h| !dominated(h)).cloned().collect();
        list.sort_by_key(|h| h.writer.reference);
        Ok(Heads { list, unsettled: false, created_twice: now.created_twice })
    }

    /// The heads that an entity had when so many commits had arrived here, given those that it has
    /// now. Costs a look at each version of it that came later.
    pub(crate) fn heads_at(&self, entity: EntityId, now: &Heads, commits: Lsn) -> Result<Heads> {
        let found = self.heads_in(now, &Part::Arrived(commits))?;
        if !found.is_empty() || !now.created_twice {
            return Ok(found);
        }
        // nothing that travels leads to what never left this store and yielded to it
        let list = Vec::from_iter(self.local_head_at(entity, commits)?);
        Ok(Heads { list, ..found })
    }

    /// The last version of an entity in the local log among the first so many commits. Costs a look
    /// at each commit of that log back to it.
    fn local_head_at(&self, entity: EntityId, commits: Lsn) -> Result<Option<Head>> {
        let Some(local) = self.directory.local() else { return Ok(None) };
        let mut next = self.tip_among(local, commits)?;
        while let Some(record) = next {
            let is_it = |i: &usize| {
                record.header.versions[*i].entity == entity && record.void_of(*i).is_none()
            };
            if let Some(index) = (0..record.header.versions.len()).rev().find(is_it) {
                return Ok(Some(Head::clone(&*self.as_head(&self.place(&record, index)?)?)));
            }
            next = match record.header.first.back(1).filter(|before| *before > Sequence::START) {
                Some(before) => self.commit_on(local, before)?,
                None => None,
            };
        }
        Ok(None)
    }

    /// The heads of an entity once a version of it has come, from those before: what the fold did.
    pub(crate) fn heads_after(&self, before: &Heads, at: &At) -> Result<Heads> {
        let (parents, local) = (self.parents(at)?, self.directory.local());
        let yields = |h: &Head| Some(h.writer.line) == local && Some(at.writer.line) != local;
        let goes =
            |h: &Head| yields(h) || parents.contains(&(h.writer.line, h.writer.reference.sequence));
        let mut list: Vec<Head> = before.list.iter().filter(|h| !goes(h)).cloned().collect();
        list.push(Head::clone(&*self.as_head(at)?));
        list.sort_by_key(|h| h.writer.reference);
        Ok(Heads { list, unsettled: false, created_twice: before.created_twice })
    }
}
