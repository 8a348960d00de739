//! A process that writes and syncs is killed, again and again (R37, I1, I9). What it said was done
//! is done, and what it gave to another store it has itself. `KILLS=n` kills it n times.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use heirloom::{Builder, Content, Engine, EntityId, Error, Patch, Value};
use heirloom_tests::random::Random;
use heirloom_tests::twins;

/// Where this is set this program is the one that is killed, and works on the stores in the folder
/// named.
const FOLDER: &str = "HEIRLOOM_TEST_KILLED";
const LAMP: EntityId = EntityId::from_bytes([1; 16]);
const DRAFT: EntityId = EntityId::from_bytes([2; 16]);

fn builder(label: &str) -> Builder {
    let builder = Engine::builder().label(label).dataset_name("kills").local_type("draft");
    // killed in such a commit too, and after it
    builder.index("lamp", "n").cache_bytes(1 << 20).drain_after(Duration::from_millis(2))
}

fn number(engine: &Engine, id: EntityId) -> i64 {
    let shown = engine.snapshot().unwrap().get(id).unwrap();
    match shown.map(|entity| entity.get("n").unwrap()) {
        Some(Some(Value::Int(n))) => n,
        _ => 0,
    }
}

/// Counts on, in two entities at once of which one never leaves the store; now and then beside a
/// large content.
fn count_on(engine: &Engine, n: i64) -> heirloom::Result<()> {
    let large: Vec<u8> =
        (0..3000 * (n % 20)).flat_map(|i| (i * n * 0x9e37_79b9).to_be_bytes()).collect();
    engine.write(|tx| {
        for (id, entity_type) in [(LAMP, "lamp"), (DRAFT, "draft")] {
            match tx.get(id)? {
                Some(_) => tx.patch(id, Patch::new().set("n", n))?,
                None => drop(tx.create_with_id(id, entity_type, &Content::new().with("n", n))?),
            }
        }
        if n % 7 == 0 {
            tx.create("blob", &Content::new().with("bytes", large))?;
        }
        Ok(())
    })
}

/// Not a test by itself: what is killed.
#[test]
fn works_until_it_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let tell = |line: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
    };
    let (phone, hub) = (
        builder("phone").open(Path::new(&folder).join("phone")).unwrap(),
        builder("hub").open(Path::new(&folder).join("hub")).unwrap(),
    );
    tell("\nopen\n".into());
    for n in number(&phone, LAMP) + 1.. {
        count_on(&phone, n).unwrap();
        tell(format!("wrote {n}\n"));
        if n % 11 == 0 {
            phone.drain().unwrap();
        }
        if n % 5 == 0 {
            heirloom_sync::sync_in_process(&phone, &hub).unwrap();
            tell(format!("synced {n}\n"));
        }
    }
}

/// Started, and killed at some moment: the last number of each kind that it told.
fn killed(folder: &Path, random: &mut Random) -> (i64, i64) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "works_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = thread::spawn(move || {
        let (mut wrote, mut synced) = (0, 0);
        for line in lines.map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("wrote", n)) => wrote = n.parse().unwrap_or(wrote),
                Some(("synced", n)) => synced = n.parse().unwrap_or(synced),
                _ => {}
            }
        }
        (wrote, synced)
    });
    // sometimes while it still opens, and recovers from the kill before
    let most = random.pick(&[5, 40, 400]);
    thread::sleep(Duration::from_millis(random.below(most) as u64));
    kill(&mut child);
    reader.join().unwrap()
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

/// A store as a kill left it. It is made only now where the process was killed before it came to
/// that; one that is half made is never there.
fn found(name: &str, folder: &Path) -> Engine {
    builder(name).open(folder.join(name)).unwrap()
}

#[test]
fn a_killed_process_leaves_what_it_told_behind() {
    let rounds = env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(1);
    let (mut last, mut unseen, mut wrote_in, mut synced_in) = (0, 0, 0, 0);
    for round in 0..rounds {
        let (wrote, synced) = killed(folder.path(), &mut random);
        (wrote_in, synced_in) =
            (wrote_in + u64::from(wrote > 0), synced_in + u64::from(synced > 0));
        let least = wrote.max(last);
        if random.percent(40) {
            // the next one meets the files as the kill left them
            (last, unseen) = (least, unseen + 1);
            continue;
        }
        let [phone, hub] = ["phone", "hub"].map(|name| found(name, folder.path()));
        for engine in [&phone, &hub] {
            let verified = engine.verify().unwrap();
            assert!(verified.is_clean(), "round {round}: {:?}", verified.problems);
        }
        let number_found = number(&phone, LAMP);
        // each of the rounds that were not looked at may have left one that it had no time to tell
        let most = least + 1 + unseen;
        assert!(
            (least..=most).contains(&number_found),
            "round {round}: {number_found} after {wrote}"
        );
        assert_eq!(number(&phone, DRAFT), number_found, "round {round}: half of a transaction");
        let versions = phone.snapshot().unwrap().history(LAMP).unwrap().count() as i64;
        assert_eq!(versions, number_found, "round {round}: each number once");
        assert!(number(&hub, LAMP) >= synced, "round {round}: what was synced is there");
        let (here, there) = (twins::commits_of(&phone), twins::commits_of(&hub));
        assert!(here.starts_with(&there), "round {round}: the hub has what the phone forgot");
        heirloom_sync::sync_in_process(&phone, &hub).unwrap();
        assert_eq!(phone.log_root().unwrap(), hub.log_root().unwrap(), "round {round}");
        (last, unseen) = (number_found, 0);
    }
    assert!(wrote_in > 0 && synced_in > 0, "it was always killed before it did anything");
}

#[test]
fn the_files_of_a_running_process_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "works_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "open"));
    for file in ["phone", "hub"] {
        let refused = builder("other").open(folder.path().join(file));
        assert!(matches!(refused, Err(Error::AlreadyOpen)), "{refused:?}");
        let refused = builder("other").open_read_only(folder.path().join(file));
        assert!(matches!(refused, Err(Error::AlreadyOpen)), "{refused:?}");
    }
    kill(&mut child);
    let left = fs::read(folder.path().join("phone")).unwrap();
    let looked = builder("phone").open_read_only(folder.path().join("phone")).unwrap();
    assert!(looked.verify().unwrap().is_clean());
    looked.close().unwrap();
    assert!(
        fs::read(folder.path().join("phone")).unwrap() == left,
        "whoever only looks changes nothing"
    );
    builder("phone").open(folder.path().join("phone")).unwrap();
}
