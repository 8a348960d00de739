//! serde in and out: any serde type to values, and values (straight from their canonical bytes) to any serde type.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::ser::{self, Serialize, SerializeMap};
use serde::{Deserialize, Deserializer, Serializer};

use super::{Content, PathRef, Timestamp, Value};
use crate::error::{Error, Result};
use crate::format::bytes::Reader;
use crate::format::value::{encode_value, tag};

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
    T::deserialize(FromBytes { bytes: &bytes }).map_err(|Message(text)| Error::Invalid(text))
}

/// One shown leaf: its path and the canonical bytes of its value.
pub(crate) type ShownLeaf<'a> = (PathRef<'a>, &'a [u8]);

/// Leaves in order of their paths as a serde type.
pub(crate) fn from_leaves<'de, T: Deserialize<'de>>(leaves: &'de [ShownLeaf<'de>]) -> Result<T> {
    T::deserialize(FromLeaves { leaves, depth: 0 }).map_err(|Message(text)| Error::Invalid(text))
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
}

// --- serde impls of our own types

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
                i64::deserialize(d)
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
            Value::Float(x) => s.serialize_f64(*x),
            Value::Text(text) => s.serialize_str(text),
            Value::Bytes(bytes) => s.serialize_bytes(bytes),
            Value::Timestamp(time) => time.serialize(s),
            Value::Array(items) => items.serialize(s),
            Value::Map(content) => content.serialize(s),
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

struct AnyValue;

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
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        i64::deserialize(d).map(|ms| Value::Timestamp(Timestamp::from_millis(ms)))
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
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
        d.deserialize_any(AnyValue)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match d.deserialize_map(AnyValue)? {
            Value::Map(content) => Ok(content),
            other => Err(de::Error::custom(format_args!("a map is expected, not {}", name_of(&other)))),
        }
    }
}

// --- serializer to Value

struct ToValue;

