//! A newer version of the library has written in this very file, then the older one opens it again.
//! It cannot go on from a state that it cannot read: the log stays as it is, and the device goes on
//! under a fresh one (R36).

use heirloom::{Content, VoidReason};
use heirloom_tests::decoder::{Bodies, Leaves, Rest};
use heirloom_tests::forge::{Author, CommitSpec, VersionSpec};
use heirloom_tests::twins;
use redb::TableDefinition;

use super::network::{Device, MINUTE, START, settle};
use heirloom_tests::tables_part::open_tables;

/// Writes a row of `meta` as the engine would.
fn set_meta(path: &std::path::Path, name: &[u8], value: &[u8]) {
    let database = open_tables(path);
    let tx = database.begin_write().unwrap();
    {
        let mut table = tx.open_table(TableDefinition::<&[u8], &[u8]>::new("meta")).unwrap();
        let sum = crc32fast::hash(&[name, value].concat()).to_be_bytes();
        table.insert(name, &[&sum[..], value].concat()[..]).unwrap();
    }
    tx.commit().unwrap();
}

#[test]
fn the_device_goes_on_under_a_fresh_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let phone = Device::open("phone", START, &path);
    let id =
        phone.engine.write(|tx| tx.create("note", &Content::new().with("text", "one"))).unwrap();
    let old = phone.engine.log_id().unwrap();

    let mut newer = Author::impersonate([&twins::commits_of(&phone.engine)[0][..]]);
    let mut draft =
        newer.draft(&CommitSpec::at((START + MINUTE) as u64).version(VersionSpec::create(
            [9; 16],
            "note",
            Leaves::new(),
        )));
    (draft.header.level, draft.header.rest) = (2, Rest::Newer(vec![1, 2, 3]));
    draft.bodies = Bodies::Newer(vec![0xff; 5]);
    twins::ingest(&phone.engine, &newer.seal(&draft).bytes).unwrap();
    phone.engine.close().unwrap();
    // as if it had been written here
    set_meta(&path, b"own", &[0]);

    let phone = Device::open("phone", START, &path);
    assert_eq!(phone.engine.log_id(), Some(old), "nothing happens before it writes");
    assert_eq!(phone.text(id), "one");
    phone.edit(id, "two");
    let fresh = phone.engine.log_id().unwrap();
    assert_ne!(fresh, old);
    let ends = phone.engine.replication().position().unwrap().ends;
    assert_eq!(ends.iter().find(|end| end.log == old).map(|end| end.sequence.get()), Some(2));
    let voids: Vec<_> =
        phone.engine.snapshot().unwrap().voids().unwrap().map(Result::unwrap).collect();
    assert_eq!((voids.len(), voids[0].reason), (1, VoidReason::Level));
    assert!(voids[0].to_string().contains("newer format; update this device"));

    let tablet = Device::new("tablet", START);
    settle(&[&phone, &tablet]);
    assert_eq!(tablet.text(id), "two");
    phone.engine.close().unwrap();
    let phone = Device::open("phone", START, &path);
    phone.edit(id, "three");
    assert_eq!(phone.engine.log_id(), Some(fresh), "once is enough");
    settle(&[&phone, &tablet]);
}
