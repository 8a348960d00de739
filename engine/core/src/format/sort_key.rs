//! A scalar as bytes whose order is that of values (FORMAT.md, 2.4). Equal values have equal keys,
//! and a number is a number: 1 is 1.0.
//!
//! null < false < true < numbers < timestamps < texts < bytes. NaN comes after all other numbers;
//! arrays, maps and variants have no key.

use alloc::vec;
use alloc::vec::Vec;

use super::value::NAN;
use crate::bytes::{Read, Reader};
use crate::model::Value;

/// How many bytes of a key an index keeps. Whether two longer ones are equal, and which is less,
/// only the values tell.
pub const CUT: usize = 512;

const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const TIMESTAMP: u8 = 5;
const TEXT: u8 = 6;
const BYTES: u8 = 7;

/// In texts and bytes a zero is followed by this; what ends them is two zeros, so that the shorter
/// comes first.
const ESCAPE: u8 = 0xff;
const END: [u8; 2] = [0, 0];

/// The key of a value, uncut; nothing for arrays, maps and variants.
pub fn sort_key(value: &Value) -> Option<Vec<u8>> {
    Some(match value {
        Value::Null => vec![NULL],
        Value::Bool(false) => vec![FALSE],
        Value::Bool(true) => vec![TRUE],
        Value::Int(n) => {
            let nearest = *n as f64;
            // exact: a double near an i64 is an integer, at most 512 away
            number(nearest, (i128::from(*n) - nearest as i128) as i16)
        }
        Value::Float(x) => number(*x, 0),
        Value::Timestamp(time) => {
            let mut out = vec![TIMESTAMP];
            out.extend_from_slice(&(time.as_millis() as u64 ^ 1 << 63).to_be_bytes());
            out
        }
        Value::Text(text) => escaped(TEXT, text.as_bytes()),
        Value::Bytes(bytes) => escaped(BYTES, bytes),
        Value::Array(_) | Value::Map(_) | Value::Variant(_) | Value::Atomic(_) => return None,
    })
}

/// A double, and how far above it the number lies. Rounding keeps the order, so the doubles decide,
/// then the rests.
fn number(nearest: f64, rest: i16) -> Vec<u8> {
    let bits = if nearest.is_nan() { NAN } else { (nearest + 0.0).to_bits() };
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    let mut out = vec![NUMBER];
    out.extend_from_slice(&ordered.to_be_bytes());
    out.extend_from_slice(&(rest as u16 ^ 1 << 15).to_be_bytes());
    out
}

fn escaped(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 3);
    out.push(tag);
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(ESCAPE);
        }
    }
    out.extend_from_slice(&END);
    out
}

/// As much of a key as an index keeps: at most [`CUT`] bytes.
pub fn cut(key: &[u8]) -> &[u8] {
    &key[..key.len().min(CUT)]
}

/// Whether a key, as an index keeps it, may have been cut, and so stand for several values. If not,
/// it is no prefix of another.
pub fn may_be_cut(kept: &[u8]) -> bool {
    kept.len() >= CUT
}

/// Checks that the bytes that are left are one key, uncut; an error if they are not.
pub fn check(r: &mut Reader<'_>) -> Read<()> {
    match r.u8()? {
        NULL | FALSE | TRUE => {}
        NUMBER => drop(r.array::<10>()?),
        TIMESTAMP => drop(r.array::<8>()?),
        TEXT | BYTES => {
            while r.u8()? != 0 || r.u8()? == ESCAPE {}
            r.ensure(r.since(r.at() - END.len()) == END, "a key with a bare zero")?;
        }
        _ => return r.bad("an unknown kind of key"),
    }
    r.end()
}

#[cfg(test)]
mod tests {
    use core::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;
    use crate::format::value::tests::values;
    use crate::model::Timestamp;

    fn key(value: impl Into<Value>) -> Vec<u8> {
        sort_key(&value.into()).unwrap()
    }

