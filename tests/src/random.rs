//! Chance, from a seed or from a tape: whoever writes the tape chooses, be it a fuzzer or a
//! property that shrinks.

use std::sync::Arc;

/// All chance of a run. Equal ones give equal runs.
#[derive(Clone, Debug)]
pub struct Random(Source);

#[derive(Clone, Debug)]
enum Source {
    /// SplitMix64.
    Seed(u64),
    /// What is left of the tape; after its end come zeros.
    Tape { bytes: Arc<[u8]>, at: usize },
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(Source::Seed(mix(seed.wrapping_add(GOLDEN))))
    }

    /// From a tape: each choice takes as few bytes off it as it needs.
    pub fn tape(bytes: &[u8]) -> Self {
        Self(Source::Tape { bytes: bytes.into(), at: 0 })
    }

    /// Whether a tape is at its end. A seed never is.
    pub fn is_spent(&self) -> bool {
        matches!(&self.0, Source::Tape { bytes, at } if *at >= bytes.len())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.draw(8)
    }

    /// A number of so many bytes at least.
    fn draw(&mut self, width: usize) -> u64 {
        match &mut self.0 {
            Source::Seed(state) => {
                *state = state.wrapping_add(GOLDEN);
                mix(*state)
            }
            Source::Tape { bytes, at } => {
                let rest = &bytes[(*at).min(bytes.len())..];
                *at += width;
                rest.iter().take(width).fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
        }
    }

    /// 0 up to before `limit`, which is not 0. (The bias of the remainder does not matter here.)
    pub fn below(&mut self, limit: usize) -> usize {
        let bits = usize::BITS - (limit - 1).leading_zeros();
        (self.draw(bits.div_ceil(8) as usize) % limit as u64) as usize
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of these, which are not none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A text that has most in common with any other of these, and is long enough for a splice.
    pub fn note(&mut self) -> String {
        let (place, word) = (self.below(20), self.pick(&["", "new", "älter", "word10 word11"]));
        let words = (0..20).map(|i| if i == place { word.into() } else { format!("word{i}") });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Two different numbers below `limit`, which is at least 2.
    pub fn two(&mut self, limit: usize) -> [usize; 2] {
        let a = self.below(limit);
        [a, (a + 1 + self.below(limit - 1)) % limit]
    }

    /// Small as often as large: up to `1 << bits`.
    pub fn of_any_size(&mut self, bits: usize) -> usize {
        let most = 1 << self.below(bits + 1);
        1 + self.below(most)
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    /// Sixteen bytes.
    pub fn bytes16(&mut self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.next().to_be_bytes());
        out[8..].copy_from_slice(&self.next().to_be_bytes());
        out
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
