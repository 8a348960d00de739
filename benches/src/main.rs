//! W1 to W8 for heirloom, beside the same work on bare redb tables where these can do it, in one
//! run, answers checked. The work of heirloom ends when its journal is drained; that of W6 and W7
//! when both stores have proven that they are equal.
//!
//! `cargo run --release -p heirloom-benches --bin workloads [-- [--entities N] [--json PATH]]`
//!
//! Milliseconds on a shared machine say little: read the ratios. Bytes are those that the device
//! was written, whoever wrote them: nothing else may be at work.
#![allow(clippy::print_stdout)]

mod bare;
mod data;
mod disk;
mod rng;

use std::path::Path;
use std::time::Instant;

use bare::Bare;
use data::{Appliance, Item, TYPES, items};
use disk::Device;
use heirloom::{Engine, EntityId, Error, Patch};
use heirloom_sync::{Config, Report, sync_in_process_with};
use rng::Rng;

struct Row {
    name: &'static str,
    heirloom: Cost,
    bare: Cost,
    note: String,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    seconds: f64,
    bytes: u64,
}

fn measured<T>(device: &Device, work: impl FnOnce() -> T) -> (Cost, T) {
    let (before, start) = (device.written(), Instant::now());
    let out = work();
    let seconds = start.elapsed().as_secs_f64();
    (Cost { seconds, bytes: device.written() - before }, out)
}

fn engine(path: &Path, label: &str) -> Engine {
    let builder = Engine::builder().label(label).dataset_name("bench");
    builder.open(path).expect("a fresh file")
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let n: usize =
        option("--entities").map_or(100_000, |v| v.parse().expect("--entities takes a number"));
    let rows = run(n);
    print(n, &rows);
    if let Some(path) = option("--json") {
        std::fs::write(path, json(n, &rows)).expect("the path of --json can be written");
    }
}

fn run(n: usize) -> Vec<Row> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let items = items(n);
    let mut rows = Vec::new();
    let device = Device::of(dir.path());
    let heirloom = engine(&dir.path().join("a"), "a");
    let bare = Bare::create(&dir.path().join("bare"));

    let (ours, ()) = measured(&device, || create(&heirloom, &items));
    let (theirs, ()) = measured(&device, || bare.create_all(&items, 1_000));
    let snapshot = heirloom.snapshot().expect("open");
    let count: u64 = TYPES.iter().map(|t| snapshot.list(t).count().expect("count")).sum();
    assert_eq!((count, bare.count()), (n as u64, n as u64), "W1 counts");
    drop(snapshot);
    rows.push(Row {
        name: "W1 create",
        heirloom: ours,
        bare: theirs,
        note: format!("{n} entities, 1,000 a commit"),
    });

    let mut rng = Rng(7);
    let picks: Vec<(usize, i64)> =
        (0..n).map(|_| (rng.below(n), rng.below(1_000) as i64)).collect();
    let (ours, ()) = measured(&device, || update(&heirloom, &picks, &items));
    let (theirs, ()) = measured(&device, || bare.update(&picks, &items, 100));
    check_updates(&heirloom, &picks, &items);
    rows.push(Row {
        name: "W2 update",
        heirloom: ours,
        bare: theirs,
        note: "one field, 100 a commit, old versions readable".into(),
    });

    rows.extend(past_rows(&heirloom, dir.path(), &device, &picks, &items));
    rows.extend(single_rows(&heirloom, &bare, &device, &items));
    // all entities, more than the read cache holds; then few that are read again and again
    let rows_of_reads = [
        ("W4 read, 1 thread", 1, n),
        ("W4 read, 2 threads", 2, n),
        ("W4 hot, 1 thread", 1, n / 100),
        ("W4 hot, 2 threads", 2, n / 100),
    ];
    for (name, threads, among) in rows_of_reads {
        let picks: Vec<usize> = (0..n * 10).map(|_| rng.below(among.max(1))).collect();
        let before = heirloom.cache_stats();
        let (ours, sum) =
            measured(&device, || in_threads(threads, &picks, |p| read_all(&heirloom, p, &items)));
        let (theirs, expected) =
            measured(&device, || in_threads(threads, &picks, |p| bare.read_all(p, &items)));
        assert_eq!(sum, expected, "W4 sums");
        let rate = |c: Cost| picks.len() as f64 / c.seconds / 1e6;
        let hits = heirloom.cache_stats().hits - before.hits;
        let note = format!(
            "{} reads of {among}, {:.2} and {:.2} M/s, {} % from the read cache",
            picks.len(),
            rate(ours),
            rate(theirs),
            hits * 100 / picks.len() as u64
        );
        rows.push(Row { name, heirloom: ours, bare: theirs, note });
    }
    rows.extend(sync_rows(dir.path(), &device, &items));
    rows
}

