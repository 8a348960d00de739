//! Limits of the protocol, each with its reason. A peer that breaks one is cut off.

use std::time::Duration;

/// Protocol versions that this library speaks. 1: the first.
pub(crate) const PROTOCOL: (u8, u8) = (1, 1);
/// Format levels that this library understands (it stores and forwards newer ones).
pub(crate) const LEVEL: (u8, u8) = (1, 1);

/// Bytes of a frame, as it travels and unpacked: a full batch and its lengths.
pub(crate) const FRAME_MAX: usize = (1 << 20) + (64 << 10);
/// Bytes of a frame before the peer has said hello: whoever merely connects gets no more memory
/// than this.
pub(crate) const HELLO_MAX: usize = 16 << 10;
/// What a message may claim while it is decoded: structures in memory are somewhat larger than
/// their bytes.
pub(crate) const DECODE_MAX: usize = 4 * FRAME_MAX;
/// Below this, compression is not worth the call.
pub(crate) const COMPRESS_MIN: usize = 256;

/// Commit bytes in one frame.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// Commits in one frame.
pub(crate) const BATCH_COMMITS: usize = 1_000;
/// Commit bytes in the first frame; each further one may hold twice as much, up to [`BATCH_BYTES`].
/// So a link that breaks soon still gets something across, and a good link is at full size after
/// six frames.
pub(crate) const FIRST_FRAME: usize = 16 << 10;
/// A longer commit always travels in parts.
pub(crate) const WHOLE_MAX: usize = 512 << 10;
/// Bytes of one part.
pub(crate) const PART_MAX: usize = 256 << 10;
/// A commit as it travels is never longer (FORMAT.md, 1.12: genesis, header, bodies, and what
/// surrounds them).
pub(crate) const COMMIT_MAX: u64 = (88 << 20) + 2_048;

/// Commit bytes that may be under way without being durable at the receiver.
pub(crate) const WINDOW: u64 = 4 << 20;
/// The receiver makes what it has durable at this many bytes. Far below the window, so that the
/// sender never runs dry meanwhile, and small enough that a local writer waits little.
pub(crate) const GATHER_BYTES: usize = 1 << 20;
/// It does so at this age, too: a slow link must see acknowledgements.
pub(crate) const GATHER_AGE: Duration = Duration::from_millis(100);

/// Ends in one clock frame.
pub(crate) const CLOCK_FRAME: usize = 16_384;
/// Logs in the answer to a hello: more are sent only when both know that they must be.
pub(crate) const CLOCK_INLINE: usize = 32;
/// Ends in a whole clock: bounds the memory that a peer can claim, at 40 bytes each.
pub(crate) const CLOCK_MAX: usize = 1 << 20;
/// Ends in an acknowledgement; of more, the rest is left out.
pub(crate) const ACK_ENDS: usize = 256;
/// Fields in a hello.
pub(crate) const HELLO_FIELDS: usize = 64;

/// A session without a byte moved for so long is over, unless configured otherwise.
pub(crate) const IDLE: Duration = Duration::from_secs(30);
/// Until the peer's hello is whole: whoever only connects holds a session no longer.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes a second, of both ways, that give back as much waiting: a poor mobile link has several
/// times as many.
pub(crate) const LEAST_SPEED: u64 = 256;

/// Commits that an end asks for again in one session; the next asks for the rest.
pub(crate) const WANT_MAX: usize = 4_096;
/// Those of them in a frame.
pub(crate) const WANT_FRAME: usize = 1_024;
