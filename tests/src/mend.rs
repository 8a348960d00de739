//! Makes the hashes of altered commits fit again, so that what they say is looked at, and not only
//! that a hash is wrong.
//!
//! Ids that change with an altered commit (its log id, the prefix of its chain) are followed
//! through the commits after it. An honest commit stays as it is.

use std::collections::BTreeMap;

use crate::decoder::{Frame, Header, Held, Id, Replay, Rest, hashes, prefix};
use crate::forge;

/// Mends commits one after another.
pub struct Mender {
    dataset: Id,
    renamed: BTreeMap<Id, Id>,
}

impl Mender {
    /// For commits that shall belong to this dataset.
    pub fn new(dataset: Id) -> Self {
        Self { dataset, renamed: BTreeMap::new() }
    }

    /// The commit with hashes that fit to what `replay` holds; as it is where it cannot even be
    /// split.
    pub fn mend(&mut self, replay: &Replay, commit: &[u8]) -> Vec<u8> {
        let Ok(mut frame) = Frame::split(commit) else { return commit.to_vec() };
        self.mend_place(replay, &mut frame);
        if let Ok(mut header) = Header::read(&frame.header) {
            for named in &mut header.refs {
                named.log = self.renamed.get(&named.log).copied().unwrap_or(named.log);
                named.prefix = self.mend_prefix(replay, named.log, named.sequence, named.prefix);
            }
            frame.header = forge::header(&header);
            self.rename_in(&mut frame.bodies);
            self.mend_root(replay, &mut frame, header);
        }
        forge::join(&frame)
    }

    fn mend_place(&mut self, replay: &Replay, frame: &mut Frame) {
        match &mut frame.genesis {
            Some(bytes) => {
                // level and flags take a byte each wherever it matters
                if let Some(dataset) = bytes.get_mut(2..18) {
                    dataset.copy_from_slice(&self.dataset);
                }
                let log = hashes::log_id(bytes);
                self.renamed.insert(frame.log, log);
                frame.log = log;
                frame.before.prefix = prefix(&hashes::chain_zero(bytes));
            }
            None => {
                frame.log = self.renamed.get(&frame.log).copied().unwrap_or(frame.log);
                let before = frame.before;
                frame.before.prefix =
                    self.mend_prefix(replay, frame.log, before.sequence, before.prefix);
            }
        }
    }

    /// The chain prefix of a commit that is held.
    fn mend_prefix(&mut self, replay: &Replay, log: Id, sequence: u64, prefix: Id) -> Id {
        let named = |held: &&Held| (held.commit.log, held.commit.header.last()) == (log, sequence);
        let Some(held) = replay.commits().iter().find(named) else { return prefix };
        let right = crate::decoder::prefix(&held.chain);
        self.renamed.insert(prefix, right);
        right
    }

    fn rename_in(&self, bytes: &mut [u8]) {
        for at in 0..bytes.len().saturating_sub(15) {
            let id = &mut bytes[at..at + 16];
            if let Some(new) = Id::try_from(&*id).ok().and_then(|old| self.renamed.get(&old)) {
                id.copy_from_slice(new);
            }
        }
    }

    fn mend_root(&self, replay: &Replay, frame: &mut Frame, mut header: Header) {
        let Some(root) = frame.read().ok().and_then(|commit| replay.root_of(&commit).ok()) else {
            return;
        };
        if let Rest::Level1(level1) = &mut header.rest {
            level1.states_root = root;
            frame.header = forge::header(&header);
        }
    }
}
