//! Canonical bytes of a value as any serde type, without a [`Value`](crate::model::Value)
//! between.

use alloc::collections::BTreeSet;
use alloc::format;
use core::cell::RefCell;

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::fault::{Fault, Step};
use super::from_key::FromKey;
use super::names::{TIMESTAMP, VALUE};
use super::native::{Native, NoFields};
use super::special;
use crate::bytes::Reader;
use crate::format::value::tag;

pub(super) fn unreadable(e: crate::bytes::Malformed) -> Fault {
    Fault::new(format!("stored value: {e}"))
}

/// Values that a type was offered and did not read: fields that it does not know.
///
/// Each is known by the address of its bytes, so ask with the very bytes that the type was read
/// from; they must live as long as this.
#[derive(Default)]
pub struct Unread(RefCell<BTreeSet<usize>>);

impl Unread {
    pub(super) fn add(&self, value: &[u8]) {
        self.0.borrow_mut().insert(value.as_ptr() as usize);
    }

    /// Whether a value, told by where its bytes lie, was not read.
    pub fn has(&self, value: &[u8]) -> bool {
        self.0.borrow().contains(&(value.as_ptr() as usize))
    }
}

#[derive(Clone, Copy)]
pub(super) struct FromBytes<'de> {
    bytes: &'de [u8],
    unread: &'de Unread,
}

impl<'de> FromBytes<'de> {
    pub(super) fn new(bytes: &'de [u8], unread: &'de Unread) -> Self {
        Self { bytes, unread }
    }

    fn tag(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(u8::MAX)
    }

    /// After the tag.
    fn reader(&self) -> Reader<'de> {
        Reader::new(self.bytes.get(1..).unwrap_or_default())
    }

    fn list(&self) -> Result<List<'de>, Fault> {
        let mut inner = Reader::new(self.reader().bytes().map_err(unreadable)?);
        let left = inner.count(1).map_err(unreadable)?;
        Ok(List { r: inner, unread: self.unread, left, at: 0, key: "" })
    }

    /// The name of a variant, and what it carries.
    fn variant(&self) -> Result<(&'de str, Self), Fault> {
        let mut inner = Reader::new(self.reader().bytes().map_err(unreadable)?);
        let name = inner.text().map_err(unreadable)?;
        let carried = crate::format::value::skip(&mut inner, 0).map_err(unreadable)?;
        Ok((name, Self::new(carried, self.unread)))
    }
}

macro_rules! integers {
    ($($method:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.tag() {
                tag::TIMESTAMP => visitor.visit_i64(self.reader().zigzag().map_err(unreadable)?),
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for FromBytes<'de> {
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
        let mut r = self.reader();
        match self.tag() {
            tag::NULL => visitor.visit_unit(),
            tag::FALSE => visitor.visit_bool(false),
            tag::TRUE => visitor.visit_bool(true),
            // as other formats do: some types ask for unsigned numbers alone
            tag::INT => match r.zigzag().map_err(unreadable)? {
                n @ 0.. => visitor.visit_u64(n.unsigned_abs()),
                n => visitor.visit_i64(n),
            },
            tag::FLOAT => visitor.visit_f64(f64::from_bits(r.u64be().map_err(unreadable)?)),
            tag::TEXT => visitor.visit_borrowed_str(r.text().map_err(unreadable)?),
            tag::BYTES => visitor.visit_borrowed_bytes(r.bytes().map_err(unreadable)?),
            tag::TIMESTAMP => {
                let ms = r.zigzag().map_err(unreadable)?;
                visitor
                    .visit_map(One { key: special::TIMESTAMP, value: Some(ms.into_deserializer()) })
            }
            tag::ARRAY => visitor.visit_seq(self.list()?),
            tag::MAP | tag::ATOMIC => visitor.visit_map(self.list()?),
            tag::VARIANT => {
                let (key, carried) = self.variant()?;
                visitor.visit_map(One { key, value: Some(carried) })
            }
            _ => Err(Fault::new("stored value: an unknown kind")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.tag() == tag::NULL { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match (name, self.tag()) {
            (TIMESTAMP, tag::TIMESTAMP) => self.deserialize_i64(visitor),
            (VALUE, _) => visitor.visit_enum(Native::<NoFields>::Value(self.bytes)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tag() {
            tag::BYTES => {
                let bytes = self.reader().bytes().map_err(unreadable)?;
                visitor.visit_seq(de::value::SeqDeserializer::new(bytes.iter().copied()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.tag() {
            tag::TEXT => {
                visitor.visit_enum(self.reader().text().map_err(unreadable)?.into_deserializer())
            }
            tag::VARIANT => {
                let (name, carried) = self.variant()?;
                visitor.visit_enum(Carrying { name, carried })
            }
            _ => Err(no_variant()),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.unread.add(self.bytes);
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf unit unit_struct map struct identifier
    }
}

pub(super) fn no_variant() -> Fault {
    Fault::new("an enum is text or a variant; what stands here is neither")
}

/// A variant that carries something, as an enum.
struct Carrying<'de> {
    name: &'de str,
    carried: FromBytes<'de>,
}

impl<'de> de::EnumAccess<'de> for Carrying<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        seed.deserialize(FromKey::new(self.name)).map(|name| (name, self))
    }
}

impl<'de> de::VariantAccess<'de> for Carrying<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        serde::Deserialize::deserialize(self.carried).map_err(|f: Fault| f.at_key(self.name))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.carried).map_err(|f| f.at_key(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.carried.deserialize_seq(visitor).map_err(|f| f.at_key(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.carried.deserialize_map(visitor).map_err(|f| f.at_key(self.name))
    }
}

/// A variant, or another kind that serde has no word for, as a map with one entry.
struct One<'de, D> {
    key: &'de str,
    value: Option<D>,
}

impl<'de, D: Deserializer<'de, Error = Fault>> de::MapAccess<'de> for One<'de, D> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        if self.value.is_none() {
            return Ok(None);
        }
        seed.deserialize(FromKey::marked(self.key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let value = self.value.take().ok_or_else(|| Fault::new("a value was asked for twice"))?;
        seed.deserialize(value).map_err(|f| f.at_key(self.key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(usize::from(self.value.is_some()))
    }
}

/// The items of an array or a map in bytes.
struct List<'de> {
    r: Reader<'de>,
    unread: &'de Unread,
    left: usize,
    at: usize,
    key: &'de str,
}

impl<'de> List<'de> {
    fn value(&mut self) -> Result<FromBytes<'de>, Fault> {
        let bytes = crate::format::value::skip(&mut self.r, 0).map_err(unreadable)?;
        Ok(FromBytes::new(bytes, self.unread))
    }
}

impl<'de> de::SeqAccess<'de> for List<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.at += 1;
        let item = self.value()?;
        seed.deserialize(item).map(Some).map_err(|f| f.at(Step::Item(self.at - 1)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for List<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.key = self.r.text().map_err(unreadable)?;
        seed.deserialize(FromKey::new(self.key)).map(Some).map_err(|f| f.at_key(self.key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let value = self.value()?;
        seed.deserialize(value).map_err(|f| f.at_key(self.key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}