/// What the versions of W1 and W2 take on disk (W9), how long it takes to check them all, and to
/// read one that is not the present.
fn past_rows(
    heirloom: &Engine,
    dir: &Path,
    device: &Device,
    picks: &[(usize, i64)],
    items: &[Item],
) -> Vec<Row> {
    let row = |name, ours, note| Row { name, heirloom: ours, bare: Cost::default(), note };
    let bytes = heirloom.backup(dir.join("backup")).expect("a backup");
    let compact = format!("{:.1} MB, every version readable", bytes as f64 / 1e6);
    let (checking, verified) = measured(device, || heirloom.verify().expect("verify"));
    assert!(verified.is_clean(), "{verified:?}");
    let speed = format!("{:.0} versions/s", verified.versions as f64 / checking.seconds);
    let snapshot = heirloom.snapshot().expect("open");
    let old = |index: usize| {
        let versions = snapshot.history(items[index].id).expect("history");
        let versions = versions.map(|v| v.expect("read").reference());
        versions.last().expect("created")
    };
    let some = picks.iter().step_by(picks.len() / 1_000 + 1);
    let old: Vec<_> = some.map(|(index, _)| (*index, old(*index))).collect();
    // what their histories brought into memory makes place for others
    let fresh = Engine::builder().open_read_only(dir.join("backup")).expect("the backup");
    let snapshot = fresh.snapshot().expect("open");
    let (reading, ()) = measured(device, || {
        for (index, version) in &old {
            let content = snapshot.content_at(version).expect("content").expect("live");
            let first = content.get("brightness").and_then(heirloom::Value::as_int);
            assert_eq!(first, Some(items[*index].content.brightness), "an old version");
        }
    });
    let each = format!("{:.1} us each", reading.seconds * 1e6 / old.len() as f64);
    vec![
        row("W9 on disk, compact", Cost { seconds: 0.0, bytes }, compact),
        row("verify", checking, speed),
        row("old versions", reading, each),
    ]
}

/// W3: one entity a commit, by one thread and by many.
fn single_rows(heirloom: &Engine, bare: &Bare, device: &Device, items: &[Item]) -> Vec<Row> {
    let row = |name, threads: usize, each: usize| {
        let (ours, ()) = measured(device, || {
            in_parts(threads, each, |n| {
                let content = &items[n % items.len()].content;
                let kind = items[n % items.len()].kind;
                heirloom.write(|tx| tx.create(kind, content)).expect("create");
            });
            heirloom.drain().expect("drain");
        });
        let (theirs, ()) = measured(device, || {
            in_parts(threads, each, |n| {
                let item = &items[n % items.len()];
                bare.create_one(EntityId::v5(&[n as u8; 16], &n.to_be_bytes()), &item.content);
            });
        });
        let rate = |c: Cost| (threads * each) as f64 / c.seconds;
        let note = format!("{:.0} and {:.0} commits/s", rate(ours), rate(theirs));
        Row { name, heirloom: ours, bare: theirs, note }
    };
    vec![row("W3a commits, 1 thread", 1, 1_000), row("W3b commits, 16", 16, 200)]
}

fn in_parts(threads: usize, each: usize, work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        let work = &work;
        for thread in 0..threads {
            scope.spawn(move || (0..each).for_each(|n| work(thread * each + n)));
        }
    });
}

