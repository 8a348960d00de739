//! Values, kept as their canonical bytes: two are equal if and only if their bytes are.

use std::fmt;

use super::primitives::{Reader, put_bytes, put_count, put_zigzag};
use super::state::{MAX_DEPTH, MAX_KEY};
use super::{Fault, Unverified};

mod tag {
    pub(super) const NULL: u8 = 0x00;
    pub(super) const FALSE: u8 = 0x01;
    pub(super) const TRUE: u8 = 0x02;
    pub(super) const INTEGER: u8 = 0x03;
    pub(super) const FLOAT: u8 = 0x04;
    pub(super) const TEXT: u8 = 0x05;
    pub(super) const BYTES: u8 = 0x06;
    pub(super) const TIMESTAMP: u8 = 0x07;
    pub(super) const ARRAY: u8 = 0x08;
    pub(super) const MAP: u8 = 0x09;
    pub(super) const VARIANT: u8 = 0x0a;
    pub(super) const ATOMIC: u8 = 0x0b;
}

const NAN: u64 = 0x7ff8_0000_0000_0000;

/// A value as its bytes. What was read is canonical; what was made by [`Value::raw`] may be
/// anything.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Vec<u8>);

impl Value {
    /// Null.
    pub fn null() -> Self {
        Self(vec![tag::NULL])
    }

    /// False or true.
    pub fn bool(value: bool) -> Self {
        Self(vec![if value { tag::TRUE } else { tag::FALSE }])
    }

    /// An integer.
    pub fn int(value: i64) -> Self {
        Self::written(tag::INTEGER, |out| put_zigzag(out, value))
    }

    /// A float; of NaN the one, of zeros the positive.
    pub fn float(value: f64) -> Self {
        let bits = match value {
            _ if value.is_nan() => NAN,
            0.0 => 0,
            _ => value.to_bits(),
        };
        Self::written(tag::FLOAT, |out| out.extend(bits.to_be_bytes()))
    }

    /// Text.
    pub fn text(value: &str) -> Self {
        Self::written(tag::TEXT, |out| put_bytes(out, value.as_bytes()))
    }

    /// Bytes.
    pub fn bytes(value: &[u8]) -> Self {
        Self::written(tag::BYTES, |out| put_bytes(out, value))
    }

    /// Milliseconds since 1970, or before.
    pub fn timestamp(millis: i64) -> Self {
        Self::written(tag::TIMESTAMP, |out| put_zigzag(out, millis))
    }

    /// An array.
    pub fn array(values: &[Self]) -> Self {
        let mut inner = Vec::new();
        put_count(&mut inner, values.len());
        for value in values {
            inner.extend_from_slice(&value.0);
        }
        Self::written(tag::ARRAY, |out| put_bytes(out, &inner))
    }

    /// A map with its keys in the order given, which should be ascending. With entries it stands
    /// only inside an array, a variant or an atomic map.
    pub fn map(entries: &[(&str, Self)]) -> Self {
        Self::entries(tag::MAP, entries)
    }

    /// The same as one value, which may stand anywhere.
    pub fn atomic(entries: &[(&str, Self)]) -> Self {
        Self::entries(tag::ATOMIC, entries)
    }

    /// A variant with what it carries.
    pub fn variant(name: &str, carried: &Self) -> Self {
        let mut inner = Vec::new();
        put_bytes(&mut inner, name.as_bytes());
        inner.extend_from_slice(&carried.0);
        Self::written(tag::VARIANT, |out| put_bytes(out, &inner))
    }

    fn entries(tag: u8, entries: &[(&str, Self)]) -> Self {
        let mut inner = Vec::new();
        put_count(&mut inner, entries.len());
        for (key, value) in entries {
            put_bytes(&mut inner, key.as_bytes());
            inner.extend_from_slice(&value.0);
        }
        Self::written(tag, |out| put_bytes(out, &inner))
    }

    /// Any bytes, canonical or not.
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tag and what follows the length, of one that has a length.
    pub(crate) fn inner(&self) -> Option<(u8, &[u8])> {
        use tag::{ARRAY, ATOMIC, BYTES, TEXT, VARIANT};
        let mut r = Reader::new(&self.0);
        let tag = r.u8().ok().filter(|tag| [TEXT, BYTES, ARRAY, VARIANT, ATOMIC].contains(tag))?;
        Some((tag, r.bytes().ok()?))
    }

    /// Is it the map that holds nothing?
    pub fn is_empty_map(&self) -> bool {
        *self == Self::map(&[])
    }

    fn written(tag: u8, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut out = vec![tag];
        write(&mut out);
        Self(out)
    }

    /// Reads the value of a leaf under a path of `depth` keys.
    pub(super) fn read(r: &mut Reader<'_>, depth: usize) -> Result<Self, Unverified> {
        let from = r.rest();
        if from.starts_with(&[tag::MAP]) && !from.starts_with(Self::map(&[]).as_bytes()) {
            return Err(Unverified::Malformed("a leaf that is a map with entries"));
        }
        check(r, depth)?;
        Ok(Self(from[..from.len() - r.rest().len()].to_vec()))
    }
}

