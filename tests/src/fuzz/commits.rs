//! Any bytes as a pack of commits, as they are and with hashes that fit: the decoders of genesis,
//! header, bodies, values and patches, and all rules about what is void.

use crate::decoder::{Id, hashes, primitives};
use crate::mend::Mender;
use crate::twins::Twins;

/// An engine and the independent decoder take or refuse each commit alike, and hold the same in the
/// end.
pub fn run(pack: &[u8]) {
    judge(pack, hashes::dataset_id("golden"));
}

/// The same for commits of any dataset.
pub fn judge(pack: &[u8], dataset: Id) {
    let (mut twins, mut mender) = (Twins::new(dataset), Mender::new(dataset));
    for commit in unpack(pack) {
        let mended = mender.mend(&twins.replay, commit);
        twins.offer(commit).ok();
        twins.offer(&mended).ok();
    }
    twins.agree();
}

/// Commits one after another, each with its length before it.
pub fn pack(commits: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for commit in commits {
        primitives::put_bytes(&mut out, commit);
    }
    out
}

/// The commits in a pack; what is left over counts as one.
pub fn unpack(bytes: &[u8]) -> Vec<&[u8]> {
    let mut r = primitives::Reader::new(bytes);
    let mut out = Vec::new();
    while !r.rest().is_empty() {
        let rest = r.rest();
        let Ok(commit) = r.bytes() else {
            out.push(rest);
            break;
        };
        out.push(commit);
    }
    out
}
