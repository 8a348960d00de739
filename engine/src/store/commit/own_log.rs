//! The logs that this store extends: its own, and the one of what never leaves it.

use std::sync::Arc;

use heirloom_core::fold::Lines;
use heirloom_core::format::genesis::Genesis;
use heirloom_core::format::hash::{another_nonce, log_id};
use heirloom_core::limits;
use heirloom_core::model::{CommitRef, DatasetId, Line, LogId, Sequence};

use super::log_writer::LogWriter;
use super::store::Store;
use crate::error::{Error, Result, Table};
use crate::store::rows::{LOCAL, OWN, PREDECESSOR, predecessor_row, varint};

/// How the next own log will call itself.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) label: String,
    pub(crate) managed: bool,
    pub(crate) nonce: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
}

impl Store {
    /// Goes on under a fresh log. Returns the one that it left.
    pub(crate) fn leave_own_log(&self, writer: &mut LogWriter) -> Option<LogId> {
        let own = writer.known.own?;
        let info = self.directory.log(own)?;
        let tip = writer.tip(own);
        let tip =
            tip.map(|t| CommitRef { log: info.id, sequence: t.last, prefix: t.chain.prefix() });
        writer.leave_log(tip.or(info.predecessor));
        Some(info.id)
    }
}

impl LogWriter {
    /// The log that this store extends; drawn with its first commit.
    pub(crate) fn own_log(
        &mut self,
        store: &Store,
        dataset: DatasetId,
        identity: &Identity,
    ) -> (Line, LogId) {
        self.leave_newer_log(store);
        // where a commit of it is damaged no peer would take what follows; and of a damaged end
        // nobody knows where it was
        if self.known.own.is_some_and(|own| store.missing.until(own).is_some()) {
            store.leave_own_log(self);
        }
        if let Some((line, log)) =
            self.known.own.and_then(|o| Some((o, store.directory.log_id(o)?)))
        {
            return (line, log);
        }
        let genesis = Genesis {
            level: limits::LEVEL,
            dataset,
            nonce: [0; 16],
            managed: identity.managed,
            label: identity.label.clone(),
            public_key: None,
            predecessor: self.known.predecessor,
        };
        let (line, log) = fresh_log(store, identity, genesis);
        self.know_log(Some(line), None);
        self.set_meta(OWN, Some(varint(u64::from(line.get()))));
        self.set_meta(PREDECESSOR, None);
        (line, log)
    }

    /// The log of what never leaves this store; drawn with its first commit. It is of no dataset,
    /// so that no peer would take it.
    ///
    /// [`Error::Corrupt`] where its end is damaged: no peer has it.
    pub(crate) fn local_log(
        &mut self,
        store: &Store,
        identity: &Identity,
    ) -> Result<(Line, LogId)> {
        if let Some((line, log)) =
            store.directory.local().and_then(|o| Some((o, store.directory.log_id(o)?)))
        {
            if store
                .missing
                .until(line)
                .is_some_and(|until| self.tip(line).map_or(Sequence::START, |t| t.last) == until)
            {
                return Err(Error::corrupt(
                    Table::Log,
                    "the end of what stays here",
                    "the record is damaged",
                ));
            }
            return Ok((line, log));
        }
        let genesis = Genesis {
            level: limits::LEVEL,
            dataset: DatasetId::NONE,
            nonce: [0; 16],
            managed: false,
            label: LOCAL.to_owned(),
            public_key: None,
            predecessor: None,
        };
        let (line, log) = fresh_log(store, identity, genesis);
        store.directory.set_local(line);
        self.set_meta(LOCAL, Some(varint(u64::from(line.get()))));
        Ok((line, log))
    }

    /// As if none had been drawn.
    pub(crate) fn forget_log(&mut self) {
        self.know_log(None, None);
        self.set_meta(OWN, None);
    }

    fn know_log(&mut self, own: Option<Line>, predecessor: Option<CommitRef>) {
        self.know(|known| (known.own, known.predecessor) = (own, predecessor));
    }

    /// A newer version of this library has written here: its commits stay, but nothing can be built
    /// on a state that cannot be read.
    fn leave_newer_log(&mut self, store: &Store) {
        let own = self.known.own.and_then(|o| Some((store.directory.log_id(o)?, self.tip(o)?)));
        if let Some((log, tip)) = own.filter(|(_, tip)| tip.is_newer) {
            self.leave_log(Some(CommitRef { log, sequence: tip.last, prefix: tip.chain.prefix() }));
        }
    }

    /// Goes on under a fresh log, whose wall starts from the physical clock (I5). `tip`: the last
    /// commit of the one before that was written here.
    pub(crate) fn leave_log(&mut self, tip: Option<CommitRef>) {
        self.know_log(None, tip);
        self.wall = 0;
        self.set_meta(OWN, None);
        self.set_meta(PREDECESSOR, tip.map(|tip| predecessor_row(&tip)));
    }
}

/// A machine that was set back as a whole may draw once more what a log that is here was drawn
/// from: that one is not fresh.
fn fresh_log(store: &Store, identity: &Identity, mut genesis: Genesis) -> (Line, LogId) {
    genesis.nonce = (identity.nonce)();
    loop {
        let bytes = genesis.encode();
        let log = log_id(&bytes);
        if store.directory.first_line(log).is_none() {
            return (store.directory.add_log(log, &bytes, &genesis), log);
        }
        genesis.nonce = another_nonce(&genesis.nonce);
    }
}
