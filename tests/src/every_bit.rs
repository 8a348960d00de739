//! A store with one bit of its file flipped, each bit in turn: opened, verified, read, repaired, read again. Nothing
//! panics; nothing false is told unless `verify` names a place; `repair` makes it right or says what it left, and
//! does not find the same again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use heirloom::{Cursor, Engine, Error};

use crate::{
    disk::Disk,
    specimen::{self, Survey, kind_of, survey},
};

/// What came of all flips.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Tally {
    /// Bits that were flipped, each in a file of its own.
    pub openings: u64,
    /// Of those that made no difference: nothing is read from there.
    pub without_effect: u64,
    /// The store did not open, by the kind of error.
    pub refused: BTreeMap<String, u64>,
    /// `verify` named a place.
    pub named: u64,
    /// Something that was read was an error.
    pub errors: u64,
    /// After `repair` all was as it was before the flip.
    pub mended: u64,
    /// After `repair` commits await a peer that has them.
    pub awaited: u64,
    /// `repair` said what it left.
    pub left: u64,
    /// `repair` was refused, by the kind of error.
    pub unrepaired: BTreeMap<String, u64>,
    /// Tables that were made anew because their tree was broken.
    pub remade: u64,
    /// Flips with which something is wrong: the bit, and what.
    pub failures: Vec<(u64, String)>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.openings += other.openings;
        self.without_effect += other.without_effect;
        self.named += other.named;
        self.errors += other.errors;
        self.mended += other.mended;
        self.awaited += other.awaited;
        self.left += other.left;
        self.remade += other.remade;
        for (kind, n) in other.refused {
            *self.refused.entry(kind).or_default() += n;
        }
        for (kind, n) in other.unrepaired {
            *self.unrepaired.entry(kind).or_default() += n;
        }
        self.failures.extend(other.failures);
    }
}

/// The store and what it tells while it is sound.
pub struct Scene {
    image: Vec<u8>,
    truth: Survey,
}

impl Default for Scene {
    fn default() -> Self {
        let image = specimen::smallest();
        let engine = open(image.clone()).expect("it is sound");
        let truth = everything(&engine);
        assert!(engine.verify().expect("it is sound").is_clean());
        Self { image, truth }
    }
}

impl Scene {
    /// How many bits there are.
    pub fn bits(&self) -> u64 {
        self.image.len() as u64 * 8
    }

