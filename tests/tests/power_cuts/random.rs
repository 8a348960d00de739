//! Workloads from a seed, with one cut after another, also while the store recovers from the one
//! before.

use heirloom_tests::disk::Disk;
use heirloom_tests::random::Random;
use heirloom_tests::workload::survey::{Handed, assert_sound, differences, survey};
use heirloom_tests::workload::{self as script, Step};

use crate::times;

#[test]
fn random_cuts_lose_nothing_that_was_acknowledged() {
    let strangers: Vec<_> = [("tablet", &[0, 1, 2, 40][..], 100), ("laptop", &[2, 3, 41], 60_000)]
        .map(|(label, ids, bytes)| script::elsewhere(label, ids, bytes))
        .into();
    for seed in 0..30 * times() {
        run(seed, &strangers);
    }
}

fn run(seed: u64, strangers: &[Vec<Vec<u8>>]) {
    let mut random = Random::new(seed);
    let twin = script::twin();
    let cache = random.pick(&[16 << 10, 64 << 10, 16 << 20]);
    let mut disk = Disk::new();
    script::open(&disk, cache).unwrap().close().unwrap();
    let mut pending: Option<Step> = None;
    for round in 0..6 {
        disk.cut_at(disk.counts().changes + random.of_any_size(9) as u64);
        let context = format!("seed {seed}, round {round}");
        // until the disk is off
        let handed = match script::open(&disk, cache) {
            Ok(engine) => {
                settle(&engine, &twin, pending.take(), &context);
                let (handed, on_its_way) = work(&engine, &twin, &mut random, strangers, &disk);
                pending = on_its_way;
                handed
            }
            Err(_) => Handed::default(),
        };
        assert!(disk.is_off(), "{context}");
        disk = if random.percent(20) {
            disk.after_a_kill()
        } else {
            disk.after_a_cut(random.below(1 << 30) as u64)
        };
        if random.percent(50) {
            let engine = script::open(&disk, cache).unwrap();
            settle(&engine, &twin, pending.take(), &context);
            handed.assert_in(&engine, &context);
            if random.percent(50) {
                engine.close().unwrap();
            }
        }
    }
}

/// Either nothing of the step on its way is there, or all of it; then the twin takes it too.
fn settle(
    engine: &heirloom::Engine,
    twin: &heirloom::Engine,
    pending: Option<Step>,
    context: &str,
) {
    assert_sound(engine, context);
    let found = survey(engine).unwrap();
    let before = survey(twin).unwrap();
    if found == before {
        return;
    }
    let Some(step) = pending else { panic!("{context}: {:#?}", differences(&found, &before)) };
    step.run(twin).unwrap();
    let after = survey(twin).unwrap();
    assert!(found == after, "{context}, {step:?}: {:#?}", differences(&found, &after));
}

/// Steps until one fails: what was handed out, and that step.
fn work(
    engine: &heirloom::Engine,
    twin: &heirloom::Engine,
    random: &mut Random,
    strangers: &[Vec<Vec<u8>>],
    disk: &Disk,
) -> (Handed, Option<Step>) {
    loop {
        let step = script::any_step(random, strangers);
        if step.run(engine).is_err() {
            assert!(disk.is_off(), "{step:?} fails without a cause");
            return (Handed::by(engine), Some(step));
        }
        step.run(twin).unwrap();
        if disk.is_off() {
            // the cut struck what redb does beside a commit
            return (Handed::by(engine), None);
        }
    }
}
