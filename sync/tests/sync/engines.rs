//! The same laws over real engines.

use heirloom_core::model::Sequence;
use std::sync::Arc;
use std::thread;

use super::support::{Link, Random};
use heirloom::{Content, DatasetId, Engine, EntityId, Patch, Timestamp, Value};
use heirloom_sync::transport::tcp::{PlainTcp, PlainTcpListener, sync_plain_tcp};
use heirloom_sync::{
    Cancel, Config, Outcome, Replica, SyncError, sync_in_process, sync_in_process_with,
};
use proptest::prelude::*;

fn engine(label: &str) -> Engine {
    Engine::builder().label(label).dataset_name("home").in_memory().unwrap()
}

/// Everything that an application sees, in text.
fn contents(engine: &Engine) -> Vec<String> {
    let snapshot = engine.snapshot().unwrap();
    let show = |id: EntityId| {
        let entity = snapshot.get_any(id).unwrap().expect("it is listed");
        let heads = entity.heads();
        format!(
            "{id} {} {heads:?} {} {:?}",
            entity.entity_type(),
            entity.is_deleted(),
            entity.content()
        )
    };
    snapshot.entity_ids().unwrap().map(|id| show(id.unwrap())).collect()
}

#[track_caller]
fn assert_equal(engines: &[&Engine]) {
    for pair in engines.windows(2) {
        assert_eq!(pair[0].log_root().unwrap(), pair[1].log_root().unwrap());
        assert_eq!(pair[0].state_digest().unwrap(), pair[1].state_digest().unwrap());
        assert_eq!(contents(pair[0]), contents(pair[1]));
    }
    for engine in engines {
        let verification = engine.verify().unwrap();
        assert!(verification.is_clean(), "{:?}", verification.problems);
    }
}

fn create(engine: &Engine, name: &str) -> EntityId {
    engine
        .write(|tx| tx.create("lamp", &Content::new().with("name", name).with("brightness", 1)))
        .unwrap()
}

fn set(engine: &Engine, id: EntityId, field: &str, value: impl Into<Value>) {
    engine.write(|tx| tx.patch(id, Patch::new().set(field, value))).unwrap();
}

/// A random write: an entity is made, changed or deleted.
fn write(engine: &Engine, random: &mut Random) {
    let ids: Vec<EntityId> =
        engine.snapshot().unwrap().entity_ids().unwrap().map(|id| id.unwrap()).collect();
    let Some(id) = ids.get(random.below(ids.len().max(1) as u64) as usize).copied() else {
        create(engine, "first");
        return;
    };
    let gone = engine.snapshot().unwrap().get(id).unwrap().is_none_or(|entity| entity.is_deleted());
    match random.below(8) {
        0 => _ = create(engine, "another"),
        1 if !gone => engine.write(|tx| tx.delete(id)).unwrap(),
        2 => _ = create(engine, &"x".repeat(40_000)),
        _ if gone => _ = create(engine, "instead"),
        n => set(
            engine,
            id,
            ["name", "brightness", "room"][n as usize % 3],
            random.below(100) as i64,
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn engines_converge_whatever_is_cut_and_nothing_is_sent_twice(
        seed: u64,
        cuts in prop::collection::vec(1u64..20_000, 0..6),
    ) {
        let mut random = Random(seed);
        let engines = [engine("a"), engine("b"), engine("c")];
        for _ in 0..40 {
            let (at, to) = (random.below(3) as usize, random.below(3) as usize);
            write(&engines[at], &mut random);
            if at != to && random.below(8) == 0 {
                sync_in_process(&engines[at], &engines[to]).unwrap();
            }
        }
        for cut in cuts {
            let _ = Link::breaking(cut).sync(&engines[0], &engines[1]);
        }
        for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1)] {
            let (a, b) = Link::default().sync(&engines[from], &engines[to]).unwrap();
            prop_assert_eq!(a.commits_skipped + b.commits_skipped, 0);
            prop_assert_eq!((a.unverified, a.voids, b.unverified, b.voids), (0, 0, 0, 0));
        }
        assert_equal(&[&engines[0], &engines[1], &engines[2]]);
    }
}

