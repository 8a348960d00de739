//! Values by the steps that lead to them: looked up, replaced, compared.

use std::collections::BTreeSet;

use heirloom_core::format::serde::Step;
use heirloom_core::format::value::encode_value;
use heirloom_core::model::{Content, Timestamp, Value, Variant};

pub(super) type Steps = Vec<Step>;

/// Whether two values are equal, whatever the order in lists: a set has none.
pub(super) fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || unordered(a) == unordered(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

pub(super) fn unordered(value: &Value) -> Value {
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

pub(super) fn child<'v>(value: &'v Value, step: &Step) -> Option<&'v Value> {
    match (value, step) {
        (Value::Map(map) | Value::Atomic(map), Step::Key(key)) => map.get(key),
        (Value::Array(items), Step::Item(at)) => items.get(*at),
        (Value::Variant(v), Step::Key(name)) if v.name() == name => Some(v.content()),
        _ => None,
    }
}

pub(super) fn child_mut<'v>(value: &'v mut Value, step: &Step) -> Option<&'v mut Value> {
    match (value, step) {
        (Value::Map(map) | Value::Atomic(map), Step::Key(key)) => map.get_mut(key),
        (Value::Array(items), Step::Item(at)) => items.get_mut(*at),
        (Value::Variant(v), Step::Key(name)) if v.name() == name => Some(v.content_mut()),
        _ => None,
    }
}

pub(super) fn get(content: &Content, path: &[Step]) -> Option<Value> {
    let (Step::Key(first), rest) = path.split_first()? else { return None };
    rest.iter().try_fold(content.get(first)?, child).cloned()
}

/// Puts a field where there is a map to hold it.
pub(super) fn put(value: &mut Value, path: &[Step], new: Value) -> bool {
    let Some((Step::Key(key), above)) = path.split_last() else { return false };
    match above.iter().try_fold(value, child_mut) {
        Some(Value::Map(map) | Value::Atomic(map)) => map.insert(key.clone(), new).is_none(),
        _ => false,
    }
}

pub(super) fn without(content: &Content, paths: &BTreeSet<Steps>) -> Content {
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
pub(super) fn undone(read: &Content, before: &Content) -> BTreeSet<Steps> {
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
pub(super) fn come_from(stored: &[Value], before: &[Value]) -> bool {
    stored.len() == before.len() && stored.iter().zip(before).all(|(s, b)| comes_from(s, b))
}

pub(super) fn comes_from(stored: &Value, before: &Value) -> bool {
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
pub(super) fn as_kind_of(stored: &Value, poorer: &Value) -> Option<Value> {
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
