//! An import that is under way: whoever writes sees its commits, and no disk has them yet. What a
//! node says meanwhile, to a peer or to its own application, rests on them all the same: it must be
//! there after a power cut, or not be said.
//!
//! Each history is brought to two nodes, to one of them durably, and asked for at the other. It
//! comes after all else and has a chance of its own, so that what a seed does before does not
//! depend on it.

use std::collections::{BTreeMap, BTreeSet};

use heirloom::{Content, Engine, EntityId, Error, Importer, Timestamp, Version};

use super::canary::Canary;
use super::ledger::{Op, Plan, known};
use super::naive::leaves;
use super::node::Node;
use super::policy::TYPES;
use super::swarm::Fault;
use super::world::World;
use super::{Checked, Wrong, chain, ensure, same};
use crate::disk::Faults;
use crate::random::Random;

/// So many in each run.
const IMPORTS: usize = 2;

/// What an old application left.
struct History {
    device: String,
    /// In commits.
    creations: Vec<Vec<(EntityId, &'static str, Content)>>,
}

impl History {
    fn draw(number: usize, chance: &mut Random) -> Self {
        let creation = |chance: &mut Random| {
            let content = Content::new().with("a", chance.below(9) as i64).with("n", "imported");
            (EntityId::from_bytes(chance.bytes16()), chance.pick(&TYPES), content)
        };
        let commits = 1 + chance.below(3);
        let creations =
            (0..commits).map(|_| (0..1 + chance.below(2)).map(|_| creation(chance)).collect());
        Self { device: format!("import-{number}"), creations: creations.collect() }
    }

    /// Brings it, not durably yet.
    fn bring(&self, engine: &Engine) -> heirloom::Result<Importer> {
        let mut importer = engine.importer()?;
        let device = importer.device(&self.device)?;
        for (i, commit) in self.creations.iter().enumerate() {
            let mut draft =
                importer.commit(device, &[], Timestamp::from_millis(1_000 * i as i64))?;
            for (id, entity_type, content) in commit {
                draft.create(*id, entity_type, content)?;
            }
            draft.finish()?;
        }
        Ok(importer)
    }

    fn commits(&self) -> u64 {
        self.creations.len() as u64
    }

    fn entities(&self) -> Vec<EntityId> {
        self.creations.iter().flatten().map(|(id, ..)| *id).collect()
    }
}

impl World {
    pub(crate) fn import_beside_others(&mut self) -> Checked<()> {
        for number in 0..IMPORTS {
            let [here, there] = self.imports.two(self.nodes.len());
            // then both know the dataset, and have nothing else to tell each other
            self.sync([here, there])?;
            if self.nodes[here].engine.dataset().is_none() {
                continue;
            }
            let history = History::draw(number, &mut self.imports);
            history.bring(&self.nodes[there].engine)?.finish()?;
            self.enter(there, &history)?;
            self.nodes[there].note_told()?;
            self.tally.imports += 1;
            let importer = history.bring(&self.nodes[here].engine)?;
            self.tell(|| format!("node {here} imports what node {there} did"));
            match self.imports.below(3) {
                0 => self.meet_beside(importer, [here, there], &history)?,
                1 => self.ask_beside(importer, here, &history)?,
                _ => self.ask_in_vain(importer, here, &history)?,
            }
        }
        Ok(())
    }

    /// What an old application wrote is known as if a device had.
    fn enter(&mut self, node: usize, history: &History) -> Checked<()> {
        let snapshot = self.nodes[node].engine.snapshot()?;
        self.tally.commits += history.commits();
        for (id, entity_type, content) in history.creations.iter().flatten() {
            let heads = BTreeMap::from([(*id, BTreeSet::new())]);
            let mut plan = Plan::new(&self.ledger, heads, BTreeSet::new());
            let create = Op::Create { id: *id, entity_type, content: content.clone() };
            plan.apply(&create)
                .map_err(|refusal| Wrong(format!("an import is refused: {refusal:?}")))?;
            let drafts = plan.written();
            let heads: Vec<Version> = snapshot.heads(*id)?;
            same("heads of what was imported", &heads.len(), &1)?;
            for (version, (_, draft)) in heads.into_iter().zip(drafts) {
                let reference = version.reference();
                let known = known(&self.ledger, version, draft);
                let said = snapshot.content_at(&reference)?.map(|c| leaves(&c));
                same("what was imported says", &said, &known.state.as_ref().map(|s| s.shown()))?;
                self.tally.versions += 1;
                self.ledger.add(known);
            }
        }
        Ok(())
    }

