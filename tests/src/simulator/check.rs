//! Everything at rest: nodes against each other, and all of them against the ledger.

use std::collections::{BTreeMap, BTreeSet};

use heirloom::{
    Clock, ClockOrdering, CommitRef, EntityId, Kind, LogRoot, Metadata, Snapshot, Timestamp, Value,
    Version, VersionRef,
};

use super::forger::Forged;
use super::ledger::{Known, Shown};
use super::naive::{Leaves, Path, State, is_empty_map, leaves, leaves_at, related};
use super::node::Node;
use super::policy::Rule;
use super::report::{Report, device_of};
use super::swarm::Fault;
use super::world::{Moment, World};
use super::{Checked, ensure, same};

impl World {
    /// The log root that all share.
    pub(crate) fn check(&mut self) -> Checked<LogRoot> {
        let ids: Vec<EntityId> = self.ledger.entities().collect();
        for id in &ids {
            self.note_conflicts(*id, &self.ledger.heads(*id));
        }
        let snapshots =
            self.nodes.iter().map(|n| n.engine.snapshot()).collect::<Result<Vec<_>, _>>()?;
        let first = &snapshots[0];
        for (node, snapshot) in self.nodes.iter().zip(&snapshots) {
            let at = |what: &str| format!("{} at rest: {what}", node.name);
            same(&at("log root"), &snapshot.log_root()?, &first.log_root()?)?;
            same(&at("state digest"), &snapshot.state_digest()?, &first.state_digest()?)?;
            same(&at("clock"), &snapshot.clock()?, &first.clock()?)?;
            same(&at("commits"), &snapshot.commits()?, &self.commits())?;
            self.check_verify(node)?;
            self.check_index(node, snapshot)?;
            self.check_reports(node, snapshot)?;
            for id in &ids {
                self.check_versions(node, snapshot, *id)?;
                self.check_view(node, snapshot, *id)?;
            }
            self.check_moments(node, snapshot)?;
        }
        Ok(first.log_root()?)
    }

    fn check_verify(&self, node: &Node) -> Checked<()> {
        let found = node.engine.verify()?;
        ensure(found.is_clean(), || format!("{}: {:?}", node.name, found.problems))?;
        let counts = (found.commits, found.versions, found.entities, found.voids, found.unverified);
        let forged = |count: fn(&Forged) -> u64| self.forged.iter().map(count).sum::<u64>();
        let versions = self.ledger.len() as u64 + forged(|f| f.versions);
        let (voids, unverified) = (forged(|f| f.voids), forged(|f| f.unverified));
        let entities = self.ledger.entities().count() as u64;
        same(
            &format!("{} verified", node.name),
            &counts,
            &(self.commits(), versions, entities, voids, unverified),
        )
    }

    /// Honest ones and others.
    fn commits(&self) -> u64 {
        self.tally.commits + self.forged.len() as u64
    }

    /// Listings by type and the list of what is open.
    fn check_index(&self, node: &Node, snapshot: &Snapshot) -> Checked<()> {
        let (mut listed, mut unsettled) =
            (BTreeMap::<String, [BTreeSet<EntityId>; 2]>::new(), BTreeSet::new());
        for id in self.ledger.entities() {
            let shown = self.ledger.view(&self.ledger.heads(id));
            let of_type = listed.entry(shown.entity_type.clone().unwrap_or_default()).or_default();
            of_type[0].insert(id);
            if shown.content.is_some() {
                of_type[1].insert(id);
            }
            if shown.is_unsettled() {
                unsettled.insert(id);
            }
        }
        for (entity_type, expected) in listed {
            let all = snapshot.list(&entity_type).include_deleted().entities()?;
            let shown = snapshot.list(&entity_type).entities()?;
            let found = [all, shown].map(|list| list.iter().map(|e| e.id()).collect());
            same(&format!("{} lists {entity_type}", node.name), &found, &expected)?;
        }
        let found = snapshot.unsettled()?.collect::<Result<BTreeSet<_>, _>>()?;
        same(&format!("{}: what is open", node.name), &found, &unsettled)
    }

