//! Histories of an executable reference of the semantics, written down once as fixtures: commits of
//! several devices, honest and void ones, and what follows from them. They are authored anew by an
//! independent encoder and fed to the independent decoder and to the engine; all must agree on
//! heads, contents, conflicts, views and cuts, in any causal order of arrival.

mod chance;
mod decoder_agrees;
mod engine_agrees;
mod fixture;
mod history;
mod observer;

use std::collections::BTreeMap;

use chance::Chance;
use fixture::Known;
use heirloom_tests::decoder::Ref;
use history::History;

fn histories() -> Vec<History> {
    fixture::all().into_iter().map(History::author).collect()
}

/// The fixture's own order, and two others.
fn orders(history: &History, seed: usize) -> [Vec<usize>; 3] {
    let mut chance = Chance::of(seed);
    [
        (0..history.commits.len()).collect(),
        history.causal_order(&mut chance),
        history.causal_order(&mut chance),
    ]
}

/// Exactly the versions that the fixture says are void, each by one of the rules that it breaks.
fn void_versions_agree(history: &History, found: &BTreeMap<Ref, &'static str>) {
    let name = &history.fixture.name;
    let expected: BTreeMap<Ref, &Vec<String>> = history
        .fixture
        .expected
        .void
        .iter()
        .map(|(commit, sequence, rules)| (history.writer((*commit, *sequence)).version, rules))
        .collect();
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "{name}: void versions"
    );
    for (version, rule) in found {
        assert!(
            expected[version].iter().any(|broken| broken == rule),
            "{name}: {version:?} is void by {rule}"
        );
    }
}

/// What the fixtures hold, lest they lose it: each rule of void versions, divergence, conflicts,
/// deletions beside changes.
#[test]
fn the_fixtures_reach_what_they_are_for() {
    let fixtures = fixture::all();
    let void = || fixtures.iter().flat_map(|f| &f.expected.void);
    for rule in ["entity twice", "kind", "parent", "stamp", "wall"] {
        assert!(void().filter(|(_, _, rules)| *rules == [rule]).count() > 5, "{rule}");
    }
    assert!(void().any(|(_, _, rules)| rules.iter().any(|rule| rule == "time")));
    let entities = || fixtures.iter().flat_map(|f| &f.expected.entities);
    let conflicts = || entities().filter_map(|entity| entity.conflicts.as_ref()?.here());
    assert!(entities().filter(|entity| entity.heads.len() > 1).count() > 80);
    assert!(
        entities().filter(|entity| matches!(entity.view, Some(Some(Known::Here(_))))).count() > 50
    );
    assert!(
        entities().filter(|entity| matches!(entity.merged, Some(Known::Absent(_)))).count() > 0
    );
    assert!(conflicts().filter(|conflicts| conflicts.paths.len() > 1).count() > 30);
    assert!(conflicts().filter(|conflicts| conflicts.tombstone_beside).count() > 20);
}
