//! A place in the change log of one file.

use heirloom_core::model::Lsn;
use std::fmt;
use std::str::FromStr;

use heirloom_core::error::Invalid;

use crate::error::{Error, Result};
use crate::store::{Record, View};

/// A place in the change log of one store file, to go on from later. Cursors of one file are
/// ordered as its changes are; they mean nothing in another file, and a scan that starts from one
/// there, or in an older copy, notices it: [`Error::CursorLost`].
///
/// As text it is stable and opaque; printing and parsing are inverse.
///
/// ```
/// # use heirloom::{Content, Cursor, Engine};
/// # let engine = Engine::in_memory()?;
/// # engine.write(|tx| tx.create("lamp", &Content::new()))?;
/// let kept: String = engine.cursor()?.to_string();
/// let cursor: Cursor = kept.parse()?;
/// assert_eq!(cursor, engine.cursor()?);
/// assert!(Cursor::START < cursor);
/// # Ok::<(), heirloom::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cursor {
    pub(super) lsn: Lsn,
    /// Versions of that commit that are passed.
    pub(super) index: u32,
    /// Begin of the chain of the last commit of which something is passed; [`UNKNOWN`] where that
    /// one is damaged.
    pub(super) guard: [u8; 8],
}

/// Such a cursor is taken for one of this file.
const UNKNOWN: [u8; 8] = [0; 8];

impl Cursor {
    /// Before the first change of any file.
    pub const START: Self = Self { lsn: Lsn::START, index: 0, guard: [0; 8] };

    /// Past all commits before a place.
    pub(crate) fn after(view: &View<'_>, end: Lsn) -> Result<Self> {
        Self::end(view, end)
    }

    /// How many commits are passed as a whole.
    pub(crate) fn commits(&self) -> u64 {
        self.lsn.get()
    }

    /// Past a whole commit.
    pub(super) fn past(record: &Record) -> Self {
        Self { lsn: record.lsn.next(), index: 0, guard: guard(record) }
    }

    /// Past one of its versions.
    pub(super) fn past_version(record: &Record, index: usize) -> Self {
        if index + 1 < record.header.versions.len() {
            Self { lsn: record.lsn, index: index as u32 + 1, guard: guard(record) }
        } else {
            Self::past(record)
        }
    }

    /// At the end of a log that goes up to there.
    pub(super) fn end(view: &View<'_>, end: Lsn) -> Result<Self> {
        let Some(last) = end.before() else { return Ok(Self::START) };
        match view.record(last) {
            Err(e) if e.is_damage() => Ok(Self::past_damaged(last)),
            record => Ok(Self::past(&*record?)),
        }
    }

    pub(super) fn past_damaged(lsn: Lsn) -> Self {
        Self { lsn: lsn.next(), index: 0, guard: UNKNOWN }
    }

    /// Whether it does not say what the commit before it was.
    fn is_unknown(&self) -> bool {
        self.lsn > Lsn::START && self.guard == UNKNOWN
    }

    /// Whether it is a place in a log that goes up to there.
    pub(super) fn fits(&self, view: &View<'_>, end: Lsn) -> Result<bool> {
        if self.index == 0 {
            let fits = |end: Self| *self == end || self.is_unknown() || end.is_unknown();
            return Ok(self.lsn <= end && fits(Self::end(view, self.lsn)?));
        }
        if self.lsn >= end {
            return Ok(false);
        }
        let record = view.record(self.lsn)?;
        Ok(guard(&record) == self.guard && (self.index as usize) < record.header.versions.len())
    }
}

fn guard(record: &Record) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&record.chain.as_bytes()[..8]);
    out
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:016x}", self.lsn, self.index, u64::from_be_bytes(self.guard))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (lsn, rest) = text.split_once('.')?;
            let (index, guard) = rest.split_once('.')?;
            let guard = u64::from_str_radix(guard, 16).ok()?.to_be_bytes();
            Some(Self { lsn: Lsn::new(lsn.parse().ok()?), index: index.parse().ok()?, guard })
        };
        // only as it is printed
        let cursor = read().filter(|c| c.to_string() == text);
        cursor.ok_or_else(|| Invalid::text("a cursor", text, "pass on what one printed").into())
    }
}
