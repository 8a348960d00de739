//! What is shown of some heads under the policy of their type, and what a write on them starts
//! from. A function of heads and policy alone (R19).

use std::cmp::Reverse;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use heirloom_core::fold::{Head, Heads, Stored, in_place};
use heirloom_core::format::body::PatchBody;
use heirloom_core::format::value::{EMPTY_MAP, decode_all, flatten_content};
use heirloom_core::merge::{
    Conflict, ConflictHead, ConflictKind, Conflicts, CustomPolicy, FieldConflict, Policy,
    Resolution, Side, Whole, apply, apply_decision, conflicts, replacement, show, unflatten,
    without_repetition, written_inside,
};
use heirloom_core::model::{Content, EntityId, Entry, Path, State, Timestamp, Value, Writer};

use super::seen::{Seen, Shown};
use super::view::View;
use crate::error::{Error, Result, Table};

/// What a policy shows and a write starts from: a state, or nothing where it shows a deletion. What
/// the state says that no head says is the author's own.
pub(crate) type Base = Option<State>;

impl View<'_> {
    /// What is shown of some heads; nothing where there are none. [`Error::Absent`] where a content
    /// that it takes is not here.
    pub(crate) fn show(&self, id: EntityId, heads: &Heads) -> Result<Option<Seen>> {
        let Some(entity_type) = self.type_of(heads)? else { return Ok(None) };
        let mut seen = Seen {
            id,
            entity_type,
            heads: heads.list.iter().map(|h| h.writer.reference).collect(),
            shown: Shown::Deleted,
            conflicts: Vec::new(),
            deletion_conflict: false,
        };
        let tombstones = heads.list.iter().filter(|h| h.is_tombstone()).count();
        seen.deletion_conflict = tombstones > 0 && tombstones < heads.list.len();
        if tombstones == heads.list.len() {
            return Ok(Some(seen));
        }
        if let Some((bytes, places)) = in_place(heads) {
            seen.shown = Shown::InPlace(bytes, places);
            return Ok(Some(seen));
        }
        let policy = self.policies.of(&seen.entity_type);
        let merged = self.merged(id, &heads.list);
        if let Ok(merged) = &merged {
            let open = conflicts(merged, heads.list.len() - tombstones, tombstones);
            seen.conflicts = open.paths.iter().map(Path::to_string).collect();
        }
        if let Some(state) = self.shown_state(id, policy, &heads.list, merged)? {
            seen.shown = Shown::Leaves(shown_leaves(&state));
        }
        Ok(Some(seen))
    }

    /// The type of the entity that these are heads of; nothing where there are none.
    pub(crate) fn type_of(&self, heads: &Heads) -> Result<Option<Arc<str>>> {
        let Some(line) = heads.type_number() else { return Ok(None) };
        self.entity_type(line).map(Some)
    }

    /// What a policy shows of heads, of which there is at least one. `merged`: their merge; where a
    /// content is not here it may do without.
    pub(crate) fn shown_state(
        &self,
        id: EntityId,
        policy: &Policy,
        heads: &[Head],
        merged: Result<State>,
    ) -> Result<Base> {
        let merged = match merged {
            Err(e) if !matches!(e, Error::Absent(_)) => return Err(e),
            merged => merged,
        };
        if let Some(whole) = policy.whole() {
            let Some(chosen) = choose(whole, heads) else { return Ok(None) };
            return match self.head_content(id, chosen)? {
                Stored::Live(state) => Ok(Some(State::clone(&state))),
                Stored::Tombstone => Ok(None),
                Stored::Absent => Err(Error::Absent(chosen.writer.reference)),
            };
        }
        let tombstones = heads.iter().filter(|h| h.is_tombstone()).count();
        let live = heads.len() - tombstones;
        let custom = if let Policy::Custom(custom) = policy { Some(custom) } else { None };
        // an absent content beside a deletion that wins changes nothing
        if live == 0 || (tombstones > 0 && custom.is_none() && *policy != Policy::UpdateWins) {
            return Ok(None);
        }
        let merged = merged?;
        let Some(custom) = custom else { return Ok(Some(merged)) };
        let open = conflicts(&merged, live, tombstones);
        if open.is_empty() {
            return Ok(Some(merged));
        }
        let conflict = self.conflict_of(id, heads, &merged, &open)?;
        let resolution = ask(custom, &conflict, self.policies.ask_twice)?;
        let unusable =
            |e: Error| failed(custom, &conflict, &format!("its answer is of no use: {e}"));
        self.resolved(id, heads, &merged, &conflict, resolution).map_err(unusable)
    }

    /// What a resolution makes of a conflict as a whole; nothing for a deletion.
    pub(crate) fn resolved(
        &self,
        id: EntityId,
        heads: &[Head],
        merged: &State,
        conflict: &Conflict,
        resolution: Resolution,
    ) -> Result<Base> {
        let content = match resolution {
            Resolution::Suggestion => {
                return Ok(conflict.suggestion.is_some().then(|| merged.clone()));
            }
            Resolution::Delete => return Ok(None),
            Resolution::Content(content) => content,
            Resolution::Patch(patch) => apply_decision(&patch, &content_of(merged))?,
            Resolution::Head(version) => {
                let head = heads.iter().find(|h| h.writer.reference == version);
                let head = head.ok_or_else(|| Error::NotAHead { entity: id, version })?;
                match self.head_content(id, head)? {
                    Stored::Live(state) => content_of(&state),
                    Stored::Tombstone => return Ok(None),
                    Stored::Absent => return Err(Error::Absent(version)),
                }
            }
        };
        let leaves = flatten_content(&content)?.into_iter().map(|(p, v)| (p, v.into())).collect();
        Ok(Some(replaced(merged, leaves)))
    }

    /// The report of what is open between heads, `merged` being their merge.
    pub(crate) fn conflict_of(
        &self,
        id: EntityId,
        heads: &[Head],
        merged: &State,
        open: &Conflicts,
    ) -> Result<Conflict> {
        let as_heads = Heads { list: heads.to_vec(), unsettled: true, ..Heads::default() };
        let mut list = Vec::with_capacity(heads.len());
        for head in heads {
            let content = match self.head_content(id, head)? {
                Stored::Live(state) => Some(content_of(&state)),
                Stored::Tombstone => None,
                Stored::Absent => return Err(Error::Absent(head.writer.reference)),
            };
            list.push(ConflictHead::new(
                head.writer.reference,
                self.device(&head.writer),
                Timestamp::of(head.writer.stamp),
                head.derived.generation,
                content,
            ));
        }
        list.sort_by_key(|h| (h.stamp, h.version));
        let any_tombstone = heads.iter().any(Head::is_tombstone);
        let kind = match open.deletion {
            true => ConflictKind::DeleteAgainstUpdate,
            false if self.any_apart(heads)? => ConflictKind::TwoCreations,
            false => ConflictKind::ConcurrentModification,
        };
        let entity_type = self.type_of(&as_heads)?.as_deref().unwrap_or_default().to_owned();
        let fields = open.paths.iter().map(|p| self.field(id, merged, open, p));
        let fields = fields.collect::<Result<_>>()?;
        let suggestion = (!any_tombstone).then(|| content_of(merged));
        Ok(Conflict::new(id, entity_type, kind, list, fields, suggestion))
    }

    fn field(
        &self,
        id: EntityId,
        state: &State,
        open: &Conflicts,
        path: &Path,
    ) -> Result<FieldConflict> {
        let at = state.0.partition_point(|l| l.path < *path);
        // a map that holds something is told by what it holds
        let holds = state.0.get(at + 1).is_some_and(|l| l.path.is_below(path));
        let entries = state.get(path).into_iter().flat_map(|l| &l.entries);
        let mut entries: Vec<_> = entries.filter(|e| !holds || *e.value != *EMPTY_MAP).collect();
        entries.sort_by_key(|e| Reverse(e.writer.key()));
        let mut sides =
            entries.into_iter().map(|e| self.side(id, e)).collect::<Result<Vec<_>>>()?;
        let removed = open.torn.top_of(path).is_some();
        if removed {
            sides.extend(
                written_inside(state, path).into_iter().map(|(w, value)| self.side_of(&w, value)),
            );
            sides.sort_by_key(|s| Reverse((s.stamp, s.version)));
        }
        let path = path.as_ref().keys().map(str::to_owned).collect();
        Ok(FieldConflict::new(path, sides, removed))
    }

    /// A value with its writer.
    pub(crate) fn side(&self, id: EntityId, entry: &Entry) -> Result<Side> {
        let value = decode_all(&entry.value).map_err(|e| Error::corrupt(Table::Heads, id, e))?;
        Ok(self.side_of(&entry.writer, value))
    }

    /// A writer with what it says.
    pub(crate) fn side_of(&self, writer: &Writer, value: Value) -> Side {
        Side::new(writer.reference, self.device(writer), Timestamp::of(writer.stamp), value)
    }

    /// Whether two heads have no version of the entity in common.
    fn any_apart(&self, heads: &[Head]) -> Result<bool> {
        for (i, a) in heads.iter().enumerate() {
            for b in &heads[..i] {
                let clocks_meet =
                    a.derived.clock.iter().any(|(o, _)| b.derived.clock.get(o).is_some());
                // branches have a trunk in common, be there a version of the entity in it or not
                if !clocks_meet
                    || (self.directory.has_forks() && !self.have_a_version_in_common(a, b)?)
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    pub(crate) fn device(&self, writer: &Writer) -> String {
        self.directory.device(writer.line, writer.reference.sequence)
    }
}

fn choose(whole: Whole, heads: &[Head]) -> Option<&Head> {
    match whole {
        Whole::Last => heads.iter().max_by_key(|h| h.writer.key()),
        Whole::First => heads.iter().min_by_key(|h| h.writer.key()),
        Whole::Highest => heads.iter().max_by_key(|h| (h.derived.generation, h.writer.key())),
    }
}

/// All that there is becomes `leaves`: what already stands alone keeps its writer, the rest is the
/// author's own.
fn replaced(base: &State, leaves: Vec<(Path, Box<[u8]>)>) -> State {
    let patch: PatchBody = without_repetition(base, replacement(base, leaves));
    apply(base, &patch, Writer::OWN)
}

/// The shown leaves of a state.
pub(crate) fn shown_leaves(state: &State) -> Vec<(Path, Box<[u8]>)> {
    show(state).into_iter().map(|s| (s.path.clone(), s.entry.value.clone())).collect()
}

/// The shown content of a state.
pub(crate) fn content_of(state: &State) -> Content {
    unflatten(show(state).iter().map(|s| (s.path.as_ref(), &*s.entry.value)))
}

/// What a custom policy says of a conflict. A panic in it, or another answer when asked twice, is
/// an error.
fn ask(custom: &CustomPolicy, conflict: &Conflict, twice: bool) -> Result<Resolution> {
    let once = |conflict: &Conflict| {
        catch_unwind(AssertUnwindSafe(|| custom.decide(conflict)))
            .map_err(|_| failed(custom, conflict, "it panicked"))
    };
    let answer = once(conflict)?;
    if twice && once(&conflict.reversed())? != answer {
        let why = "it answers differently when heads come in another order";
        return Err(failed(custom, conflict, why));
    }
    Ok(answer)
}

fn failed(custom: &CustomPolicy, conflict: &Conflict, why: &str) -> Error {
    Error::PolicyFailed {
        policy: custom.name().to_owned(),
        entity: conflict.entity,
        why: why.to_owned(),
    }
}
