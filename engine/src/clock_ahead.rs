//! Clocks that are far ahead: never followed, always told (R6).

use std::fmt;

use crate::engine::Engine;
use crate::error::Result;
use crate::model::LogId;
use crate::store::PULL;

/// A log whose last commit was written at a time that is more than five minutes ahead of this
/// device's clock. What it wrote is kept and counts; its time moves nobody's clock.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct ClockAhead {
    /// The log.
    pub log: LogId,
    /// Device id of its writer.
    pub device: String,
    /// How far ahead, in milliseconds.
    pub by_ms: u64,
}

impl ClockAhead {
    pub(crate) fn new(log: LogId, device: String, by_ms: u64) -> Self {
        Self { log, device, by_ms }
    }
}

impl fmt::Display for ClockAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = Span(self.by_ms);
        write!(
            f,
            "the clock of {} is {by} ahead of this device's; set the one that is wrong",
            self.device
        )
    }
}

/// A span of time in words: its two largest units.
pub struct Span(
    /// Milliseconds.
    pub u64,
);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 5] =
            [("year", 31_536_000), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
        let mut left = self.0 / 1_000;
        let largest =
            UNITS.iter().position(|(_, length)| left >= *length).unwrap_or(UNITS.len() - 1);
        for (i, (unit, length)) in UNITS.iter().enumerate().skip(largest).take(2) {
            let n = left / length;
            left %= length;
            if i == largest || n > 0 {
                let (space, plural) =
                    (if i == largest { "" } else { " " }, if n == 1 { "" } else { "s" });
                write!(f, "{space}{n} {unit}{plural}")?;
            }
        }
        Ok(())
    }
}

impl Engine {
    /// The logs whose last commit is more than five minutes ahead of this device's clock, now. The
    /// own log is among them if this device's clock was ahead when it wrote and has been put right
    /// since: its times stay ahead until the clock has caught up, or the device goes on under a
    /// fresh log: see [`Engine::start_fresh_log`].
    ///
    /// Whether *this* clock is the wrong one, peers tell: see the report of a session. Costs a
    /// look-up a log.
    ///
    /// ```
    /// use heirloom::{Content, Engine, Timestamp};
    /// use std::sync::atomic::{AtomicI64, Ordering};
    ///
    /// static NOW: AtomicI64 = AtomicI64::new(1_700_003_600_000);
    /// let engine = Engine::builder()
    ///     .label("phone")
    ///     .clock(|| Timestamp::from_millis(NOW.load(Ordering::Relaxed)))
    ///     .in_memory()?;
    /// engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// assert!(engine.clocks_ahead()?.is_empty());
    ///
    /// NOW.store(1_700_000_000_000, Ordering::Relaxed);
    /// let ahead = &engine.clocks_ahead()?[0];
    /// assert_eq!((Some(ahead.log), ahead.by_ms), (engine.log_id(), 3_600_000));
    /// assert!(ahead.to_string().contains("is 1 hour ahead"));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn clocks_ahead(&self) -> Result<Vec<ClockAhead>> {
        let snapshot = self.snapshot()?;
        let view = snapshot.view();
        let now = (self.store().now)().saturated();
        let mut out = Vec::new();
        for ordinal in view.directory.all_shared() {
            let (Some(tip), Some(info)) = (view.shown_tip(ordinal)?, view.directory.log(ordinal))
            else {
                continue;
            };
            let by = tip.header.wall.saturating_sub(now);
            if by > PULL {
                out.push(ClockAhead::new(info.id, info.device.clone(), by));
            }
        }
        out.sort_by_key(|ahead| ahead.log);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        let told = |ms| Span(ms).to_string();
        assert_eq!(told(999), "0 seconds");
        assert_eq!(told(61_000), "1 minute 1 second");
        assert_eq!(told(3_600_000), "1 hour");
        assert_eq!(told(10 * 31_536_000_000 + 2 * 86_400_000 + 5_000), "10 years 2 days");
    }
}
