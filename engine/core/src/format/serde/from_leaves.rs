//! Leaves in order of their paths as any serde type: a map of maps, told by the keys that paths
//! share.

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, Visitor};

use super::fault::Fault;
use super::from_bytes::{FromBytes, Unread, no_variant};
use super::from_key::FromKey;
use super::names::VALUE;
use super::native::Native;
use crate::model::PathRef;

/// One shown leaf: its path and the canonical bytes of its value.
pub type ShownLeaf<'a> = (PathRef<'a>, &'a [u8]);

/// A map: leaves that share the first `depth` keys of their paths.
#[derive(Clone, Copy)]
pub(super) struct FromLeaves<'de> {
    leaves: &'de [ShownLeaf<'de>],
    depth: usize,
    unread: &'de Unread,
}

impl<'de> FromLeaves<'de> {
    pub(super) fn new(leaves: &'de [ShownLeaf<'de>], unread: &'de Unread) -> Self {
        Self { leaves, depth: 0, unread }
    }
}

/// A field of such a map: a value, or a map of its own.
enum Field<'de> {
    Value(FromBytes<'de>),
    Map(FromLeaves<'de>),
}

impl<'de> de::MapAccess<'de> for FromLeaves<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((path, _)) = self.leaves.first() else { return Ok(None) };
        let key = path.key(self.depth);
        seed.deserialize(FromKey::new(key)).map(Some).map_err(|f| f.at_key(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some((path, value)) = self.leaves.first() else {
            return Err(Fault::new("a value without a key"));
        };
        let key = path.key(self.depth);
        let field = if path.depth() == self.depth + 1 {
            self.leaves = &self.leaves[1..];
            Field::Value(FromBytes::new(value, self.unread))
        } else {
            let n = self.leaves.iter().take_while(|(p, _)| p.key(self.depth) == key).count();
            let (below, after) = self.leaves.split_at(n);
            self.leaves = after;
            Field::Map(FromLeaves { leaves: below, depth: self.depth + 1, unread: self.unread })
        };
        seed.deserialize(field).map_err(|f| f.at_key(key))
    }
}

impl<'de> Deserializer<'de> for FromLeaves<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == VALUE {
            return visitor.visit_enum(Native::Fields(self));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fault> {
        Err(no_variant())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.leaves.iter().for_each(|(_, value)| self.unread.add(value));
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

macro_rules! field_forwards {
    ($($method:ident($($arg:ident: $type:ty),*)),* $(,)?) => {
        impl<'de> Deserializer<'de> for Field<'de> {
            type Error = Fault;
            $(fn $method<V: Visitor<'de>>(
                self,
                $($arg: $type,)*
                visitor: V,
            ) -> Result<V::Value, Fault> {
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
    deserialize_i64(), deserialize_i128(), deserialize_u8(), deserialize_u16(), deserialize_u32(),
    deserialize_u64(), deserialize_u128(), deserialize_f32(), deserialize_f64(), deserialize_char(),
    deserialize_str(), deserialize_string(), deserialize_bytes(), deserialize_byte_buf(),
    deserialize_option(), deserialize_unit(), deserialize_unit_struct(name: &'static str),
    deserialize_newtype_struct(name: &'static str), deserialize_seq(),
    deserialize_tuple(len: usize), deserialize_tuple_struct(name: &'static str, len: usize),
    deserialize_map(), deserialize_struct(name: &'static str, fields: &'static [&'static str]),
    deserialize_enum(name: &'static str, variants: &'static [&'static str]),
    deserialize_identifier(), deserialize_ignored_any(),
);
