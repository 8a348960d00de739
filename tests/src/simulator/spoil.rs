//! Planted bugs of the journal: what a store that has one would leave on its disk, made there
//! before it is opened.

use super::canary::Canary;
use crate::decoder::primitives::put_varint;
use crate::decoder::{Id, hashes, prefix};
use crate::disk::Disk;
use crate::journal::{End, end, frames};
use crate::specimen;
use crate::tables_part::tables_at;

/// The disk as a store with such a bug finds it after a crash.
pub(crate) fn spoilt(disk: Disk, canary: Canary) -> Disk {
    let spoil = match canary {
        Canary::ForgetsTheJournal => without_a_journal,
        Canary::DrainsAPart => drained_in_part,
        Canary::TrustsATornFrame => with_a_torn_frame,
        _ => return disk,
    };
    let file = disk.after_a_kill().bytes();
    // nothing is on a new one
    if file.is_empty() { disk } else { spoil(file) }
}

fn without_a_journal(mut file: Vec<u8>) -> Disk {
    let ring = 4096..tables_at(&file) as usize;
    file[ring].fill(0);
    Disk::holding(file)
}

/// All that waits is said to be in the tables, and the heads are not.
fn drained_in_part(file: Vec<u8>) -> Disk {
    let (waiting, End { position, sum }) = (frames(&file), end(&file));
    let disk = Disk::holding(file);
    let rows = waiting.unwrap_or_default().into_iter().flat_map(|frame| frame.rows);
    for (table, key, value) in rows.filter(|(table, ..)| *table != "heads") {
        specimen::replace_on(
            &disk,
            table,
            &key,
            value.as_ref().map(|value| (&key[..], &value[..])),
        );
    }
    let mut row = Vec::new();
    put_varint(&mut row, position);
    row.extend_from_slice(&sum);
    let row = specimen::seal(b"journal", &row);
    specimen::replace_on(&disk, "meta", b"journal", Some((b"journal", &row)));
    disk
}

/// Where a frame was on its way, its sum is made to fit what is left of it.
fn with_a_torn_frame(mut file: Vec<u8>) -> Disk {
    let end = end(&file);
    let ring = tables_at(&file) as usize - 4096;
    for position in [end.position, end.position.next_multiple_of(ring as u64)] {
        let place = (position % ring as u64) as usize;
        let frame = &mut file[4096 + place..4096 + ring];
        let length: [u8; 4] = std::array::from_fn(|i| frame[40 + i]);
        let length = 44 + u32::from_be_bytes(length) as usize;
        let is_its = frame[16..32] == end.sum && frame[32..40] == position.to_be_bytes();
        if is_its && (45..=frame.len()).contains(&length) {
            let sum: Id = prefix(&hashes::hash("heirloom 1 journal", &[&frame[16..length]]));
            frame[..16].copy_from_slice(&sum);
            break;
        }
    }
    Disk::holding(file)
}
