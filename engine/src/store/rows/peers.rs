//! Rows of `peers` and `staging`: what is remembered of peers, and large commits on their way in.

use std::collections::BTreeMap;

use heirloom_core::bytes::{Put, Reader};
use heirloom_core::model::{Chain, LogId, LogRoot, Lsn, NodeId};
use heirloom_core::replica::{Cut, Peer, Staged, StagedHead};

use super::batch::RowTable;
use super::open_tables::Tables;
use super::sealed::{hex, unreadable, unseal};
use super::tables::{staged_piece_of, staging_key};
use crate::error::{Error, Result, Table};

const CUT: u8 = 1;
const HUB: u8 = 2;
const OPENED: u8 = 4;
const FORGOTTEN: u8 = 8;

pub(crate) fn peer_row(peer: &Peer, forgotten: bool) -> Vec<u8> {
    let flag = |flag: u8, is: bool| if is { flag } else { 0 };
    let mut row = vec![
        flag(CUT, peer.cut.is_some())
            | flag(HUB, peer.is_hub)
            | flag(OPENED, peer.opened > 0)
            | flag(FORGOTTEN, forgotten),
    ];
    row.varint(peer.held.get());
    if let Some(cut) = peer.cut {
        row.extend_from_slice(cut.root.as_bytes());
        row.varint(cut.lsn.get());
    }
    if peer.opened > 0 {
        row.varint(peer.opened);
    }
    row
}

/// A peer, and whether it was forgotten. `commits`: how many are here.
pub(crate) fn read_peer(key: &[u8], row: &[u8], end: Lsn) -> Result<(Peer, bool)> {
    let mut r = Reader::new(unseal(Table::Peers, key, row)?);
    let mut read = || {
        r.ensure(key.len() == 16, "not a node id")?;
        let (flags, held) = (r.u8()?, r.varint()?);
        let cut = match flags & CUT {
            0 => None,
            _ => Some(Cut { root: LogRoot::from_bytes(r.array()?), lsn: r.varint()?.into() }),
        };
        let opened = if flags & OPENED != 0 { r.varint()? } else { 0 };
        r.end()?;
        let cut = cut.filter(|c| c.lsn <= end);
        let peer = Peer { cut, held: Lsn::new(held).min(end), is_hub: flags & HUB != 0, opened };
        Ok((peer, flags & FORGOTTEN != 0))
    };
    read().map_err(unreadable(Table::Peers, key))
}

pub(crate) fn drop_staged(table: &mut RowTable<'_>, peer: NodeId) -> Result<()> {
    let (from, to) = pieces(peer, 0);
    table.remove_between(&from, &to)
}

/// What a peer has staged.
pub(crate) fn staged_in(table: &RowTable<'_>, peer: NodeId) -> Result<Option<Staged>> {
    let key = staging_key(peer.as_bytes(), 0);
    let row = table.get(&key[..])?;
    Ok(row.and_then(|row| read_staged(&key, row.value()).ok()))
}

pub(crate) fn last_piece(table: &RowTable<'_>, peer: NodeId) -> Result<u32> {
    let (from, to) = pieces(peer, 0);
    let Some((key, _)) = table.range(&from[..]..=&to[..])?.next_back().transpose()? else {
        return Ok(0);
    };
    let misplaced = || Error::corrupt(Table::Staging, hex(key.value()), "not a piece");
    staged_piece_of(key.value()).ok_or_else(misplaced)
}

pub(crate) fn put_staged(staged: &Staged) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(staged.head.log.as_bytes());
    out.varint(staged.head.sequence.get());
    out.extend_from_slice(staged.head.chain.as_bytes());
    out.varint(staged.head.total);
    out.extend_from_slice(&staged.head.digest);
    out.varint(staged.bytes);
    out
}

pub(crate) fn read_staged(key: &[u8], row: &[u8]) -> Result<Staged> {
    let mut r = Reader::new(unseal(Table::Staging, key, row)?);
    let mut read = || {
        let head = StagedHead {
            log: LogId::from_bytes(r.array()?),
            sequence: r.varint()?.into(),
            chain: Chain::from_bytes(r.array()?),
            total: r.varint()?,
            digest: r.array()?,
        };
        let staged = Staged { head, bytes: r.varint()? };
        r.end()?;
        Ok(staged)
    };
    read().map_err(unreadable(Table::Staging, key))
}

/// Where the pieces of a peer's commit stand, from one on.
pub(crate) fn pieces(peer: NodeId, from: u32) -> ([u8; 20], [u8; 20]) {
    (staging_key(peer.as_bytes(), from), staging_key(peer.as_bytes(), u32::MAX))
}

/// Which rows of `staging` are of no use, by whose they are: one that cannot be read spoils all of
/// its peer.
pub(crate) fn spoilt(tables: &Tables) -> Result<BTreeMap<Vec<u8>, Error>> {
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
            [_, _, _, _] => unseal(Table::Staging, key.value(), value.value())
                .map(|bytes| sum.1 += bytes.len() as u64),
            _ => Err(Error::corrupt(Table::Staging, hex(key.value()), "not a piece")),
        };
        if let Err(error) = read {
            out.insert(peer.to_vec(), error);
        }
    }
    for (peer, (said, found)) in sums {
        if said != Some(found) {
            let error = Error::corrupt(Table::Staging, hex(&peer), "pieces are missing");
            out.entry(peer).or_insert(error);
        }
    }
    Ok(out)
}
