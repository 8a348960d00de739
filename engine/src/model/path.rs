//! Where a leaf is: the keys that lead to it.

use std::fmt;

/// A list of at least one key. Ordered key by key; a prefix comes before what continues it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Path(pub(crate) Vec<Box<str>>);

impl Path {
    pub(crate) fn new<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self(keys.into_iter().map(|k| k.as_ref().into()).collect())
    }

    /// Whether it is `other` or lies below it.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Whether one is a prefix of the other.
    pub(crate) fn is_related(&self, other: &Self) -> bool {
        self.is_below(other) || other.is_below(self)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}
