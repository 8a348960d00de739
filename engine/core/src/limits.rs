//! Limits of format level 1 (FORMAT.md, 1.12): what an author may write, everyone must be able to
//! store.

/// The format level that this library writes.
pub const LEVEL: u64 = 1;
/// Versions in a commit.
pub const VERSIONS: u64 = 65_536;
/// Parents of a version.
pub const PARENTS: u64 = 4_096;
/// Refs of a commit.
pub const REFS: u64 = 65_536;
/// Bytes of a version's content, fully encoded.
pub const FULL_BODY: usize = 16 << 20;
/// Bytes of all contents of a commit, fully encoded.
pub const FULL_BODIES: usize = 64 << 20;
/// Bytes of the bodies of a commit as they are encoded.
pub const BODIES: usize = 72 << 20;
/// Bytes of a header.
pub const HEADER: usize = 16 << 20;
/// Bytes of a genesis.
pub const GENESIS: usize = 1_024;
/// Keys of a path, and arrays, maps and variants around a value that stands there, together.
pub const DEPTH: usize = 64;
/// Bytes of a key of a map, or of the name of a variant.
pub const KEY: usize = 1_024;
/// Bytes of an entity type.
pub const TYPE: usize = 255;
/// Bytes of a commit's actor.
pub const ACTOR: usize = 255;
/// Bytes of a commit's message.
pub const MESSAGE: usize = 4_096;
/// Fewer patches in a row than so many, each shorter than the full body, are always worth it.
pub const PATCHES: u64 = 32;
/// So many in a row are never: a version in full comes at least every so many generations.
pub const FULL_EVERY: u64 = 256;
/// Milliseconds that another's clock may be ahead of ours: one that is further moves no wall, and
/// is told (PROTOCOL.md, 2.7).
pub const CLOCK_SKEW: u64 = 5 * 60 * 1_000;
/// Bytes of a commit as it travels: none is longer.
pub const COMMIT: usize = HEADER + BODIES + GENESIS + 1_024;
