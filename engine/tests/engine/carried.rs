//! Commits carried from one store to another, without a session.

use heirloom::{Engine, Lsn};

/// All commits that travel, in order of arrival.
pub(crate) fn commits(engine: &Engine) -> Vec<Vec<u8>> {
    let all = &|_, _, _| true;
    let batch = engine.replication().commits(Lsn::START, Lsn::END, all, usize::MAX).unwrap();
    batch.commits.into_iter().map(|commit| commit.bytes).collect()
}

/// Carries all that `from` has to `to`.
pub(crate) fn carry(from: &Engine, to: &Engine) {
    let commits = commits(from);
    let commits: Vec<&[u8]> = commits.iter().map(|bytes| &bytes[..]).collect();
    to.replication().ingest(&commits).unwrap();
}
