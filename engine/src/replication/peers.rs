//! What is remembered of peers, and the beginnings of large commits that they are sending. All of
//! it only saves work: what is damaged is as good as forgotten.

use heirloom_core::limits;
use heirloom_core::model::{Lsn, NodeId};
use heirloom_core::replica::{Peer, Staged, StagedHead};

use super::exchange::Replication;
use crate::error::{Error, Result, Table};
use crate::store;
use crate::store::{
    drop_staged, last_piece, peer_row, pieces, put_staged, read_peer, read_staged, seal, staged_in,
    unseal,
};

impl Replication {
    /// The large commit of which parts from a peer are here. Where what says so is damaged nothing
    /// is: the peer sends it from the beginning.
    pub fn staged(&self, peer: NodeId) -> Result<Option<Staged>> {
        let tables = self.engine.store().tables()?;
        let key = store::staging_key(peer.as_bytes(), 0);
        let Some(row) = tables.staging.get(&key[..])? else { return Ok(None) };
        Ok(read_staged(&key, row.value()).ok())
    }

    /// Its bytes so far. If some of them are damaged all are dropped, and none are here.
    pub fn staged_bytes(&self, peer: NodeId) -> Result<Vec<u8>> {
        match self.staged_pieces(peer) {
            Err(Error::Corrupt { .. }) if !self.engine.is_read_only() => {
                self.unstage(peer)?;
                Ok(Vec::new())
            }
            read => read,
        }
    }

    fn staged_pieces(&self, peer: NodeId) -> Result<Vec<u8>> {
        let tables = self.engine.store().tables()?;
        let (from, to) = pieces(peer, 1);
        let mut out = Vec::new();
        for row in tables.staging.range(&from[..]..=&to[..])? {
            let (key, value) = row?;
            out.extend_from_slice(unseal(Table::Staging, key.value(), value.value())?);
        }
        Ok(out)
    }

    /// Adds bytes to a large commit, durably. `offset` is how many are here; at 0 it begins, and
    /// another that was staged is dropped.
    ///
    /// [`Error::NotContinued`] if the bytes do not continue what is here, or would go beyond the
    /// limits of a commit.
    pub fn stage(&self, peer: NodeId, head: &StagedHead, offset: u64, bytes: &[u8]) -> Result<()> {
        let store = self.engine.store();
        store.transact(|tx| {
            let mut table = tx.open_table(Table::Staging)?;
            // where nobody comes between: another session with the same peer may stage, too
            let before = staged_in(&table, peer)?.filter(|s| s.head == *head && offset > 0);
            let end = offset.checked_add(bytes.len() as u64);
            let fits =
                before.map_or(0, |s| s.bytes) == offset && end.is_some_and(|e| e <= head.total);
            if !fits || head.total > limits::COMMIT as u64 {
                return Err(Error::NotContinued);
            }
            let next = match before {
                Some(_) => last_piece(&table, peer)? + 1,
                None => {
                    drop_staged(&mut table, peer)?;
                    1
                }
            };
            let key = store::staging_key(peer.as_bytes(), next);
            table.insert(&key, &seal(&key, bytes));
            let key = store::staging_key(peer.as_bytes(), 0);
            let row = put_staged(&Staged { head: *head, bytes: offset + bytes.len() as u64 });
            table.insert(&key, &seal(&key, &row));
            Ok(())
        })
    }

    /// Drops it.
    pub fn unstage(&self, peer: NodeId) -> Result<()> {
        let store = self.engine.store();
        let (from, to) = pieces(peer, 0);
        if store.tables()?.staging.range(&from[..]..=&to[..])?.next().is_none() {
            return Ok(());
        }
        store.transact(|tx| drop_staged(&mut tx.open_table(Table::Staging)?, peer))
    }

    /// What is remembered of a peer. A file that was rewound may remember more than it still has;
    /// that is left out. Nothing where the row is damaged: that costs no more than longer clocks.
    pub fn remembered(&self, node: NodeId) -> Result<Option<Peer>> {
        // no cut of what is damaged can be shown
        let whole = self.engine.store().missing.first_damaged().is_none();
        Ok(self.peer(node)?.map(|(peer, _)| Peer { cut: peer.cut.filter(|_| whole), ..peer }))
    }

    /// A peer, and whether it was forgotten.
    fn peer(&self, node: NodeId) -> Result<Option<(Peer, bool)>> {
        let tables = self.engine.store().tables()?;
        let Some(row) = tables.peers.get(&node.as_bytes()[..])? else { return Ok(None) };
        Ok(read_peer(node.as_bytes(), row.value(), tables.end()?).ok())
    }

    /// All peers that this store has synced with and not forgotten, in order of their names.
    /// [`Error::Corrupt`] where a row is damaged.
    pub fn peers(&self) -> Result<Vec<(NodeId, Peer)>> {
        let snapshot = self.engine.snapshot()?;
        let end = snapshot.tables.end()?;
        let mut out = Vec::new();
        for row in snapshot.tables.peers.range::<&[u8]>(..)? {
            let (key, value) = row?;
            let (peer, forgotten) = read_peer(key.value(), value.value(), end)?;
            if let (false, Ok(node)) = (forgotten, key.value().try_into()) {
                out.push((NodeId::from_bytes(node), peer));
            }
        }
        Ok(out)
    }

    /// Remembers a peer. Writes nothing if that is known already: equal stores may greet each other
    /// every few minutes. A store that may only be read remembers nobody.
    pub fn remember(&self, node: NodeId, peer: Peer) -> Result<()> {
        let damaged = self.engine.store().missing.first_damaged();
        let peer = Peer { held: peer.held.min(damaged.unwrap_or(Lsn::END)), ..peer };
        if self.engine.is_read_only() || self.peer(node)? == Some((peer, false)) {
            return Ok(());
        }
        self.write_peer(node, Some(&peer_row(&peer, false)))
    }

    /// Forgets a peer that will not come back: what it holds, and where both last stood. How many
    /// logs it opened here is kept, so that nobody starts anew by being forgotten.
    pub fn forget(&self, node: NodeId) -> Result<()> {
        let opened = self.remembered(node)?.map_or(0, |peer| peer.opened);
        let left = Peer { opened, ..Peer::default() };
        self.write_peer(node, (opened > 0).then(|| peer_row(&left, true)).as_deref())
    }

    fn write_peer(&self, node: NodeId, row: Option<&[u8]>) -> Result<()> {
        let store = self.engine.store();
        let key = node.as_bytes();
        store.transact(|tx| {
            let mut peers = tx.open_table(Table::Peers)?;
            match row {
                Some(row) => peers.insert(key, &seal(key, row)),
                None => peers.remove(key),
            }
            Ok(())
        })
    }
}
