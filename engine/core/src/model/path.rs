//! Where a leaf is: the keys that lead to it.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use smallvec::SmallVec;

use crate::bytes::Put;

/// A list of keys that leads from the content of an entity to a leaf, as its canonical bytes
/// (FORMAT.md, 1.4). Ordered key by key; a prefix comes before what continues it.
#[derive(Clone, PartialEq, Eq, Hash)]
// mostly one short key, which then takes no memory of its own
pub struct Path(SmallVec<[u8; 24]>);

/// A path whose bytes lie in a longer record: a [`Path`] that owns nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PathRef<'a>(&'a [u8]);

impl Path {
    /// The path of these keys. It is not checked: the format knows paths of 1 to 64 keys, each of
    /// at most 1,024 bytes, see [`check_path`](crate::merge::check_path).
    pub fn new<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Self {
        let (mut count, mut body) = (0, Vec::with_capacity(24));
        for key in keys {
            count += 1;
            body.bytes(key.as_ref().as_bytes());
        }
        let mut out = Vec::with_capacity(body.len() + 1);
        out.varint(count);
        out.extend_from_slice(&body);
        Self(SmallVec::from_slice(&out))
    }

    /// This path, its bytes borrowed.
    pub fn as_ref(&self) -> PathRef<'_> {
        PathRef(&self.0)
    }

    /// The path that continues this one by a key.
    pub fn join(&self, key: &str) -> Self {
        Self::new(self.as_ref().keys().chain([key]))
    }

    /// Its canonical bytes: how many keys, then each with its length.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many keys.
    pub fn depth(&self) -> usize {
        self.as_ref().depth()
    }

    /// The path of its first so many keys.
    pub fn prefix(&self, keys: usize) -> Self {
        Self::new(self.as_ref().keys().take(keys))
    }

    /// All its proper prefixes, the shortest first.
    pub fn above(&self) -> impl Iterator<Item = Self> {
        (1..self.depth()).map(|keys| self.prefix(keys))
    }

    /// Whether it is `other` or lies below it.
    pub fn is_below(&self, other: &Self) -> bool {
        self.as_ref().is_below(other.as_ref())
    }

    /// Whether one is a prefix of the other.
    #[cfg(test)]
    pub fn is_related(&self, other: &Self) -> bool {
        self.is_below(other) || other.is_below(self)
    }
}

impl<'a> PathRef<'a> {
    /// The path that these bytes are. They must have been checked, as
    /// [`path`](crate::format::value::path) does.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// This path with bytes of its own.
    pub fn to_path(self) -> Path {
        Path(SmallVec::from_slice(self.0))
    }

    /// How many keys. More than 127 are no path, but a caller may ask for one.
    pub fn depth(self) -> usize {
        self.raw_keys().count()
    }

    /// Whether it is `other` or lies below it.
    pub fn is_below(self, other: PathRef<'_>) -> bool {
        // each key is written with its length, so a list of keys is a prefix where its bytes are
        self.body().starts_with(other.body())
    }

    fn body(self) -> &'a [u8] {
        let count = self.0.iter().take_while(|b| **b & 0x80 != 0).count() + 1;
        self.0.get(count..).unwrap_or_default()
    }

    fn raw_keys(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.body();
        core::iter::from_fn(move || {
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

    /// Its keys, the topmost first.
    pub fn keys(self) -> impl Iterator<Item = &'a str> {
        self.raw_keys().map(|k| core::str::from_utf8(k).unwrap_or_default())
    }

    /// The key at a depth, the topmost at 0; empty if there is none.
    pub fn key(self, depth: usize) -> &'a str {
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
    use proptest::prelude::*;

    use super::*;

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