#[test]
fn edits_made_apart_meet_in_one_lamp_though_the_devices_never_met() {
    let (phone, tablet) = (engine("phone"), engine("tablet"));
    let lamp = create(&phone, "desk");
    sync_in_process(&phone, &tablet).unwrap();
    set(&phone, lamp, "name", "window");
    set(&tablet, lamp, "brightness", 9);
    let (report, other) = sync_in_process(&phone, &tablet).unwrap();
    assert_eq!((report.versions_sent, report.versions_received), (1, 1));
    assert_eq!((report.diverged, other.diverged), (1, 1));
    assert_equal(&[&phone, &tablet]);
    let entity = phone.snapshot().unwrap().get(lamp).unwrap().unwrap();
    assert_eq!(entity.get("name").unwrap(), Some(Value::from("window")));
    assert_eq!(entity.get("brightness").unwrap(), Some(Value::from(9)));
}

#[test]
fn equal_engines_need_one_round_trip_and_under_200_bytes() {
    let (a, b) = (engine("a"), engine("b"));
    for engine in [&a, &b] {
        for at in 0..50 {
            create(engine, &at.to_string());
        }
    }
    Link::default().sync(&a, &b).unwrap();
    let outcome = Link::default().sync(&b, &a);
    assert!(outcome.bytes < 200, "{}", outcome.bytes);
    assert_eq!(outcome.turns, 2);
    let (report, _) = outcome.unwrap();
    assert_eq!((report.outcome, report.round_trips), (Outcome::AlreadyEqual, 1));
}

#[test]
fn a_session_between_engines_cut_at_every_byte_is_resumed() {
    let pair = || {
        let (a, b) = (engine("a"), engine("b"));
        let lamp = create(&a, "lamp");
        set(&a, lamp, "room", "attic");
        create(&b, "other");
        (a, b)
    };
    let (a, b) = pair();
    let whole = Link::default().sync(&a, &b).bytes;
    for cut in (0..whole).step_by(7) {
        let (a, b) = pair();
        let _ = Link::breaking(cut).sync(&a, &b);
        Link::default().sync(&a, &b).unwrap();
        assert_equal(&[&a, &b]);
    }
}

#[test]
fn a_large_commit_between_engines_goes_on_where_a_breaking_link_left_it() {
    let (a, b) = (engine("a"), engine("b"));
    create(&a, "before");
    let blob = Random(1).bytes(3 << 20);
    a.write(|tx| tx.create("blob", &Content::new().with("bytes", Value::Bytes(blob)))).unwrap();
    create(&a, "after");
    create(&b, "b");
    let mut total = 0;
    for session in 0.. {
        assert!(session < 200);
        let outcome = Link::breaking(100 << 10).sync(&a, &b);
        total += outcome.bytes;
        if let (Ok(_), Ok(report)) = (&outcome.a, &outcome.b) {
            assert!(report.resumed_bytes > 2900 << 10, "{}", report.resumed_bytes);
            break;
        }
    }
    assert!(total < 7 << 20, "{total} bytes for 3 MiB");
    assert_equal(&[&a, &b]);
}

#[test]
fn an_altered_byte_never_leaves_a_commit_that_nobody_wrote() {
    let mut random = Random(3);
    let (a, b) = (engine("a"), engine("b"));
    for _ in 0..30 {
        write(&a, &mut random);
    }
    for at in (0..6000).step_by(41) {
        super::support::alter(&a, &b, at, 1 << (at % 8));
    }
    sync_in_process(&a, &b).unwrap();
    assert_equal(&[&a, &b]);
}

