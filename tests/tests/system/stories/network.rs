//! Devices whose clocks can be set, and what they must have in common.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use heirloom::{Builder, Content, Engine, EntityId, Patch, Timestamp, Value};
use heirloom_sync::{Config, Session, SyncError, sync_in_process_with};

pub(crate) const START: i64 = 1_700_000_000_000;
pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const YEAR: i64 = 365 * 86_400_000;

/// An engine and its clock.
pub(crate) struct Device {
    pub(crate) engine: Engine,
    now: Arc<AtomicI64>,
}

impl Device {
    /// Its store lives in memory.
    pub(crate) fn new(label: &str, now: i64) -> Self {
        let (builder, now) = builder(label, now);
        Self { engine: builder.in_memory().unwrap(), now }
    }

    pub(crate) fn open(label: &str, now: i64, path: &Path) -> Self {
        let (builder, now) = builder(label, now);
        Self { engine: builder.open(path).unwrap(), now }
    }

    pub(crate) fn set_clock(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// Creates something; the wall of the commit.
    pub(crate) fn write(&self) -> i64 {
        let id = self
            .engine
            .write(|tx| tx.create("note", &Content::new().with("text", "here")))
            .unwrap();
        wall(&self.engine, id)
    }

    pub(crate) fn note(&self, text: &str) -> EntityId {
        self.engine.write(|tx| tx.create("note", &Content::new().with("text", text))).unwrap()
    }

    pub(crate) fn edit(&self, id: EntityId, text: &str) {
        self.engine.write(|tx| tx.patch(id, Patch::new().set("text", text))).unwrap();
    }

    pub(crate) fn text(&self, id: EntityId) -> String {
        let entity = self.engine.snapshot().unwrap().get(id).unwrap().expect("it is there");
        match entity.get("text").unwrap() {
            Some(Value::Text(text)) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    /// A session that begins at the time that the device's clock says.
    fn config(&self) -> Config {
        Config::new().wall_time(self.engine.replication().now())
    }

    pub(crate) fn sync(&self, other: &Device) -> [heirloom_sync::Report; 2] {
        let (ours, theirs) = (self.config(), other.config());
        let (here, there) =
            sync_in_process_with(&self.engine, ours, &other.engine, theirs).unwrap();
        [here, there]
    }
}

/// A link that breaks each time that so many bytes have passed, both ways together.
pub(crate) struct BreakingLink {
    every: usize,
    /// All that passed so far.
    pub(crate) carried: usize,
}

impl BreakingLink {
    pub(crate) fn new(every: usize) -> Self {
        Self { every, carried: 0 }
    }

    /// A session until it is over or the link breaks.
    pub(crate) fn sync(&mut self, one: &Engine, other: &Engine) -> Result<(), SyncError> {
        let mut ends = [
            Session::initiator(one, Config::default()),
            Session::responder(other, Config::default()),
        ];
        let mut left = self.every;
        let mut now = Duration::ZERO;
        while !ends.iter().all(Session::is_finished) {
            now += Duration::from_millis(40);
            for at in 0..2 {
                let mut bytes = Vec::new();
                ends[at].handle_timeout(now)?;
                ends[at].poll_transmit(now, &mut bytes)?;
                let passed = bytes.len().min(left);
                left -= passed;
                self.carried += passed;
                ends[1 - at].handle_input(now, &bytes[..passed])?;
                if left == 0 {
                    let broken =
                        ends.iter_mut().map(|end| end.handle_end_of_input(now)).collect::<Vec<_>>();
                    return broken.into_iter().collect();
                }
            }
        }
        Ok(())
    }
}

fn builder(label: &str, now: i64) -> (Builder, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(now));
    let clock = now.clone();
    let clock = move || Timestamp::from_millis(clock.load(Ordering::Relaxed));
    (Engine::builder().label(label).dataset_name("stories").wall_clock(clock), now)
}

/// When the only head of an entity was written, by its writer's clock.
pub(crate) fn wall(engine: &Engine, id: EntityId) -> i64 {
    engine.snapshot().unwrap().heads(id).unwrap()[0].wall().as_millis()
}

/// Every pair syncs until nothing moves; then all hold and show the same, and every store is sound.
#[track_caller]
pub(crate) fn settle(devices: &[&Device]) {
    for _ in 0..2 {
        for (i, one) in devices.iter().enumerate() {
            devices[i + 1..].iter().for_each(|other| drop(one.sync(other)));
        }
    }
    let state = |d: &Device| (d.engine.log_root().unwrap(), d.engine.state_digest().unwrap());
    for device in devices {
        assert_eq!(state(device), state(devices[0]));
        let found = device.engine.verify().unwrap();
        assert!(found.is_clean(), "{:?}", found.problems);
    }
}
