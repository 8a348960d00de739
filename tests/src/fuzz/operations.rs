//! A tape as steps of an application on a disk that fails as the tape says. Whatever fails, it is a
//! typed error, and after opening again the store holds what a twin in memory holds that took each
//! acknowledged step, and the one on its way wholly or not at all.

use std::sync::OnceLock;

use heirloom::{Engine, Error};

use crate::disk::{Disk, Faults};
use crate::random::Random;
use crate::workload::survey::{assert_sound, differences, survey};
use crate::workload::{self, Step};

const STEPS_MAX: usize = 30;

/// See the module.
pub fn run(tape: &[u8]) {
    let mut random = Random::tape(tape);
    let cache = random.pick(&[16 << 20, 16 << 10]);
    let twin = workload::twin();
    let mut disk = Disk::new();
    let mut engine = workload::open(&disk, cache).expect("nothing fails yet");
    for _ in 0..STEPS_MAX {
        if random.is_spent() {
            break;
        }
        disk.set_faults(faults(&disk, &mut random));
        let step = workload::any_step(&mut random, strangers());
        let done = step.run(&engine);
        disk.set_faults(Faults::default());
        if !disk.has_failed() {
            done.unwrap_or_else(|error| panic!("{step:?} fails without a cause: {error:?}"));
            step.run(&twin).expect("the same");
            if random.percent(5) {
                engine.close().expect("nothing failed");
                engine = workload::open(&disk, cache).expect("it was closed");
            }
            continue;
        }
        if let Err(error) = &done {
            assert!(matches!(error, Error::Storage(_) | Error::Poisoned), "{step:?}: {error:?}");
        }
        drop(engine);
        let is_cut = disk.is_off() || random.percent(50);
        disk =
            if is_cut { disk.after_a_cut(random.below(256) as u64) } else { disk.after_a_kill() };
        engine = workload::open(&disk, cache).expect("nothing fails any more");
        if settle(&engine, &twin, &step) {
            continue;
        }
        assert!(done.is_err(), "{step:?} was acknowledged and is gone");
    }
    settle(&engine, &twin, &Step::Drain);
}

/// Whether the step is there; then the twin takes it, too.
fn settle(engine: &Engine, twin: &Engine, step: &Step) -> bool {
    assert_sound(engine, "after a failure");
    let (found, before) = (survey(engine).expect("readable"), survey(twin).expect("readable"));
    if found == before {
        // some steps change nothing that can be seen
        step.run(twin).expect("the twin has no disk");
        let changes_nothing = survey(twin).expect("readable") == before;
        if !changes_nothing {
            step.run(engine).unwrap_or_else(|error| panic!("{step:?} once more: {error:?}"));
        }
        return changes_nothing;
    }
    step.run(twin).expect("the twin has no disk");
    let after = survey(twin).expect("readable");
    assert!(found == after, "{step:?}: {:#?}", differences(&found, &after));
    true
}

/// Mostly nothing goes wrong.
fn faults(disk: &Disk, random: &mut Random) -> Faults {
    let (now, none) = (disk.counts(), Faults::default());
    let kind = random.below(16);
    if kind > 5 {
        return none;
    }
    let after = 1 + random.below(24) as u64;
    match kind {
        0 => Faults { cut: Some(now.changes + after), ..none },
        1 => Faults { write: Some(now.writes + after), ..none },
        2 => Faults { sync: Some(now.syncs + 1), ..none },
        3 => Faults { read: Some(now.reads + after), ..none },
        4 => Faults { blocks: Some(disk.blocks() + after as usize), ..none },
        _ => Faults { longest: Some(disk.bytes().len() as u64 + 4096 * after), ..none },
    }
}

fn strangers() -> &'static [Vec<Vec<u8>>] {
    static STRANGERS: OnceLock<Vec<Vec<Vec<u8>>>> = OnceLock::new();
    STRANGERS.get_or_init(|| {
        [("tablet", &[0, 1, 2, 40][..], 100), ("laptop", &[2, 3, 41], 60_000)]
            .map(|(label, ids, bytes)| workload::elsewhere(label, ids, bytes))
            .into()
    })
}