#[test]
fn an_empty_engine_adopts_and_two_datasets_never_mix() {
    let fresh = Engine::builder().label("fresh").in_memory().unwrap();
    let (home, office) =
        (engine("home"), Engine::builder().dataset_name("office").in_memory().unwrap());
    create(&home, "lamp");
    sync_in_process(&fresh, &home).unwrap();
    assert_eq!(fresh.dataset(), Some(DatasetId::from_name("home")));
    assert_equal(&[&fresh, &home]);
    create(&office, "desk");
    let error = sync_in_process(&office, &home).unwrap_err();
    assert!(matches!(error, SyncError::WrongDataset { .. }), "{error}");
    assert_eq!(home.snapshot().unwrap().commits().unwrap(), 1);
}

#[test]
fn a_copy_that_wrote_is_named_and_both_branches_live_on() {
    let twin = || {
        Engine::builder()
            .label("twin")
            .dataset_name("home")
            .entropy(|| [7; 16])
            .in_memory()
            .unwrap()
    };
    let (original, copy) = (twin(), twin());
    let id = EntityId::from_bytes([1; 16]);
    for (engine, name) in [(&original, "one"), (&copy, "two")] {
        engine
            .write(|tx| tx.create_with_id(id, "lamp", &Content::new().with("name", name)))
            .unwrap();
    }
    assert_eq!(original.log_id(), copy.log_id());
    let log = original.log_id().unwrap();
    let (report, _) = sync_in_process(&original, &copy).unwrap();
    assert_eq!(
        (report.forks.len(), report.forks[0].log, report.forks[0].after),
        (1, log, Sequence::START)
    );
    assert_eq!(report.left_log, Some(log));
    for engine in [&original, &copy] {
        let snapshot = engine.snapshot().unwrap();
        assert_eq!((snapshot.commits().unwrap(), snapshot.forks().unwrap().len()), (2, 1));
        assert_eq!(snapshot.clock().unwrap().len(), 2);
        assert!(snapshot.conflict(id).unwrap().is_some());
        // each goes on under a log of its own
        engine.write(|tx| tx.patch(id, Patch::new().set("name", "mine"))).unwrap();
        assert_ne!(engine.log_id(), Some(log));
        assert_eq!(engine.verify().unwrap().problems, []);
    }
    sync_in_process(&original, &copy).unwrap();
    assert_eq!(
        original.snapshot().unwrap().log_root().unwrap(),
        copy.snapshot().unwrap().log_root().unwrap()
    );
}

/// The phone is lost after it wrote and synced more; its backup writes before it first meets the
/// hub.
#[test]
fn a_backup_syncs_as_a_store_that_nobody_knows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    let (phone, hub) = (engine("phone"), engine("hub"));
    let lamp = create(&phone, "desk");
    sync_in_process(&phone, &hub).unwrap();
    phone.backup(&path).unwrap();
    set(&phone, lamp, "brightness", 2);
    let radio = create(&phone, "radio");
    let (lost, _) = sync_in_process(&phone, &hub).unwrap();
    assert_eq!(lost.outcome, Outcome::Verified);
    phone.close().unwrap();

    let phone = Engine::builder().label("phone").dataset_name("home").open(&path).unwrap();
    set(&phone, lamp, "room", "hall");
    let clock = create(&phone, "clock");
    let (report, _) = sync_in_process(&phone, &hub).unwrap();
    assert_eq!(
        (report.outcome, report.versions_received, report.versions_sent),
        (Outcome::Verified, 2, 2)
    );
    assert_equal(&[&phone, &hub]);
    let snapshot = phone.snapshot().unwrap();
    let shown = snapshot.get(lamp).unwrap().unwrap();
    assert_eq!(shown.get("brightness").unwrap(), Some(2.into()));
    assert_eq!(shown.get("room").unwrap(), Some("hall".into()));
    assert!(snapshot.get(radio).unwrap().is_some() && snapshot.get(clock).unwrap().is_some());
    assert_eq!(hub.status().unwrap().peers.len(), 2, "the phone that was, and the one that is");
}