    /// A session brings the same commits: it finds them here, and may say so when they are durable.
    fn meet_beside(
        &mut self,
        importer: Importer,
        who: [usize; 2],
        history: &History,
    ) -> Checked<()> {
        let here = who[0];
        self.nodes[here].has_on_its_way(history.commits());
        let who = if self.imports.percent(50) { who } else { [who[1], who[0]] };
        let [a, b] = self.seams(who)?;
        let met = heirloom_sync::sync_in_process(&a.0, &b.0);
        self.nodes[here].has_on_its_way(0);
        let (a, b) = met.map_err(|e| Wrong(format!("beside an import, {}", Wrong::from(e).0)))?;
        let skipped = a.commits_skipped + b.commits_skipped;
        same("commits that an import had on their way", &skipped, &history.commits())?;
        who.into_iter().try_for_each(|n| self.nodes[n].note_told())?;
        drop(importer);
        self.lose_power(here)?;
        self.all_there(here, history)
    }

    /// A write that changes nothing tells what it saw.
    fn ask_beside(&mut self, importer: Importer, here: usize, history: &History) -> Checked<()> {
        let how = self.imports.below(4);
        let node = &self.nodes[here];
        for id in history.entities() {
            node.ask(id, how).map_err(|e| {
                Wrong(format!("node {here} was asked for what it imports: {}", chain(&e)))
            })?;
        }
        self.all_there(here, history)?;
        // now it rests on what is durable
        let changes = node.disk.counts().changes;
        for id in history.entities() {
            node.ask(id, how)?;
        }
        same("writes to the disk for answers", &node.disk.counts().changes, &changes)?;
        self.nodes[here].note_told()?;
        drop(importer);
        self.lose_power(here)?;
        self.all_there(here, history)
    }

    /// The disk fails just then: nothing is told.
    fn ask_in_vain(&mut self, importer: Importer, here: usize, history: &History) -> Checked<()> {
        let how = self.imports.below(4);
        let syncs = self.nodes[here].disk.counts().syncs;
        self.nodes[here].trouble = Faults { sync: Some(syncs + 1), ..Faults::default() };
        self.arm(here);
        let told = history.entities().into_iter().try_for_each(|id| self.nodes[here].ask(id, how));
        self.disarm(here);
        let is_refused = matches!(told, Err(Error::Storage(_)));
        ensure(is_refused, || {
            format!("node {here} could not make durable what it was asked for, and said {told:?}")
        })?;
        drop(importer);
        self.restart(&[here])?;
        Ok(self.nodes[here].note_told()?)
    }

    fn lose_power(&mut self, node: usize) -> Checked<()> {
        self.count(Fault::PowerCut);
        let disk = self.nodes[node].disk.after_a_cut(self.imports.next());
        self.reopen(node, disk, false)?;
        Ok(self.nodes[node].note_told()?)
    }

    /// Whether a node shows what it said to have.
    fn all_there(&self, node: usize, history: &History) -> Checked<()> {
        let snapshot = self.nodes[node].engine.snapshot()?;
        for id in history.entities() {
            let is_there = snapshot.get_any(id)?.is_some();
            ensure(is_there, || format!("node {node} said of {id} what is not durable"))?;
        }
        Ok(())
    }
}

impl Node {
    /// Asks for an entity in a write that changes nothing. Well if it was told that it is there.
    fn ask(&self, id: EntityId, how: usize) -> heirloom::Result<()> {
        if self.has(Canary::AnswersFromWhatIsNotDurable) {
            return Ok(());
        }
        let told = self.engine.write(|tx| match how {
            0 => tx.create_with_id(id, TYPES[0], &Content::new()),
            1 => tx.expect(id, &[]),
            _ => {
                let found = tx.get(id)?.ok_or(Error::NotFound(id))?;
                if how == 2 { Ok(()) } else { tx.put(&found, &found.content()) }
            }
        });
        match (how, told) {
            (0, Err(Error::Exists { .. })) | (1, Err(Error::Stale(_))) => Ok(()),
            (0 | 1, Ok(())) => Err(Error::NotFound(id)),
            (_, told) => told,
        }
    }
}
