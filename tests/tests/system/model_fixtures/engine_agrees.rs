//! The engine against the model, and against the decoder.

use heirloom::{Content, Error, Patch, Snapshot};
use heirloom_tests::decoder::{Id, Leaves, Path, Replay, State, Value, Version, Writer, path};

use super::chance::Chance;
use super::decoder_agrees::{heads, replay};
use super::fixture::{self, Json, Known};
use super::history::History;
use super::observer::{self, Observer, entity_id, sorted, unless_absent};
use super::{histories, orders, void_versions_agree};

#[test]
fn the_engine_agrees_with_the_model_in_any_causal_order() {
    for (seed, history) in histories().iter().enumerate() {
        let replay = replay(history, &orders(history, seed)[0]);
        for order in orders(history, seed) {
            let observer = Observer::of(history, &order, &mut Chance::of(seed));
            let snapshot = observer.engine.snapshot().unwrap();
            void_versions_agree(history, &observer.voids());
            contents_agree(history, &snapshot);
            entities_agree(history, &snapshot);
            cuts_agree(history, &snapshot);
            summaries_agree(history, &snapshot, &replay);
            let verification = observer.engine.verify().unwrap();
            assert!(
                verification.is_clean(),
                "{}: {:?}",
                history.fixture.name,
                verification.problems
            );
            assert_eq!(
                verification.voids,
                history.fixture.expected.void.len() as u64,
                "{}",
                history.fixture.name
            );
        }
    }
}

fn summaries_agree(history: &History, snapshot: &Snapshot, replay: &Replay) {
    assert_eq!(
        *snapshot.log_root().unwrap().as_bytes(),
        replay.log_root(),
        "{}",
        history.fixture.name
    );
    assert_eq!(
        *snapshot.state_digest().unwrap().as_bytes(),
        replay.state_digest(),
        "{}",
        history.fixture.name
    );
}

fn contents_agree(history: &History, snapshot: &Snapshot) {
    for (at, commit) in history.fixture.commits.iter().enumerate() {
        for (said, sequence) in commit.versions.iter().zip(commit.first..) {
            let reference = observer::version_ref(&history.writer((at, sequence)).version);
            let found = unless_absent(snapshot.content_at(&reference));
            let place = format!("{}: commit {at}, version {sequence}", history.fixture.name);
            match &said.state {
                None => assert_eq!(found, None, "{place}"),
                Some(fixture::State::Tombstone(_)) => assert_eq!(found, Some(None), "{place}"),
                Some(fixture::State::Live(leaves)) => {
                    let found = found.flatten().unwrap_or_else(|| panic!("{place} has no content"));
                    if let Some(content) = decided(leaves) {
                        assert_eq!(found, content, "{place}");
                    }
                }
            }
        }
    }
}

/// The content that leaves make, unless there is something to choose.
fn decided(leaves: &fixture::Leaves) -> Option<Content> {
    let is_map = |entries: &[(fixture::Writer, Json)]| {
        entries.iter().all(|(_, v)| matches!(v, Json::EmptyMap))
    };
    let clash =
        leaves.windows(2).any(|pair| pair[1].0.starts_with(&pair[0].0) && !is_map(&pair[0].1));
    let stands =
        |map: &[String]| leaves.iter().any(|(path, entries)| path == map && is_map(entries));
    let whole = leaves.iter().all(|(path, _)| (1..path.len()).all(|keys| stands(&path[..keys])));
    let single = leaves.iter().all(|(_, entries)| entries.len() == 1);
    (single && whole && !clash)
        .then(|| observer::content(leaves.iter().map(|(path, entries)| (path, &entries[0].1))))
}

fn entities_agree(history: &History, snapshot: &Snapshot) {
    for (entity, expected) in history.entities.iter().zip(&history.fixture.expected.entities) {
        let place = format!("{}: entity {}", history.fixture.name, String::from_utf8_lossy(entity));
        let found = sorted(&snapshot.heads(entity_id(entity)).unwrap());
        assert_eq!(found, history.refs(&expected.heads), "{place}");
        merge_agrees(history, snapshot, entity, expected, &place);
        view_agrees(snapshot, entity, expected, &place);
    }
}

fn merge_agrees(
    history: &History,
    snapshot: &Snapshot,
    entity: &Id,
    expected: &fixture::Entity,
    place: &str,
) {
    let id = entity_id(entity);
    let merged = unless_absent(
        snapshot.conflict(id).and_then(|c| Ok(snapshot.get_any(id)?.map(|e| (c, e)))),
    );
    let (Some(leaves), Some(conflicts)) = (&expected.merged, &expected.conflicts) else {
        return assert!(matches!(merged, Some(None)), "{place} is unknown");
    };
    let (Some(leaves), Some(conflicts)) = (leaves.here(), conflicts.here()) else {
        return assert!(merged.is_none(), "{place} is absent");
    };
    let (open, shown) = merged.flatten().unwrap_or_else(|| panic!("{place} is here"));
    let sides = |path: &Path| (path.clone(), history.sides(leaves, path));
    let expected = conflicts.paths.iter().map(sides).collect();
    assert_eq!(observer::sides(open.as_ref()), expected, "{place}: conflicts");
    assert_eq!(shown.is_deletion_conflict(), conflicts.tombstone_beside, "{place}");
}

