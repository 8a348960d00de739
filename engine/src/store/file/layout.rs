//! How a store's file is divided (FORMAT.md, 2.0): a first page that says so, the ring of the
//! journal, and redb's part, which grows and shrinks and so lies last.

use super::medium::Medium;
use super::watched::failed;
use crate::error::{Error, Result, Table};

const MAGIC: &[u8; 16] = b"heirloom store\r\n";
/// Bytes of the first page, which is written once. It says what it has to within one sector, which
/// is written whole or not at all.
const PAGE: u64 = 4096;
const HEAD: usize = 32;
/// Of the layout, not of what the tables hold.
const VERSION: u32 = 1;
/// Sizes of a ring that can be: what lies between is for whoever makes the file.
const RING: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

/// Where what begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    ring: u64,
}

impl Layout {
    /// Of a new store, with a ring of about so many bytes.
    pub(crate) fn with_ring(bytes: u64) -> Self {
        Self { ring: bytes.clamp(*RING.start(), *RING.end()).next_multiple_of(PAGE) }
    }

    /// Where the ring is, and how many bytes it has.
    pub(crate) fn ring(self) -> (u64, u64) {
        (PAGE, self.ring)
    }

    /// Where redb's part begins.
    pub(crate) fn tables_at(self) -> u64 {
        PAGE + self.ring
    }

    fn encode(self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        out[..16].copy_from_slice(MAGIC);
        out[16..20].copy_from_slice(&VERSION.to_be_bytes());
        out[20..28].copy_from_slice(&self.ring.to_be_bytes());
        let sum = crc32fast::hash(&out[..28]);
        out[28..].copy_from_slice(&sum.to_be_bytes());
        out
    }

    fn decode(head: &[u8; HEAD]) -> Result<Self> {
        let (said, sum) = head.split_at(28);
        if !head.starts_with(MAGIC) {
            return Err(Error::NotAStore);
        }
        if crc32fast::hash(said).to_be_bytes() != sum {
            return Err(Error::corrupt(
                Table::Journal,
                "the first page",
                "the checksum does not fit",
            ));
        }
        let number = |at: std::ops::Range<usize>| {
            said[at].iter().fold(0, |n: u64, byte| n << 8 | u64::from(*byte))
        };
        let (version, ring) = (number(16..20), number(20..28));
        if version != u64::from(VERSION) || !RING.contains(&ring) || ring % PAGE != 0 {
            let known = u64::from(VERSION);
            return Err(Error::UnknownFormat { found: version, known });
        }
        Ok(Self { ring })
    }

    /// Makes a medium that holds nothing into one that holds an empty ring, durably, and nothing
    /// behind it.
    fn create(self, medium: &Medium) -> Result<()> {
        medium.set_len(self.tables_at()).map_err(failed)?;
        medium.write_durably(0, &self.encode()).map_err(failed)
    }

    /// How a medium is divided; as `new` if nothing is on it. Whether it is new.
    pub(crate) fn open_or_create(medium: &Medium, new: Self) -> Result<(Self, bool)> {
        let len = medium.len().map_err(failed)?;
        if len == 0 || len == new.tables_at() && is_blank(medium, 0, len)? {
            new.create(medium)?;
            return Ok((new, true));
        }
        let found = Self::of(medium)?;
        // nothing was written behind it yet
        let is_new = len == found.tables_at() && is_blank(medium, PAGE, len)?;
        if !is_new {
            found.check_len(len)?;
        }
        Ok((found, is_new))
    }

    /// How a medium is divided on which a store is.
    pub(crate) fn open(medium: &Medium) -> Result<Self> {
        let found = Self::of(medium)?;
        found.check_len(medium.len().map_err(failed)?)?;
        Ok(found)
    }

    /// Where redb's part is gone redb would begin anew, without a word.
    fn check_len(self, len: u64) -> Result<()> {
        if len > self.tables_at() {
            return Ok(());
        }
        let what = format!("cut to {len} bytes, where redb's begin at {}", self.tables_at());
        Err(Error::corrupt(Table::Journal, "the file", what))
    }

    fn of(medium: &Medium) -> Result<Self> {
        let mut head = [0; HEAD];
        if medium.len().map_err(failed)? < HEAD as u64 {
            return Err(Error::NotAStore);
        }
        medium.read(0, &mut head).map_err(failed)?;
        Self::decode(&head)
    }
}

/// Whether the power went between the two steps of making it.
fn is_blank(medium: &Medium, from: u64, len: u64) -> Result<bool> {
    let mut part = vec![0; 64 << 10];
    let mut at = from;
    while at < len {
        let bytes = (len - at).min(part.len() as u64) as usize;
        medium.read(at, &mut part[..bytes]).map_err(failed)?;
        if part[..bytes].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += bytes as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;

    fn holding(bytes: &[u8]) -> Medium {
        let memory = InMemoryBackend::new();
        memory.set_len(bytes.len() as u64).unwrap();
        memory.write(0, bytes).unwrap();
        Medium::Other(Arc::new(memory))
    }

    fn is_damaged<T>(found: Result<T>) -> bool {
        matches!(found, Err(Error::Corrupt { table: Table::Journal, .. }))
    }

    #[test]
    fn what_was_made_is_found_again_whatever_is_wanted_now() {
        let medium = holding(&[]);
        let (small, large) = (Layout::with_ring(0), Layout::with_ring(1 << 20));
        assert_eq!(Layout::open_or_create(&medium, small).unwrap(), (small, true));
        assert_eq!(medium.len().unwrap(), 4096 + (64 << 10));
        assert_eq!(Layout::open_or_create(&medium, large).unwrap(), (small, true), "still new");
        assert!(is_damaged(Layout::open(&medium)), "and nothing to read");
        medium.set_len(small.tables_at() + 1).unwrap();
        assert_eq!(Layout::open_or_create(&medium, large).unwrap(), (small, false));
        assert_eq!(Layout::open(&medium).unwrap(), small);
        // a ring that was used, and nothing behind it: that was no new store
        medium.write_durably(5_000, b"a frame").unwrap();
        for len in [small.tables_at(), 5_001, 32] {
            medium.set_len(len).unwrap();
            assert!(is_damaged(Layout::open_or_create(&medium, large)), "cut to {len} bytes");
        }
    }

    #[test]
    fn a_medium_whose_making_was_cut_off_is_made_again_and_no_other() {
        let new = Layout::with_ring(0);
        let blank = vec![0; new.tables_at() as usize];
        assert_eq!(Layout::open_or_create(&holding(&blank), new).unwrap(), (new, true));
        let mut other = blank.clone();
        *other.last_mut().unwrap() = 1;
        for other in [&other[..], &blank[1..], b"x", &[7; 5000]] {
            let found = Layout::open_or_create(&holding(other), new);
            assert!(matches!(found, Err(Error::NotAStore)), "{} bytes", other.len());
        }
    }

    #[test]
    fn no_bit_of_it_may_flip() {
        let head = Layout::with_ring(1 << 20).encode();
        for bit in 0..HEAD * 8 {
            let mut flipped = head;
            flipped[bit / 8] ^= 1 << (bit % 8);
            Layout::decode(&flipped).unwrap_err();
        }
    }
}
