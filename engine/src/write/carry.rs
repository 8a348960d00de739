//! What a typed write leaves as it stands: fields that the type does not know, kinds of value that
//! it reads as another, and whatever the caller did not change.
//!
//! Four contents tell: what is *stored*, what of it the type *read*, what it would write of that
//! *before* the caller changed anything, and what it writes *now*.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use heirloom_core::error::Invalid;
use heirloom_core::format::serde::{
    Fault, ShownLeaf, Step, Unread, content_from, from_leaves, print_path,
};
use heirloom_core::format::value::{decode_kept, encode_value, flatten_content};
use heirloom_core::merge::unflatten_with;
use heirloom_core::model::{Content, Timestamp, Value, Variant};

/// What a type writes of what it reads of leaves; it notes what it did not read.
type Sees = fn(&[ShownLeaf<'_>], &Unread) -> Result<Content, Fault>;
type Steps = Vec<Step>;

/// How a type sees content.
#[derive(Clone, Copy)]
pub(crate) struct Glass {
    sees: Sees,
}

impl Glass {
    pub(crate) fn of<T: Serialize + DeserializeOwned>() -> Self {
        fn sees<T: Serialize + DeserializeOwned>(
            leaves: &[ShownLeaf<'_>],
            unread: &Unread,
        ) -> Result<Content, Fault> {
            content_from(&from_leaves::<T>(leaves, unread)?)
        }
        Self { sees: sees::<T> }
    }

    /// What the type would write of leaves, were nothing changed.
    pub(crate) fn see(self, leaves: &[ShownLeaf<'_>]) -> Result<Content, Fault> {
        (self.sees)(leaves, &Unread::default())
    }

    /// The same, and the part of them that it read.
    fn see_part(self, leaves: &[ShownLeaf<'_>]) -> Result<(Content, Content), Fault> {
        let unread = Unread::default();
        let written = (self.sees)(leaves, &unread)?;
        let kept = leaves.iter().copied().filter(|(_, value)| !unread.has(value));
        let read = unflatten_with(kept, |value| {
            decode_kept(value, &|v| !unread.has(v)).unwrap_or_default()
        });
        Ok((written, read))
    }

    fn see_content(self, content: &Content) -> Result<(Content, Content), Fault> {
        let leaves = flatten_content(content).map_err(|e| Fault::new(e.to_string()))?;
        let leaves: Vec<ShownLeaf<'_>> = leaves.iter().map(|(p, v)| (p.as_ref(), &v[..])).collect();
        self.see_part(&leaves)
    }

    /// Checks that what is to be written new is read back as it is.
    pub(crate) fn check_new(self, content: &Content) -> Result<()> {
        let (written, read) = self.see_content(content).map_err(unreadable)?;
        let nothing = Content::new();
        let check = ReadBack { volatile: &nothing, again: &nothing };
        check.fields(content, &nothing, &written, &read, &mut Vec::new())
    }

    /// What is to be written where `stored` stands and the caller made `now` of `before`; nothing
    /// if nothing was changed. [`Error::Invalid`] if the type would not read it back as it is.
    pub(crate) fn carry(
        self,
        stored: &[ShownLeaf<'_>],
        before: &Content,
        now: Content,
    ) -> Result<Option<Content>> {
        if *before == now {
            return Ok(None);
        }
        let (again, read) = self.see_part(stored).map_err(unreadable)?;
        let stored = unflatten_with(stored.iter().copied(), |v| {
            decode_kept(v, &|_| true).unwrap_or_default()
        });
        let volatile = Volatile { before, again: &again };
        let undone = undone(&read, before);
        let gone = self.gone(&stored, &undone, volatile);
        let made = self.make(&stored, before, &now, &gone, volatile);
        let made = match made {
            // one that nothing seemed to come of stands in the way of its new name
            Err(_) if gone.paths.len() < undone.len() => {
                let all = self.needed(&stored, undone, volatile);
                self.make(&stored, before, &now, &all, volatile)
            }
            made => made,
        };
        made.map(Some)
    }

    /// The content to be written, if the type reads it back as it is.
    fn make(
        self,
        stored: &Content,
        before: &Content,
        now: &Content,
        gone: &Gone,
        volatile: Volatile<'_>,
    ) -> Result<Content> {
        let made = gone.fields(stored, Some(before), now.clone(), &mut Vec::new());
        let (written, read) = self.see_content(&made).map_err(unreadable)?;
        let check = ReadBack { volatile: volatile.before, again: volatile.again };
        check.fields(now, before, &written, &read, &mut Vec::new())?;
        Ok(made)
    }

    /// Of the fields that were read and are no longer written those that matter: the type makes
    /// something else of the rest. What serde only kept for a moment, as it does for
    /// `#[serde(flatten)]`, was never read.
    fn gone(self, stored: &Content, undone: &BTreeSet<Steps>, volatile: Volatile<'_>) -> Gone {
        if undone.is_empty() || self.is_same_without(stored, undone, volatile) {
            return Gone::default();
        }
        let mut kinds: BTreeMap<Vec<&str>, BTreeSet<Steps>> = BTreeMap::new();
        for path in undone {
            let keys =
                path.iter().filter_map(|s| if let Step::Key(k) = s { Some(&**k) } else { None });
            kinds.entry(keys.collect()).or_default().insert(path.clone());
        }
        let matters = |paths: &BTreeSet<Steps>| !self.is_same_without(stored, paths, volatile);
        let paths = kinds.into_values().filter(matters).flatten().collect();
        self.needed(stored, paths, volatile)
    }

    fn is_same_without(
        self,
        stored: &Content,
        paths: &BTreeSet<Steps>,
        volatile: Volatile<'_>,
    ) -> bool {
        let rest = without(stored, paths);
        self.see_content(&rest).is_ok_and(|(w, _)| volatile.differences(&w, stored).is_empty())
    }

    /// What must be written in the place of fields that go, since it was made of them.
    fn needed(self, stored: &Content, paths: BTreeSet<Steps>, volatile: Volatile<'_>) -> Gone {
        let mut rest = Value::Map(without(stored, &paths));
        let mut needed = BTreeSet::new();
        while let Value::Map(content) = &rest {
            match self.see_content(content) {
                Ok((written, _)) => {
                    needed.extend(volatile.differences(&written, stored));
                    break;
                }
                Err(fault) => {
                    let path = fault.path();
                    let value = get(volatile.before, &path).filter(|_| fault.is_missing());
                    let put = value.is_some_and(|value| put(&mut rest, &path, value));
                    if !put || !needed.insert(path) {
                        // all that it would write and that is not there
                        let nothing = Content::new();
                        needed.extend(volatile.differences(&nothing, stored));
                        break;
                    }
                }
            }
        }
        Gone { paths, needed }
    }
}

fn unreadable(fault: Fault) -> Error {
    let why = format!("what would be written could not be read back ({})", fault.why());
    Invalid::Unfit { field: print_path(&fault.path()), why }.into()
}

/// What a type writes of the same stored content on two occasions: a default may be the time.
#[derive(Clone, Copy)]
struct Volatile<'a> {
    before: &'a Content,
    again: &'a Content,
}

impl Volatile<'_> {
    /// The fields that are not stored and in which `other` differs from `before`, but for those
    /// that differ each time; where a stored one differs, that one.
    fn differences(&self, other: &Content, stored: &Content) -> BTreeSet<Steps> {
        let mut out = BTreeSet::new();
        for (key, before) in self.before {
            let (again, stored) = (self.again.get(key), stored.get(key));
            Readings { before, again, other: other.get(key), stored }
                .differ(&mut vec![Step::Key(key.clone())], &mut out);
        }
        out
    }
}

/// Two readings of one stored content, and a third.
struct Readings<'a> {
    before: &'a Value,
    again: Option<&'a Value>,
    other: Option<&'a Value>,
    stored: Option<&'a Value>,
}

impl Readings<'_> {
    /// Notes where the third differs.
    fn differ(&self, at: &mut Steps, out: &mut BTreeSet<Steps>) {
        if same(Some(self.before), self.other) {
            return;
        }
        let is_map = matches!((self.before, self.stored), (Value::Map(_), Some(Value::Map(_))));
        // in a map that differs each time some field may still have changed
        if !is_map && !same(Some(self.before), self.again) {
            return;
        }
        let inside: Vec<Step> = match (self.before, self.stored) {
            (Value::Map(b) | Value::Atomic(b), Some(Value::Map(_) | Value::Atomic(_))) => {
                b.iter().map(|(key, _)| Step::Key(key.clone())).collect()
            }
            (Value::Array(b), Some(Value::Array(s))) if come_from(s, b) => {
                (0..b.len()).map(Step::Item).collect()
            }
            (Value::Variant(b), Some(Value::Variant(_))) => vec![Step::Key(b.name().to_owned())],
            _ => Vec::new(),
        };
        if inside.is_empty() {
            out.insert(at.clone());
        }
        for step in inside {
            let within = |v: Option<&'_ Value>| v.and_then(|v| child(v, &step)).cloned();
            let (a, o, s) = (within(self.again), within(self.other), within(self.stored));
            if let Some(before) = child(self.before, &step) {
                at.push(step);
                Readings { before, again: a.as_ref(), other: o.as_ref(), stored: s.as_ref() }
                    .differ(at, out);
                at.pop();
            }
        }
    }
}

/// Whether two values are equal, whatever the order in lists: a set has none.
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || unordered(a) == unordered(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn unordered(value: &Value) -> Value {
    let fields = |fields: &Content| -> Content {
        fields.iter().map(|(k, v)| (k.clone(), unordered(v))).collect()
    };
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(unordered).collect();
            items.sort_by_cached_key(|item| encode_value(item).unwrap_or_default());
            Value::Array(items)
        }
        Value::Map(map) => Value::Map(fields(map)),
        Value::Atomic(map) => Value::Atomic(fields(map)),
        Value::Variant(v) => Variant::new(v.name(), unordered(v.content())).into(),
        value => value.clone(),
    }
}

// ---- paths ----

fn child<'v>(value: &'v Value, step: &Step) -> Option<&'v Value> {
    match (value, step) {
        (Value::Map(map) | Value::Atomic(map), Step::Key(key)) => map.get(key),
        (Value::Array(items), Step::Item(at)) => items.get(*at),
        (Value::Variant(v), Step::Key(name)) if v.name() == name => Some(v.content()),
        _ => None,
    }
}

