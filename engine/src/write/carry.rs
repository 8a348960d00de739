//! What a typed write leaves as it stands: fields that the type does not know, kinds of value that
//! it reads as another, and whatever the caller did not change.
//!
//! Four contents tell: what is *stored*, what of it the type *read*, what it would write of that
//! *before* the caller changed anything, and what it writes *now*.

use std::collections::{BTreeMap, BTreeSet};

use heirloom_core::error::Invalid;
use heirloom_core::format::serde::{
    Fault, ShownLeaf, Step, Unread, content_from, from_leaves, print_path,
};
use heirloom_core::format::value::{decode_kept, flatten_content};
use heirloom_core::merge::unflatten_with;
use heirloom_core::model::{Content, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::gone::Gone;
use super::read_back::ReadBack;
use super::steps::{Steps, child, come_from, get, put, same, undone, without};
use crate::error::{Error, Result};

/// What a type writes of what it reads of leaves; it notes what it did not read.
type Sees = fn(&[ShownLeaf<'_>], &Unread) -> Result<Content, Fault>;

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
pub(super) struct Volatile<'a> {
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
pub(super) struct Readings<'a> {
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

// ---- paths ----

// ---- what is written ----
