//! A tape as harm to the rows of a store, with checksums that fit: the decoders of all local
//! records, and everything that trusts them. Whatever stands there is read, refused as a typed
//! error, verified, repaired and synced without a panic; an honest peer takes nothing false from
//! it; and where only derived tables were harmed, `repair` brings everything back.

use std::sync::OnceLock;

use heirloom::{Content, Engine, Error, Patch};

use crate::disk::Disk;
use crate::random::Random;
use crate::specimen::{self, DERIVED, Row, Survey, UNSEALED, survey};

const EDITS_MAX: usize = 8;

/// See the module.
pub fn run(tape: &[u8]) {
    let (mut random, disk) = (Random::tape(tape), Disk::holding(image().to_vec()));
    let mut only_derived = true;
    for _ in 0..EDITS_MAX {
        if random.is_spent() {
            break;
        }
        only_derived &= DERIVED.contains(&harm(&disk, &mut random));
    }
    let engine = match specimen::builder().open_backend(disk) {
        Ok(engine) => engine,
        Err(error) => {
            assert!(
                !only_derived,
                "tables that can be made again must not keep a store from opening: {error:?}"
            );
            return is_told(&error);
        }
    };
    if random.percent(50) {
        // what is written on a false head is false itself, and stays: checksums that fit are not
        // what rot leaves
        if only_derived { look(&engine) } else { use_it(&engine) }
    }
    match engine.repair() {
        Ok(repaired) if only_derived => {
            assert!(repaired.left.is_empty(), "{repaired:?}");
            let found = engine.verify().unwrap();
            assert!(found.is_clean(), "{:?}", found.problems);
            assert_eq!(&survey(&engine), truth(), "all is as it was");
        }
        Ok(_) => {}
        Err(error) => {
            assert!(!only_derived, "{error:?}");
            is_told(&error);
        }
    }
    use_it(&engine);
}

/// It is the store's fault, and said so.
fn is_told(error: &Error) {
    let of_the_store = matches!(
        error,
        Error::Corrupt { .. }
            | Error::NotAStore
            | Error::UnknownFormat { .. }
            | Error::WrongDataset { .. }
            | Error::Poisoned
            | Error::Absent(_)
            | Error::Closed
    );
    assert!(of_the_store && error.to_string().len() > 20, "{error:?}");
}

/// Reads all and verifies: nothing panics.
fn look(engine: &Engine) {
    survey(engine);
    if let Err(error) = engine.verify() {
        is_told(&error);
    }
}

/// The same, and writes and syncs.
fn use_it(engine: &Engine) {
    look(engine);
    let written = engine.write(|tx| {
        tx.patch(specimen::entity(3), Patch::new().set("n", 7))?;
        tx.create_with_id(specimen::entity(33), "lamp", &Content::new().with("n", 1))
    });
    drop(written.map_err(|error| error.to_string()));
    let peer = honest();
    drop(heirloom_sync::sync_in_process(engine, &peer).map_err(|error| error.to_string()));
    let found = peer.verify().unwrap();
    assert!(found.is_clean(), "an honest peer took what is false: {:?}", found.problems);
}

/// A peer that holds the store as it was.
fn honest() -> Engine {
    let disk = Disk::holding(image().to_vec());
    specimen::builder().label("peer").open_backend(disk).expect("it was never harmed")
}

/// All that the store tells that was never harmed.
fn truth() -> &'static Survey {
    static TRUTH: OnceLock<Survey> = OnceLock::new();
    TRUTH.get_or_init(|| survey(&honest()))
}

fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(specimen::image)
}

/// Harms one row; of which table.
fn harm(disk: &Disk, random: &mut Random) -> &'static str {
    let rows = rows_of(disk, random);
    let (name, key, old) = &rows[random.below(rows.len())];
    let sealed = !UNSEALED.contains(name);
    let mut value = if sealed { old.get(4..).unwrap_or_default().to_vec() } else { old.clone() };
    let mut key = key.clone();
    match random.below(9) {
        0 => {
            specimen::replace_on(disk, name, &key, None);
            return name;
        }
        1 => value = rows[random.below(rows.len())].2.get(4..).unwrap_or_default().to_vec(),
        2 => {
            let at = random.below(key.len().max(1));
            if let Some(byte) = key.get_mut(at) {
                *byte = random.below(256) as u8;
            }
        }
        3 => value.truncate(random.below(value.len() + 1)),
        4 => {
            let at = place(&value, random);
            let length = random.below(9);
            let more = random.bytes(length);
            value.splice(at..at, more);
        }
        5 => {
            let at = place(&value, random);
            let end = (at + 1 + random.below(8)).min(value.len());
            value.drain(at.min(end)..end);
        }
        6 => {
            let length = random.below(64);
            value = random.bytes(length);
        }
        _ => {
            for _ in 0..1 + random.below(3) {
                let at = place(&value, random);
                let byte = random.below(256) as u8;
                if let Some(old) = value.get_mut(at) {
                    *old = byte;
                }
            }
        }
    }
    if sealed {
        value = specimen::seal(&key, &value);
    }
    specimen::replace_on(disk, name, &key, Some((&key, &value)));
    name
}

/// The rows of a table by chance, since most rows are of the log.
fn rows_of(disk: &Disk, random: &mut Random) -> Vec<Row> {
    let all = specimen::rows_on(disk);
    let name = random.pick(&specimen::TABLES);
    let some: Vec<Row> = all.iter().filter(|(of, ..)| *of == name).cloned().collect();
    if some.is_empty() { all } else { some }
}

/// Mostly the beginning, where the structure is.
fn place(value: &[u8], random: &mut Random) -> usize {
    let near = if random.percent(75) { value.len().min(100) } else { value.len() };
    random.below(near + 1)
}
