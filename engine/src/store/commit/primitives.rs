//! What `wake.rs` and `group_commit.rs` wait with. They name it through here, so that a test can
//! put a model checker's in its place and search the orders in which threads may run.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
