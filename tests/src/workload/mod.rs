//! What is done to a store, step by step. Each step is one durable commit, or none; the same steps
//! make the same bytes on any store.

use heirloom::replication::{Peer, StagedHead};
use heirloom::{
    Builder, Content, Engine, EntityId, Lsn, Metadata, NodeId, Patch, Resolution, Result, Sequence,
    Timestamp,
};

use crate::disk::Disk;
use crate::random::Random;
use crate::twins;

pub mod survey;

/// One that the store met.
pub const PEER: NodeId = NodeId::from_bytes([3; 16]);
/// Lamps stand in one of so many.
pub const ROOMS: i64 = 4;

/// The same every time: time stands still, and nonces differ by label alone.
pub fn builder(cache_bytes: usize) -> Builder {
    phone("phone")
        .local_type("draft")
        .index("lamp", "room")
        .index_in_background(false)
        .cache_bytes(cache_bytes)
}

fn phone(label: &str) -> Builder {
    let now = Timestamp::from_millis(1_700_000_000_000);
    Engine::builder()
        .label(label)
        .dataset_name("power cuts")
        .journal_bytes(0)
        .wall_clock(move || now)
        .entropy(|| [7; 16])
}

/// Opens what is on a disk, and makes its index ready.
pub fn open(disk: &Disk, cache_bytes: usize) -> Result<Engine> {
    let engine = builder(cache_bytes).open_backend(disk.clone())?;
    engine.build_indexes()?;
    Ok(engine)
}

/// The same steps, done to a store that never loses its power.
pub fn twin() -> Engine {
    let twin = builder(16 << 20).in_memory().unwrap();
    twin.build_indexes().unwrap();
    twin
}

/// An entity by its number.
pub fn entity(number: u8) -> EntityId {
    EntityId::from_bytes([number; 16])
}

/// Bytes that cannot be compressed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length.div_ceil(16)).flat_map(|_| random.bytes16()).take(length).collect()
}

fn lamp(room: i64) -> Content {
    Content::new().with("room", room % ROOMS).with("name", format!("lamp in {room}"))
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// A lamp, or a change of it.
    Lamp(u8, i64),
    /// Many lamps in one commit.
    Lamps(u8, u8, i64),
    /// A content of so many bytes.
    Blob(u8, usize),
    /// A lamp, a blob and a draft that never leaves the store, in one transaction.
    Together(u8, i64),
    /// Deletes what is there.
    Delete(u8),
    /// Brings back what was deleted.
    Restore(u8),
    /// Decides as suggested, where something is open.
    Resolve(u8),
    /// Commits that another store wrote, in one go.
    Ingest(Vec<Vec<u8>>),
    /// The name among peers is drawn.
    Node,
    /// The next bytes of a large commit on its way in.
    Stage(usize),
    /// They are dropped.
    Unstage,
    /// What a peer holds.
    Remember(u64),
    /// What lies in the journal goes into the tables.
    Drain,
}

impl Step {
    /// Does it.
    pub fn run(&self, engine: &Engine) -> Result<()> {
        let replication = engine.replication();
        match self {
            Self::Lamp(id, room) => put(engine, &[(*id, "lamp", lamp(*room))]),
            Self::Lamps(from, until, room) => {
                let lamps: Vec<_> =
                    (*from..*until).map(|id| (id, "lamp", lamp(*room + i64::from(id)))).collect();
                put(engine, &lamps)
            }
            Self::Blob(id, length) => {
                let bytes = noise(u64::from(*id), *length);
                put(engine, &[(*id, "blob", Content::new().with("bytes", bytes))])
            }
            Self::Together(id, room) => {
                let bytes = Content::new().with("bytes", noise(*room as u64, 3000));
                let draft = Content::new().with("text", format!("a thought about {room}"));
                put(
                    engine,
                    &[
                        (*id, "lamp", lamp(*room)),
                        (*id + 1, "blob", bytes),
                        (*id + 2, "draft", draft),
                    ],
                )
            }
            Self::Delete(id) => engine.write(|tx| match tx.get(entity(*id))? {
                Some(_) => tx.delete(entity(*id)),
                None => Ok(()),
            }),
            Self::Restore(id) => restore(engine, entity(*id)),
            Self::Resolve(id) => {
                let seen: Vec<_> = engine
                    .snapshot()?
                    .heads(entity(*id))?
                    .iter()
                    .map(|head| head.reference())
                    .collect();
                if seen.len() < 2 {
                    return Ok(());
                }
                engine.write(|tx| tx.resolve(entity(*id), &seen, Resolution::Suggestion))
            }
            Self::Ingest(commits) => {
                let commits: Vec<&[u8]> = commits.iter().map(Vec::as_slice).collect();
                replication.ingest(&commits).map(drop)
            }
            Self::Node => replication.node().map(drop),
            Self::Stage(length) => {
                let log = engine.log_id().unwrap_or_else(|| heirloom::LogId::from_bytes([1; 16]));
                let head = StagedHead {
                    log,
                    sequence: Sequence::new(7),
                    chain: heirloom::Chain::from_bytes([5; 32]),
                    total: 1 << 20,
                    digest: [6; 16],
                };
                let here = replication.staged(PEER)?.filter(|staged| staged.head == head);
                let offset = here.map_or(0, |staged| staged.bytes);
                replication.stage(PEER, &head, offset, &noise(offset, *length))
            }
            Self::Unstage => replication.unstage(PEER),
            Self::Drain => engine.drain(),
            Self::Remember(held) => replication.remember(
                PEER,
                Peer { cut: None, held: Lsn::new(*held), is_hub: true, ..Default::default() },
            ),
        }
    }
}