/// Collects an array or a map, and wraps it in `{variant: …}` where it belongs to an enum.
struct Items {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

struct Fields {
    variant: Option<&'static str>,
    fields: Content,
    key: Option<String>,
}

fn in_variant(variant: Option<&'static str>, value: Value) -> Value {
    variant.map_or(value.clone(), |name| Value::Map(Content::new().with(name, value)))
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = Message;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    fn serialize_bool(self, v: bool) -> Result<Value, Message> {
        Ok(Value::Bool(v))
    }
    fn serialize_i8(self, v: i8) -> Result<Value, Message> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i16(self, v: i16) -> Result<Value, Message> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Result<Value, Message> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Result<Value, Message> {
        Ok(Value::Int(v))
    }
    fn serialize_u8(self, v: u8) -> Result<Value, Message> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u16(self, v: u16) -> Result<Value, Message> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u32(self, v: u32) -> Result<Value, Message> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u64(self, v: u64) -> Result<Value, Message> {
        let n = i64::try_from(v)
            .map_err(|_| Message(format!("{v} does not fit a signed 64-bit integer; use text")))?;
        Ok(Value::Int(n))
    }
    fn serialize_f32(self, v: f32) -> Result<Value, Message> {
        Ok(Value::Float(v.into()))
    }
    fn serialize_f64(self, v: f64) -> Result<Value, Message> {
        Ok(Value::Float(v))
    }
    fn serialize_char(self, v: char) -> Result<Value, Message> {
        Ok(Value::Text(v.into()))
    }
    fn serialize_str(self, v: &str) -> Result<Value, Message> {
        Ok(v.into())
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<Value, Message> {
        Ok(v.into())
    }
    fn serialize_none(self) -> Result<Value, Message> {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, v: &T) -> Result<Value, Message> {
        v.serialize(self)
    }
    fn serialize_unit(self) -> Result<Value, Message> {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Message> {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, Message> {
        Ok(variant.into())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        v: &T,
    ) -> Result<Value, Message> {
        match (name, v.serialize(self)?) {
            (TIMESTAMP, Value::Int(ms)) => Ok(Value::Timestamp(Timestamp::from_millis(ms))),
            (_, value) => Ok(value),
        }
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        v: &T,
    ) -> Result<Value, Message> {
        Ok(in_variant(Some(variant), v.serialize(self)?))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Items, Message> {
        Ok(Items { variant: None, items: Vec::new() })
    }
    fn serialize_tuple(self, _: usize) -> Result<Items, Message> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items, Message> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items, Message> {
        Ok(Items { variant: Some(variant), items: Vec::new() })
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Fields, Message> {
        Ok(Fields { variant: None, fields: Content::new(), key: None })
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields, Message> {
        self.serialize_map(None)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields, Message> {
        Ok(Fields { variant: Some(variant), fields: Content::new(), key: None })
    }
}

impl Items {
    fn add<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Message> {
        self.items.push(v.serialize(ToValue)?);
        Ok(())
    }

    fn done(self) -> Result<Value, Message> {
        Ok(in_variant(self.variant, Value::Array(self.items)))
    }
}

macro_rules! items {
    ($($trait:ident $method:ident),*) => {
        $(impl ser::$trait for Items {
            type Ok = Value;
            type Error = Message;
            fn $method<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Message> {
                self.add(v)
            }
            fn end(self) -> Result<Value, Message> {
                self.done()
            }
        })*
    };
}

items!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

impl SerializeMap for Fields {
    type Ok = Value;
    type Error = Message;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Message> {
        let text = match key.serialize(ToValue)? {
            Value::Text(text) => text,
            Value::Int(n) => n.to_string(),
            other => return Err(Message(format!("keys of a map must be text, not {}", name_of(&other)))),
        };
        self.key = Some(text);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Message> {
        let key = self.key.take().ok_or_else(|| Message("a value without a key".into()))?;
        self.fields.insert(key, v.serialize(ToValue)?);
        Ok(())
    }

    fn end(self) -> Result<Value, Message> {
        Ok(in_variant(self.variant, Value::Map(self.fields)))
    }
}

macro_rules! fields {
    ($($trait:ident),*) => {
        $(impl ser::$trait for Fields {
            type Ok = Value;
            type Error = Message;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, v: &T) -> Result<(), Message> {
                self.fields.insert(key, v.serialize(ToValue)?);
                Ok(())
            }
            fn end(self) -> Result<Value, Message> {
                SerializeMap::end(self)
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

// --- deserializer from canonical bytes

fn unreadable(e: crate::format::Malformed) -> Message {
    Message(format!("stored value: {e}"))
}

#[derive(Clone, Copy)]
struct FromBytes<'de> {
    bytes: &'de [u8],
}

impl<'de> FromBytes<'de> {
    fn tag(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(u8::MAX)
    }

    /// After the tag.
    fn reader(&self) -> Reader<'de> {
        Reader::new(self.bytes.get(1..).unwrap_or_default())
    }
}

impl<'de> Deserializer<'de> for FromBytes<'de> {
    type Error = Message;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        let mut r = self.reader();
        match self.tag() {
            tag::NULL => visitor.visit_unit(),
            tag::FALSE => visitor.visit_bool(false),
            tag::TRUE => visitor.visit_bool(true),
            tag::INT => visitor.visit_i64(r.zigzag().map_err(unreadable)?),
            tag::FLOAT => visitor.visit_f64(f64::from_bits(r.u64be().map_err(unreadable)?)),
            tag::TEXT => visitor.visit_borrowed_str(r.text().map_err(unreadable)?),
            tag::BYTES => visitor.visit_borrowed_bytes(r.bytes().map_err(unreadable)?),
            tag::TIMESTAMP => {
                visitor.visit_newtype_struct(r.zigzag().map_err(unreadable)?.into_deserializer())
            }
            tag::ARRAY => visitor.visit_seq(List::new(r)?),
            tag::MAP => visitor.visit_map(List::new(r)?),
            _ => Err(Message("stored value: an unknown kind".into())),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        match self.tag() {
            tag::TIMESTAMP => visitor.visit_i64(self.reader().zigzag().map_err(unreadable)?),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        if self.tag() == tag::NULL { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Message> {
        if self.tag() == tag::TIMESTAMP {
            self.deserialize_any(visitor)
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        match self.tag() {
            tag::BYTES => {
                let bytes = self.reader().bytes().map_err(unreadable)?;
                visitor.visit_seq(de::value::SeqDeserializer::new(bytes.iter().copied()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Message> {
        match self.tag() {
            tag::TEXT => visitor.visit_enum(self.reader().text().map_err(unreadable)?.into_deserializer()),
            tag::MAP => visitor.visit_enum(de::value::MapAccessDeserializer::new(List::new(self.reader())?)),
            _ => Err(Message("an enum is text, or a map with one field".into())),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct map struct identifier ignored_any
    }
}

/// The items of an array or a map in bytes.
struct List<'de> {
    r: Reader<'de>,
    left: usize,
}

impl<'de> List<'de> {
    fn new(mut r: Reader<'de>) -> Result<Self, Message> {
        let mut inner = Reader::new(r.bytes().map_err(unreadable)?);
        let left = inner.count(1).map_err(unreadable)?;
        Ok(Self { r: inner, left })
    }

    fn value(&mut self) -> Result<FromBytes<'de>, Message> {
        crate::format::value::skip(&mut self.r, 0).map(|bytes| FromBytes { bytes }).map_err(unreadable)
    }
}

impl<'de> de::SeqAccess<'de> for List<'de> {
    type Error = Message;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Message> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.value()?).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for List<'de> {
    type Error = Message;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Message> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let key = self.r.text().map_err(unreadable)?;
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Message> {
        seed.deserialize(self.value()?)
    }
}

// --- deserializer from leaves

/// A map: leaves that share the first `depth` keys of their paths.
#[derive(Clone, Copy)]
struct FromLeaves<'de> {
    leaves: &'de [ShownLeaf<'de>],
    depth: usize,
}

/// A field of such a map: a value, or a map of its own.
enum Field<'de> {
    Value(FromBytes<'de>),
    Map(FromLeaves<'de>),
}

impl<'de> de::MapAccess<'de> for FromLeaves<'de> {
    type Error = Message;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Message> {
        let Some((path, _)) = self.leaves.first() else { return Ok(None) };
        seed.deserialize(de::value::BorrowedStrDeserializer::new(path.key(self.depth))).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Message> {
        let (path, value) = self.leaves[0];
        if path.depth() == self.depth + 1 {
            self.leaves = &self.leaves[1..];
            return seed.deserialize(Field::Value(FromBytes { bytes: value }));
        }
        let key = path.key(self.depth);
        let n = self.leaves.iter().take_while(|(p, _)| p.key(self.depth) == key).count();
        let (below, after) = self.leaves.split_at(n);
        self.leaves = after;
        seed.deserialize(Field::Map(FromLeaves { leaves: below, depth: self.depth + 1 }))
    }
}

impl<'de> Deserializer<'de> for FromLeaves<'de> {
    type Error = Message;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Message> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Message> {
        visitor.visit_enum(de::value::MapAccessDeserializer::new(self))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

macro_rules! field_forwards {
    ($($method:ident($($arg:ident: $type:ty),*)),* $(,)?) => {
        impl<'de> Deserializer<'de> for Field<'de> {
            type Error = Message;
            $(fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, Message> {
                match self {
                    Field::Value(d) => d.$method($($arg,)* visitor),
                    Field::Map(d) => d.$method($($arg,)* visitor),
                }
            })*
        }
    };
}

field_forwards!(
    deserialize_any(), deserialize_bool(), deserialize_i8(), deserialize_i16(), deserialize_i32(),
    deserialize_i64(), deserialize_u8(), deserialize_u16(), deserialize_u32(), deserialize_u64(),
    deserialize_f32(), deserialize_f64(), deserialize_char(), deserialize_str(), deserialize_string(),
    deserialize_bytes(), deserialize_byte_buf(), deserialize_option(), deserialize_unit(),
    deserialize_unit_struct(name: &'static str), deserialize_newtype_struct(name: &'static str),
    deserialize_seq(), deserialize_tuple(len: usize), deserialize_tuple_struct(name: &'static str, len: usize),
    deserialize_map(), deserialize_struct(name: &'static str, fields: &'static [&'static str]),
    deserialize_enum(name: &'static str, variants: &'static [&'static str]), deserialize_identifier(),
    deserialize_ignored_any(),
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::value::{flatten_content, tests::values};
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
