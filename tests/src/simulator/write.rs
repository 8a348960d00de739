//! An application writes: what it wants is drawn, what must come of it foretold, and both compared.

use std::collections::{BTreeMap, BTreeSet};

use heirloom::{
    Content, EntityId, Error, Kind, Metadata, Sequence, Snapshot, Timestamp, Value, Version,
    VersionRef, apply_patch,
};

use super::canary::Canary;
use super::ledger::{Draft, Op, Plan, Refusal, known, stamp_over};
use super::naive::{Leaves, Path, leaves, path};
use super::policy::{Choice, TYPES, patch};
use super::report::Report;
use super::world::World;
use super::{Checked, Wrong, ensure, same, short};
use crate::random::Random;

const FIELDS: [&str; 7] = ["a", "b", "m", "m.x", "m.y", "m.y.z", "n"];
/// How far a remote clock may pull one's own.
const PULL_MS: i64 = 5 * 60_000;

impl World {
    pub(crate) fn write(&mut self, node: usize) -> Checked<()> {
        if self.nodes[node].engine.dataset().is_none() {
            return Ok(());
        }
        let before = self.nodes[node].engine.snapshot()?;
        let count = self.random.pick(&[1, 1, 1, 2, 3]);
        let ops = (0..count).map(|_| self.draw_op(node, &before)).collect::<Checked<Vec<Op>>>()?;
        let abandon = self.random.percent(4);
        self.tell(|| {
            format!(
                "node {node} writes{} {}",
                if abandon { " and gives up" } else { "" },
                short(&ops)
            )
        });

        let mut plan = self.plan(&before, &ops)?;
        let mut foretold = Vec::new();
        let refusal = ops.iter().try_for_each(|op| {
            plan.apply(op)?;
            foretold.push(plan.shown(op.entity()));
            Ok(())
        });
        let drafts = plan.written();
        let held = before.commits()?;
        self.arm(node);
        let found = self.transact(node, &ops, abandon);
        self.disarm(node);
        if self.nodes[node].disk.has_failed() {
            drop(before);
            let may_be_there = refusal.is_ok() && !abandon && !drafts.is_empty();
            return self.written_in_a_crash(
                node,
                held,
                found.is_ok(),
                if may_be_there { drafts } else { Vec::new() },
            );
        }
        match (refusal, found) {
            (Err(refusal), Err(error)) if Refusal::of(&error) == Some(refusal) => {
                self.tally.refusals += 1;
                let is_decision =
                    matches!(ops[foretold.len()], Op::Resolve { .. } | Op::Expect { .. });
                self.tally.stale += u64::from(is_decision && refusal == Refusal::Conflict);
            }
            (Ok(()), Err(Error::Closed)) if abandon => {}
            (Ok(()), Ok(found)) => {
                same(
                    &format!("node {node} writes {}, and its transaction shows", short(&ops)),
                    &found,
                    &foretold,
                )?;
                let resolved = ops.iter().filter(|op| matches!(op, Op::Resolve { .. }));
                self.tally.resolutions += resolved.count() as u64;
                self.written(node, held, Some(&before), drafts)?;
                return Ok(self.nodes[node].note_told()?);
            }
            (foretold, found) => {
                let what = format!(
                    "node {node} writes {}: {} was foretold",
                    short(&ops),
                    short(&foretold)
                );
                return Err(Wrong(format!("{what}, {} came", short(&found))));
            }
        }
        same(
            "the log root after a write that failed",
            &self.nodes[node].engine.log_root()?,
            &before.log_root()?,
        )
    }

    /// What the transaction showed after each step. A given-up one ends with an error that no write
    /// gives.
    fn transact(
        &self,
        node: usize,
        ops: &[Op],
        abandon: bool,
    ) -> heirloom::Result<Vec<Option<Leaves>>> {
        let node = &self.nodes[node];
        if abandon && node.has(Canary::KeepsAnAbandonedWrite) {
            node.engine.write(|tx| node.apply(tx, &ops[0]))?;
        }
        let metadata = Metadata::new().with_message(format!("step {}", self.tally.steps));
        node.engine.write_with(metadata, |tx| {
            let mut shown = Vec::new();
            for op in ops {
                node.apply(tx, op)?;
                shown.push(tx.get(op.entity())?.map(|e| leaves(&e.content())));
            }
            if abandon { Err(Error::Closed) } else { Ok(shown) }
        })
    }

