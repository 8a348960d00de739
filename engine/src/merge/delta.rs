//! The difference between two contents (R24).

use crate::error::Result;
use crate::format::value::{decode_all, flatten, flatten_content};
use crate::model::{Content, Patch, Path, ShownLeaf, Value};

/// The patch that turns `a` into `b`: changed leaves, removals too.
///
/// ```
/// use heirloom::{Content, apply_patch, diff};
/// let a = Content::new().with("name", "desk").with("brightness", 40);
/// let b = Content::new().with("name", "desk").with("colour", "red");
/// assert_eq!(apply_patch(&diff(&a, &b)?, &a)?, b);
/// # Ok::<(), heirloom::Error>(())
/// ```
///
/// [`Error::Limit`](crate::Error::Limit) if a content is too deep or has too long a key for the format.
pub fn diff(a: &Content, b: &Content) -> Result<Patch> {
    let (a, b) = (flatten_content(a)?, flatten_content(b)?);
    let mut patch = Patch::new();
    for (path, value) in &b {
        if !a.iter().any(|(p, v)| p == path && v == value) {
            patch.sets.push((path.clone(), decode(value)));
        }
    }
    let replaced = |p: &Path| patch.sets.iter().any(|(s, _)| p.is_related(s));
    let gone = a.iter().map(|(p, _)| p).filter(|p| !b.iter().any(|(q, _)| q == *p) && !replaced(p));
    patch.unsets = gone.cloned().collect();
    Ok(patch)
}

/// A content after a patch: unsets first, then sets, each in the place of what is at, below and above its path.
pub fn apply_patch(patch: &Patch, to: &Content) -> Result<Content> {
    let mut sets = Vec::new();
    for (path, value) in &patch.sets {
        flatten(path.clone(), value, &mut sets)?;
    }
    let mut leaves = flatten_content(to)?;
    leaves.retain(|(p, _)| !patch.unsets.iter().any(|u| p.is_below(u)));
    for (path, value) in sets {
        leaves.retain(|(p, _)| !p.is_related(&path));
        leaves.push((path, value));
    }
    Ok(unflatten(leaves.iter().map(|(p, v)| (p.as_ref(), &v[..]))))
}

fn decode(bytes: &[u8]) -> Value {
    // encoded a moment ago
    decode_all(bytes).unwrap_or_default()
}

/// Content from leaves of which none lies below another.
pub(crate) fn unflatten<'a>(leaves: impl Iterator<Item = ShownLeaf<'a>>) -> Content {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::value::tests::values;
    use proptest::prelude::*;

    fn contents() -> impl Strategy<Value = Content> {
        proptest::collection::btree_map("[a-c]{0,2}", values(), 0..5).prop_map(|m| m.into_iter().collect())
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_the_other(a in contents(), b in contents()) {
            prop_assert_eq!(apply_patch(&diff(&a, &b).unwrap(), &a).unwrap(), b);
        }

        #[test]
        fn equal_contents_differ_in_nothing(a in contents()) {
            let patch = diff(&a, &a).unwrap();
            prop_assert!(patch.sets.is_empty() && patch.unsets.is_empty());
        }

        #[test]
        fn leaves_give_the_content_back(a in contents()) {
            let leaves = flatten_content(&a).unwrap();
            prop_assert_eq!(unflatten(leaves.iter().map(|(p, v)| (p.as_ref(), &v[..]))), a);
        }
    }
}
