//! Drivers: they move a session's bytes and tell it the time. One file each.

pub mod blocking;
mod cancel;
mod memory;
#[cfg(feature = "tcp")]
pub mod tcp;

pub use cancel::Cancel;
pub use memory::{sync_in_process, sync_in_process_with};