/// Reads over one value that `depth` keys, arrays, maps and variants are around.
fn check(r: &mut Reader<'_>, depth: usize) -> Result<(), Unverified> {
    if depth > MAX_DEPTH {
        return Err(Unverified::Limit("depth"));
    }
    match r.u8()? {
        tag::NULL | tag::FALSE | tag::TRUE => {}
        tag::INTEGER | tag::TIMESTAMP => {
            r.varint()?;
        }
        tag::FLOAT => check_float(u64::from_be_bytes(r.array()?))?,
        tag::TEXT => {
            r.text()?;
        }
        tag::BYTES => {
            r.bytes()?;
        }
        tag::ARRAY => {
            let mut inner = Reader::new(r.bytes()?);
            for _ in 0..inner.varint()? {
                check(&mut inner, depth + 1)?;
            }
            inner.end()?;
        }
        tag::MAP | tag::ATOMIC => check_map(Reader::new(r.bytes()?), depth + 1)?,
        tag::VARIANT => {
            let mut inner = Reader::new(r.bytes()?);
            if inner.text()?.len() > MAX_KEY {
                return Err(Unverified::Limit("key"));
            }
            check(&mut inner, depth + 1)?;
            inner.end()?;
        }
        0x10..=0x12 => return Err(Unverified::Malformed("reserved tag of a value")),
        _ => return Err(Unverified::Malformed("unknown tag of a value")),
    }
    Ok(())
}

fn check_float(bits: u64) -> Result<(), Unverified> {
    let float = f64::from_bits(bits);
    let canonical = if float.is_nan() { bits == NAN } else { bits != (-0.0_f64).to_bits() };
    if canonical { Ok(()) } else { Err(Unverified::Malformed("float")) }
}

fn check_map(mut r: Reader<'_>, depth: usize) -> Result<(), Unverified> {
    let mut last = None;
    for _ in 0..r.varint()? {
        let key = r.text()?;
        if key.len() > MAX_KEY {
            return Err(Unverified::Limit("key"));
        }
        if last.is_some_and(|last| last >= key) {
            return Err(Unverified::Malformed("order of the keys of a map"));
        }
        last = Some(key);
        check(&mut r, depth)?;
    }
    Ok(r.end()?)
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prints a value for people: JSON where it can be, `x"…"` for bytes, `@…` for timestamps, floats
/// with a point, `Name(…)` for variants, `#{…}` for atomic maps.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut r = Reader::new(&self.0);
        match print(&mut r) {
            Ok(text) if r.end().is_ok() => f.write_str(&text),
            _ => write!(f, "not a value: {:02x?}", self.0),
        }
    }
}

fn print(r: &mut Reader<'_>) -> Result<String, Fault> {
    Ok(match r.u8()? {
        tag::NULL => "null".into(),
        tag::FALSE => "false".into(),
        tag::TRUE => "true".into(),
        tag::INTEGER => r.zigzag()?.to_string(),
        tag::FLOAT => format!("{:?}", f64::from_bits(u64::from_be_bytes(r.array()?))),
        tag::TEXT => format!("{:?}", r.text()?),
        tag::BYTES => {
            format!(
                "x\"{}\"",
                r.bytes()?.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            )
        }
        tag::TIMESTAMP => format!("@{}", r.zigzag()?),
        tag::ARRAY => format!("[{}]", print_list(r, print)?),
        tag::MAP => format!("{{{}}}", print_list(r, print_entry)?),
        tag::ATOMIC => format!("#{{{}}}", print_list(r, print_entry)?),
        tag::VARIANT => {
            let mut inner = Reader::new(r.bytes()?);
            let printed = format!("{}({})", inner.text()?, print(&mut inner)?);
            inner.end().map(|()| printed)?
        }
        _ => return Err(Fault::LeftOver),
    })
}

fn print_entry(r: &mut Reader<'_>) -> Result<String, Fault> {
    Ok(format!("{:?}: {}", r.text()?, print(r)?))
}