fn child_mut<'v>(value: &'v mut Value, step: &Step) -> Option<&'v mut Value> {
    match (value, step) {
        (Value::Map(map) | Value::Atomic(map), Step::Key(key)) => map.get_mut(key),
        (Value::Array(items), Step::Item(at)) => items.get_mut(*at),
        (Value::Variant(v), Step::Key(name)) if v.name() == name => Some(v.content_mut()),
        _ => None,
    }
}

fn get(content: &Content, path: &[Step]) -> Option<Value> {
    let (Step::Key(first), rest) = path.split_first()? else { return None };
    rest.iter().try_fold(content.get(first)?, child).cloned()
}

/// Puts a field where there is a map to hold it.
fn put(value: &mut Value, path: &[Step], new: Value) -> bool {
    let Some((Step::Key(key), above)) = path.split_last() else { return false };
    match above.iter().try_fold(value, child_mut) {
        Some(Value::Map(map) | Value::Atomic(map)) => map.insert(key.clone(), new).is_none(),
        _ => false,
    }
}

fn without(content: &Content, paths: &BTreeSet<Steps>) -> Content {
    let mut all = Value::Map(content.clone());
    for path in paths {
        let Some((Step::Key(key), above)) = path.split_last() else { continue };
        if let Some(Value::Map(map) | Value::Atomic(map)) =
            above.iter().try_fold(&mut all, child_mut)
        {
            map.remove(key);
        }
    }
    if let Value::Map(content) = all { content } else { Content::new() }
}

