//! How the two entity types are shown: by name for the engine, and by what the name means for the
//! ledger.

use std::collections::{BTreeMap, BTreeSet};

use heirloom::{Builder, Conflict, Content, Patch, Policy, Resolution, Value, VersionRef};

use super::naive::{Leaves, Path, Writer};
use crate::random::Random;

/// The entity types.
pub(crate) const TYPES: [&str; 2] = ["light", "room"];

/// A policy, as the ledger understands it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    Auto,
    MergeFields,
    DeleteWins,
    UpdateWins,
    LastWriteWins,
    FirstWriteWins,
    HigherVersionWins,
    Manual,
    /// [`whim`].
    Custom,
}

impl Rule {
    const ALL: [Rule; 9] = [
        Rule::Auto,
        Rule::MergeFields,
        Rule::DeleteWins,
        Rule::UpdateWins,
        Rule::LastWriteWins,
        Rule::FirstWriteWins,
        Rule::HigherVersionWins,
        Rule::Manual,
        Rule::Custom,
    ];

    fn name(self) -> &'static str {
        match self {
            Rule::Auto => "auto",
            Rule::MergeFields => "merge_fields",
            Rule::DeleteWins => "delete_wins",
            Rule::UpdateWins => "update_wins",
            Rule::LastWriteWins => "last_write_wins",
            Rule::FirstWriteWins => "first_write_wins",
            Rule::HigherVersionWins => "higher_version_wins",
            Rule::Manual => "manual",
            Rule::Custom => "whim",
        }
    }

    /// Whether it looks at each field, so that a write decides only what it touches.
    pub(crate) fn is_by_field(self) -> bool {
        use Rule::*;
        matches!(self, Auto | MergeFields | DeleteWins | UpdateWins | Manual)
    }

    /// One that shows something else of most conflicts.
    pub(crate) fn another(self) -> Rule {
        match self {
            Rule::LastWriteWins | Rule::HigherVersionWins => Rule::FirstWriteWins,
            _ => Rule::LastWriteWins,
        }
    }
}

/// The policies of all nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules(pub(crate) [Rule; 2]);

impl Rules {
    /// `auto` as often as three others, since most types will be under it.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut draw = || if random.percent(25) { Rule::Auto } else { random.pick(&Rule::ALL) };
        Self([draw(), draw()])
    }

    pub(crate) fn of(&self, entity_type: &str) -> Rule {
        TYPES
            .iter()
            .zip(self.0)
            .find(|(t, _)| **t == entity_type)
            .map_or(Rule::Auto, |(_, rule)| rule)
    }

    pub(crate) fn configure(&self, builder: Builder) -> Builder {
        let ask = |conflict: &Conflict| Resolution::from(&whim(&Asked::from(conflict)));
        let builder = builder.register_policy(Policy::custom(Rule::Custom.name(), 1, ask));
        TYPES.iter().zip(self.0).fold(builder, |b, (t, rule)| b.policy_named(*t, rule.name()))
    }
}

/// How a conflict is settled: by a person, or by the custom policy.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    Suggestion,
    Patch { unsets: Vec<Path>, sets: Vec<(Path, Value)> },
    Content(Content),
    Head(VersionRef),
    Delete,
}

impl From<&Choice> for Resolution {
    fn from(choice: &Choice) -> Self {
        match choice {
            Choice::Suggestion => Resolution::Suggestion,
            Choice::Patch { unsets, sets } => patch(unsets, sets).into(),
            Choice::Content(content) => Resolution::Content(content.clone()),
            Choice::Head(version) => Resolution::Head(*version),
            Choice::Delete => Resolution::Delete,
        }
    }
}

pub(crate) fn patch(unsets: &[Path], sets: &[(Path, Value)]) -> Patch {
    let unset = unsets.iter().fold(Patch::new(), |patch, path| patch.unset_at(path));
    sets.iter().fold(unset, |patch, (path, value)| patch.set_at(path, value.clone()))
}

/// What the custom policy looks at, in no order that could matter.
pub(crate) struct Asked {
    pub(crate) heads: BTreeSet<VersionRef>,
    pub(crate) fields: BTreeMap<Path, BTreeMap<Writer, Value>>,
}

impl From<&Conflict> for Asked {
    fn from(conflict: &Conflict) -> Self {
        let field = |f: &heirloom::FieldConflict| {
            let sides = f.sides.iter().map(|s| ((s.stamp, s.version), s.value.clone()));
            (f.path.clone(), sides.collect())
        };
        Self {
            heads: conflict.seen().into_iter().collect(),
            fields: conflict.fields.iter().map(field).collect(),
        }
    }
}

/// The custom policy: pure, and else of no sense but to give every answer that there is.
pub(crate) fn whim(asked: &Asked) -> Choice {
    let oldest =
        |sides: &BTreeMap<Writer, Value>| sides.values().next().cloned().unwrap_or_default();
    let sets = asked.fields.iter().map(|(path, sides)| (path.clone(), oldest(sides))).collect();
    match asked.heads.iter().map(|h| h.sequence.get()).sum::<u64>() % 8 {
        0 => Choice::Suggestion,
        1 => Choice::Delete,
        2 => asked.heads.first().map_or(Choice::Suggestion, |h| Choice::Head(*h)),
        3 => Choice::Content(Content::new().with("heads", asked.heads.len() as i64)),
        4 => Choice::Patch { unsets: vec![vec!["b".to_owned()]], sets },
        _ => Choice::Patch { unsets: Vec::new(), sets },
    }
}

/// Leaves after a patch, of which later sets take the place of earlier ones that they clash with.
pub(crate) fn patched(mut leaves: Leaves, unsets: &[Path], sets: &[(Path, Value)]) -> Leaves {
    leaves.retain(|p, _| !unsets.iter().any(|u| p.starts_with(u)));
    for (path, value) in sets {
        super::naive::leaves_at(path.clone(), value, &mut |path, value| {
            leaves.retain(|p, _| !super::naive::related(p, &path));
            leaves.insert(path, value);
        });
    }
    leaves
}
