//! Drivers: they move a session's bytes and tell it the time. One file each.

pub mod blocking;
mod cancel;
mod memory;
#[cfg(feature = "tcp")]
pub mod tcp;

use std::time::{SystemTime, UNIX_EPOCH};

use heirloom_core::model::Timestamp;
use heirloom_core::replica::Replica;

pub use cancel::Cancel;
pub use memory::{sync_in_process, sync_in_process_with};

use crate::session::Session;

/// A session that a driver runs begins now, as the system's clock has it, unless its caller knows
/// better. A clock before 1970 says nothing.
fn begin<R: Replica>(session: &mut Session<R>) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let millis = since.and_then(|since| i64::try_from(since.as_millis()).ok());
    if let Some(millis) = millis {
        session.begin_at(Timestamp::from_millis(millis));
    }
}
