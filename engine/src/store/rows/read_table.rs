//! A table as readers see it: what redb has of it, under what is only in the journal yet.

use std::borrow::Borrow;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::delta::{Delta, LayerRows, Row};
use super::guard::{DAMAGED, StoredBytes, StoredRows, StoredTable};
use super::sealed::hex;
use crate::error::{Error, Result, Table};

const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

/// A key or a value.
pub(crate) enum Bytes {
    Stored(StoredBytes<'static>),
    Key(Row),
    Value(Row),
}

impl Bytes {
    pub(crate) fn value(&self) -> &[u8] {
        match self {
            Self::Stored(bytes) => bytes.value(),
            Self::Key(row) => row.key(),
            Self::Value(row) => row.value().unwrap_or_default(),
        }
    }
}

/// A table as one reader sees it. Clones are cheap.
#[derive(Clone)]
pub(crate) struct ReadTable {
    which: Table,
    /// Nothing where redb has no such table yet.
    stored: Option<Arc<StoredTable>>,
    delta: Delta,
}

impl ReadTable {
    pub(crate) fn new(which: Table, stored: Option<StoredTable>, delta: Delta) -> Self {
        Self { which, stored: stored.map(Arc::new), delta }
    }

    /// The same table under another delta.
    pub(crate) fn under(&self, delta: &Delta) -> Self {
        Self { which: self.which, stored: self.stored.clone(), delta: delta.clone() }
    }

    /// Whether there is such a table: in redb, or by a row of the journal.
    pub(crate) fn exists(&self) -> bool {
        self.stored.is_some() || !self.delta.range(self.which, ALL).is_empty()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if let Some(row) = self.delta.get(self.which, key) {
            return Ok(row.value().is_some().then(|| Bytes::Value(row.clone())));
        }
        let Some(stored) = &self.stored else { return Ok(None) };
        Ok(stored.get(key)?.map(Bytes::Stored))
    }

    pub(crate) fn range<'k, K: Borrow<&'k [u8]> + 'k>(
        &self,
        bounds: impl RangeBounds<K> + 'k,
    ) -> Result<Rows> {
        let bound = |bound: Bound<&K>| bound.map(|key| *key.borrow());
        let bounds = (bound(bounds.start_bound()), bound(bounds.end_bound()));
        let layers = self.delta.range(self.which, bounds);
        let stored = self.stored.as_ref().map(|stored| stored.range(bounds)).transpose()?;
        Ok(Rows { stored, ends: [None, None], layers })
    }

    pub(crate) fn iter(&self) -> Result<Rows> {
        self.range::<&[u8]>(..)
    }

    pub(crate) fn last(&self) -> Result<Option<(Bytes, Bytes)>> {
        self.iter()?.next_back().transpose()
    }

    /// The last row that redb has, whatever the journal says.
    pub(crate) fn stored_last(&self) -> Result<Option<(Bytes, Bytes)>> {
        let Some(stored) = &self.stored else { return Ok(None) };
        let last = stored.range(ALL)?.next_back().transpose()?;
        Ok(last.map(|(key, value)| (Bytes::Stored(key), Bytes::Stored(value))))
    }

    /// How many rows redb says that it has, whatever the journal says.
    pub(crate) fn stored_len(&self) -> Result<u64> {
        self.stored.as_ref().map_or(Ok(0), |stored| stored.len())
    }

    /// How many rows there are, by what redb says of its own. Looks up each row of the journal.
    pub(crate) fn len(&self) -> Result<u64> {
        let mut len = self.stored_len()?;
        let mut seen: Option<Row> = None;
        let mut layers = self.delta.range(self.which, ALL);
        while let Some(row) = next_of(&mut layers, FRONT) {
            debug_assert!(seen.is_none_or(|seen| seen.key() < row.key()), "each key comes once");
            let before = match &self.stored {
                Some(stored) => stored.get(row.key())?.is_some(),
                None => false,
            };
            len = len + u64::from(row.value().is_some()) - u64::from(before);
            seen = Some(row);
        }
        Ok(len)
    }

    /// Reads all of it: whether rows come in order, each is found by its key and is one that the
    /// table can hold, and there are as many as redb says. How many were read, and what is wrong.
    pub(crate) fn check(&self, can_hold: impl Fn(&[u8], &[u8]) -> bool) -> (u64, Result<()>) {
        let mut rows = 0;
        let checked = self.check_rows(can_hold, &mut rows);
        (rows, checked)
    }

    fn check_rows(&self, can_hold: impl Fn(&[u8], &[u8]) -> bool, rows: &mut u64) -> Result<()> {
        for row in self.iter()? {
            let (key, value) = row?;
            let found = self.get(key.value())?;
            if found.is_none_or(|found| found.value() != value.value()) {
                let what = format!("{DAMAGED}: the row is not found by its key");
                return Err(Error::corrupt(self.which, hex(key.value()), what));
            }
            if !can_hold(key.value(), value.value()) {
                let what = format!("{DAMAGED}: a row that is none of this table");
                return Err(Error::corrupt(self.which, hex(key.value()), what));
            }
            *rows += 1;
        }
        match self.len()? {
            said if said == *rows => Ok(()),
            said => {
                let what = format!("{DAMAGED}: {rows} rows, counted as {said}");
                Err(Error::corrupt(self.which, "all", what))
            }
        }
    }
}

const FRONT: usize = 0;
const BACK: usize = 1;

