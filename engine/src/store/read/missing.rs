//! What of the log is not here as it should be, and how far each line can be shown meanwhile.
//!
//! A commit whose record is *damaged* keeps its place: heads, digest and order of arrival go on
//! counting it. Towards others its line ends in front of it, and so does every line from the first
//! commit that builds on it. A peer takes that for lacking, sends it again, and what it sends fills
//! the place. A commit whose bodies do not *verify* is whole but for its contents: those are asked
//! for.

use std::collections::{BTreeMap, HashMap};

use heirloom_core::model::{Line, Lsn, Sequence};
use parking_lot::{Mutex, RwLock};

use crate::error::{Result, Table};
use crate::store::rows::{Directory, Gap, Tables, read_gap};

/// All gaps, by lsn. Written with the next durable commit; what is lost of that is found again when
/// it is read.
#[derive(Default)]
pub(crate) struct Missing {
    pub(crate) gaps: RwLock<BTreeMap<Lsn, Gap>>,
    /// line → the last sequence that can be shown; of lines that are cut short.
    pub(crate) shown: RwLock<HashMap<Line, Sequence>>,
    changed: Mutex<BTreeMap<Lsn, Option<Gap>>>,
    /// One at a time looks what can be shown.
    pub(crate) looking: Mutex<()>,
}

impl Missing {
    /// A row that is itself damaged, or of a commit that is not here, is passed over: it is only a
    /// mark.
    pub(crate) fn load(&self, tables: &Tables, end: Lsn) -> Result<()> {
        let Some(table) = tables.optional(Table::Missing)? else { return Ok(()) };
        let mut gaps = self.gaps.write();
        for row in table.iter()? {
            let (key, value) = row?;
            if let Ok((lsn, gap)) = read_gap(key.value(), value.value())
                && lsn < end
            {
                gaps.insert(lsn, gap);
            }
        }
        Ok(())
    }

    /// Nothing is known; it is loaded next.
    pub(crate) fn clear(&self) {
        self.gaps.write().clear();
        self.shown.write().clear();
    }

    pub(crate) fn set(&self, lsn: Lsn, gap: Option<Gap>) {
        let mut gaps = self.gaps.write();
        let before = match gap {
            Some(gap) => gaps.insert(lsn, gap),
            None => gaps.remove(&lsn),
        };
        if before != gap {
            self.changed.lock().insert(lsn, gap);
        }
    }

    /// What changed since the last durable commit.
    pub(crate) fn take_changes(&self) -> BTreeMap<Lsn, Option<Gap>> {
        std::mem::take(&mut *self.changed.lock())
    }

    pub(crate) fn is_damaged(&self, lsn: Lsn) -> bool {
        self.gaps.read().get(&lsn).is_some_and(|gap| gap.damaged)
    }

    /// Lsn of the first damaged commit.
    pub(crate) fn first_damaged(&self) -> Option<Lsn> {
        self.gaps.read().iter().find(|(_, gap)| gap.damaged).map(|(lsn, _)| *lsn)
    }

    /// Lsns of commits whose bodies do not verify, the first so many.
    pub(crate) fn unverified(&self, limit: usize) -> Vec<Lsn> {
        let gaps = self.gaps.read();
        gaps.iter().filter(|(_, gap)| !gap.damaged).take(limit).map(|(lsn, _)| *lsn).collect()
    }

    /// Whether a commit is marked as one whose bodies do not verify.
    pub(crate) fn is_unverified(&self, lsn: Lsn) -> bool {
        self.gaps.read().get(&lsn).is_some_and(|gap| !gap.damaged)
    }

    /// The commit that begins at a place, if it is a gap.
    pub(crate) fn at(&self, line: Line, first: Sequence) -> Option<(Lsn, Gap)> {
        let gaps = self.gaps.read();
        gaps.iter().find(|(_, g)| (g.line, g.first) == (line, first)).map(|(lsn, g)| (*lsn, *g))
    }

    /// Damaged commits that follow a place: on the line itself, or as the first of one that leaves
    /// it there.
    pub(crate) fn damaged_after(
        &self,
        directory: &Directory,
        line: Line,
        sequence: Sequence,
    ) -> Vec<(Lsn, Gap)> {
        let leaves =
            |o| directory.branch_point(o).is_some_and(|f| (f.of, f.after) == (line, sequence));
        let follows =
            |g: &Gap| g.damaged && g.first == sequence.next() && (g.line == line || leaves(g.line));
        self.gaps.read().iter().filter(|(_, g)| follows(g)).map(|(lsn, g)| (*lsn, *g)).collect()
    }

    /// The last sequence that a line can show; nothing if all of it can be shown.
    pub(crate) fn until(&self, line: Line) -> Option<Sequence> {
        self.shown.read().get(&line).copied()
    }

    /// Whether a place can be shown.
    pub(crate) fn shows(&self, line: Line, sequence: Sequence) -> bool {
        self.until(line).is_none_or(|until| sequence <= until)
    }
}
