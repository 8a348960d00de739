//! Local numbers for log ids and entity types: short in records, never hashed, never sent.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::format::genesis::Genesis;
use crate::model::{CommitRef, LogId};

/// A log as it is known here.
#[derive(Debug)]
pub(crate) struct LogInfo {
    pub(crate) id: LogId,
    pub(crate) genesis: Vec<u8>,
    pub(crate) device: String,
    /// The commit of another copy of the file that made its writer leave the log before.
    pub(crate) predecessor: Option<CommitRef>,
}

/// Only grows; a number, once given, is for good. Readers with an older snapshot merely know numbers that they do not meet.
#[derive(Default)]
pub(crate) struct Directory {
    logs: RwLock<Logs>,
    types: RwLock<Types>,
}

#[derive(Default)]
struct Logs {
    by_ordinal: Vec<Arc<LogInfo>>,
    by_id: HashMap<LogId, u32>,
    /// The one that never leaves this store.
    local: Option<u32>,
}

#[derive(Default)]
struct Types {
    by_ordinal: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u32>,
}

impl Directory {
    pub(crate) fn log(&self, ordinal: u32) -> Option<Arc<LogInfo>> {
        self.logs.read().by_ordinal.get(ordinal as usize).cloned()
    }

    pub(crate) fn log_id(&self, ordinal: u32) -> Option<LogId> {
        self.logs.read().by_ordinal.get(ordinal as usize).map(|l| l.id)
    }

    pub(crate) fn ordinal(&self, log: LogId) -> Option<u32> {
        self.logs.read().by_id.get(&log).copied()
    }

    /// The log of what never leaves this store, if there is one.
    pub(crate) fn local(&self) -> Option<u32> {
        self.logs.read().local
    }

    pub(crate) fn is_local(&self, ordinal: u32) -> bool {
        self.local() == Some(ordinal)
    }

    pub(crate) fn set_local(&self, ordinal: u32) {
        self.logs.write().local = Some(ordinal);
    }

    /// The number of a log that travels.
    pub(crate) fn shared(&self, log: LogId) -> Option<u32> {
        let logs = self.logs.read();
        logs.by_id.get(&log).copied().filter(|o| logs.local != Some(*o))
    }

    /// The numbers of all logs that travel: all that a peer may hear of.
    pub(crate) fn all_shared(&self) -> impl Iterator<Item = u32> + use<> {
        let (count, local) = (self.log_count(), self.local());
        (0..count).filter(move |o| Some(*o) != local)
    }

    pub(crate) fn log_count(&self) -> u32 {
        self.logs.read().by_ordinal.len() as u32
    }

    pub(crate) fn add_log(&self, id: LogId, bytes: &[u8], genesis: &Genesis) -> u32 {
        let mut logs = self.logs.write();
        let ordinal = logs.by_ordinal.len() as u32;
        let device = genesis.device_id(id);
        logs.by_ordinal.push(Arc::new(LogInfo {
            id,
            genesis: bytes.to_vec(),
            device,
            predecessor: genesis.predecessor,
        }));
        logs.by_id.insert(id, ordinal);
        ordinal
    }

    pub(crate) fn entity_type(&self, ordinal: u32) -> Option<Arc<str>> {
        self.types.read().by_ordinal.get(ordinal as usize).cloned()
    }

    pub(crate) fn type_ordinal(&self, name: &str) -> Option<u32> {
        self.types.read().by_name.get(name).copied()
    }

    pub(crate) fn type_count(&self) -> u32 {
        self.types.read().by_ordinal.len() as u32
    }

    pub(crate) fn add_type(&self, name: &str) -> u32 {
        if let Some(known) = self.type_ordinal(name) {
            return known;
        }
        let mut types = self.types.write();
        let ordinal = types.by_ordinal.len() as u32;
        let name: Arc<str> = name.into();
        types.by_ordinal.push(name.clone());
        types.by_name.insert(name, ordinal);
        ordinal
    }
}
