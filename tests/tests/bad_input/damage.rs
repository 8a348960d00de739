//! Files that lost their end, or in which something was altered.

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use heirloom::{Engine, Error};

use crate::store::{self, builder, entity, kind_of, replace, rows, survey};

type Survey = BTreeMap<String, Result<String, String>>;

struct Scene {
    _dir: tempfile::TempDir,
    sound: PathBuf,
    copy: PathBuf,
    truth: Survey,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (sound, copy) = (dir.path().join("sound"), dir.path().join("copy"));
    store::write(&sound);
    let truth = survey(&builder().open(&sound).unwrap());
    assert!(truth.values().all(Result::is_ok));
    Scene { _dir: dir, sound, copy, truth }
}

impl Scene {
    /// A fresh copy of the sound file.
    fn copy(&self) -> &Path {
        fs::copy(&self.sound, &self.copy).unwrap();
        &self.copy
    }
}

/// What came of opening and reading a damaged file.
#[derive(Debug, PartialEq)]
enum Found {
    /// It does not open; why.
    AtOpening(String),
    /// Reading met it.
    InReading,
    /// Only `verify` tells.
    ByVerify,
    /// All is as it was, and `verify` finds nothing.
    Nothing,
}

fn look(path: &Path, truth: &Survey) -> Found {
    let engine = match builder().open(path) {
        Ok(engine) => engine,
        Err(error) => return Found::AtOpening(kind_of(&error)),
    };
    let found = survey(&engine);
    let mut met = false;
    for (what, read) in &found {
        match read {
            Ok(_) => assert_eq!(Some(read), truth.get(what), "{what} was returned as good"),
            Err(kind) => {
                assert!(["Corrupt", "Storage", "Invalid"].contains(&kind.as_str()), "{what}: {kind}");
                met = true;
            }
        }
    }
    let named = match engine.verify() {
        Ok(verification) => !verification.is_clean(),
        Err(error) => {
            assert!(matches!(error, Error::Storage(_)), "{error:?}");
            true
        }
    };
    match (met, named) {
        (true, true) => Found::InReading,
        (true, false) => panic!("reading meets damage that verify does not find: {path:?}"),
        (false, true) => Found::ByVerify,
        (false, false) => Found::Nothing,
    }
}

fn of_log(_: &Engine) {}

/// One flipped bit in the value of a row: nothing false is returned, reading or `verify` names it, and what does not hang on the row stays
/// readable.
#[test]
fn a_flipped_bit_in_any_row_is_noticed() {
    let scene = scene();
    let mut seen = BTreeMap::new();
    for (table, key, value) in rows(&scene.sound) {
        let bits = value.len() * 8;
        // in the checksum, at the beginning, in the middle, at the end
        for bit in [0, 37, bits / 2, bits.saturating_sub(1)].into_iter().filter(|bit| *bit < bits) {
            let path = scene.copy();
            let mut altered = value.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            replace(path, table, &key, Some((&key, &altered)));
            let found = look(path, &scene.truth);
            assert_ne!(found, Found::Nothing, "{table} {key:?}, bit {bit}");
            *seen.entry((table, format!("{found:?}"))).or_insert(0) += 1;
        }
    }
    eprintln!("{seen:#?}");
}

#[test]
fn a_row_that_is_lost_or_under_another_key_is_noticed() {
    let scene = scene();
    let mut seen = BTreeMap::new();
    for (table, key, value) in rows(&scene.sound) {
        let mut altered = key.clone();
        *altered.last_mut().unwrap() ^= 1;
        let mut first = key.clone();
        first[0] ^= 0x40;
        for new in [None, Some((&altered[..], &value[..])), Some((&first[..], &value[..]))] {
            let path = scene.copy();
            replace(path, table, &key, new);
            let found = catch_unwind(AssertUnwindSafe(|| look(path, &scene.truth)));
            *seen.entry((table, new.is_some(), format!("{:?}", found.map_err(|e| e.downcast::<String>().unwrap().chars().take(100).collect::<String>())))).or_insert(0) += 1;
        }
    }
    eprintln!("{seen:#?}");
}

#[test]
fn a_file_that_was_cut_short_is_a_typed_error() {
    let scene = scene();
    let whole = fs::metadata(&scene.sound).unwrap().len();
    let mut seen = BTreeMap::new();
    for length in (0..64).map(|n| n * 7).chain((0..64).map(|n| n * whole / 64)).chain([whole - 1]) {
        let path = scene.copy();
        fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
        let found = catch_unwind(AssertUnwindSafe(|| look(path, &scene.truth)));
        eprintln!("{length}: {found:?}");
        *seen.entry(format!("{found:?}")).or_insert(0) += 1;
    }
    eprintln!("{whole}: {seen:#?}");
}

#[test]
fn bytes_altered_anywhere_in_the_file_never_come_back_as_good() {
    let scene = scene();
    let bytes = fs::read(&scene.sound).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut seen = BTreeMap::new();
    for i in 0..400 {
        let at = used[i * used.len() / 400];
        let path = scene.copy();
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (i % 8);
        fs::write(path, &altered).unwrap();
        let found = catch_unwind(AssertUnwindSafe(|| look(path, &scene.truth)));
        *seen.entry(format!("{:?}", found.map_err(|e| e.downcast::<String>().map(|s| s.chars().take(150).collect::<String>()).unwrap_or_default()))).or_insert(0) += 1;
    }
    eprintln!("{seen:#?}");
    let _ = (entity(0), of_log);
}
