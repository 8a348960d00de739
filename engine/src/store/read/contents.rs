//! Contents of versions that were read lately.

use std::sync::Arc;

use heirloom_core::fold::{Dot, Stored, inline, read_inline};
use heirloom_core::model::{State, Writer};

use super::cache::Cache;
use crate::store::rows::Directory;

/// A version, and its content as it stands inline in a head.
type Packed = Arc<(Writer, Vec<u8>)>;

/// Contents by the place of their version.
pub(crate) struct Contents {
    open: Cache<Dot, Stored>,
    /// As bytes, which take a quarter of the memory, and a microsecond to read: for a walk over the
    /// whole log, in which each content is needed again by the version after it, whenever that is.
    packed: Option<Cache<Dot, Packed>>,
}

impl Contents {
    pub(crate) fn new(open: usize, packed: Option<usize>) -> Self {
        Self { open: Cache::new(open), packed: packed.map(Cache::keeping) }
    }

    /// The content of the version at a place.
    pub(crate) fn get(&self, dot: &Dot, directory: &Directory) -> Option<Stored> {
        if let Some(known) = self.open.get(dot) {
            return Some(known);
        }
        let known = self.packed.as_ref()?.get(dot)?;
        read_inline(&known.1, &known.0, directory).ok().map(|state| Stored::Live(Arc::new(state)))
    }

    pub(crate) fn insert(&self, own: &Writer, state: Arc<State>) {
        if let Some(packed) = &self.packed {
            let bytes = inline(&state, own);
            let cost = 176 + bytes.len();
            packed.insert(own.dot(), Arc::new((*own, bytes)), cost);
        }
        let cost = state.cost();
        self.open.insert(own.dot(), Stored::Live(state), cost);
    }

    pub(crate) fn remove(&self, dot: &Dot) {
        self.open.remove(dot);
        self.packed.iter().for_each(|packed| packed.remove(dot));
    }

    pub(crate) fn clear(&self) {
        self.open.clear();
        self.packed.iter().for_each(Cache::clear);
    }
}
