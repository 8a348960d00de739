//! Queries over an indexed field: by equality and by range, in order, consistent with their
//! snapshot (R14).

use std::iter::Peekable;
use std::ops::{Bound, RangeBounds};

use heirloom_core::bytes::Reader;
use heirloom_core::error::Invalid;
use heirloom_core::format::sort_key::{self, cut, may_be_cut, sort_key};
use heirloom_core::model::{EntityId, Path, Value};

use super::entity::Entity;
use super::snapshot::Snapshot;
use crate::error::{Error, Result, Table};
use crate::store::{Declared, Field, Index, IndexState, hex, index_key, index_parts};

impl Snapshot {
    /// Entities of a type by the value of a field, in order of (value, id).
    ///
    /// [`Error::NoIndex`] unless the field was declared with
    /// [`Builder::index`](crate::Builder::index).
    ///
    /// ```
    /// # use heirloom::{Content, Engine};
    /// let engine = Engine::builder().index("song", "year").in_memory()?;
    /// # engine.write(|tx| {
    /// #     for y in 1960..2000 {
    /// #         tx.create("song", &Content::new().with("year", y))?;
    /// #     }
    /// #     Ok::<_, heirloom::Error>(())
    /// # })?;
    /// let snapshot = engine.snapshot()?;
    /// let page = snapshot.query("song", "year")?.range(1980..1990).descending().limit(4).page()?;
    /// let years: Vec<_> =
    ///     page.entities.iter().map(|s| s.content().remove("year").unwrap()).collect();
    /// assert_eq!(years, [1989.into(), 1988.into(), 1987.into(), 1986.into()]);
    ///
    /// let eighties = snapshot.query("song", "year")?.range(1980..1990).descending();
    /// assert_eq!(eighties.after(page.next.unwrap()).count()?, 6);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn query(&self, entity_type: &str, field: &str) -> Result<Query<'_>> {
        self.query_at(entity_type, [field])
    }

    /// Entities of a type by the value of a nested field, named by the keys that lead to it: see
    /// [`query`](Self::query).
    pub fn query_at<K: AsRef<str>>(
        &self,
        entity_type: &str,
        path: impl IntoIterator<Item = K>,
    ) -> Result<Query<'_>> {
        let path = Path::new(path);
        let is_it = |d: &&Declared| d.field.entity_type == entity_type && d.field.path == path;
        match self.engine.store().declared.iter().find(is_it) {
            Some(declared) => Ok(Query {
                snapshot: self,
                declared,
                from: Bound::Unbounded,
                to: Bound::Unbounded,
                descending: false,
                after: None,
                limit: usize::MAX,
            }),
            None => {
                Err(Error::NoIndex { entity_type: entity_type.to_owned(), field: path.to_string() })
            }
        }
    }
}

/// Entities that have a value in an indexed field, to be narrowed down and then read.
///
/// Values have one order: null < false < true < numbers < timestamps < texts < bytes. Integers and
/// floats are compared as numbers, exactly, and 1 equals 1.0; NaN equals itself and comes after all
/// other numbers; texts are compared by their bytes. A range that is open at one end reaches over
/// the kinds beyond: give both ends to stay among numbers, say. An entity whose field is missing,
/// an array or a map is in no answer, nor is one that is deleted or whose contents are not here.
/// One that is damaged is an error in its place.
///
/// A hit costs a look-up in the index and one of the entity, whose value is checked again; so what
/// an index holds wrongly can never show. Texts and bytes that agree in their first 500 bytes are
/// put in order in memory. While an index is being built each query looks at all entities of the
/// type and keeps the values that match, at most about twice as many as its limit; the answer is
/// the same.
#[derive(Clone)]
#[must_use = "a query does nothing until it is read"]
pub struct Query<'a> {
    snapshot: &'a Snapshot,
    declared: &'a Declared,
    from: Bound<Value>,
    to: Bound<Value>,
    descending: bool,
    after: Option<QueryCursor>,
    limit: usize,
}

/// Some hits, and where to go on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// In the order of the query.
    pub entities: Vec<Entity>,
    /// For [`Query::after`]; none if these were the last.
    pub next: Option<QueryCursor>,
}

/// A place in the order of (value, id). It stays good in later snapshots: what was changed
/// meanwhile is met at its new place, if that lies ahead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueryCursor {
    /// Uncut.
    key: Vec<u8>,
    id: EntityId,
}

