//! A store with one bit of its file flipped, each bit in turn: opened, verified, read, repaired,
//! read again. Nothing panics; nothing false is told unless `verify` names a place; `repair` makes
//! it right or says what it left, and does not find the same again.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use heirloom::{Cursor, Engine, Error};

use crate::disk::Disk;
use crate::specimen::{self, Survey, kind_of, survey};
use crate::tables_part::tables_at;

const BLOCK: usize = 4096;
/// Bytes of the first page that say something.
const FIRST: usize = 32;

/// What came of a flip, in some words; behind a bar the details.
pub type Found = Vec<String>;

/// How a word begins that says that something is wrong.
pub const WRONG: &str = "WRONG: ";

/// The store and what it tells while it is sound.
pub struct Scene {
    image: Vec<u8>,
    /// Bytes of it that somebody wrote: all but the rest of the first page and of the ring.
    written: Vec<usize>,
    truth: Survey,
}

impl Default for Scene {
    fn default() -> Self {
        let image = specimen::smallest_with_a_journal();
        let tables_at = tables_at(&image) as usize;
        let is_written = |at: &usize| match at / BLOCK {
            _ if *at >= tables_at => true,
            0 => *at < FIRST,
            block => image[block * BLOCK..][..BLOCK].iter().any(|byte| *byte != 0),
        };
        let written = (0..image.len()).filter(is_written).collect();
        let engine = open(image.clone()).expect("it is sound");
        let truth = everything(&engine);
        assert!(engine.verify().expect("it is sound").is_clean());
        Self { image, written, truth }
    }
}

impl Scene {
    /// How many bits there are.
    pub fn bits(&self) -> u64 {
        self.written.len() as u64 * 8
    }

    /// One flip.
    pub fn flip(&self, bit: u64) -> Found {
        let mut image = self.image.clone();
        image[self.written[bit as usize / 8]] ^= 1 << (bit % 8);
        let mut found = Found::new();
        match catch_unwind(AssertUnwindSafe(|| self.look(image, &mut found))) {
            Ok(Ok(())) => {}
            Ok(Err(wrong)) => found.push(format!("{WRONG}{wrong}")),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                found.push(format!("{WRONG}a panic: {}", text.unwrap_or_default()));
            }
        }
        found
    }

    fn look(&self, image: Vec<u8>, out: &mut Found) -> Result<(), String> {
        let mut say = |what: &str| out.push(what.to_owned());
        let disk = Disk::holding(image);
        let engine = match specimen::builder().open_backend(disk.clone()) {
            Ok(engine) => engine,
            Err(error) => {
                say(&format!("refused when it is opened ({}) | {error}", kind_of(&error)));
                return told(&error);
            }
        };
        let clean = self.check(&engine, "opened", &mut say)?;
        let mut is_lost = false;
        if clean {
            say("without effect");
        } else {
            say("named by verify");
            is_lost = self.repair(&engine, &mut say)?;
        }
        // what redb writes when it closes may fail, too
        if let Err(error) = engine.close() {
            told(&error)?;
        }
        match specimen::builder().open_backend(disk) {
            Err(error) => told(&error),
            // what repair has told of is gone; what followed it in its log may be named
            Ok(again) if is_lost => again
                .verify()
                .map(drop)
                .map_err(|e| format!("opened again, verify gives up: {e:?}")),
            Ok(again) => self.check(&again, "opened again", &mut |_| {}).map(drop),
        }
    }

    /// Nothing is told wrong, nor is anything an error, unless `verify` names a place. Whether it
    /// names none.
    fn check(
        &self,
        engine: &Engine,
        when: &str,
        say: &mut dyn FnMut(&str),
    ) -> Result<bool, String> {
        let verified = engine.verify();
        let verified = verified.map_err(|e| format!("{when}, verify gives up: {e:?}"))?;
        let (wrong, errors) = self.differences(&everything(engine));
        if verified.is_clean() && (!wrong.is_empty() || errors > 0) {
            return Err(format!("{when}, verify finds nothing; wrong: {wrong:?}, {errors} errors"));
        }
        if errors > 0 {
            say("an error when it is read");
        }
        Ok(verified.is_clean())
    }

    /// Whether commits of the journal were lost.
    fn repair(&self, engine: &Engine, say: &mut dyn FnMut(&str)) -> Result<bool, String> {
        let repaired = match engine.repair() {
            Ok(repaired) => repaired,
            Err(error) => {
                say(&format!("repair is refused ({}) | {error}", kind_of(&error)));
                return told(&error).map(|()| false);
            }
        };
        let is_lost = repaired.left.iter().any(|left| left.table == heirloom::Table::Journal);
        if repaired.remade_tables > 0 {
            say("a table is made anew");
        }
        if repaired.damaged_commits > 0 {
            say("peers are asked for commits");
        }
        let (wrong, errors) = self.differences(&everything(engine));
        if !repaired.left.is_empty() {
            say(&format!("repair names what it left | {:?}", repaired.left));
        } else if wrong.is_empty() && errors == 0 {
            say("repair makes all right");
        } else {
            return Err(format!("repaired, and {wrong:?} and {errors} errors: {repaired:?}"));
        }
        match engine.repair() {
            Ok(again) if again.mended.is_empty() && again.remade_tables == 0 => Ok(is_lost),
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
                (Ok(_), truth) => wrong.push(format!("{what}: {read:?}, where {truth:?} is right")),
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
    let conflicts = snapshot.conflicts().into_iter().take(1000).collect::<Result<Vec<_>, _>>();
    note("conflicts", conflicts.map(|conflicts| format!("{conflicts:?}")));
    let ids = snapshot.entity_ids().and_then(|ids| ids.collect::<Result<Vec<_>, _>>());
    note("ids", ids.map(|ids| format!("{ids:?}")));
    out
}
