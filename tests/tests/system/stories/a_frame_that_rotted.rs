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

fn create(engine: &Engine, number: u8) {
    let content = Content::new().with("n", i64::from(number));
    engine.write(|tx| tx.create_with_id(entity(number), "lamp", &content)).unwrap();
}

fn change(engine: &Engine, number: u8) {
    engine.write(|tx| tx.patch(entity(number), Patch::new().set("n", 99))).unwrap();
}

/// A phone and a tablet that know each other; what names their logs and the type lies in the
/// tables of the phone, since from nothing else could it be told.
fn met() -> (Disk, Engine, Engine) {
    let disk = Disk::new();
    let phone = open(&disk).unwrap();
    let tablet = Engine::builder().label("tablet").in_memory().unwrap();
    create(&phone, 100);
    sync_in_process(&tablet, &phone).unwrap();
    create(&tablet, 101);
    sync_in_process(&phone, &tablet).unwrap();
    phone.drain().unwrap();
    (disk, phone, tablet)
}

/// The same disk with one bit of a frame's rows flipped.
fn rotten(disk: &Disk, frame: usize) -> Disk {
    let mut bytes = disk.bytes();
    let found = frames(&bytes).unwrap();
    let frame = &found[frame];
    bytes[frame.at + frame.bytes.len() / 2] ^= 4;
    Disk::holding(bytes)
}

/// Lets each frame but the last rot, of which nobody can tell that it was ever whole, and brings
/// back from the tablet what it held.
fn each_frame_is_brought_back(disk: &Disk, tablet: &Engine) {
    let disk = disk.after_a_kill();
    let count = frames(&disk.bytes()).unwrap().len();
    assert!(count > 2, "the premise");
    for frame in 0..count - 1 {
        let phone = open(&rotten(&disk, frame)).unwrap();
        let is_refused = |e: &Error| matches!(e, Error::Corrupt { table: Table::Journal, .. });
        let refused = phone.write(|tx| tx.create("lamp", &Content::new()));
        assert!(refused.as_ref().is_err_and(is_refused), "{frame}: {refused:?}");
        // a copy would have the holes, and nothing that tells of them
        let copy = tempfile::tempdir().unwrap();
        let refused = phone.backup(copy.path().join("copy"));
        assert!(refused.as_ref().is_err_and(is_refused), "{frame}: {refused:?}");
        // and nobody is told that it holds what is behind
        let other = Engine::builder().label("other").in_memory().unwrap();
        drop(sync_in_process(&other, &phone));
        assert!(other.verify().unwrap().is_clean(), "{frame}");
        assert_ne!(other.log_root().unwrap(), tablet.log_root().unwrap(), "{frame}");

        let repaired = phone.repair().unwrap();
        assert!(repaired.left.iter().any(|p| p.table == Table::Journal), "{frame}: {repaired:?}");
        // a hub that only ever listened hears what is there, and nothing that is not
        drop(sync_in_process(&other, &phone));
        assert!(other.verify().unwrap().is_clean(), "{frame}");
        sync_in_process(&phone, tablet).unwrap_or_else(|e| panic!("{frame}: {e}"));
        // now that nothing is missing heads can be made again
        let repaired = phone.repair().unwrap();
        assert_eq!(repaired.left, [], "{frame}");
        let verified = phone.verify().unwrap();
        assert!(verified.is_clean(), "{frame}: {verified:?}");
        assert_eq!(phone.log_root().unwrap(), tablet.log_root().unwrap(), "{frame}");
        assert_eq!(phone.state_digest().unwrap(), tablet.state_digest().unwrap(), "{frame}");
        sync_in_process(&other, &phone).unwrap_or_else(|e| panic!("{frame}: {e}"));
        assert_eq!(other.state_digest().unwrap(), tablet.state_digest().unwrap(), "{frame}");
        assert!(other.verify().unwrap().is_clean(), "{frame}");
        create(&phone, 102 + frame as u8);
        sync_in_process(tablet, &phone).unwrap();
        assert_eq!(phone.state_digest().unwrap(), tablet.state_digest().unwrap(), "{frame}");
    }
}

#[test]
fn what_a_rotten_frame_held_is_brought_back_by_a_peer() {
    let (disk, phone, tablet) = met();
    for n in 0..COMMITS {
        create(&phone, n);
        // each but the first builds on the one before
        if n > 0 {
            change(&phone, n - 1);
        }
    }
    sync_in_process(&tablet, &phone).unwrap();
    each_frame_is_brought_back(&disk, &tablet);
}

#[test]
fn so_are_many_commits_of_one_frame_of_which_later_ones_speak() {
    let (disk, phone, tablet) = met();
    for n in 0..COMMITS {
        create(&tablet, n);
        change(&tablet, n);
    }
    sync_in_process(&phone, &tablet).unwrap();
    phone.write(|tx| tx.patch(entity(2), Patch::new().set("n", 98))).unwrap();
    create(&phone, 50);
    sync_in_process(&tablet, &phone).unwrap();
    create(&tablet, 60);
    sync_in_process(&phone, &tablet).unwrap();
    change(&phone, 60);
    sync_in_process(&tablet, &phone).unwrap();
    each_frame_is_brought_back(&disk, &tablet);
}

