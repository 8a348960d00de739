//! Clocks that are far ahead: never followed, always told (R6).

use heirloom_core::limits::CLOCK_SKEW;
use heirloom_core::replica::ClockAhead;

use crate::engine::Engine;
use crate::error::Result;

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
    ///     .wall_clock(|| Timestamp::from_millis(NOW.load(Ordering::Relaxed)))
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
        for line in view.directory.all_shared() {
            let (Some(tip), Some(info)) = (view.shown_tip(line)?, view.directory.log(line)) else {
                continue;
            };
            let by = tip.header.wall.saturating_sub(now);
            if by > CLOCK_SKEW {
                out.push(ClockAhead::new(info.id, info.device.clone(), by));
            }
        }
        out.sort_by_key(|ahead| ahead.log);
        Ok(out)
    }
}
