//! Entities as they were shown lately, decoded (R8). Right for every snapshot: what is in here
//! holds from the durable commit at which it was read up to the newest one, since each commit takes
//! out what it changes before anybody can see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heirloom_core::model::EntityId;
use parking_lot::Mutex;

use super::cache::Generations;
use super::seen::Seen;

/// Locks, so that readers of different entities do not wait for each other.
const SHARDS: usize = 16;
/// How many entities that were asked for once each remembers.
const ASKED: usize = 256;

pub(crate) struct ReadCache {
    shards: [Mutex<Shard>; SHARDS],
    capacity: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

struct Shard {
    /// With the number of the durable commit at which each was read.
    entities: Generations<EntityId, (Arc<Seen>, u64)>,
    /// The newest durable commit, or the one that is about to be.
    newest: u64,
    /// Ends of ids. Only who is asked for again soon is taken in, so that a scan drives nobody out,
    /// and what is read once costs no room.
    asked: [u32; ASKED],
}

/// How the read cache does (R8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Reads that were answered from memory, decoded.
    pub hits: u64,
    /// Reads that went to the store.
    pub misses: u64,
    /// About how many bytes it holds.
    pub bytes: u64,
    /// About how many bytes it may hold.
    pub capacity: u64,
}

impl CacheStats {
    /// Hits among all reads, 0 to 1; 0 before the first read.
    pub fn hit_rate(&self) -> f64 {
        let reads = self.hits + self.misses;
        if reads == 0 { 0.0 } else { self.hits as f64 / reads as f64 }
    }
}

impl ReadCache {
    /// Takes about so many bytes when full.
    pub(crate) fn new(bytes: usize) -> Self {
        let empty =
            || Shard { entities: Generations::new(bytes / SHARDS), newest: 0, asked: [0; ASKED] };
        let shard = |_| Mutex::new(empty());
        Self {
            shards: std::array::from_fn(shard),
            capacity: bytes,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    fn shard(&self, id: &EntityId) -> &Mutex<Shard> {
        // the last bytes of an id are random, the first may be a time
        &self.shards[usize::from(id.as_bytes()[15]) % SHARDS]
    }

    /// An entity as it stands after a durable commit.
    pub(crate) fn get(&self, id: EntityId, commit: u64) -> Option<Arc<Seen>> {
        let found = self.shard(&id).lock().entities.get(&id);
        let found = found.filter(|(_, since)| *since <= commit).map(|(seen, _)| seen);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps it, unless a newer commit has come, which may have changed it, or nobody asked for it
    /// lately.
    pub(crate) fn insert(&self, id: EntityId, seen: &Arc<Seen>, commit: u64) {
        let mut shard = self.shard(&id).lock();
        let [.., a, b, c, d] = *id.as_bytes();
        let end = u32::from_be_bytes([a, b, c, d]);
        let asked = &mut shard.asked[(end >> 4) as usize % ASKED];
        if std::mem::replace(asked, end) == end && shard.newest == commit {
            shard.entities.insert(id, (seen.clone(), commit), seen.cost());
        }
    }

    /// To be called before a durable commit can be seen.
    pub(crate) fn changed<'a>(&self, commit: u64, ids: impl Iterator<Item = &'a EntityId>) {
        for shard in &self.shards {
            shard.lock().newest = commit;
        }
        for id in ids {
            self.shard(id).lock().entities.remove(id);
        }
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            shard.lock().entities.clear();
        }
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: self.shards.iter().map(|s| s.lock().entities.cost() as u64).sum(),
            capacity: self.capacity as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::Shown;
    use super::*;

    fn seen(id: EntityId) -> Arc<Seen> {
        Arc::new(Seen {
            id,
            entity_type: "lamp".into(),
            heads: Box::default(),
            shown: Shown::Deleted,
            conflicts: Vec::new(),
            deletion_conflict: false,
        })
    }

    #[test]
    fn an_older_snapshot_neither_gets_nor_leaves_what_it_must_not() {
        let (cache, id) = (ReadCache::new(1 << 20), EntityId::from_bytes([1; 16]));
        cache.changed(5, std::iter::empty());
        let insert = |commit| (0..2).for_each(|_| cache.insert(id, &seen(id), commit));
        insert(4);
        assert!(
            cache.get(id, 5).is_none(),
            "read before the newest commit: it may have changed since"
        );
        insert(5);
        assert!(cache.get(id, 5).is_some());
        assert!(cache.get(id, 4).is_none(), "a snapshot before it was read may differ");
        cache.changed(6, std::iter::empty());
        assert!(cache.get(id, 6).is_some(), "not changed by the next commit");
        cache.changed(7, [id].iter());
        assert!(cache.get(id, 7).is_none());
        insert(6);
        assert!(cache.get(id, 7).is_none(), "a slow reader of the commit before leaves nothing");
        assert_eq!((cache.stats().hits, cache.stats().misses), (2, 4));
    }

    #[test]
    fn its_size_is_bounded() {
        let cache = ReadCache::new(64 << 10);
        for n in 0..10_000u32 {
            let id = EntityId::v5(&[0; 16], &n.to_be_bytes());
            (0..2).for_each(|_| cache.insert(id, &seen(id), 0));
        }
        let stats = cache.stats();
        assert!(stats.bytes > 32 << 10 && stats.bytes <= 64 << 10, "{stats:?}");
    }

    #[test]
    fn a_scan_drives_nobody_out() {
        let cache = ReadCache::new(64 << 10);
        let id = |n: u32| EntityId::v5(&[0; 16], &n.to_be_bytes());
        let read = |n| match cache.get(id(n), 0) {
            Some(_) => (),
            None => cache.insert(id(n), &seen(id(n)), 0),
        };
        (0..3).for_each(|_| (0..20).for_each(read));
        (1_000..100_000).for_each(read);
        assert!((0..20).all(|n| cache.get(id(n), 0).is_some()));
    }
}
