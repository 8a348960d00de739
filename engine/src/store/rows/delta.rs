//! Rows that are durable in the journal and not in redb's tables yet: sorted, immutable, shared by
//! all who read (FORMAT.md, 2.8).
//!
//! A delta is one or two layers over the tables: the one that grows with each durable commit, and
//! below it one that is being drained. A row of a layer hides all below it, one that says *removed*
//! too.

use std::ops::Bound;
use std::sync::Arc;

use heirloom_core::bytes::{Put, Read, Reader};

use crate::error::{Error, Result, Table};

/// A row of a table, or that there is none any more. Clones share its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    /// Beginning of its place: most rows are told apart by that, without a look at their bytes.
    head: u64,
    table: Table,
    is_there: bool,
    /// Where the value begins.
    value_at: u32,
    /// Key, value.
    bytes: Arc<[u8]>,
}

/// Where a row stands: in the order of the numbers of tables, then of keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'k> {
    /// The number of the table and the first seven bytes of the key.
    head: u64,
    number: u8,
    key: &'k [u8],
}

impl<'k> Place<'k> {
    fn new(number: u8, key: &'k [u8]) -> Self {
        let mut head = [0; 8];
        head[0] = number;
        let part = key.len().min(7);
        head[1..1 + part].copy_from_slice(&key[..part]);
        Self { head: u64::from_be_bytes(head), number, key }
    }
}

impl Row {
    pub(crate) fn new(table: Table, key: &[u8], value: Option<&[u8]>) -> Self {
        let head = Place::new(table.number(), key).head;
        let bytes = [key, value.unwrap_or_default()].concat().into();
        Self { head, table, is_there: value.is_some(), value_at: key.len() as u32, bytes }
    }

    pub(crate) fn table(&self) -> Table {
        self.table
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.value_at as usize]
    }

    /// Nothing where the row is gone.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.is_there.then(|| &self.bytes[self.value_at as usize..])
    }

    fn place(&self) -> Place<'_> {
        Place { head: self.head, number: self.table.number(), key: self.key() }
    }

    /// About how much memory it takes.
    fn cost(&self) -> usize {
        self.bytes.len() + 64
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.table.number());
        out.bytes(self.key());
        match self.value() {
            Some(value) => {
                out.varint(value.len() as u64 + 1);
                out.extend_from_slice(value);
            }
            None => out.varint(0),
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Read<Self> {
        let Some(table) = Table::of_number(r.u8()?) else { return r.bad("a row of no table") };
        let key = r.bytes()?;
        let value = match r.varint()?.checked_sub(1).map(usize::try_from) {
            None => None,
            Some(Ok(len)) => Some(r.take(len)?),
            Some(Err(_)) => return r.bad("a row too long"),
        };
        Ok(Self::new(table, key, value))
    }
}

/// Brings rows in order; of several with one key only the last stays.
pub(crate) fn in_order(rows: Vec<Row>) -> Vec<Row> {
    let mut sorted = rows;
    sorted.sort_by(|a, b| a.place().cmp(&b.place()));
    let mut kept: Vec<Row> = Vec::with_capacity(sorted.len());
    for row in sorted {
        match kept.last_mut().filter(|last| last.place() == row.place()) {
            Some(last) => *last = row,
            None => kept.push(row),
        }
    }
    kept
}

/// The rows of frames, one after another.
pub(crate) fn rows_of(payloads: &[Vec<u8>]) -> Result<Vec<Row>> {
    let mut out = Vec::new();
    for payload in payloads {
        let mut r = Reader::new(payload);
        while !r.is_empty() {
            let row = Row::read(&mut r);
            out.push(row.map_err(|e| Error::corrupt(Table::Journal, "a frame", e))?);
        }
    }
    Ok(out)
}

/// Rows of a chunk: so many are copied where somebody still reads the chunk as it was.
const CHUNK: usize = 128;

/// Rows in order, in chunks that clones share until they change.
#[derive(Clone, Default)]
pub(crate) struct Layer {
    /// None is empty.
    chunks: Vec<Arc<Vec<Row>>>,
    /// How the first row of each begins.
    heads: Vec<u64>,
    cost: usize,
}

