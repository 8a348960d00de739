//! Rows of `meta`: what a store knows of itself, and the tables that every store has.

use heirloom_core::bytes::{Put, Read, Reader};
use heirloom_core::model::{ChainPrefix, CommitRef, LogId};
use redb::Database;

use super::guard::transact;
use super::sealed::{seal, unseal};
use crate::error::{Error, Result, Table};
use crate::store::journal::End;

/// Version of the layout of part 2 of FORMAT.md.
pub(crate) const FILE_FORMAT: u64 = 1;
pub(crate) const FORMAT: &str = "format";
pub(crate) const DATASET: &str = "dataset";
pub(crate) const OWN: &str = "own";
pub(crate) const NODE: &str = "node";
pub(crate) const PREDECESSOR: &str = "predecessor";
pub(crate) const LOCAL: &str = "local";
pub(crate) const JOURNAL: &str = "journal";
pub(crate) const FINGERPRINT: &str = "fingerprint";
/// There while what a damaged frame of the journal held is not accounted for.
pub(crate) const LOST: &str = "lost";

pub(crate) fn varint(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    out.varint(n);
    out
}

pub(crate) fn number(name: &'static str, bytes: &[u8]) -> Result<u64> {
    Reader::new(bytes).varint().map_err(|e| Error::corrupt(Table::Meta, name, e))
}

pub(crate) fn commit_ref(bytes: &[u8]) -> Result<CommitRef> {
    let mut r = Reader::new(bytes);
    let mut read = || -> Read<CommitRef> {
        let log = LogId::from_bytes(r.array()?);
        Ok(CommitRef {
            log,
            sequence: r.varint()?.into(),
            prefix: ChainPrefix::from_bytes(r.array()?),
        })
    };
    read().map_err(|e| Error::corrupt(Table::Meta, PREDECESSOR, e))
}

pub(crate) fn predecessor_row(tip: &CommitRef) -> Vec<u8> {
    let mut out = tip.log.as_bytes().to_vec();
    out.varint(tip.sequence.get());
    out.extend_from_slice(tip.prefix.as_bytes());
    out
}

/// Up to where the journal is in the tables.
pub(crate) fn journal_row(end: End) -> Vec<u8> {
    let mut out = Vec::new();
    end.put(&mut out);
    seal(JOURNAL.as_bytes(), &out)
}

pub(crate) fn read_journal_row(row: &[u8]) -> Result<End> {
    let mut r = Reader::new(unseal(Table::Meta, JOURNAL.as_bytes(), row)?);
    let mut read = || End::read(&mut r).and_then(|end| r.end().map(|()| end));
    read().map_err(|e| Error::corrupt(Table::Meta, JOURNAL, e))
}

pub(crate) fn create_tables(database: &Database) -> Result<()> {
    transact(database, redb::Durability::Immediate, |tx| {
        for table in Table::ALL {
            tx.open_table(table)?;
        }
        let mut meta = tx.open_table(Table::Meta)?;
        let row = seal(FORMAT.as_bytes(), &varint(FILE_FORMAT));
        meta.insert(FORMAT.as_bytes(), &row)?;
        meta.insert(JOURNAL.as_bytes(), &journal_row(End::default()))?;
        Ok(())
    })
}
