//! What goes wrong with a device, and what must hold afterwards: acknowledged is kept; a store is
//! sound, or gone for good and known to be.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use heirloom::{Error, VersionRef};

use super::canary::Canary;
use super::link::Mischief;
use super::node::Node;
use super::swarm::Fault;
use super::world::World;
use super::{Checked, Wrong, chain, ensure, same};
use crate::disk::{Disk, Faults};
use crate::tables_part::TablesPart;

/// With those that copies of files brought.
const NODES_WITH_COPIES_MAX: usize = 8;

impl World {
    /// Lets begin what the swarm has for this step.
    pub(crate) fn go_wrong(&mut self) -> Checked<()> {
        for fault in self.swarm.next() {
            let node = self.swarm.chance.below(self.nodes.len());
            self.begin(fault, node)?;
        }
        Ok(())
    }

    fn begin(&mut self, fault: Fault, node: usize) -> Checked<()> {
        let chance = &mut self.swarm.chance;
        let counts = self.nodes[node].disk.counts();
        let soon =
            |now: u64, chance: &mut crate::random::Random| Some(now + 1 + chance.below(40) as u64);
        let none = Faults::default();
        let trouble = match fault {
            // as often at a commit's own write or sync as in the many of a drain
            Fault::PowerCut => {
                let at = chance.below(40) as u64;
                let at = if at < 20 { at % 2 } else { at };
                Faults { cut: Some(counts.changes + 1 + at), ..none }
            }
            Fault::ReadError => Faults { read: soon(counts.reads, chance), ..none },
            Fault::WriteError => Faults { write: soon(counts.writes, chance), ..none },
            Fault::SyncError => Faults { sync: Some(counts.syncs + 1), ..none },
            Fault::Misdirected => {
                Faults { misdirected: soon(counts.writes, chance), blind: true, ..none }
            }
            Fault::FullDisk => Faults { blocks: Some(self.nodes[node].disk.blocks()), ..none },
            Fault::Kill => return self.kill(node),
            Fault::Forgets => return self.forget(node),
            Fault::Backup => return self.back_up(node),
            Fault::Restore => return self.restore(node),
            Fault::Copy => return self.copy(node),
            Fault::Image => return self.put_aside(node),
            Fault::RollBack => return self.roll_back(node),
            Fault::VoidCommit | Fault::NewerCommit | Fault::ForgedName => {
                return self.forge(fault, node);
            }
            Fault::SpoiltBodies => return self.spoil_bodies(node),
            Fault::RottenRow => return self.rot_row(node),
            Fault::RottenRecord => return self.rot_record(node),
            Fault::RepeatedFrame => return self.disturb(fault, Mischief::Repeat),
            Fault::LostBytes => return self.disturb(fault, Mischief::Lose),
            Fault::HostileFrame => return self.disturb(fault, Mischief::Hostile),
            Fault::Garbage => return self.disturb(fault, Mischief::Garbage),
        };
        self.tell(|| format!("node {node}: {} is near", fault.name()));
        self.nodes[node].trouble = trouble;
        Ok(())
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        self.tally.faults[fault as usize] += 1;
    }

    fn disturb(&mut self, fault: Fault, mischief: Mischief) -> Checked<()> {
        if !self.meetings.is_empty() {
            let at = self.swarm.chance.below(self.meetings.len());
            if self.meetings[at].disturb(mischief, &mut self.swarm.chance) {
                self.tell(|| format!("{} between {:?}", fault.name(), self.meetings[at].who));
                self.count(fault);
            }
        }
        Ok(())
    }

    /// From here on the disk may fail: the engine is at work, and whatever it answers is looked at.
    pub(crate) fn arm(&mut self, node: usize) {
        let lies = self.nodes[node].has(Canary::AcknowledgesBeforeItIsDurable);
        let trouble = self.nodes[node].trouble;
        let held = self.nodes[node].engine.snapshot().and_then(|now| now.commits());
        self.nodes[node].held = held.unwrap_or(0);
        self.nodes[node].disk.set_faults(Faults { lies, ..trouble });
    }