/// Between two rows: in front of a row of a chunk, or behind all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Gap {
    chunk: usize,
    row: usize,
}

impl Layer {
    /// Of rows in order.
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        let cost = rows.iter().map(Row::cost).sum();
        let chunks = rows.chunks(CHUNK / 2);
        let heads = chunks.clone().map(|chunk| chunk[0].head).collect();
        Self { chunks: chunks.map(|chunk| Arc::new(chunk.to_vec())).collect(), heads, cost }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    /// All of it, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Takes the place of the row with its key, if there is one.
    fn insert(&mut self, row: Row) {
        self.cost += row.cost();
        // what comes before all goes into the first
        let at = self.chunks_before(row.place(), true).saturating_sub(1);
        let Some(chunk) = self.chunks.get_mut(at).map(Arc::make_mut) else {
            self.heads.push(row.head);
            self.chunks.push(Arc::new(vec![row]));
            return;
        };
        match chunk.binary_search_by(|other| other.place().cmp(&row.place())) {
            Ok(same) => self.cost -= std::mem::replace(&mut chunk[same], row).cost(),
            Err(place) => {
                chunk.insert(place, row);
                let mut rest = Vec::new();
                if chunk.len() > CHUNK {
                    // keys that ascend leave full chunks behind
                    let ascend = place + 1 == chunk.len();
                    rest = chunk.split_off(if ascend { place } else { CHUNK / 2 });
                }
                self.heads[at] = chunk[0].head;
                if let Some(first) = rest.first() {
                    self.heads.insert(at + 1, first.head);
                    self.chunks.insert(at + 1, Arc::new(rest));
                }
            }
        }
    }

    fn get(&self, place: Place<'_>) -> Option<&Row> {
        self.at(self.gap(place, false)).filter(|row| row.place() == place)
    }

    /// The row behind a gap.
    fn at(&self, gap: Gap) -> Option<&Row> {
        self.chunks.get(gap.chunk)?.get(gap.row)
    }

    /// How many chunks begin before a place, or `or_at` it.
    fn chunks_before(&self, place: Place<'_>, or_at: bool) -> usize {
        let from = self.heads.partition_point(|head| *head < place.head);
        let alike = self.heads[from..].partition_point(|head| *head == place.head);
        let alike = &self.chunks[from..from + alike];
        from + alike.partition_point(|chunk| is_before(&chunk[0], place, or_at))
    }

    /// Behind all rows before a place, or `or_at` it.
    fn gap(&self, place: Place<'_>, or_at: bool) -> Gap {
        let behind = self.chunks_before(place, or_at);
        let Some(at) = behind.checked_sub(1) else { return Gap { chunk: 0, row: 0 } };
        let row = self.chunks[at].partition_point(|row| is_before(row, place, or_at));
        if row == self.chunks[at].len() {
            Gap { chunk: behind, row: 0 }
        } else {
            Gap { chunk: at, row }
        }
    }

    fn next(&self, gap: Gap) -> Gap {
        let is_last = self.chunks.get(gap.chunk).is_none_or(|c| gap.row + 1 >= c.len());
        if is_last { Gap { chunk: gap.chunk + 1, row: 0 } } else { Gap { row: gap.row + 1, ..gap } }
    }

    fn before(&self, gap: Gap) -> Option<Gap> {
        match gap.row.checked_sub(1) {
            Some(row) => Some(Gap { row, ..gap }),
            None => {
                let chunk = gap.chunk.checked_sub(1)?;
                Some(Gap { chunk, row: self.chunks.get(chunk)?.len().checked_sub(1)? })
            }
        }
    }
}

fn is_before(row: &Row, place: Place<'_>, or_at: bool) -> bool {
    if or_at { row.place() <= place } else { row.place() < place }
}

/// Rows of one table in a layer, those that say *removed* too, from both ends.
pub(crate) struct LayerRows {
    layer: Arc<Layer>,
    front: Gap,
    back: Gap,
}

