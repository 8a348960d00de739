//! Bodies that do not verify are asked for again: an end says in its hello that some of its do not,
//! and names them once commits may flow. Who has them whole sends those commits before all others.

use std::collections::VecDeque;

use heirloom_core::model::CommitRef;

use super::message::{Want, WireEnd};
use crate::error::{PeerMisbehaved, Result};
use crate::limits::{WANT_FRAME, WANT_MAX};

/// A fingerprint of what does not verify at an end; nothing where all does.
pub(crate) type Mark = Option<[u8; 8]>;

pub(crate) fn mark(unverified: &[CommitRef]) -> Mark {
    if unverified.is_empty() {
        return None;
    }
    let mut sorted: Vec<&CommitRef> = unverified.iter().collect();
    sorted.sort();
    let mut hasher = blake3::Hasher::new();
    for commit in sorted {
        hasher.update(commit.log.as_bytes());
        hasher.update(&commit.sequence.get().to_be_bytes());
        hasher.update(commit.prefix.as_bytes());
    }
    hasher.finalize().as_bytes().first_chunk().copied()
}

/// Both ends' asking and answering.
pub(crate) struct Wants {
    /// To be sent.
    ours: VecDeque<Want>,
    /// More of the peer's is to come.
    due: bool,
    /// What the peer asked for.
    pub(crate) theirs: VecDeque<CommitRef>,
}

impl Wants {
    /// Who lacks what the other lacks, too, has nothing to ask it.
    pub(crate) fn new((ours, theirs): (Mark, Mark), unverified: &[CommitRef]) -> Self {
        let asks = |one: Mark, other: Mark| one.is_some() && one != other;
        let due = asks(theirs, ours);
        let ours = if asks(ours, theirs) { frames(unverified) } else { VecDeque::new() };
        Self { ours, due, theirs: VecDeque::new() }
    }

    pub(crate) fn next(&mut self) -> Option<Want> {
        self.ours.pop_front()
    }

    /// Whether commits may be sent.
    pub(crate) fn is_known(&self) -> bool {
        !self.due
    }

    pub(crate) fn on_want(&mut self, frame: Want) -> Result<()> {
        self.theirs.extend(frame.commits.iter().map(WireEnd::reference));
        if !self.due || self.theirs.len() > WANT_MAX {
            return Err(PeerMisbehaved::WrongCount.into());
        }
        self.due = frame.more;
        Ok(())
    }
}

/// At least one, since it was announced.
fn frames(unverified: &[CommitRef]) -> VecDeque<Want> {
    let mut out: VecDeque<Want> = unverified
        .chunks(WANT_FRAME)
        .map(|some| Want { more: true, commits: some.iter().map(WireEnd::from).collect() })
        .collect();
    match out.back_mut() {
        Some(last) => last.more = false,
        None => out.push_back(Want { more: false, commits: Vec::new() }),
    }
    out
}
