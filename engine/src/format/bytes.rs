//! Reading and writing the primitives. The reader is bounded: taking succeeds or says what is wrong
//! and where.

use std::fmt;

/// What makes bytes unreadable, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    pub(crate) what: &'static str,
    pub(crate) at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

pub(crate) type Read<T> = Result<T, Malformed>;

/// Walks over bytes from front to back.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    pub(crate) fn bad<T>(&self, what: &'static str) -> Read<T> {
        Err(Malformed { what, at: self.at })
    }

    pub(crate) fn ensure(&self, ok: bool, what: &'static str) -> Read<()> {
        if ok { Ok(()) } else { self.bad(what) }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.all.len() - self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// What was read since `from`.
    pub(crate) fn since(&self, from: usize) -> &'a [u8] {
        &self.all[from..self.at]
    }

    pub(crate) fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        match self.all[self.at..].get(..n) {
            Some(out) => {
                self.at += n;
                Ok(out)
            }
            None => self.bad("bytes are missing"),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Read<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn u64be(&mut self) -> Read<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn varint(&mut self) -> Read<u64> {
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

    pub(crate) fn zigzag(&mut self) -> Read<i64> {
        self.varint().map(|n| (n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A count of items that take at least `size` bytes each, so that memory for them may be taken.
    pub(crate) fn count(&mut self, size: usize) -> Read<usize> {
        let n = self.varint()?;
        self.ensure(n <= (self.left() / size.max(1)) as u64, "a count beyond what is there")?;
        Ok(n as usize)
    }

    pub(crate) fn bytes(&mut self) -> Read<&'a [u8]> {
        let n = self.count(1)?;
        self.take(n)
    }

    pub(crate) fn text(&mut self) -> Read<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).or_else(|_| self.bad("text is not UTF-8"))
    }

    pub(crate) fn end(&self) -> Read<()> {
        self.ensure(self.is_empty(), "bytes are left over")
    }
}

/// Appends primitives.
pub(crate) trait Put {
    fn varint(&mut self, n: u64);
    fn zigzag(&mut self, n: i64);
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
    use super::*;
    use proptest::prelude::*;

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
