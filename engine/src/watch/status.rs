//! Where changes are: durable here, held by a peer, held by the hub (R13).

use heirloom_core::model::{Lsn, NodeId, VersionRef};

use super::change::Change;
use super::changes::Changes;
use super::cursor::Cursor;
use crate::engine::Engine;
use crate::error::Result;

/// How far what was written here has come. What peers hold is what they said when a session with
/// them ended; it grows, or shrinks if one lost its data, with the next.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// How many commits are durable here, own and others'.
    pub commits: u64,
    /// Peers that this store has synced with, in order of their names.
    pub peers: Vec<PeerStatus>,
}

/// What is known of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Its name, as reports of sessions give it.
    pub node: NodeId,
    /// Whether the application called it a hub.
    pub is_hub: bool,
    /// How many commits it holds of those that are here, in the order in which they came here.
    pub commits: u64,
    /// How many changes that were written here it is not known to hold, those of local types aside.
    pub pending: u64,
}

impl Status {
    /// How many changes that were written here no hub is known to hold: what would be lost with
    /// this device. Nothing if no peer that was met was called a hub, or all that were are
    /// forgotten ([`Engine::forget_peer`]).
    pub fn pending_at_hub(&self) -> Option<u64> {
        self.peers.iter().filter(|p| p.is_hub).map(|p| p.pending).min()
    }
}

/// Where one change is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ChangeStatus {
    /// Peers that are known to hold it, in order of their names. That it is durable here goes
    /// without saying: what is not, nobody can name.
    pub held_by: Vec<NodeId>,
    /// Whether one of them is a hub.
    pub is_at_hub: bool,
}

impl Engine {
    /// How far what was written here has come. Costs a look at each commit that the peer furthest
    /// behind is not known to hold, once for each peer.
    ///
    /// ```
    /// # let engine = heirloom::Engine::in_memory()?;
    /// let status = engine.status()?;
    /// match status.pending_at_hub() {
    ///     Some(0) => println!("all is safe"),
    ///     Some(n) => println!("{n} changes are only here"),
    ///     None => println!("no hub was met yet"),
    /// }
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn status(&self) -> Result<Status> {
        let mut peers = Vec::new();
        for (node, peer) in self.replication().peers()? {
            let mut pending = self.changes(self.place(peer.held)?).local().shared();
            let pending = pending.try_fold(0, |n, change| change.map(|_| n + 1))?;
            peers.push(PeerStatus { node, is_hub: peer.is_hub, commits: peer.held.get(), pending });
        }
        Ok(Status { commits: self.snapshot()?.commits()?, peers })
    }

    /// The changes that were written here and that a peer is not known to hold, oldest first: all
    /// of them if it was never met.
    pub fn pending(&self, peer: NodeId) -> Result<Changes> {
        let held = self.replication().remembered(peer)?.map_or(Lsn::START, |p| p.held);
        Ok(self.changes(self.place(held)?).local().shared())
    }

    /// Where one change is; one of a local type is held by no peer. Costs a look at the peers.
    /// [`Error::NotHere`](crate::Error::NotHere) if the version is not here.
    pub fn status_of(&self, version: &VersionRef) -> Result<ChangeStatus> {
        let snapshot = self.snapshot()?;
        let record = snapshot.at(&snapshot.view(), version)?.record;
        let lsn = record.lsn;
        let mut peers = self.replication().peers()?;
        if self.store().directory.is_local(record.line) {
            peers.clear();
        }
        let holders = || peers.iter().filter(|(_, peer)| lsn < peer.held);
        Ok(ChangeStatus {
            held_by: holders().map(|(node, _)| *node).collect(),
            is_at_hub: holders().any(|(_, peer)| peer.is_hub),
        })
    }

    fn place(&self, held: Lsn) -> Result<Cursor> {
        let snapshot = self.snapshot()?;
        Cursor::after(&snapshot.view(), held.min(snapshot.tables.end()?))
    }
}

impl Change {
    /// Whether a peer is known to hold it. [`Error::Closed`](crate::Error::Closed) once
    /// the engine is gone.
    pub fn is_held_by(&self, peer: NodeId) -> Result<bool> {
        let peer = self.engine()?.replication().remembered(peer)?;
        Ok(peer.is_some_and(|p| self.lsn() < p.held))
    }
}