fn print_list(
    r: &mut Reader<'_>,
    item: impl Fn(&mut Reader<'_>) -> Result<String, Fault>,
) -> Result<String, Fault> {
    let mut inner = Reader::new(r.bytes()?);
    let items = (0..inner.varint()?).map(|_| item(&mut inner)).collect::<Result<Vec<_>, _>>()?;
    inner.end().map(|()| items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Value, Unverified> {
        let mut r = Reader::new(bytes);
        let value = Value::read(&mut r, 1)?;
        r.end()?;
        Ok(value)
    }

    #[test]
    fn values_have_these_bytes() {
        let written: [(Value, &[u8], &str); 16] = [
            (Value::null(), &[0], "null"),
            (Value::bool(false), &[1], "false"),
            (Value::bool(true), &[2], "true"),
            (Value::int(-2), &[3, 3], "-2"),
            (Value::float(1.5), &[4, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "1.5"),
            (Value::float(-f64::NAN), &[4, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], "NaN"),
            (Value::float(-0.0), &[4, 0, 0, 0, 0, 0, 0, 0, 0], "0.0"),
            (Value::text("hé"), &[5, 3, b'h', 0xc3, 0xa9], "\"hé\""),
            (Value::bytes(&[1, 255]), &[6, 2, 1, 255], "x\"01ff\""),
            (Value::timestamp(-1), &[7, 1], "@-1"),
            (Value::array(&[Value::int(1), Value::null()]), &[8, 4, 2, 3, 2, 0], "[1, null]"),
            (Value::map(&[]), &[9, 1, 0], "{}"),
            (
                Value::array(&[Value::map(&[("k", Value::null())])]),
                &[8, 7, 1, 9, 4, 1, 1, b'k', 0],
                "[{\"k\": null}]",
            ),
            (Value::atomic(&[]), &[0x0b, 1, 0], "#{}"),
            (Value::atomic(&[("k", Value::int(1))]), &[0x0b, 5, 1, 1, b'k', 3, 2], "#{\"k\": 1}"),
            (
                Value::variant("On", &Value::map(&[("k", Value::null())])),
                &[0x0a, 9, 2, b'O', b'n', 9, 4, 1, 1, b'k', 0],
                "On({\"k\": null})",
            ),
        ];
        for (value, bytes, text) in written {
            assert_eq!(value.as_bytes(), bytes);
            assert_eq!(read(bytes), Ok(value.clone()));
            assert_eq!(value.to_string(), text);
        }
        assert_ne!(Value::int(1), Value::float(1.0));
    }

    #[test]
    fn values_in_another_form_are_malformed() {
        let refused: [&[u8]; 20] = [
            &[],
            &[0x0a],
            &[0x0a, 2, 1, b'v'],       // a variant that carries nothing
            &[0x0a, 4, 1, b'v', 0, 0], // or two values
            &[0x0b, 8, 2, 1, b'b', 0, 1, b'a', 0], // keys unsorted in an atomic map
            &[0x0c, 1, 0],
            &[0x10, 0],
            &[0x12, 1, 1],
            &[3, 0x80, 0],
            &[4, 0x80, 0, 0, 0, 0, 0, 0, 0],              // −0
            &[4, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1],           // another NaN
            &[4, 0xff, 0xf8, 0, 0, 0, 0, 0, 0],           // another NaN
            &[5, 1, 0xff],                                // not UTF-8
            &[6, 2, 1],                                   // cut
            &[8, 2, 1],                                   // length beyond
            &[8, 2, 0, 0],                                // bytes left over in an array
            &[9, 2, 0, 0],                                // and in a map
            &[9, 4, 1, 1, b'k', 0],                       // a leaf that is a map with entries
            &[8, 10, 1, 9, 7, 2, 1, b'b', 0, 1, b'a', 0], // keys unsorted
            &[8, 10, 1, 9, 7, 2, 1, b'a', 0, 1, b'a', 0], // keys doubled
        ];
        for bytes in refused {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn depth_counts_keys_and_what_is_around_a_value() {
        let nested =
            |arrays: usize| (0..arrays).fold(Value::null(), |value, _| Value::array(&[value]));
        let under = |keys, arrays| {
            Value::read(&mut Reader::new(nested(arrays).as_bytes()), keys).map(|_| ())
        };
        assert_eq!(under(64, 0), Ok(()));
        assert_eq!(under(64, 1), Err(Unverified::Limit("depth")));
        assert_eq!(under(1, 63), Ok(()));
        assert_eq!(under(1, 64), Err(Unverified::Limit("depth")));
        assert_eq!(under(1, 100_000), Err(Unverified::Limit("depth")));
        let variants =
            |levels: usize| (0..levels).fold(Value::null(), |value, _| Value::variant("v", &value));
        let carried = |n| Value::read(&mut Reader::new(variants(n).as_bytes()), 1).map(|_| ());
        assert_eq!((carried(63), carried(64)), (Ok(()), Err(Unverified::Limit("depth"))));
        let empty = Value::array(&[]);
        assert_eq!(
            Value::read(&mut Reader::new(empty.as_bytes()), 64),
            Ok(empty),
            "nothing is inside"
        );
    }

    #[test]
    fn a_key_of_a_map_has_at_most_1024_bytes() {
        let with_key =
            |length| Value::array(&[Value::map(&[(&*"k".repeat(length), Value::null())])]);
        assert!(read(with_key(1024).as_bytes()).is_ok());
        assert_eq!(read(with_key(1025).as_bytes()), Err(Unverified::Limit("key")));
        let named = |length| Value::variant(&"n".repeat(length), &Value::null());
        assert!(read(named(1024).as_bytes()).is_ok());
        assert_eq!(read(named(1025).as_bytes()), Err(Unverified::Limit("key")));
    }
}
