//! A change to some fields.

use alloc::vec::Vec;

use super::path::Path;
use super::value::{Content, Value};

/// Names fields to set and to unset; all others stay as they are, undecided ones undecided.
///
/// Setting a map sets its leaves and leaves its siblings; unset the map first to replace it. Unsets
/// happen before sets.
///
/// ```
/// use heirloom::Patch;
/// let patch = Patch::new().set("brightness", 80).set_at(["colour", "hue"], 20).unset("note");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// Paths to remove, each with all below it; they go before anything is set.
    pub unsets: Vec<Path>,
    /// Paths with the values that they get. A transaction refuses two of which one lies within the
    /// other, or is the other.
    pub sets: Vec<(Path, Value)>,
}

impl Patch {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field.
    #[must_use]
    pub fn set(self, field: &str, value: impl Into<Value>) -> Self {
        self.set_at([field], value)
    }

    /// Sets a nested field.
    #[must_use]
    pub fn set_at<K: AsRef<str>>(
        mut self,
        path: impl IntoIterator<Item = K>,
        value: impl Into<Value>,
    ) -> Self {
        self.sets.push((Path::new(path), value.into()));
        self
    }

    /// Removes a field and all below it.
    #[must_use]
    pub fn unset(self, field: &str) -> Self {
        self.unset_at([field])
    }

    /// Removes a nested field and all below it.
    #[must_use]
    pub fn unset_at<K: AsRef<str>>(mut self, path: impl IntoIterator<Item = K>) -> Self {
        self.unsets.push(Path::new(path));
        self
    }

    /// Sets all fields of a content.
    #[must_use]
    pub fn set_all(mut self, content: Content) -> Self {
        self.sets.extend(content.into_iter().map(|(name, value)| (Path::new([name]), value)));
        self
    }
}
