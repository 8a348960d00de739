//! Names as text: device ids, stamps, version ids.

use super::{Genesis, hashes};

/// The device id of a genesis, from its bytes and what was read from them.
pub fn device_id(bytes: &[u8], genesis: &Genesis) -> String {
    if genesis.flags & Genesis::MANAGED != 0 {
        return genesis.label.clone();
    }
    let digits: String =
        hashes::log_id(bytes)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{digits}", genesis.label)
}

/// A version id.
pub fn version_id(stamp: u64, device: &str, sequence: u64) -> String {
    format!("{}-{device}-{sequence:03}", stamp_text(stamp))
}

/// Milliseconds since 1970 as `YYYY-MM-DDTHH:MM:SS.mmmZ`. Years are counted off one by one.
pub fn stamp_text(millis: u64) -> String {
    let (mut days, rest) = (millis / 86_400_000, millis % 86_400_000);
    let mut year = 1970;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (seconds, millis) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z",
        month + 1,
        days + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_print_as_utc() {
        assert_eq!(stamp_text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(stamp_text(1_705_314_630_123), "2024-01-15T10:30:30.123Z");
        assert_eq!(stamp_text(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(stamp_text(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(stamp_text(super::super::MAX_TIME), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn version_ids_have_at_least_three_digits() {
        assert_eq!(version_id(0, "device-1", 1), "1970-01-01T00:00:00.000Z-device-1-001");
        assert_eq!(version_id(0, "d", 12_345), "1970-01-01T00:00:00.000Z-d-12345");
    }
}
