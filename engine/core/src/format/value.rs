//! Values and paths as canonical bytes (FORMAT.md, 1.4): values are equal if and only if these are.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use crate::bytes::{Put, Read, Reader};
use crate::error::{Invalid, Result};
use crate::limits;
use crate::model::{Content, Path, PathRef, Timestamp, Value, Variant};

/// The first byte of a value: which kind it is, and so what follows.
pub mod tag {
    /// Null; nothing follows.
    pub const NULL: u8 = 0x00;
    /// False; nothing follows.
    pub const FALSE: u8 = 0x01;
    /// True; nothing follows.
    pub const TRUE: u8 = 0x02;
    /// A signed 64-bit integer, as zigzag.
    pub const INT: u8 = 0x03;
    /// A double, in 8 bytes, most significant first.
    pub const FLOAT: u8 = 0x04;
    /// Text, its length in front.
    pub const TEXT: u8 = 0x05;
    /// Bytes, their length in front.
    pub const BYTES: u8 = 0x06;
    /// A moment in milliseconds since 1970, as zigzag.
    pub const TIMESTAMP: u8 = 0x07;
    /// An array: the length of what follows, how many items, the items.
    pub const ARRAY: u8 = 0x08;
    /// A map: the length of what follows, how many fields, keys and values in order of the keys.
    pub const MAP: u8 = 0x09;
    /// A variant of an enum: the length of what follows, its name, the value that it carries.
    pub const VARIANT: u8 = 0x0a;
    /// A map that is one value; the bytes that follow are those of a map.
    pub const ATOMIC: u8 = 0x0b;
}

/// Whether canonical bytes are a variant or an atomic map: these have names inside, but no path
/// leads there, since they are one value.
pub fn is_closed(value: &[u8]) -> bool {
    matches!(value.first(), Some(&tag::VARIANT | &tag::ATOMIC))
}

/// Canonical bytes of the empty map. As a leaf it says that a map stands there, whatever stands
/// below it.
pub const EMPTY_MAP: &[u8] = &[tag::MAP, 1, 0];
/// The bits of the one NaN that floats of the format know.
pub const NAN: u64 = 0x7ff8_0000_0000_0000;