/// Fields that a type read and would not write again: it knows them under another name now.
fn undone(read: &Content, before: &Content) -> BTreeSet<Steps> {
    fn fields(read: &Content, before: &Content, at: &mut Steps, out: &mut BTreeSet<Steps>) {
        for (key, r) in read {
            at.push(Step::Key(key.clone()));
            match before.get(key) {
                Some(b) => values(r, b, at, out),
                None => drop(out.insert(at.clone())),
            }
            at.pop();
        }
    }
    fn values(read: &Value, before: &Value, at: &mut Steps, out: &mut BTreeSet<Steps>) {
        match (read, before) {
            (Value::Map(r) | Value::Atomic(r), Value::Map(b) | Value::Atomic(b)) => {
                fields(r, b, at, out)
            }
            (Value::Array(r), Value::Array(b)) if come_from(r, b) => {
                for (i, (r, b)) in r.iter().zip(b).enumerate() {
                    at.push(Step::Item(i));
                    values(r, b, at, out);
                    at.pop();
                }
            }
            (Value::Variant(r), Value::Variant(b)) if r.name() == b.name() => {
                at.push(Step::Key(r.name().to_owned()));
                values(r.content(), b.content(), at, out);
                at.pop();
            }
            _ => {}
        }
    }
    let mut out = BTreeSet::new();
    fields(read, before, &mut Vec::new(), &mut out);
    out
}

