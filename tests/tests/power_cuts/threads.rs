//! Several threads share their way to the disk when its power goes; others read, and send what they
//! read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use heirloom::{Content, Patch, Value};
use heirloom_tests::disk::Disk;
use heirloom_tests::random::Random;
use heirloom_tests::workload::survey::{Handed, assert_sound};
use heirloom_tests::workload::{self as workload, entity};

use crate::times;

const WRITERS: u8 = 4;

#[test]
fn what_any_thread_was_told_is_there_after_a_cut() {
    for seed in 0..12 * times() {
        run(seed);
    }
}

fn run(seed: u64) {
    let disk = Disk::new();
    let engine = workload::open(&disk, 64 << 10).unwrap();
    for writer in 0..WRITERS {
        let lamp = Content::new().with("n", 0).with("room", 1);
        engine.write(|tx| tx.create_with_id(entity(writer), "lamp", &lamp)).unwrap();
    }
    disk.cut_at(disk.counts().changes + 1 + Random::new(seed).below(600) as u64);
    let over = AtomicBool::new(false);
    let (acknowledged, handed) = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let engine = &engine;
                scope.spawn(move || {
                    let patch = |n: i64| Patch::new().set("n", n).set("room", n % workload::ROOMS);
                    (1..)
                        .take_while(|n| {
                            engine.write(|tx| tx.patch(entity(writer), patch(*n))).is_ok()
                        })
                        .last()
                })
            })
            .collect();
        let (engine, over) = (&engine, &over);
        let reader = scope.spawn(move || {
            let mut handed = Handed::default();
            while !over.load(Ordering::Relaxed) {
                handed = Handed::by(engine);
            }
            handed
        });
        let acknowledged: Vec<i64> =
            writers.into_iter().map(|w| w.join().unwrap().unwrap_or(0)).collect();
        over.store(true, Ordering::Relaxed);
        (acknowledged, [reader.join().unwrap(), Handed::by(engine)])
    });
    drop(engine);
    let engine = workload::open(&disk.after_a_cut(seed), 1 << 20).unwrap();
    let context = format!("seed {seed}");
    assert_sound(&engine, &context);
    handed.iter().for_each(|handed| handed.assert_in(&engine, &context));
    let snapshot = engine.snapshot().unwrap();
    for (writer, told) in (0..WRITERS).zip(acknowledged) {
        let found = snapshot.get(entity(writer)).unwrap().unwrap().get("n").unwrap();
        let possible = [told, told + 1].map(|n| Some(Value::from(n)));
        assert!(
            possible.contains(&found),
            "{context}: {found:?} of writer {writer}, who was told {told}"
        );
        // one version for each number: nothing is there twice, nothing between was lost
        let history = snapshot.history(entity(writer)).unwrap().count() as i64;
        assert_eq!(found, Some(Value::from(history - 1)), "{context}");
    }
}