/// Appends a value. `depth`: keys, arrays, maps and variants around it.
fn encode(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<()> {
    match value {
        Value::Null => out.push(tag::NULL),
        Value::Bool(b) => out.push(if *b { tag::TRUE } else { tag::FALSE }),
        Value::Int(n) => {
            out.push(tag::INT);
            out.zigzag(*n);
        }
        Value::Float(x) => {
            let bits = if x.is_nan() { NAN } else { (x + 0.0).to_bits() };
            out.push(tag::FLOAT);
            out.extend_from_slice(&bits.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(tag::TEXT);
            out.bytes(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(tag::BYTES);
            out.bytes(bytes);
        }
        Value::Timestamp(time) => {
            out.push(tag::TIMESTAMP);
            out.zigzag(time.as_millis());
        }
        Value::Array(items) => {
            let mut inner = Vec::new();
            inner.varint(items.len() as u64);
            for item in items {
                encode(&mut inner, item, deeper(depth)?)?;
            }
            out.push(tag::ARRAY);
            out.bytes(&inner);
        }
        Value::Map(fields) => encode_fields(out, tag::MAP, fields, depth)?,
        Value::Atomic(fields) => encode_fields(out, tag::ATOMIC, fields, depth)?,
        Value::Variant(variant) => {
            check_key(variant.name())?;
            let mut inner = Vec::new();
            inner.bytes(variant.name().as_bytes());
            encode(&mut inner, variant.content(), deeper(depth)?)?;
            out.push(tag::VARIANT);
            out.bytes(&inner);
        }
    }
    Ok(())
}

fn encode_fields(out: &mut Vec<u8>, tag: u8, fields: &Content, depth: usize) -> Result<()> {
    let mut inner = Vec::new();
    inner.varint(fields.len() as u64);
    for (key, item) in fields {
        check_key(key)?;
        inner.bytes(key.as_bytes());
        encode(&mut inner, item, deeper(depth)?)?;
    }
    out.push(tag);
    out.bytes(&inner);
    Ok(())
}

fn deeper(depth: usize) -> Result<usize> {
    if depth >= limits::DEPTH {
        return Err(Invalid::Limit {
            what: "depth",
            limit: limits::DEPTH as u64,
            given: depth as u64 + 1,
        });
    }
    Ok(depth + 1)
}

fn check_key(key: &str) -> Result<()> {
    if key.len() > limits::KEY {
        return Err(Invalid::Limit {
            what: "bytes of a key",
            limit: limits::KEY as u64,
            given: key.len() as u64,
        });
    }
    Ok(())
}

/// Canonical bytes of a value that stands by itself, a map as a whole. [`Invalid::Limit`] if it is
/// too deep or has too long a key.
pub fn encode_value(value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    encode(&mut out, value, 0)?;
    Ok(out)
}

/// Appends the leaves of a value at a path, each with its canonical bytes. A map with entries is as
/// many leaves as it has inside; the map leaves above them are not among these. [`Invalid::Limit`]
/// if something is too deep or has too long a key.
pub fn flatten(path: Path, value: &Value, out: &mut Vec<(Path, Vec<u8>)>) -> Result<()> {
    for key in path.as_ref().keys() {
        check_key(key)?;
    }
    deeper(path.depth().saturating_sub(1))?;
    if let Value::Map(content) = value
        && !content.is_empty()
    {
        for (key, item) in content {
            flatten(path.join(key), item, out)?;
        }
        return Ok(());
    }
    let mut bytes = Vec::new();
    encode(&mut bytes, value, path.depth())?;
    out.push((path, bytes));
    Ok(())
}

/// The leaves of a content in order of their paths, each with its canonical bytes, without map
/// leaves above others. [`Invalid::Limit`] if something is too deep or has too long a key.
pub fn flatten_content(content: &Content) -> Result<Vec<(Path, Vec<u8>)>> {
    let mut out = Vec::new();
    for (key, value) in content {
        flatten(Path::new([key]), value, &mut out)?;
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

/// Reads a value that was checked before, so that its depth is bounded; of maps the fields to
/// `keep`, told by the bytes of their values.
fn decode(r: &mut Reader<'_>, keep: &dyn Fn(&[u8]) -> bool) -> Read<Value> {
    Ok(match r.u8()? {
        tag::NULL => Value::Null,
        tag::FALSE => Value::Bool(false),
        tag::TRUE => Value::Bool(true),
        tag::INT => Value::Int(r.zigzag()?),
        tag::FLOAT => Value::Float(f64::from_bits(float_bits(r)?)),
        tag::TEXT => Value::Text(r.text()?.to_owned()),
        tag::BYTES => Value::Bytes(r.bytes()?.to_vec()),
        tag::TIMESTAMP => Value::Timestamp(Timestamp::from_millis(r.zigzag()?)),
        tag::ARRAY => {
            let mut inner = Reader::new(r.bytes()?);
            let n = inner.count(1)?;
            let items = (0..n).map(|_| decode(&mut inner, keep)).collect::<Read<_>>()?;
            inner.end()?;
            Value::Array(items)
        }
        tag::MAP => Value::Map(decode_fields(r, keep)?),
        tag::ATOMIC => Value::Atomic(decode_fields(r, keep)?),
        tag::VARIANT => {
            let mut inner = Reader::new(r.bytes()?);
            Variant::new(inner.text()?, decode(&mut inner, keep)?).into()
        }
        _ => return r.bad("an unknown kind of value"),
    })
}

fn decode_fields(r: &mut Reader<'_>, keep: &dyn Fn(&[u8]) -> bool) -> Read<Content> {
    let mut inner = Reader::new(r.bytes()?);
    let n = inner.count(2)?;
    let mut content = Content::new();
    for _ in 0..n {
        let key = inner.text()?;
        let from = inner.at();
        let value = decode(&mut inner, keep)?;
        if keep(inner.since(from)) {
            content.insert(key, value);
        }
    }
    Ok(content)
}

fn float_bits(r: &mut Reader<'_>) -> Read<u64> {
    let bits = r.u64be()?;
    let x = f64::from_bits(bits);
    let canonical = if x.is_nan() { bits == NAN } else { bits != (-0.0f64).to_bits() };
    r.ensure(canonical, "a float that is not canonical")?;
    Ok(bits)
}

/// Steps over a value and checks that it is canonical, without taking memory. Returns its bytes.
/// `depth`: how many keys, arrays, maps and variants are around it.
pub fn skip<'a>(r: &mut Reader<'a>, depth: usize) -> Read<&'a [u8]> {
    let from = r.at();
    match r.u8()? {
        tag::NULL | tag::FALSE | tag::TRUE => {}
        tag::INT | tag::TIMESTAMP => drop(r.varint()?),
        tag::FLOAT => drop(float_bits(r)?),
        tag::TEXT => drop(r.text()?),
        tag::BYTES => drop(r.bytes()?),
        tag::ARRAY => {
            let mut inner = Reader::new(r.bytes()?);
            let n = inner.count(1)?;
            inner.ensure(n == 0 || depth < limits::DEPTH, "too deep")?;
            for _ in 0..n {
                skip(&mut inner, depth + 1)?;
            }
            inner.end()?;
        }
        tag::MAP | tag::ATOMIC => {
            let mut inner = Reader::new(r.bytes()?);
            let n = inner.count(2)?;
            inner.ensure(n == 0 || depth < limits::DEPTH, "too deep")?;
            let mut last: Option<&str> = None;
            for _ in 0..n {
                let key = inner.text()?;
                inner.ensure(key.len() <= limits::KEY, "a key too long")?;
                inner.ensure(last.is_none_or(|l| l < key), "keys out of order")?;
                last = Some(key);
                skip(&mut inner, depth + 1)?;
            }
            inner.end()?;
        }
        tag::VARIANT => {
            let mut inner = Reader::new(r.bytes()?);
            let name = inner.text()?;
            inner.ensure(name.len() <= limits::KEY, "a name too long")?;
            inner.ensure(depth < limits::DEPTH, "too deep")?;
            skip(&mut inner, depth + 1)?;
            inner.end()?;
        }
        _ => return r.bad("an unknown kind of value"),
    }
    Ok(r.since(from))
}

/// Steps over a leaf's value, checks it and returns its bytes: as [`skip`], but a map with entries
/// is an error, since those are leaves of their own. `depth`: how many keys its path has.
pub fn skip_leaf<'a>(r: &mut Reader<'a>, depth: usize) -> Read<&'a [u8]> {
    let value = skip(r, depth)?;
    r.ensure(value[0] != tag::MAP || value == EMPTY_MAP, "a map where its leaves should be")?;
    Ok(value)
}

/// Appends a path.
pub fn put_path(out: &mut Vec<u8>, path: &Path) {
    out.extend_from_slice(path.as_bytes());
}

/// Reads a path. An error unless it has 1 to 64 keys of at most 1,024 bytes each.
pub fn path<'a>(r: &mut Reader<'a>) -> Read<PathRef<'a>> {
    let from = r.at();
    let n = r.count(1)?;
    r.ensure((1..=limits::DEPTH).contains(&n), "a path too short or too long")?;
    for _ in 0..n {
        let key = r.text()?;
        r.ensure(key.len() <= limits::KEY, "a key too long")?;
    }
    Ok(PathRef::new(r.since(from)))
}

