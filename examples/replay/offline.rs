//! Step 3: the nodes are apart. Each edits some of the same files, the same fields and others, and
//! deletes some.

use heirloom::{Engine, Entity, EntityId, Patch, Value};

use crate::check::Findings;
use crate::error::Result;
use crate::file::FILE;

/// Files that are edited.
const FILES: usize = 120;

/// What is done to a file, by turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Play {
    /// All three set the same field, each otherwise: the last write is shown.
    SameField,
    /// Each sets a field of its own: they merge.
    OtherFields,
    /// One deletes what another changes: the deletion is shown.
    DeleteAgainstUpdate,
    /// Two delete: no conflict.
    BothDelete,
    /// All set the same field to the same: no conflict.
    SameValue,
    /// One edits, the others leave it alone.
    OneAlone,
}

const PLAYS: [Play; 6] = [
    Play::SameField,
    Play::OtherFields,
    Play::DeleteAgainstUpdate,
    Play::BothDelete,
    Play::SameValue,
    Play::OneAlone,
];

/// What came of the edits.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Edits on all nodes together.
    pub(crate) edits: u64,
    /// Conflicts that they made.
    pub(crate) conflicts: u64,
    /// Of these, settled by the last write.
    pub(crate) by_last_write: u64,
    /// Of these, settled by a deletion.
    pub(crate) by_deletion: u64,
    /// Files that several nodes edited and that merged without conflict.
    pub(crate) merged: u64,
}

/// Files that are shown and not in conflict; ids are hashes of paths, so the first are as good as
/// any.
pub(crate) fn choose(engine: &Engine) -> Result<Vec<EntityId>> {
    let snapshot = engine.snapshot()?;
    let mut chosen = Vec::new();
    for entity in snapshot.list(FILE) {
        let entity = entity?;
        if !entity.is_conflicted() {
            chosen.push(entity.id());
        }
        if chosen.len() == FILES {
            break;
        }
    }
    Ok(chosen)
}

/// How many entities are in conflict.
pub(crate) fn conflicts(engine: &Engine) -> Result<u64> {
    let snapshot = engine.snapshot()?;
    let mut conflicts = 0;
    for id in snapshot.unsettled()? {
        conflicts += u64::from(snapshot.get_any(id?)?.is_some_and(|entity| entity.is_conflicted()));
    }
    Ok(conflicts)
}

/// Edits the files on each node, without a word between them. Returns the number of edits.
pub(crate) fn edit(nodes: &[Engine], files: &[EntityId]) -> Result<u64> {
    let mut edits = 0;
    for (node, engine) in (1i64..).zip(nodes) {
        edits += engine.write(|tx| {
            let mut edits = 0;
            for (file, play) in plays(files) {
                let Some(act) = act(play, node) else { continue };
                match act {
                    Act::Set(field, value) => tx.patch(file, Patch::new().set(&field, value))?,
                    Act::Delete => tx.delete(file)?,
                };
                edits += 1;
            }
            Ok::<_, heirloom::Error>(edits)
        })?;
    }
    Ok(edits)
}

/// Looks at what a node shows now, and says where it is not what the edits should have come to.
pub(crate) fn settle(
    engine: &Engine,
    files: &[EntityId],
    edits: u64,
    findings: &mut Findings,
) -> Result<Settled> {
    let snapshot = engine.snapshot()?;
    let mut settled = Settled { edits, ..Settled::default() };
    for (file, play) in plays(files) {
        let Some(shown) = snapshot.get_any(file)? else {
            findings.add(|| format!("{file} is gone after the offline edits"));
            continue;
        };
        let conflicts =
            shown.conflicting_fields().len() as u64 + u64::from(shown.is_deletion_conflict());
        match play {
            Play::SameField => settled.by_last_write += conflicts,
            Play::DeleteAgainstUpdate => settled.by_deletion += conflicts,
            Play::OtherFields | Play::SameValue => settled.merged += 1,
            Play::BothDelete | Play::OneAlone => {}
        }
        settled.conflicts += conflicts;
        if !is_settled(play, &shown)? {
            findings.add(|| {
                format!("{file} did not settle as it should after {play:?}: {:?}", shown.content())
            });
        }
    }
    Ok(settled)
}

/// Is what is shown what `auto` makes of these edits?
fn is_settled(play: Play, shown: &Entity) -> Result<bool> {
    let is =
        |field: &str, value: Value| Ok::<bool, heirloom::Error>(shown.get(field)? == Some(value));
    let (fields, deletion) = (shown.conflicting_fields(), shown.is_deletion_conflict());
    let (settled, open) = match play {
        Play::SameField => (
            (1..=3).map(|node| is("note", note_of(node))).any(|fine| matches!(fine, Ok(true))),
            true,
        ),
        Play::DeleteAgainstUpdate => (shown.is_deleted() && deletion, true),
        Play::OtherFields => {
            ((1..=3).all(|node| matches!(is(&own_field(node), Value::Bool(true)), Ok(true))), false)
        }
        Play::BothDelete => (shown.is_deleted(), false),
        Play::SameValue => (is("seen", Value::Bool(true))?, false),
        Play::OneAlone => (is("note", note_of(3))?, false),
    };
    Ok(settled && open == (deletion || fields == ["note"]))
}

fn plays(files: &[EntityId]) -> impl Iterator<Item = (EntityId, Play)> {
    files.iter().copied().zip(PLAYS.into_iter().cycle())
}

/// One node's part.
enum Act {
    Set(String, Value),
    Delete,
}

fn act(play: Play, node: i64) -> Option<Act> {
    match (play, node) {
        (Play::SameField, _) | (Play::DeleteAgainstUpdate, 2) | (Play::OneAlone, 3) => {
            Some(Act::Set("note".to_owned(), note_of(node)))
        }
        (Play::OtherFields, _) => Some(Act::Set(own_field(node), Value::Bool(true))),
        (Play::SameValue, _) => Some(Act::Set("seen".to_owned(), Value::Bool(true))),
        (Play::DeleteAgainstUpdate, 1) | (Play::BothDelete, 1 | 2) => Some(Act::Delete),
        _ => None,
    }
}

fn note_of(node: i64) -> Value {
    Value::Text(format!("edited on node {node} while it was offline"))
}

fn own_field(node: i64) -> String {
    format!("reviewed_on_{node}")
}
