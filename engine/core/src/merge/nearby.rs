//! Many paths, to be asked which others lie near them: a content may have hundreds of thousands of
//! leaves, so nothing here compares each with each.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::model::Path;

/// A set of paths that tells whether others lie above or below one of them. It keeps the
/// shallowest: in order, what continues a path follows it directly, so one look to each side tells
/// all.
pub struct Nearby<'a>(Vec<&'a Path>);

impl<'a> Nearby<'a> {
    /// A set of these paths, in any order.
    pub fn new(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut all: Vec<&Path> = paths.into_iter().collect();
        all.sort_unstable();
        all.dedup_by(|path, above| path.is_below(above));
        Self(all)
    }

    /// Whether a path is one of them or lies below one.
    pub fn covers(&self, path: &Path) -> bool {
        let after = self.0.partition_point(|p| *p <= path);
        after > 0 && path.is_below(self.0[after - 1])
    }

    /// Whether a path is one of them, or lies below or above one.
    pub fn touches(&self, path: &Path) -> bool {
        let after = self.0.partition_point(|p| *p <= path);
        (after > 0 && path.is_below(self.0[after - 1]))
            || self.0.get(after).is_some_and(|p| p.is_below(path))
    }
}

/// Leaves of which none lies below another.
pub(super) struct Fitting<V>(pub(super) BTreeMap<Path, V>);

impl<V> Default for Fitting<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V> Fitting<V> {
    /// Whether none is the path, or lies above or below it.
    fn has_room_for(&self, path: &Path) -> bool {
        let before = self.0.range(..=path).next_back();
        let after = self.0.range((Bound::Excluded(path), Bound::Unbounded)).next();
        before.is_none_or(|(p, _)| !path.is_below(p))
            && after.is_none_or(|(p, _)| !p.is_below(path))
    }

    /// Puts a leaf in, unless one that is there stands in its way.
    pub(super) fn keep(&mut self, path: &Path, value: V) {
        if self.has_room_for(path) {
            self.0.insert(path.clone(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths() -> impl Strategy<Value = Vec<Path>> {
        let path = proptest::collection::vec("[a-b]{0,2}", 1..4).prop_map(Path::new);
        proptest::collection::vec(path, 0..8)
    }

    proptest! {
        #[test]
        fn one_look_to_each_side_tells_what_comparing_with_all_tells(
            paths in paths(),
            asked in paths(),
        ) {
            let nearby = Nearby::new(&paths);
            for p in &asked {
                prop_assert_eq!(nearby.covers(p), paths.iter().any(|q| p.is_below(q)));
                prop_assert_eq!(nearby.touches(p), paths.iter().any(|q| p.is_related(q)));
            }
        }

        #[test]
        fn what_fits_is_what_comparing_with_all_leaves(paths in paths()) {
            let (mut kept, mut naive_kept) = (Fitting::default(), Vec::<Path>::new());
            for path in &paths {
                kept.keep(path, ());
                if !naive_kept.iter().any(|p| p.is_related(path)) {
                    naive_kept.push(path.clone());
                }
            }
            naive_kept.sort();
            prop_assert_eq!(kept.0.into_keys().collect::<Vec<_>>(), naive_kept);
        }
    }
}
