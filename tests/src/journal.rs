//! The journal of a store read a second time, from FORMAT.md, 2.0 and 2.8 alone, in the plainest
//! way that is correct.

use std::collections::BTreeMap;

use crate::decoder::primitives::Reader;
use crate::decoder::{Fault, Id, hashes, prefix};
use crate::disk::Disk;
use crate::specimen::{self, TABLES};
use crate::tables_part::tables_at;

/// A row: table, key, value; no value where it is removed.
pub type Row = (&'static str, Vec<u8>, Option<Vec<u8>>);

/// A frame, whole.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Where it begins in the file.
    pub at: usize,
    /// All of it but the padding.
    pub bytes: Vec<u8>,
    /// What it changes.
    pub rows: Vec<Row>,
}

/// Rows by table and key.
pub type Tables = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// Where a journal ends: the place of the next frame, and the sum that it must follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Bytes of all frames so far.
    pub position: u64,
    /// Of the last one.
    pub sum: Id,
}

/// The frames of a store's file that are not in its tables yet.
pub fn frames(file: &[u8]) -> Result<Vec<Frame>, Fault> {
    let mut out = Vec::new();
    read(file, &mut out).map(|_| out)
}

/// Where the journal of a store's file ends.
pub fn end(file: &[u8]) -> End {
    read(file, &mut Vec::new()).expect("rows of a store")
}

fn read(file: &[u8], out: &mut Vec<Frame>) -> Result<End, Fault> {
    let ring = &file[4096..tables_at(file) as usize];
    let stored = stored(file);
    let row = &stored[&("meta", b"journal".to_vec())];
    let mut r = Reader::new(&row[4..]);
    let (mut position, mut before): (u64, Id) = (r.varint()?, r.array()?);
    r.end()?;
    loop {
        let again = position.next_multiple_of(ring.len() as u64);
        let found = [position, again].into_iter().find_map(|p| frame_at(ring, p, &before));
        let Some((from, bytes)) = found else { return Ok(End { position, sum: before }) };
        before = std::array::from_fn(|i| bytes[i]);
        position = from + (bytes.len() as u64).next_multiple_of(4096);
        let at = 4096 + (from % ring.len() as u64) as usize;
        out.push(Frame { at, rows: rows(&bytes[44..])?, bytes });
    }
}

fn frame_at(ring: &[u8], position: u64, before: &Id) -> Option<(u64, Vec<u8>)> {
    let from = &ring[(position % ring.len() as u64) as usize..];
    let number = |at: std::ops::Range<usize>| {
        from[at].iter().fold(0, |n: u64, byte| n << 8 | u64::from(*byte))
    };
    let bytes = from.get(..44 + number(40..44) as usize)?;
    let sum: Id = prefix(&hashes::hash("heirloom 1 journal", &[&bytes[16..]]));
    let fits = bytes[..16] == sum && bytes[16..32] == *before && number(32..40) == position;
    fits.then(|| (position, bytes.to_vec()))
}

fn rows(bytes: &[u8]) -> Result<Vec<Row>, Fault> {
    let mut r = Reader::new(bytes);
    let mut out = Vec::new();
    while !r.rest().is_empty() {
        let table = TABLES[usize::from(r.u8()?) - 1];
        let key = r.bytes()?.to_vec();
        let value = match r.varint()? {
            0 => None,
            length => Some(r.take(length as usize - 1)?.to_vec()),
        };
        out.push((table, key, value));
    }
    Ok(out)
}

/// What redb has of the tables in a store's file.
pub fn stored(file: &[u8]) -> Tables {
    let rows = specimen::rows_on(&Disk::holding(file.to_vec()));
    rows.into_iter().map(|(table, key, value)| ((table, key), value)).collect()
}

/// What the tables of a store's file hold under its journal.
pub fn held(file: &[u8]) -> Result<Tables, Fault> {
    let mut out = stored(file);
    for (table, key, value) in frames(file)?.into_iter().flat_map(|frame| frame.rows) {
        match value {
            Some(value) => drop(out.insert((table, key), value)),
            None => drop(out.remove(&(table, key))),
        }
    }
    Ok(out)
}
