//! A real disk that is full while a store syncs and writes (R37, I1): a typed error, nothing
//! acknowledged is lost, and it goes on where it was once there is room. A disk that is full at
//! each operation of a script is in `power_cuts`.
#![cfg(unix)]

use std::error::Error as StdError;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use heirloom::{Builder, Content, Engine, EntityId, Error, Patch, Value};
use heirloom_sync::{SyncError, sync_in_process};

/// Where these are set this program works on the disk named, and takes from the store named.
const DISK: &str = "HEIRLOOM_TEST_DISK";
const SOURCE: &str = "HEIRLOOM_TEST_SOURCE";
const DRAFT: EntityId = EntityId::from_bytes([2; 16]);
const COMMITS: u32 = 400;

fn builder(label: &str) -> Builder {
    let builder = Engine::builder().label(label).dataset_name("full").local_type("draft");
    // small, or all of it would wait in the journal
    builder.cache_bytes(1 << 20).journal_bytes(0)
}

/// A store to take from: 4 MB.
fn make_source(path: &Path) {
    let engine = builder("source").open(path).unwrap();
    for n in 0..COMMITS {
        // bytes that do not compress
        let noise =
            |i: u32| (i.wrapping_mul(i).wrapping_add(n).wrapping_mul(0x9e37_79b1) >> 24) as u8;
        let content = Content::new().with("bytes", (0..8_000).map(noise).collect::<Vec<_>>());
        engine.write(|tx| tx.create("blob", &content)).unwrap();
    }
    engine.close().unwrap();
}

/// What a store holds.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Default)]
struct Held {
    commits: u64,
    draft: i64,
}

fn held(engine: &Engine) -> Result<Held, Error> {
    let snapshot = engine.snapshot()?;
    let draft = match snapshot.get(DRAFT)?.map(|draft| draft.get("n")).transpose()? {
        Some(Some(Value::Int(n))) => n,
        _ => 0,
    };
    Ok(Held { commits: snapshot.commits()?, draft })
}

fn holds(engine: &Engine, told: Held) {
    let now = held(engine).unwrap();
    assert!(now.commits >= told.commits && now.draft >= told.draft, "{now:?} after {told:?}");
    let verified = engine.verify().unwrap();
    assert!(verified.is_clean(), "{:?}", verified.problems);
}

/// Writes, and takes all that is in the source: whether there was room. Tells what was
/// acknowledged.
fn fill(disk: &Path, source: &Path, tell: &mut dyn FnMut(Held)) -> bool {
    let tablet = match builder("tablet").open(disk.join("tablet")) {
        Ok(tablet) => tablet,
        Err(error) => return no_room(&error),
    };
    let source = builder("source").open_read_only(source).unwrap();
    for n in held(&tablet).unwrap().draft + 1.. {
        let written = tablet.write(|tx| match tx.get(DRAFT)? {
            Some(_) => tx.patch(DRAFT, Patch::new().set("n", n)),
            None => tx.create_with_id(DRAFT, "draft", &Content::new().with("n", n)),
        });
        if let Err(error) = written {
            return no_room(&error);
        }
        tell(held(&tablet).unwrap());
        if n % 5 == 0 {
            break;
        }
    }
    let (synced, seen) = sync_watched(&tablet, &source);
    tell(seen);
    if let Err(error) = synced {
        let refused = tablet.write(|tx| tx.delete(DRAFT));
        assert!(matches!(refused, Err(Error::Poisoned)), "{refused:?}");
        // what is in memory can still be read
        let seen = held(&tablet);
        assert!(matches!(seen, Ok(_) | Err(Error::Poisoned)), "{seen:?}");
        return no_room(&error);
    }
    assert_eq!(tablet.log_root().unwrap(), source.log_root().unwrap());
    true
}

/// A sync, and what could be seen of it last while it went on: whatever can be seen is durable.
fn sync_watched(tablet: &Engine, source: &Engine) -> (Result<(), SyncError>, Held) {
    let (seen, over) = (Mutex::new(held(tablet).unwrap()), AtomicBool::new(false));
    let synced = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Ok(now) = held(tablet) {
                    *seen.lock().unwrap() = now;
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        let synced = sync_in_process(tablet, source);
        over.store(true, Ordering::Relaxed);
        synced.map(drop)
    });
    (synced, seen.into_inner().unwrap())
}

/// Fails if the error is about anything else.
fn no_room(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(Error::Storage(why)) = error.downcast_ref()
            && let redb::Error::Io(why) = &**why
        {
            assert!(
                matches!(why.kind(), ErrorKind::StorageFull | ErrorKind::FileTooLarge),
                "{why:?}"
            );
            return false;
        }
        cause = error.source();
    }
    panic!("{error:?}");
}

