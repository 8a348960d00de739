//! Existing versioned data brought in.

use heirloom::{
    Authored, Clock, ClockOrdering, Content, Engine, EntityId, Error, Importer, Kind, Patch,
    Timestamp, Value,
};

fn engine() -> Engine {
    Engine::builder().label("importer").dataset_name("archive").in_memory().unwrap()
}

fn note(n: u8) -> EntityId {
    EntityId::v5(&[3; 16], &[n])
}

fn text(t: &str) -> Content {
    Content::new().with("text", t)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// One branch on `a`, one on `b` that began after the first commit, and a merge on `a`; `steps` of
/// them.
fn history(importer: &mut Importer, steps: usize) -> Vec<Authored> {
    let (a, b) = (importer.device("a").unwrap(), importer.device("b").unwrap());
    let mut out: Vec<Authored> = Vec::new();
    let mut step = |importer: &mut Importer, f: &dyn Fn(&mut Importer, &[Authored]) -> Authored| {
        if out.len() < steps {
            let one = f(importer, &out);
            out.push(one);
        }
    };
    step(importer, &|i, _| {
        let mut d = i.commit(a, &[], at(1_000)).unwrap();
        d.create(note(1), "note", &text("one")).unwrap();
        d.create(note(2), "note", &text("two")).unwrap();
        d.finish().unwrap()
    });
    step(importer, &|i, past| {
        let mut d = i.commit(b, &[&past[0]], at(500)).unwrap();
        d.put(note(1), "note", &text("one by b").with("extra", 1)).unwrap();
        d.delete(note(2)).unwrap();
        d.finish().unwrap()
    });
    step(importer, &|i, past| {
        let mut d = i.commit(a, &[&past[0]], at(2_000)).unwrap();
        d.patch(note(1), Patch::new().set("text", "one by a")).unwrap();
        d.finish().unwrap()
    });
    step(importer, &|i, past| {
        let mut d = i.commit(a, &[&past[0], &past[1], &past[2]], at(3_000)).unwrap();
        assert_eq!(d.heads(note(1)).unwrap().len(), 2);
        d.put(note(1), "note", &text("merged").with("extra", 1)).unwrap();
        d.put(note(2), "note", &text("back")).unwrap();
        d.finish().unwrap()
    });
    out
}

#[test]
fn an_imported_history_has_its_parents_times_and_clocks() {
    let engine = engine();
    let mut importer = engine.importer().unwrap();
    let done = history(&mut importer, 4);
    importer.finish().unwrap();
    let snapshot = engine.snapshot().unwrap();
    let versions: Vec<_> = snapshot.history(note(1)).unwrap().map(Result::unwrap).collect();
    assert_eq!(versions.iter().map(|v| v.device()).collect::<Vec<_>>(), ["a", "a", "b", "a"]);
    assert_eq!(versions[0].parents().len(), 2);
    assert_eq!(versions[2].wall(), at(500), "an import keeps the times that it is given");
    assert_eq!(
        versions[2].stamp(),
        at(1_001),
        "and raises stamps where the order of writes demands it"
    );
    let kinds: Vec<_> = snapshot.history(note(2)).unwrap().map(|v| v.unwrap().kind()).collect();
    assert_eq!(kinds, [Kind::Restore, Kind::Delete, Kind::Create]);
    assert_eq!(done[1].clock().compare(done[2].clock()), ClockOrdering::Concurrent);
    for a in &done {
        assert_eq!(&snapshot.clock_at(&a.commit()).unwrap(), a.clock());
    }
    let shown = |clock: &Clock| {
        snapshot.as_of(clock).unwrap().get(note(1)).unwrap().unwrap().get("text").unwrap()
    };
    let texts: Vec<_> = done.iter().map(|a| shown(a.clock())).collect();
    assert_eq!(texts, ["one", "one by b", "one by a", "merged"].map(|t| Some(Value::from(t))));
    assert!(engine.verify().unwrap().is_clean());
}

#[test]
fn what_stands_so_already_keeps_its_writer_in_a_put() {
    let engine = engine();
    let mut importer = engine.importer().unwrap();
    let done = history(&mut importer, 4);
    // knows b's `extra` and not the merge that carried it on: had the merge claimed to have written
    // it, the two would conflict
    let c = importer.device("c").unwrap();
    let mut draft = importer.commit(c, &[&done[1]], at(9_000)).unwrap();
    draft.patch(note(1), Patch::new().set("extra", 2)).unwrap();
    draft.finish().unwrap();
    importer.finish().unwrap();
    let entity = engine.snapshot().unwrap().get(note(1)).unwrap().unwrap();
    assert_eq!((entity.heads().len(), entity.is_conflicted()), (2, false));
    assert_eq!(entity.content(), text("merged").with("extra", 2));
}

#[test]
fn a_second_import_adds_nothing_and_a_longer_one_only_what_is_new() {
    let engine = engine();
    let mut importer = engine.importer().unwrap();
    history(&mut importer, 3);
    importer.finish().unwrap();
    let (root, commits) =
        (engine.log_root().unwrap(), engine.snapshot().unwrap().commits().unwrap());

    let mut importer = engine.importer().unwrap();
    assert!(history(&mut importer, 3).iter().all(|a| !a.is_new()));
    importer.finish().unwrap();
    assert_eq!(
        (engine.log_root().unwrap(), engine.snapshot().unwrap().commits().unwrap()),
        (root, commits)
    );

    let mut importer = engine.importer().unwrap();
    let longer = history(&mut importer, 4);
    importer.finish().unwrap();
    assert_eq!(
        longer.iter().map(Authored::is_new).collect::<Vec<_>>(),
        [false, false, false, true]
    );

    let elsewhere = self::engine();
    let mut importer = elsewhere.importer().unwrap();
    history(&mut importer, 4);
    importer.finish().unwrap();
    assert_eq!(elsewhere.log_root().unwrap(), engine.log_root().unwrap());
    assert_eq!(elsewhere.state_digest().unwrap(), engine.state_digest().unwrap());
}

#[test]
fn an_import_that_went_another_way_is_refused() {
    let engine = engine();
    let mut importer = engine.importer().unwrap();
    history(&mut importer, 2);
    importer.finish().unwrap();
    let root = engine.log_root().unwrap();
    let mut importer = engine.importer().unwrap();
    let a = importer.device("a").unwrap();
    let mut draft = importer.commit(a, &[], at(1_000)).unwrap();
    draft.create(note(1), "note", &text("rewritten")).unwrap();
    assert!(matches!(draft.finish(), Err(Error::Import(heirloom::ImportFault::Differs(_)))));
    importer.finish().unwrap();
    assert_eq!(engine.log_root().unwrap(), root);
}

#[test]
fn parents_are_checked_to_be_the_heads_in_that_past() {
    let engine = engine();
    let mut importer = engine.importer().unwrap();
    let done = history(&mut importer, 3);
    let c = importer.device("c").unwrap();
    let head = |i: &Importer, a: &Authored| i.heads(a.clock(), note(1)).unwrap()[0].reference();
    let (of_b, of_a) = (head(&importer, &done[1]), head(&importer, &done[2]));
    let mut draft = importer.commit(c, &[&done[1]], at(9_000)).unwrap();
    let wrong = draft.put_expecting(note(1), "note", &[of_b, of_a], &text("x"));
    assert!(matches!(wrong, Err(Error::Stale(_))));
    draft.put_expecting(note(1), "note", &[of_b], &text("x")).unwrap();
    assert!(matches!(draft.delete(note(1)), Err(Error::AlreadyChanged(_))), "twice in one commit");
    draft.finish().unwrap();
    importer.finish().unwrap();
    assert_eq!(engine.snapshot().unwrap().heads(note(1)).unwrap().len(), 2);
    assert!(engine.verify().unwrap().is_clean());
}

#[test]
fn misuse_of_an_importer_is_a_typed_error() {
    assert!(matches!(Engine::in_memory().unwrap().importer().err(), Some(Error::NoDataset)));
    let engine = engine();
    let mut importer = engine.importer().unwrap();
    assert!(importer.device("no spaces").is_err());
    let done = history(&mut importer, 3);
    let a = importer.device("a").unwrap();
    assert!(
        importer.commit(a, &[], at(0)).unwrap().finish().is_err(),
        "a commit without a version"
    );
    let b = importer.device("b").unwrap();
    let mut draft = importer.commit(b, &[&done[2]], at(0)).unwrap();
    assert!(matches!(draft.create(note(1), "note", &text("again")), Err(Error::Exists { .. })));
    assert!(matches!(draft.delete(note(9)), Err(Error::NotFound(_))));
}

#[test]
fn times_before_1970_and_after_9999_stay_within_the_format() {
    let engine = engine();
    let mut importer = engine.importer().unwrap();
    let (a, b) = (importer.device("a").unwrap(), importer.device("b").unwrap());
    let mut draft = importer.commit(a, &[], at(-5)).unwrap();
    draft.create(note(1), "note", &text("early")).unwrap();
    let first = draft.finish().unwrap();
    let mut draft = importer.commit(b, &[&first], at(i64::MAX)).unwrap();
    draft.put(note(1), "note", &text("late")).unwrap();
    let second = draft.finish().unwrap();
    let mut draft = importer.commit(a, &[&second], at(7)).unwrap();
    draft.put(note(1), "note", &text("after the last moment")).unwrap();
    draft.finish().unwrap();
    importer.finish().unwrap();
    let snapshot = engine.snapshot().unwrap();
    let head = &snapshot.heads(note(1)).unwrap()[0];
    assert_eq!((head.wall(), head.stamp()), (at(7), Timestamp::MAX));
    let found = engine.verify().unwrap();
    assert!(found.is_clean() && found.voids == 0, "{found:?}");
}