    /// The lists of conflicts, each told in full, and where its heads parted.
    fn check_reports(&self, node: &Node, snapshot: &Snapshot) -> Checked<()> {
        let (mut all, mut queue) = (Vec::new(), Vec::new());
        for id in self.ledger.entities() {
            let heads = self.ledger.heads(id);
            let report = Report::of(&self.ledger, &heads);
            if report.is_some() && self.ledger.rule(&heads) == Rule::Manual {
                queue.push(id);
            }
            all.extend(report.map(|r| (id, r)));
            let common = self.ledger.common(&heads);
            let found = snapshot.common_ancestor(id)?.map(|v| v.reference());
            let at = format!("{}: the common ancestor of {id}", node.name);
            // of versions that have reached the end of time none is the newest
            let is_within_time = self.ledger.of(id).all(|v| v.version.stamp() < Timestamp::MAX);
            match is_within_time {
                true => same(&at, &found.as_ref(), &common.last())?,
                false => ensure(
                    found.is_none() == common.is_empty()
                        && found.iter().all(|v| common.contains(v)),
                    || at,
                )?,
            }
        }
        let told = snapshot.conflicts().into_iter().collect::<Result<Vec<_>, _>>()?;
        let told: Vec<_> = told.iter().map(|c| (c.entity, Report::from(c))).collect();
        same(&format!("{}: conflicts", node.name), &told, &all)?;
        let queued = snapshot
            .queue()
            .into_iter()
            .map(|c| c.map(|c| c.entity))
            .collect::<Result<Vec<_>, _>>()?;
        same(&format!("{}: what awaits a person", node.name), &queued, &queue)
    }

    /// No version lost, each as its author saw it, newest first.
    fn check_versions(&self, node: &Node, snapshot: &Snapshot, id: EntityId) -> Checked<()> {
        let history = snapshot.history(id)?.collect::<Result<Vec<Version>, _>>()?;
        let found: BTreeSet<VersionRef> = history.iter().map(Version::reference).collect();
        let written: BTreeSet<VersionRef> = self.ledger.refs(id).iter().copied().collect();
        same(&format!("{}: the versions of {id}", node.name), &found, &written)?;
        same(
            &format!("{}: versions of {id} in its history", node.name),
            &history.len(),
            &written.len(),
        )?;
        ensure(is_newest_first(&history), || {
            format!("{}: the history of {id} is out of order", node.name)
        })?;
        for version in history {
            let reference = version.reference();
            let Some(known) = self.ledger.get(&reference) else { continue };
            let at = format!("{}: version {reference} of {id}", node.name);
            same(&at, &facts(&version), &facts(&known.version))?;
            let content = snapshot.content_at(&reference)?.map(|c| leaves(&c));
            same(&format!("{at} says"), &content, &known.state.as_ref().map(|s| s.shown()))?;
        }
        Ok(())
    }

    /// Heads, merge, conflicts, type; no edit lost.
    fn check_view(&self, node: &Node, snapshot: &Snapshot, id: EntityId) -> Checked<()> {
        let heads: BTreeSet<VersionRef> =
            snapshot.heads(id)?.iter().map(Version::reference).collect();
        let expected = self.ledger.heads(id);
        same(&format!("{}: heads of {id}", node.name), &heads, &expected)?;
        let shown = node.shown(snapshot, id)?;
        let contents =
            expected.iter().map(|h| snapshot.content_at(h)).collect::<Result<Vec<_>, _>>()?;
        let contents: Vec<Leaves> = contents.iter().flatten().map(leaves).collect();
        self.check_edits(node, id, &shown, &contents)?;
        same(&format!("{} shows {id}", node.name), &shown, &self.ledger.view(&expected))?;
        let read = snapshot.get(id)?.map(|e| leaves(&e.content()));
        same(&format!("{} reads {id}", node.name), &read, &shown.content)
    }

