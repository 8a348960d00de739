//! A large history from a seed, brought in and synced: does memory grow with it, and where does the
//! time go?
//!
//! `cargo run --release -p heirloom-benches --bin large [-- [--versions N] [--keep DIR]]`
//!
//! 50 devices write versions of entities that they share, merging each other's work as they go. The
//! peak of resident memory is taken for each phase apart (Linux only; elsewhere 0).
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use heirloom::{Authored, Content, Cursor, Device, Engine, EntityId, Importer, Patch, Timestamp};
use heirloom_sync::sync_in_process;

const DEVICES: usize = 50;
const PER_COMMIT: u64 = 10;
const CACHE: usize = 32 << 20;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option =
        |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let versions: u64 =
        option("--versions").map_or(2_000_000, |v| v.parse().expect("--versions takes a number"));
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir = option("--keep").map_or_else(|| temporary.path().to_owned(), Into::into);
    std::fs::create_dir_all(&dir).expect("the folder of --keep can be made");
    println!("{versions} versions, {DEVICES} devices, {} MiB of cache a store", CACHE >> 20);
    run(&dir, versions);
}

fn open(dir: &Path, name: &str) -> Engine {
    let builder = Engine::builder().label(name).dataset_name("large").cache_bytes(CACHE);
    builder.open(dir.join(name)).expect("a fresh file")
}

fn run(dir: &Path, versions: u64) {
    let from = open(dir, "from");
    let commits = phase("import", versions, || {
        let mut importer = from.importer().expect("a dataset is given");
        let commits = generate(&mut importer, versions);
        importer.finish().expect("flush");
        commits
    });
    println!(
        "  {commits} commits, {:.0} bytes a version on disk",
        size(dir, "from") as f64 / versions as f64
    );
    from.close().expect("close");

    let from = phase("open and first read", 1, || {
        let engine = open(dir, "from");
        let snapshot = engine.snapshot().expect("open");
        assert!(snapshot.get(entity(0)).expect("get").is_some());
        drop(snapshot);
        engine
    });
    let to = open(dir, "to");
    let report = phase("sync into an empty store", versions, || {
        sync_in_process(&to, &from).expect("sync").0
    });
    assert_eq!(from.log_root().expect("root"), to.log_root().expect("root"));
    assert_eq!(from.state_digest().expect("digest"), to.state_digest().expect("digest"));
    println!(
        "  {:.1} MB on the wire, {} durable commits",
        report.bytes_in as f64 / 1e6,
        report.durable_commits
    );
    phase("sync of equal stores", 1, || sync_in_process(&to, &from).expect("sync"));
    let mut sleeper = to.subscribe_from(Cursor::START);
    let caught_up = phase("a subscriber wakes", versions, || {
        let mut changes = 0;
        while sleeper.try_next().expect("the log is sound").is_some() {
            changes += 1;
        }
        changes
    });
    assert_eq!(caught_up, versions, "each change once");
    to.close().expect("close");
    let to = phase("index an existing field", versions, || {
        let builder =
            Engine::builder().dataset_name("large").cache_bytes(CACHE).index("thing", "by");
        let engine = builder.index_in_background(false).open(dir.join("to")).expect("open");
        engine.build_indexes().expect("build");
        engine
    });
    let snapshot = to.snapshot().expect("open");
    let hits = snapshot.query("thing", "by").expect("declared").equals(7).count().expect("query");
    let all = snapshot.list("thing").into_iter().map(|e| e.expect("list"));
    let scanned = all.filter(|e| e.get("by").expect("get") == Some(7.into())).count() as u64;
    assert_eq!(hits, scanned);
    println!("  {hits} entities by one device");
    let found = phase("verify", versions, || to.verify().expect("verify"));
    assert!(found.is_clean() && found.versions == versions, "{:?}", found.problems);
}

fn entity(n: u64) -> EntityId {
    EntityId::v5(&[7; 16], &n.to_be_bytes())
}

/// Returns how many commits there are.
fn generate(importer: &mut Importer, versions: u64) -> u64 {
    let devices: Vec<Device> = (0..DEVICES)
        .map(|i| importer.device(&format!("device-{i:02}")).expect("a device id"))
        .collect();
    let mut last: Vec<Option<Authored>> = vec![None; DEVICES];
    let (mut seed, mut written, mut commits, mut created) = (1u64, 0u64, 0u64, 0u64);
    let mut draw = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    while written < versions {
        let (me, other) = (draw(DEVICES as u64) as usize, draw(DEVICES as u64) as usize);
        // most commits follow somebody else's
        let past: Vec<Authored> = [me, other].iter().filter_map(|d| last[*d].clone()).collect();
        let past: Vec<&Authored> = past.iter().collect();
        let wall = Timestamp::from_millis(1_700_000_000_000 + commits as i64 * 1_000);
        let mut draft = importer.commit(devices[me], &past, wall).expect("a past that is here");
        for k in 0..PER_COMMIT.min(versions - written) {
            // an entity is worked on for a while, then rarely
            let new = created == 0 || draw(10) == 0;
            let n = if new { created } else { created - 1 - draw(created.min(2_000)) };
            let id = entity(n);
            let name = format!("entity {n}");
            if new {
                let content = Content::new()
                    .with("name", name)
                    .with("state", "new")
                    .with("level", 0)
                    .with("by", me as i64);
                draft.create(id, "thing", &content).expect("create");
                created += 1;
            } else {
                let patch = Patch::new().set("level", draw(1_000_000) as i64).set("by", me as i64);
                if draft.patch(id, patch).is_err() {
                    // not seen by this device yet, or written already in this commit: one of its
                    // own instead
                    let content = Content::new().with("name", "own").with("by", me as i64);
                    draft
                        .create(entity((1 << 63) | (written + k)), "thing", &content)
                        .expect("create");
                }
            }
        }
        let authored = draft.finish().expect("finish");
        written += authored.versions() as u64;
        commits += 1;
        last[me] = Some(authored);
    }
    commits
}

fn phase<T>(name: &str, versions: u64, work: impl FnOnce() -> T) -> T {
    reset_peak();
    let start = Instant::now();
    let out = work();
    let seconds = start.elapsed().as_secs_f64();
    let rate = if versions > 1 {
        format!("{:9.0} versions/s", versions as f64 / seconds)
    } else {
        String::new()
    };
    println!("{name:26} {seconds:9.3} s  peak {:6.1} MiB  {rate}", peak() as f64 / 1024.0);
    out
}

/// Bytes on the disk: the part of a journal that was never used is a hole.
fn size(dir: &Path, name: &str) -> u64 {
    let Ok(file) = std::fs::metadata(dir.join(name)) else { return 0 };
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(&file) * 512;
    #[cfg(not(unix))]
    file.len()
}

fn reset_peak() {
    // where this is not possible the peaks are those so far
    std::fs::write("/proc/self/clear_refs", "5").ok();
}

/// KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}