/// First byte of a cursor, so that another form can be told apart.
const CURSOR: u8 = 1;

impl QueryCursor {
    /// As bytes, to be kept or sent. About as long as the value.
    /// ```
    /// # use heirloom::{Content, Engine, QueryCursor};
    /// # let engine = Engine::builder().index("song", "year").in_memory()?;
    /// # engine.write(|tx| {
    /// #     for y in 1960..1970 {
    /// #         tx.create("song", &Content::new().with("year", y))?;
    /// #     }
    /// #     Ok::<_, heirloom::Error>(())
    /// # })?;
    /// let page = engine.snapshot()?.query("song", "year")?.limit(4).page()?;
    /// let kept = page.next.expect("there are ten").to_bytes();
    /// // another day
    /// let cursor = QueryCursor::from_bytes(&kept)?;
    /// assert_eq!(engine.snapshot()?.query("song", "year")?.after(cursor).count()?, 6);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        [&[CURSOR][..], self.id.as_bytes(), &self.key].concat()
    }

    /// From such bytes. [`Invalid::Text`] if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let mut read = || {
            r.ensure(r.clone().u8()? == CURSOR, "an unknown form")?;
            r.u8()?;
            let id = EntityId::from_bytes(r.array()?);
            let from = r.at();
            sort_key::check(&mut r)?;
            Ok(Self { key: r.since(from).to_vec(), id })
        };
        read().map_err(|e: heirloom_core::bytes::Malformed| {
            Invalid::text(
                "a cursor of a query",
                hex(bytes),
                format!("{e}; pass on what QueryCursor::to_bytes gave"),
            )
            .into()
        })
    }
}

impl<'a> Query<'a> {
    /// Only this value.
    pub fn equals(mut self, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.from = Bound::Included(value.clone());
        self.to = Bound::Included(value);
        self
    }

    /// Only values in a range: `10..20`, or of any [`Value`]s. Between texts use
    /// [`at_least`](Self::at_least) and [`below`](Self::below).
    pub fn range<V: Into<Value> + Clone>(mut self, range: impl RangeBounds<V>) -> Self {
        self.from = range.start_bound().cloned().map(Into::into);
        self.to = range.end_bound().cloned().map(Into::into);
        self
    }

    /// Only this value and greater ones.
    pub fn at_least(mut self, value: impl Into<Value>) -> Self {
        self.from = Bound::Included(value.into());
        self
    }

    /// Only greater values.
    pub fn above(mut self, value: impl Into<Value>) -> Self {
        self.from = Bound::Excluded(value.into());
        self
    }

    /// Only this value and lesser ones.
    pub fn at_most(mut self, value: impl Into<Value>) -> Self {
        self.to = Bound::Included(value.into());
        self
    }

    /// Only lesser values.
    pub fn below(mut self, value: impl Into<Value>) -> Self {
        self.to = Bound::Excluded(value.into());
        self
    }

    /// From the greatest (value, id) to the least.
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Only what comes after this place in the order of the query.
    pub fn after(mut self, cursor: QueryCursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// At most so many.
    pub fn limit(mut self, most: usize) -> Self {
        self.limit = most;
        self
    }

    /// Reads them all. [`Invalid::Unordered`] if an array or a map was asked for.
    pub fn entities(self) -> Result<Vec<Entity>> {
        self.into_iter().collect()
    }

    /// How many there are. Reads each.
    pub fn count(&self) -> Result<u64> {
        self.clone().into_iter().try_fold(0, |n, hit| hit.map(|_| n + 1))
    }

    /// Reads as many as the limit says, and where to go on after them.
    pub fn page(mut self) -> Result<Page> {
        let limit = self.limit;
        self.limit = limit.saturating_add(1);
        let (mut entities, mut last) = (Vec::new(), None);
        for hit in self.hits()? {
            let (cursor, entity) = hit?;
            if entities.len() == limit {
                return Ok(Page { entities, next: last });
            }
            entities.push(entity);
            last = Some(cursor);
        }
        Ok(Page { entities, next: None })
    }

    /// Finds them one by one. May give more than the limit.
    fn hits(self) -> Result<Hits<'a>> {
        let Query { snapshot, declared, .. } = self;
        let key = |value: Value| sort_key(&value).ok_or(Error::Invalid(Invalid::Unordered));
        let bound = |b: Bound<Value>| match b {
            Bound::Included(value) => key(value).map(Bound::Included),
            Bound::Excluded(value) => key(value).map(Bound::Excluded),
            Bound::Unbounded => Ok(Bound::Unbounded),
        };
        let selection = Selection {
            from: bound(self.from)?,
            to: bound(self.to)?,
            descending: self.descending,
            after: self.after,
        };
        let ready = match declared.ordinal {
            Some(o) if Index::state(&snapshot.tables, o)? == IndexState::Ready => Some(o),
            _ => None,
        };
        let rows: Rows = match ready {
            Some(ordinal) => index_rows(snapshot, ordinal, &selection)?,
            None => {
                let found = scan(snapshot, &declared.field, &selection, self.limit)?;
                Box::new(found.into_iter().map(Ok))
            }
        };
        Ok(Hits {
            snapshot,
            field: &declared.field,
            selection,
            rows: rows.peekable(),
            group: Vec::new(),
        })
    }
}

