//! Values that lost in a merge, and how to bring each back (R22).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use heirloom_core::fold::{Head, Stored};
use heirloom_core::format::value::{EMPTY_MAP, decode_all, encode_value, tag};
use heirloom_core::merge::{
    Conflicts, Live, ShownEntry as Shown, Side, conflicts, merge, show, value_at, written_inside,
};
use heirloom_core::model::{
    EntityId, Entry, Leaf, Patch, Path, State, Timestamp, Value, VersionRef, Writer,
};

use super::snapshot::{History, Snapshot};
use super::version::Version;
use crate::error::{Error, Result};
use crate::store::content_of;

/// A value that somebody wrote, and that a merge with what somebody else wrote does not show, or no
/// longer has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loss {
    /// The keys that lead to the field.
    pub path: Vec<String>,
    /// The value that lost.
    pub lost: Side,
    /// What stood there instead; nothing where the field was removed, or the entity deleted, or a
    /// field above or below took its place, or while a custom policy shows a value of its own.
    pub to: Option<Side>,
    /// The version that decided so; nothing where nobody has and the value is merely not shown now.
    pub by: Option<VersionRef>,
    /// Stamp of that version; while it is open, of the write that is shown instead.
    pub stamp: Timestamp,
}

impl Loss {
    /// Sets the field back to the value that lost, a map as a whole. On a deleted entity restore
    /// the version that wrote it instead.
    pub fn patch(&self) -> Patch {
        Patch::new().set_at(&self.path, self.lost.value.clone())
    }
}

impl Snapshot {
    /// All values of an entity that lost in a merge, newest loss first: those that are not
    /// shown now although nobody has decided against them, then version by version back to the
    /// creation. The same on every replica that has the entity's versions.
    ///
    /// A value loses where it stood beside another in a field that nobody had decided, or came
    /// together with what had not seen it (a deletion too), and the version that joined them has
    /// neither it nor an equal value. What one writer replaces with the only value in sight is no
    /// loss: see [`history`](Self::history). Of equal values the newest is named.
    ///
    /// One exception: a list whose items had fields that none of the changed items has any more is
    /// told, whoever replaced it. An older release of an application may have written the items
    /// that it changed without what a newer one had put there.
    ///
    /// ```
    /// # use heirloom::{Content, Engine, Lsn, Patch};
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
    /// phone.write(|tx| tx.patch(lamp, Patch::new().set("name", "hall")))?;
    /// tablet.write(|tx| tx.patch(lamp, Patch::new().set("name", "door")))?;
    /// # carry(&tablet, &phone);
    /// // the phone gets what the tablet wrote, and somebody decides
    /// phone.write(|tx| tx.patch(lamp, Patch::new().set("name", "door")))?;
    ///
    /// let loss = phone.snapshot()?.losses(lamp)?.next().unwrap()?;
    /// assert_eq!((loss.lost.value.as_str(), loss.by.is_some()), (Some("hall"), true));
    /// phone.write(|tx| tx.patch(lamp, loss.patch()))?;
    /// assert_eq!(phone.snapshot()?.get(lamp)?.unwrap().get("name")?, Some("hall".into()));
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// # Costs
    /// Each version that is passed costs a read of its content and of its parents'.
    ///
    /// # Errors
    /// An item is [`Error::Absent`] where the content of a version or of a parent is not here: then
    /// that version's losses cannot be told, and the walk goes on.
    pub fn losses(&self, id: EntityId) -> Result<Losses<'_>> {
        Ok(Losses {
            snapshot: self,
            entity: id,
            open: true,
            found: VecDeque::new(),
            history: self.history(id)?,
        })
    }
}

/// The values of an entity that lost, newest loss first.
#[must_use = "nothing is looked at until the losses are read"]
pub struct Losses<'a> {
    snapshot: &'a Snapshot,
    entity: EntityId,
    /// What is open now was not looked at yet.
    open: bool,
    found: VecDeque<Loss>,
    history: History<'a>,
}

