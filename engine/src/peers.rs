//! What is remembered of peers, and the beginnings of large commits that they are sending. All of
//! it only saves work: what is damaged is as good as forgotten.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::replication::{Cut, Peer, Replication, Staged, StagedHead};
use crate::store::{self, Tables, WriteTable, WriteTables, seal, unseal};
use crate::verify::Verification;
use heirloom_core::bytes::{Put, Reader};
use heirloom_core::limits;
use heirloom_core::model::{Chain, LogId, LogRoot, NodeId};

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
            out.extend_from_slice(unseal("staging", key.value(), value.value())?);
        }
        Ok(out)
    }

    /// Adds bytes to a large commit, durably. `offset` is how many are here; at 0 it begins, and
    /// another that was staged is dropped.
    ///
    /// [`Error::Invalid`] if the bytes do not continue what is here, or would go beyond the limits
    /// of a commit.
    pub fn stage(&self, peer: NodeId, head: &StagedHead, offset: u64, bytes: &[u8]) -> Result<()> {
        let store = self.engine.store();
        store.transact(|tx| {
            let mut table = tx.open_table(store::STAGING)?;
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
            table.insert(&key[..], &seal(&key, bytes)[..])?;
            let key = store::staging_key(peer.as_bytes(), 0);
            let row = put_staged(&Staged { head: *head, bytes: offset + bytes.len() as u64 });
            table.insert(&key[..], &seal(&key, &row)[..])?;
            Ok(())
        })?;
        store.publish()
    }

    /// Drops it.
    pub fn unstage(&self, peer: NodeId) -> Result<()> {
        let store = self.engine.store();
        let (from, to) = pieces(peer, 0);
        if store.tables()?.staging.range(&from[..]..=&to[..])?.next().is_none() {
            return Ok(());
        }
        store.transact(|tx| drop_staged(&mut tx.open_table(store::STAGING)?, peer))?;
        store.publish()
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
        Ok(read_peer(node.as_bytes(), row.value(), self.engine.snapshot()?.commits()?).ok())
    }

    /// All peers that this store has synced with and not forgotten, in order of their names.
    /// [`Error::Corrupt`] where a row is damaged.
    pub fn peers(&self) -> Result<Vec<(NodeId, Peer)>> {
        let snapshot = self.engine.snapshot()?;
        let commits = snapshot.commits()?;
        let mut out = Vec::new();
        for row in snapshot.tables.peers.range::<&[u8]>(..)? {
            let (key, value) = row?;
            let (peer, forgotten) = read_peer(key.value(), value.value(), commits)?;
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
        let peer = Peer { held: peer.held.min(damaged.unwrap_or(u64::MAX)), ..peer };
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
            let mut peers = tx.open_table(store::PEERS)?;
            match row {
                Some(row) => drop(peers.insert(&key[..], &seal(key, row)[..])?),
                None => drop(peers.remove(&key[..])?),
            }
            Ok(())
        })?;
        store.publish()
    }
}

const CUT: u8 = 1;
const HUB: u8 = 2;
const OPENED: u8 = 4;
const FORGOTTEN: u8 = 8;

fn peer_row(peer: &Peer, forgotten: bool) -> Vec<u8> {
    let flag = |flag: u8, is: bool| if is { flag } else { 0 };
    let mut row = vec![
        flag(CUT, peer.cut.is_some())
            | flag(HUB, peer.is_hub)
            | flag(OPENED, peer.opened > 0)
            | flag(FORGOTTEN, forgotten),
    ];
    row.varint(peer.held);
    if let Some(cut) = peer.cut {
        row.extend_from_slice(cut.root.as_bytes());
        row.varint(cut.lsn);
    }
    if peer.opened > 0 {
        row.varint(peer.opened);
    }
    row
}

/// A peer, and whether it was forgotten. `commits`: how many are here.
fn read_peer(key: &[u8], row: &[u8], commits: u64) -> Result<(Peer, bool)> {
    let mut r = Reader::new(unseal("peers", key, row)?);
    let mut read = || {
        r.ensure(key.len() == 16, "not a node id")?;
        let (flags, held) = (r.u8()?, r.varint()?);
        let cut = match flags & CUT {
            0 => None,
            _ => Some(Cut { root: LogRoot::from_bytes(r.array()?), lsn: r.varint()? }),
        };
        let opened = if flags & OPENED != 0 { r.varint()? } else { 0 };
        r.end()?;
        let cut = cut.filter(|c| c.lsn <= commits);
        let peer = Peer { cut, held: held.min(commits), is_hub: flags & HUB != 0, opened };
        Ok((peer, flags & FORGOTTEN != 0))
    };
    read().map_err(store::unreadable("peers", key))
}

