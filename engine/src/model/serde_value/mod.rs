//! serde in and out: any serde type to values, and values (straight from their canonical bytes) to any serde type.

mod from_bytes;
mod from_leaves;
mod impls;
mod to_value;

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned};
use serde::ser::{self, Serialize};

use super::{Content, PathRef, Value};
use crate::error::{Error, Result};
use crate::format::value::encode_value;

use from_bytes::FromBytes;
use from_leaves::FromLeaves;
use to_value::ToValue;

/// Name under which a timestamp crosses serde's data model, so that it stays one.
const TIMESTAMP: &str = "$heirloom::Timestamp";

/// Any serde type as a value. Integers beyond 64 signed bits and maps whose keys are not text are [`Error::Invalid`].
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value> {
    value.serialize(ToValue).map_err(|Message(text)| Error::Invalid(text))
}

/// A serde type that is a map or a struct, as content.
pub(crate) fn to_content<T: Serialize + ?Sized>(value: &T) -> Result<Content> {
    match to_value(value)? {
        Value::Map(content) => Ok(content),
        other => Err(Error::invalid(format!("content must be a map or a struct, not {}", name_of(&other)))),
    }
}

/// A value as a serde type.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T> {
    let bytes = encode_value(value)?;
    T::deserialize(FromBytes::new(&bytes)).map_err(|Message(text)| Error::Invalid(text))
}

/// One shown leaf: its path and the canonical bytes of its value.
pub(crate) type ShownLeaf<'a> = (PathRef<'a>, &'a [u8]);

/// Leaves in order of their paths as a serde type.
pub(crate) fn from_leaves<'de, T: Deserialize<'de>>(leaves: &'de [ShownLeaf<'de>]) -> Result<T> {
    T::deserialize(FromLeaves::new(leaves)).map_err(|Message(text)| Error::Invalid(text))
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
    }
}

#[derive(Debug)]
struct Message(String);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Message {}

impl ser::Error for Message {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Message(text.to_string())
    }
}

impl de::Error for Message {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Message(text.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        let advice = match expected.starts_with("a borrowed") {
            true => "; owned types only: use String or Vec<u8>",
            false => "",
        };
        Message(format!("invalid type: {found}, expected {expected}{advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::value::{flatten_content, tests::values};
    use crate::model::Timestamp;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

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
        from_leaves::<Value>(&shown).and_then(|v| from_value(&v)).unwrap()
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
            assert_eq!(from_leaves::<Lamp>(&shown).unwrap(), lamp);
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
            use de::IntoDeserializer;
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
    }

    proptest! {
        #[test]
        fn values_survive_serde(value in values()) {
            prop_assert_eq!(&to_value(&value).unwrap(), &value);
            prop_assert_eq!(&from_value::<Value>(&value).unwrap(), &value);
        }
    }
}