impl Iterator for Losses<'_> {
    type Item = Result<Loss>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(loss) = self.found.pop_front() {
                return Some(Ok(loss));
            }
            let found = if std::mem::take(&mut self.open) {
                self.open_now()
            } else {
                self.history.next()?.and_then(|version| self.decided_by(&version))
            };
            match found {
                Ok(found) => self.found.extend(found),
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

impl Losses<'_> {
    /// What nobody has decided against and is not shown.
    fn open_now(&self) -> Result<Vec<Loss>> {
        let view = self.snapshot.view();
        let all = view.heads(self.entity)?;
        let mut heads = Vec::new();
        for head in &all.list {
            heads.push((head.clone(), view.head_content(self.entity, head)?));
        }
        let sides = Sides::new(heads)?;
        let policy = view.policies.of(&view.type_of(&all)?.unwrap_or_default());
        let state = match all.is_empty() {
            true => None,
            false => view.shown_state(self.entity, policy, &all.list, Ok(sides.merged.clone()))?,
        };
        let deletion = sides.tombstones.iter().map(|t| t.writer).max_by_key(Writer::key);
        let deletion = deletion.filter(|_| state.is_none());
        let state = state.unwrap_or_default();
        let shown = show(&state);
        let at = |path: &Path| {
            shown.binary_search_by_key(&path, |s| s.path).ok().map(|i| shown[i].entry)
        };
        let stays = |path: &Path, entry: &Entry| at(path).is_some_and(|e| e.value == entry.value);
        // a policy for whole versions hides news of the others, too
        let news = policy.whole().is_some() && all.list.len() > 1;
        let losing = sides.at_stake(news).filter(|(path, entry)| !stays(path, entry));
        let loss = |(path, lost): (&Path, &Entry)| {
            let to = at(path).filter(|e| e.writer != Writer::OWN);
            let near = near(&shown, path).iter().map(|s| s.entry.writer);
            let written = near.filter(|w| *w != Writer::OWN).chain(deletion);
            let winner = written.max_by_key(Writer::key).unwrap_or(lost.writer);
            self.loss(path, lost, to, None, Timestamp::of(winner.stamp))
        };
        let mut out: Vec<Loss> =
            newest_of_equals(losing).into_iter().map(loss).collect::<Result<_>>()?;
        for (top, writer) in sides.entries() {
            let loss =
                self.entry_lost(&top, &writer, at(&top), None, Timestamp::of(writer.stamp))?;
            // a policy for whole versions may show just this one
            if value_at(&content_of(&state), &top) != Some(&loss.lost.value) {
                out.push(loss);
            }
        }
        Ok(out)
    }

    /// What a version no longer has of what its parents brought together.
    fn decided_by(&self, version: &Version) -> Result<Vec<Loss>> {
        let view = self.snapshot.view();
        let at = self.snapshot.at(&view, &version.reference())?;
        let sides = Sides::new(view.parent_contents(&at)?)?;
        let mut losing = sides.at_stake(version.parents().len() > 1).peekable();
        let entries_at_stake = sides.entries();
        let lists: Vec<&Leaf> =
            sides.merged.0.iter().filter(|l| l.entries.iter().any(is_list)).collect();
        if losing.peek().is_none() && entries_at_stake.is_empty() && lists.is_empty() {
            return Ok(Vec::new());
        }
        let state = match view.content(&at)? {
            Stored::Live(state) => state,
            Stored::Tombstone => Arc::default(),
            Stored::Absent => return Err(Error::Absent(version.reference())),
        };
        let entries = |path: &Path| state.get(path).into_iter().flat_map(|l| &l.entries);
        let losing = losing.filter(|(path, lost)| !entries(path).any(|e| e.value == lost.value));
        let loss = |(path, lost): (&Path, &Entry)| {
            let to = entries(path).max_by_key(|e| e.writer.key());
            self.loss(path, lost, to, Some(version.reference()), version.stamp())
        };
        let mut out: Vec<Loss> =
            newest_of_equals(losing).into_iter().map(loss).collect::<Result<_>>()?;
        // whoever wrote at or below the entry let go of the rest of it, unless it was written down
        // as it was
        let gone = |top: &Path, writer: &Writer| {
            let stays =
                |l: &&Leaf| l.path.is_below(top) && l.entries.iter().any(|e| e.writer == *writer);
            !state.0.iter().any(|l| stays(&l))
        };
        for (top, writer) in entries_at_stake.iter().filter(|(top, writer)| gone(top, writer)) {
            let to = entries(top).max_by_key(|e| e.writer.key());
            let loss =
                self.entry_lost(top, writer, to, Some(version.reference()), version.stamp())?;
            if value_at(&content_of(&state), top) != Some(&loss.lost.value) {
                out.push(loss);
            }
        }
        for leaf in lists {
            let own = |e: &&Entry| e.writer.reference == version.reference();
            let Some(to) = entries(&leaf.path).find(own) else { continue };
            for lost in leaf.entries.iter().filter(|lost| forgets(&lost.value, &to.value)) {
                let loss = self.loss(
                    &leaf.path,
                    lost,
                    Some(to),
                    Some(version.reference()),
                    version.stamp(),
                )?;
                if !out.iter().any(|l| l.path == loss.path && l.lost == loss.lost) {
                    out.push(loss);
                }
            }
        }
        Ok(out)
    }

    /// An entry that one removed while this writer edited inside of it: as the writer saw it,
    /// whole.
    fn entry_lost(
        &self,
        top: &Path,
        writer: &Writer,
        to: Option<&Entry>,
        by: Option<VersionRef>,
        stamp: Timestamp,
    ) -> Result<Loss> {
        let view = self.snapshot.view();
        let at = self.snapshot.at(&view, &writer.reference)?;
        let value = match view.content(&at)? {
            Stored::Live(state) => value_at(&content_of(&state), top).cloned(),
            Stored::Tombstone => None,
            Stored::Absent => return Err(Error::Absent(writer.reference)),
        };
        Ok(Loss {
            path: top.as_ref().keys().map(str::to_owned).collect(),
            lost: view.side_of(writer, value.unwrap_or_default()),
            to: to.map(|e| view.side(self.entity, e)).transpose()?,
            by,
            stamp,
        })
    }

    fn loss(
        &self,
        path: &Path,
        lost: &Entry,
        to: Option<&Entry>,
        by: Option<VersionRef>,
        stamp: Timestamp,
    ) -> Result<Loss> {
        let view = self.snapshot.view();
        let side = |e: &Entry| view.side(self.entity, e);
        let path = path.as_ref().keys().map(str::to_owned).collect();
        Ok(Loss { path, lost: side(lost)?, to: to.map(side).transpose()?, by, stamp })
    }
}

