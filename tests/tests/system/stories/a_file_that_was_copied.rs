//! Files that are copied, restored and set back, with writes before the first sync (R34). Nobody
//! loses anything, no sync is refused.

use std::fs;
use std::path::{Path, PathBuf};

use heirloom::{EntityId, Opened};

use super::network::{Device, MINUTE, START, settle};

fn open(path: &Path, now: i64) -> Device {
    Device::open("phone", now, path)
}

/// A phone with a note that the hub has, too.
fn phone_and_hub(dir: &Path) -> (PathBuf, EntityId, Device) {
    let (path, hub) = (dir.join("phone"), Device::new("hub", START));
    let phone = open(&path, START);
    let note = phone.note("on both");
    phone.sync(&hub);
    phone.engine.close().unwrap();
    (path, note, hub)
}

/// Puts bytes into a file as whoever sets a whole disk back: the system takes it for the file that
/// it was.
fn set_back(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_phone_restored_from_last_weeks_backup_writes_before_it_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (path, note, hub) = phone_and_hub(dir.path());
    let backup = dir.path().join("backup");
    fs::copy(&path, &backup).unwrap();
    let phone = open(&path, START + MINUTE);
    phone.edit(note, "this week");
    let sent = phone.note("sent to the hub this week");
    let log = phone.engine.log_id().unwrap();
    phone.sync(&hub);
    phone.engine.close().unwrap();
    // the phone is lost; another one gets the backup
    fs::remove_file(&path).unwrap();
    fs::copy(&backup, &path).unwrap();

    let phone = open(&path, START + 2 * MINUTE);
    assert_eq!(phone.engine.opened(), Opened::Copied { log });
    let fresh = phone.note("written before it met anybody");
    assert_ne!(phone.engine.log_id(), Some(log));
    let [report, _] = phone.sync(&hub);
    assert!(report.forks.is_empty() && report.left_log.is_none());
    assert_eq!([phone.text(note), phone.text(sent)], ["this week", "sent to the hub this week"]);
    settle(&[&phone, &hub]);
    assert_eq!(hub.text(fresh), "written before it met anybody");
}

#[test]
fn a_store_file_is_copied_to_a_second_laptop() {
    let dir = tempfile::tempdir().unwrap();
    let (path, note, hub) = phone_and_hub(dir.path());
    let second = dir.path().join("second");
    fs::copy(&path, &second).unwrap();
    let (one, two) = (open(&path, START), open(&second, START + MINUTE));
    one.edit(note, "by the first");
    let beside = two.note("by the second");
    settle(&[&one, &two, &hub]);
    assert_eq!([hub.text(note), hub.text(beside)], ["by the first", "by the second"]);
    assert_eq!(hub.engine.snapshot().unwrap().forks().unwrap(), []);
}

#[test]
fn a_machine_is_set_back_as_a_whole_and_writes_before_it_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (path, note, hub) = phone_and_hub(dir.path());
    let image = fs::read(&path).unwrap();
    let phone = open(&path, START + MINUTE);
    phone.edit(note, "before it was set back");
    let log = phone.engine.log_id().unwrap();
    phone.sync(&hub);
    phone.engine.close().unwrap();
    set_back(&path, &image);

    let phone = open(&path, START + 2 * MINUTE);
    assert_eq!(phone.engine.opened(), Opened::Known, "nobody can know yet");
    let fresh = phone.note("after it was set back");
    assert_eq!(phone.engine.log_id(), Some(log), "under the log that went on elsewhere");
    let [report, _] = phone.sync(&hub);
    assert_eq!((report.forks.len(), report.left_log), (1, Some(log)));
    let told = report.forks[0].to_string();
    assert!(told.contains("copies of phone-"), "{told}");
    settle(&[&phone, &hub]);
    for device in [&phone, &hub] {
        assert_eq!(
            [device.text(note), device.text(fresh)],
            ["before it was set back", "after it was set back"]
        );
    }
    phone.edit(note, "and on");
    assert_ne!(phone.engine.log_id(), Some(log));
    settle(&[&phone, &hub]);
    assert_eq!(hub.text(note), "and on");
}

/// The two never meet; what goes between them goes over two others, who met one branch each.
#[test]
fn branches_meet_only_through_a_third_and_a_fourth() {
    let dir = tempfile::tempdir().unwrap();
    let (path, note, hub) = phone_and_hub(dir.path());
    let image = fs::read(&path).unwrap();
    let (third, fourth) = (Device::new("third", START), Device::new("fourth", START));
    let phone = open(&path, START + MINUTE);
    phone.edit(note, "one branch");
    phone.sync(&third);
    phone.engine.close().unwrap();
    set_back(&path, &image);
    let phone = open(&path, START + MINUTE);
    phone.edit(note, "the other");
    let [report, _] = phone.sync(&fourth);
    assert!(report.forks.is_empty(), "nobody here has seen both");

    third.edit(note, "on one branch");
    let other = fourth.note("beside the other");
    let [report, _] = third.sync(&fourth);
    assert_eq!(report.forks.len(), 1);
    assert!(
        third.engine.snapshot().unwrap().conflict(note).unwrap().is_some(),
        "two who had not seen each other"
    );
    let devices = [&phone, &hub, &third, &fourth];
    settle(&devices);
    let shown = devices.map(|d| (d.text(note), d.text(other), d.engine.clock().unwrap()));
    assert!(shown.iter().all(|one| *one == shown[0]));
}
