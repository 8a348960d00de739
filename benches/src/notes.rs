//! W11: a note of 20 kB that is edited again and again, each edit a commit that puts another
//! sentence in the place of one. What all versions take on disk and on the wire, beside git with a
//! commit for each edit, after `git gc`. Answers checked.
//!
//! `cargo run --release -p heirloom-benches --bin notes [-- [--edits N]]`
#![allow(clippy::print_stdout)]

mod pack;
mod rng;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use heirloom::{Content, Engine, EntityId, Patch, Value, Version};
use heirloom_sync::{Config, Report, sync_in_process_with};
use rng::Rng;

/// Bytes of the note.
const SIZE: usize = 20_000;
/// Edits that the second sync brings.
const LAST: usize = 100;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let edits = args.iter().position(|a| a == "--edits").and_then(|i| args.get(i + 1));
    let edits: usize = edits.map_or(10_000, |n| n.parse().expect("--edits takes a number"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let texts = texts(edits.max(LAST));
    let git = pack::import(&dir.path().join("git"), &stream(&texts));

    let open = |name: &str| {
        let builder = Engine::builder().label(name).dataset_name("notes");
        builder.open(dir.path().join(name)).expect("a fresh file")
    };
    let (writer, early, late) = (open("writer"), open("early"), open("late"));
    let id = EntityId::from_bytes([7; 16]);
    let start = Instant::now();
    writer
        .write(|tx| tx.create_with_id(id, "note", &Content::new().with("text", &*texts[0])))
        .expect("a write");
    for (n, text) in texts.iter().enumerate().skip(1) {
        if n == texts.len() - LAST {
            sync(&early, &writer);
        }
        writer.write(|tx| tx.patch(id, Patch::new().set("text", &**text))).expect("a write");
    }
    let wrote = start.elapsed();
    let last = sync(&early, &writer);
    let start = Instant::now();
    let all = sync(&late, &writer);
    let synced = start.elapsed();
    for engine in [&early, &late] {
        assert_eq!(engine.state_digest().expect("digest"), writer.state_digest().expect("digest"));
        check(engine, id, &texts);
    }
    let start = Instant::now();
    let read = check(&writer, id, &texts);
    let read = start.elapsed() / read;
    let disk = [(writer, "writer"), (late, "late")].map(|(engine, name)| {
        engine.drain().expect("drain");
        let open = size(&dir.path().join(name));
        let compact = dir.path().join(name.to_owned() + " compact");
        engine.compact_to(&compact).expect("a copy");
        (open, size(&compact))
    });
    let wire = |r: &Report| (r.bytes_in + r.bytes_out) as f64 / 1e3;
    let per = |bytes: f64| bytes / edits as f64;
    println!("{edits} edits of a note of {SIZE} bytes, a sentence each");
    println!("git, after gc: {:.2} MB, {:.0} bytes an edit", git as f64 / 1e6, per(git as f64));
    for (who, (open, compact)) in ["who wrote", "who received"].into_iter().zip(disk) {
        println!(
            "{who}, on disk: {:.2} MB, {:.2} × git; compacted {:.2} MB, {:.0} bytes an edit, \
             {:.2} ×",
            open as f64 / 1e6,
            open as f64 / git as f64,
            compact as f64 / 1e6,
            per(compact as f64),
            compact as f64 / git as f64,
        );
    }
    println!("sync of all: {:.0} kB; of the last {LAST}: {:.1} kB", wire(&all), wire(&last));
    println!(
        "{:.0} edits/s written, {:.0}/s synced; an old version, somewhere: {:.2} ms",
        edits as f64 / wrote.as_secs_f64(),
        edits as f64 / synced.as_secs_f64(),
        read.as_secs_f64() * 1e3,
    );
}

/// Bytes that a file takes: its holes take none.
fn size(path: &Path) -> u64 {
    let file = std::fs::metadata(path).expect("the file");
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(&file) * 512;
    #[cfg(not(unix))]
    file.len()
}

/// The note before and after each edit.
fn texts(edits: usize) -> Vec<String> {
    let mut rng = Rng(11);
    let words: Vec<String> = (0..2_000).map(|_| word(&mut rng)).collect();
    let mut sentences = Vec::new();
    while sentences.iter().map(String::len).sum::<usize>() < SIZE {
        let length = 40 + rng.below(60);
        sentences.push(sentence(&mut rng, &words, length));
    }
    let mut out = vec![sentences.concat()];
    for _ in 0..edits {
        let at = rng.below(sentences.len());
        sentences[at] = sentence(&mut rng, &words, sentences[at].len());
        out.push(sentences.concat());
    }
    out
}

fn word(rng: &mut Rng) -> String {
    let letters = 2 + rng.below(8);
    (0..letters).map(|_| (b'a' + rng.below(26) as u8) as char).collect()
}

/// Words of so many bytes altogether.
fn sentence(rng: &mut Rng, words: &[String], length: usize) -> String {
    let mut out = String::new();
    while out.len() < length {
        out += &words[rng.below(words.len())];
        out.push(' ');
    }
    out.truncate(length - 2);
    out + ".\n"
}

/// Every tenth version, compared; how many that were.
fn check(engine: &Engine, id: EntityId, texts: &[String]) -> u32 {
    let snapshot = engine.snapshot().expect("open");
    let versions: Vec<Version> =
        snapshot.history(id).expect("history").collect::<Result<_, _>>().expect("read");
    assert_eq!(versions.len(), texts.len());
    let mut compared = 0;
    for (version, text) in versions.iter().rev().zip(texts).step_by(10) {
        let content = snapshot.content_at(&version.reference()).expect("content").expect("live");
        assert_eq!(content.get("text").and_then(Value::as_str), Some(&**text));
        compared += 1;
    }
    compared
}

/// What `git fast-import` reads: a commit for each text.
fn stream(texts: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let who = format!("a <a@example.org> {} +0000", 1_700_000_000 + n);
        let length = text.len();
        write!(
            out,
            "commit refs/heads/main\ncommitter {who}\ndata 0\nM 644 inline note\n\
             data {length}\n{text}\n"
        )
        .expect("a vector takes all");
    }
    out
}

/// As over a link: compressed. The report of the first.
fn sync(a: &Engine, b: &Engine) -> Report {
    let link = Config::new;
    sync_in_process_with(a, link(), b, link()).expect("a sync").0
}
