//! A small cache of two generations: bounded by cost, no lists to keep in order.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// When the young generation is full it becomes the old one, and the old one is forgotten. What is used survives.
pub(crate) struct Cache<K, V> {
    half: usize,
    inner: Mutex<Generations<K, V>>,
}

struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    cost: usize,
}

impl<K: Eq + Hash + Copy, V: Clone> Cache<K, V> {
    /// Holds values of at most `cost` together. One that is larger counts as half of it: what reads a large value again and again must not
    /// make it anew each time.
    pub(crate) fn new(cost: usize) -> Self {
        let inner = Generations { young: HashMap::new(), old: HashMap::new(), cost: 0 };
        Self { half: cost / 2, inner: Mutex::new(inner) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut inner = self.inner.lock();
        if let Some((value, _)) = inner.young.get(key) {
            return Some(value.clone());
        }
        let (value, cost) = inner.old.remove(key)?;
        self.add(&mut inner, *key, value.clone(), cost);
        Some(value)
    }

    pub(crate) fn insert(&self, key: K, value: V, cost: usize) {
        self.add(&mut self.inner.lock(), key, value, cost.min(self.half));
    }

    fn add(&self, inner: &mut Generations<K, V>, key: K, value: V, cost: usize) {
        if inner.cost + cost > self.half {
            inner.old = std::mem::take(&mut inner.young);
            inner.cost = 0;
        }
        if let Some((_, before)) = inner.young.insert(key, (value, cost)) {
            inner.cost -= before;
        }
        inner.cost += cost;
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
            let inner = cache.inner.lock();
            assert!(inner.young.len() + inner.old.len() <= 20);
        }
        assert_eq!(cache.get(&0), Some(0));
        assert_eq!(cache.get(&5), None);
        cache.insert(7, 7, 11);
        assert_eq!(cache.get(&7), Some(7), "what is too large is kept until the next comes");
    }
}