/// Versions that came together, and their merge.
struct Sides {
    live: Vec<(Head, Arc<State>)>,
    tombstones: Vec<Head>,
    merged: State,
    /// What nobody had decided.
    open: Conflicts,
}

impl Sides {
    fn new(sides: Vec<(Head, Stored)>) -> Result<Self> {
        let (mut live, mut tombstones) = (Vec::new(), Vec::new());
        for side in sides {
            match side {
                (head, Stored::Live(state)) => live.push((head, state)),
                (head, Stored::Tombstone) => tombstones.push(head),
                (head, Stored::Absent) => return Err(Error::Absent(head.writer.reference)),
            }
        }
        let heads: Vec<_> =
            live.iter().map(|(head, state)| Live { state, clock: &head.derived.clock }).collect();
        let merged = merge(&heads);
        let open = conflicts(&merged, 1, 0);
        Ok(Self { live, tombstones, merged, open })
    }

    /// Entries that one removed while others edited inside of them, with each of the others.
    fn entries(&self) -> Vec<(Path, Writer)> {
        let inside = |top: &Path| written_inside(&self.merged, top).into_iter().map(|(w, _)| w);
        self.open.torn.tops().iter().flat_map(|top| inside(top).map(|w| (top.clone(), w))).collect()
    }

    /// What stood undecided or a deletion among them had not seen; with `news` also what one of
    /// them lacked.
    fn at_stake(&self, news: bool) -> impl Iterator<Item = (&Path, &Entry)> {
        let lacks = |state: &State, path: &Path, entry: &Entry| {
            state.get(path).is_none_or(|l| l.entries.iter().all(|e| e.writer != entry.writer))
        };
        let entries = self.merged.0.iter().flat_map(|l| l.entries.iter().map(|e| (&l.path, e)));
        // a map is no value that somebody wrote while something stands in it
        let is_empty = |path: &Path| {
            let at = self.merged.0.partition_point(|l| l.path <= *path);
            self.merged.0.get(at).is_none_or(|l| !l.path.is_below(path))
        };
        let entries = entries.filter(move |(path, entry)| {
            !self.open.torn.hides(path) && (*entry.value != *EMPTY_MAP || is_empty(path))
        });
        entries.filter(move |(path, entry)| {
            self.open.paths.binary_search(path).is_ok()
                || self.tombstones.iter().any(|t| !t.derived.clock.has_seen(&entry.writer))
                || (news && self.live.iter().any(|(_, state)| lacks(state, path, entry)))
        })
    }
}

