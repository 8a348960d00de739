//! A member of the network writes what no honest device would: every kind of void version, bodies
//! that are lies, commits in another's name. All of it is kept, passed on and told; none of it
//! stops anybody, and all agree (R36).

use std::collections::BTreeSet;

use heirloom::{Content, VoidReason};
use heirloom_tests::decoder::{Bodies, Body, Commit, Leaves, MAX_TIME, Rest, Value};
use heirloom_tests::forge::{Author, CommitSpec, Forged, VersionSpec, own};
use heirloom_tests::twins;

use super::network::{Device, START, settle};

/// Writes a commit that was bent on its way.
fn bent(author: &mut Author, spec: &CommitSpec, bend: impl FnOnce(&mut Commit)) -> Forged {
    let mut draft = author.draft(spec);
    bend(&mut draft);
    author.seal(&draft)
}

fn create(n: u8) -> VersionSpec {
    VersionSpec::create([n; 16], "note", own([("text", Value::text("forged"))]))
}

/// One commit for each way to be void, and two whose contents do not fit.
fn forgeries(dataset: [u8; 16]) -> (Vec<Forged>, Vec<VoidReason>) {
    let at = |ms: i64| CommitSpec::at((START + ms) as u64);
    let author = |n: u8| Author::new(dataset, "forger", [n; 16]);
    let mut all = Vec::new();
    let mut forger = author(1);
    all.push(forger.commit(&at(0).version(create(100))));
    all.push(bent(&mut forger, &at(1).version(create(101)).version(create(102)), |c| {
        let Rest::Level1(level1) = &mut c.header.rest else { unreachable!() };
        level1.versions[1].entity = level1.versions[0].entity;
    }));
    all.push(bent(&mut forger, &at(2).version(create(103)), |c| c.header.wall = 1));
    all.push(bent(&mut forger, &at(3).version(create(104)), |c| c.header.excess = 7));
    all.push(bent(&mut forger, &at(4).version(create(105)), |c| {
        let Rest::Level1(level1) = &mut c.header.rest else { unreachable!() };
        (level1.versions[0].parents, level1.versions[0].entity_type) = (vec![(0, 1)], None);
        level1.versions[0].kind = heirloom_tests::decoder::kind::UPDATE;
    }));
    all.push(bent(&mut forger, &at(5).version(create(106)), |c| {
        let Rest::Level1(level1) = &mut c.header.rest else { unreachable!() };
        level1.versions[0].parents = vec![(0, 1)];
        level1.versions[0].entity = [100; 16];
    }));
    all.push(bent(&mut author(2), &at(6).version(create(107)), |c| {
        (c.header.level, c.header.rest) = (2, Rest::Newer(vec![1, 2, 3]));
        c.bodies = Bodies::Newer(vec![0xff; 5]);
    }));
    all.push(bent(&mut author(3), &at(7).version(create(108)), |c| c.header.excess = MAX_TIME));
    // lies about the content: not the state that the header promises, and no state at all
    let mut liar = author(4);
    all.push(liar.commit(&at(8).version(
        create(109).body(Body::Full(heirloom_tests::decoder::full_body(&Leaves::new()))),
    )));
    all.push(liar.commit(&at(9).version(create(110).body(Body::Full(vec![0xff; 9])))));
    use VoidReason::*;
    (all, vec![EntityTwice, Wall, Stamp, Parent, Kind, Level, Time])
}

#[test]
fn the_network_goes_on_all_agree_and_it_is_told() {
    let (phone, tablet, watch) =
        (Device::new("phone", START), Device::new("tablet", START), Device::new("watch", START));
    let id =
        phone.engine.write(|tx| tx.create("note", &Content::new().with("text", "one"))).unwrap();
    settle(&[&phone, &tablet, &watch]);

    let (forged, reasons) = forgeries(*phone.engine.dataset().unwrap().as_bytes());
    let member = Device::new("member", START);
    member.sync(&phone);
    forged.iter().for_each(|commit| drop(twins::ingest(&member.engine, &commit.bytes).unwrap()));

    // by way of an honest relay: told there, and further on
    for [_, report] in [member.sync(&tablet), tablet.sync(&watch)] {
        let told: BTreeSet<_> =
            report.first_voids.iter().map(|void| format!("{:?}", void.reason)).collect();
        assert_eq!(
            told,
            reasons.iter().map(|reason| format!("{reason:?}")).collect(),
            "each way to be void"
        );
        assert_eq!((report.voids, report.unverified > 0), (report.first_voids.len() as u64, true));
        for void in &report.first_voids {
            let text = void.to_string();
            assert!(
                text.starts_with(&format!("version {} of forger-", void.version.sequence)),
                "{text}"
            );
            assert!(text.contains(" has no effect: "), "{text}");
        }
    }
    settle(&[&phone, &tablet, &watch, &member]);
    let listed = |d: &Device| {
        let snapshot = d.engine.snapshot().unwrap();
        let all: Vec<_> = snapshot.voids().unwrap().map(|void| void.unwrap().to_string()).collect();
        all.into_iter().collect::<BTreeSet<String>>()
    };
    assert_eq!(listed(&phone).len(), 8, "two of one commit");
    assert_eq!(listed(&phone), listed(&watch));

    // all go on writing, on what they had and on what the forger wrote by the rules
    phone.edit(id, "two");
    settle(&[&phone, &tablet, &watch, &member]);
    watch.edit(id, "three");
    watch.edit(heirloom::EntityId::from_bytes([100; 16]), "mended");
    settle(&[&phone, &tablet, &watch, &member]);
    assert_eq!([phone.text(id), tablet.text(id), member.text(id)], ["three"; 3]);
}

