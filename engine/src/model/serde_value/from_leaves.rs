//! Leaves in order of their paths as any serde type: a map of maps, told by the keys that paths share.

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, Visitor};

use super::{FromBytes, Message, ShownLeaf};

/// A map: leaves that share the first `depth` keys of their paths.
#[derive(Clone, Copy)]
pub(super) struct FromLeaves<'de> {
    leaves: &'de [ShownLeaf<'de>],
    depth: usize,
}

impl<'de> FromLeaves<'de> {
    pub(super) fn new(leaves: &'de [ShownLeaf<'de>]) -> Self {
        Self { leaves, depth: 0 }
    }
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
        let key = path.key(self.depth);
        // nested fields put their names together
        let named = |Message(text)| Message(format!("field {key}: {text}"));
        if path.depth() == self.depth + 1 {
            self.leaves = &self.leaves[1..];
            return seed.deserialize(Field::Value(FromBytes::new(value))).map_err(named);
        }
        let n = self.leaves.iter().take_while(|(p, _)| p.key(self.depth) == key).count();
        let (below, after) = self.leaves.split_at(n);
        self.leaves = after;
        seed.deserialize(Field::Map(FromLeaves { leaves: below, depth: self.depth + 1 })).map_err(named)
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