#[test]
fn a_hub_serves_clients_that_write_while_they_sync() {
    let hub = engine("hub");
    let server = PlainTcpListener::bind_loopback()
        .unwrap()
        .serve(hub.clone(), Config::default(), |_| ())
        .unwrap();
    let address = server.local_addr();
    let clients: Vec<Engine> = ["a", "b", "c", "d"].map(engine).into();
    thread::scope(|scope| {
        for (seed, client) in clients.iter().enumerate() {
            scope.spawn(move || {
                let mut random = Random(seed as u64);
                for _ in 0..4 {
                    for _ in 0..15 {
                        write(client, &mut random);
                    }
                    let writer = scope.spawn({
                        let client = client.clone();
                        move || create(&client, "meanwhile")
                    });
                    sync_plain_tcp(address, client).unwrap();
                    writer.join().unwrap();
                }
            });
        }
    });
    for client in clients.iter().chain(&clients) {
        sync_plain_tcp(address, client).unwrap();
    }
    server.stop();
    let all: Vec<&Engine> = clients.iter().chain([&hub]).collect();
    assert_equal(&all);
}

#[test]
fn megabytes_each_way_over_a_socket_are_counted_and_told() {
    let (a, b) = (engine("a"), engine("b"));
    for (engine, seed) in [(&a, 1), (&b, 100)] {
        for at in 0..20 {
            let blob = Value::Bytes(Random(seed + at).bytes(500 << 10));
            engine.write(|tx| tx.create("blob", &Content::new().with("bytes", blob))).unwrap();
        }
    }
    let listener = PlainTcpListener::bind_loopback().unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| listener.accept_one(&b, Config::default()).unwrap());
        let mut steps = 0;
        let link = PlainTcp::connect(address).unwrap();
        let report = link.initiate(&a, Config::default(), &Cancel::new(), |_| steps += 1).unwrap();
        let theirs = other.join().unwrap();
        assert_eq!((report.commits_sent, report.commits_received), (20, 20));
        assert_eq!((report.bytes_out, report.bytes_in), (theirs.bytes_in, theirs.bytes_out));
        assert!((5..=20).contains(&report.durable_commits), "{report:?}");
        assert!(steps > 10);
    });
    assert_equal(&[&a, &b]);
}

#[test]
fn peers_that_never_wrote_sync_too() {
    let (a, b, c) = (engine("a"), engine("b"), engine("c"));
    create(&a, "lamp");
    sync_in_process(&a, &b).unwrap();
    sync_in_process(&b, &c).unwrap();
    let (report, _) = sync_in_process(&c, &b).unwrap();
    assert_eq!(
        (report.outcome, report.peer),
        (Outcome::AlreadyEqual, Some(b.replication().node().unwrap()))
    );
    assert_equal(&[&a, &b, &c]);
}

#[test]
fn what_is_local_never_enters_a_session() {
    let local = |b: heirloom::Builder| b.local_type("draft").in_memory().unwrap();
    let draft = |e: &Engine| {
        e.write(|tx| tx.create("draft", &Content::new().with("text", "mine"))).unwrap()
    };
    // it wrote before it had a dataset
    let phone = local(Engine::builder().label("phone"));
    let (mine, hub) = (draft(&phone), local(Engine::builder().label("hub").dataset_name("home")));
    create(&hub, "desk");
    draft(&hub);
    sync_in_process(&phone, &hub).unwrap();
    assert_eq!(phone.dataset(), hub.dataset());
    for _ in 0..2 {
        let lamp = create(&phone, "window");
        draft(&phone);
        set(&phone, mine, "text", "still mine");
        let (report, other) = sync_in_process(&phone, &hub).unwrap();
        assert_eq!((report.versions_sent, other.versions_sent), (1, 0));
        assert!(hub.snapshot().unwrap().get(lamp).unwrap().is_some());
        assert_eq!(phone.status().unwrap().peers[0].pending, 0);
    }
    draft(&phone);
    let (report, _) = sync_in_process(&phone, &hub).unwrap();
    assert_eq!(report.outcome, Outcome::AlreadyEqual);
    assert_eq!(phone.log_root().unwrap(), hub.log_root().unwrap());
    assert_eq!(phone.state_digest().unwrap(), hub.state_digest().unwrap());
    for (engine, drafts) in [(&phone, 4), (&hub, 1)] {
        assert_eq!(engine.snapshot().unwrap().list("draft").count().unwrap(), drafts);
        assert!(engine.verify().unwrap().is_clean());
    }
}