impl<'a> IntoIterator for Query<'a> {
    type Item = Result<Entity>;
    type IntoIter = Box<dyn Iterator<Item = Result<Entity>> + 'a>;

    /// Reads them one by one.
    fn into_iter(self) -> Self::IntoIter {
        let limit = self.limit;
        match self.hits() {
            Ok(hits) => Box::new(hits.take(limit).map(|hit| hit.map(|(_, entity)| entity))),
            Err(e) => Box::new(std::iter::once(Err(e))),
        }
    }
}

/// What is asked for, as sort keys.
struct Selection {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    descending: bool,
    after: Option<QueryCursor>,
}

impl Selection {
    fn holds(&self, key: &[u8], id: EntityId) -> bool {
        let range = (self.from.as_ref().map(|k| &k[..]), self.to.as_ref().map(|k| &k[..]));
        let ahead = |c: &QueryCursor| {
            let place = (&c.key[..], c.id);
            if self.descending { (key, id) < place } else { (key, id) > place }
        };
        RangeBounds::<[u8]>::contains(&range, key) && self.after.as_ref().is_none_or(ahead)
    }

    /// The first and the last row of an index that may hold what is asked for. Where they cross,
    /// none does.
    fn rows(&self, ordinal: u32) -> (Vec<u8>, Vec<u8>) {
        const FIRST: EntityId = EntityId::from_bytes([0; 16]);
        const LAST: EntityId = EntityId::from_bytes([u8::MAX; 16]);
        // a cut key stands for values on both sides
        let row = |key: &[u8], id, of_cut| {
            let kept = cut(key);
            index_key(ordinal, kept, if may_be_cut(kept) { of_cut } else { id })
        };
        let mut first = match &self.from {
            Bound::Included(key) => row(key, FIRST, FIRST),
            Bound::Excluded(key) => row(key, LAST, FIRST),
            Bound::Unbounded => index_key(ordinal, &[], FIRST),
        };
        let mut last = match &self.to {
            Bound::Included(key) => row(key, LAST, LAST),
            Bound::Excluded(key) => row(key, FIRST, LAST),
            Bound::Unbounded => index_key(ordinal, &[u8::MAX], LAST),
        };
        match &self.after {
            Some(c) if self.descending => last = last.min(row(&c.key, c.id, LAST)),
            Some(c) => first = first.max(row(&c.key, c.id, FIRST)),
            None => {}
        }
        (first, last)
    }

    /// Puts pairs into the order of the query.
    fn sort(&self, pairs: &mut [(Vec<u8>, EntityId)]) {
        pairs.sort_unstable();
        if self.descending {
            pairs.reverse();
        }
    }
}

/// Keys, of an index cut, and ids, in the order of the query.
type Rows = Box<dyn Iterator<Item = Result<(Vec<u8>, EntityId)>>>;

fn index_rows(snapshot: &Snapshot, ordinal: u32, selection: &Selection) -> Result<Rows> {
    let (first, last) = selection.rows(ordinal);
    // redb does not take a range that ends before it begins
    let Some(table) = snapshot.tables.optional(Table::Index)?.filter(|_| first <= last) else {
        return Ok(Box::new(std::iter::empty()));
    };
    let mut rows = table.range(&first[..]..=&last[..])?;
    let descending = selection.descending;
    Ok(Box::new(std::iter::from_fn(move || {
        let row = if descending { rows.next_back() } else { rows.next() }?;
        Some(row.and_then(|(row, _)| {
            let (_, key, id) = index_parts(row.value())?;
            Ok((key.to_vec(), id))
        }))
    })))
}

