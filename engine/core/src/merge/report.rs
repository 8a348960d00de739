//! What a person, or a custom policy, is told of a conflict (R17), and what they may answer.

use alloc::string::String;
use alloc::vec::Vec;

use crate::model::{Content, EntityId, Patch, Timestamp, Value, VersionRef};

/// An entity on which writers who had not seen each other disagree. All of it follows from the
/// heads alone, so it is the same on every replica that has them.
///
/// `Snapshot::conflict` gives that of one entity, `Snapshot::conflicts` all of them, and a [custom
/// policy](super::Policy::custom) is asked with one.
///
/// ```
/// # use heirloom::{ConflictKind, Content, Engine, Lsn, Patch};
/// # let [phone, tablet] = ["phone", "tablet"]
/// #     .map(|l| Engine::builder().label(l).dataset_name("home").in_memory().unwrap());
/// # let carry = |from: &Engine, to: &Engine| {
/// #     let (all, sent) = (&|_, _, _| true, from.replication());
/// #     let batch = sent.commits(Lsn::START, Lsn::END, all, usize::MAX).unwrap();
/// #     let commits: Vec<&[u8]> = batch.commits.iter().map(|c| &c.bytes[..]).collect();
/// #     to.replication().ingest(&commits).unwrap();
/// # };
/// let lamp = phone.write(|tx| tx.create("lamp", &Content::new().with("name", "desk")))?;
/// # carry(&phone, &tablet);
/// // both devices have it; then each is alone
/// phone.write(|tx| tx.patch(lamp, Patch::new().set("name", "hall")))?;
/// # std::thread::sleep(core::time::Duration::from_millis(5));
/// tablet.write(|tx| tx.patch(lamp, Patch::new().set("name", "door")))?;
/// # carry(&tablet, &phone);
/// // the phone gets what the tablet wrote
/// let conflict = phone.snapshot()?.conflict(lamp)?.expect("both named it");
/// assert_eq!((conflict.kind, conflict.heads.len()), (ConflictKind::ConcurrentModification, 2));
/// let name = conflict.field("name").unwrap();
/// let sides: Vec<_> = name.sides.iter().map(|s| s.value.as_str()).collect();
/// assert_eq!(sides, [Some("door"), Some("hall")]);
/// assert_eq!(conflict.suggestion.as_ref().unwrap().get("name"), Some(&"door".into()));
///
/// phone.write(|tx| tx.resolve(lamp, &conflict.seen(), Patch::new().set("name", "hall door")))?;
/// assert!(phone.snapshot()?.conflict(lamp)?.is_none());
/// # Ok::<(), heirloom::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Conflict {
    /// The entity.
    pub entity: EntityId,
    /// Its type.
    pub entity_type: String,
    /// What stands against what.
    pub kind: ConflictKind,
    /// Its versions without a child, in the order of writes. One only: somebody wrote on it since
    /// and left the conflict open.
    pub heads: Vec<ConflictHead>,
    /// The fields that are open, in order of their paths.
    pub fields: Vec<FieldConflict>,
    /// What `auto` would show: of each open field the last write, all else merged. Nothing where a
    /// deletion would win.
    pub suggestion: Option<Content>,
}

/// What stands against what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConflictKind {
    /// Two changed the same field.
    ConcurrentModification,
    /// One deleted what the other changed.
    DeleteAgainstUpdate,
    /// Two created an entity under the same id before they met, and differ.
    TwoCreations,
}

/// A head of an entity in conflict.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct ConflictHead {
    /// The version.
    pub version: VersionRef,
    /// The device that wrote it.
    pub device: String,
    /// When, as writes are ordered.
    pub stamp: Timestamp,
    /// Length of its longest line of parents, itself included.
    pub generation: u64,
    /// What it shows by itself; nothing if it deleted the entity.
    pub content: Option<Content>,
}

/// A field that writers who had not seen each other gave different values, or whose path is the
/// beginning of another's, or a map that one removed while another edited inside of it.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct FieldConflict {
    /// The keys that lead to it.
    pub path: Vec<String>,
    /// Each side's value, greatest in the order of writes first. One side only: the field clashes
    /// with another above or below it, or with a removal.
    pub sides: Vec<Side>,
    /// Somebody removed this map as a whole, or put something else in its place, and had not seen
    /// what others wrote inside of it. Then nothing of the map is shown, and those of the sides
    /// whose values are maps say what each of the others wrote; the map as they saw it is in the
    /// content of their versions. To bring it back set it as a whole, take such a head, or restore
    /// such a version; to let it go unset it.
    pub removed: bool,
}

/// One side of a conflict.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Side {
    /// The version that wrote the value.
    pub version: VersionRef,
    /// The device that wrote it.
    pub device: String,
    /// When, as writes are ordered.
    pub stamp: Timestamp,
    /// The value.
    pub value: Value,
}

impl Conflict {
    /// What stands against what in an entity: see the fields.
    pub fn new(
        entity: EntityId,
        entity_type: String,
        kind: ConflictKind,
        heads: Vec<ConflictHead>,
        fields: Vec<FieldConflict>,
        suggestion: Option<Content>,
    ) -> Self {
        Self { entity, entity_type, kind, heads, fields, suggestion }
    }

    /// The heads that it was made of: what `Transaction::resolve` wants to know, so that nothing is
    /// decided unseen.
    pub fn seen(&self) -> Vec<VersionRef> {
        self.heads.iter().map(|h| h.version).collect()
    }

    /// An open field by its name; a nested one by its keys joined by dots.
    pub fn field(&self, path: &str) -> Option<&FieldConflict> {
        self.fields.iter().find(|f| f.path.join(".") == path)
    }

    /// This conflict with heads and sides in the other order: a pure policy answers alike to both.
    /// Fields stay in the order of their paths: who goes through them and writes down what it finds
    /// says the same in another order, which is no other answer.
    pub fn reversed(&self) -> Self {
        let mut other = self.clone();
        other.heads.reverse();
        other.fields.iter_mut().for_each(|f| f.sides.reverse());
        other
    }
}

/// How a conflict is settled: by a person through `Transaction::resolve`, for good and for all; or
/// by a [custom policy](super::Policy::custom), for what is shown.
#[derive(Clone, PartialEq, Debug)]
pub enum Resolution {
    /// As suggested: the last write of each open field, all else merged; a deletion stands.
    Suggestion,
    /// These fields so, the others as suggested; what was deleted lives again. From a person it
    /// decides only the fields that it names.
    Patch(Patch),
    /// Exactly this content.
    Content(Content),
    /// What this head shows; it must be one of the conflict's.
    Head(VersionRef),
    /// The entity is deleted.
    Delete,
}

impl From<Patch> for Resolution {
    fn from(patch: Patch) -> Self {
        Resolution::Patch(patch)
    }
}

impl ConflictHead {
    /// A head with its author and content: see the fields.
    pub fn new(
        version: VersionRef,
        device: String,
        stamp: Timestamp,
        generation: u64,
        content: Option<Content>,
    ) -> Self {
        Self { version, device, stamp, generation, content }
    }
}

impl FieldConflict {
    /// What stands against what in a field: see the fields.
    pub fn new(path: Vec<String>, sides: Vec<Side>, removed: bool) -> Self {
        Self { path, sides, removed }
    }
}

impl Side {
    /// A value with the version that wrote it: see the fields.
    pub fn new(version: VersionRef, device: String, stamp: Timestamp, value: Value) -> Self {
        Self { version, device, stamp, value }
    }
}