/// W5 and W8 start from stores that hold W1 alone.
fn sync_rows(dir: &Path, device: &Device, items: &[Item]) -> Vec<Row> {
    let from = engine(&dir.join("from"), "from");
    let to = engine(&dir.join("to"), "to");
    let (source, target) = (Bare::create(&dir.join("source")), Bare::create(&dir.join("target")));
    create(&from, items);
    source.create_all(items, 1_000);
    let (ours, report) = measured(device, || {
        let report = sync(&to, &from);
        to.drain().expect("drain");
        report
    });
    let (theirs, ()) = measured(device, || target.pull(&source, 1_000));
    assert_eq!(
        from.state_digest().expect("digest"),
        to.state_digest().expect("digest"),
        "W5 digests"
    );
    assert_eq!(from.log_root().expect("root"), to.log_root().expect("root"), "W5 roots");
    let wire = (report.bytes_in + report.bytes_out) as f64 / 1e6;
    let w5 = Row {
        name: "W5 pull",
        heirloom: ours,
        bare: theirs,
        note: format!("{wire:.1} MB on the wire, {} round trips", report.round_trips),
    };

    let (ours, report) = measured(device, || sync(&to, &from));
    let (theirs, equal) = measured(device, || target.equals(&source));
    assert!(equal, "W8 bare tables");
    let bytes = report.bytes_in + report.bytes_out;
    let note =
        format!("{bytes} bytes, {} round trip, proven; bare: a scan of both", report.round_trips);
    let w8 = Row { name: "W8 equal", heirloom: ours, bare: theirs, note };
    let (w6, w7) = (changed_row(&from, &to, device, items), both_row(&from, &to, device, items));
    vec![w5, w6, w7, w8]
}

/// W6: one side changed a field of a hundredth of the entities, in ten commits.
fn changed_row(from: &Engine, to: &Engine, device: &Device, items: &[Item]) -> Row {
    let some = &items[..items.len() / 100];
    for part in some.chunks(some.len().div_ceil(10)) {
        set(from, part, "brightness", 77);
    }
    let (ours, report) = measured(device, || sync(to, from));
    assert_eq!(from.state_digest().expect("digest"), to.state_digest().expect("digest"), "W6");
    let wire = (report.bytes_in + report.bytes_out) as f64 / 1e3;
    let note = format!(
        "{} changed fields, {wire:.1} kB on the wire, {} round trips",
        some.len(),
        report.round_trips
    );
    Row { name: "W6 changes", heirloom: ours, bare: Cost::default(), note }
}

/// W7: both sides change the same hundredth of the entities, half of them the same field.
fn both_row(from: &Engine, to: &Engine, device: &Device, items: &[Item]) -> Row {
    let some = &items[..items.len() / 100];
    let (same, other) = some.split_at(some.len() / 2);
    for (engine, value, field) in [(from, 1, "brightness"), (to, 2, "extra")] {
        set(engine, same, "brightness", value);
        set(engine, other, field, value);
    }
    let (ours, report) = measured(device, || sync(to, from));
    assert_eq!(from.state_digest().expect("digest"), to.state_digest().expect("digest"), "W7");
    let snapshot = to.snapshot().expect("open");
    for item in other {
        let content = snapshot.get(item.id).expect("get").expect("there").content();
        let both = ["brightness", "extra"].map(|f| content.get(f).and_then(|v| v.as_int()));
        assert_eq!(both, [Some(1), Some(2)], "W7 lost an edit");
    }
    let wire = (report.bytes_in + report.bytes_out) as f64 / 1e3;
    let note = format!(
        "{} edited by both, {} conflicts, {wire:.1} kB on the wire",
        some.len(),
        snapshot.conflicts().count().expect("count"),
    );
    Row { name: "W7 both edit", heirloom: ours, bare: Cost::default(), note }
}

fn set(engine: &Engine, items: &[Item], field: &str, value: i64) {
    let change = |tx: &mut heirloom::Transaction<'_>| {
        items.iter().try_for_each(|i| tx.patch(i.id, Patch::new().set(field, value)))
    };
    engine.write::<(), Error>(change).expect("a write");
}

