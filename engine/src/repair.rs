//! Mending a store: what is derived is made again, what is damaged is asked of peers.

use crate::engine::Engine;
use crate::error::Result;
use crate::verify::Problem;

/// What [`Engine::repair`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// What was damaged, and is right again.
    pub mended: Vec<Problem>,
    /// What is damaged still. Of records of the log the next sync with a peer that has them brings them back; afterwards repair again.
    pub left: Vec<Problem>,
    /// Records of the log that are damaged: peers are asked for them from now on.
    pub damaged_commits: u64,
}

impl Engine {
    /// Verifies, and mends what can be mended here (R37). Tables that follow from the log (`dots`, `heads`, `by_type`, `unsettled`, indexes, the checkpoint) are made
    /// again from it. Records of the log that are damaged are noted, durably: towards peers their commits count as lacking, so that any sync brings
    /// them back, proven by their hashes. While there are any, heads stay as they are: repair again after that sync.
    ///
    /// Nothing is dropped, no version changes, and no sequence is used twice. Writers wait meanwhile; readers do not. Reads the log several times: about three times
    /// the time of [`Engine::verify`], and nothing more where that finds nothing. A store that could not be written because of what opening found can be afterwards.
    ///
    /// ```
    /// # fn main() -> heirloom::Result<()> {
    /// let engine = heirloom::Engine::builder().in_memory()?;
    /// engine.write(|tx| tx.create("note", &heirloom::Content::new().with("text", "sound")))?;
    /// let repaired = engine.repair()?;
    /// assert!(repaired.mended.is_empty() && repaired.left.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ReadOnly`](crate::Error::ReadOnly); [`Error::Corrupt`](crate::Error::Corrupt) where something is damaged from which nothing else follows, such as the names of logs. Each step is durable by
    /// itself: after an error the store is as right as before, or more so.
    pub fn repair(&self) -> Result<Repaired> {
        let found = self.verify()?;
        if found.is_clean() {
            return Ok(Repaired::default());
        }
        let store = self.store();
        let damaged_commits = store.note_all_damage()?;
        store.repair()?;
        while store.has_index_work() && store.index_step()? {}
        let left = self.verify()?.problems;
        let mended = found.problems.into_iter().filter(|p| !left.contains(p)).collect();
        Ok(Repaired { mended, left, damaged_commits })
    }
}
