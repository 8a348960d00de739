//! The primitives of the format, in both directions.

use super::Fault;

/// Reads primitives from the front of bytes. Every length is checked against what is there.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Fault::Length)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a field of fixed length.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N)?.try_into().map_err(|_| Fault::Length)
    }

    /// Reads one byte.
    pub fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads a `varint`.
    pub fn varint(&mut self) -> Result<u64, Fault> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.u8().map_err(|_| Fault::VarintCut)?;
            if place == 9 && byte > 1 {
                return Err(Fault::VarintBeyond); // the tenth byte holds the 64th bit alone
            }
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return if byte == 0 && place > 0 { Err(Fault::VarintLong) } else { Ok(number) };
            }
        }
        Err(Fault::VarintBeyond)
    }

    /// Reads a `zigzag`.
    pub fn zigzag(&mut self) -> Result<i64, Fault> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// Reads `bytes`.
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| Fault::Length)?)
    }

    /// Reads `text`.
    pub fn text(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Fault::Text)
    }

    /// Fails if anything is left over.
    pub fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::LeftOver) }
    }
}

/// Writes a `varint`.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a `zigzag`.
pub fn put_zigzag(out: &mut Vec<u8>, number: i64) {
    put_varint(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Writes a count as a `varint`.
pub fn put_count(out: &mut Vec<u8>, count: usize) {
    put_varint(out, count as u64);
}

/// Writes `bytes`; of UTF-8 this is `text`.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn varint(bytes: &[u8]) -> Result<u64, Fault> {
        let mut reader = Reader::new(bytes);
        let number = reader.varint()?;
        reader.end().map(|()| number)
    }

    #[test]
    fn varints_are_unsigned_leb128() {
        let ten = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let written: [(u64, &[u8]); 7] = [
            (0, &[0x00]),
            (1, &[0x01]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (1 << 35, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
            (u64::MAX, &ten),
        ];
        for (number, bytes) in written {
            assert_eq!(varint(bytes), Ok(number));
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn varints_in_another_form_are_refused() {
        assert_eq!(varint(&[]), Err(Fault::VarintCut));
        assert_eq!(varint(&[0x80]), Err(Fault::VarintCut));
        assert_eq!(varint(&[0x80, 0x00]), Err(Fault::VarintLong));
        assert_eq!(varint(&[0xff, 0x80, 0x00]), Err(Fault::VarintLong));
        let nine = [0xff; 9];
        assert_eq!(varint(&[&nine[..], &[0x02]].concat()), Err(Fault::VarintBeyond));
        assert_eq!(varint(&[&nine[..], &[0x81, 0x00]].concat()), Err(Fault::VarintBeyond));
        assert_eq!(varint(&[&nine[..], &[0x00]].concat()), Err(Fault::VarintLong));
        assert_eq!(varint(&[0x01, 0x02]), Err(Fault::LeftOver));
    }

    #[test]
    fn zigzag_alternates_signs() {
        let written: [(i64, &[u8]); 6] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ];
        for (number, bytes) in written {
            assert_eq!(Reader::new(bytes).zigzag(), Ok(number));
            let mut out = Vec::new();
            put_zigzag(&mut out, number);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn bytes_and_text_have_their_length_first() {
        assert_eq!(Reader::new(&[2, 0xc3, 0xa9, 7]).text(), Ok("é"));
        assert_eq!(Reader::new(&[2, 0xc3, 0x28]).text(), Err(Fault::Text));
        assert_eq!(Reader::new(&[0]).bytes(), Ok(&[][..]));
        assert_eq!(Reader::new(&[3, 1, 2]).bytes(), Err(Fault::Length));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).bytes(),
            Err(Fault::Length)
        );
        assert_eq!(Reader::new(&[1, 2, 3]).array::<4>(), Err(Fault::Length));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(unsigned: u64, signed: i64, bytes: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(&mut out, unsigned);
            put_zigzag(&mut out, signed);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(unsigned));
            prop_assert_eq!(reader.zigzag(), Ok(signed));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn a_varint_that_is_read_is_the_only_form_of_its_number(
            bytes in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let mut reader = Reader::new(&bytes);
            if let Ok(number) = reader.varint() {
                let mut out = Vec::new();
                put_varint(&mut out, number);
                prop_assert_eq!(&out[..], &bytes[..bytes.len() - reader.rest().len()]);
            }
        }
    }
}
