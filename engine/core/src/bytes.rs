//! Reading and writing the primitives. The reader is bounded: taking succeeds or says what is wrong
//! and where.

use alloc::vec::Vec;
use core::fmt;

/// What makes bytes unreadable, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// What is wrong, in a few words: `bytes are missing`.
    pub what: &'static str,
    /// Where: how many bytes had been read of the record, or of the part of it that has a length
    /// of its own.
    pub at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl core::error::Error for Malformed {}

/// Result of reading: what the bytes say, or why they say nothing.
pub type Read<T> = Result<T, Malformed>;

/// Walks over bytes from front to back and takes the primitives of FORMAT.md, 1.1.
#[derive(Clone)]
pub struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first of these bytes.
    pub fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    /// Fails here: an error that says what is wrong, and this place.
    pub fn bad<T>(&self, what: &'static str) -> Read<T> {
        Err(Malformed { what, at: self.at })
    }

    /// Fails here, saying what is wrong, unless `ok`.
    pub fn ensure(&self, ok: bool, what: &'static str) -> Read<()> {
        if ok { Ok(()) } else { self.bad(what) }
    }

    /// How many bytes are read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are not read yet.
    pub fn left(&self) -> usize {
        self.all.len() - self.at
    }

    /// Whether all bytes are read.
    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// What was read since `from`, which is an earlier [`at`](Self::at) of this reader.
    pub fn since(&self, from: usize) -> &'a [u8] {
        &self.all[from..self.at]
    }

    /// The next `n` bytes; an error if fewer are left.
    pub fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        match self.all[self.at..].get(..n) {
            Some(out) => {
                self.at += n;
                Ok(out)
            }
            None => self.bad("bytes are missing"),
        }
    }

    /// The next bytes, as many as the array has room for; an error if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Read<u8> {
        self.array::<1>().map(|[b]| b)
    }

    /// A number in 8 bytes, most significant first.
    pub fn u64be(&mut self) -> Read<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number in 7 bits a byte, least significant first. An error if it is cut short, longer than
    /// it needs to be or beyond 64 bits: each number has one form.
    pub fn varint(&mut self) -> Read<u64> {
        let mut out = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            self.ensure(shift < 63 || bits <= 1, "a number beyond 64 bits")?;
            out |= bits << shift;
            if byte & 0x80 == 0 {
                self.ensure(byte != 0 || shift == 0, "a number longer than needed")?;
                return Ok(out);
            }
        }
        self.bad("a number beyond 64 bits")
    }

    /// A signed number: a [`varint`](Self::varint) in which 0, 1, 2, 3, … stand for 0, −1, 1, −2, …
    pub fn zigzag(&mut self) -> Read<i64> {
        self.varint().map(|n| (n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A count of items that take at least `size` bytes each. An error if fewer bytes are left than
    /// that, so that memory for them may be taken.
    pub fn count(&mut self, size: usize) -> Read<usize> {
        let n = self.varint()?;
        self.ensure(n <= (self.left() / size.max(1)) as u64, "a count beyond what is there")?;
        Ok(n as usize)
    }

    /// Bytes with their length in front.
    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let n = self.count(1)?;
        self.take(n)
    }

    /// Text with its length in front; an error if it is not UTF-8.
    pub fn text(&mut self) -> Read<&'a str> {
        let bytes = self.bytes()?;
        core::str::from_utf8(bytes).or_else(|_| self.bad("text is not UTF-8"))
    }

    /// An error if bytes are left over.
    pub fn end(&self) -> Read<()> {
        self.ensure(self.is_empty(), "bytes are left over")
    }
}

/// Appends the primitives that [`Reader`] reads.
pub trait Put {
    /// Appends a number, 7 bits a byte, least significant first, in its shortest form.
    fn varint(&mut self, n: u64);
    /// Appends a signed number as a varint in which 0, 1, 2, 3, … stand for 0, −1, 1, −2, …
    fn zigzag(&mut self, n: i64);
    /// Appends bytes, their length in front; text is written so, too.
    fn bytes(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.push(n as u8);
    }

    fn zigzag(&mut self, n: i64) {
        self.varint(((n << 1) ^ (n >> 63)) as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for bytes in [
            &[0x80, 0x00][..],
            &[0xff; 10],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ] {
            assert!(Reader::new(bytes).varint().is_err(), "{bytes:?}");
        }
        assert!(Reader::new(&[0x80]).varint().is_err());
    }

    #[test]
    fn a_count_is_checked_before_memory_is_taken() {
        let mut bytes = Vec::new();
        bytes.varint(u64::MAX);
        assert!(Reader::new(&bytes).count(1).is_err());
    }

    proptest! {
        #[test]
        fn numbers_round_trip(n: u64, i: i64) {
            let mut out = Vec::new();
            out.varint(n);
            out.zigzag(i);
            let mut r = Reader::new(&out);
            prop_assert_eq!((r.varint().unwrap(), r.zigzag().unwrap()), (n, i));
            prop_assert!(r.is_empty());
        }
    }
}