    fn plan(&self, before: &Snapshot, ops: &[Op]) -> Checked<Plan<'_>> {
        let (mut heads, mut held) = (BTreeMap::new(), BTreeSet::new());
        for op in ops {
            heads.insert(op.entity(), self.heads(before, op.entity())?);
            if let Op::Restore { version, .. } = op
                && before.version(version).is_ok()
            {
                held.insert(*version);
            }
        }
        Ok(Plan::new(&self.ledger, heads, held))
    }

    fn heads(&self, snapshot: &Snapshot, id: EntityId) -> Checked<BTreeSet<VersionRef>> {
        let heads: BTreeSet<VersionRef> =
            snapshot.heads(id)?.iter().map(Version::reference).collect();
        let known = |h: &VersionRef| self.ledger.get(h).is_some();
        ensure(heads.iter().all(known), || {
            format!("{id} has a head that nobody wrote: {heads:?}")
        })?;
        Ok(heads)
    }

    /// Compares what was written with what was foretold, and enters it into the ledger.
    fn written(
        &mut self,
        node: usize,
        held: u64,
        before: Option<&Snapshot>,
        drafts: Vec<(EntityId, Draft)>,
    ) -> Checked<()> {
        let after = self.nodes[node].engine.snapshot()?;
        let new = after.commits()? - held;
        same("commits of one write", &new, &u64::from(!drafts.is_empty()))?;
        if drafts.is_empty() {
            return Ok(());
        }
        self.tally.commits += 1;
        let versions = self.versions(node, &after, &drafts)?;
        self.check_times(node, &versions)?;
        for (version, (id, draft)) in versions.into_iter().zip(drafts) {
            self.tally.versions += 1;
            self.tally.merges += u64::from(draft.parents.len() > 1);
            self.tally.deletes += u64::from(version.is_tombstone());
            self.note_conflicts(id, &draft.parents);
            if let Some(before) = before {
                self.check_decisions(node, before, &after, id, &draft)?;
            }
            let known = known(&self.ledger, version, draft);
            if let Some(last) = self.nodes[node].last.insert(id, known.version.reference()) {
                ensure(known.seen.contains(&last), || {
                    format!(
                        "node {node} left its own version {last} of {id} out of the past of its \
                         next"
                    )
                })?;
            }
            let shown = known.state.as_ref().map(|s| s.shown());
            let content = after.content_at(&known.version.reference())?.map(|c| leaves(&c));
            same(&format!("node {node} wrote {id}, and its version says"), &content, &shown)?;
            let head = BTreeSet::from([known.version.reference()]);
            self.ledger.add(known);
            let report = Report::of(&self.ledger, &head);
            same(
                &format!("node {node} wrote {id}, and what is open then"),
                &Report::at(&after, id)?,
                &report,
            )?;
        }
        Ok(())
    }

    /// The disk failed under a write: the commit is there whole or not at all; if it was
    /// acknowledged, it is there.
    fn written_in_a_crash(
        &mut self,
        node: usize,
        held: u64,
        told: bool,
        drafts: Vec<(EntityId, Draft)>,
    ) -> Checked<()> {
        let may_go_back = self.nodes[node].trouble.misdirected.is_some();
        if self.restart(&[node])? {
            return Ok(());
        }
        let new = self.nodes[node].engine.snapshot()?.commits()? - held;
        let gone = new == 0 && told && !drafts.is_empty();
        // a disk that wrote elsewhere what makes a commit count, and said that it did, has dropped
        // it whole
        self.tally.lost_commits += u64::from(gone && may_go_back);
        ensure(!gone || may_go_back, || format!("node {node}: an acknowledged commit is gone"))?;
        if new > 0 {
            self.tally.unacknowledged += u64::from(!told);
            self.written(node, held, None, drafts)?;
        }
        Ok(self.nodes[node].note_told()?)
    }

    /// R20: under a policy for fields, what was open and was not touched is as open as before.
    fn check_decisions(
        &self,
        node: usize,
        before: &Snapshot,
        after: &Snapshot,
        id: EntityId,
        draft: &Draft,
    ) -> Checked<()> {
        if draft.kind != Kind::Update || !self.ledger.rule(&draft.parents).is_by_field() {
            return Ok(());
        }
        let (before, after) = (before.conflict(id)?, after.conflict(id)?);
        for field in before.iter().flat_map(|c| &c.fields) {
            // of fields that clash, each is open only for the other
            let differ = field.sides.windows(2).any(|w| w[0].value != w[1].value);
            if !differ || draft.said.is_near(&field.path) {
                continue;
            }
            let now = after.iter().flat_map(|c| &c.fields).find(|f| f.path == field.path);
            ensure(now == Some(field), || {
                format!("node {node} wrote {id} and decided {} unasked", field.path.join("."))
            })?;
        }
        Ok(())
    }

    /// The versions that the drafts became, in their order.
    fn versions(
        &mut self,
        node: usize,
        after: &Snapshot,
        drafts: &[(EntityId, Draft)],
    ) -> Checked<Vec<Version>> {
        let own = self.nodes[node].engine.log_id();
        let mut out: Vec<Version> = Vec::new();
        for (id, draft) in drafts {
            let mut heads = after.heads(*id)?;
            let head = heads.pop().filter(|_| heads.is_empty());
            let head = head.ok_or_else(|| {
                Wrong(format!("{id} has several heads just after a write, or none"))
            })?;
            same("the log of a version", &Some(head.log()), &own)?;
            // the place that an image or a copy begins at is not known
            let VersionRef { log, sequence, .. } = head.reference();
            match self.nodes[node].place.replace((log, sequence)) {
                Some((before, last)) if before == log => {
                    same("the sequence of a version", &sequence, &last.next())?
                }
                Some(_) => same("the first sequence of a log", &sequence, &Sequence::FIRST)?,
                None => {}
            }
            same("the kind of a version", &head.kind(), &draft.kind)?;
            same(
                "parents of a version",
                &head.parents().iter().copied().collect(),
                &draft.parents,
            )?;
            out.push(head);
        }
        Ok(out)
    }

    /// I5 and R6: the wall never goes back and never follows a clock that is far ahead; the stamp
    /// is exactly the one that there must be.
    fn check_times(&mut self, node: usize, versions: &[Version]) -> Checked<()> {
        let Some(first) = versions.first() else { return Ok(()) };
        // a fresh log begins a line of its own
        self.nodes[node].line.retain(|v| v.log == first.log());
        let parents = versions.iter().flat_map(Version::parents).filter_map(|p| self.ledger.get(p));
        let stamp = stamp_over(first.wall(), &self.nodes[node].line, parents);
        for v in versions {
            same("one commit, one stamp", &v.stamp(), &stamp)?;
            same("one commit, one wall", &v.wall(), &first.wall())?;
            same("one commit, one ref", &v.commit(), &first.commit())?;
        }
        let (wall, node) = (first.wall(), &mut self.nodes[node]);
        node.line.extend(versions.iter().map(Version::reference));
        if first.reference().sequence == Sequence::FIRST {
            node.wall = Timestamp::EPOCH;
        }
        let now = node.now().clamp(Timestamp::EPOCH, Timestamp::MAX);
        ensure(wall >= node.wall && wall >= now, || {
            format!("{}: wall {wall} goes back", node.name)
        })?;
        let most = Timestamp::from_millis(now.as_millis() + PULL_MS);
        ensure(!node.is_right || wall <= most, || {
            format!("{}: wall {wall} was pushed beyond {most}", node.name)
        })?;
        node.wall = wall;
        Ok(())
    }

    /// Counts what is open between some heads.
    pub(crate) fn note_conflicts(&mut self, id: EntityId, heads: &BTreeSet<VersionRef>) {
        let shown = self.ledger.view(heads);
        for (path, sides) in shown.conflicts {
            self.conflicts.insert((id, Some(path), sides.into_iter().map(|(r, _)| r).collect()));
        }
        if shown.deletion {
            self.conflicts.insert((id, None, shown.heads.into_iter().collect()));
        }
    }

    // --- chance

    fn draw_op(&mut self, node: usize, snapshot: &Snapshot) -> Checked<Op> {
        if self.random.percent(4) {
            let fresh = EntityId::from_bytes(self.random.bytes16());
            self.entities.insert(fresh);
        }
        let id = self.any_entity();
        let shown = snapshot.get_any(id)?;
        let plain = self.temper.is_plain;
        let dice = self.random.below(100);
        Ok(match shown {
            None if dice < 90 => self.draw_creation(id),
            None if dice < 95 => Op::Expect { id, heads: Vec::new() },
            None => self.draw_patch(id),
            Some(e) if e.is_conflicted() && self.random.percent(15) => {
                self.draw_resolution(node, e)?
            }
            Some(e) if dice < 3 => self.draw_resolution(node, e)?,
            Some(e) if dice > 95 => Op::Expect { id, heads: self.look(node, e).heads().to_vec() },
            Some(e) if e.is_deleted() && dice < 60 && !plain => self.draw_restore(id),
            Some(_) if dice < 6 => self.draw_creation(id),
            Some(_) if dice < 50 || plain => self.draw_patch(id),
            Some(e) if dice < 74 => self.draw_put(node, e)?,
            Some(_) if dice < 87 => Op::Delete { id },
            Some(_) => self.draw_restore(id),
        })
    }

    fn draw_creation(&mut self, id: EntityId) -> Op {
        let inner = Content::new().with("x", 1).with("y", Content::new().with("z", 2));
        let full = Content::new().with("a", 0).with("m", inner);
        let content = if self.random.percent(70) { full } else { Content::new() };
        Op::Create { id, entity_type: self.random.pick(&TYPES), content }
    }

    fn draw_patch(&mut self, id: EntityId) -> Op {
        let (unsets, sets) = self.draw_change();
        Op::Patch { id, unsets, sets }
    }

    fn draw_change(&mut self) -> (Vec<Path>, Vec<(Path, Value)>) {
        let mut unsets = Vec::new();
        if self.random.percent(30) {
            unsets.push(path(self.random.pick(&FIELDS)));
        }
        let count = if unsets.is_empty() { 1 + self.random.below(2) } else { self.random.below(3) };
        let large = self.temper.has_large_values;
        let random = &mut self.random;
        let sets =
            (0..count).map(|_| (path(random.pick(&FIELDS)), draw_value(random, large))).collect();
        (unsets, sets)
    }

    /// A form that was opened earlier, or one opened now.
    fn draw_put(&mut self, node: usize, now: heirloom::Entity) -> Checked<Op> {
        let form = self.look(node, now);
        if form.is_deleted() {
            return Ok(self.draw_patch(form.id()));
        }
        let (unsets, sets) = self.draw_change();
        let content =
            apply_patch(&patch(&unsets, &sets), &form.content()).map_err(heirloom::Error::from)?;
        Ok(Op::Put { form: Box::new(form), content })
    }

    /// An entity as it is now, or as it was seen earlier. Who looks now may come back to it.
    fn look(&mut self, node: usize, now: heirloom::Entity) -> heirloom::Entity {
        let stale = self.nodes[node].forms.iter().find(|f| f.id() == now.id()).cloned();
        let seen = stale.filter(|_| self.random.percent(60)).unwrap_or(now);
        if self.random.percent(50) {
            self.nodes[node].keep(seen.clone());
        }
        seen
    }

    /// Whatever a person may decide who looks at an entity, most often while it is as they saw it.
    fn draw_resolution(&mut self, node: usize, now: heirloom::Entity) -> Checked<Op> {
        let entity = if self.random.percent(60) { self.look(node, now) } else { now };
        let (id, seen) = (entity.id(), entity.heads().to_vec());
        let (unsets, sets) = self.draw_change();
        let choice = match self.random.below(20) {
            0..6 => Choice::Suggestion,
            6..12 => Choice::Patch { unsets, sets },
            12..14 => Choice::Content(
                apply_patch(&patch(&unsets, &sets), &entity.content())
                    .map_err(heirloom::Error::from)?,
            ),
            14..18 => {
                let from = if self.random.percent(90) { &seen } else { self.ledger.refs(id) };
                Choice::Head(self.random.pick(from))
            }
            _ if self.temper.is_plain => Choice::Suggestion,
            _ => Choice::Delete,
        };
        Ok(Op::Resolve { id, seen, choice })
    }

    /// Any version of the entity, also one that this node has not seen.
    fn draw_restore(&mut self, id: EntityId) -> Op {
        let refs = self.ledger.refs(id);
        if refs.is_empty() {
            return self.draw_creation(id);
        }
        Op::Restore { id, version: self.random.pick(refs) }
    }
}

/// Few different values, so that writers sometimes agree; a large one where there are such.
fn draw_value(random: &mut Random, large: bool) -> Value {
    if large && random.percent(10) {
        // does not compress
        let mut text = String::new();
        for _ in 0..1500 + random.below(6000) {
            text.push_str(&format!("{:016x}", random.next()));
        }
        return Value::Text(text);
    }
    match random.below(14) {
        12 | 13 => Value::Text(random.note()),
        0 => Value::Null,
        1 => Value::Map(Content::new()),
        2 => Value::Map(Content::new().with("x", 3).with("y", 4)),
        3 => Value::Float(1.0),
        4 => Value::Text("s".into()),
        5 => Value::Array(vec![1.into(), Value::Bool(true)]),
        6 => Value::Bytes(vec![1, 2]),
        7 => Value::Timestamp(Timestamp::from_millis(-5)),
        n => Value::Int(n as i64 % 4),
    }
}
