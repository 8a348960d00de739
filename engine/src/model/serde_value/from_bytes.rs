//! Canonical bytes of a value as any serde type, without a [`Value`](crate::Value) between.

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::Message;
use crate::format::bytes::Reader;
use crate::format::value::tag;

fn unreadable(e: crate::format::Malformed) -> Message {
    Message(format!("stored value: {e}"))
}

#[derive(Clone, Copy)]
pub(super) struct FromBytes<'de> {
    bytes: &'de [u8],
}

impl<'de> FromBytes<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self { bytes }
    }

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
