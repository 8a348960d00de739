//! Rows of a store rot on the disk. What follows from the log is made again from it; a record of
//! the log comes back from a peer; and nothing is lost.

use heirloom::{Lsn, VersionRef};

use super::swarm::Fault;
use super::world::World;
use super::{Checked, ensure, same};
use crate::disk::Disk;
use crate::specimen::{self, DERIVED, Row};

impl World {
    /// A row of what follows from the log.
    pub(crate) fn rot_row(&mut self, node: usize) -> Checked<()> {
        // a row of the journal hides what the tables have
        self.nodes[node].engine.drain()?;
        let disk = self.nodes[node].disk.after_a_kill();
        let derived = |row: &Row| DERIVED.contains(&row.0);
        let rows: Vec<Row> = specimen::rows_on(&disk).into_iter().filter(derived).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let row = &rows[self.swarm.chance.below(rows.len())];
        let is_lost = self.swarm.chance.percent(30);
        self.count(Fault::RottenRow);
        self.rot(node, &disk, row, is_lost)?;
        let repaired = self.nodes[node].engine.repair()?;
        ensure(repaired.left.is_empty(), || {
            format!("node {node}: {:?} cannot be repaired", repaired.left)
        })?;
        self.is_whole(node)
    }

    /// A record of the log that another node has, too.
    pub(crate) fn rot_record(&mut self, node: usize) -> Checked<()> {
        let other = self.swarm.chance.below(self.nodes.len());
        if other == node {
            return Ok(());
        }
        let (here, there) =
            (self.nodes[node].engine.replication(), self.nodes[other].engine.replication());
        let mut shared = Vec::new();
        for commit in here.commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)?.commits {
            if there.locate(&commit.end.reference())?.is_some() {
                shared.push(commit);
            }
        }
        if shared.is_empty() {
            return Ok(());
        }
        let commit = &shared[self.swarm.chance.below(shared.len())];
        self.nodes[node].engine.drain()?;
        let disk = self.nodes[node].disk.after_a_kill();
        let of_it =
            |row: &Row| row.0 == "log" && row.1.starts_with(&commit.lsn.get().to_be_bytes());
        let pieces: Vec<Row> = specimen::rows_on(&disk).into_iter().filter(of_it).collect();
        let Some(row) = pieces.first() else { return Ok(()) };
        // of a row that is gone only what others say of its commit proves which it was: a void one
        // at the end of a log leaves no trace
        let is_forged = self.forged.iter().any(|forged| forged.commit == commit.end.reference());
        let is_lost = !is_forged && self.swarm.chance.percent(30);
        self.count(Fault::RottenRecord);
        self.rot(node, &disk, row, is_lost)?;
        let found = self.nodes[node].engine.repair()?;
        same("damaged commits that are noted", &found.damaged_commits, &1)?;
        let [a, b] = self.seams([node, other])?;
        let (report, _) = heirloom_sync::sync_in_process(&a.0, &b.0)?;
        same("damaged commits that came back", &report.healed, &1)?;
        let repaired = self.nodes[node].engine.repair()?;
        ensure(repaired.left.is_empty(), || {
            format!("node {node}: {:?} cannot be repaired", repaired.left)
        })?;
        self.nodes[other].note_told()?;
        self.is_whole(node)
    }

    /// The store is opened with a row that is not what was written.
    fn rot(
        &mut self,
        node: usize,
        disk: &Disk,
        (table, key, value): &Row,
        is_lost: bool,
    ) -> Checked<()> {
        let mut rotten = value.clone();
        let bit = self.swarm.chance.below((rotten.len() * 8).max(1));
        if let Some(byte) = rotten.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        let is_lost = is_lost || value.is_empty();
        specimen::replace_on(disk, table, key, (!is_lost).then_some((key, &rotten)));
        self.tell(|| {
            let how = if is_lost { "is lost".to_owned() } else { format!("has bit {bit} flipped") };
            format!("node {node}: row {key:?} of {table} {how}")
        });
        self.hang_up(node)?;
        Ok(self.nodes[node].reopen(disk.clone())?)
    }

    fn is_whole(&mut self, node: usize) -> Checked<()> {
        let now = &self.nodes[node];
        for end in &now.told {
            let found = now.engine.replication().locate(&end.reference())?.map(|here| here.end);
            same(
                &format!("node {node} after a repair: what it had said to hold"),
                &found,
                &Some(*end),
            )?;
        }
        let snapshot = now.engine.snapshot()?;
        let line: Vec<VersionRef> = now.line.iter().copied().collect();
        for version in line {
            snapshot.version(&version)?;
        }
        drop(snapshot);
        Ok(self.nodes[node].note_told()?)
    }
}
