//! A key of a map, which is text, as whatever a key is for serde.

use serde::Deserializer;
use serde::de::{IntoDeserializer, Visitor};

use super::fault::Fault;
use super::names::TIMESTAMP;

#[derive(Clone, Copy)]
pub(super) struct FromKey<'de> {
    text: &'de str,
    /// It says a kind of value, or the name of a variant, and is no key of a map: whoever takes
    /// anything (serde does, where it keeps a value to try several types on it) gets bytes, which
    /// no key is, and derived enums take for a name as well.
    marked: bool,
}

impl<'de> FromKey<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self { text, marked: false }
    }

    pub(super) fn marked(text: &'de str) -> Self {
        Self { text, marked: true }
    }
}

macro_rules! integers {
    ($($method:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            if let Ok(n) = self.text.parse::<i64>() {
                visitor.visit_i64(n)
            } else if let Ok(n) = self.text.parse::<u64>() {
                visitor.visit_u64(n)
            } else if let Ok(n) = self.text.parse::<i128>() {
                visitor.visit_i128(n)
            } else if let Ok(n) = self.text.parse::<u128>() {
                visitor.visit_u128(n)
            } else {
                visitor.visit_borrowed_str(self.text)
            }
        })*
    };
}

impl<'de> Deserializer<'de> for FromKey<'de> {
    type Error = Fault;

    integers!(
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_i128,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64,
        deserialize_u128
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.marked {
            visitor.visit_borrowed_bytes(self.text.as_bytes())
        } else {
            visitor.visit_borrowed_str(self.text)
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text.parse() {
            Ok(b) => visitor.visit_bool(b),
            Err(_) => visitor.visit_borrowed_str(self.text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == TIMESTAMP {
            self.deserialize_i64(visitor)
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self.text.into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct ignored_any
    }
}