fn is_list(entry: &Entry) -> bool {
    entry.value.first() == Some(&tag::ARRAY)
}

/// Whether a list took the place of another whose items had fields that none of the new items has,
/// where items were changed: perhaps by a release that did not know these fields.
fn forgets(old: &[u8], new: &[u8]) -> bool {
    let items = |bytes| match decode_all(bytes) {
        Ok(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let mut changed: BTreeMap<Vec<u8>, (Value, i64)> = BTreeMap::new();
    for (item, sign) in
        items(old).into_iter().map(|i| (i, -1)).chain(items(new).into_iter().map(|i| (i, 1)))
    {
        let bytes = encode_value(&item).unwrap_or_default();
        changed.entry(bytes).or_insert((item, 0)).1 += sign;
    }
    // what stands in both as often was left alone
    let keys = |sign: i64| {
        let mut out = BTreeSet::new();
        for (item, _) in changed.values().filter(|(_, count)| count.signum() == sign) {
            keys_of(item, "", &mut out);
        }
        out
    };
    changed.values().any(|(_, count)| *count > 0) && !keys(-1).is_subset(&keys(1))
}

/// The paths of all fields in a value, those of items of one list alike.
fn keys_of(value: &Value, at: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Map(map) | Value::Atomic(map) => {
            for (key, value) in map {
                let path = format!("{at}.{key}");
                keys_of(value, &path, out);
                out.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys_of(item, &format!("{at}[]"), out)),
        Value::Variant(v) => keys_of(v.content(), &format!("{at}.{}", v.name()), out),
        _ => {}
    }
}

/// What is shown at a path, above or below it.
fn near<'s, 'a>(shown: &'s [Shown<'a>], path: &Path) -> &'s [Shown<'a>] {
    let at = shown.partition_point(|s| s.path < path);
    let above = at > 0 && path.is_below(shown[at - 1].path);
    let below = shown[at..].iter().take_while(|s| s.path.is_below(path)).count();
    &shown[at - usize::from(above)..at + below]
}

/// By path, then newest first; of equal values at a path the newest only.
fn newest_of_equals<'s>(
    entries: impl Iterator<Item = (&'s Path, &'s Entry)>,
) -> Vec<(&'s Path, &'s Entry)> {
    let mut out: Vec<_> = entries.collect();
    out.sort_by_key(|(path, entry)| (*path, std::cmp::Reverse(entry.writer.key())));
    let mut kept: Vec<(&Path, &Entry)> = Vec::with_capacity(out.len());
    for (path, entry) in out {
        let same = |(p, e): &&(&Path, &Entry)| *p == path && e.value == entry.value;
        if kept.iter().rev().take_while(|(p, _)| *p == path).find(same).is_none() {
            kept.push((path, entry));
        }
    }
    kept
}
