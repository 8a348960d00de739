//! The engine through its public API, one module a subject. One program, since what is built for
//! each takes longer than what it does; what needs a process of its own has one (`forked`,
//! `threads`).

mod backup;
mod carried;
mod changes;
mod collection;
mod conflicts;
mod engine;
mod entries;
mod errors;
mod files;
mod histories;
mod identity;
mod import;
mod local;
mod losses;
mod query;
mod read_only;
mod reopen;
mod traced;
mod travel;
mod typed;
mod types;
// public where it is part of another crate
#[allow(unreachable_pub)]
#[path = "../../../tests/src/tables_part.rs"]
mod tables_part;
mod wide;