#[test]
fn a_pointer_to_a_replica_is_a_replica() {
    fn position(replica: impl Replica) -> u64 {
        replica.position().unwrap().lsn.get()
    }
    let a = engine("a");
    create(&a, "lamp");
    assert_eq!((position(&a), position(Arc::new(a.clone())), position(a)), (1, 1, 1));
}

#[test]
fn both_ends_are_told_how_far_their_clocks_differ() {
    let at = |millis| Config::new().wall_time(Timestamp::from_millis(millis));
    let (a, b) = (engine("a"), engine("b"));
    let (report, other) = sync_in_process_with(&a, at(5_000), &b, at(3_000)).unwrap();
    assert_eq!((report.clock_skew_ms, other.clock_skew_ms), (Some(-2_000), Some(2_000)));
}

#[test]
fn the_status_tells_which_changes_a_peer_and_the_hub_hold() {
    let (phone, tablet, hub) = (engine("phone"), engine("tablet"), engine("hub"));
    let to_hub = |engine: &Engine| {
        Link { config: Config::new().peer_is_hub(true), ..Link::default() }
            .sync(engine, &hub)
            .unwrap();
    };
    let lamp = create(&phone, "desk");
    assert_eq!(phone.status().unwrap().pending_at_hub(), None, "no hub was met");
    to_hub(&phone);
    assert_eq!(phone.status().unwrap().pending_at_hub(), Some(0));

    set(&phone, lamp, "name", "bed");
    set(&phone, lamp, "brightness", 3);
    let status = phone.status().unwrap();
    assert_eq!((status.commits, status.pending_at_hub()), (3, Some(2)));
    let hub_node = hub.replication().node().unwrap();
    let waiting: Vec<_> = phone.pending(hub_node).unwrap().map(Result::unwrap).collect();
    assert_eq!(waiting.iter().map(|c| c.version().sequence.get()).collect::<Vec<_>>(), [2, 3]);
    let last = waiting[1].version();
    assert_eq!(phone.status_of(&last).unwrap().held_by, []);

    // the tablet holds it, and the hub does not
    sync_in_process(&phone, &tablet).unwrap();
    let tablet_node = tablet.replication().node().unwrap();
    let where_it_is = phone.status_of(&last).unwrap();
    assert_eq!((where_it_is.held_by, where_it_is.is_at_hub), (vec![tablet_node], false));
    assert!(
        waiting[1].is_held_by(tablet_node).unwrap() && !waiting[1].is_held_by(hub_node).unwrap()
    );
    assert_eq!(phone.pending(tablet_node).unwrap().count(), 0);
    assert_eq!(
        tablet.status().unwrap().peers[0].pending,
        0,
        "what others wrote is not the tablet's to deliver"
    );

    // through the tablet it reaches the hub; the phone learns that when it asks
    to_hub(&tablet);
    assert!(!phone.status_of(&last).unwrap().is_at_hub);
    to_hub(&phone);
    assert!(phone.status_of(&last).unwrap().is_at_hub);
    assert_eq!(phone.status().unwrap().pending_at_hub(), Some(0));
}

