//! The report of a conflict: what a node tells of it, and what the ledger says that there is to
//! tell.

use std::collections::BTreeSet;

use heirloom::{ConflictKind, Snapshot, Timestamp, Value, VersionRef};

use super::ledger::{Known, Ledger};
use super::naive::{Leaves, Path, State, leaves};

/// What is open of an entity, all of it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Report {
    pub(crate) entity_type: String,
    pub(crate) kind: ConflictKind,
    pub(crate) heads: Vec<Head>,
    pub(crate) fields: Vec<(Path, Vec<Side>)>,
    pub(crate) suggestion: Option<Leaves>,
}

/// Its version, device, stamp, generation, content.
pub(crate) type Head = (VersionRef, String, Timestamp, u64, Option<Leaves>);

/// Who said what, when.
pub(crate) type Side = (VersionRef, String, Timestamp, Value);

impl From<&heirloom::Conflict> for Report {
    fn from(told: &heirloom::Conflict) -> Self {
        let heads = told.heads.iter();
        let sides = |f: &heirloom::FieldConflict| {
            f.sides
                .iter()
                .map(|s| (s.version, device_of(&s.device), s.stamp, s.value.clone()))
                .collect()
        };
        Self {
            entity_type: told.entity_type.clone(),
            kind: told.kind,
            heads: heads
                .map(|h| {
                    (
                        h.version,
                        device_of(&h.device),
                        h.stamp,
                        h.generation,
                        h.content.as_ref().map(leaves),
                    )
                })
                .collect(),
            fields: told.fields.iter().map(|f| (f.path.clone(), sides(f))).collect(),
            suggestion: told.suggestion.as_ref().map(leaves),
        }
    }
}

impl Report {
    /// What the ledger says of these heads; nothing if nothing is open.
    pub(crate) fn of(ledger: &Ledger, heads: &BTreeSet<VersionRef>) -> Option<Report> {
        let shown = ledger.view(heads);
        if heads.is_empty() || (shown.conflicts.is_empty() && !shown.deletion) {
            return None;
        }
        let mut known: Vec<&Known> = heads.iter().filter_map(|h| ledger.get(h)).collect();
        known.sort_by_key(|k| k.writer());
        let apart = |a: &&Known| known.iter().any(|b| a.seen.is_disjoint(&b.seen));
        let side = |(version, value): (VersionRef, Value)| {
            let by = &ledger.get(&version)?.version;
            Some((version, device_of(by.device()), by.stamp(), value))
        };
        let head = |k: &&Known| {
            let v = &k.version;
            let content = k.state.as_ref().map(State::shown);
            (v.reference(), device_of(v.device()), v.stamp(), k.generation, content)
        };
        let has_tombstone = known.iter().any(|k| k.state.is_none());
        Some(Report {
            entity_type: shown.entity_type.unwrap_or_default(),
            kind: match shown.deletion {
                true => ConflictKind::DeleteAgainstUpdate,
                false if known.iter().any(apart) => ConflictKind::TwoCreations,
                false => ConflictKind::ConcurrentModification,
            },
            heads: known.iter().map(head).collect(),
            fields: shown
                .conflicts
                .into_iter()
                .map(|(p, sides)| (p, sides.into_iter().filter_map(side).collect()))
                .collect(),
            suggestion: (!has_tombstone).then(|| ledger.merge(heads).0.shown()),
        })
    }

    /// What a node tells of an entity.
    pub(crate) fn at(
        snapshot: &Snapshot,
        id: heirloom::EntityId,
    ) -> heirloom::Result<Option<Report>> {
        Ok(snapshot.conflict(id)?.as_ref().map(Report::from))
    }
}

/// What a device is called, whoever knows of a fork: on a branch digits follow the label and those
/// of the log.
pub(crate) fn device_of(id: &str) -> String {
    id.split('-').take(3).collect::<Vec<_>>().join("-")
}