    /// By walking the whole DAG: a value that is gone was replaced by somebody who had seen it.
    /// Under a policy for fields none gives way to an older one; and, where nobody deletes, one
    /// that was replaced is gone. `contents`: what the heads say.
    fn check_edits(
        &self,
        node: &Node,
        id: EntityId,
        shown: &Shown,
        contents: &[Leaves],
    ) -> Checked<()> {
        let after = |v: &Known, x: &&Known| {
            x.writer() != v.writer() && x.seen.contains(&v.version.reference())
        };
        let by_field = self.ledger.rule(&shown.heads).is_by_field();
        for v in self.ledger.of(id) {
            let own = v.state.iter().flat_map(|s| s.of(v.writer()));
            for (path, value) in own.filter(|(_, value)| !matches!(value, Value::Map(_))) {
                let replaced = self.ledger.of(id).filter(|x| after(v, x)).any(|x| {
                    x.replaces(path, v.writer())
                        || matches!(x.version.kind(), Kind::Delete | Kind::Restore)
                });
                let edit = || format!("{} said by {}", path.join("."), v.version.reference());
                let kept = stands(shown, v, path, value)
                    || (!by_field && self.is_in_a_head(shown, contents, v, path, value));
                ensure(replaced || kept, || {
                    format!("{}: an edit of {id} vanished, {}", node.name, edit())
                })?;
                ensure(
                    replaced || !by_field || self.is_shown_or_beaten(id, shown, v, path, value),
                    || {
                        format!(
                            "{}: an edit of {id} gave way to an older one, {}",
                            node.name,
                            edit()
                        )
                    },
                )?;
            }
        }
        if !self.temper.is_plain || !self.ledger.rules().0.into_iter().all(Rule::is_by_field) {
            return Ok(());
        }
        let mut came_back = false;
        for (path, sides) in &shown.conflicts {
            for (version, value) in sides {
                let Some(v) = self.ledger.get(version) else { continue };
                // what stands in a map, or was written inside of one that is gone, leaf by leaf
                leaves_at(path.clone(), value, &mut |path, value| {
                    let mut later = self.ledger.of(id).filter(|x| after(v, x));
                    let replaced = later.any(|x| x.replaces(&path, v.writer()));
                    came_back |= replaced && !is_empty_map(&value);
                });
            }
        }
        ensure(!came_back, || format!("{}: a replaced value of {id} came back", node.name))?;
        Ok(())
    }

    /// Where a policy shows one head, what another says is there all the same; be it one side of
    /// what that head leaves open.
    fn is_in_a_head(
        &self,
        shown: &Shown,
        contents: &[Leaves],
        v: &Known,
        path: &Path,
        value: &Value,
    ) -> bool {
        let says = |state: &State| state.of(v.writer()).any(|(p, _)| p == path);
        let mut heads = shown.heads.iter().filter_map(|h| self.ledger.get(h)?.state.as_ref());
        contents.iter().any(|content| content.get(path) == Some(value))
            || heads.any(|state| !state.conflicts().is_empty() && says(state))
    }

    /// Whether what a version said of a field is shown, or something newer in its place. A newer
    /// empty map takes the field too, and is there in whatever lies below; it gives way to what
    /// clashes with it, be that as old as it may.
    fn is_shown_or_beaten(
        &self,
        id: EntityId,
        shown: &Shown,
        v: &Known,
        path: &Path,
        value: &Value,
    ) -> bool {
        let Some(content) = &shown.content else { return true };
        let stands = |at: &Path, newer: &Value| match is_empty_map(newer) {
            true => at == path || content.keys().any(|below| below.starts_with(at)),
            false => content.get(at) == Some(newer),
        };
        let newer = self.ledger.of(id).filter(|x| x.writer() > v.writer());
        let mut said = newer.flat_map(|x| x.state.iter().flat_map(|s| s.of(x.writer())));
        content.get(path) == Some(value)
            || is_told_as_removed(shown, v, path)
            || said.any(|(at, newer)| related(at, path) && stands(at, newer))
    }

    pub(crate) fn may_have_forked(&self) -> bool {
        self.tally.copies + self.tally.restores + self.tally.faults[Fault::ForgedName as usize] > 0
    }