/// Creates or changes entities, those that are deleted excepted.
fn put(engine: &Engine, all: &[(u8, &str, Content)]) -> Result<()> {
    engine.write(|tx| {
        for (id, entity_type, content) in all {
            let id = entity(*id);
            match tx.create_with_id(id, entity_type, content) {
                Err(heirloom::Error::Exists { .. }) => {
                    let patch = content
                        .iter()
                        .fold(Patch::new(), |p, (key, value)| p.set(key, value.clone()));
                    match tx.patch(id, patch) {
                        Err(heirloom::Error::Deleted(_)) => {}
                        other => other?,
                    }
                }
                other => drop(other?),
            }
        }
        Ok(())
    })
}

/// Brings a deleted entity back as it was first.
fn restore(engine: &Engine, id: EntityId) -> Result<()> {
    let snapshot = engine.snapshot()?;
    if snapshot.get(id)?.is_some() {
        return Ok(());
    }
    let history: Vec<_> = snapshot.history(id)?.collect::<Result<_>>()?;
    let first = history
        .iter()
        .map(|version| version.reference())
        .find(|version| snapshot.content_at(version).is_ok_and(|content| content.is_some()));
    match first {
        Some(first) => engine.write_with(Metadata::new().with_message("it was a mistake"), |tx| {
            tx.restore(id, &first)
        }),
        None => Ok(()),
    }
}

/// Commits of a store that began on its own, about the same entities and others.
pub fn elsewhere(label: &str, ids: &[u8], bytes: usize) -> Vec<Vec<u8>> {
    let other = phone(label).in_memory().unwrap();
    for (i, id) in ids.iter().enumerate() {
        put(&other, &[(*id, "lamp", lamp(i as i64))]).unwrap();
        put(&other, &[(*id, "lamp", lamp(i as i64 + 1))]).unwrap();
    }
    put(&other, &[(200, "blob", Content::new().with("bytes", noise(9, bytes)))]).unwrap();
    twins::commits_of(&other)
}

/// A bit of everything.
pub fn everything() -> Vec<Step> {
    vec![
        Step::Lamp(0, 1),
        Step::Lamps(1, 9, 0),
        Step::Blob(20, 30_000),
        Step::Drain,
        Step::Together(30, 2),
        Step::Delete(3),
        Step::Node,
        Step::Stage(20_000),
        Step::Ingest(elsewhere("tablet", &[0, 1, 40], 12_000)),
        Step::Stage(9_000),
        Step::Drain,
        Step::Remember(3),
        Step::Resolve(0),
        Step::Together(30, 3),
        Step::Unstage,
        Step::Restore(3),
        Step::Lamps(0, 9, 5),
    ]
}

/// A step by chance.
pub fn any_step(random: &mut Random, strangers: &[Vec<Vec<u8>>]) -> Step {
    let room = random.below(50) as i64;
    match random.below(20) {
        0..5 => Step::Lamp(random.below(12) as u8, room),
        5..7 => Step::Lamps(0, random.below(60) as u8 + 1, room),
        7..9 => Step::Blob(100 + random.below(6) as u8, random.of_any_size(17)),
        9..12 => Step::Together(70 + 3 * random.below(5) as u8, room),
        12 => Step::Delete(random.below(12) as u8),
        13 => Step::Restore(random.below(12) as u8),
        14 => Step::Resolve(random.below(12) as u8),
        15..17 => {
            // a causal beginning: what is here already is skipped
            let commits = &strangers[random.below(strangers.len())];
            Step::Ingest(commits[..random.below(commits.len()) + 1].to_vec())
        }
        17 => Step::Node,
        18 => Step::Stage(random.of_any_size(14)),
        _ if random.percent(50) => Step::Drain,
        _ if random.percent(50) => Step::Unstage,
        _ => Step::Remember(room as u64),
    }
}
