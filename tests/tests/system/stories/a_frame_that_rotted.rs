//! A frame of the journal rots while it waits to be drained. Those behind it hold, nothing is
//! written until `repair`, and what it held comes back from a peer that had seen it (R37).

use heirloom::{Content, Engine, EntityId, Error, Patch, Table};
use heirloom_sync::sync_in_process;
use heirloom_tests::disk::Disk;
use heirloom_tests::journal::frames;

const COMMITS: u8 = 6;

fn entity(number: u8) -> EntityId {
    EntityId::from_bytes([number; 16])
}

fn open(disk: &Disk) -> heirloom::Result<Engine> {
    let builder = Engine::builder().label("phone").dataset_name("frames");
    builder.drain_after(None).open_backend(disk.clone())
}

/// A disk with a creation and changes in the frames of its journal, and a peer that has them all.
fn world() -> (Disk, Engine) {
    let disk = Disk::new();
    let phone = open(&disk).unwrap();
    phone.drain().unwrap();
    for n in 0..COMMITS {
        let content = Content::new().with("n", i64::from(n));
        phone.write(|tx| tx.create_with_id(entity(n), "lamp", &content)).unwrap();
        // each but the first builds on the one before
        if n > 0 {
            phone.write(|tx| tx.patch(entity(n - 1), Patch::new().set("n", 99))).unwrap();
        }
    }
    let tablet = Engine::builder().label("tablet").in_memory().unwrap();
    sync_in_process(&tablet, &phone).unwrap();
    (disk.after_a_kill(), tablet)
}

/// The same disk with one bit of a frame's rows flipped.
fn rotten(disk: &Disk, frame: usize) -> Disk {
    let mut bytes = disk.bytes();
    let found = frames(&bytes).unwrap();
    let frame = &found[frame];
    bytes[frame.at + frame.bytes.len() / 2] ^= 4;
    Disk::holding(bytes)
}

#[test]
fn what_a_rotten_frame_held_is_brought_back_by_a_peer() {
    let (disk, tablet) = world();
    let count = frames(&disk.bytes()).unwrap().len();
    assert!(count > 2 * usize::from(COMMITS) - 2, "{count} frames");
    // of the very last one nobody can tell that it was ever whole
    for frame in 0..count - 1 {
        let phone = open(&rotten(&disk, frame)).unwrap();
        let refused = phone.write(|tx| tx.create("lamp", &Content::new()));
        assert!(
            matches!(&refused, Err(Error::Corrupt { table: Table::Journal, .. })),
            "{frame}: {refused:?}"
        );
        let repaired = match phone.repair() { Ok(r) => r, Err(e) => { eprintln!("{frame} REPAIR {e:?}"); continue } };
        assert!(repaired.left.iter().any(|p| p.table == Table::Journal), "{frame}: {repaired:?}");
        if let Err(e) = sync_in_process(&phone, &tablet) { eprintln!("{frame} SYNC {e:?} {:?}", repaired.left); continue }
        let verified = phone.verify().unwrap();
        if !verified.is_clean() { eprintln!("{frame} VERIFY {verified:?}"); continue }
        assert_eq!(phone.log_root().unwrap(), tablet.log_root().unwrap(), "{frame}");
        assert_eq!(phone.state_digest().unwrap(), tablet.state_digest().unwrap(), "{frame}");
        phone.write(|tx| tx.create("lamp", &Content::new().with("n", 7))).unwrap();
        sync_in_process(&tablet, &phone).unwrap();
        assert_eq!(phone.state_digest().unwrap(), tablet.state_digest().unwrap(), "{frame}");
    }
}