fn view_agrees(snapshot: &Snapshot, entity: &Id, expected: &fixture::Entity, place: &str) {
    let Some(view) = &expected.view else { return };
    let shown = unless_absent(snapshot.get(entity_id(entity)));
    match view {
        None => assert!(matches!(shown, Some(None)), "{place}: {shown:?}"),
        Some(Known::Absent(_)) => assert!(shown.is_none(), "{place}: {shown:?}"),
        Some(Known::Here(leaves)) => {
            let shown = shown.flatten().unwrap_or_else(|| panic!("{place} is not shown"));
            let content = observer::content(leaves.iter().map(|(path, value)| (path, value)));
            assert_eq!(shown.content(), content, "{place}");
            assert_eq!(Some(shown.entity_type()), expected.entity_type.as_deref(), "{place}");
        }
    }
}

fn cuts_agree(history: &History, snapshot: &Snapshot) {
    for cut in &history.fixture.expected.cuts {
        let past = snapshot.as_of(observer::clock(history, &cut.ends)).unwrap();
        for (entity, expected) in history.entities.iter().zip(&cut.heads) {
            let found = sorted(&past.heads(entity_id(entity)).unwrap());
            assert_eq!(found, history.refs(expected), "{}: {:?}", history.fixture.name, cut.ends);
        }
    }
}

/// A field that no fixture has.
const MARK: &str = "seen by the observer";

/// What the engine writes tells, leaf by leaf and writer by writer, what it merged.
#[test]
fn what_the_engine_writes_over_a_history_has_the_states_that_the_decoder_expects() {
    let mut written = [0; 3];
    for (seed, history) in histories().iter().enumerate() {
        let order = &orders(history, seed)[1];
        let mut replay = replay(history, order);
        let observer = Observer::of(history, order, &mut Chance::of(seed));
        for entity in history
            .entities
            .iter()
            .filter(|entity| !replay.heads(entity).is_empty())
            .collect::<Vec<_>>()
        {
            let place =
                format!("{}: entity {}", history.fixture.name, String::from_utf8_lossy(entity));
            let merged = replay.merged(entity);
            let deleted =
                replay.heads(entity).iter().any(|head| head.state == Some(State::Tombstone));
            let way = match (&merged, deleted) {
                (Some(_), false) => patch(&observer, entity),
                (Some(_), true) => restore(&observer, &replay, entity, &place),
                (None, _) => replace_absent(&observer, &replay, entity, deleted, &place),
            };
            written[way as usize] += 1;
            let state = written_state(&observer, &mut replay, entity, &place);
            if let (Way::Patched, Some(mut expected), Some((own, leaves))) = (way, merged, state) {
                expected.insert(path([MARK]), [(Some(own), Value::bool(true))].into());
                assert_eq!(leaves, expected, "{place}");
            }
        }
        summaries_agree(history, &observer.engine.snapshot().unwrap(), &replay);
    }
    assert!(written[0] > 80 && written[1] > 20 && written[2] > 5, "{written:?}");
}

/// How a write came about.
#[derive(Clone, Copy)]
enum Way {
    Patched,
    Restored,
    Replaced,
}

fn patch(observer: &Observer, entity: &Id) -> Way {
    let marked = Patch::new().set(MARK, true);
    observer.engine.write(|tx| tx.patch(entity_id(entity), marked)).unwrap();
    Way::Patched
}

/// Restores the newest version that has content; what is shown then is what it showed.
fn restore(observer: &Observer, replay: &Replay, entity: &Id, place: &str) -> Way {
    let id = entity_id(entity);
    let has_content = |version: &&Version| {
        version.entity == *entity && matches!(version.state, Some(State::Live(_)))
    };
    let Some(version) = replay.versions().iter().rfind(has_content) else {
        observer
            .engine
            .write(|tx| tx.delete(id))
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        return Way::Replaced;
    };
    let version = observer::version_ref(&version.reference());
    observer
        .engine
        .write(|tx| tx.restore(id, &version))
        .unwrap_or_else(|error| panic!("{place}: {error}"));
    let snapshot = observer.engine.snapshot().unwrap();
    let restored = snapshot.get(id).unwrap().map(|shown| shown.content());
    assert_eq!(restored, snapshot.content_at(&version).unwrap(), "{place}");
    Way::Restored
}

/// Over content that is not here only a restore or a deletion writes.
fn replace_absent(
    observer: &Observer,
    replay: &Replay,
    entity: &Id,
    deleted: bool,
    place: &str,
) -> Way {
    let marked = Patch::new().set(MARK, true);
    match observer.engine.write(|tx| tx.patch(entity_id(entity), marked)) {
        Err(Error::Deleted(_)) if deleted => {}
        Err(Error::Absent(_)) if !deleted => {}
        other => panic!("{place}: {other:?}"),
    }
    restore(observer, replay, entity, place);
    Way::Replaced
}

/// Gives the decoder what the engine wrote last, and returns its leaves, if any, and their writer.
fn written_state(
    observer: &Observer,
    replay: &mut Replay,
    entity: &Id,
    place: &str,
) -> Option<(Writer, Leaves)> {
    let reference = replay.add(&observer.last_commit()).unwrap();
    assert_eq!(replay.commit(&reference).map(|held| held.verified), Some(Ok(())), "{place}");
    let version = replay.version(&reference).unwrap();
    assert_eq!(version.void, None, "{place}");
    assert_eq!(heads(replay, entity), [version.reference()], "{place}");
    let found = observer.engine.snapshot().unwrap().heads(entity_id(entity)).unwrap();
    assert_eq!(sorted(&found), [version.reference()], "{place}");
    let leaves = version.state.as_ref().and_then(State::leaves)?;
    Some((version.writer, leaves.clone()))
}
