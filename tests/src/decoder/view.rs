//! What heads give together: the merge of their leaves, and where they conflict. Nothing is stored.

use std::collections::BTreeSet;

use super::state::{self, Entries, related};
use super::{Id, Leaves, Path, Replay, State, Writer};

/// Where an entity is in conflict, whatever the policy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conflicts {
    /// Paths with different values, paths that are a prefix of another, and those of maps that one
    /// removed while another wrote inside.
    pub paths: BTreeSet<Path>,
    /// Live heads stand beside a tombstone.
    pub deletion: bool,
}

impl Conflicts {
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.deletion
    }
}

impl Replay {
    /// The merged leaves of an entity's live heads; `None` if the content of one is not here.
    pub fn merged(&self, entity: &Id) -> Option<Leaves> {
        self.merge(&self.head_places(entity))
    }

    /// An entry survives if and only if every other live version has it too, or has not seen its
    /// writer.
    pub(super) fn merge(&self, versions: &[usize]) -> Option<Leaves> {
        let mut live = Vec::new();
        for &at in versions {
            match self.versions()[at].state.as_ref()? {
                State::Tombstone => {}
                State::Live(leaves) => live.push((leaves, self.past(&[at]))),
            }
        }
        let mut merged = Leaves::new();
        for (leaves, _) in &live {
            for (path, entries) in *leaves {
                for (writer, value) in entries {
                    let stands = |(other, past): &(&Leaves, BTreeSet<usize>)| {
                        has(other, path, writer)
                            || !writer.is_some_and(|writer| self.has_seen(past, &writer))
                    };
                    if live.iter().all(stands) {
                        merged.entry(path.clone()).or_default().insert(*writer, value.clone());
                    }
                }
            }
        }
        Some(merged)
    }

    /// Where an entity is in conflict; `None` if the content of a live head is not here.
    pub fn conflicts(&self, entity: &Id) -> Option<Conflicts> {
        let mut merged = self.merged(entity)?;
        let distinct = |entries: &Entries| entries.values().collect::<BTreeSet<_>>().len();
        // Of what is left of a removed entry no more is told than that.
        let torn = state::torn(&merged);
        merged.retain(|path, _| !torn.iter().any(|top| top != path && path.starts_with(top)));
        // A map clashes with nothing that stands in it.
        let solid: Vec<&Path> = merged
            .iter()
            .filter(|(_, e)| !e.values().all(super::Value::is_empty_map))
            .map(|(path, _)| path)
            .collect();
        let clash = |path: &Path| solid.iter().any(|&other| other != path && related(other, path));
        let mut paths: BTreeSet<Path> =
            solid.iter().filter(|path| clash(path)).map(|&path| path.clone()).collect();
        paths.extend(torn);
        paths.extend(
            merged
                .iter()
                .filter(|(_, entries)| distinct(entries) > 1)
                .map(|(path, _)| path.clone()),
        );
        let heads = self.heads(entity);
        let tombstones = heads.iter().filter(|head| head.state == Some(State::Tombstone)).count();
        Some(Conflicts { paths, deletion: 0 < tombstones && tombstones < heads.len() })
    }
}

