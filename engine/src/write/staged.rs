//! What a write makes of an entity before it is a version: its merged heads, changed.

use std::sync::Arc;

use heirloom_core::error::Invalid;
use heirloom_core::fold::{Head, Heads, Planned};
use heirloom_core::format::body::PatchBody;
use heirloom_core::format::value::flatten;
use heirloom_core::merge::{
    apply, check_inside, check_path, replacement, show, without_repetition,
};
use heirloom_core::model::{Content, EntityId, Kind, Patch, Path, State, Writer};

use crate::error::{Error, Result, Table};
use crate::store::View;

/// What shall become of an entity.
#[derive(Clone)]
pub(crate) struct StagedEntity {
    pub(crate) kind: Kind,
    pub(crate) entity_type: Option<Arc<str>>,
    pub(crate) parents: Vec<Head>,
    /// The merge of the live parents: what a patch in the log is a patch of.
    pub(crate) base: Option<State>,
    /// What its policy shows, where that is another than the merge: what the caller's change is a
    /// change of.
    pub(crate) start: Option<State>,
    /// Nothing for a deletion.
    pub(crate) state: Option<State>,
    /// More heads than a version may have parents: then nothing is left out as already said.
    pub(crate) crowded: bool,
    /// To be written though nothing else changes: it joins several heads.
    pub(crate) joins: bool,
}

impl StagedEntity {
    /// Starts from the merge of the parents.
    pub(crate) fn on(kind: Kind, parents: Vec<Head>, base: Option<State>) -> Self {
        Self {
            kind,
            entity_type: None,
            parents,
            state: Some(base.clone().unwrap_or_default()),
            base,
            start: None,
            crowded: false,
            joins: false,
        }
    }

    /// For an import: over heads that an entity had in some past.
    pub(crate) fn over(view: &View<'_>, id: EntityId, parents: Vec<Head>) -> Result<Self> {
        let base = view.merged(id, &parents)?;
        Ok(Self::on(Kind::Update, parents, Some(base)))
    }

    pub(crate) fn creation(entity_type: &str) -> Self {
        Self { entity_type: Some(entity_type.into()), ..Self::on(Kind::Create, Vec::new(), None) }
    }

    pub(crate) fn deletion(parents: Vec<Head>) -> Self {
        Self { state: None, ..Self::on(Kind::Delete, parents, None) }
    }

    pub(crate) fn entity_type(&self, view: &View<'_>) -> Result<Arc<str>> {
        if let Some(t) = &self.entity_type {
            return Ok(t.clone());
        }
        let heads = Heads { list: self.parents.clone(), ..Heads::default() };
        view.type_of(&heads)?
            .ok_or_else(|| Error::corrupt(Table::Types, "?", "an entity without a type"))
    }

    /// Whether no path of a patch leads into a value of what is there.
    pub(crate) fn check_inside(&self, patch: &Patch) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        Ok(check_inside(patch, show(state).iter().map(|s| (s.path, &*s.entry.value)))?)
    }

    /// Applies a patch, without what changes nothing.
    pub(crate) fn patch(&mut self, patch: PatchBody) {
        let Some(state) = &mut self.state else { return };
        let patch = if self.crowded { patch } else { without_repetition(state, patch) };
        *state = apply(state, &patch, Writer::OWN);
    }

    /// The whole content, said explicitly: what already stands alone keeps its writer, the rest is
    /// written anew.
    pub(crate) fn replace(&mut self, leaves: Vec<(Path, Box<[u8]>)>) {
        let Some(state) = &self.state else { return };
        self.patch(replacement(state, leaves));
    }

    /// For an import: several heads are joined even if nothing else changes.
    pub(crate) fn says_something(&self) -> bool {
        self.parents.len() > 1 || self.changes_something()
    }

    pub(crate) fn changes_something(&self) -> bool {
        let start = self.start.as_ref().or(self.base.as_ref());
        self.kind != Kind::Update
            || self.state.as_ref() != start
            || (self.joins && self.parents.len() > 1)
    }

    pub(crate) fn into_planned(self, entity: EntityId) -> Planned {
        Planned {
            entity,
            kind: self.kind,
            entity_type: self.entity_type,
            parents: self.parents,
            base: self.base,
            state: self.state,
        }
    }
}

/// Leaves of a patch; what one version sets must fit together.
pub(crate) fn patch_body(patch: &Patch) -> Result<PatchBody> {
    let mut sets = Vec::with_capacity(patch.sets.len());
    for (path, value) in &patch.sets {
        check_path(path)?;
        flatten(path.clone(), value, &mut sets)?;
    }
    let mut unsets = patch.unsets.clone();
    for path in &unsets {
        check_path(path)?;
    }
    unsets.sort();
    unsets.dedup();
    sets.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(w) = sets.windows(2).find(|w| w[1].0.is_below(&w[0].0)) {
        let (above, below) = (&w[0].0, &w[1].0);
        return Err(Invalid::SetTwice { above: above.to_string(), below: below.to_string() }.into());
    }
    Ok(PatchBody { unsets, sets: sets.into_iter().map(|(p, v)| (p, v.into())).collect() })
}

/// The leaves of a whole content.
pub(crate) fn content_leaves(content: &Content) -> Result<Vec<(Path, Box<[u8]>)>> {
    Ok(patch_body(&Patch::new().set_all(content.clone()))?.sets)
}
