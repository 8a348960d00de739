//! The application's own rules for what is written here (R8).

use std::collections::BTreeMap;
use std::sync::Arc;

use heirloom_core::model::{Content, EntityId, Kind};

use crate::error::{Error, Result};

/// What a write would do to an entity, for [`Builder::validate`](crate::Builder::validate) to
/// judge.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Proposal {
    /// The entity.
    pub entity: EntityId,
    /// Its type.
    pub entity_type: String,
    /// What the write does.
    pub kind: Kind,
    /// What is shown of it now; nothing where it is unknown, deleted, or cannot be shown (its
    /// content is not here, or its policy failed).
    pub before: Option<Content>,
    /// What would be shown of it; nothing where the write deletes it.
    pub after: Option<Content>,
}

type Rule = Arc<dyn Fn(&Proposal) -> Result<(), String> + Send + Sync>;

/// Rules by entity type.
#[derive(Clone, Default)]
pub(crate) struct Rules(BTreeMap<String, Vec<Rule>>);

impl Rules {
    pub(crate) fn add(
        &mut self,
        entity_type: &str,
        rule: impl Fn(&Proposal) -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.0.entry(entity_type.to_owned()).or_default().push(Arc::new(rule));
    }

    pub(crate) fn has(&self, entity_type: &str) -> bool {
        self.0.contains_key(entity_type)
    }

    pub(crate) fn check(&self, proposal: &Proposal) -> Result<()> {
        let mut rules = self.0.get(&proposal.entity_type).into_iter().flatten();
        rules.try_for_each(|rule| rule(proposal)).map_err(|why| Error::Rejected {
            entity: proposal.entity,
            entity_type: proposal.entity_type.clone(),
            why,
        })
    }
}
