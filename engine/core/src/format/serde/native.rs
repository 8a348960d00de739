//! How a [`Value`](crate::model::Value) gets at stored bytes through serde, which has no word for
//! half of what they say: as an enum, which no format answers with where a newtype is asked for.

use serde::de::{self, DeserializeSeed, Visitor};

use super::fault::Fault;

/// What a value is made from.
pub(super) enum Native<'de, M> {
    /// Its canonical bytes: a newtype variant.
    Value(&'de [u8]),
    /// The leaves of a map: a struct variant.
    Fields(M),
}

/// Where nothing is a map of leaves.
pub(super) enum NoFields {}

impl<'de> de::MapAccess<'de> for NoFields {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>, Fault> {
        match *self {}
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, _: V) -> Result<V::Value, Fault> {
        match *self {}
    }
}

impl<'de, M: de::MapAccess<'de, Error = Fault>> de::EnumAccess<'de> for Native<'de, M> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let is_map = matches!(self, Native::Fields(_));
        seed.deserialize(de::value::BoolDeserializer::new(is_map)).map(|is_map| (is_map, self))
    }
}

fn misread<T>() -> Result<T, Fault> {
    Err(Fault::new("a value is read by nothing but Value"))
}

impl<'de, M: de::MapAccess<'de, Error = Fault>> de::VariantAccess<'de> for Native<'de, M> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        misread()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        match self {
            Native::Value(bytes) => {
                seed.deserialize(de::value::BorrowedBytesDeserializer::new(bytes))
            }
            Native::Fields(_) => misread(),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        misread()
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self {
            Native::Fields(leaves) => visitor.visit_map(leaves),
            Native::Value(_) => misread(),
        }
    }
}
