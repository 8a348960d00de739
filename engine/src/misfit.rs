//! A stored entity that does not fit the type that it is read as.

use std::fmt;

use crate::error::{Error, Result};
use crate::merge::show;
use crate::model::{
    EntityId, Fault, Path, PathRef, Step, Timestamp, VersionRef, Writer, print_path,
};
use crate::store::{Content, Seen, View};

/// Which field of an entity does not fit a type, which version wrote it, and who. The entity is as
/// it was: read it as [`Content`](crate::Content), or write it anew from a version that fits, with
/// [`Collection::update_from`](crate::Collection::update_from) or
/// [`Collection::restore`](crate::Collection::restore).
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Misfit {
    /// The entity.
    pub entity: EntityId,
    /// Its type.
    pub entity_type: String,
    /// The field, as people write its path: `rooms[2].lamp`. Empty where it is no single one.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
    /// The version that wrote it; where the field is missing, the last one that wrote the entity.
    /// Nothing where that is this very transaction, or cannot be told any more.
    pub version: Option<VersionRef>,
    /// The device that wrote that version.
    pub device: Option<String>,
    /// When it did.
    pub stamp: Option<Timestamp>,
    /// The keys of the field, as far as they lead through maps.
    keys: Vec<String>,
}

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
            let Content::Live(state) = view.content(&at)? else { continue };
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

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} does not fit: ", self.entity_type, self.entity)?;
        if !self.field.is_empty() {
            write!(f, "field {}: ", self.field)?;
        }
        f.write_str(&self.why)?;
        if let (Some(version), Some(device)) = (&self.version, &self.device) {
            write!(f, " (version {version} by {device})")?;
        }
        f.write_str("; read it as Content, or write it anew with update_from or restore")
    }
}

impl From<Misfit> for Error {
    fn from(misfit: Misfit) -> Self {
        Error::Misfit(Box::new(misfit))
    }
}
