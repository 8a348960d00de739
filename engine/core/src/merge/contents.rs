//! Contents from leaves, and values at paths in them.

use crate::format::serde::ShownLeaf;
use crate::format::value::decode_all;
use crate::model::{Content, Path, Value};

pub(super) fn unset(from: &mut Content, keys: &[&str]) {
    match keys {
        [] => {}
        [last] => drop(from.remove(last)),
        [first, below @ ..] => {
            if let Some(Value::Map(map)) = from.get_mut(first) {
                unset(map, below);
            }
        }
    }
}

pub(super) fn set(to: &mut Content, keys: &[&str], value: Value) {
    if let Some((last, above)) = keys.split_last() {
        above.iter().fold(to, |at, key| at.map_at(key)).insert(*last, value);
    }
}

pub(super) fn decode(bytes: &[u8]) -> Value {
    // encoded a moment ago
    decode_all(bytes).unwrap_or_default()
}

/// The content that these leaves are, of which none lies below another.
pub fn unflatten<'a>(leaves: impl Iterator<Item = ShownLeaf<'a>>) -> Content {
    unflatten_with(leaves, decode)
}

/// The content that these leaves are, of which none lies below another; `decode` makes the value of
/// each from its canonical bytes.
pub fn unflatten_with<'a>(
    leaves: impl Iterator<Item = ShownLeaf<'a>>,
    decode: impl Fn(&'a [u8]) -> Value,
) -> Content {
    let mut out = Content::new();
    for (path, value) in leaves {
        let (mut at, mut keys) = (&mut out, path.keys().peekable());
        while let Some(key) = keys.next() {
            if keys.peek().is_none() {
                at.insert(key, decode(value));
                break;
            }
            at = at.map_at(key);
        }
    }
    out
}

/// What stands at a path of a content, a map as a whole. No path leads into a variant, an array or
/// an atomic map.
pub fn value_at<'c>(content: &'c Content, path: &Path) -> Option<&'c Value> {
    let mut keys = path.as_ref().keys();
    let first = content.get(keys.next()?);
    keys.fold(first, |at, key| match at {
        Some(Value::Map(map)) => map.get(key),
        _ => None,
    })
}