    /// From here on the simulator itself looks at the store.
    pub(crate) fn disarm(&mut self, node: usize) {
        let lies = self.nodes[node].has(Canary::AcknowledgesBeforeItIsDurable);
        self.nodes[node].disk.set_faults(Faults { lies, ..Faults::default() });
    }

    fn kill(&mut self, node: usize) -> Checked<()> {
        self.count(Fault::Kill);
        let disk = self.nodes[node].disk.after_a_cut(self.swarm.chance.next());
        self.reopen(node, disk, false).map(drop)
    }

    /// The disks have failed under these engines, so the processes end and begin again. Whether a
    /// store was lost with its disk: what else holds what it held is known when all are open again.
    pub(crate) fn restart(&mut self, nodes: &[usize]) -> Checked<bool> {
        let mut is_lost = false;
        for node in nodes {
            is_lost |= self.open_again(*node)?;
        }
        if is_lost {
            self.strike_what_nobody_holds()?;
        }
        Ok(is_lost)
    }

    fn open_again(&mut self, node: usize) -> Checked<bool> {
        let trouble = self.nodes[node].trouble;
        let fault = [
            (trouble.cut.is_some(), Fault::PowerCut),
            (trouble.read.is_some(), Fault::ReadError),
            (trouble.write.is_some(), Fault::WriteError),
            (trouble.sync.is_some(), Fault::SyncError),
            (trouble.misdirected.is_some(), Fault::Misdirected),
        ];
        let fault =
            fault.into_iter().find(|(is, _)| *is).map_or(Fault::FullDisk, |(_, fault)| fault);
        self.count(fault);
        let disk = &self.nodes[node].disk;
        let is_cut = disk.is_off() || (fault == Fault::SyncError && self.swarm.chance.percent(50));
        let disk =
            if is_cut { disk.after_a_cut(self.swarm.chance.next()) } else { disk.after_a_kill() };
        self.tell(|| format!("node {node}: {}, it is opened again", fault.name()));
        self.reopen(node, disk, fault == Fault::Misdirected)
    }

    pub(crate) fn reopen(
        &mut self,
        node: usize,
        disk: Disk,
        may_be_damaged: bool,
    ) -> Checked<bool> {
        self.tally.crashes += 1;
        self.hang_up(node)?;
        let opened = self.nodes[node].reopen(disk);
        if may_be_damaged && !self.is_sound(node, opened.as_ref().err())? {
            // killed as it is: redb commits once more when it is closed, and a panic over its own
            // damaged pages in there ends the process
            std::mem::forget(self.nodes[node].engine.clone());
            self.begin_with_nothing(node)?;
            return Ok(true);
        }
        opened.map_err(|e| {
            Wrong(format!("node {node} does not open after a crash: {}", chain(&e)))
        })?;
        let now = &self.nodes[node];
        for end in &now.told {
            let found = now.engine.replication().locate(&end.reference())?.map(|here| here.end);
            same(
                &format!("node {node} after a crash: what it had said to hold"),
                &found,
                &Some(*end),
            )?;
        }
        if self.swarm.chance.percent(20) {
            let found = now.engine.verify()?;
            ensure(found.is_clean(), || {
                format!("node {node} after a crash: {:?}", found.problems)
            })?;
        }
        Ok(false)
    }

    /// Whether a store of which a page lies in the wrong place is whole all the same. If not, the
    /// error says so.
    fn is_sound(&self, node: usize, error: Option<&Error>) -> Checked<bool> {
        let verified = match error {
            None => self.nodes[node].engine.verify().map(|found| found.is_clean()),
            Some(
                Error::Corrupt { .. }
                | Error::Storage(_)
                | Error::NotAStore
                | Error::UnknownFormat { .. },
            ) => {
                return Ok(false);
            }
            Some(other) => {
                return Err(Wrong(format!("a damaged store is called {}", chain(other))));
            }
        };
        match verified {
            // it may have gone back to the state before, of which the checks know nothing
            Ok(clean) => {
                Ok(clean && self.is_whole_for_redb(node) && self.holds_what_it_told(node)?)
            }
            Err(Error::Corrupt { .. } | Error::Storage(_)) => Ok(false),
            Err(other) => Err(Wrong(format!("a damaged store is called {}", chain(&other)))),
        }
    }

