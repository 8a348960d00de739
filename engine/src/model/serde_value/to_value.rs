//! Any serde type as a [`Value`].

use serde::Serializer;
use serde::ser::{self, Serialize, SerializeMap};

use super::super::{Content, Timestamp, Value};
use super::{Message, TIMESTAMP, name_of};

pub(super) struct ToValue;

/// Collects an array or a map, and wraps it in `{variant: …}` where it belongs to an enum.
pub(super) struct Items {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

pub(super) struct Fields {
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
