//! Times: milliseconds of UTC, their text, their bounds.

use alloc::format;
use core::fmt;
use core::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};

use crate::error::{Invalid, Result};

/// The calendar goes to the end of 9999; points in time with a zone would not reach it.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A moment in milliseconds since 1970-01-01T00:00:00Z, also before it. Printed as
/// `2024-01-15T10:30:00.123Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last moment that a commit may carry: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);
    /// The moment 0: 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The nearest time that a commit may carry, in milliseconds since 1970: not before that, not
    /// after the year 9999.
    pub fn saturated(self) -> u64 {
        self.0.clamp(0, Self::MAX.0) as u64
    }

    /// The moment of a time that a commit carries, in milliseconds since 1970.
    pub fn of(time: u64) -> Self {
        Self(i64::try_from(time).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(t) = EPOCH.checked_add(SignedDuration::from_millis(self.0)) else {
            // no calendar goes that far
            return write!(f, "{} ms from 1970", self.0);
        };
        let (date, time) = (t.date(), t.time());
        let sign = if date.year() < 0 { "-" } else { "" };
        write!(
            f,
            "{sign}{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year().unsigned_abs(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        const FORM: &str = "0000-00-00T00:00:00.000Z";
        let bad = |at: usize| {
            Invalid::text(
                "a time like 2024-01-15T10:30:00.123Z",
                text,
                format!("look at position {at}"),
            )
        };
        let bytes = text.as_bytes();
        let fits = |(a, b): (&u8, u8)| if b == b'0' { a.is_ascii_digit() } else { *a == b };
        if let Some(at) = bytes.iter().zip(FORM.bytes()).position(|pair| !fits(pair)) {
            return Err(bad(at));
        }
        if bytes.len() != FORM.len() {
            return Err(bad(bytes.len().min(FORM.len())));
        }
        // at most four digits
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().fold(0i16, |n, digit| n * 10 + i16::from(digit - b'0'))
        };
        let small = |from: usize| number(from, from + 2) as i8;
        let date = Date::new(number(0, 4), small(5), 1).map_err(|_| bad(5))?;
        let date = Date::new(date.year(), date.month(), small(8)).map_err(|_| bad(8))?;
        let time = |hour, minute, second| Time::new(hour, minute, second, 0);
        time(small(11), 0, 0).map_err(|_| bad(11))?;
        time(small(11), small(14), 0).map_err(|_| bad(14))?;
        let time = time(small(11), small(14), small(17)).map_err(|_| bad(17))?;
        let since = date.to_datetime(time).duration_since(EPOCH);
        // whole seconds of four-digit years: far within bounds
        Ok(Self(since.as_secs() * 1000 + i64::from(number(20, 23))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_print_as_expected() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_705_314_600_123, "2024-01-15T10:30:00.123Z"),
            (Timestamp::MAX.as_millis(), "9999-12-31T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::from_millis(ms).to_string(), text);
        }
    }

    #[test]
    fn bad_text_names_the_place() {
        for (text, place) in [
            ("2024-13-01T00:00:00.000Z", "position 5"),
            ("2023-02-29T00:00:00.000Z", "position 8"),
            ("2024-01-15 10:30:00.123Z", "position 10"),
            ("2024-01-15T10:30:00.123", "position 23"),
        ] {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains(place), "{error}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(ms in -62_167_219_200_000i64..=253_402_300_799_999) {
            let time = Timestamp::from_millis(ms);
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
    }
}
