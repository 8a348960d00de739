//! A small cache of two generations: bounded by cost, no lists to keep in order.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// When the young generation is full it becomes the old one, and the old one is forgotten. What is
/// used survives.
pub(crate) struct Cache<K, V>(Mutex<Generations<K, V>>);

/// The same for one caller at a time.
pub(crate) struct Generations<K, V> {
    half: usize,
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    cost: usize,
    old_cost: usize,
    /// What is full takes nothing more until something is removed.
    keeps: bool,
}

impl<K: Eq + Hash + Copy, V: Clone> Cache<K, V> {
    /// Holds values of at most `cost` together. One that is larger counts as half of it: what reads
    /// a large value again and again must not make it anew each time.
    pub(crate) fn new(cost: usize) -> Self {
        Self(Mutex::new(Generations::new(cost)))
    }

    /// The same for one who removes what is not needed any more: what is in it stays, and when it
    /// is full it takes nothing more.
    pub(crate) fn keeping(cost: usize) -> Self {
        Self(Mutex::new(Generations { keeps: true, ..Generations::new(2 * cost) }))
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.0.lock().get(key)
    }

    pub(crate) fn insert(&self, key: K, value: V, cost: usize) {
        self.0.lock().insert(key, value, cost);
    }

    /// Decides while nobody else can change it.
    pub(crate) fn insert_if(&self, key: K, value: V, cost: usize, wanted: impl FnOnce() -> bool) {
        let mut inner = self.0.lock();
        if wanted() {
            inner.insert(key, value, cost);
        }
    }

    pub(crate) fn remove(&self, key: &K) {
        self.0.lock().remove(key);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

impl<K: Eq + Hash + Copy, V: Clone> Generations<K, V> {
    pub(crate) fn new(cost: usize) -> Self {
        let (young, old) = Default::default();
        Self { half: cost / 2, young, old, cost: 0, old_cost: 0, keeps: false }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (value, cost) = self.old.remove(key)?;
        self.old_cost -= cost;
        self.insert(*key, value.clone(), cost);
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V, cost: usize) {
        let cost = cost.min(self.half);
        self.remove(&key);
        if self.cost + cost > self.half {
            if self.keeps {
                return;
            }
            self.old = std::mem::take(&mut self.young);
            self.old_cost = std::mem::take(&mut self.cost);
        }
        self.young.insert(key, (value, cost));
        self.cost += cost;
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((_, cost)) = self.young.remove(key) {
            self.cost -= cost;
        } else if let Some((_, cost)) = self.old.remove(key) {
            self.old_cost -= cost;
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { keeps: self.keeps, ..Self::new(self.half * 2) };
    }

    /// What all values cost together.
    pub(crate) fn cost(&self) -> usize {
        self.cost + self.old_cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_survives_and_the_cost_is_bounded() {
        let cache = Cache::new(20);
        for i in 0..100 {
            cache.insert(i, i, 1);
            cache.get(&0);
            let inner = cache.0.lock();
            assert!(inner.young.len() + inner.old.len() <= 20);
            assert_eq!(inner.cost(), inner.young.len() + inner.old.len());
        }
        assert_eq!(cache.get(&0), Some(0));
        assert_eq!(cache.get(&5), None);
        cache.insert(7, 7, 11);
        assert_eq!(cache.get(&7), Some(7), "what is too large is kept until the next comes");
    }

    #[test]
    fn what_keeps_takes_more_only_when_something_is_removed() {
        let cache = Cache::keeping(20);
        (0..30).for_each(|i| cache.insert(i, i, 1));
        assert!((0..30).all(|i| cache.get(&i).is_some() == (i < 20)));
        cache.remove(&3);
        (30..33).for_each(|i| cache.insert(i, i, 1));
        assert_eq!([3, 19, 30, 31].map(|i| cache.get(&i).is_some()), [false, true, true, false]);
    }
}
