//! How our own types cross serde's data model.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{self, DeserializeSeed, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::{TIMESTAMP, VALUE};
use super::{name_of, special};
use crate::bytes::Reader;
use crate::format::value::{decode_all, skip};
use crate::limits;
use crate::model::{Content, Timestamp, Value, Variant};

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_newtype_struct(TIMESTAMP, &self.as_millis())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Millis;
        impl<'de> Visitor<'de> for Millis {
            type Value = i64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timestamp in milliseconds")
            }
            fn visit_i64<E>(self, n: i64) -> Result<i64, E> {
                Ok(n)
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<i64, E> {
                i64::try_from(n).map_err(E::custom)
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<i64, D::Error> {
                // a value that serde kept to try several types on it says the kind
                if d.is_human_readable() {
                    d.deserialize_any(self)
                } else {
                    d.deserialize_i64(self)
                }
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<i64, A::Error> {
                match map.next_key_seed(AnyKey)? {
                    Some(key) if key.text == special::TIMESTAMP => map.next_value(),
                    _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
                }
            }
        }
        d.deserialize_newtype_struct(TIMESTAMP, Millis).map(Timestamp::from_millis)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => s.serialize_unit(),
            Value::Bool(b) => s.serialize_bool(*b),
            Value::Int(n) => s.serialize_i64(*n),
            Value::Float(x) if !x.is_finite() && s.is_human_readable() => {
                s.serialize_newtype_variant(VALUE, 0, special::FLOAT, &x.to_string())
            }
            Value::Float(x) => s.serialize_f64(*x),
            Value::Text(text) => s.serialize_str(text),
            Value::Bytes(bytes) if s.is_human_readable() => {
                s.serialize_newtype_variant(VALUE, 1, special::BYTES, &Raw(bytes))
            }
            Value::Bytes(bytes) => s.serialize_bytes(bytes),
            Value::Timestamp(time) => {
                s.serialize_newtype_variant(VALUE, 2, special::TIMESTAMP, &time.as_millis())
            }
            Value::Array(items) => items.serialize(s),
            Value::Map(fields) => fields.serialize(s),
            Value::Variant(variant) => {
                s.serialize_newtype_variant(VALUE, 3, special::VARIANT, &One(variant))
            }
            Value::Atomic(fields) => {
                s.serialize_newtype_variant(VALUE, 4, special::ATOMIC, &Entries(fields))
            }
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.iter().any(|(key, _)| special::is_kind(key)) {
            return s.serialize_newtype_variant(VALUE, 5, special::MAP, &Entries(self));
        }
        Entries(self).serialize(s)
    }
}

/// Bytes and nothing else.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(self.0)
    }
}

/// A map, whatever its keys are.
struct Entries<'a>(&'a Content);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter())
    }
}

/// A variant as a map with one entry.
struct One<'a>(&'a Variant);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(1))?;
        map.serialize_entry(self.0.name(), self.0.content())?;
        map.end()
    }
}

/// A key of a map, and whether it came as bytes: then it says a kind of value.
struct Key {
    text: String,
    marked: bool,
}

struct AnyKey;

impl<'de> DeserializeSeed<'de> for AnyKey {
    type Value = Key;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Key, D::Error> {
        d.deserialize_any(self)
    }
}

impl Visitor<'_> for AnyKey {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text")
    }
    fn visit_str<E>(self, text: &str) -> Result<Key, E> {
        Ok(Key { text: text.to_owned(), marked: false })
    }
    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Key, E> {
        let text = core::str::from_utf8(bytes).map_err(E::custom)?;
        Ok(Key { text: text.to_owned(), marked: true })
    }
}

/// Any value, from stored bytes or from a format of others.
#[derive(Clone, Copy)]
struct AnyValue {
    /// Arrays, maps and variants around it.
    depth: usize,
    /// Whether a map is taken as it is, though its key says a kind.
    raw: bool,
}

impl AnyValue {
    fn inside<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= limits::DEPTH {
            return Err(E::custom(format_args!(
                "more than {} levels; nest less deeply",
                limits::DEPTH
            )));
        }
        Ok(Self { depth: self.depth + 1, raw: false })
    }
}

/// What a map of one entry stands for whose key says a kind.
fn special_value(kind: &str, said: Value) -> Result<Value, String> {
    match (kind, said) {
        (special::TIMESTAMP, Value::Int(ms)) => Ok(Timestamp::from_millis(ms).into()),
        (special::MAP, Value::Map(fields)) => Ok(Value::Map(fields)),
        (special::ATOMIC, Value::Map(fields)) => Ok(Value::Atomic(fields)),
        (special::VARIANT, Value::Map(fields)) => special::variant(fields).map_err(|f| f.why()),
        (special::FLOAT, Value::Text(text)) => {
            special::float(&text).map(Value::Float).map_err(|f| f.why())
        }
        (special::BYTES, bytes @ Value::Bytes(_)) => Ok(bytes),
        (special::BYTES, Value::Array(items)) => {
            let byte = |v: &Value| v.as_int().and_then(|n| u8::try_from(n).ok());
            let bytes = items.iter().map(byte).collect::<Option<Vec<u8>>>();
            bytes.map(Value::Bytes).ok_or_else(|| "bytes are numbers from 0 to 255".into())
        }
        (kind, said) => Err(format!("{kind} cannot be {}", name_of(&said))),
    }
}

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_newtype_struct(VALUE, self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Int(n))
    }
    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Value, E> {
        i64::try_from(n).map(Value::Int).map_err(E::custom)
    }
    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Float(x))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }
    /// A format of others: it does not know the name of the newtype.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.inside()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut content = Content::new();
        let mut kind = None;
        while let Some(Key { text, marked }) = map.next_key_seed(AnyKey)? {
            // the map that a kind speaks of is no level of its own
            let whole = !self.raw && !marked && content.is_empty() && special::is_kind(&text);
            let seed = if whole { Self { raw: true, ..self } } else { self.inside()? };
            let value = map.next_value_seed(seed)?;
            if marked || whole {
                kind = Some((text.clone(), marked));
            }
            content.insert(text, value);
        }
        match kind {
            Some((kind, marked)) if content.len() == 1 => {
                let said = content.remove(&kind).unwrap_or_default();
                if marked && kind != special::TIMESTAMP {
                    return Ok(Variant::new(kind, said).into());
                }
                special_value(&kind, said).map_err(de::Error::custom)
            }
            _ => Ok(Value::Map(content)),
        }
    }
    /// Stored bytes.
    fn visit_enum<A: de::EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        use de::VariantAccess;
        let (is_map, said) = data.variant::<bool>()?;
        if is_map {
            said.struct_variant(&[], StoredFields)
        } else {
            said.newtype_variant_seed(StoredValue)
        }
    }
}

/// A value from its canonical bytes.
struct StoredValue;

impl<'de> DeserializeSeed<'de> for StoredValue {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_bytes(self)
    }
}

impl Visitor<'_> for StoredValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stored value")
    }
    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        skip(&mut Reader::new(bytes), 0).and_then(|_| decode_all(bytes)).map_err(E::custom)
    }
}

/// A map from its leaves.
struct StoredFields;

impl<'de> Visitor<'de> for StoredFields {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stored fields")
    }
    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut content = Content::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            content.insert(key, value);
        }
        Ok(Value::Map(content))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        AnyValue { depth: 0, raw: false }.deserialize(d)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::Map(content) => Ok(content),
            other => {
                Err(de::Error::custom(format_args!("a map is expected, not {}", name_of(&other))))
            }
        }
    }
}
