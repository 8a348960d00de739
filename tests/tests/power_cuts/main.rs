//! A store on a disk whose power is cut, or that fails (R37, I1, I9): reopening finds exactly the
//! acknowledged commits, and of the one on its way all or nothing. What was handed out before is
//! there after. `POWER_CUTS=n` makes the runs n times as long.

mod every_operation;
mod faults;
mod random;
mod threads;

/// How much longer than in a quick run.
fn times() -> u64 {
    std::env::var("POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}