/// What matches of all entities of the type, in order; no more than the limit, if that is not few
/// anyway.
fn scan(
    snapshot: &Snapshot,
    field: &Field,
    selection: &Selection,
    limit: usize,
) -> Result<Vec<(Vec<u8>, EntityId)>> {
    let mut found = Vec::new();
    let enough = limit.saturating_mul(2).max(64);
    for entity in snapshot.list(&field.entity_type) {
        let Some(entity) = if_here(entity.map(Some))? else { continue };
        if let Some(key) = if_here(entity.0.sort_key_at(&field.path))?
            && selection.holds(&key, entity.id())
        {
            found.push((key, entity.id()));
            if found.len() >= enough {
                selection.sort(&mut found);
                found.truncate(limit);
            }
        }
    }
    selection.sort(&mut found);
    Ok(found)
}

/// An entity whose contents are not here is in no answer; what is damaged is an error.
fn if_here<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(Error::Absent(_)) => Ok(T::default()),
        other => other,
    }
}

/// Hits one by one, each with its place.
struct Hits<'a> {
    snapshot: &'a Snapshot,
    field: &'a Field,
    selection: Selection,
    rows: Peekable<Rows>,
    /// Of rows with one cut key, the uncut keys, the next one last.
    group: Vec<(Vec<u8>, EntityId)>,
}

impl Hits<'_> {
    /// An entity that is asked for, with its uncut key.
    fn hit(&self, id: EntityId) -> Result<Option<(Vec<u8>, Entity)>> {
        let entity =
            if_here(self.snapshot.get(id))?.filter(|e| e.entity_type() == self.field.entity_type);
        let Some(entity) = entity else { return Ok(None) };
        let key = if_here(entity.0.sort_key_at(&self.field.path))?;
        Ok(key.filter(|key| self.selection.holds(key, id)).map(|key| (key, entity)))
    }

    fn next_row(&mut self) -> Result<Option<(Vec<u8>, EntityId)>> {
        loop {
            if let Some(row) = self.group.pop() {
                return Ok(Some(row));
            }
            let Some((key, id)) = self.rows.next().transpose()? else { return Ok(None) };
            if !may_be_cut(&key) {
                return Ok(Some((key, id)));
            }
            let mut next = Some(id);
            while let Some(id) = next {
                if let Some((full, _)) = self.hit(id)?.filter(|(full, _)| cut(full) == cut(&key)) {
                    self.group.push((full, id));
                }
                let row = self.rows.next_if(|row| row.as_ref().is_ok_and(|(k, _)| *k == key));
                next = row.transpose()?.map(|(_, id)| id);
            }
            self.selection.sort(&mut self.group);
            self.group.reverse();
        }
    }

    fn step(&mut self) -> Result<Option<(QueryCursor, Entity)>> {
        while let Some((kept, id)) = self.next_row()? {
            if let Some((key, entity)) = self.hit(id)?.filter(|(key, _)| cut(key) == cut(&kept)) {
                return Ok(Some((QueryCursor { key, id }, entity)));
            }
        }
        Ok(None)
    }
}

impl Iterator for Hits<'_> {
    type Item = Result<(QueryCursor, Entity)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cfg(test)]
mod tests {
    use heirloom_core::model::Content;

    use super::*;

    #[test]
    fn a_scan_keeps_no_more_than_the_limit_asks_for() {
        let engine = crate::Engine::builder().index("lamp", "v").in_memory().unwrap();
        let write = |tx: &mut crate::Transaction<'_>| {
            (0..500).try_for_each(|n| {
                tx.create("lamp", &Content::new().with("v", n * 37 % 500)).map(drop)
            })
        };
        engine.write(write).unwrap();
        let snapshot = engine.snapshot().unwrap();
        let field = &engine.store().declared[0].field;
        for descending in [false, true] {
            let all =
                Selection { from: Bound::Unbounded, to: Bound::Unbounded, descending, after: None };
            let whole = scan(&snapshot, field, &all, usize::MAX).unwrap();
            assert_eq!(whole.len(), 500);
            for limit in [0, 1, 40] {
                let few = scan(&snapshot, field, &all, limit).unwrap();
                assert_eq!(few[..limit], whole[..limit]);
                assert!(few.len() < limit + 64, "{}", few.len());
            }
        }
    }
}
