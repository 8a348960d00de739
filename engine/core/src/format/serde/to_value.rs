//! Any serde type as a [`Value`].

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serializer;
use serde::ser::{self, Impossible, Serialize, SerializeMap};

use super::fault::{Fault, Step};
use super::names::{ATOMIC, TIMESTAMP, VALUE};
use super::{name_of, special};
use crate::limits;
use crate::model::{Content, Timestamp, Value, Variant};

/// Newtypes and options around one value, together: they take no level of the format, but the
/// stack.
const WRAPS: usize = 256;

/// Types of the standard library that are one value, by the names and fields that they tell serde.
const ONE_VALUE: [(&str, &[&str]); 6] = [
    ("Duration", &["nanos", "secs"]),
    ("SystemTime", &["nanos_since_epoch", "secs_since_epoch"]),
    ("Range", &["end", "start"]),
    ("RangeInclusive", &["end", "start"]),
    ("RangeFrom", &["start"]),
    ("RangeTo", &["end"]),
];

/// Where in a value we are, so that what is too deep is refused before the stack ends.
#[derive(Clone, Copy, Default)]
pub(super) struct ToValue {
    depth: usize,
    wraps: usize,
}

impl ToValue {
    /// For what stands inside an array, a map or a variant.
    fn inside(self) -> Result<Self, Fault> {
        if self.depth >= limits::DEPTH {
            return Err(Fault::too_deep());
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    /// For what a newtype or an option wraps.
    fn wrapped(self) -> Result<Self, Fault> {
        if self.wraps >= WRAPS {
            return Err(Fault::too_deep());
        }
        Ok(Self { wraps: self.wraps + 1, ..self })
    }

    /// For what a variant carries.
    fn carried(self, variant: Option<&'static str>) -> Result<Self, Fault> {
        if variant.is_some() { self.inside() } else { Ok(self) }
    }

    fn items(self, variant: Option<&'static str>) -> Result<Items, Fault> {
        Ok(Items { to: self.carried(variant)?, variant, items: Vec::new() })
    }

    fn fields(self, name: &'static str, variant: Option<&'static str>) -> Result<Fields, Fault> {
        Ok(Fields { to: self.carried(variant)?, name, variant, fields: Content::new(), key: None })
    }

    /// One of the kinds of value that serde has no word for.
    fn special<T: Serialize + ?Sized>(self, kind: &str, v: &T) -> Result<Value, Fault> {
        let value = v.serialize(self.wrapped()?)?;
        match (kind, value) {
            (special::TIMESTAMP, Value::Int(ms)) => Ok(Timestamp::from_millis(ms).into()),
            (special::BYTES, value @ Value::Bytes(_)) | (special::MAP, value @ Value::Map(_)) => {
                Ok(value)
            }
            (special::FLOAT, Value::Text(text)) => special::float(&text).map(Value::Float),
            (special::ATOMIC, Value::Map(fields)) => Ok(Value::Atomic(fields)),
            (special::VARIANT, Value::Map(fields)) => special::variant(fields),
            (_, value) => Err(Fault::new(format!("{kind} cannot be {}", name_of(&value)))),
        }
    }
}

/// Collects an array, perhaps what a variant carries.
pub(super) struct Items {
    to: ToValue,
    variant: Option<&'static str>,
    items: Vec<Value>,
}

/// Collects a map, perhaps what a variant carries.
pub(super) struct Fields {
    to: ToValue,
    /// Of a struct.
    name: &'static str,
    variant: Option<&'static str>,
    fields: Content,
    key: Option<String>,
}

fn in_variant(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(name) => Variant::new(name, value).into(),
        None => value,
    }
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = Fault;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    fn serialize_bool(self, v: bool) -> Result<Value, Fault> {
        Ok(Value::Bool(v))
    }
    fn serialize_i8(self, v: i8) -> Result<Value, Fault> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i16(self, v: i16) -> Result<Value, Fault> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Result<Value, Fault> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Result<Value, Fault> {
        Ok(Value::Int(v))
    }
    fn serialize_i128(self, v: i128) -> Result<Value, Fault> {
        i64::try_from(v).map(Value::Int).map_err(|_| too_large(v))
    }
    fn serialize_u8(self, v: u8) -> Result<Value, Fault> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u16(self, v: u16) -> Result<Value, Fault> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u32(self, v: u32) -> Result<Value, Fault> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u64(self, v: u64) -> Result<Value, Fault> {
        i64::try_from(v).map(Value::Int).map_err(|_| too_large(v))
    }
    fn serialize_u128(self, v: u128) -> Result<Value, Fault> {
        i64::try_from(v).map(Value::Int).map_err(|_| too_large(v))
    }
    fn serialize_f32(self, v: f32) -> Result<Value, Fault> {
        Ok(Value::Float(v.into()))
    }
    fn serialize_f64(self, v: f64) -> Result<Value, Fault> {
        Ok(Value::Float(v))
    }
    fn serialize_char(self, v: char) -> Result<Value, Fault> {
        Ok(Value::Text(v.into()))
    }
    fn serialize_str(self, v: &str) -> Result<Value, Fault> {
        Ok(v.into())
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<Value, Fault> {
        Ok(v.into())
    }
    fn serialize_none(self) -> Result<Value, Fault> {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, v: &T) -> Result<Value, Fault> {
        match v.serialize(self.wrapped()?)? {
            Value::Null => Err(Fault::new(
                "Some of nothing would be read as None: say which with an enum or a bool",
            )),
            value => Ok(value),
        }
    }
    fn serialize_unit(self) -> Result<Value, Fault> {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Fault> {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, Fault> {
        Ok(variant.into())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        v: &T,
    ) -> Result<Value, Fault> {
        match (name, v.serialize(self.wrapped()?)?) {
            (TIMESTAMP, Value::Int(ms)) => Ok(Timestamp::from_millis(ms).into()),
            (ATOMIC, Value::Map(fields)) => Ok(Value::Atomic(fields)),
            (_, value) => Ok(value),
        }
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        v: &T,
    ) -> Result<Value, Fault> {
        if name == VALUE {
            return self.special(variant, v);
        }
        let content = v.serialize(self.inside()?).map_err(|f| f.at_key(variant))?;
        Ok(in_variant(Some(variant), content))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Items, Fault> {
        self.items(None)
    }
    fn serialize_tuple(self, _: usize) -> Result<Items, Fault> {
        self.items(None)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items, Fault> {
        self.items(None)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items, Fault> {
        self.items(Some(variant))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Fields, Fault> {
        self.fields("", None)
    }
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields, Fault> {
        self.fields(name, None)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields, Fault> {
        self.fields("", Some(variant))
    }
}

fn too_large(v: impl core::fmt::Display) -> Fault {
    Fault::new(format!("{v} does not fit a signed 64-bit integer; use text"))
}

/// A fault inside what a variant carries lies one step further in.
fn through(variant: Option<&'static str>, fault: Fault) -> Fault {
    match variant {
        Some(name) => fault.at_key(name),
        None => fault,
    }
}

impl Items {
    fn add<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Fault> {
        let item = self.to.inside().and_then(|to| v.serialize(to));
        let at = Step::Item(self.items.len());
        self.items.push(item.map_err(|f| through(self.variant, f.at(at)))?);
        Ok(())
    }

    fn done(self) -> Result<Value, Fault> {
        Ok(in_variant(self.variant, Value::Array(self.items)))
    }
}

macro_rules! items {
    ($($trait:ident $method:ident),*) => {
        $(impl ser::$trait for Items {
            type Ok = Value;
            type Error = Fault;
            fn $method<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Fault> {
                self.add(v)
            }
            fn end(self) -> Result<Value, Fault> {
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

impl Fields {
    fn add<T: Serialize + ?Sized>(&mut self, key: String, v: &T) -> Result<(), Fault> {
        let value = self.to.inside().and_then(|to| v.serialize(to));
        let value = match value {
            Ok(_) if self.fields.get(&key).is_some() => Err(Fault::new(
                "two fields have this name, and one would hide the other: rename one",
            )),
            value => value,
        };
        let value = value.map_err(|f| through(self.variant, f.at_key(&key)))?;
        self.fields.insert(key, value);
        Ok(())
    }

    /// Whether it is a type of the standard library that is one value.
    fn is_one_value(&self) -> bool {
        let same = |fields: &[&str]| {
            self.fields.iter().map(|(k, _)| k.as_str()).eq(fields.iter().copied())
        };
        ONE_VALUE.iter().any(|(name, fields)| *name == self.name && same(fields))
    }

    fn done(self) -> Result<Value, Fault> {
        let one = self.is_one_value();
        let value = if one { Value::Atomic(self.fields) } else { Value::Map(self.fields) };
        Ok(in_variant(self.variant, value))
    }
}

impl SerializeMap for Fields {
    type Ok = Value;
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.key = Some(key.serialize(ToKey { wraps: 0 }).map_err(|f| through(self.variant, f))?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Fault> {
        let key = self.key.take().ok_or_else(|| Fault::new("a value without a key"))?;
        self.add(key, v)
    }

    fn end(self) -> Result<Value, Fault> {
        self.done()
    }
}

macro_rules! fields {
    ($($trait:ident),*) => {
        $(impl ser::$trait for Fields {
            type Ok = Value;
            type Error = Fault;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                v: &T,
            ) -> Result<(), Fault> {
                self.add(key.to_owned(), v)
            }
            fn end(self) -> Result<Value, Fault> {
                self.done()
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

/// A key of a map as text; what [`FromKey`](super::from_key::FromKey) reads back, and nothing else.
struct ToKey {
    wraps: usize,
}

fn no_key(what: &str) -> Fault {
    Fault::new(format!(
        "a key of a map cannot be {what}: use text, an integer, a char or a variant without content"
    ))
}

macro_rules! keys {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(fn $method(self, v: $type) -> Result<String, Fault> {
            Ok(v.to_string())
        })*
    };
}

macro_rules! no_keys {
    ($($method:ident($($type:ty),*) -> $ok:ty: $what:literal),* $(,)?) => {
        $(fn $method(self, $(_: $type),*) -> Result<$ok, Fault> {
            Err(no_key($what))
        })*
    };
}

impl Serializer for ToKey {
    type Ok = String;
    type Error = Fault;
    type SerializeSeq = Impossible<String, Fault>;
    type SerializeTuple = Impossible<String, Fault>;
    type SerializeTupleStruct = Impossible<String, Fault>;
    type SerializeTupleVariant = Impossible<String, Fault>;
    type SerializeMap = Impossible<String, Fault>;
    type SerializeStruct = Impossible<String, Fault>;
    type SerializeStructVariant = Impossible<String, Fault>;

    keys!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_char(char),
        serialize_str(&str),
    );

    no_keys!(
        serialize_f32(f32) -> String: "a float",
        serialize_f64(f64) -> String: "a float",
        serialize_bytes(&[u8]) -> String: "bytes",
        serialize_none() -> String: "None",
        serialize_unit() -> String: "nothing",
        serialize_unit_struct(&'static str) -> String: "nothing",
        serialize_seq(Option<usize>) -> Self::SerializeSeq: "a list",
        serialize_tuple(usize) -> Self::SerializeTuple: "a tuple",
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct: "a tuple",
        serialize_map(Option<usize>) -> Self::SerializeMap: "a map",
        serialize_struct(&'static str, usize) -> Self::SerializeStruct: "a struct",
    );

    fn serialize_some<T: Serialize + ?Sized>(self, v: &T) -> Result<String, Fault> {
        self.serialize_newtype_struct("", v)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<String, Fault> {
        if self.wraps >= WRAPS {
            return Err(Fault::too_deep());
        }
        v.serialize(ToKey { wraps: self.wraps + 1 })
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<String, Fault> {
        Ok(variant.to_owned())
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, Fault> {
        Err(no_key("a variant with content"))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Fault> {
        Err(no_key("a variant with content"))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Fault> {
        Err(no_key("a variant with content"))
    }
}