/// From what names a log or a type nothing else follows: an error, and nothing is written over it.
#[test]
fn names_that_a_rotten_frame_held_are_not_given_to_others() {
    let disk = Disk::new();
    let phone = open(&disk).unwrap();
    phone.drain().unwrap();
    (0..3).for_each(|n| create(&phone, n));
    let frames = frames(&disk.bytes()).unwrap();
    let names = |row: &str| frames.iter().position(|f| f.rows.iter().any(|r| r.0 == row)).unwrap();
    for frame in [names("logs"), names("types")] {
        let phone = open(&rotten(&disk.after_a_kill(), frame)).unwrap();
        for _ in 0..2 {
            let refused = phone.repair();
            assert!(
                matches!(&refused, Err(Error::Corrupt { table: Table::Logs | Table::Types, .. })),
                "{frame}: {refused:?}"
            );
            assert!(phone.write(|tx| tx.create("lamp", &Content::new())).is_err());
        }
    }
}

/// Two devices beside the phone, whose commits come in one frame and build on each other; the phone
/// goes on over the last of them alone.
#[test]
fn so_are_those_of_two_devices_in_the_order_in_which_they_build_on_each_other() {
    let (disk, phone, tablet) = met();
    let laptop = Engine::builder().label("laptop").in_memory().unwrap();
    sync_in_process(&laptop, &tablet).unwrap();
    create(&laptop, 110);
    sync_in_process(&tablet, &laptop).unwrap();
    sync_in_process(&phone, &tablet).unwrap();
    phone.drain().unwrap();
    for n in 0..3 {
        create(&laptop, n);
        sync_in_process(&tablet, &laptop).unwrap();
        change(&tablet, n);
        sync_in_process(&laptop, &tablet).unwrap();
    }
    sync_in_process(&phone, &tablet).unwrap();
    // it refers to the tablet's last commit alone, which has seen the laptop's
    phone.write(|tx| tx.patch(entity(2), Patch::new().set("n", 98))).unwrap();
    sync_in_process(&tablet, &phone).unwrap();
    create(&laptop, 60);
    sync_in_process(&tablet, &laptop).unwrap();
    sync_in_process(&phone, &tablet).unwrap();
    change(&phone, 60);
    sync_in_process(&tablet, &phone).unwrap();
    each_frame_is_brought_back(&disk, &tablet);
}

/// What a frame held at the end of a line, of which nothing later speaks, comes as if it were new.
#[test]
fn what_nothing_speaks_of_comes_as_new() {
    let (disk, phone, tablet) = met();
    let laptop = Engine::builder().label("laptop").in_memory().unwrap();
    sync_in_process(&laptop, &phone).unwrap();
    create(&laptop, 110);
    sync_in_process(&phone, &laptop).unwrap();
    phone.drain().unwrap();
    // of each device a frame, and neither has seen the other's
    change(&tablet, 101);
    sync_in_process(&phone, &tablet).unwrap();
    change(&laptop, 110);
    sync_in_process(&phone, &laptop).unwrap();
    sync_in_process(&tablet, &phone).unwrap();
    let disk = disk.after_a_kill();
    let phone = open(&rotten(&disk, 0)).unwrap();
    phone.repair().unwrap();
    sync_in_process(&phone, &tablet).unwrap();
    let left = phone.repair().unwrap().left;
    assert!(
        left.iter().all(|p| p.table == Table::Log && p.what == "commits are missing"),
        "{left:?}"
    );
    assert_eq!(phone.state_digest().unwrap(), tablet.state_digest().unwrap());
    let other = Engine::builder().label("other").in_memory().unwrap();
    sync_in_process(&other, &phone).unwrap();
    assert_eq!(other.state_digest().unwrap(), tablet.state_digest().unwrap());
    assert!(other.verify().unwrap().is_clean());
}

/// A kill inside `repair` forgets nothing of what it has not accounted for yet.
#[test]
fn a_kill_while_it_is_repaired_loses_no_trace() {
    let (disk, phone, tablet) = met();
    (0..COMMITS).for_each(|n| create(&phone, n));
    sync_in_process(&tablet, &phone).unwrap();
    let rotten = rotten(&disk.after_a_kill(), 2);
    let whole = Disk::holding(rotten.bytes());
    open(&whole).unwrap().repair().unwrap();
    let changes = whole.counts().changes;
    let mut cuts = 0;
    for cut in 0..changes {
        let disk = Disk::holding(rotten.bytes());
        disk.cut_at(cut);
        let done = open(&disk).and_then(|phone| phone.repair());
        if done.is_ok() {
            continue;
        }
        cuts += 1;
        let phone = open(&disk.after_a_cut(cut)).unwrap();
        drop(phone.repair().unwrap_or_else(|e| panic!("{cut}: {e}")));
        sync_in_process(&phone, &tablet).unwrap_or_else(|e| panic!("{cut}: {e}"));
        assert_eq!(phone.repair().unwrap().left, [], "{cut}");
        assert_eq!(phone.log_root().unwrap(), tablet.log_root().unwrap(), "{cut}");
        assert_eq!(phone.state_digest().unwrap(), tablet.state_digest().unwrap(), "{cut}");
    }
    assert!(cuts > 20, "{cuts} of {changes}");
}