impl LayerRows {
    fn of(layer: &Arc<Layer>, table: Table, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Self {
        let number = table.number();
        let front = match bounds.0 {
            Bound::Included(key) => layer.gap(Place::new(number, key), false),
            Bound::Excluded(key) => layer.gap(Place::new(number, key), true),
            Bound::Unbounded => layer.gap(Place::new(number, &[]), false),
        };
        let back = match bounds.1 {
            Bound::Included(key) => layer.gap(Place::new(number, key), true),
            Bound::Excluded(key) => layer.gap(Place::new(number, key), false),
            Bound::Unbounded => layer.gap(Place::new(number + 1, &[]), false),
        };
        Self { layer: layer.clone(), front, back }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.front >= self.back
    }

    /// The row at an end.
    pub(crate) fn peek(&self, front: bool) -> Option<&Row> {
        let at = if front { Some(self.front) } else { self.layer.before(self.back) };
        if self.is_empty() { None } else { self.layer.at(at?) }
    }

    pub(crate) fn skip(&mut self, front: bool) {
        if front {
            self.front = self.layer.next(self.front);
        } else {
            self.back = self.layer.before(self.back).unwrap_or(self.front);
        }
    }
}

/// What lies over redb's tables. Clones are cheap, and stay as they are.
#[derive(Clone, Default)]
pub(crate) struct Delta {
    /// Grows with each durable commit.
    growing: Arc<Layer>,
    /// On its way into the tables.
    draining: Arc<Layer>,
}

impl Delta {
    /// With the rows of one more commit, which are in order.
    pub(crate) fn with(&self, rows: Vec<Row>) -> Self {
        let mut out = self.clone();
        if out.growing.is_empty() {
            out.growing = Arc::new(Layer::of(rows));
        } else {
            let growing = Arc::make_mut(&mut out.growing);
            rows.into_iter().for_each(|row| growing.insert(row));
        }
        out
    }

    /// All of it is on its way into the tables, and what comes now is not. Nothing is on its way
    /// before.
    pub(crate) fn freeze(&self) -> Self {
        let mut draining = self.draining.clone();
        if draining.is_empty() {
            draining = self.growing.clone();
        } else {
            // what was to be drained before and was not
            let into = Arc::make_mut(&mut draining);
            self.growing.rows().for_each(|row| into.insert(row.clone()));
        }
        Self { growing: Arc::default(), draining }
    }

    /// What is on its way into the tables.
    pub(crate) fn draining(&self) -> &Arc<Layer> {
        &self.draining
    }

    /// Without what has come into the tables.
    pub(crate) fn drained(&self, layer: &Arc<Layer>) -> Self {
        let same = Arc::ptr_eq(&self.draining, layer);
        let draining = if same { Arc::default() } else { self.draining.clone() };
        Self { growing: self.growing.clone(), draining }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.growing.is_empty() && self.draining.is_empty()
    }

    /// About how much memory the layer takes that grows.
    pub(crate) fn growing_cost(&self) -> usize {
        self.growing.cost
    }

    /// What it says of a key; nothing where only the table knows.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<&Row> {
        let place = Place::new(table.number(), key);
        self.growing.get(place).or_else(|| self.draining.get(place))
    }