/// Whether each item is what a type makes of the stored one in its place: else it keeps no order.
fn come_from(stored: &[Value], before: &[Value]) -> bool {
    stored.len() == before.len() && stored.iter().zip(before).all(|(s, b)| comes_from(s, b))
}

fn comes_from(stored: &Value, before: &Value) -> bool {
    match (stored, before) {
        (Value::Map(s) | Value::Atomic(s), Value::Map(b) | Value::Atomic(b)) => {
            b.iter().all(|(key, b)| s.get(key).is_none_or(|s| comes_from(s, b)))
        }
        (Value::Array(s), Value::Array(b)) => come_from(s, b),
        (Value::Variant(s), Value::Variant(b)) => {
            s.name() == b.name() && comes_from(s.content(), b.content())
        }
        (Value::Int(s), Value::Float(b)) => *s as f64 == *b,
        (s, b) => s == b || as_kind_of(s, b) == Some(s.clone()),
    }
}

/// A value that a type wrote of what it read as a poorer kind, as the kind that stands.
fn as_kind_of(stored: &Value, poorer: &Value) -> Option<Value> {
    match (stored, poorer) {
        (Value::Bytes(_), Value::Array(items)) => {
            let byte = |v: &Value| v.as_int().and_then(|n| u8::try_from(n).ok());
            items.iter().map(byte).collect::<Option<Vec<u8>>>().map(Value::Bytes)
        }
        (Value::Timestamp(_), Value::Int(ms)) => Some(Timestamp::from_millis(*ms).into()),
        (Value::Variant(_), Value::Map(map)) if map.len() == 1 => {
            let (name, content) = map.iter().next()?;
            Some(Variant::new(name, content.clone()).into())
        }
        _ => None,
    }
}

// ---- what is written ----

/// Fields that go since the type knows them under another name, and what it writes instead.
#[derive(Default)]
struct Gone {
    paths: BTreeSet<Steps>,
    needed: BTreeSet<Steps>,
}

impl Gone {
    /// Whether something at or below a path goes, or must be written.
    fn concerns(&self, at: &Steps) -> bool {
        let below = |set: &BTreeSet<Steps>| {
            set.range(at.clone()..).next().is_some_and(|p| p.starts_with(at))
        };
        below(&self.paths) || below(&self.needed)
    }

    fn fields(
        &self,
        stored: &Content,
        before: Option<&Content>,
        now: Content,
        at: &mut Steps,
    ) -> Content {
        let mut out = Content::new();
        for (key, s) in stored {
            at.push(Step::Key(key.clone()));
            let known = before.is_some_and(|b| b.get(key).is_some());
            if now.get(key).is_none() && !known && !self.paths.contains(at) {
                out.insert(key.clone(), s.clone());
            }
            at.pop();
        }
        for (key, n) in now {
            at.push(Step::Key(key.clone()));
            let b = before.and_then(|b| b.get(&key));
            match stored.get(&key) {
                Some(s) => drop(out.insert(key, self.value(s, b, n, at))),
                // a default that nobody changed is not written
                None if b == Some(&n) && !self.concerns(at) => {}
                None => drop(out.insert(key, n)),
            }
            at.pop();
        }
        out
    }

