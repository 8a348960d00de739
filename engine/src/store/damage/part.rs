//! Entities in parts, so that memory holds some of them at a time.

use heirloom_core::model::EntityId;

/// Divides entities evenly.
pub(crate) fn part_of(id: &EntityId, parts: u64) -> u64 {
    // ids may ascend in time: their last bytes are spread
    id.as_bytes()[8..].iter().fold(0u64, |n, b| n.wrapping_mul(31).wrapping_add(u64::from(*b)))
        % parts
}
