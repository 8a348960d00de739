//! Logs that became trees, because copies of a file wrote on under one name (R34).

use heirloom_core::model::Sequence;
use heirloom_core::replica::Fork;

use super::snapshot::Snapshot;
use crate::error::Result;
use crate::store::fork_of;

impl Snapshot {
    /// The forks of all logs, in order of the logs. Empty unless files were copied or restored
    /// behind heirloom's back. Costs nothing.
    pub fn forks(&self) -> Result<Vec<Fork>> {
        let view = self.view();
        let mut out = Vec::new();
        for (line, _) in view.directory.branch_points() {
            // an older snapshot may not have it yet
            if view.dot_at(line, Sequence::END)?.is_some() {
                out.extend(fork_of(view.directory, line));
            }
        }
        out.sort();
        out.dedup();
        Ok(out)
    }
}
