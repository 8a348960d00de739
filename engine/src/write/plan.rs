//! What a transaction staged, checked and put in order for the author.

use heirloom_core::error::Invalid;
use heirloom_core::fold::{Head, Lines, Planned};
use heirloom_core::format::value::is_closed;
use heirloom_core::limits;
use heirloom_core::merge::show;
use heirloom_core::model::{CommitRef, EntityId, Line, Sequence};

use super::staged::StagedEntity;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::rules::Proposal;
use crate::store;
use crate::store::content_of;

impl Transaction<'_> {
    /// What to commit, without what changes nothing, after the application's rules were asked.
    pub(crate) fn into_plan(mut self) -> Result<Vec<Planned>> {
        let mut plan = Vec::with_capacity(self.order.len());
        for id in std::mem::take(&mut self.order) {
            let Some(staged) = self.staged.remove(&id) else { continue };
            if staged.changes_something() {
                self.check_indexes(&staged)?;
                self.validate(id, &staged)?;
                plan.push(staged.into_planned(id));
            }
        }
        Ok(plan)
    }

    /// What an index is of must not lead into a value: it would find nothing, and nobody would
    /// know.
    fn check_indexes(&self, staged: &StagedEntity) -> Result<()> {
        let (Some(state), declared) = (&staged.state, &self.engine.store().declared) else {
            return Ok(());
        };
        if declared.is_empty() {
            return Ok(());
        }
        let entity_type = staged.entity_type(&self.view)?;
        let of_type = declared.iter().filter(|d| *d.field.entity_type == *entity_type);
        let nested: Vec<_> = of_type.map(|d| &d.field.path).filter(|p| p.depth() > 1).collect();
        if nested.is_empty() {
            return Ok(());
        }
        for said in show(state).iter().filter(|s| is_closed(&s.entry.value)) {
            if let Some(path) = nested.iter().find(|p| p.is_below(said.path) && **p != said.path) {
                return Err(Invalid::Inside {
                    path: path.to_string(),
                    value: said.path.to_string(),
                }
                .into());
            }
        }
        Ok(())
    }

    fn validate(&self, id: EntityId, staged: &StagedEntity) -> Result<()> {
        let (rules, entity_type) = (&self.engine.inner.rules, staged.entity_type(&self.view)?);
        if !rules.has(&entity_type) {
            return Ok(());
        }
        // what cannot be shown can still be deleted, restored or resolved
        let before = match self.view.entity(id) {
            Err(Error::Absent(_) | Error::PolicyFailed { .. }) => None,
            before => before?.map(|e| self.entity(e)).filter(|e| !e.is_deleted()),
        };
        rules.check(&Proposal {
            entity: id,
            entity_type: (*entity_type).to_owned(),
            kind: staged.kind,
            before: before.map(|e| e.content()),
            after: staged.state.as_ref().map(content_of),
        })
    }
}

impl store::LogWriter {
    /// What the next own commit refers to, as refs and as local places: the frontier without the
    /// own log, and for a foreign parent on the path of none of these the last commit of its
    /// line.
    pub(crate) fn refs(
        &self,
        store: &store::Store,
        own: Line,
        plan: &[Planned],
    ) -> (Vec<CommitRef>, Vec<(Line, Sequence)>) {
        let holds = |line: Line, h: &Head| {
            store.directory.line_at(line, h.writer.reference.sequence) == h.writer.line
        };
        // what cannot be shown is named only where a parent needs it: no peer could take the commit
        let shown = |line: &Line| store.missing.until(*line).is_none();
        let frontier = || self.frontier.iter().copied().filter(|line| *line != own).filter(shown);
        let mut needed: Vec<Line> = Vec::new();
        for parent in plan.iter().flat_map(|p| &p.parents).filter(|h| !holds(own, h)) {
            if !needed.iter().any(|line| holds(*line, parent)) {
                needed.push(
                    frontier().find(|line| holds(*line, parent)).unwrap_or(parent.writer.line),
                );
            }
        }
        let mut logs: Vec<Line> = frontier().filter(|line| !needed.contains(line)).collect();
        // of a frontier wider than a commit may name, later commits name the rest
        logs.truncate((limits::REFS as usize).saturating_sub(needed.len()));
        logs.extend(needed);
        let place = |line: &Line| {
            let (tip, log) = (self.tip(*line)?, store.directory.log_id(*line)?);
            let reference = CommitRef { log, sequence: tip.last, prefix: tip.chain.prefix() };
            Some((reference, (*line, tip.last)))
        };
        logs.iter().filter_map(place).unzip()
    }
}
