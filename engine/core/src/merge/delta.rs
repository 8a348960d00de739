//! The difference between two contents, and a content after a patch (R24).

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::apply::{is_emptied, removed};
use super::contents::{decode, set, unset};
use super::nearby::Nearby;
use crate::error::{Invalid, Result};
use crate::format::value::{flatten, flatten_content, is_closed};
use crate::model::{Content, Patch, Path, Value};

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
/// [`Invalid::Limit`] if a content is too deep or has too long a key for the format.
pub fn diff(a: &Content, b: &Content) -> Result<Patch> {
    let (a, b) = (flatten_content(a)?, flatten_content(b)?);
    let old: BTreeMap<&Path, &Vec<u8>> = a.iter().map(|(p, v)| (p, v)).collect();
    let changed = b.iter().filter(|(p, v)| old.get(p) != Some(&v) && !is_emptied(p, v, &a));
    let mut patch = Patch::new();
    patch.sets.extend(changed.map(|(path, value)| (path.clone(), decode(value))));
    let sets = Nearby::new(patch.sets.iter().map(|(p, _)| p));
    patch.unsets =
        removed(a.iter().map(|(p, _)| p), &b).into_iter().filter(|p| !sets.covers(p)).collect();
    // a map in the place of a variant: no path leads into that, so it goes first
    let is_map_in_b = |path: &Path| {
        let at = b.partition_point(|(p, _)| p <= path);
        b.get(at).is_some_and(|(p, _)| p.is_below(path))
    };
    let replaced = a.iter().filter(|(p, v)| is_closed(v) && is_map_in_b(p));
    patch.unsets.extend(replaced.map(|(p, _)| p.clone()));
    patch.unsets.sort();
    Ok(patch)
}

/// A content after a patch: unsets first, then sets, each in the place of what is at, below and
/// above its path. A map whose last field is unset stays, empty; to remove it, unset the map.
///
/// [`Invalid::EmptyPath`] for a path without a key, [`Invalid::Inside`] for one that leads into a
/// variant or another value that is one, [`Invalid::Limit`] for a content, path or value that is
/// too deep or has too long a key.
pub fn apply_patch(patch: &Patch, to: &Content) -> Result<Content> {
    let before = flatten_content(to)?;
    check_inside(patch, before.iter().map(|(p, v)| (p, &v[..])))?;
    apply_decision(patch, to)
}

/// A content after a policy has decided its open fields, of which one may be a variant and another
/// lie below it: there a path may lead into a value, which it takes the place of. Else as
/// [`apply_patch`]. [`Invalid::EmptyPath`] for a path without a key, [`Invalid::Limit`] for one, or
/// a value, that is too deep or has too long a key.
pub fn apply_decision(patch: &Patch, to: &Content) -> Result<Content> {
    let mut sets = Vec::new();
    for (path, value) in &patch.sets {
        check_path(path)?;
        flatten(path.clone(), value, &mut sets)?;
    }
    patch.unsets.iter().try_for_each(check_path)?;
    let mut out = to.clone();
    for path in &patch.unsets {
        unset(&mut out, &path.as_ref().keys().collect::<Vec<_>>());
    }
    for (path, value) in &sets {
        set(&mut out, &path.as_ref().keys().collect::<Vec<_>>(), decode(value));
    }
    Ok(out)
}

/// Checks that an entity can have something at a path. [`Invalid::EmptyPath`] if it has no key,
/// [`Invalid::Limit`] if it has too many or one that is too long.
pub fn check_path(path: &Path) -> Result<()> {
    if path.depth() == 0 {
        return Err(Invalid::EmptyPath);
    }
    flatten(path.clone(), &Value::Null, &mut Vec::new())
}

/// Checks that each path of a patch ends at a value. [`Invalid::Inside`] if one leads into a
/// variant or an atomic map among these leaves, unless the patch removes that first.
pub fn check_inside<'a>(
    patch: &Patch,
    leaves: impl Iterator<Item = (&'a Path, &'a [u8])>,
) -> Result<()> {
    for (at, _) in leaves.filter(|(_, value)| is_closed(value)) {
        if patch.unsets.iter().any(|u| at.is_below(u)) {
            continue;
        }
        let inside = |p: &&Path| p.is_below(at) && *p != at;
        if let Some(path) = patch.sets.iter().map(|(p, _)| p).chain(&patch.unsets).find(inside) {
            return Err(Invalid::Inside { path: path.to_string(), value: at.to_string() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::contents::unflatten;
    use super::*;
    use crate::format::value::tests::values;

    fn contents() -> impl Strategy<Value = Content> {
        proptest::collection::btree_map("[a-c]{0,2}", values(), 0..5)
            .prop_map(|m| m.into_iter().collect())
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

    #[test]
    fn a_path_that_no_entity_can_have_is_an_error() {
        let (none, deep) = (Vec::<String>::new(), vec!["k".to_owned(); 65]);
        for path in [&none, &deep, &vec!["k".repeat(1_025)]] {
            let patches = [Patch::new().set_at(path, 1), Patch::new().unset_at(path)];
            assert!(
                patches.iter().all(|p| apply_patch(p, &Content::new().with("v", 1)).is_err()),
                "{path:?}"
            );
        }
    }
}
