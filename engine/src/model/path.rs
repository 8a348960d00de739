//! Where a leaf is: the keys that lead to it.

use std::cmp::Ordering;
use std::fmt;

use crate::format::bytes::Put;

/// A list of 1 to 64 keys, as its canonical bytes (FORMAT.md, 1.4). Ordered key by key; a prefix
/// comes before what continues it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Path(Box<[u8]>);

/// A path that lies in a longer record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathRef<'a>(&'a [u8]);

impl Path {
    pub(crate) fn new<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Self {
        let (mut count, mut body) = (0, Vec::with_capacity(24));
        for key in keys {
            count += 1;
            body.bytes(key.as_ref().as_bytes());
        }
        let mut out = Vec::with_capacity(body.len() + 1);
        out.varint(count);
        out.extend_from_slice(&body);
        Self(out.into())
    }

    pub(crate) fn as_ref(&self) -> PathRef<'_> {
        PathRef(&self.0)
    }

    /// One key more.
    pub(crate) fn join(&self, key: &str) -> Self {
        Self::new(self.as_ref().keys().chain([key]))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn depth(&self) -> usize {
        self.as_ref().depth()
    }

    /// Its first keys.
    pub(crate) fn prefix(&self, keys: usize) -> Self {
        Self::new(self.as_ref().keys().take(keys))
    }

    /// All its proper prefixes, the shortest first.
    pub(crate) fn above(&self) -> impl Iterator<Item = Self> {
        (1..self.depth()).map(|keys| self.prefix(keys))
    }

    /// Whether it is `other` or lies below it.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        self.as_ref().is_below(other.as_ref())
    }

    /// Whether one is a prefix of the other.
    #[cfg(test)]
    pub(crate) fn is_related(&self, other: &Self) -> bool {
        self.is_below(other) || other.is_below(self)
    }
}

impl<'a> PathRef<'a> {
    /// `bytes` must have been checked to be a path.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn to_path(self) -> Path {
        Path(self.0.into())
    }

    /// How many keys. More than 127 are no path, but a caller may ask for one.
    pub(crate) fn depth(self) -> usize {
        self.raw_keys().count()
    }

    /// Each key is written with its length, so that a list of keys is a prefix of another where its
    /// bytes are.
    pub(crate) fn is_below(self, other: PathRef<'_>) -> bool {
        self.body().starts_with(other.body())
    }

    fn body(self) -> &'a [u8] {
        let count = self.0.iter().take_while(|b| **b & 0x80 != 0).count() + 1;
        self.0.get(count..).unwrap_or_default()
    }

    fn raw_keys(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.body();
        std::iter::from_fn(move || {
            let (mut len, mut shift) = (0usize, 0);
            loop {
                let (byte, after) = rest.split_first()?;
                rest = after;
                len |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 || shift > 56 {
                    break;
                }
            }
            let (key, after) = rest.split_at_checked(len)?;
            rest = after;
            Some(key)
        })
    }

    pub(crate) fn keys(self) -> impl Iterator<Item = &'a str> {
        self.raw_keys().map(|k| std::str::from_utf8(k).unwrap_or_default())
    }

    /// The key at a depth, the first at 0.
    pub(crate) fn key(self, depth: usize) -> &'a str {
        self.keys().nth(depth).unwrap_or_default()
    }
}

impl Ord for PathRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.raw_keys().cmp(other.raw_keys())
    }
}

impl PartialOrd for PathRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(&other.as_ref())
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, key) in self.as_ref().keys().enumerate() {
            f.write_str(if i == 0 { "" } else { "." })?;
            f.write_str(key)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_ref().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_order_and_nest_as_lists_of_keys_do(
            a in proptest::collection::vec("[a-b]{0,2}|x{200}", 1..4),
            b in proptest::collection::vec("[a-b]{0,2}|x{200}", 1..4),
        ) {
            let (p, q) = (Path::new(&a), Path::new(&b));
            prop_assert_eq!(p.cmp(&q), a.cmp(&b));
            prop_assert_eq!(p.is_below(&q), a.starts_with(&b));
            let keys: Vec<_> = a.iter().map(String::as_str).collect();
            prop_assert_eq!(p.as_ref().keys().collect::<Vec<_>>(), keys);
            prop_assert_eq!(p.depth(), a.len());
        }
    }
}
