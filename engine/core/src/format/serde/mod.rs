//! serde in and out: any serde type to values, and values (straight from their canonical bytes) to
//! any serde type.

pub mod atomic;
mod fault;
mod from_bytes;
mod from_key;
mod from_leaves;
mod impls;
mod names;
mod native;
mod special;
mod to_value;

use alloc::format;

pub use atomic::Atomic;
pub use fault::{Fault, Step, print_path};
use from_bytes::FromBytes;
pub use from_bytes::Unread;
use from_leaves::FromLeaves;
pub use from_leaves::ShownLeaf;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::ser::Serialize;
use to_value::ToValue;

#[cfg(doc)]
use crate::error::Invalid;
use crate::error::Result;
use crate::format::value::encode_value;
use crate::model::{Content, Value};

/// Any serde type as a value. An enum's variant that carries something is a
/// [`Value::Variant`]; `Duration`, `SystemTime` and the ranges of the standard library are
/// [`Value::Atomic`], and so is what [`Atomic`] wraps.
///
/// What could not be read back as it was is refused with the path of the field at fault,
/// [`Invalid::Unfit`]: integers beyond 64 signed bits, keys of maps that are no text, integer,
/// bool, char or variant without content, two fields of one name, `Some` of what is written as
/// nothing. [`Invalid::Limit`] for more than 64 levels.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value> {
    Ok(value.serialize(ToValue::default())?)
}

/// A serde type that is a map or a struct, as content. [`Invalid::Unfit`] if it is something else;
/// what [`to_value()`] refuses is refused here, too.
pub fn to_content<T: Serialize + ?Sized>(value: &T) -> Result<Content> {
    Ok(content_from(value)?)
}

/// A serde type that is a map or a struct, as content; where [`to_content`] tells what is wrong as
/// text, this gives the [`Fault`] with the way to the place.
pub fn content_from<T: Serialize + ?Sized>(value: &T) -> Result<Content, Fault> {
    match value.serialize(ToValue::default())? {
        Value::Map(content) => Ok(content),
        other => {
            Err(Fault::new(format!("content must be a map or a struct, not {}", name_of(&other))))
        }
    }
}

/// A value as a serde type. [`Invalid::Unfit`] names the field that does not fit,
/// [`Invalid::Limit`] if the value breaks a limit of the format.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T> {
    let bytes = encode_value(value)?;
    Ok(T::deserialize(FromBytes::new(&bytes, &Unread::default()))?)
}