/// The next row that layers have, the newest layer's where several have one of that key.
fn next_of(layers: &mut [LayerRows], end: usize) -> Option<Row> {
    let mut best: Option<&Row> = None;
    for row in layers.iter().filter_map(|layer| layer.peek(end == FRONT)) {
        let is_next = |best: &Row| match end {
            FRONT => row.key() < best.key(),
            _ => row.key() > best.key(),
        };
        if best.is_none_or(is_next) {
            best = Some(row);
        }
    }
    let best = best?.clone();
    for layer in layers {
        if layer.peek(end == FRONT).is_some_and(|row| row.key() == best.key()) {
            layer.skip(end == FRONT);
        }
    }
    Some(best)
}

/// Rows one by one, from both ends. The first error is its end.
pub(crate) struct Rows {
    stored: Option<StoredRows<'static>>,
    /// What redb gave next at each end, and a layer was ahead of.
    ends: [Option<Result<(StoredBytes<'static>, StoredBytes<'static>)>>; 2],
    layers: Vec<LayerRows>,
}

impl Rows {
    fn step(&mut self, end: usize) -> Option<Result<(Bytes, Bytes)>> {
        let stored = |row: (StoredBytes<'static>, StoredBytes<'static>)| {
            (Bytes::Stored(row.0), Bytes::Stored(row.1))
        };
        loop {
            if self.ends[end].is_none() {
                let rows = self.stored.as_mut();
                let next =
                    rows.and_then(|rows| if end == FRONT { rows.next() } else { rows.next_back() });
                // between the ends there is nothing more: what is left is at the other one
                self.ends[end] = next.or_else(|| self.ends[1 - end].take());
            }
            let ahead = self.layers.iter().filter_map(|layer| layer.peek(end == FRONT));
            let ahead =
                if end == FRONT { ahead.map(Row::key).min() } else { ahead.map(Row::key).max() };
            let Some(ahead) = ahead else {
                return self.ends[end].take().map(|row| row.map(stored));
            };
            match &self.ends[end] {
                Some(Err(_)) => {
                    (self.stored, self.layers) = (None, Vec::new());
                    return self.ends[end].take().map(|row| row.map(stored));
                }
                Some(Ok((key, _))) if key.value() == ahead => self.ends[end] = None,
                Some(Ok((key, _))) if (key.value() < ahead) == (end == FRONT) => {
                    return self.ends[end].take().map(|row| row.map(stored));
                }
                _ => {}
            }
            let row = next_of(&mut self.layers, end)?;
            if row.value().is_some() {
                return Some(Ok((Bytes::Key(row.clone()), Bytes::Value(row))));
            }
        }
    }
}

impl Iterator for Rows {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(FRONT)
    }
}

impl DoubleEndedIterator for Rows {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(BACK)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use redb::Database;
    use redb::backends::InMemoryBackend;

    use super::super::delta::in_order;
    use super::super::guard::{ReadTables, transact};
    use super::*;

    /// What a commit changes of one table.
    type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn changes() -> impl Strategy<Value = Changes> {
        let key = prop::collection::vec(0..3u8, 1..4);
        let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..3));
        prop::collection::vec((key, value), 0..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: 128,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_table_reads_as_if_all_of_the_journal_were_in_it(
            stored in changes(),
            draining in changes(),
            growing in changes(),
            from in prop::option::of(prop::collection::vec(0..3u8, 0..3)),
            to in prop::option::of(prop::collection::vec(0..3u8, 0..3)),
            ends in prop::collection::vec(any::<bool>(), 0..40),
            exists in any::<bool>(),
        ) {
            let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
            let rows = |changes: &Changes| {
                let row = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| {
                    Row::new(Table::Heads, key, value.as_deref())
                };
                in_order(changes.iter().map(row).collect())
            };
            let mut naive = BTreeMap::new();
            let mut count = |changes: &Changes| {
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(naive.insert(key.clone(), value.clone())),
                        None => drop(naive.remove(key)),
                    }
                }
            };
            if exists {
                transact(&database, redb::Durability::Immediate, |tx| {
                    tx.open_table(Table::Heads)?;
                    tx.apply(rows(&stored).iter())
                }).unwrap();
                count(&stored);
            }
            count(&draining);
            count(&growing);
            let delta = Delta::default().with(rows(&draining)).freeze().with(rows(&growing));
            let reading = ReadTables::begin(&database).unwrap();
            let table = ReadTable::new(
                Table::Heads,
                reading.optional(Table::Heads).unwrap(),
                delta,
            );
            prop_assert_eq!(table.len().unwrap(), naive.len() as u64);
            prop_assert!(table.check(|_, _| true).1.is_ok());
            for key in stored.iter().chain(&draining).chain(&growing).map(|(key, _)| key) {
                let found = table.get(key).unwrap();
                prop_assert_eq!(found.as_ref().map(Bytes::value), naive.get(key).map(|v| &v[..]));
            }
            let bound = |key: Option<Vec<u8>>| key.map_or(Bound::Unbounded, Bound::Included);
            let (from, to) = (bound(from), bound(to));
            let within = |key: &Vec<u8>| RangeBounds::contains(&(from.clone(), to.clone()), key);
            let mut expected: Vec<_> = naive.into_iter().filter(|(key, _)| within(key)).collect();
            let bounds = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
            if let (Bound::Included(from), Bound::Included(to)) = bounds && from > to {
                return Ok(());
            }
            let mut found = table.range::<&[u8]>(bounds).unwrap();
            for front in ends {
                let (next, is) = if front {
                    (found.next(), (!expected.is_empty()).then(|| expected.remove(0)))
                } else {
                    (found.next_back(), expected.pop())
                };
                let next = next.map(|row| row.unwrap());
                let next = next.map(|(key, value)| (key.value().to_vec(), value.value().to_vec()));
                prop_assert_eq!(next, is);
            }
        }
    }
}
