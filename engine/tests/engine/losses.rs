//! Values that lost in a merge stay known, and come back with one call (R22).

use std::collections::BTreeSet;

use heirloom::{Content, Engine, EntityId, Loss, Patch, Point, Value, VersionRef};
use proptest::prelude::*;

use super::carried::carry;
use super::histories::{ENTITIES, Oracle, STORES, World, event, id};

fn engine(label: &str) -> Engine {
    Engine::builder().label(label).dataset_name("home").in_memory().unwrap()
}

fn all_ways(engines: &[&Engine]) {
    for from in engines {
        engines.iter().for_each(|to| carry(from, to));
    }
    for from in engines {
        engines.iter().for_each(|to| carry(from, to));
    }
}

fn losses(engine: &Engine, id: EntityId) -> Vec<Loss> {
    engine.snapshot().unwrap().losses(id).unwrap().map(Result::unwrap).collect()
}

/// Path, what lost, what to, whether it is decided.
fn told(losses: &[Loss]) -> Vec<(String, Value, Option<Value>, bool)> {
    let one = |l: &Loss| {
        (
            l.path.join("."),
            l.lost.value.clone(),
            l.to.as_ref().map(|s| s.value.clone()),
            l.by.is_some(),
        )
    };
    losses.iter().map(one).collect()
}

fn row(
    path: &str,
    lost: &str,
    to: Option<&str>,
    decided: bool,
) -> (String, Value, Option<Value>, bool) {
    (path.to_owned(), lost.into(), to.map(Value::from), decided)
}

fn set(engine: &Engine, id: EntityId, field: &str, value: &str) {
    engine.write(|tx| tx.patch(id, Patch::new().set(field, value))).unwrap();
}

fn shown(engine: &Engine, id: EntityId, field: &str) -> Option<Value> {
    engine.snapshot().unwrap().get(id).unwrap().unwrap().get(field).unwrap()
}

#[test]
fn three_devices_lose_two_rounds_and_each_value_comes_back_with_one_call() {
    let (a, b, c) = (engine("a"), engine("b"), engine("c"));
    let all = [&a, &b, &c];
    let id = a
        .write(|tx| tx.create("lamp", &Content::new().with("name", "desk").with("note", "old")))
        .unwrap();
    all_ways(&all);
    assert!(losses(&a, id).is_empty());

    // nobody has decided: two of three are merely not shown
    set(&a, id, "name", "a1");
    set(&b, id, "name", "b1");
    set(&c, id, "name", "c1");
    all_ways(&all);
    let open = losses(&a, id);
    let winner = shown(&a, id, "name").unwrap();
    assert_eq!(open.len(), 2);
    assert!(open.iter().all(|l| l.by.is_none()
        && l.to.as_ref().unwrap().value == winner
        && l.lost.value != winner));
    assert!(
        open[0].stamp >= open[0].lost.stamp && open[0].stamp == open[0].to.as_ref().unwrap().stamp
    );

    // a write elsewhere decides nothing; one on the field decides, for itself
    set(&a, id, "note", "new");
    assert_eq!(told(&losses(&a, id)), told(&open));
    set(&a, id, "name", "a2");
    let decided = a.snapshot().unwrap().heads(id).unwrap()[0].reference();
    let first: Vec<_> = losses(&a, id);
    assert_eq!(first.len(), 3);
    let values: BTreeSet<_> =
        first.iter().map(|l| l.lost.value.as_str().unwrap().to_owned()).collect();
    assert_eq!(values, ["a1", "b1", "c1"].map(str::to_owned).into());
    assert!(
        first.iter().all(|l| l.by == Some(decided) && l.to.as_ref().unwrap().value == "a2".into())
    );

    // a second round, on top of it; the first is still told, after it
    all_ways(&all);
    set(&b, id, "name", "b3");
    set(&c, id, "name", "c3");
    all_ways(&all);
    set(&c, id, "name", "b3");
    all_ways(&all);
    for engine in all {
        let found = losses(engine, id);
        assert_eq!(found[0].lost.value, "c3".into(), "b's name stands, though c said it again");
        assert_eq!(told(&found[1..]), told(&first));
        assert_eq!(found.len(), 4);
    }

    // each is one call away, on each device
    for (engine, loss) in all.into_iter().cycle().zip(losses(&a, id)) {
        engine.write(|tx| tx.patch(id, loss.patch())).unwrap();
        assert_eq!(shown(engine, id, "name"), Some(loss.lost.value));
        all_ways(&all);
    }
    assert_eq!(losses(&b, id).len(), 4, "what is replaced by somebody who saw it alone is no loss");
}

#[test]
fn what_is_joined_and_replaced_at_once_is_lost() {
    let (a, b) = (engine("a"), engine("b"));
    let id =
        a.write(|tx| tx.create("lamp", &Content::new().with("x", "x0").with("y", "y0"))).unwrap();
    all_ways(&[&a, &b]);
    set(&a, id, "x", "x1");
    set(&b, id, "y", "y1");
    carry(&a, &b);
    // b has two heads, decides about a's field in the same write that joins them
    b.write(|tx| tx.patch(id, Patch::new().set("x", "x2").unset("y"))).unwrap();
    assert_eq!(
        told(&losses(&b, id)),
        [row("x", "x1", Some("x2"), true), row("y", "y1", None, true)]
    );
    set(&b, id, "x", "x3");
    assert_eq!(losses(&b, id).len(), 2);
}

