//! A device whose clock is years ahead is heard, followed by nobody, and told, and so are the
//! others (R6).

use heirloom::Content;
use heirloom_tests::decoder::MAX_TIME;
use heirloom_tests::forge::{Author, CommitSpec, VersionSpec, own};
use heirloom_tests::twins;
use proptest::prelude::*;

use super::network::{Device, MINUTE, START, YEAR, settle, wall};

#[test]
fn it_moves_nobody_and_everybody_is_told() {
    let (phone, tablet) = (Device::new("phone", START), Device::new("tablet", START + MINUTE));
    let ahead = Device::new("watch", START + 10 * YEAR);
    let id =
        phone.engine.write(|tx| tx.create("note", &Content::new().with("text", "one"))).unwrap();
    phone.sync(&ahead);
    ahead.edit(id, "from the future");

    // the offender learns it from its peers, and they learn its name
    let [at_ahead, at_phone] = ahead.sync(&phone);
    let told = at_ahead.clock_skew().unwrap().to_string();
    assert!(told.starts_with("your clock is 10 years ahead of that of peer "), "{told}");
    assert_eq!(at_phone.clock_skew().unwrap().ahead_ms, -10 * YEAR);
    let name = ahead.engine.device_id().unwrap();
    assert_eq!(
        (&at_phone.clocks_ahead[0].device, at_phone.clocks_ahead[0].by_ms),
        (&name, 10 * YEAR as u64)
    );
    // those who never met it, too
    let [_, at_tablet] = phone.sync(&tablet);
    let told = at_tablet.clocks_ahead[0].to_string();
    assert_eq!(
        told,
        format!(
            "the clock of {name} is 9 years 364 days ahead of this device's; set the one that is \
             wrong"
        )
    );
    assert_eq!(tablet.engine.clocks_ahead().unwrap()[0].device, name);
    assert!(ahead.engine.clocks_ahead().unwrap().is_empty(), "from where it stands all is well");

    // what it wrote counts; the times of the others stay theirs, and what is written on top of it
    // wins
    assert_eq!(tablet.text(id), "from the future");
    tablet.edit(id, "from now");
    assert_eq!(wall(&tablet.engine, id), START + MINUTE);
    settle(&[&phone, &tablet, &ahead]);
    assert_eq!([phone.text(id), tablet.text(id), ahead.text(id)], ["from now"; 3]);

    // put right, its own walls stay ahead, which it is told
    ahead.set_clock(START + 2 * MINUTE);
    let own = &ahead.engine.clocks_ahead().unwrap()[0];
    assert_eq!(Some(own.log), ahead.engine.log_id());
    assert!(ahead.write() >= START + 10 * YEAR, "never back within a log");
    settle(&[&phone, &tablet, &ahead]);
    assert_eq!(phone.write(), START + MINUTE, "the tablet's minute, and no more");
}

#[test]
fn a_line_of_devices_each_a_little_ahead_pulls_nobody_further_than_five_minutes() {
    let line: Vec<Device> =
        (0..12).map(|i| Device::new(&format!("d{i}"), START + i * 4 * MINUTE)).collect();
    line[11].write();
    for _ in 0..3 {
        for i in (0..11).rev() {
            line[i].sync(&line[i + 1]);
            let (now, wall) = (START + i as i64 * 4 * MINUTE, line[i].write());
            assert!((now..=now + 5 * MINUTE).contains(&wall), "device {i}: {} too far", wall - now);
        }
    }
    settle(&line.iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// As many wrong clocks as you like, forged ones too: an honest wall is never more than five
    /// minutes from its own clock, and never goes back, also over a restart.
    #[test]
    fn no_number_of_wrong_clocks_moves_an_honest_one_by_more_than_five_minutes(
        acts in prop::collection::vec(
            (0..6usize, prop_oneof![
                -20 * MINUTE..20 * MINUTE, Just(5 * MINUTE), Just(5 * MINUTE + 1), any::<i64>(),
            ], any::<bool>(), 0..3 * MINUTE),
            1..24,
        ),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let mut now = START;
        let mut honest = Device::open("honest", now, &path);
        let mut last = honest.write();
        let dataset = *honest.engine.dataset().unwrap().as_bytes();
        let mut wrong: Vec<Author> =
            (0..6u8).map(|i| Author::new(dataset, "wrong", [i + 1; 16])).collect();
        for (n, (who, off, restarts, passes)) in acts.into_iter().enumerate() {
            now += passes;
            if restarts {
                honest.engine.close().unwrap();
                honest = Device::open("honest", now, &path);
            }
            honest.set_clock(now);
            let at = now.saturating_add(off).clamp(0, MAX_TIME as i64) as u64;
            let entity = [n as u8 + 1; 16];
            let note = VersionSpec::create(entity, "note", own([]));
            let made = wrong[who].commit(&CommitSpec::at(at).version(note));
            let report = twins::ingest(&honest.engine, &made.bytes).unwrap();
            prop_assert!(report.voids.is_empty(), "{:?}", report.voids);
            let wall = honest.write();
            prop_assert!((now..=now + 5 * MINUTE).contains(&wall), "{} ms from its own clock",
                wall - now);
            prop_assert!(wall >= last, "back by {} ms", last - wall);
            last = wall;
        }
    }
}
