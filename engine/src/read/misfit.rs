//! A stored entity that does not fit the type that it is read as.

use heirloom_core::fold::Stored;
use heirloom_core::format::serde::{Fault, Step, print_path};
use heirloom_core::merge::show;
use heirloom_core::model::{Path, PathRef, Timestamp, Writer};

use crate::error::{Misfit, Result};
use crate::store::{Seen, View};

impl Misfit {
    pub(crate) fn new(seen: &Seen, fault: &Fault) -> Self {
        let path = fault.path();
        let keys =
            path.iter().map_while(|s| if let Step::Key(k) = s { Some(k.clone()) } else { None });
        Self {
            entity: seen.id,
            entity_type: seen.entity_type.to_string(),
            field: print_path(&path),
            why: fault.why(),
            version: None,
            device: None,
            stamp: None,
            keys: keys.collect(),
        }
    }

    /// With who wrote it, as far as a view of the same entity can tell.
    pub(crate) fn by(mut self, view: &View<'_>, seen: &Seen) -> Self {
        if self.version.is_none()
            && let Ok(Some(writer)) = self.writer(view, seen)
        {
            self.version = Some(writer.reference);
            self.device = Some(view.device(&writer));
            self.stamp = Some(Timestamp::of(writer.stamp));
        }
        self
    }

    fn writer(&self, view: &View<'_>, seen: &Seen) -> Result<Option<Writer>> {
        let path = Path::new(&self.keys);
        let path = path.as_ref();
        let near = |p: PathRef<'_>| !self.keys.is_empty() && (p.is_below(path) || path.is_below(p));
        let mut leaves = seen.shown.leaves();
        leaves.retain(|(p, _)| near(*p));
        let (mut writers, mut heads) = (Vec::new(), Vec::new());
        for reference in &seen.heads {
            let Some(at) = view.version_by(reference)? else { continue };
            heads.push(at.writer);
            let Stored::Live(state) = view.content(&at)? else { continue };
            for said in show(&state) {
                if leaves.iter().any(|(p, v)| *p == said.path.as_ref() && **v == *said.entry.value)
                {
                    writers.push(said.entry.writer);
                }
            }
        }
        let among = if leaves.is_empty() { heads } else { writers };
        Ok(among.into_iter().max_by_key(Writer::key))
    }
}