#[test]
fn in_anothers_name_costs_the_victim_its_log_and_nothing_else() {
    let (phone, tablet) = (Device::new("phone", START), Device::new("tablet", START));
    let id =
        phone.engine.write(|tx| tx.create("note", &Content::new().with("text", "one"))).unwrap();
    settle(&[&phone, &tablet]);
    let log = phone.engine.log_id().unwrap();
    let mut forger = Author::impersonate([&twins::commits_of(&phone.engine)[0][..]]);
    let lie = forger.commit(&CommitSpec::at(START as u64 + 1).version(create(120)));
    twins::ingest(&tablet.engine, &lie.bytes).unwrap();
    settle(&[&phone, &tablet]);

    // the victim does not build on what it did not write
    phone.edit(id, "two");
    assert_ne!(phone.engine.log_id(), Some(log));
    settle(&[&phone, &tablet]);
    assert_eq!(tablet.text(id), "two");
}

#[test]
fn contents_that_were_replaced_on_the_way_are_asked_of_others_and_come_whole() {
    let (phone, tablet, watch) =
        (Device::new("phone", START), Device::new("tablet", START), Device::new("watch", START));
    settle(&[&phone, &tablet, &watch]);
    let dataset = {
        phone.note("settles the dataset");
        settle(&[&phone, &tablet, &watch]);
        *phone.engine.dataset().unwrap().as_bytes()
    };
    // the same commits twice: as they were written, and with contents that a liar put in their
    // place
    let (mut author, mut liar) =
        (Author::new(dataset, "author", [9; 16]), Author::new(dataset, "author", [9; 16]));
    let lie = || Body::Full(heirloom_tests::decoder::full_body(&Leaves::new()));
    for n in 0..3 {
        let at = CommitSpec::at((START + i64::from(n)) as u64);
        let (truth, lie) = (
            author.commit(&at.clone().version(create(50 + n))),
            liar.commit(&at.version(create(50 + n).body(lie()))),
        );
        assert_eq!(truth.chain, lie.chain);
        twins::ingest(&tablet.engine, &truth.bytes).unwrap();
        for lied_to in [&phone, &watch] {
            let report = twins::ingest(&lied_to.engine, &lie.bytes).unwrap();
            assert_eq!((report.unverified, report.voids.len()), (1, 0));
        }
    }
    let id = heirloom::EntityId::from_bytes([51; 16]);
    assert!(matches!(phone.engine.snapshot().unwrap().get(id), Err(heirloom::Error::Absent(_))));

    // both lack the same: nothing to ask
    let [report, _] = phone.sync(&watch);
    assert_eq!((report.round_trips, report.healed), (1, 0));
    // what is written on a content that is absent here cannot be verified either, and blocks
    // nothing
    tablet.edit(id, "edited");
    let [report, other] = phone.sync(&tablet);
    assert_eq!(
        (report.healed, report.unverified, other.healed),
        (3, 0, 0),
        "asked first, so that the edit fits"
    );
    assert_eq!(phone.text(id), "edited");
    let [report, _] = watch.sync(&phone);
    assert_eq!((report.healed, report.unverified), (3, 0));
    assert_eq!(watch.text(heirloom::EntityId::from_bytes([52; 16])), "forged");
    settle(&[&phone, &tablet, &watch]);
    for device in [&phone, &tablet, &watch] {
        let verified = device.engine.verify().unwrap();
        assert!(verified.problems.is_empty() && verified.unverified == 0, "{verified:?}");
    }
}
