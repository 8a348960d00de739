//! Times: milliseconds of UTC, their text, their bounds.

use alloc::format;
use core::fmt;
use core::str::FromStr;

use crate::error::{Invalid, Result};

const DAY: i64 = 86_400_000;

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
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY));
        let ms = self.0.rem_euclid(DAY);
        let sign = if year < 0 { "-" } else { "" };
        write!(
            f,
            "{sign}{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            year.unsigned_abs(),
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1000 % 60,
            ms % 1000
        )
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;

    /// Reads exactly the form that is printed, years 0000 to 9999; the error names the place.
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
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().fold(0i64, |n, digit| n * 10 + i64::from(digit - b'0'))
        };
        let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
        let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
        for (ok, at) in [
            ((1..=12).contains(&month), 5),
            (day >= 1 && day <= days_in(year, month), 8),
            (hour < 24, 11),
            (minute < 60, 14),
            (second < 60, 17),
        ] {
            if !ok {
                return Err(bad(at));
            }
        }
        let seconds = (hour * 60 + minute) * 60 + second;
        Ok(Self(days_from_civil(year, month, day) * DAY + seconds * 1000 + number(20, 23)))
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_from_civil(next.0, next.1, 1) - days_from_civil(year, month, 1)
}

/// Days since 1970-01-01 of a day in the Gregorian calendar. Years are counted from March, so that
/// the leap day ends one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
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
