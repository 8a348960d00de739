//! Mending a store: what is derived is made again, what is damaged is asked of peers.

use super::verify::ENTITIES;
use crate::engine::Engine;
use crate::error::{Result, Table};
use crate::store::Problem;
use crate::traced::TRACED;

/// What [`Engine::repair`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// What was damaged, and is right again.
    pub mended: Vec<Problem>,
    /// What is damaged still, and what of the journal is lost: the commits in a frame that could
    /// not be read. Records of the log the next sync with a peer that has them brings back;
    /// afterwards repair again.
    pub left: Vec<Problem>,
    /// Records of the log that are damaged: peers are asked for them from now on.
    pub damaged_commits: u64,
    /// Tables whose tree was broken: made anew of the rows that could be read.
    pub remade_tables: u64,
}

impl Engine {
    /// Verifies, and mends what can be mended here. Tables that follow from the log (`dots`,
    /// `heads`, `by_type`, `unsettled`, indexes, the checkpoint) are made again from it; what is
    /// remembered of peers, parts of large commits and marks that cannot be read are dropped. A
    /// table whose own tree is broken or leads into another's, be it the log's, is made anew of the
    /// rows that can be read; that tree stays in the file, out of the way, until
    /// [`compact_to`](Self::compact_to) leaves it behind. Records of the log that are damaged or
    /// gone are noted, durably: towards peers their commits count as lacking, so that any sync
    /// brings them back, proven by their hashes. While there are any, heads stay as they are:
    /// repair again after that sync. A commit of which no row is left and nothing later speaks
    /// comes back as if it were new; that commits are missing at its place stays among what is
    /// left.
    ///
    /// No version changes, and no sequence is used twice: since nobody knows what rows are gone
    /// without a trace, the next write opens a fresh log. Writers wait meanwhile; readers do
    /// not. Verifies twice and reads the log a few times more; verifies once where nothing is
    /// damaged, and changes nothing then. A store that could not be written because of what opening
    /// found can be afterwards.
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
    /// [`Error::ReadOnly`](crate::Error::ReadOnly); [`Error::Corrupt`](crate::Error::Corrupt) where
    /// something is damaged from which nothing else follows, such as the names of logs. Each step
    /// is durable by itself: after an error the store is as right as before, or more so.
    pub fn repair(&self) -> Result<Repaired> {
        let found = self.verify()?;
        if found.is_clean() {
            return Ok(Repaired::default());
        }
        let store = self.store();
        store.check_names()?;
        let remade_tables = store.mend_trees()?;
        let damaged_commits = store.note_all_damage()?;
        store.repair(ENTITIES)?;
        self.build_indexes()?;
        let mut left = self.verify()?.problems;
        // nothing tells any more that it was there
        left.extend(found.problems.iter().filter(|p| p.table == Table::Journal).cloned());
        let mended: Vec<_> = found.problems.into_iter().filter(|p| !left.contains(p)).collect();
        let (right, wrong) = (mended.len(), left.len());
        tracing::info!(target: TRACED, mended = right, left = wrong, damaged_commits, "repaired");
        Ok(Repaired { mended, left, damaged_commits, remade_tables })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Patch};

    #[test]
    fn heads_in_parts_are_those_of_all_at_once() {
        let engine = Engine::builder().label("phone").local_type("draft").in_memory().unwrap();
        let new = |n: i64| (if n % 5 == 0 { "draft" } else { "note" }, Content::new().with("n", n));
        for n in 0..30 {
            let (kind, content) = new(n);
            let id = engine.write(|tx| tx.create(kind, &content)).unwrap();
            if n % 3 == 0 {
                engine.write(|tx| tx.patch(id, Patch::new().set("n", -n))).unwrap();
            }
        }
        let (digest, log) = (engine.state_digest().unwrap(), engine.log_id());
        let store = engine.store();
        store
            .transact(|tx| {
                let mut heads = tx.open_table(Table::Heads)?;
                let keys = heads.range::<&[u8]>(..)?.map(|row| Ok(row?.0.value().to_vec()));
                let keys: Vec<Vec<u8>> = keys.collect::<Result<_>>()?;
                for key in keys.iter().step_by(2) {
                    heads.remove(&key[..]);
                }
                heads.insert(&[7; 16], b"no row");
                Ok(())
            })
            .unwrap();
        assert!(!engine.verify().unwrap().is_clean());
        store.repair(7).unwrap();
        let verified = engine.verify().unwrap();
        assert!(verified.is_clean(), "{:?}", verified.problems);
        assert_eq!((verified.entities, engine.state_digest().unwrap()), (30, digest));
        engine.write(|tx| tx.create("note", &Content::new())).unwrap();
        assert_ne!(engine.log_id(), log, "what is gone without a trace is not written again");
    }
}
