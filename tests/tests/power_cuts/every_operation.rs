//! The power is cut at every single operation of a script, and each cut has several outcomes.

use std::collections::BTreeMap;

use heirloom::{Engine, Result};
use heirloom_tests::disk::{Disk, Faults};
use heirloom_tests::workload::survey::{
    Handed, Survey, assert_sound, differences, kind_of, survey,
};
use heirloom_tests::workload::{self as script, Step};

use crate::times;

/// Most is in memory; nearly nothing is, so that much is written before a commit and read again.
const CACHES: [usize; 2] = [16 << 20, 32 << 10];

/// How far a script came.
struct Played {
    /// Steps that were acknowledged; none if not even opening was.
    acknowledged: Option<usize>,
    handed: Handed,
}

/// The script on a disk, until it fails. In the middle and at the end the store is closed and
/// opened again.
fn play(disk: &Disk, steps: &[Step], cache: usize) -> Played {
    let mut played = Played { acknowledged: None, handed: Handed::default() };
    let Ok(mut engine) = script::open(disk, cache) else { return played };
    played.acknowledged = Some(0);
    for (i, step) in steps.iter().enumerate() {
        if i == steps.len() / 2 {
            played.handed = Handed::by(&engine);
            match reopened(engine, disk, cache) {
                Ok(again) => engine = again,
                Err(_) => return played,
            }
        }
        let done = step.run(&engine);
        played.handed = Handed::by(&engine);
        if done.is_err() {
            return played;
        }
        played.acknowledged = Some(i + 1);
    }
    let _ = engine.close();
    played
}

fn reopened(engine: Engine, disk: &Disk, cache: usize) -> Result<Engine> {
    engine.close()?;
    script::open(disk, cache)
}

/// What is to be found after each number of steps.
fn expected(steps: &[Step]) -> Vec<Survey> {
    let twin = script::twin();
    let mut out = vec![survey(&twin).unwrap()];
    for step in steps {
        step.run(&twin).unwrap();
        out.push(survey(&twin).unwrap());
    }
    assert_sound(&twin, "no cut");
    out
}

/// What was found after a cut: how many steps are there, or what kind of error it was.
fn look(
    disk: &Disk,
    played: &Played,
    steps: &[Step],
    expected: &[Survey],
    context: &str,
) -> std::result::Result<usize, String> {
    let engine = match script::open(disk, CACHES[0]) {
        Ok(engine) => engine,
        Err(error) => return Err(format!("{}: {error:?}", kind_of(&error))),
    };
    let found = survey(&engine).unwrap();
    let least = played.acknowledged.unwrap_or(0);
    let at =
        (least..=least + 1).find(|at| expected.get(*at) == Some(&found)).unwrap_or_else(|| {
            let nearest = &expected[least];
            panic!(
                "{context}: neither {least} steps nor one more: {:#?}",
                differences(&found, nearest)
            )
        });
    assert_sound(&engine, context);
    played.handed.assert_in(&engine, context);
    // it goes on as if nothing had been, with the same sequences
    for step in &steps[at..] {
        step.run(&engine).unwrap_or_else(|error| panic!("{context}: {step:?} after it: {error:?}"));
    }
    let end = survey(&engine).unwrap();
    assert!(
        end == *expected.last().unwrap(),
        "{context}: {:#?}",
        differences(&end, expected.last().unwrap())
    );
    assert_sound(&engine, context);
    engine.close().unwrap();
    Ok(at)
}

#[test]
fn a_cut_at_every_operation_loses_nothing_that_was_acknowledged() {
    let steps = script::everything();
    let expected = expected(&steps);
    let (mut looks, mut one_more, mut unopened) = (0, 0, BTreeMap::<String, u64>::new());
    for cache in CACHES {
        let whole = Disk::new();
        assert_eq!(play(&whole, &steps, cache).acknowledged, Some(steps.len()));
        for cut in 1..=whole.counts().changes {
            let disk = Disk::new();
            disk.cut_at(cut);
            let played = play(&disk, &steps, cache);
            assert!(disk.is_off());
            for outcome in 0..2 * times() {
                let context = format!("cache {cache}, cut at {cut}, outcome {outcome}");
                let after = disk.after_a_cut(cut * 1000 + outcome);
                match look(&after, &played, &steps, &expected, &context) {
                    Ok(at) => one_more += u64::from(at > played.acknowledged.unwrap_or(0)),
                    Err(error) => {
                        // a file that redb had not made yet: nothing was ever in it
                        assert_eq!(played.acknowledged, None, "{context}: {error}");
                        assert!(error.contains("NotAStore"), "{context}: {error}");
                        *unopened.entry(error).or_default() += 1;
                    }
                }
                looks += 1;
            }
        }
    }
    eprintln!("{looks} looks, {one_more} with the one on its way, not opened: {unopened:?}");
    assert!(one_more > 0, "no cut came after a commit was durable and before it was acknowledged");
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let steps = script::everything();
    let expected = expected(&steps);
    let lost = (0..40).filter(|seed| {
        let disk = Disk::new();
        disk.set_faults(Faults { cut: Some(60 + seed * 5), lies: true, ..Faults::default() });
        let played = play(&disk, &steps, CACHES[0]);
        let engine = script::open(&disk.after_a_cut(*seed), CACHES[0]);
        let found = engine.and_then(|engine| survey(&engine));
        !found.is_ok_and(|found| expected[played.acknowledged.unwrap_or(0)..].contains(&found))
    });
    assert!(lost.count() > 10);
}