fn path_in(name: &str) -> Option<std::path::PathBuf> {
    env::var_os(name).map(Into::into)
}

/// Not a test by itself: what runs where files cannot grow beyond a limit.
#[test]
fn fills_a_file() {
    let (Some(disk), Some(source)) = (path_in(DISK), path_in(SOURCE)) else { return };
    let mut out = std::io::stdout().lock();
    let mut tell =
        |line: String| out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
    let mut tell_held = |Held { commits, draft }| tell(format!("\nheld {commits} {draft}\n"));
    let done = fill(&disk, &source, &mut tell_held);
    tell(format!("\nended {done}\n"));
}

/// Runs it so; what it held, and whether there was room for all.
fn with_limit(blocks: u64, disk: &Path, source: &Path) -> (Held, bool) {
    // the signal would kill it: a limit shall look like a disk that is full
    let script = r#"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#;
    let mut child = Command::new("sh")
        .args(["-c", script, "sh", &blocks.to_string()])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "fills_a_file", "--nocapture"])
        .envs([(DISK, disk), (SOURCE, source)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut told, mut ended) = (Held::default(), None);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["held", commits, draft] => {
                told = Held { commits: commits.parse().unwrap(), draft: draft.parse().unwrap() };
            }
            ["ended", done] => ended = Some(done == "true"),
            _ => {}
        }
    }
    assert!(child.wait().unwrap().success());
    (told, ended.expect("it came to an end"))
}

#[test]
fn a_file_that_may_grow_no_further_loses_nothing_and_goes_on_when_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    make_source(&source);
    let tablet = dir.path().join("tablet");
    drop(builder("tablet").open(&tablet).unwrap());
    let (mut blocks, mut full) = (fs::metadata(&tablet).unwrap().len() / 512, 0);
    let mut in_mid_sync = 0;
    loop {
        let (told, done) = with_limit(blocks, dir.path(), &source);
        in_mid_sync += u32::from(!done && told.commits > u64::from(COMMITS) / 10);
        let engine = builder("tablet").open(&tablet).unwrap();
        holds(&engine, told);
        if done {
            assert_eq!(engine.snapshot().unwrap().clock().unwrap().len(), 1);
            break;
        }
        drop(engine);
        (blocks, full) = (blocks + 1_000, full + 1);
    }
    assert!(full > 3 && in_mid_sync > 2, "{full} {in_mid_sync}");
}

/// Not a test by itself: what runs where a small disk is mounted. Room is what is taken away of the
/// ballast.
#[test]
fn fills_a_small_disk() {
    let (Some(disk), Some(source)) = (path_in(DISK), path_in(SOURCE)) else { return };
    drop(builder("tablet").open(disk.join("tablet")).unwrap());
    let ballast = |n: i32| disk.join(format!("ballast-{n}"));
    let mut pieces = 0;
    while fs::write(ballast(pieces), vec![1; 512 << 10]).is_ok() {
        pieces += 1;
    }
    let (mut told, mut full) = (Held::default(), 0);
    loop {
        let done = fill(&disk, &source, &mut |held| told = held);
        if done {
            break;
        }
        full += 1;
        // still without room what is there can be read
        let engine = builder("tablet").open_read_only(disk.join("tablet")).unwrap();
        holds(&engine, told);
        drop(engine);
        fs::remove_file(ballast(pieces)).unwrap();
        pieces -= 1;
    }
    holds(&builder("tablet").open(disk.join("tablet")).unwrap(), told);
    assert!(full > 3, "{full}");
}

#[test]
fn a_small_disk_that_is_full_loses_nothing_and_works_again_with_room() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, source) = (dir.path().join("disk"), dir.path().join("source"));
    fs::create_dir(&disk).unwrap();
    let mounted = |then: &[&std::ffi::OsStr]| {
        // a name space of our own: nobody else sees the disk, and it is gone with us
        let script = r#"mount -t tmpfs -o size=24m tmpfs "$1" && shift && exec "$@""#;
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", script, "sh"]).arg(&disk).args(then);
        command.envs([(DISK, &disk), (SOURCE, &source)]);
        command
    };
    let can_mount = mounted(&["true".as_ref()]).stderr(Stdio::null()).status();
    if !can_mount.is_ok_and(|status| status.success()) {
        eprintln!("no small disk can be mounted here: not run");
        return;
    }
    make_source(&source);
    let this = env::current_exe().unwrap();
    let args = ["--exact", "fills_a_small_disk", "--nocapture"].map(AsRef::as_ref);
    let all: Vec<_> = std::iter::once(this.as_os_str()).chain(args).collect();
    assert!(mounted(&all).status().unwrap().success());
}
