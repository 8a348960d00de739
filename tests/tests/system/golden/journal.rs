//! The journal of a small store.

use std::fmt::Write as _;

use heirloom::{Content, Engine, EntityId, Patch};
use heirloom_tests::disk::Disk;
use heirloom_tests::journal::{Frame, frames, held, stored};

use super::{histories, put_lines, read_golden};

const LAMP: EntityId = EntityId::from_bytes([0x1a; 16]);

/// Commits of a store that is still open, and the file in which they wait.
fn written() -> (Engine, Disk) {
    let disk = Disk::new();
    let builder = Engine::builder().label("phone").index("lamp", "n").index_in_background(false);
    let engine = histories::device(builder.journal_bytes(0), 1_700_000_000_000, 1)
        .open_backend(disk.clone())
        .unwrap();
    engine.drain().unwrap();
    engine.write(|tx| tx.create_with_id(LAMP, "lamp", &Content::new().with("n", 1))).unwrap();
    engine.write(|tx| tx.patch(LAMP, Patch::new().set("n", 2))).unwrap();
    (engine, disk)
}

/// Its frames as text, part by part.
pub(crate) fn show() -> String {
    let mut out = String::from("# The frames of a journal, without their padding.\n");
    for (n, Frame { bytes, rows, .. }) in frames(&written().1.bytes()).unwrap().iter().enumerate() {
        writeln!(out, "\n= frame {n}").unwrap();
        put_lines(&mut out, &bytes[..16], "sum");
        put_lines(&mut out, &bytes[16..32], "sum of the one before");
        put_lines(&mut out, &bytes[32..40], "position");
        put_lines(&mut out, &bytes[40..44], "length");
        let names: Vec<_> = rows.iter().map(|(table, ..)| *table).collect();
        put_lines(&mut out, &bytes[44..], &format!("rows of {}", names.join(", ")));
    }
    out
}

#[test]
fn a_journal_holds_what_draining_writes() {
    let (engine, disk) = written();
    let before = disk.bytes();
    assert_eq!(frames(&before).unwrap().len(), 2, "the premise");
    let mut waiting = held(&before).unwrap();
    assert_ne!(waiting, stored(&before));
    engine.drain().unwrap();
    let drained = disk.bytes();
    assert!(frames(&drained).unwrap().is_empty());
    // where the journal begins is no row of it
    let journal = ("meta", b"journal".to_vec());
    let after = stored(&drained);
    assert_ne!(waiting.insert(journal.clone(), after[&journal].clone()), None);
    assert_eq!(waiting, after);
}

#[test]
fn frames_are_read_as_they_were_written_once() {
    let (_engine, disk) = written();
    let mut file = disk.bytes();
    let found = frames(&file).unwrap();
    // the same frames, from the golden file
    for (frame, (_, bytes)) in found.iter().zip(read_golden("journal.hex")) {
        file[frame.at..][..frame.bytes.len()].fill(0);
        file[frame.at..][..bytes.len()].copy_from_slice(&bytes);
    }
    let again = Engine::builder().dataset_name(super::DATASET).index("lamp", "n");
    let again = again.open_backend(Disk::holding(file)).unwrap();
    assert!(again.verify().unwrap().is_clean());
    let snapshot = again.snapshot().unwrap();
    assert_eq!(snapshot.get(LAMP).unwrap().unwrap().get("n").unwrap(), Some(2.into()));
    assert_eq!(snapshot.query("lamp", "n").unwrap().equals(2).count().unwrap(), 1);
}
