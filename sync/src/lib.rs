//! Sync for heirloom: brings two replicas to logs that are equal, provably.
//!
//! - [`Session`] is one end of a sync, a state machine without I/O; `PROTOCOL.md` has every
//!   message.
//! - [`Replica`] is what it needs of a store; `heirloom::Engine` is one.
//! - [`transport`] has the drivers: [`sync_in_process`], [`transport::blocking`] over any two
//!   halves of a stream, and `transport::tcp`, unprotected, for tests and trusted links.
//!
//! A session sends each side exactly what it lacks, acknowledges only what is durable, and ends
//! with both proving that they hold the same: equal log roots at the cut, equal state digests. It
//! may be interrupted at any byte; the next one goes on from there.
//!
//! ```
//! use heirloom::{Content, Engine, Patch};
//!
//! let phone = Engine::builder().label("phone").dataset_name("home").in_memory()?;
//! let tablet = Engine::builder().label("tablet").in_memory()?;
//! let desk = Content::new().with("name", "desk").with("brightness", 40);
//! let lamp = phone.write(|tx| tx.create("lamp", &desk))?;
//! heirloom_sync::sync_in_process(&phone, &tablet)?;
//!
//! // Both edit the same lamp, apart from each other.
//! phone.write(|tx| tx.patch(lamp, Patch::new().set("name", "window")))?;
//! tablet.write(|tx| tx.patch(lamp, Patch::new().set("brightness", 80)))?;
//! let (report, _) = heirloom_sync::sync_in_process(&phone, &tablet)?;
//!
//! assert_eq!((report.versions_sent, report.versions_received), (1, 1));
//! assert_eq!(phone.log_root()?, tablet.log_root()?);
//! let entity = phone.snapshot()?.get(lamp)?.expect("it was created");
//! assert_eq!(entity.content(), Content::new().with("name", "window").with("brightness", 80));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Until logs are signed, a peer that is let in can write in another's name: authenticate peers,
//! and let in only those that are trusted.

// The support code of tests/ serves unit tests, too.
#[cfg(test)]
extern crate self as heirloom_sync;

pub mod admission;
mod config;
mod error;
mod limits;
mod report;
mod session;
mod traced;
pub mod transport;

pub use admission::{Admission, Introduction, Refusal};
pub use config::Config;
pub use error::{Divergence, InvalidMessage, PeerMisbehaved, Reason, Result, Stall, SyncError};
pub use heirloom_core::replica::{Replica, ReplicaError};
pub use report::{ClockSkew, Event, Outcome, Progress, Report};
pub use session::Session;
pub use transport::{Cancel, sync_in_process, sync_in_process_with};

/// The README's code runs as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
