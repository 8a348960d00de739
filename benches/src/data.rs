//! The data of all workloads: 100,000 devices of a house, from a seed.

use heirloom::EntityId;
use serde::{Deserialize, Serialize};

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

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Clone)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    pub(crate) fn id(&mut self) -> EntityId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        EntityId::from_bytes(bytes)
    }
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
            id: rng.id(),
            kind: TYPES[rng.below(TYPES.len())],
            content: Appliance {
                name: format!("{} {} {i}", rng.word(), rng.word()),
                status: ["on", "off", "idle", "fault"][rng.below(4)].to_owned(),
                brightness: rng.below(100) as i64,
                temperature: rng.below(400) as f64 / 10.0,
                room_id: format!("room-{:08x}", rng.next() as u32),
                firmware: format!("{}.{}.{}", rng.below(9), rng.below(20), rng.below(100)),
                notes: (0..10).map(|_| rng.word()).collect::<Vec<_>>().join(" "),
                updated_by: format!("user{}", rng.below(50)),
            },
        })
        .collect()
}