    fn rank(value: &Value) -> u8 {
        match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::Float(_) => 2,
            Value::Timestamp(_) => 3,
            Value::Text(_) => 4,
            Value::Bytes(_) => 5,
            Value::Array(_) | Value::Map(_) | Value::Variant(_) | Value::Atomic(_) => 6,
        }
    }

    /// Exactly, by the whole part and then by what is behind the point.
    fn against_float(n: i64, x: f64) -> Ordering {
        if x.is_nan() || x >= 9_223_372_036_854_775_808.0 {
            return Ordering::Less;
        }
        if x < -9_223_372_036_854_775_808.0 {
            return Ordering::Greater;
        }
        let whole = x.floor();
        i128::from(n).cmp(&(whole as i128)).then(if x > whole {
            Ordering::Less
        } else {
            Ordering::Equal
        })
    }

    fn compare(a: &Value, b: &Value) -> Ordering {
        match (a, b) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Int(a), Value::Float(b)) => against_float(*a, *b),
            (Value::Float(a), Value::Int(b)) => against_float(*b, *a).reverse(),
            (Value::Float(a), Value::Float(b)) => {
                a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            }
            (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            _ => rank(a).cmp(&rank(b)),
        }
    }

    /// Integers and doubles that lie close together, or at the ends.
    fn numbers() -> impl Strategy<Value = Value> {
        let near = (0u32..64, -2i64..3, any::<bool>()).prop_map(|(bits, off, minus)| {
            let n = (1i128 << bits) + i128::from(off);
            (if minus { -n } else { n }).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
        });
        prop_oneof![
            near.clone().prop_map(Value::Int),
            near.clone().prop_map(|n| Value::Float(n as f64)),
            near.prop_map(|n| Value::Float(n as f64 + 0.5)),
            any::<i64>().prop_map(Value::Int),
            any::<i64>().prop_map(|n| Value::Float(n as f64)),
            any::<f64>().prop_map(Value::Float),
            prop_oneof![
                Just(f64::NAN),
                Just(-f64::NAN),
                Just(f64::INFINITY),
                Just(f64::NEG_INFINITY),
                Just(-0.0),
                Just(f64::MIN_POSITIVE)
            ]
            .prop_map(Value::Float),
        ]
    }

    fn zeros() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xfe), Just(0xff)], 0..6)
    }

    fn check_order(a: &Value, b: &Value) {
        match (sort_key(a), sort_key(b)) {
            (Some(x), Some(y)) => {
                assert_eq!(x.cmp(&y), compare(a, b), "{a:?} {b:?}");
                assert!(x == y || !x.starts_with(&y), "{a:?} {b:?}");
                check(&mut Reader::new(&x)).unwrap();
            }
            (x, y) => assert_eq!((x.is_none(), y.is_none()), (rank(a) == 6, rank(b) == 6)),
        }
    }

    proptest! {
        #[test]
        fn bytes_order_as_values_do(a in values(), b in values()) {
            check_order(&a, &b);
        }

        #[test]
        fn integers_and_doubles_are_one_line(a in numbers(), b in numbers()) {
            check_order(&a, &b);
        }

        #[test]
        fn zeros_inside_do_not_confuse(a in zeros(), b in zeros()) {
            check_order(&Value::Bytes(a), &Value::Bytes(b));
        }

        #[test]
        fn cutting_keeps_the_order(a in "[a-b]{508,514}", b in "[a-b]{508,514}", zero in
            prop::sample::Index::arbitrary()) {
            let mut a = a;
            a.replace_range(zero.index(a.len()).., "\0\0\0");
            let (x, y) = (key(&a[..]), key(&b[..]));
            if cut(&x) != cut(&y) {
                prop_assert_eq!(cut(&x).cmp(cut(&y)), x.cmp(&y));
                prop_assert!(!cut(&x).starts_with(cut(&y)));
            } else if x != y {
                prop_assert!(may_be_cut(cut(&x)));
            }
        }

        #[test]
        fn any_bytes_are_checked_without_panic(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), 0u8..9, Just(0xff)], 0..14),
        ) {
            if check(&mut Reader::new(&bytes)).is_ok() && bytes[0] >= TEXT {
                let raw: Vec<u8> = bytes[1..bytes.len() - 2].to_vec();
                let mut plain = Vec::new();
                let mut rest = raw.iter();
                while let Some(b) = rest.next() {
                    plain.push(*b);
                    if *b == 0 { rest.next(); }
                }
                prop_assert_eq!(escaped(bytes[0], &plain), bytes);
            }
        }
    }

    #[test]
    fn the_ends_and_the_neighbours() {
        let two53 = 1i64 << 53;
        let line: Vec<Value> = vec![
            Value::Null,
            false.into(),
            true.into(),
            f64::NEG_INFINITY.into(),
            (-1e300).into(),
            i64::MIN.into(),
            (i64::MIN + 1).into(),
            (-two53 - 1).into(),
            (-two53).into(),
            (-two53 + 1).into(),
            (-1).into(),
            (-f64::MIN_POSITIVE).into(),
            0.into(),
            f64::MIN_POSITIVE.into(),
            0.5.into(),
            1.into(),
            1.5.into(),
            (two53 - 1).into(),
            two53.into(),
            (two53 + 1).into(),
            ((two53 + 2) as f64).into(),
            (i64::MAX - 1).into(),
            i64::MAX.into(),
            9_223_372_036_854_775_808.0.into(),
            f64::INFINITY.into(),
            f64::NAN.into(),
            Timestamp::from_millis(i64::MIN).into(),
            Timestamp::from_millis(-1).into(),
            Timestamp::EPOCH.into(),
            Timestamp::from_millis(i64::MAX).into(),
            "".into(),
            "\0".into(),
            "\0\u{1}".into(),
            "\u{1}".into(),
            "a".into(),
            "a\0".into(),
            "a\0b".into(),
            "ab".into(),
            "b".into(),
            Value::Bytes(vec![]),
            vec![0u8].into(),
            vec![0u8, 0xff].into(),
            vec![0xffu8].into(),
        ];
        for pair in line.windows(2) {
            assert!(key(pair[0].clone()) < key(pair[1].clone()), "{pair:?}");
        }
    }

    #[test]
    fn equal_numbers_have_one_key() {
        for (n, x) in [
            (0, 0.0),
            (0, -0.0),
            (1, 1.0),
            (-7, -7.0),
            (1 << 53, (1u64 << 53) as f64),
            (i64::MIN, i64::MIN as f64),
        ] {
            assert_eq!(key(n), key(x));
        }
        assert_eq!(key(f64::NAN), key(-f64::NAN));
        assert_ne!(key(i64::MAX), key(i64::MAX as f64));
    }

    #[test]
    fn golden_keys() {
        let hex = |v: Value| key(v).iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(Value::Null), "01");
        assert_eq!(hex(true.into()), "03");
        assert_eq!(hex(1.into()), "04bff00000000000008000");
        assert_eq!(hex((-1.5).into()), "0440".to_owned() + "07ffffffffffff" + "8000");
        assert_eq!(hex(i64::MAX.into()), "04c3e00000000000007fff");
        assert_eq!(hex(f64::NAN.into()), "04fff80000000000008000");
        assert_eq!(hex(Timestamp::from_millis(1).into()), "058000000000000001");
        assert_eq!(hex("a\0".into()), "066100ff0000");
        assert_eq!(hex(vec![0xffu8].into()), "07ff0000");
    }
}
