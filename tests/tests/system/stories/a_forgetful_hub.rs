//! A hub that was emptied, or restored from an old backup, is refilled by whoever syncs; nobody's
//! data is discarded (R23).

use std::fs;

use super::network::{BreakingLink, Device, MINUTE, START, settle};

#[test]
fn a_hub_is_wiped() {
    let (phone, tablet) = (Device::new("phone", START), Device::new("tablet", START));
    let hub = Device::new("hub", START);
    let notes = [phone.note("the phone's"), tablet.note("the tablet's")];
    settle(&[&phone, &tablet, &hub]);

    let hub = Device::new("hub", START + MINUTE);
    let late = phone.note("written meanwhile");
    // the phone alone brings all that it has seen, the tablet's too
    let [_, at_hub] = phone.sync(&hub);
    assert_eq!(at_hub.commits_received, 3);
    assert_eq!([hub.text(notes[0]), hub.text(notes[1])], ["the phone's", "the tablet's"]);
    let [at_tablet, _] = tablet.sync(&hub);
    assert_eq!((at_tablet.commits_sent, at_tablet.commits_received), (0, 1));
    assert_eq!(tablet.text(late), "written meanwhile");
    settle(&[&phone, &tablet, &hub]);
}

#[test]
fn a_hub_is_restored_from_an_old_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (path, backup) = (dir.path().join("hub"), dir.path().join("backup"));
    let (phone, tablet) = (Device::new("phone", START), Device::new("tablet", START));
    let hub = Device::open("hub", START, &path);
    let note = phone.note("one");
    let own = hub.note("of the hub");
    settle(&[&phone, &tablet, &hub]);
    hub.engine.close().unwrap();
    fs::copy(&path, &backup).unwrap();

    let hub = Device::open("hub", START, &path);
    phone.edit(note, "two");
    hub.edit(own, "of the hub, later");
    phone.sync(&hub);
    let pending = |device: &Device, hub: &Device| {
        let node = hub.engine.replication().node().unwrap();
        device.engine.pending(node).unwrap().count()
    };
    assert_eq!(pending(&phone, &hub), 0);
    hub.engine.close().unwrap();
    // the same file, with what was in it a while ago
    fs::write(&path, fs::read(&backup).unwrap()).unwrap();

    let hub = Device::open("hub", START + MINUTE, &path);
    let fresh = hub.note("before it met anybody again");
    assert_eq!(hub.text(note), "one");
    // what is remembered of it is replaced by what it says of itself, downwards too, and it gets
    // back what it had
    let [_, at_hub] = phone.sync(&hub);
    assert!(at_hub.left_log.is_some(), "it had written what it has forgotten");
    assert_eq!(
        [hub.text(note), hub.text(own), hub.text(fresh)],
        ["two", "of the hub, later", "before it met anybody again"]
    );
    assert_eq!(pending(&phone, &hub), 0);
    settle(&[&phone, &tablet, &hub]);
}

/// What a status says of a hub that lost its data is corrected before anybody relies on it.
#[test]
fn what_a_hub_is_known_to_hold_goes_down_when_it_lost_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub");
    let phone = Device::new("phone", START);
    let hub = Device::open("hub", START, &path);
    let node = hub.engine.replication().node().unwrap();
    let empty = {
        hub.engine.close().unwrap();
        fs::read(&path).unwrap()
    };
    let hub = Device::open("hub", START, &path);
    phone.note("one");
    phone.sync(&hub);
    hub.engine.close().unwrap();
    fs::write(&path, empty).unwrap();

    let hub = Device::open("hub", START, &path);
    assert_eq!(hub.engine.replication().node().unwrap(), node, "the premise: the same hub");
    assert_eq!(phone.engine.pending(node).unwrap().count(), 0, "as far as the phone knows");
    // a session that breaks right after the clocks is enough to know better
    let mut cut = BreakingLink::new(500);
    cut.sync(&phone.engine, &hub.engine).unwrap_err();
    let held = phone.engine.replication().remembered(node).unwrap().unwrap().held;
    assert!(held.get() <= 1, "{held}");
    settle(&[&phone, &hub]);
}
