//! One value of a field.

use super::{Content, Timestamp};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// A value of a field. Equality is that of the format: one NaN, −0 is 0, an integer is not a float.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Value {
    /// Nothing, said explicitly. Unlike a removed field it competes in a merge.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A moment.
    Timestamp(Timestamp),
    /// A list; atomic in merges.
    Array(Vec<Value>),
    /// Named fields; each merges on its own.
    Map(Content),
    /// A variant of an enum with what it carries; one value in merges.
    Variant(Box<Variant>),
    /// Named fields that are one value: nothing inside merges.
    Atomic(Content),
}

/// One of the variants of an enum, with what it carries. One value: two devices that choose
/// different variants, or change what one variant carries, are in conflict, and nothing inside
/// merges. A variant that carries nothing is text.
///
/// ```
/// use heirloom::{Content, Engine, Value, Variant, to_value};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// enum Mode { Off, Scene(String), Colour { hue: u16 } }
///
/// assert_eq!(to_value(&Mode::Off)?, "Off".into());
/// assert_eq!(to_value(&Mode::Scene("dusk".into()))?, Variant::new("Scene", "dusk").into());
/// let red = to_value(&Mode::Colour { hue: 0 })?;
/// assert_eq!(red, Variant::new("Colour", Content::new().with("hue", 0)).into());
/// assert_eq!(red.as_variant().map(Variant::name), Some("Colour"));
/// # Ok::<(), heirloom::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    name: String,
    content: Value,
}

impl Variant {
    /// A variant of this name that carries this.
    pub fn new(name: impl Into<String>, content: impl Into<Value>) -> Self {
        Self { name: name.into(), content: content.into() }
    }

    /// Which of the enum's variants it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it carries.
    pub fn content(&self) -> &Value {
        &self.content
    }

    /// What it carries, to be changed.
    pub fn content_mut(&mut self) -> &mut Value {
        &mut self.content
    }

    /// Its name and what it carries.
    pub fn into_parts(self) -> (String, Value) {
        (self.name, self.content)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        use Value::*;
        match (self, other) {
            (Null, Null) => true,
            (Bool(a), Bool(b)) => a == b,
            (Int(a), Int(b)) => a == b,
            (Float(a), Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Text(a), Text(b)) => a == b,
            (Bytes(a), Bytes(b)) => a == b,
            (Timestamp(a), Timestamp(b)) => a == b,
            (Array(a), Array(b)) => a == b,
            (Map(a), Map(b)) | (Atomic(a), Atomic(b)) => a == b,
            (Variant(a), Variant(b)) => a == b,
            _ => false,
        }
    }
}

impl Value {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(n) = self { Some(*n) } else { None }
    }

    /// The variant, if it is one that carries something.
    pub fn as_variant(&self) -> Option<&Variant> {
        if let Value::Variant(variant) = self { Some(variant) } else { None }
    }

    /// The fields, if it is a map, be it one that merges field by field or one that is one value.
    pub fn as_map(&self) -> Option<&Content> {
        match self {
            Value::Map(fields) | Value::Atomic(fields) => Some(fields),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:expr),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                $variant(value)
            }
        })*
    };
}

from! {
    bool => Value::Bool,
    i64 => Value::Int,
    i32 => |n| Value::Int(i64::from(n)),
    u32 => |n| Value::Int(i64::from(n)),
    u8 => |n| Value::Int(i64::from(n)),
    f64 => Value::Float,
    String => Value::Text,
    &str => |s: &str| Value::Text(s.to_owned()),
    Vec<u8> => Value::Bytes,
    &[u8] => |b: &[u8]| Value::Bytes(b.to_vec()),
    Timestamp => Value::Timestamp,
    Vec<Value> => Value::Array,
    Content => Value::Map,
    Variant => |variant| Value::Variant(Box::new(variant)),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