    /// Whether redb finds its own pages whole, those of its free pages too, which `verify` cannot
    /// read: what is damaged there is told when a later commit meets it, and the disk is as good as
    /// lost.
    fn is_whole_for_redb(&self, node: usize) -> bool {
        let disk = self.nodes[node].disk.after_a_kill();
        let check = || {
            let mut database =
                redb::Builder::new().create_with_backend(TablesPart::of(disk).ok()?).ok()?;
            database.check_integrity().ok()
        };
        matches!(catch_unwind(AssertUnwindSafe(check)), Ok(Some(true)))
    }

    fn holds_what_it_told(&self, node: usize) -> Checked<bool> {
        let node = &self.nodes[node];
        for end in &node.told {
            if node.engine.replication().locate(&end.reference())?.is_none() {
                return Ok(false);
            }
        }
        // what was read before is gone where redb goes back to the state before it: nobody was told
        // of it maybe, and its own application was
        if node.engine.snapshot()?.commits()? < node.held {
            return Ok(false);
        }
        // contents that had come back are gone again with the commit that brought them
        Ok(node.engine.replication().unverified(1)?.is_empty())
    }

    /// Its sessions end with it.
    pub(crate) fn hang_up(&mut self, node: usize) -> Checked<()> {
        let now = self.uptime();
        let (gone, kept) =
            std::mem::take(&mut self.meetings).into_iter().partition(|m| m.who.contains(&node));
        self.meetings = kept;
        let gone: Vec<super::link::Meeting> = gone;
        for mut meeting in gone {
            let peers: Vec<usize> = meeting.who.into_iter().filter(|n| *n != node).collect();
            if peers.iter().all(|n| !self.nodes[*n].disk.has_failed()) {
                meeting.lose(node, &mut self.swarm.chance, now)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, node: usize) -> Checked<()> {
        self.count(Fault::Forgets);
        self.hang_up(node)?;
        self.begin_with_nothing(node)?;
        self.strike_what_nobody_holds()
    }

    /// The device begins anew, with an empty store; what nobody else holds is lost for all.
    fn begin_with_nothing(&mut self, node: usize) -> Checked<()> {
        self.tally.losses += 1;
        self.tell(|| format!("node {node} has lost everything"));
        self.nodes[node].begin_anew();
        self.nodes[node].backup = None;
        self.nodes[node].image = None;
        Ok(self.nodes[node].reopen(Disk::new())?)
    }

    fn back_up(&mut self, node: usize) -> Checked<()> {
        self.count(Fault::Backup);
        let folder = tempfile::tempdir().map_err(|e| Wrong(e.to_string()))?;
        let path = folder.path().join("backup");
        self.nodes[node].engine.backup(&path)?;
        self.nodes[node].backup = Some(std::fs::read(&path).map_err(|e| Wrong(e.to_string()))?);
        Ok(())
    }

    /// The device goes on with its backup, as another store.
    fn restore(&mut self, node: usize) -> Checked<()> {
        let Some(bytes) = self.nodes[node].backup.clone() else { return Ok(()) };
        self.count(Fault::Restore);
        self.tally.restores += 1;
        self.tell(|| format!("node {node} goes on with its backup"));
        self.hang_up(node)?;
        self.nodes[node].begin_anew();
        self.nodes[node].reopen(Disk::holding(bytes))?;
        self.find_what_is_back(node)?;
        self.strike_what_nobody_holds()
    }

    /// Another device goes on with a copy of a store's file. Whether it notices depends on what was
    /// kept outside of the file.
    fn copy(&mut self, node: usize) -> Checked<()> {
        if self.nodes.len() >= NODES_WITH_COPIES_MAX {
            return Ok(());
        }
        self.count(Fault::Copy);
        self.tally.copies += 1;
        let disk = self.nodes[node].disk.after_a_kill();
        let notices = self.swarm.chance.percent(30);
        let at = self.nodes.len();
        let tell = if notices { ", which notices" } else { "" };
        self.tell(|| format!("node {at} begins with a copy of node {node}'s store{tell}"));
        let mut copy = Node::new(
            format!("node-{at}"),
            &self.time,
            &mut self.swarm.chance,
            true,
            self.ledger.rules(),
            None,
        )?;
        copy.begin_anew();
        copy.line = self.nodes[node].line.clone();
        // its log goes on from walls that a wrong clock may have set
        copy.is_right &= self.nodes[node].is_right;
        copy.moves(notices.then_some(at as u64));
        copy.reopen(disk)?;
        self.nodes.push(copy);
        Ok(())
    }

    fn put_aside(&mut self, node: usize) -> Checked<()> {
        self.count(Fault::Image);
        let now = &self.nodes[node];
        self.nodes[node].image = Some((now.disk.after_a_kill(), now.line.clone()));
        Ok(())
    }

    /// The device goes on with an earlier image of its disk. What it alone had written since is
    /// lost.
    fn roll_back(&mut self, node: usize) -> Checked<()> {
        let Some((image, line)) = self.nodes[node].image.clone() else { return Ok(()) };
        // the image itself stays as it is, to be gone back to once more
        let image = image.after_a_kill();
        self.count(Fault::RollBack);
        self.tally.restores += 1;
        let notices = self.swarm.chance.percent(30);
        let tell = if notices { ", and notices" } else { "" };
        self.tell(|| format!("node {node} goes on with an earlier image of its disk{tell}"));
        self.hang_up(node)?;
        let mark = self.swarm.chance.next();
        self.nodes[node].begin_anew();
        self.nodes[node].line = line;
        self.nodes[node].moves(notices.then_some(mark));
        self.nodes[node].reopen(image)?;
        self.find_what_is_back(node)?;
        self.strike_what_nobody_holds()
    }

    /// A backup or an image may hold what all devices had lost.
    fn find_what_is_back(&mut self, node: usize) -> Checked<()> {
        let snapshot = self.nodes[node].engine.snapshot()?;
        let mut commits = BTreeSet::new();
        let mut back = Vec::new();
        for known in self.ledger.lost() {
            if snapshot.version(&known.version.reference()).is_ok() {
                back.push(known.version.reference());
                commits.insert(known.version.commit());
            }
        }
        drop(snapshot);
        if !back.is_empty() {
            self.tell(|| format!("node {node} brings back {back:?}"));
        }
        back.iter().for_each(|version| self.ledger.find(version));
        self.tally.commits += commits.len() as u64;
        self.tally.lost_commits -= commits.len() as u64;
        self.find_lost_forgeries(node)
    }

    fn strike_what_nobody_holds(&mut self) -> Checked<()> {
        let snapshots =
            self.nodes.iter().map(|n| n.engine.snapshot()).collect::<Result<Vec<_>, _>>()?;
        let is_held = |v: &VersionRef| snapshots.iter().any(|s| s.version(v).is_ok());
        let all =
            self.ledger.all().map(|known| (known.version.reference(), known.version.commit()));
        let lost: Vec<_> = all.filter(|(version, _)| !is_held(version)).collect();
        let commits = lost.iter().map(|(_, commit)| *commit).collect::<BTreeSet<_>>().len() as u64;
        self.tally.commits -= commits;
        self.tally.lost_commits += commits;
        let lost: BTreeSet<VersionRef> = lost.into_iter().map(|(version, _)| version).collect();
        self.moments.retain(|moment| moment.holds.is_disjoint(&lost));
        self.ledger.lose(&lost);
        drop(snapshots);
        self.strike_lost_forgeries()
    }
}