/// Leaves as a serde type; what of them it was offered and did not read is noted in `unread`.
/// Leaves must be in order of their paths, none below another. The [`Fault`] names the field that
/// does not fit.
pub fn from_leaves<'de, T: Deserialize<'de>>(
    leaves: &'de [ShownLeaf<'de>],
    unread: &'de Unread,
) -> Result<T, Fault> {
    T::deserialize(FromLeaves::new(leaves, unread))
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Timestamp(_) => "a timestamp",
        Value::Array(_) => "an array",
        Value::Map(_) => "a map",
        Value::Variant(_) => "a variant",
        Value::Atomic(_) => "an atomic map",
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::format::value::flatten_content;
    use crate::format::value::tests::values;
    use crate::model::{Timestamp, Variant};

    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    enum Mode {
        Off,
        Colour { hue: u16 },
        Scene(String),
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct Lamp {
        name: String,
        brightness: Option<u8>,
        mode: Mode,
        since: Timestamp,
        tags: Vec<String>,
        nested: BTreeMap<String, f32>,
        nothing: Option<String>,
        raw: Vec<u8>,
    }

    fn through_leaves<T: Serialize, U: DeserializeOwned>(value: &T) -> U {
        let leaves = flatten_content(&to_content(value).unwrap()).unwrap();
        let shown: Vec<_> = leaves.iter().map(|(p, v)| (p.as_ref(), &v[..])).collect();
        // an owned type borrows nothing of the leaves
        let value: Value = from_leaves(&shown, &Unread::default()).unwrap();
        from_value(&value).unwrap()
    }

    #[test]
    fn a_struct_survives_leaves() {
        for mode in [Mode::Off, Mode::Colour { hue: 7 }, Mode::Scene("dusk".into())] {
            let lamp = Lamp {
                name: "desk".into(),
                brightness: Some(3),
                mode,
                since: Timestamp::from_millis(-5),
                tags: vec!["a".into()],
                nested: [("x".into(), 0.5)].into(),
                nothing: None,
                raw: vec![1, 2],
            };
            assert_eq!(through_leaves::<_, Lamp>(&lamp), lamp);
            let leaves = flatten_content(&to_content(&lamp).unwrap()).unwrap();
            let shown: Vec<_> = leaves.iter().map(|(p, v)| (p.as_ref(), &v[..])).collect();
            assert_eq!(from_leaves::<Lamp>(&shown, &Unread::default()).unwrap(), lamp);
        }
    }

    #[test]
    fn bytes_read_as_a_list_of_numbers_too() {
        let value = Value::Bytes(vec![1, 2, 3]);
        assert_eq!(from_value::<Vec<u8>>(&value).unwrap(), vec![1, 2, 3]);
    }

    /// Borrows its text as serde allows, and is refused where that is in no one place.
    #[derive(Debug)]
    struct Borrows;

    impl<'de> Deserialize<'de> for Borrows {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            use serde::de::IntoDeserializer;
            <&str>::deserialize(deserializer)?;
            <&str>::deserialize(String::from("x").into_deserializer()).map(|_| Self)
        }
    }

    #[test]
    fn a_borrowed_text_that_cannot_be_had_says_owned_types_only() {
        let error = from_value::<Borrows>(&Value::from("x")).unwrap_err().to_string();
        assert!(error.contains("owned types only"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_says_what_to_do() {
        let error = to_value(&u64::MAX).unwrap_err().to_string();
        assert!(error.contains("use text"), "{error}");
        assert!(to_content(&3).is_err());
        assert!(to_value(&BTreeMap::from([(vec![1], 2)])).is_err());
        let nested = BTreeMap::from([("a", vec![BTreeMap::from([("b", u64::MAX)])])]);
        let error = to_value(&nested).unwrap_err().to_string();
        assert!(error.starts_with("field a[0].b: "), "{error}");
    }

    #[test]
    fn json_of_any_value_reads_back_as_that_value() {
        let kinds = Content::new()
            .with("time", Timestamp::from_millis(-5))
            .with("bytes", vec![0u8, 255])
            .with("nan", f64::NAN)
            .with(
                "variant",
                Variant::new("Scene", Variant::new("$map", Content::new().with("x", 1))),
            )
            .with("atomic", Value::Atomic(Content::new().with("secs", 1)))
            .with("two", Content::new().with("$variant", Content::new().with("A", 1)).with("b", 2))
            .with("one", Content::new().with("$timestamp", 5));
        let json = serde_json::to_string(&kinds).unwrap();
        assert_eq!(serde_json::from_str::<Content>(&json).unwrap(), kinds, "{json}");
        let said = |v: &Value| serde_json::to_string(v).unwrap();
        assert_eq!(said(&Variant::new("Scene", "dusk").into()), r#"{"$variant":{"Scene":"dusk"}}"#);
        assert_eq!(said(&Timestamp::EPOCH.into()), r#"{"$timestamp":0}"#);
        let map = Value::from(Content::new().with("$variant", 1));
        assert_eq!(said(&map), r#"{"$map":{"$variant":1}}"#);
        assert!(serde_json::from_str::<Value>(r#"{"$variant":1}"#).is_err(), "says nothing");
        let plain: Value = serde_json::from_str(r#"{"Scene":"dusk"}"#).unwrap();
        assert_eq!(plain, Content::new().with("Scene", "dusk").into(), "a map stays a map");
    }

    #[test]
    fn a_map_is_no_enum_however_many_keys_it_has() {
        for map in [
            Content::new().with("Scene", "dusk"),
            Content::new().with("Scene", "dusk").with("Colour", Content::new().with("hue", 1)),
        ] {
            assert!(from_value::<Mode>(&map.clone().into()).is_err());
            let leaves = flatten_content(&Content::new().with("mode", map)).unwrap();
            let shown: Vec<_> = leaves.iter().map(|(p, v)| (p.as_ref(), &v[..])).collect();
            let read = from_leaves::<BTreeMap<String, Mode>>(&shown, &Unread::default());
            assert!(read.unwrap_err().to_string().starts_with("field mode: an enum"));
        }
    }

    proptest! {
        #[test]
        fn values_survive_serde(value in values()) {
            prop_assert_eq!(&to_value(&value).unwrap(), &value);
            prop_assert_eq!(&from_value::<Value>(&value).unwrap(), &value);
            let json = serde_json::to_value(&value).unwrap();
            let back: Value = serde_json::from_value(json).unwrap();
            prop_assert_eq!(&back, &value);
        }
    }
}
