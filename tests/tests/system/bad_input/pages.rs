//! Damage of redb's own pages: an error with table and key where it is read, and nowhere else.

use heirloom::{Content, Engine, Error};
use heirloom_tests::disk::Disk;
use heirloom_tests::specimen::{self, Survey, builder, entity, rows_on, survey};

const PAGE: usize = 4096;

/// The bytes of a sound store, and what it tells.
fn sound() -> (Vec<u8>, Survey) {
    let image = specimen::image();
    let truth = survey(&open(image.clone()));
    (image, truth)
}

fn open(image: Vec<u8>) -> Engine {
    builder().open_backend(Disk::holding(image)).unwrap()
}

/// Where the pages begin that hold the row of an entity in `heads`.
fn pages_of_heads(image: &[u8], number: u8) -> Vec<usize> {
    let rows = rows_on(&Disk::holding(image.to_vec()));
    let key = [number; 16];
    let (_, _, row) = rows.iter().find(|(table, k, _)| *table == "heads" && k[..] == key).unwrap();
    let holds = |page: &&[u8]| page[0] == 1 && page.windows(row.len()).any(|at| at == &row[..]);
    image.chunks(PAGE).enumerate().filter(|(_, page)| holds(page)).map(|(n, _)| n * PAGE).collect()
}

/// Says of each key of such a page that it ends far behind the page: redb panics over it.
fn spoil(image: &mut [u8], number: u8) {
    for at in pages_of_heads(image, number) {
        let rows = usize::from(u16::from_le_bytes([image[at + 2], image[at + 3]]));
        image[at + 4..at + 4 + 4 * rows].fill(0x7f);
    }
}

/// A bit of a key, so that the keys of the page are out of order.
fn disorder(image: &mut [u8], number: u8) {
    let key = [number; 16];
    for at in pages_of_heads(image, number) {
        let page = &mut image[at..at + PAGE];
        let place = page.windows(16).position(|bytes| bytes == key).unwrap();
        page[place] ^= 0x80;
    }
}

#[test]
fn a_damaged_page_is_an_error_that_names_table_and_key_and_nothing_else_suffers() {
    let (mut image, truth) = sound();
    spoil(&mut image, 7);
    let engine = open(image);
    let snapshot = engine.snapshot().unwrap();
    let id = entity(7).to_string().replace('-', "");
    match snapshot.get(entity(7)) {
        Err(Error::Corrupt { table: heirloom::Table::Heads, key, .. }) => {
            assert_eq!(key.replace('-', ""), id)
        }
        other => panic!("{other:?}"),
    }
    // an iterator says it once and ends
    let listed: Vec<_> = snapshot.entity_ids().unwrap().collect();
    assert!(
        matches!(listed[..], [.., Err(Error::Corrupt { table: heirloom::Table::Heads, .. })]),
        "{listed:?}"
    );
    assert_eq!(listed.iter().filter(|id| id.is_err()).count(), 1);
    assert!(matches!(
        snapshot.history(entity(7)),
        Err(Error::Corrupt { table: heirloom::Table::Heads, .. })
    ));
    // what does not need the page
    let found = survey(&engine);
    for what in ["log root", "clock", "commits", "forks", "peers", "staged", "state digest"] {
        assert_eq!(found[what], truth[what], "{what}");
    }
    let problems = engine.verify().unwrap().problems;
    assert!(
        problems.iter().any(|p| p.table.name() == "heads" && p.what.contains("redb")),
        "{problems:?}"
    );
}

#[test]
fn repair_makes_a_table_anew_whose_tree_is_broken_and_finds_nothing_afterwards() {
    type Harm = fn(&mut [u8], u8);
    for (harm, name) in [(spoil as Harm, "spoilt"), (disorder as Harm, "out of order")] {
        let (mut image, truth) = sound();
        harm(&mut image, 7);
        let engine = open(image);
        let repaired = engine.repair().unwrap();
        assert!(repaired.left.is_empty(), "{name}: {repaired:?}");
        assert!(
            repaired.mended.iter().any(|problem| problem.table.name() == "heads"),
            "{name}: {repaired:?}"
        );
        assert_eq!(repaired.remade_tables, 1, "{name}");
        assert_eq!(survey(&engine), truth, "{name}");
        let again = engine.repair().unwrap();
        assert!(again.mended.is_empty() && again.remade_tables == 0, "{name}: {again:?}");
        engine.write(|tx| tx.create_with_id(entity(99), "lamp", &Content::new())).unwrap();
        // the broken tree takes room until a copy leaves it behind
        let verified = engine.verify().unwrap();
        assert!(verified.is_clean() && verified.set_aside == 1, "{name}: {verified:?}");
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("copy");
        engine.compact_to(&copy).unwrap();
        let verified = builder().open(&copy).unwrap().verify().unwrap();
        assert!(verified.is_clean() && verified.set_aside == 0, "{name}: {verified:?}");
    }
}

#[test]
fn a_damaged_store_opens_after_a_kill_whoever_knows_of_the_damage() {
    let (mut image, _) = sound();
    // the first record: the commit below writes no page of it anew
    let rows = rows_on(&Disk::holding(image.clone()));
    let (_, _, row) = rows.iter().find(|(table, ..)| *table == "log").unwrap();
    let places: Vec<usize> =
        (0..image.len() - row.len()).filter(|at| image[*at..].starts_with(row)).collect();
    places.iter().for_each(|at| image[*at] ^= 1);
    for knows in [false, true] {
        let disk = Disk::holding(image.clone());
        let engine = builder().open_backend(disk.clone()).unwrap();
        if knows {
            assert!(!engine.verify().unwrap().is_clean());
        }
        engine.write(|tx| tx.create_with_id(entity(40), "room", &Content::new())).unwrap();
        // redb never has to walk over its pages, of which it would refuse all for one
        let engine = builder().open_backend(disk.after_a_kill()).unwrap();
        assert!(engine.snapshot().unwrap().get(entity(40)).unwrap().is_some());
    }
}
