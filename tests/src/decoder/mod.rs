//! Format level 1 read a second time, from part 1 of `engine/FORMAT.md` alone, in the plainest way
//! that is correct.
//!
//! Bytes are split into a [`Frame`], a frame is read into a [`Commit`] of plain structs, and a
//! [`Replay`] takes commits in causal order and says what follows from them: heads, states, merged
//! leaves, conflicts, log root, state digest. Nothing here is fast: pasts are walked, states are
//! kept whole, logs may not fork.

mod body;
mod commit;
mod framing;
mod genesis;
pub mod hashes;
mod header;
mod names;
pub mod primitives;
mod replay;
mod state;
mod value;
mod view;
mod void;

pub use body::{Bodies, Body, MAX_BODIES};
pub use commit::{Before, Commit, Frame, Trailer};
pub use framing::{Fault, Framing, Unverified};
pub use genesis::{Genesis, MAX_GENESIS};
pub use header::{Header, Level1, MAX_HEADER, Metadata, Rest, VersionHeader, kind};
pub use names::{device_id, stamp_text, version_id};
pub use replay::{Held, Refusal, Replay, Version};
pub use state::{Entries, Leaves, Patch, Path, State, Writer, full_body, path, torn};
pub(crate) use state::{SPLICE, newest, put_path};
pub use value::Value;
pub use view::Conflicts;
pub use void::Void;

/// 16 bytes: a log id, an entity id, a dataset id, a nonce, a chain prefix, a checksum.
pub type Id = [u8; 16];
/// 32 bytes: the hash after a commit, a root.
pub type Hash = [u8; 32];

/// The greatest time of a commit, 9999-12-31T23:59:59.999Z, in milliseconds.
pub const MAX_TIME: u64 = 253_402_300_799_999;

/// A version ref or a commit ref, ordered by log id, then sequence, then prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ref {
    /// Log id.
    pub log: Id,
    /// The version's sequence, or that of the commit's last version.
    pub sequence: u64,
    /// First 16 bytes of the commit's chain.
    pub prefix: Id,
}

/// The first 16 bytes of a hash: of a chain its prefix, of others the id or checksum.
pub fn prefix(hash: &Hash) -> Id {
    std::array::from_fn(|i| hash[i])
}
