//! What would be written, read back before it is.

use heirloom_core::error::Invalid;
use heirloom_core::format::serde::{Step, print_path};
use heirloom_core::model::{Content, Value};

use super::steps::{Steps, get, same};
use crate::error::Result;

/// Checks that a type reads what it writes as what it was.
pub(super) struct ReadBack<'a> {
    pub(super) volatile: &'a Content,
    pub(super) again: &'a Content,
}

impl ReadBack<'_> {
    /// `now` against `written`, what the type writes of what it reads back, where `now` is another
    /// than `before` and the type read it at all.
    pub(super) fn fields(
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

    pub(super) fn is_volatile(&self, at: &Steps) -> bool {
        !same(get(self.volatile, at).as_ref(), get(self.again, at).as_ref())
    }
}
