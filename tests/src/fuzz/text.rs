//! Texts and bytes that people type, paste or keep: ids, times, cursors, names of policies. What is
//! understood says the same when it is written again.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::OnceLock;

use heirloom::{Content, Cursor, Engine, EntityId, Policy, QueryCursor, Timestamp, VersionId};

/// The first byte says what the others are.
pub fn run(input: &[u8]) {
    let Some((what, bytes)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match what % 6 {
        0 => again::<EntityId>(&text),
        1 => again::<VersionId>(&text),
        2 => again::<Timestamp>(&text),
        3 => again::<Cursor>(&text),
        4 => drop(text.parse::<Policy>().map_err(|error| error.to_string())),
        _ => query(bytes),
    }
}

fn again<T: FromStr<Err: Display> + Display + PartialEq + std::fmt::Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>().ok(), Some(value)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Whoever brings a cursor may have made it up.
fn query(bytes: &[u8]) {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let engine =
            Engine::builder().index("song", "year").index_in_background(false).in_memory().unwrap();
        engine.build_indexes().unwrap();
        engine
            .write(|tx| {
                (0..4)
                    .try_for_each(|y| tx.create("song", &Content::new().with("year", y)).map(drop))
            })
            .unwrap();
        engine
    });
    let Ok(cursor) = QueryCursor::from_bytes(bytes) else { return };
    assert_eq!(cursor.to_bytes(), bytes);
    let found = engine.snapshot().unwrap().query("song", "year").unwrap().after(cursor).entities();
    assert!(found.is_ok_and(|found| found.len() <= 4));
}