    /// What it says of keys, the newest layer first; none that has nothing to say.
    pub(crate) fn range(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Vec<LayerRows> {
        let layers = [&self.growing, &self.draining];
        let rows = layers.map(|layer| LayerRows::of(layer, table, bounds));
        rows.into_iter().filter(|rows| !rows.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::RangeBounds;

    use proptest::prelude::*;

    use super::*;

    fn tables() -> impl Strategy<Value = Table> {
        prop::sample::select(vec![Table::Meta, Table::Heads, Table::Peers])
    }

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0..4u8, 0..5)
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..3));
        let row = (tables(), keys(), value);
        let row = row.prop_map(|(table, key, value)| Row::new(table, &key, value.as_deref()));
        prop::collection::vec(row, 0..400)
    }

    fn bounds() -> impl Strategy<Value = (Bound<Vec<u8>>, Bound<Vec<u8>>)> {
        let bound = || {
            prop_oneof![
                keys().prop_map(Bound::Included),
                keys().prop_map(Bound::Excluded),
                Just(Bound::Unbounded),
            ]
        };
        (bound(), bound())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: 128,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_layer_is_a_sorted_map(
            commits in prop::collection::vec(rows(), 0..4),
            table in tables(),
            (from, to) in bounds(),
            ends in prop::collection::vec(any::<bool>(), 0..64),
        ) {
            let mut naive = BTreeMap::new();
            let (mut delta, mut before) = (Delta::default(), Vec::new());
            for rows in commits {
                before.push((delta.clone(), naive.clone()));
                for row in &rows {
                    let place = (row.table().number(), row.key().to_vec());
                    naive.insert(place, row.value().map(<[u8]>::to_vec));
                }
                delta = delta.with(in_order(rows));
            }
            before.push((delta, naive));
            let bounds = (from.as_ref().map(|k| &k[..]), to.as_ref().map(|k| &k[..]));
            let within = |key: &[u8]| RangeBounds::<&[u8]>::contains(&bounds, &key);
            // what came later has changed none of the earlier ones
            for (delta, naive) in before {
                let cost: usize = delta.growing.rows().map(Row::cost).sum();
                prop_assert_eq!(delta.growing_cost(), cost);
                for ((number, key), value) in &naive {
                    let found = delta.get(Table::of_number(*number).unwrap(), key).unwrap();
                    prop_assert_eq!(found.value(), value.as_deref());
                }
                let of_table = naive.iter().filter(|((n, k), _)| *n == table.number() && within(k));
                let mut expected: Vec<_> = of_table.collect();
                let mut found = delta.range(table, bounds);
                for front in &ends {
                    let next = if *front {
                        (!expected.is_empty()).then(|| expected.remove(0))
                    } else {
                        expected.pop()
                    };
                    let row = found.first_mut().and_then(|rows| {
                        let row = rows.peek(*front).cloned();
                        rows.skip(*front);
                        row
                    });
                    let row = row.as_ref().map(|row| (row.key(), row.value()));
                    prop_assert_eq!(row, next.map(|((_, k), v)| (&k[..], v.as_deref())));
                }
            }
        }

        #[test]
        fn rows_are_read_as_they_were_put(rows in rows()) {
            let mut bytes = Vec::new();
            rows.iter().for_each(|row| row.put(&mut bytes));
            let mut r = Reader::new(&bytes);
            let mut read = Vec::new();
            while !r.is_empty() {
                read.push(Row::read(&mut r).unwrap());
            }
            prop_assert_eq!(read, rows);
        }
    }

    #[test]
    fn what_is_drained_goes_and_what_came_meanwhile_stays() {
        let row = |key: u8, value: u8| Row::new(Table::Heads, &[key], Some(&[value]));
        let value = |delta: &Delta, key: u8| {
            delta.get(Table::Heads, &[key]).and_then(Row::value).map(|value| value[0])
        };
        let frozen = Delta::default().with(vec![row(1, 1), row(2, 1)]).freeze();
        let later = frozen.with(vec![row(2, 2), row(3, 2)]);
        assert_eq!([1, 2, 3].map(|key| value(&later, key)), [Some(1), Some(2), Some(2)]);
        let drained = later.drained(frozen.draining());
        assert_eq!([1, 2, 3].map(|key| value(&drained, key)), [None, Some(2), Some(2)]);
        // where it failed it is drained again, with what came meanwhile
        let again = later.freeze();
        assert_eq!([1, 2, 3].map(|key| value(&again, key)), [Some(1), Some(2), Some(2)]);
        let [failed, again_draining] = [&frozen, &again].map(|delta| delta.draining().clone());
        assert!(again.drained(&failed).get(Table::Heads, &[1]).is_some(), "another one");
        assert!(again.drained(&again_draining).is_empty());
    }
}
