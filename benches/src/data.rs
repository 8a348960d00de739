//! The data of all workloads: 100,000 devices of a house, from a seed.

use heirloom::EntityId;
use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// About 233 bytes as JSON, 141 in a compact binary struct.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Appliance {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) brightness: i64,
    pub(crate) temperature: f64,
    pub(crate) room_id: String,
    pub(crate) firmware: String,
    pub(crate) notes: String,
    pub(crate) updated_by: String,
}

pub(crate) const TYPES: [&str; 6] = ["lamp", "lock", "sensor", "speaker", "valve", "blind"];
const WORDS: [&str; 16] = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty",
    "knoll", "larch", "marsh", "north", "oasis", "prism",
];

fn word(rng: &mut Rng) -> &'static str {
    WORDS[rng.below(WORDS.len())]
}

fn id(rng: &mut Rng) -> EntityId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&rng.next().to_be_bytes());
    bytes[8..].copy_from_slice(&rng.next().to_be_bytes());
    EntityId::from_bytes(bytes)
}

pub(crate) struct Item {
    pub(crate) id: EntityId,
    pub(crate) kind: &'static str,
    pub(crate) content: Appliance,
}

pub(crate) fn items(n: usize) -> Vec<Item> {
    let mut rng = Rng(42);
    (0..n)
        .map(|i| Item {
            id: id(&mut rng),
            kind: TYPES[rng.below(TYPES.len())],
            content: Appliance {
                name: format!("{} {} {i}", word(&mut rng), word(&mut rng)),
                status: ["on", "off", "idle", "fault"][rng.below(4)].to_owned(),
                brightness: rng.below(100) as i64,
                temperature: rng.below(400) as f64 / 10.0,
                room_id: format!("room-{:08x}", rng.next() as u32),
                firmware: format!("{}.{}.{}", rng.below(9), rng.below(20), rng.below(100)),
                notes: (0..10).map(|_| word(&mut rng)).collect::<Vec<_>>().join(" "),
                updated_by: format!("user{}", rng.below(50)),
            },
        })
        .collect()
}
