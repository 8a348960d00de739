//! A program that draws a new log with each start fills everybody's clock. It is refused and named;
//! the others go on.

use std::sync::{Arc, Mutex};

use heirloom::{Content, Engine, Timestamp};
use heirloom_sync::{Admission, Config, Refusal, SyncError, sync_in_process_with};

use super::network::{Device, START, settle};

/// The same node each time, under another log: another label makes another genesis.
fn mint(n: usize) -> Engine {
    let builder = Engine::builder().label(format!("mint-{n}")).dataset_name("stories");
    let engine = builder
        .entropy(|| [0x77; 16])
        .wall_clock(|| Timestamp::from_millis(START))
        .in_memory()
        .unwrap();
    engine.write(|tx| tx.create("coin", &Content::new().with("n", n as i64))).unwrap();
    engine
}

#[test]
fn it_is_refused_and_named_and_its_logs_stay_counted() {
    let (hub, phone, tablet) =
        (Device::new("hub", START), Device::new("phone", START), Device::new("tablet", START));
    let id =
        phone.engine.write(|tx| tx.create("note", &Content::new().with("text", "one"))).unwrap();
    settle(&[&hub, &phone, &tablet]);

    let asked = Arc::new(Mutex::new(Vec::new()));
    let config = || {
        let asked = asked.clone();
        Config::new().opened_logs(5).admit(move |who| {
            asked.lock().unwrap().push(who.opened);
            Admission::Admit
        })
    };
    let node = mint(0).replication().node().unwrap();
    let mut refused = 0;
    for n in 0..40 {
        match sync_in_process_with(&mint(n), Config::new(), &hub.engine, config()) {
            Ok(_) => assert!(n < 5, "{n}"),
            Err(SyncError::NotAdmitted { node: who, reason }) => {
                assert_eq!((who, reason), (node, Refusal::TooManyLogs { opened: 5, limit: 5 }));
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((refused, asked.lock().unwrap().clone()), (35, vec![0, 1, 2, 3, 4]));
    assert!(hub.engine.status().unwrap().peers.iter().any(|peer| peer.node == node));
    hub.engine.forget_peer(node).unwrap();
    assert!(hub.engine.status().unwrap().peers.iter().all(|peer| peer.node != node));
    let again = sync_in_process_with(&mint(40), Config::new(), &hub.engine, config());
    assert!(matches!(again, Err(SyncError::NotAdmitted { .. })), "{again:?}");
    assert_eq!(hub.engine.clock().unwrap().iter().count(), 1 + 5, "the phone's log and five");

    // the network goes on, and what was taken in before travels like anything else
    tablet.edit(id, "two");
    settle(&[&hub, &phone, &tablet]);
    assert_eq!([hub.text(id), phone.text(id)], ["two", "two"]);
}

#[test]
fn passed_off_as_relayed_a_flood_meets_the_other_guard() {
    let (hub, phone) = (Device::new("hub", START), Device::new("phone", START));
    phone.write();
    settle(&[&hub, &phone]);
    let careless = Device::new("careless", START);
    for n in 0..30 {
        sync_in_process_with(&mint(n), Config::new(), &careless.engine, Config::new()).unwrap();
    }
    let strict = || Config::new().lone_logs(20);
    let before = hub.engine.log_root().unwrap();
    let error =
        sync_in_process_with(&careless.engine, Config::new(), &hub.engine, strict()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("30 unknown logs of a single version each"), "{text}");
    assert_eq!(hub.engine.log_root().unwrap(), before);
    sync_in_process_with(&phone.engine, Config::new(), &hub.engine, strict()).unwrap();
}