#[test]
fn what_a_deletion_had_not_seen_is_lost_and_can_be_restored() {
    let (a, b) = (engine("a"), engine("b"));
    let id =
        a.write(|tx| tx.create("lamp", &Content::new().with("x", "x0").with("y", "y0"))).unwrap();
    all_ways(&[&a, &b]);
    a.write(|tx| tx.delete(id)).unwrap();
    set(&b, id, "x", "x1");
    all_ways(&[&a, &b]);
    assert_eq!(told(&losses(&a, id)), [row("x", "x1", None, false)]);
    b.write(|tx| tx.delete(id)).unwrap();
    all_ways(&[&a, &b]);
    let found = losses(&a, id);
    assert_eq!(told(&found), [row("x", "x1", None, true)]);
    a.write(|tx| tx.restore(id, &found[0].lost.version)).unwrap();
    assert_eq!(shown(&a, id, "x"), Some("x1".into()));
}

#[test]
fn a_field_that_another_took_the_place_of_is_lost_and_takes_it_back() {
    let (a, b) = (engine("a"), engine("b"));
    let id = a.write(|tx| tx.create("lamp", &Content::new())).unwrap();
    all_ways(&[&a, &b]);
    set(&a, id, "colour", "red");
    b.write(|tx| tx.patch(id, Patch::new().set_at(["colour", "hue"], "20"))).unwrap();
    all_ways(&[&a, &b]);
    let open = losses(&a, id);
    assert_eq!((open.len(), open[0].to.is_none(), open[0].by.is_none()), (1, true, true));
    let map = matches!(shown(&a, id, "colour"), Some(Value::Map(_)));
    assert_eq!(open[0].path.len(), if map { 1 } else { 2 });
    a.write(|tx| tx.patch(id, open[0].patch())).unwrap();
    assert_eq!(matches!(shown(&a, id, "colour"), Some(Value::Map(_))), !map);
    let now = losses(&a, id);
    assert_eq!(
        (now.len(), now[0].path.len(), now[0].by.is_some()),
        (1, if map { 2 } else { 1 }, true)
    );
}

/// By whom, field, value.
type Lost = BTreeSet<(Option<VersionRef>, String, i64)>;

/// The definition, once more, over all versions.
fn expected(oracle: &Oracle<'_>, entity: EntityId) -> Lost {
    let mut out = Lost::new();
    let of_entity: Vec<_> = oracle.versions.values().filter(|v| v.entity() == entity).collect();
    let sides_of = |heads: &[VersionRef],
                    by: Option<VersionRef>,
                    after: &dyn Fn(&str, i64) -> bool,
                    out: &mut Lost| {
        let states: Vec<_> = heads.iter().map(|h| (oracle.state(h), oracle.ancestors(h))).collect();
        for (field, entries) in oracle.merge(heads) {
            let undecided = entries.values().collect::<BTreeSet<_>>().len() > 1;
            for (writer, value) in &entries {
                let lacks = |s: &super::histories::State| {
                    s.get(&field).is_none_or(|e| !e.contains_key(writer))
                };
                let news = states.iter().any(|(state, seen)| match state {
                    Some(state) => by.is_some() && lacks(state),
                    None => !seen.contains(writer),
                });
                if (undecided || news) && !after(&field, *value) {
                    out.insert((by, field.clone(), *value));
                }
            }
        }
    };
    for v in &of_entity {
        let state = oracle.state(&v.reference()).unwrap_or_default();
        let has =
            |f: &str, value: i64| state.get(f).is_some_and(|e| e.values().any(|v| *v == value));
        sides_of(v.parents(), Some(v.reference()), &has, &mut out);
    }
    if let Some((shown, heads, _)) = oracle.shown(entity, &Point::Now) {
        let is_shown = |f: &str, v: i64| shown.as_ref().is_some_and(|s| s.get(f) == Some(&v));
        sides_of(&heads.into_iter().collect::<Vec<_>>(), None, &is_shown, &mut out);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn losses_are_those_of_the_definition_newest_first(
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new();
        events.iter().for_each(|e| world.happen(e));
        (1..STORES).for_each(|from| world.carry(from, 0, u64::MAX));
        for engine in &world.engines {
            let oracle = Oracle::new(engine, &world.said);
            for entity in (0..ENTITIES).map(id) {
                let found = losses(engine, entity);
                let lost: Vec<_> = found
                    .iter()
                    .map(|l| (l.by, l.path.join("."), l.lost.value.as_int().unwrap()))
                    .collect();
                let distinct: BTreeSet<_> = lost.iter().collect();
                prop_assert_eq!(lost.len(), distinct.len(), "none is told twice");
                prop_assert_eq!(lost.into_iter().collect::<Lost>(), expected(&oracle, entity));
                let key = |l: &Loss| {
                    let by = l.by.map(|v| (oracle.versions[&v].stamp(), v));
                    (l.by.is_none(), by)
                };
                prop_assert!(
                    found.iter().rev().map(key).is_sorted(),
                    "what is open first, then the newest"
                );
                let snapshot = engine.snapshot().unwrap();
                for loss in &found {
                    let content = snapshot.content_at(&loss.lost.version).unwrap().unwrap();
                    prop_assert_eq!(content.get(&loss.path[0]), Some(&loss.lost.value));
                }
            }
        }
    }
}
