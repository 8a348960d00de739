//! The independent decoder against the model.

use std::collections::BTreeMap;

use heirloom_tests::decoder::{Conflicts, Id, Ref, Replay, Version, Void, hashes};

use super::history::{DATASET, History};
use super::{histories, orders, void_versions_agree};

/// The decoder after these commits.
pub(crate) fn replay(history: &History, order: &[usize]) -> Replay {
    let mut replay = Replay::new(hashes::dataset_id(DATASET));
    for &at in order {
        let forged = &history.commits[at];
        assert_eq!(
            replay.add(&forged.bytes),
            Ok(forged.commit),
            "{}: commit {at}",
            history.fixture.name
        );
    }
    replay
}

#[test]
fn the_decoder_agrees_with_the_model_in_any_causal_order() {
    for (seed, history) in histories().iter().enumerate() {
        let replays = orders(history, seed).map(|order| replay(history, &order));
        for replay in &replays {
            void_versions_agree(history, &voids(replay));
            versions_agree(history, replay);
            entities_agree(history, replay);
            assert_eq!(replay.log_root(), replays[0].log_root());
            assert_eq!(replay.state_digest(), replays[0].state_digest());
        }
    }
}

fn voids(replay: &Replay) -> BTreeMap<Ref, &'static str> {
    replay
        .versions()
        .iter()
        .filter_map(|version| Some((version.reference(), rule(version.void?))))
        .collect()
}

fn rule(void: Void) -> &'static str {
    match void {
        Void::Level => "level",
        Void::EntityTwice => "entity twice",
        Void::Time => "time",
        Void::Wall => "wall",
        Void::Stamp => "stamp",
        Void::Parent => "parent",
        Void::Kind => "kind",
    }
}

fn versions_agree(history: &History, replay: &Replay) {
    let lines = lines_of_parents(replay);
    for (at, commit) in history.fixture.commits.iter().enumerate() {
        let held = replay.commit(&history.commits[at].commit).unwrap();
        assert_eq!(
            held.verified.is_ok(),
            commit.verifies,
            "{}: commit {at}: {:?}",
            history.fixture.name,
            held.verified
        );
        for (said, sequence) in commit.versions.iter().zip(commit.first..) {
            let writer = history.writer((at, sequence));
            let version = replay.version(&writer.version).unwrap();
            let place = format!("{}: commit {at}, version {sequence}", history.fixture.name);
            assert_eq!(
                version.state,
                said.state.as_ref().map(|state| history.state(state, Some(writer))),
                "{place}"
            );
            if let (Some(length), Some(clock), Some(entity_type)) =
                (said.r#gen, &said.clock, &said.entity_type)
            {
                let clock =
                    clock.iter().map(|(log, sequence)| (history.logs[*log], *sequence)).collect();
                assert_eq!(lines[&writer.version], (length, clock), "{place}");
                assert_eq!(version.entity_type, *entity_type, "{place}");
            }
        }
    }
}

/// By version the length of the longest line of parents that ends with it, and its entity clock.
fn lines_of_parents(replay: &Replay) -> BTreeMap<Ref, (u64, BTreeMap<Id, u64>)> {
    let mut lines: BTreeMap<Ref, (u64, BTreeMap<Id, u64>)> = BTreeMap::new();
    for version in replay.versions() {
        let (mut length, mut clock) = (1, BTreeMap::new());
        for &parent in &version.parents {
            let (longest, seen) = &lines[&replay.versions()[parent].reference()];
            length = length.max(1 + longest);
            for (log, sequence) in seen {
                let highest = clock.entry(*log).or_default();
                *highest = *sequence.max(highest);
            }
        }
        clock.insert(version.reference().log, version.reference().sequence);
        lines.insert(version.reference(), (length, clock));
    }
    lines
}

fn entities_agree(history: &History, replay: &Replay) {
    for (entity, expected) in history.entities.iter().zip(&history.fixture.expected.entities) {
        let place = format!("{}: entity {}", history.fixture.name, String::from_utf8_lossy(entity));
        assert_eq!(heads(replay, entity), history.refs(&expected.heads), "{place}");
        if let Some(merged) = &expected.merged {
            assert_eq!(
                replay.merged(entity),
                merged.here().map(|leaves| history.leaves(leaves, None)),
                "{place}"
            );
        }
        if let Some(conflicts) = &expected.conflicts {
            let conflicts = conflicts.here().map(|said| Conflicts {
                paths: said.paths.iter().cloned().collect(),
                deletion: said.tombstone_beside,
            });
            assert_eq!(replay.conflicts(entity), conflicts, "{place}");
        }
    }
}

pub(crate) fn heads(replay: &Replay, entity: &Id) -> Vec<Ref> {
    let mut heads: Vec<Ref> = replay.heads(entity).into_iter().map(Version::reference).collect();
    heads.sort_unstable();
    heads
}

#[test]
fn the_decoder_agrees_with_the_model_on_cuts() {
    for history in histories() {
        for cut in &history.fixture.expected.cuts {
            let replay = replay(&history, &history.past(&cut.ends));
            for (entity, expected) in history.entities.iter().zip(&cut.heads) {
                assert_eq!(
                    heads(&replay, entity),
                    history.refs(expected),
                    "{}: {:?}",
                    history.fixture.name,
                    cut.ends
                );
            }
        }
    }
}
