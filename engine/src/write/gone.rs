//! What a typed write removes: what its type had read and does not write any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use heirloom_core::format::serde::Step;
use heirloom_core::format::value::encode_value;
use heirloom_core::model::{Content, Value, Variant};

use super::steps::{Steps, as_kind_of, come_from};

/// Fields that go since the type knows them under another name, and what it writes instead.
#[derive(Default)]
pub(super) struct Gone {
    pub(super) paths: BTreeSet<Steps>,
    pub(super) needed: BTreeSet<Steps>,
}

impl Gone {
    /// Whether something at or below a path goes, or must be written.
    pub(super) fn concerns(&self, at: &Steps) -> bool {
        let below = |set: &BTreeSet<Steps>| {
            set.range(at.clone()..).next().is_some_and(|p| p.starts_with(at))
        };
        below(&self.paths) || below(&self.needed)
    }

    pub(super) fn fields(
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

    pub(super) fn value(
        &self,
        stored: &Value,
        before: Option<&Value>,
        now: Value,
        at: &mut Steps,
    ) -> Value {
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
    pub(super) fn items(
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