    fn value(&self, stored: &Value, before: Option<&Value>, now: Value, at: &mut Steps) -> Value {
        if self.needed.contains(at) {
            return now;
        }
        let unchanged = before == Some(&now);
        if unchanged && !self.concerns(at) {
            return stored.clone();
        }
        // as what the type reads what stands: its own kind, or a poorer one
        let now = match before {
            Some(b) if as_kind_of(stored, b).is_some() => as_kind_of(stored, &now).unwrap_or(now),
            _ => now,
        };
        let before = before.map(|b| as_kind_of(stored, b).unwrap_or_else(|| b.clone()));
        match (stored, now) {
            (Value::Map(s), Value::Map(n)) => {
                Value::Map(self.fields(s, before.as_ref().and_then(Value::as_map), n, at))
            }
            (Value::Map(s), Value::Atomic(n)) if unchanged => {
                Value::Map(self.fields(s, before.as_ref().and_then(Value::as_map), n, at))
            }
            (Value::Map(s) | Value::Atomic(s), Value::Map(n) | Value::Atomic(n)) => {
                Value::Atomic(self.fields(s, before.as_ref().and_then(Value::as_map), n, at))
            }
            (Value::Variant(s), Value::Variant(n)) if s.name() == n.name() => {
                let (name, n) = n.into_parts();
                let b = before.as_ref().and_then(Value::as_variant).filter(|b| b.name() == name);
                at.push(Step::Key(name.clone()));
                let content = self.value(s.content(), b.map(Variant::content), n, at);
                at.pop();
                Variant::new(name, content).into()
            }
            (Value::Array(s), Value::Array(n)) => match &before {
                Some(Value::Array(b)) if come_from(s, b) => Value::Array(self.items(s, b, n, at)),
                _ if unchanged => stored.clone(),
                _ => Value::Array(n),
            },
            _ if unchanged => stored.clone(),
            (_, now) => now,
        }
    }

    /// Items that the caller left alone stay as they stand, wherever they are now; the others are
    /// written as the type writes them.
    fn items(
        &self,
        stored: &[Value],
        before: &[Value],
        now: Vec<Value>,
        at: &mut Steps,
    ) -> Vec<Value> {
        let mut left: BTreeMap<Vec<u8>, VecDeque<usize>> = BTreeMap::new();
        for (i, b) in before.iter().enumerate() {
            left.entry(encode_value(b).unwrap_or_default()).or_default().push_back(i);
        }
        let item = |n: Value| {
            let bytes = encode_value(&n).unwrap_or_default();
            let Some(i) = left.get_mut(&bytes).and_then(VecDeque::pop_front) else { return n };
            at.push(Step::Item(i));
            let kept = self.value(&stored[i], Some(&before[i]), n, at);
            at.pop();
            kept
        };
        now.into_iter().map(item).collect()
    }
}

/// Checks that a type reads what it writes as what it was.
struct ReadBack<'a> {
    volatile: &'a Content,
    again: &'a Content,
}

impl ReadBack<'_> {
    /// `now` against `written`, what the type writes of what it reads back, where `now` is another
    /// than `before` and the type read it at all.
    fn fields(
        &self,
        now: &Content,
        before: &Content,
        written: &Content,
        read: &Content,
        at: &mut Steps,
    ) -> Result<()> {
        let empty = Content::new();
        for (key, n) in now {
            let (b, w, r) = (before.get(key), written.get(key), read.get(key));
            if b == Some(n) || r.is_none() {
                continue;
            }
            at.push(Step::Key(key.clone()));
            match (n, w, r) {
                (Value::Map(n), Some(Value::Map(w)), Some(Value::Map(r))) => {
                    self.fields(n, b.and_then(Value::as_map).unwrap_or(&empty), w, r, at)?;
                }
                _ if same(Some(n), w) || self.is_volatile(at) => {}
                _ => {
                    let why = "it would be read back as another value than was written, so its \
                               Deserialize does not undo its Serialize";
                    return Err(Invalid::Unfit { field: print_path(at), why: why.into() }.into());
                }
            }
            at.pop();
        }
        Ok(())
    }

    fn is_volatile(&self, at: &Steps) -> bool {
        !same(get(self.volatile, at).as_ref(), get(self.again, at).as_ref())
    }
}