fn drop_staged(table: &mut WriteTable<'_>, peer: NodeId) -> Result<()> {
    let (from, to) = pieces(peer, 0);
    table.remove_between(&from, &to)
}

/// What a peer has staged, by a table that may be in the middle of a change.
fn staged_in(table: &WriteTable<'_>, peer: NodeId) -> Result<Option<Staged>> {
    let key = store::staging_key(peer.as_bytes(), 0);
    let row = table.get(&key[..])?;
    Ok(row.and_then(|row| read_staged(&key, row.value()).ok()))
}

fn last_piece(table: &WriteTable<'_>, peer: NodeId) -> Result<u32> {
    let (from, to) = pieces(peer, 0);
    let Some((key, _)) = table.range(&from[..]..=&to[..])?.next_back().transpose()? else {
        return Ok(0);
    };
    let piece = key.value().get(16..).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    piece.ok_or_else(|| Error::corrupt("staging", store::hex(key.value()), "not a piece"))
}

fn put_staged(staged: &Staged) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(staged.head.log.as_bytes());
    out.varint(staged.head.sequence);
    out.extend_from_slice(staged.head.chain.as_bytes());
    out.varint(staged.head.total);
    out.extend_from_slice(&staged.head.digest);
    out.varint(staged.bytes);
    out
}

fn read_staged(key: &[u8], row: &[u8]) -> Result<Staged> {
    let mut r = Reader::new(unseal("staging", key, row)?);
    let mut read = || {
        let head = StagedHead {
            log: LogId::from_bytes(r.array()?),
            sequence: r.varint()?,
            chain: Chain::from_bytes(r.array()?),
            total: r.varint()?,
            digest: r.array()?,
        };
        let staged = Staged { head, bytes: r.varint()? };
        r.end()?;
        Ok(staged)
    };
    read().map_err(store::unreadable("staging", key))
}

/// Where the pieces of a peer's commit stand, from one on.
fn pieces(peer: NodeId, from: u32) -> ([u8; 20], [u8; 20]) {
    (store::staging_key(peer.as_bytes(), from), store::staging_key(peer.as_bytes(), u32::MAX))
}

/// Which rows of `staging` are of no use, by whose they are: one that cannot be read spoils all of
/// its peer.
fn spoilt(tables: &Tables) -> Result<BTreeMap<Vec<u8>, Error>> {
    let mut out = BTreeMap::new();
    // what the first row says, and how much there is
    let mut sums: BTreeMap<Vec<u8>, (Option<u64>, u64)> = BTreeMap::new();
    for row in tables.staging.iter()? {
        let (key, value) = row?;
        let (peer, piece) = key.value().split_at(key.value().len().min(16));
        let sum = sums.entry(peer.to_vec()).or_default();
        let read = match piece {
            [0, 0, 0, 0] => {
                read_staged(key.value(), value.value()).map(|staged| sum.0 = Some(staged.bytes))
            }
            [_, _, _, _] => unseal("staging", key.value(), value.value())
                .map(|bytes| sum.1 += bytes.len() as u64),
            _ => Err(Error::corrupt("staging", store::hex(key.value()), "not a piece")),
        };
        if let Err(error) = read {
            out.insert(peer.to_vec(), error);
        }
    }
    for (peer, (said, found)) in sums {
        if said != Some(found) {
            let error = Error::corrupt("staging", store::hex(&peer), "pieces are missing");
            out.entry(peer).or_insert(error);
        }
    }
    Ok(out)
}

/// Names what is damaged (R33).
pub(crate) fn check(tables: &Tables, out: &mut Verification) -> Result<()> {
    for row in tables.peers.iter()? {
        let (key, value) = row?;
        out.note(read_peer(key.value(), value.value(), u64::MAX))?;
    }
    for (_, error) in spoilt(tables)? {
        out.note::<()>(Err(error))?;
    }
    Ok(())
}

/// Drops what is damaged: it costs longer clocks and parts that travel again.
pub(crate) fn mend(tables: &Tables, tx: &WriteTables) -> Result<()> {
    let mut peers = tx.open_table(store::PEERS)?;
    for row in tables.peers.iter()? {
        let (key, value) = row?;
        if read_peer(key.value(), value.value(), u64::MAX).is_err() {
            peers.remove(key.value())?;
        }
    }
    let mut staging = tx.open_table(store::STAGING)?;
    for peer in spoilt(tables)?.into_keys() {
        staging.remove_all_of(&peer)?;
    }
    Ok(())
}