fn create(engine: &Engine, items: &[Item]) {
    for chunk in items.chunks(1_000) {
        engine
            .write(|tx| chunk.iter().try_for_each(|i| tx.create_with_id(i.id, i.kind, &i.content)))
            .expect("create");
    }
    engine.drain().expect("drain");
}

fn update(engine: &Engine, picks: &[(usize, i64)], items: &[Item]) {
    for chunk in picks.chunks(100) {
        let one = |tx: &mut heirloom::Transaction<'_>| {
            chunk
                .iter()
                .try_for_each(|(i, b)| tx.patch(items[*i].id, Patch::new().set("brightness", *b)))
        };
        engine.write::<(), Error>(one).expect("update");
    }
    engine.drain().expect("drain");
}

/// The last value is shown; the first one is still there.
fn check_updates(engine: &Engine, picks: &[(usize, i64)], items: &[Item]) {
    let snapshot = engine.snapshot().expect("open");
    for (index, _) in picks.iter().step_by(picks.len() / 50 + 1) {
        let last = picks.iter().rev().find(|(i, _)| i == index).expect("picked").1;
        let now: Appliance =
            snapshot.get(items[*index].id).expect("get").expect("there").read().expect("decode");
        assert_eq!(now.brightness, last, "W2 new value");
        let oldest = snapshot
            .history(items[*index].id)
            .expect("history")
            .last()
            .expect("created")
            .expect("read");
        let content = snapshot.content_at(&oldest.reference()).expect("content").expect("live");
        let first = content.get("brightness").and_then(heirloom::Value::as_int);
        assert_eq!(first, Some(items[*index].content.brightness), "W2 old value");
    }
}

fn read_all(engine: &Engine, picks: &[usize], items: &[Item]) -> i64 {
    let snapshot = engine.snapshot().expect("open");
    let read = |i: &usize| {
        snapshot
            .get(items[*i].id)
            .expect("get")
            .expect("there")
            .read::<Appliance>()
            .expect("decode")
    };
    picks.iter().map(|i| read(i).brightness).sum()
}

fn in_threads(n: usize, picks: &[usize], work: impl Fn(&[usize]) -> i64 + Sync) -> i64 {
    std::thread::scope(|scope| {
        let work = &work;
        let parts: Vec<_> =
            picks.chunks(picks.len().div_ceil(n)).map(|p| scope.spawn(move || work(p))).collect();
        parts.into_iter().map(|p| p.join().expect("no panic")).sum()
    })
}

fn print(n: usize, rows: &[Row]) {
    println!("{n} entities; seconds, MB written to the device");
    println!("{:22} {:>20} {:>20} {:>7} {:>7}", "", "heirloom", "bare redb", "time", "bytes");
    for r in rows {
        let cost = |c: Cost| format!("{:8.3} s {:7.1} MB", c.seconds, c.bytes as f64 / 1e6);
        let ratio =
            |a: f64, b: f64| if b > 0.0 { format!("{:.2}×", a / b) } else { "–".to_owned() };
        println!(
            "{:22} {:>20} {:>20} {:>7} {:>7}   {}",
            r.name,
            cost(r.heirloom),
            cost(r.bare),
            ratio(r.heirloom.seconds, r.bare.seconds),
            ratio(r.heirloom.bytes as f64, r.bare.bytes as f64),
            r.note
        );
    }
}

fn json(n: usize, rows: &[Row]) -> String {
    let cost = |c: Cost| {
        serde_json::json!({
            "seconds": c.seconds,
            "bytes_written": c.bytes,
        })
    };
    let rows: Vec<_> = rows
        .iter()
        .map(|r| {
            serde_json::json!({
                "workload": r.name,
                "heirloom": cost(r.heirloom),
                "bare_redb": cost(r.bare),
                "note": r.note,
            })
        })
        .collect();
    serde_json::json!({ "entities": n, "workloads": rows }).to_string()
}

/// As over a link: compressed. The report of the first.
fn sync(a: &Engine, b: &Engine) -> Report {
    let link = Config::new;
    sync_in_process_with(a, link(), b, link()).expect("a sync").0
}
