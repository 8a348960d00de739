//! Vector clocks: how far into each log.

use alloc::vec::Vec;

use super::id::LogId;
use super::number::Sequence;
use super::time::Timestamp;
use super::version::VersionId;
use crate::error::Result;

/// How far into one log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClockEntry {
    /// Sequence of the last version.
    pub sequence: Sequence,
    /// Its stamp.
    pub stamp: Timestamp,
}

impl ClockEntry {
    /// The id of that version; the device id is told by the log's genesis.
    pub fn version_id(&self, device: &str) -> Result<VersionId> {
        VersionId::new(self.stamp, device, self.sequence)
    }
}

/// How two clocks relate; the four answers exclude each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ClockOrdering {
    /// Both have seen the same.
    Equal,
    /// The first has seen less.
    Before,
    /// The first has seen more.
    After,
    /// Each has seen something that the other has not.
    Concurrent,
}

/// A vector clock: for each log, how much of it has been seen. Costs 32 bytes a log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clock(Vec<(LogId, ClockEntry)>);

impl Clock {
    /// Has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How far into this log, if at all.
    pub fn get(&self, log: LogId) -> Option<ClockEntry> {
        self.place(log).ok().map(|i| self.0[i].1)
    }

    /// Whether it has seen this place.
    pub fn covers(&self, log: LogId, sequence: Sequence) -> bool {
        self.get(log).is_some_and(|e| sequence <= e.sequence)
    }

    /// All logs, in order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (LogId, ClockEntry)> + '_ {
        self.0.iter().copied()
    }

    /// How many logs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has seen nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sees one version more of a log, written at `stamp`; returns its sequence.
    pub fn increment(&mut self, log: LogId, stamp: Timestamp) -> Sequence {
        let sequence = self.get(log).map_or(Sequence::START, |e| e.sequence).next();
        self.advance(log, ClockEntry { sequence, stamp });
        sequence
    }

    /// Sees a log up to an entry, if that is further.
    pub fn advance(&mut self, log: LogId, entry: ClockEntry) {
        match self.place(log) {
            Ok(i) if self.0[i].1.sequence < entry.sequence => self.0[i].1 = entry,
            Ok(_) => {}
            Err(i) => self.0.insert(i, (log, entry)),
        }
    }

    /// Sees all that the other has seen. Linear in both.
    pub fn merge(&mut self, other: &Clock) {
        if other.0.iter().all(|(log, e)| self.covers(*log, e.sequence)) {
            return;
        }
        let mine = core::mem::take(&mut self.0);
        let (mut a, mut b) = (mine.into_iter().peekable(), other.0.iter().copied().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let order = x.0.cmp(&y.0);
            let further = if order.is_eq() { x.1.sequence >= y.1.sequence } else { order.is_lt() };
            let pick = if further { *x } else { *y };
            if order.is_le() {
                a.next();
            }
            if order.is_ge() {
                b.next();
            }
            self.0.push(pick);
        }
        self.0.extend(a);
        self.0.extend(b);
    }

    /// How this clock relates to another.
    ///
    /// ```
    /// use heirloom::{Clock, ClockOrdering, LogId, Timestamp};
    /// let (phone, tablet) = (LogId::from_bytes([1; 16]), LogId::from_bytes([2; 16]));
    /// let (mut a, mut b) = (Clock::new(), Clock::new());
    /// a.increment(phone, Timestamp::EPOCH);
    /// assert_eq!(b.compare(&a), ClockOrdering::Before);
    /// b.increment(tablet, Timestamp::EPOCH);
    /// assert_eq!(b.compare(&a), ClockOrdering::Concurrent);
    /// ```
    pub fn compare(&self, other: &Clock) -> ClockOrdering {
        let within = |a: &Clock, b: &Clock| a.0.iter().all(|(log, e)| b.covers(*log, e.sequence));
        match (within(self, other), within(other, self)) {
            (true, true) => ClockOrdering::Equal,
            (true, false) => ClockOrdering::Before,
            (false, true) => ClockOrdering::After,
            (false, false) => ClockOrdering::Concurrent,
        }
    }

    /// Strictly before: equal clocks do not precede each other.
    pub fn happens_before(&self, other: &Clock) -> bool {
        self.compare(other) == ClockOrdering::Before
    }

    fn place(&self, log: LogId) -> core::result::Result<usize, usize> {
        self.0.binary_search_by(|(l, _)| l.cmp(&log))
    }
}

impl FromIterator<(LogId, ClockEntry)> for Clock {
    fn from_iter<I: IntoIterator<Item = (LogId, ClockEntry)>>(iter: I) -> Self {
        let mut entries: Vec<_> = iter.into_iter().collect();
        entries.sort_by_key(|(log, e)| (*log, core::cmp::Reverse(e.sequence)));
        entries.dedup_by_key(|(log, _)| *log);
        Self(entries)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Naive = BTreeMap<u8, u64>;

    fn clock(naive: &Naive) -> Clock {
        let entry = |s: &u64| ClockEntry {
            sequence: (*s).into(),
            stamp: Timestamp::from_millis(*s as i64),
        };
        naive.iter().map(|(l, s)| (LogId::from_bytes([*l; 16]), entry(s))).collect()
    }

    fn naive_merge(a: &Naive, b: &Naive) -> Naive {
        let mut out = a.clone();
        for (l, s) in b {
            let e = out.entry(*l).or_default();
            *e = (*e).max(*s);
        }
        out
    }

    fn clocks() -> impl Strategy<Value = Naive> {
        proptest::collection::btree_map(0u8..5, 1u64..6, 0..5)
    }

    proptest! {
        #[test]
        fn merge_is_the_least_upper_bound(a in clocks(), b in clocks(), c in clocks()) {
            let merged = |x: &Clock, y: &Clock| { let mut m = x.clone(); m.merge(y); m };
            let (x, y, z) = (clock(&a), clock(&b), clock(&c));
            prop_assert_eq!(&merged(&x, &y), &clock(&naive_merge(&a, &b)));
            prop_assert_eq!(merged(&x, &y), merged(&y, &x));
            prop_assert_eq!(merged(&merged(&x, &y), &z), merged(&x, &merged(&y, &z)));
            prop_assert_eq!(merged(&x, &x), x);
        }

        #[test]
        fn the_four_answers_are_those_of_the_definition(a in clocks(), b in clocks()) {
            let get = |m: &Naive, l: u8| m.get(&l).copied().unwrap_or(0);
            let le = |m: &Naive, n: &Naive| (0u8..5).all(|l| get(m, l) <= get(n, l));
            let expected = match (le(&a, &b), le(&b, &a)) {
                (true, true) => ClockOrdering::Equal,
                (true, false) => ClockOrdering::Before,
                (false, true) => ClockOrdering::After,
                (false, false) => ClockOrdering::Concurrent,
            };
            prop_assert_eq!(clock(&a).compare(&clock(&b)), expected);
            let before = |a, b| clock(a).happens_before(&clock(b));
            prop_assert!(!(before(&a, &b) && before(&b, &a)));
        }

        #[test]
        fn increment_goes_strictly_after(a in clocks(), log in 0u8..5) {
            let before = clock(&a);
            let mut after = before.clone();
            after.increment(LogId::from_bytes([log; 16]), Timestamp::EPOCH);
            prop_assert!(before.happens_before(&after));
        }
    }
}