    /// What a node showed then, all show of then; and the difference between two moments is that of
    /// what was shown.
    fn check_moments(&self, node: &Node, snapshot: &Snapshot) -> Checked<()> {
        for (i, moment) in self.moments.iter().enumerate() {
            let past = match node.past(snapshot, &moment.clock, &self.entities) {
                // a clock from before a fork was known names a place that is two since
                Err(heirloom::Error::Clock(_)) if self.may_have_forked() => continue,
                past => past?,
            };
            same(&format!("{} shows the past", node.name), &past, &moment.contents)?;
            let Some(other) = self.moments.get(i + 1) else { continue };
            let found = match snapshot.diff(&moment.clock, &other.clock) {
                Err(heirloom::Error::Clock(_)) if self.may_have_forked() => continue,
                found => found?.collect::<Result<Vec<_>, _>>()?,
            };
            let sides = |d: &heirloom::Difference| {
                (d.before.as_ref().map(leaves), d.after.as_ref().map(leaves))
            };
            let found: BTreeMap<_, _> = found.iter().map(|d| (d.entity, sides(d))).collect();
            same(
                &format!("{}: between two moments", node.name),
                &found,
                &difference(moment, other),
            )?;
        }
        let nothing = node.past(snapshot, &Clock::new(), &self.entities);
        let now = snapshot.clock()?;
        ensure(now.compare(&now) == ClockOrdering::Equal, || "a clock differs from itself".into())?;
        same(&format!("{} shows the time before all", node.name), &nothing?.len(), &0)
    }
}

/// Whether what a version said of a field stands in an open conflict or is shown.
fn stands(shown: &Shown, v: &Known, path: &Path, value: &Value) -> bool {
    let is_side =
        |sides: &[(VersionRef, Value)]| sides.iter().any(|(r, _)| *r == v.version.reference());
    let is_open = shown.conflicts.iter().any(|(p, _)| p == path);
    match &shown.content {
        _ if is_told_as_removed(shown, v, path) => true,
        _ if is_open => shown.conflicts.iter().any(|(p, sides)| p == path && is_side(sides)),
        Some(content) => content.get(path) == Some(value),
        // A deletion that had not seen it hides it; it stays among the heads' contents, which are
        // compared.
        None => shown.deletion,
    }
}

/// Whether a version is told as one that wrote inside of an entry that another had removed, around
/// this path.
fn is_told_as_removed(shown: &Shown, v: &Known, path: &Path) -> bool {
    let inside = |(version, value): &(VersionRef, Value)| {
        *version == v.version.reference() && matches!(value, Value::Map(_))
    };
    shown
        .conflicts
        .iter()
        .any(|(top, sides)| top != path && path.starts_with(top) && sides.iter().any(inside))
}

type Sides = (Option<Leaves>, Option<Leaves>);

fn difference(from: &Moment, to: &Moment) -> BTreeMap<EntityId, Sides> {
    let ids: BTreeSet<&EntityId> = from.contents.keys().chain(to.contents.keys()).collect();
    let sides = |id: &EntityId| (from.contents.get(id).cloned(), to.contents.get(id).cloned());
    ids.into_iter().map(|id| (*id, sides(id))).filter(|(_, (a, b))| a != b).collect()
}

/// All that everybody must say alike of a version.
type Facts = (Kind, Timestamp, Timestamp, BTreeSet<VersionRef>, CommitRef, String, Metadata);

fn facts(v: &Version) -> Facts {
    let parents = v.parents().iter().copied().collect();
    let device = device_of(v.device());
    (v.kind(), v.stamp(), v.wall(), parents, v.commit(), device, v.metadata().clone())
}

/// In the order of writes, and so never a parent before its child. Of versions that have reached
/// the end of time the stamps say nothing.
fn is_newest_first(history: &[Version]) -> bool {
    let key = |v: &Version| (v.stamp(), v.reference());
    let within_time: Vec<_> = history.iter().filter(|v| v.stamp() < Timestamp::MAX).collect();
    within_time.windows(2).all(|w| key(w[0]) > key(w[1]))
        && history.windows(2).all(|w| w[0].stamp() >= w[1].stamp())
}
