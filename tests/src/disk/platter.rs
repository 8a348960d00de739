//! What is on the disk, and what only seems to be: the model without its faults.

use crate::random::Random;

/// Written whole or not at all.
pub(super) const SECTOR: usize = 512;

/// What was asked for since the last sync.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// Durable bytes under changes that a sync makes durable.
#[derive(Clone, Default, Debug)]
pub(super) struct Platter {
    durable: Vec<u8>,
    /// As whoever is connected reads it.
    seen: Vec<u8>,
    since: Vec<Change>,
}

impl Platter {
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), seen: bytes, since: Vec::new() }
    }

    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Writes as far as there is room: callers lengthen first.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.seen, at, bytes);
        self.since.push(Change::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.seen.resize(length, 0);
        self.since.push(Change::Length(length));
    }

    pub(super) fn sync(&mut self) {
        for change in self.since.drain(..) {
            match change {
                Change::Write { at, bytes } => put(&mut self.durable, at, &bytes),
                Change::Length(length) => self.durable.resize(length, 0),
            }
        }
        debug_assert_eq!(self.durable.len(), self.seen.len());
    }

    /// What a power cut leaves: what is durable, and of the rest what chance has it. Each write is
    /// there, or not, or some of its sectors are, and none waits for those before it. Lengths keep
    /// their order, as file systems keep them.
    pub(super) fn after_a_cut(&self, chance: &mut Random) -> Vec<u8> {
        let mut out = self.durable.clone();
        let luck = chance.pick(&[0, 10, 50, 90, 100]);
        let lengths =
            self.since.iter().filter(|change| matches!(change, Change::Length(_))).count();
        let mut lengths_left = chance.below(lengths + 1);
        let mut between = Vec::new();
        for change in &self.since {
            match change {
                Change::Write { at, bytes } => between.push((*at, &bytes[..])),
                Change::Length(length) => {
                    keep_some(&mut out, &mut between, luck, chance);
                    if lengths_left > 0 {
                        lengths_left -= 1;
                        out.resize(*length, 0);
                    }
                }
            }
        }
        keep_some(&mut out, &mut between, luck, chance);
        out
    }
}

/// Each write with a chance of `luck` in a hundred, in any order; of others some are torn.
fn keep_some(out: &mut [u8], writes: &mut Vec<(usize, &[u8])>, luck: usize, chance: &mut Random) {
    while !writes.is_empty() {
        let (at, bytes) = writes.swap_remove(chance.below(writes.len()));
        if chance.percent(luck) {
            put(out, at, bytes);
        } else if luck > 0 && chance.percent(60) {
            tear(out, at, bytes, chance);
        }
    }
}

/// The first sectors of a write, or any of them.
fn tear(out: &mut [u8], at: usize, bytes: &[u8], chance: &mut Random) {
    // whether zeros at its end are there shows nobody
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let sectors = length.div_ceil(SECTOR).max(1);
    let (first, scattered) = (chance.below(sectors), chance.percent(30));
    for (i, sector) in bytes.chunks(SECTOR).enumerate() {
        if if scattered { chance.percent(50) } else { i < first } {
            put(out, at + i * SECTOR, sector);
        }
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    let end = (at + bytes.len()).min(out.len());
    if at < end {
        out[at..end].copy_from_slice(&bytes[..end - at]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(platter: &Platter) -> Vec<Vec<u8>> {
        (0..400).map(|seed| platter.after_a_cut(&mut Random::new(seed))).collect()
    }

    #[test]
    fn what_was_synced_survives_every_cut() {
        let mut platter = Platter::default();
        platter.set_length(2 * SECTOR);
        platter.write(0, &[1; SECTOR]);
        platter.sync();
        assert!(cuts(&platter).iter().all(|left| left[..] == *platter.seen()));
    }

    #[test]
    fn of_the_rest_anything_may_survive_but_whole_sectors() {
        let mut platter = Platter::holding(vec![0; 4 * SECTOR]);
        platter.write(0, &[1; 2 * SECTOR]);
        platter.write(2 * SECTOR, &[2; 2 * SECTOR]);
        platter.write(0, &[3; SECTOR]);
        let mut found = std::collections::BTreeSet::new();
        for left in cuts(&platter) {
            let sectors: Vec<u8> = left.chunks(SECTOR).map(|sector| sector[0]).collect();
            assert!(left.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            found.insert(sectors);
        }
        for wanted in
            [[0, 0, 0, 0], [3, 1, 2, 2], [0, 0, 2, 2], [3, 0, 0, 0], [1, 1, 2, 2], [1, 0, 2, 2]]
        {
            assert!(found.contains(&wanted[..]), "{wanted:?} of {found:?}");
        }
    }

    #[test]
    fn a_length_that_is_lost_takes_what_was_written_there_with_it() {
        let mut platter = Platter::holding(vec![9; SECTOR]);
        platter.set_length(2 * SECTOR);
        platter.write(SECTOR, &[1; SECTOR]);
        let lengths: std::collections::BTreeSet<usize> =
            cuts(&platter).iter().map(Vec::len).collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [SECTOR, 2 * SECTOR]);
    }
}
