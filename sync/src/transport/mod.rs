//! Drivers: they move a session's bytes and tell it the time. One file each.

pub mod blocking;
mod cancel;
mod memory;
#[cfg(feature = "tcp")]
pub mod tcp;

use std::time::{SystemTime, UNIX_EPOCH};

use heirloom_core::model::Timestamp;

pub use cancel::Cancel;
pub use memory::{sync_in_process, sync_in_process_with};

use crate::config::Config;

/// A session that begins now, as the system's clock has it, unless its caller knows better. A clock
/// before 1970 says nothing.
fn timed(config: Config) -> Config {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let millis = since.and_then(|since| i64::try_from(since.as_millis()).ok());
    let now = config.wall_time.or(millis.map(Timestamp::from_millis));
    Config { wall_time: now, ..config }
}