/// Reads a value from canonical bytes that [`skip`] or the author has checked before, so that their
/// depth is bounded.
pub fn decode_all(bytes: &[u8]) -> Read<Value> {
    decode_kept(bytes, &|_| true)
}

/// Reads a value from canonical bytes that were checked before, without some of the fields of the
/// maps in it: `keep` is asked with the bytes of each one's value.
pub fn decode_kept(bytes: &[u8], keep: &dyn Fn(&[u8]) -> bool) -> Read<Value> {
    decode(&mut Reader::new(bytes), keep)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_map(Value::Float),
            Just(Value::Float(f64::NAN)),
            Just(Value::Float(-0.0)),
            ".{0,12}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..12).prop_map(Value::Bytes),
            any::<i64>().prop_map(|ms| Value::Timestamp(Timestamp::from_millis(ms))),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                ("[a-c]{0,2}", inner.clone()).prop_map(|(n, v)| Variant::new(n, v).into()),
                (proptest::collection::btree_map("[a-c]{0,2}", inner, 0..4), any::<bool>())
                    .prop_map(|(m, atomic)| {
                        let fields = m.into_iter().collect();
                        if atomic { Value::Atomic(fields) } else { Value::Map(fields) }
                    }),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_round_trip_and_are_canonical(value in values()) {
            let bytes = encode_value(&value).unwrap();
            prop_assert_eq!(decode_all(&bytes).unwrap(), value);
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(skip(&mut r, 0).unwrap(), &bytes[..]);
            prop_assert!(r.is_empty());
        }

        #[test]
        fn equal_values_have_equal_bytes_and_only_they(a in values(), b in values()) {
            prop_assert_eq!(a == b, encode_value(&a).unwrap() == encode_value(&b).unwrap());
        }

        #[test]
        fn mutated_bytes_never_panic(value in values(), at: prop::sample::Index, byte: u8) {
            let mut bytes = encode_value(&value).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if skip(&mut Reader::new(&bytes), 0).is_ok() {
                let mut r = Reader::new(&bytes);
                let again = encode_value(&decode(&mut r, &|_| true).unwrap()).unwrap();
                prop_assert_eq!(&again[..], &bytes[..r.at()]);
            }
        }
    }

    #[test]
    fn depth_is_limited_alike_for_author_and_reader() {
        let nested = |n: usize| (0..n).fold(Value::Null, |v, _| Value::Array(vec![v]));
        let mut leaves = Vec::new();
        flatten(Path::new(["k"]), &nested(limits::DEPTH - 1), &mut leaves).unwrap();
        skip_leaf(&mut Reader::new(&leaves[0].1), 1).unwrap();
        assert!(flatten(Path::new(["k"]), &nested(limits::DEPTH), &mut leaves).is_err());
        let mut deep = vec![tag::NULL];
        for _ in 0..limits::DEPTH {
            let mut outer = vec![tag::ARRAY];
            let mut inner = vec![1];
            inner.extend_from_slice(&deep);
            outer.bytes(&inner);
            deep = outer;
        }
        assert!(skip_leaf(&mut Reader::new(&deep), 1).is_err());
    }

    #[test]
    fn a_variant_counts_as_a_level_and_its_name_is_limited_as_a_key() {
        let wrap = |v| Value::from(Variant::new("v", v));
        let nested = |n: usize| (0..n).fold(Value::Null, |v, _| wrap(v));
        let mut leaves = Vec::new();
        flatten(Path::new(["k"]), &nested(limits::DEPTH - 1), &mut leaves).unwrap();
        assert_eq!(leaves.len(), 1, "one value");
        skip_leaf(&mut Reader::new(&leaves[0].1), 1).unwrap();
        skip_leaf(&mut Reader::new(&leaves[0].1), 2).unwrap_err();
        assert!(flatten(Path::new(["k"]), &nested(limits::DEPTH), &mut leaves).is_err());
        let named = |n: usize| encode_value(&Variant::new("n".repeat(n), 1).into());
        skip(&mut Reader::new(&named(limits::KEY).unwrap()), 0).unwrap();
        assert!(named(limits::KEY + 1).is_err());
    }

    #[test]
    fn an_atomic_map_is_one_leaf_and_no_map() {
        let fields = Content::new().with("nanos", 5).with("secs", 1);
        let mut leaves = Vec::new();
        flatten(Path::new(["k"]), &Value::Atomic(fields.clone()), &mut leaves).unwrap();
        assert_eq!(leaves.len(), 1);
        skip_leaf(&mut Reader::new(&leaves[0].1), 1).unwrap();
        assert_ne!(Value::Atomic(fields.clone()), Value::Map(fields));
        let empty = encode_value(&Value::Atomic(Content::new())).unwrap();
        assert_ne!(empty, EMPTY_MAP);
    }
}
