//! Two replicas of one process.

use std::time::Duration;

use heirloom_core::replica::Replica;

use super::begin;
use crate::config::Config;
use crate::error::{Result, Stall, SyncError};
use crate::report::Report;
use crate::session::Session;

/// Syncs two replicas of this process, the first as the initiator, in the calling thread. The
/// reports of both.
///
/// The error is that of the end that found it; nothing that is durable by then is lost on either.
pub fn sync_in_process<A: Replica, B: Replica>(a: &A, b: &B) -> Result<(Report, Report)> {
    // memory is faster than any compression
    let plain = || Config::new().compression(false);
    sync_in_process_with(a, plain(), b, plain())
}

/// Syncs two replicas of this process, each end with its own configuration: as
/// [`sync_in_process`], which compresses nothing.
pub fn sync_in_process_with<A: Replica, B: Replica>(
    a: &A,
    config_of_a: Config,
    b: &B,
    config_of_b: Config,
) -> Result<(Report, Report)> {
    let mut a = Session::initiator(a, config_of_a);
    let mut b = Session::responder(b, config_of_b);
    begin(&mut a);
    begin(&mut b);
    let mut bytes = Vec::new();
    while !(a.is_finished() && b.is_finished()) {
        let moved = carry(&mut a, &mut b, &mut bytes)? | carry(&mut b, &mut a, &mut bytes)?;
        if !moved {
            // Cannot happen between two sessions of this version; an endless loop would be the
            // worst answer to it.
            return Err(SyncError::Timeout(Stall::Silent(Duration::ZERO)));
        }
    }
    Ok((a.report().clone(), b.report().clone()))
}

/// One frame from one end to the other; false if there is none. Without a clock nothing is ever
/// due.
fn carry<A: Replica, B: Replica>(
    from: &mut Session<A>,
    to: &mut Session<B>,
    bytes: &mut Vec<u8>,
) -> Result<bool> {
    bytes.clear();
    let any = from.poll_transmit(Duration::ZERO, bytes)?;
    to.handle_input(Duration::ZERO, bytes)?;
    Ok(any)
}