    /// Flips every so many of all bits, from one on. `progress` is told how many are done, now and then.
    pub fn run(&self, from: u64, every: u64, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Tally {
        let (next, total) = (AtomicU64::new(0), Mutex::new(Tally::default()));
        let count = self.bits().saturating_sub(from).div_ceil(every.max(1));
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    let mut mine = Tally::default();
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            break;
                        }
                        mine.add(self.flip(from + n * every.max(1)));
                        progress(n + 1);
                    }
                    total.lock().unwrap_or_else(PoisonError::into_inner).add(mine);
                });
            }
        });
        let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
        total.failures.sort();
        total
    }

    /// One flip.
    pub fn flip(&self, bit: u64) -> Tally {
        let mut image = self.image.clone();
        image[bit as usize / 8] ^= 1 << (bit % 8);
        let mut tally = Tally { openings: 1, ..Tally::default() };
        match catch_unwind(AssertUnwindSafe(|| self.look(image, &mut tally))) {
            Ok(Ok(())) => {}
            Ok(Err(wrong)) => tally.failures.push((bit, wrong)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                tally.failures.push((bit, format!("a panic: {}", text.unwrap_or_default())));
            }
        }
        tally
    }

    fn look(&self, image: Vec<u8>, tally: &mut Tally) -> Result<(), String> {
        let disk = Disk::holding(image);
        let engine = match specimen::builder().open_backend(disk.clone()) {
            Ok(engine) => engine,
            Err(error) => {
                told(&error)?;
                *tally.refused.entry(kind_of(&error)).or_default() += 1;
                return Ok(());
            }
        };
        let verified = engine.verify().map_err(|e| format!("verify goes on where something is damaged: {e:?}"))?;
        let found = everything(&engine);
        let (wrong, errors) = self.differences(&found);
        if verified.is_clean() && (!wrong.is_empty() || errors > 0) {
            return Err(format!("verify finds nothing; wrong: {wrong:?}, and {errors} errors"));
        }
        tally.named += u64::from(!verified.is_clean());
        tally.errors += u64::from(errors > 0);
        if verified.is_clean() {
            tally.without_effect += 1;
        } else {
            self.repair(&engine, tally)?;
        }
        // what redb writes when it closes may fail, too; what is there must then still be told
        drop(engine.close().map_err(|error| told(&error)));
        drop(engine);
        match specimen::builder().open_backend(disk) {
            Err(error) => told(&error),
            Ok(again) => match again.verify() {
                Err(error) => Err(format!("verify, opened again: {error:?}")),
                Ok(verified) => {
                    let found = everything(&again);
                    let (wrong, errors) = self.differences(&found);
                    if verified.is_clean() && (!wrong.is_empty() || errors > 0) {
                        return Err(format!("opened again: wrong: {wrong:?}, and {errors} errors"));
                    }
                    Ok(())
                }
            },
        }
    }

    fn repair(&self, engine: &Engine, tally: &mut Tally) -> Result<(), String> {
        let repaired = match engine.repair() {
            Ok(repaired) => repaired,
            Err(error) => {
                told(&error)?;
                *tally.unrepaired.entry(kind_of(&error)).or_default() += 1;
                return Ok(());
            }
        };
        tally.remade += repaired.remade_tables;
        tally.awaited += u64::from(repaired.damaged_commits > 0);
        let found = everything(engine);
        let (wrong, errors) = self.differences(&found);
        if repaired.left.is_empty() {
            // who was met may be forgotten, which repair says
            if !wrong.is_empty() || errors > 0 {
                return Err(format!("repaired, and {wrong:?} and {errors} errors: {repaired:?}"));
            }
            tally.mended += 1;
        } else {
            tally.left += 1;
        }
        match engine.repair() {
            Ok(again) if again.mended.is_empty() && again.remade_tables == 0 => Ok(()),
            Ok(again) => Err(format!("repair does the same again: {again:?} after {repaired:?}")),
            Err(error) => Err(format!("a second repair fails: {error:?} after {repaired:?}")),
        }
    }

    /// What is told otherwise than it is, and how many errors there are.
    fn differences(&self, found: &Survey) -> (Vec<String>, u64) {
        let (mut wrong, mut errors) = (Vec::new(), 0);
        for (what, read) in found {
            match (read, self.truth.get(what)) {
                (read, Some(truth)) if read == truth => {}
                // saves work, and is as good as forgotten
                (Ok(_), _) if what == "staged" || what == "peers" => {}
                (Ok(_), _) => wrong.push(what.clone()),
                (Err(_), _) => errors += 1,
            }
        }
        (wrong, errors)
    }
}

fn open(image: Vec<u8>) -> heirloom::Result<Engine> {
    specimen::builder().open_backend(Disk::holding(image))
}

/// It is the file's fault, and said so.
fn told(error: &Error) -> Result<(), String> {
    let of_the_file = matches!(
        error,
        Error::Corrupt { .. }
            | Error::NotAStore
            | Error::UnknownFormat { .. }
            | Error::WrongDataset { .. }
            | Error::Storage(_)
            | Error::Poisoned
            | Error::Closed
    );
    if of_the_file { Ok(()) } else { Err(format!("an error that says something else: {error:?}")) }
}

/// All that is told, the change log and what is open too.
fn everything(engine: &Engine) -> Survey {
    let mut out = survey(engine);
    let mut note = |what: &str, read: Result<String, Error>| {
        drop(out.insert(what.to_owned(), read.map_err(|error| kind_of(&error))));
    };
    let mut changes = String::new();
    let read = engine.changes(Cursor::START).take(1000).try_for_each(|change| {
        let _ = write!(changes, "{} ", change?.version());
        Ok::<_, Error>(())
    });
    note("changes", read.map(|()| changes));
    let snapshot = match engine.snapshot() {
        Ok(snapshot) => snapshot,
        Err(error) => {
            note("snapshot", Err(error));
            return out;
        }
    };
    let unsettled = snapshot.unsettled().and_then(|ids| ids.collect::<Result<Vec<_>, _>>());
    note("unsettled", unsettled.map(|ids| format!("{ids:?}")));
    let conflicts = snapshot.conflicts().take(1000).collect::<Result<Vec<_>, _>>();
    note("conflicts", conflicts.map(|conflicts| format!("{conflicts:?}")));
    let ids = snapshot.entity_ids().and_then(|ids| ids.collect::<Result<Vec<_>, _>>());
    note("ids", ids.map(|ids| format!("{ids:?}")));
    out
}
