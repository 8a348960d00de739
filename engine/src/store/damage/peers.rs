//! Damage in what only saves work: what is remembered of peers, and parts of large commits.

use heirloom_core::model::Lsn;

use super::problem::Verification;
use crate::error::{Result, Table};
use crate::store::rows::{RowBatch, Tables, read_peer, spoilt};

/// Names what is damaged (R33).
pub(crate) fn check_peers(tables: &Tables, out: &mut Verification) -> Result<()> {
    for row in tables.peers.iter()? {
        let (key, value) = row?;
        out.note(read_peer(key.value(), value.value(), Lsn::END))?;
    }
    for (_, error) in spoilt(tables)? {
        out.note::<()>(Err(error))?;
    }
    Ok(())
}

/// Drops what is damaged: it costs longer clocks and parts that travel again.
pub(crate) fn mend_peers(tables: &Tables, tx: &RowBatch<'_>) -> Result<()> {
    let mut peers = tx.open_table(Table::Peers)?;
    for row in tables.peers.iter()? {
        let (key, value) = row?;
        if read_peer(key.value(), value.value(), Lsn::END).is_err() {
            peers.remove(key.value());
        }
    }
    let mut staging = tx.open_table(Table::Staging)?;
    for peer in spoilt(tables)?.into_keys() {
        for row in tables.staging.range(&peer[..]..)? {
            let (key, _) = row?;
            if !key.value().starts_with(&peer) {
                break;
            }
            staging.remove(key.value());
        }
    }
    Ok(())
}