fn has(leaves: &Leaves, path: &Path, writer: &Option<Writer>) -> bool {
    leaves.get(path).is_some_and(|entries| entries.contains_key(writer))
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use crate::forge::tests::{DATASET, LAMP, ROOM, author, story};
    use crate::forge::{self, CommitSpec, Forged, VersionSpec};

    fn replay(commits: &[&Forged]) -> Replay {
        let mut replay = Replay::new(DATASET);
        for commit in commits {
            assert_eq!(replay.add(&commit.bytes), Ok(commit.commit));
            let held = replay.commit(&commit.commit).unwrap();
            assert_eq!((held.chain, held.void, held.verified), (commit.chain, None, Ok(())));
        }
        assert!(
            replay
                .versions()
                .iter()
                .all(|version| version.void.is_none() && version.state.is_some())
        );
        replay
    }

    fn heads(replay: &Replay, entity: &Id) -> Vec<Ref> {
        replay.heads(entity).iter().map(|head| head.reference()).collect()
    }

    fn refs<const N: usize>(versions: [(&Forged, u64); N]) -> Vec<Ref> {
        versions.iter().map(|(commit, index)| commit.version(*index).version).collect()
    }

    fn entry(by: &Forged, index: u64, value: Value) -> (Option<Writer>, Value) {
        (Some(by.version(index)), value)
    }

    #[test]
    fn three_devices_diverge_merge_delete_and_conflict() {
        let [a1, b1, c1, b2, a2, c2, b3] = &story();

        let early = replay(&[a1, b1, c1, b2]);
        assert_eq!(heads(&early, &LAMP), refs([(c1, 0), (b1, 0)]), "in the order of writes");
        assert_eq!(heads(&early, &ROOM), refs([(c1, 1), (b2, 0)]));
        let on: Entries = [entry(b1, 0, Value::bool(true)), entry(c1, 0, Value::null())].into();
        let merged: Leaves = [
            (path(["name"]), [entry(c1, 0, Value::text("Lamp"))].into()),
            (path(["on"]), on.clone()),
            (path(["mood"]), [entry(a1, 0, Value::map(&[]))].into()),
            (path(["mood", "x"]), [entry(a1, 0, Value::int(1))].into()),
        ]
        .into();
        assert_eq!(early.merged(&LAMP), Some(merged));
        let conflict = Conflicts { paths: [path(["on"])].into(), deletion: false };
        assert_eq!(early.conflicts(&LAMP), Some(conflict.clone()));
        let room: Leaves = [(path(["name"]), [entry(b2, 0, Value::text("hall"))].into())].into();
        assert_eq!(early.merged(&ROOM), Some(room));
        assert_eq!(early.conflicts(&ROOM), Some(Conflicts { paths: [].into(), deletion: true }));

        let later = replay(&[a1, b1, c1, b2, a2, c2]);
        assert_eq!(heads(&later, &LAMP), refs([(c2, 0), (a2, 0)]));
        let merged: Leaves = [
            (path(["name"]), [entry(c1, 0, Value::text("Lamp"))].into()),
            (path(["on"]), on),
            (path(["mood", "x"]), [entry(a2, 0, Value::int(2))].into()),
        ]
        .into();
        assert_eq!(later.merged(&LAMP), Some(merged), "the change is kept, its map stays away");
        let torn = Conflicts { paths: [path(["mood"]), path(["on"])].into(), deletion: false };
        assert_eq!(later.conflicts(&LAMP), Some(torn), "one removed the mood, another changed it");

        let last = replay(&[a1, b1, c1, b2, a2, c2, b3]);
        assert_eq!(heads(&last, &LAMP), refs([(b3, 0)]));
        let torn = Conflicts { paths: [path(["mood"])].into(), deletion: false };
        assert_eq!(last.conflicts(&LAMP), Some(torn), "nobody wrote there since");
        assert_eq!(
            last.merged(&LAMP).unwrap()[&path(["on"])],
            [entry(b3, 0, Value::bool(false))].into()
        );
    }

    #[test]
    fn any_causal_order_gives_the_same() {
        let [a1, b1, c1, b2, a2, c2, b3] = &story();
        let one = replay(&[a1, b1, c1, b2, a2, c2, b3]);
        let other = replay(&[a1, c1, c2, b1, a2, b2, b3]);
        assert_eq!(one.log_root(), other.log_root());
        assert_eq!(one.state_digest(), other.state_digest());
        for entity in [LAMP, ROOM] {
            assert_eq!(heads(&one, &entity), heads(&other, &entity));
            assert_eq!(one.merged(&entity), other.merged(&entity));
        }
        let mut again = one.clone();
        assert_eq!(again.add(&c1.bytes), Ok(c1.commit), "what is here is skipped");
        assert_eq!(again.versions().len(), one.versions().len());
    }

    #[test]
    fn a_merge_that_writes_nothing_changes_nothing() {
        let [a1, b1, c1, _, _, c2, _] = &story();
        let before = replay(&[a1, b1, c1, c2]);
        let base = before.merged(&LAMP).unwrap();
        let merge = author("m")
            .commit(&CommitSpec::at(9).version(
                VersionSpec::update(LAMP, "lamp", base.clone()).after(b1, 0).after(c2, 0),
            ));
        let after = replay(&[a1, b1, c1, c2, &merge]);
        assert_eq!(heads(&after, &LAMP), refs([(&merge, 0)]));
        assert_eq!(after.merged(&LAMP), Some(base));
        assert_eq!(
            after.conflicts(&LAMP),
            before.conflicts(&LAMP),
            "undecided leaves stay so under one head"
        );
    }

    #[test]
    fn paths_clash_where_one_is_a_prefix_but_an_empty_map_gives_way() {
        let a1 = author("a").commit(&CommitSpec::at(1).version(VersionSpec::create(
            LAMP,
            "lamp",
            Leaves::new(),
        )));
        let write = |label: &str, name: &str, value: Value| {
            author(label).commit(&CommitSpec::at(2).version(
                VersionSpec::update(LAMP, "lamp", forge::own([(name, value)])).after(&a1, 0),
            ))
        };
        let below = write("b", "m.x", Value::int(1));
        let above = write("c", "m", Value::int(1));
        let empty = write("d", "m", Value::map(&[]));
        let beside = write("e", "n", Value::int(1));
        let clash = replay(&[&a1, &below, &above, &beside]).conflicts(&LAMP).unwrap();
        assert_eq!(clash.paths, [path(["m"]), path(["m", "x"])].into());
        assert!(replay(&[&a1, &below, &empty, &beside]).conflicts(&LAMP).unwrap().is_empty());
        let differ = replay(&[&a1, &above, &empty]).conflicts(&LAMP).unwrap();
        assert_eq!(differ.paths, [path(["m"])].into(), "different values of one leaf");
        let alike = write("f", "m", Value::int(1));
        assert!(
            replay(&[&a1, &above, &alike]).conflicts(&LAMP).unwrap().is_empty(),
            "two wrote the same"
        );
    }

    #[test]
    fn of_two_creations_the_least_names_the_type() {
        let create = |label: &str, wall, entity_type: &str| {
            author(label).commit(&CommitSpec::at(wall).version(VersionSpec::create(
                LAMP,
                entity_type,
                Leaves::new(),
            )))
        };
        let (early, late) = (create("a", 1, "lamp"), create("b", 2, "light"));
        let update = |entity_type: &str| {
            let version = VersionSpec::update(LAMP, entity_type, Leaves::new())
                .after(&late, 0)
                .after(&early, 0);
            author("c").commit(&CommitSpec::at(3).version(version))
        };
        let merged = replay(&[&late, &early, &update("lamp")]);
        assert_eq!(merged.heads(&LAMP)[0].entity_type, "lamp");
        let mut wrong = replay(&[&late, &early]);
        let reference = wrong.add(&update("light").bytes).unwrap();
        assert_eq!(wrong.commit(&reference).unwrap().verified, Err(Unverified::Root));
    }
}
