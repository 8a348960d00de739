//! How versions and commits are referred to.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use super::id::{ChainPrefix, LogId};
use super::number::Sequence;
use super::time::Timestamp;
use crate::error::{Invalid, Result};

/// Refers to a commit, the same on every replica: its log, the sequence of its last version, 16
/// bytes of its chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommitRef {
    /// The log.
    pub log: LogId,
    /// Sequence of its last version.
    pub sequence: Sequence,
    /// First 16 bytes of its chain.
    pub prefix: ChainPrefix,
}

/// Refers to a version, the same on every replica: its log, its sequence, 16 bytes of its commit's
/// chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VersionRef {
    /// The log.
    pub log: LogId,
    /// Its sequence.
    pub sequence: Sequence,
    /// First 16 bytes of its commit's chain.
    pub prefix: ChainPrefix,
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.log, self.sequence)
    }
}

impl fmt::Display for CommitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.log, self.sequence)
    }
}

/// What a version does to its entity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Brings it into being; has no parents.
    Create = 1,
    /// Changes it; with several parents it is a merge.
    Update = 2,
    /// Deletes it: a tombstone.
    Delete = 3,
    /// Brings back an earlier content.
    Restore = 4,
}

impl Kind {
    /// The kind that a header's number stands for (FORMAT.md, 1.3), if it stands for one.
    pub fn from_bits(bits: u8) -> Option<Self> {
        [Kind::Create, Kind::Update, Kind::Delete, Kind::Restore]
            .into_iter()
            .find(|k| *k as u8 == bits)
    }
}

/// A version's name for people: `2024-01-15T10:30:00.123Z-device123-001`.
///
/// ```
/// let id: heirloom::VersionId = "2024-01-15T10:30:00.123Z-my-phone-007".parse()?;
/// assert_eq!((id.device(), id.sequence().get()), ("my-phone", 7));
/// assert_eq!(id.to_string(), "2024-01-15T10:30:00.123Z-my-phone-007");
/// # Ok::<(), heirloom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VersionId {
    stamp: Timestamp,
    device: String,
    sequence: Sequence,
}

/// A device id has at most 64 characters, and on a branch of a log that forked nine more
/// (FORMAT.md, 2.6).
const DEVICE: usize = 64 + 9;

impl VersionId {
    /// Puts one together. The device id must be 1 to 73 printable ASCII characters without space,
    /// the stamp within the years 0000 to 9999; else [`Invalid`].
    pub fn new(stamp: Timestamp, device: impl Into<String>, sequence: Sequence) -> Result<Self> {
        let device = device.into();
        let fits = (1..=DEVICE).contains(&device.len());
        if !fits || !device.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Invalid::Device { name: device, most: DEVICE });
        }
        if stamp > Timestamp::MAX || stamp.as_millis() < -62_167_219_200_000 {
            return Err(Invalid::Time { millis: stamp.as_millis() });
        }
        Ok(Self { stamp, device, sequence })
    }

    /// When it was written, as writes are ordered.
    pub fn stamp(&self) -> Timestamp {
        self.stamp
    }

    /// The device that wrote it.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Its number among the device's versions.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:03}", self.stamp, self.device, self.sequence)
    }
}

impl FromStr for VersionId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        const STAMP: usize = 24;
        let bad = |at: usize, why: &str| {
            Invalid::text("a version id", text, format!("{why} at position {at}"))
        };
        let stamp = text
            .get(..STAMP)
            .ok_or_else(|| bad(text.len().min(STAMP), "a time is expected"))?
            .parse()?;
        let rest = text[STAMP..].strip_prefix('-').ok_or_else(|| bad(STAMP, "'-' is expected"))?;
        let cut =
            rest.rfind('-').ok_or_else(|| bad(text.len(), "'-' and a sequence are expected"))?;
        let (device, digits) = (&rest[..cut], &rest[cut + 1..]);
        let place = STAMP + 1 + cut + 1;
        let plain = digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain || (digits.len() > 3 && digits.starts_with('0')) {
            return Err(bad(place, "a sequence of at least three digits is expected"));
        }
        let sequence: u64 = digits.parse().map_err(|_| bad(place, "the sequence is too large"))?;
        Self::new(stamp, device, sequence.into()).map_err(|e| bad(STAMP + 1, &e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_text_names_the_place() {
        for (text, place) in [
            ("", "position 0"),
            ("2024-01-15T10:30:00.123Z", "position 24"),
            ("2024-01-15T10:30:00.123Z-phone", "position 30"),
            ("2024-01-15T10:30:00.123Z-phone-01", "position 31"),
            ("2024-01-15T10:30:00.123Z-phone-0123", "position 31"),
            ("2024-01-15T10:30:00.123Z--001", "position 25"),
            ("2024-01-15T10:30:00.123Z-phone-99999999999999999999", "position 31"),
            ("2024-01-15T10:30:00.1é3Z-phone-001", "position 21"),
        ] {
            let error = text.parse::<VersionId>().unwrap_err().to_string();
            assert!(error.contains(place), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(
            ms in 0i64..=253_402_300_799_999,
            device in "[!-~]{1,73}",
            sequence: u64,
        ) {
            let id = VersionId::new(Timestamp::from_millis(ms), device, sequence.into()).unwrap();
            prop_assert_eq!(id.to_string().parse::<VersionId>().unwrap(), id);
        }
    }
}
