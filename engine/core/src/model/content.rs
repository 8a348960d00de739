//! The content of an entity as a map.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map;
use alloc::string::String;

use super::Value;

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
