//! Values of fields, and contents: fields by their names. Each may hold the other.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, btree_map};
use alloc::string::String;
use alloc::vec::Vec;

use super::time::Timestamp;

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

/// Named fields with their values, in order of their names.
///
/// ```
/// use heirloom::{Content, Value};
/// let lamp = Content::new().with("name", "desk").with("brightness", 40);
/// assert_eq!(lamp.get("brightness"), Some(&Value::Int(40)));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content(BTreeMap<String, Value>);

impl Content {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// This content with a field set: to build one in a single expression.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Sets a field, and returns what it was.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(name.into(), value.into())
    }

    /// Removes a field, and returns what it was.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// A field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A field, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.get_mut(name)
    }

    /// All fields, by name.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Value> {
        self.0.iter()
    }

    /// How many fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The map in a field, to be changed. Where no map that merges field by field stands, an empty
    /// one takes the place of what does.
    pub fn map_at(&mut self, name: &str) -> &mut Content {
        let slot = self.0.entry(name.to_owned()).or_default();
        if !matches!(slot, Value::Map(_)) {
            *slot = Value::Map(Content::new());
        }
        match slot {
            Value::Map(below) => below,
            _ => unreachable!("made a map on the line above"),
        }
    }
}

impl FromIterator<(String, Value)> for Content {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl IntoIterator for Content {
    type Item = (String, Value);
    type IntoIter = btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Content {
    type Item = (&'a String, &'a Value);
    type IntoIter = btree_map::Iter<'a, String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