#[test]
fn a_hub_stays_one_until_somebody_says_otherwise() {
    let (phone, hub) = (engine("phone"), engine("hub"));
    let node = hub.replication().node().unwrap();
    create(&phone, "desk");
    let pending = || phone.status().unwrap().pending_at_hub();
    let meet = |config: Config| sync_in_process_with(&phone, config, &hub, Config::new());
    meet(Config::new().peer_is_hub(true)).unwrap();
    assert_eq!(pending(), Some(0));

    // equal, with commits, broken off, turned away: none of them says anything of it
    meet(Config::new()).unwrap();
    assert_eq!(pending(), Some(0));
    create(&phone, "bed");
    meet(Config::new()).unwrap();
    assert_eq!(pending(), Some(0));
    create(&hub, "hall");
    for cut in [200, 400, 500] {
        create(&phone, "more");
        drop(Link::breaking(cut).sync(&phone, &hub));
        assert!(pending().is_some(), "cut at {cut}");
    }
    let refusing = Config::new().lone_logs(0);
    let stranger = engine("stranger");
    create(&stranger, "lamp");
    sync_in_process(&stranger, &hub).unwrap();
    let refused = meet(refusing).unwrap_err();
    assert!(matches!(refused, SyncError::NotAdmitted { .. }), "{refused}");
    assert!(pending().is_some());

    meet(Config::new().peer_is_hub(false)).unwrap();
    assert_eq!(pending(), None);
    meet(Config::new().peer_is_hub(true)).unwrap();
    phone.forget_peer(node).unwrap();
    assert_eq!((pending(), phone.status().unwrap().peers.len()), (None, 0));
    phone.forget_peer(node).unwrap();
    meet(Config::new()).unwrap();
    assert_eq!((pending(), phone.status().unwrap().peers.len()), (None, 1), "met as a stranger");
}

#[test]
fn a_session_with_oneself_is_refused_by_name() {
    let phone = engine("phone");
    create(&phone, "desk");
    let config = || Config::new().peer_is_hub(true);
    let own = phone.replication().node().unwrap();
    let outcome = Link { config: config(), ..Link::default() }.sync(&phone, &phone.clone());
    for end in [outcome.a, outcome.b] {
        let error = end.unwrap_err();
        assert!(matches!(error, SyncError::Oneself { node } if node == own), "{error}");
        assert!(error.to_string().contains(&own.to_string()) && !error.is_transient());
    }
    let status = phone.status().unwrap();
    assert_eq!((status.pending_at_hub(), status.peers.len()), (None, 0), "nothing is safe");
    let refused = sync_in_process(&phone, &phone).unwrap_err();
    assert!(matches!(refused, SyncError::Oneself { .. }), "{refused}");

    // what is opened again later is the same store, and a peer that was met stays one
    let hub = engine("hub");
    sync_in_process_with(&phone, config(), &hub, Config::new()).unwrap();
    assert!(sync_in_process(&phone, &phone).is_err());
    assert_eq!(phone.status().unwrap().pending_at_hub(), Some(0));
}

#[test]
fn a_store_that_was_given_a_dataset_keeps_it_and_both_are_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| Engine::builder().dataset_name(name).open(dir.path().join("store"));
    let (empty, office) = (open("home").unwrap(), Engine::builder().dataset_name("office"));
    let office = office.in_memory().unwrap();
    create(&office, "desk");
    let outcome = Link::default().sync(&empty, &office);
    let at_empty = outcome.a.unwrap_err();
    let SyncError::WrongDataset { ours, theirs } = &at_empty else { panic!("{at_empty}") };
    assert_eq!((ours.name.as_deref(), theirs.name.as_deref()), (Some("home"), Some("office")));
    assert_eq!(theirs.id, DatasetId::from_name("office"));
    let text = at_empty.to_string();
    assert!(text.contains("\"home\"") && text.contains("\"office\""), "{text}");
    let at_office = outcome.b.unwrap_err();
    assert!(at_office.to_string().contains("\"office\""), "{at_office}");
    assert_eq!(empty.snapshot().unwrap().commits().unwrap(), 0);
    empty.close().unwrap();
    let again = open("home").unwrap();
    assert_eq!(again.dataset(), Some(DatasetId::from_name("home")));
    // nor does another caller of the engine give it another
    assert!(again.replication().adopt(DatasetId::from_name("office")).is_err());
}
