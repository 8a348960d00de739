//! Where the rules part from what one would write down first: each test is named after the bug that
//! the obvious rule has.

use std::sync::atomic::{AtomicI64, Ordering};

use heirloom::{
    Clock, ClockOrdering, Content, Engine, EntityId, Error, LogId, Lsn, Patch, Policy, Timestamp,
    Value, apply_patch, diff,
};
use heirloom_sync::{Outcome, sync_in_process};

/// Each look at a clock is a second after the last one, on whatever device.
fn later() -> Timestamp {
    static NOW: AtomicI64 = AtomicI64::new(1_700_000_000_000);
    Timestamp::from_millis(NOW.fetch_add(1_000, Ordering::Relaxed))
}

fn device(name: &str) -> Engine {
    Engine::builder()
        .device_id(name)
        .dataset_name("corrected")
        .wall_clock(later)
        .in_memory()
        .unwrap()
}

fn meet(a: &Engine, b: &Engine) {
    sync_in_process(a, b).unwrap();
    let (report, _) = sync_in_process(a, b).unwrap();
    assert_eq!(report.outcome, Outcome::AlreadyEqual);
}

fn fields(pairs: &[(&str, i64)]) -> Content {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::Int(*value))).collect()
}

/// A phone and a tablet that both know a lamp.
fn two(content: &Content) -> (Engine, Engine, EntityId) {
    let (phone, tablet) = (device("phone"), device("tablet"));
    let id = phone.write(|tx| tx.create("lamp", content)).unwrap();
    meet(&phone, &tablet);
    (phone, tablet, id)
}

fn set(field: &str, value: i64) -> Patch {
    Patch::new().set(field, value)
}

fn patch(engine: &Engine, id: EntityId, patch: Patch) {
    engine.write(|tx| tx.patch(id, patch)).unwrap();
}

fn read(engine: &Engine, id: EntityId) -> Content {
    engine.snapshot().unwrap().get(id).unwrap().expect("it is there").content()
}

fn open_fields(engine: &Engine, id: EntityId) -> Vec<String> {
    let found = engine.snapshot().unwrap().conflict(id).unwrap();
    found.map_or(Vec::new(), |c| c.fields.iter().map(|f| f.path.join(".")).collect())
}

/// R7. With ≤ for «happens before», two equal clocks each precede the other, and nobody is ever up
/// to date.
#[test]
fn an_equal_clock_precedes_itself() {
    let (phone, tablet, id) = two(&fields(&[("a", 0)]));
    let clock = phone.clock().unwrap();
    assert!(!clock.happens_before(&clock) && !clock.happens_before(&tablet.clock().unwrap()));
    assert_eq!(clock.compare(&tablet.clock().unwrap()), ClockOrdering::Equal);
    patch(&phone, id, set("a", 1));
    let newer = phone.clock().unwrap();
    assert!(clock.happens_before(&newer) && !newer.happens_before(&clock));
    assert_eq!(
        (clock.compare(&newer), newer.compare(&clock)),
        (ClockOrdering::Before, ClockOrdering::After)
    );

    // of all pairs of small clocks exactly one answer holds, and it is turned round with the pair
    let clocks: Vec<Clock> = (0..27u64)
        .map(|n| {
            let mut clock = Clock::new();
            for (log, count) in [n % 3, n / 3 % 3, n / 9].into_iter().enumerate() {
                for _ in 0..count {
                    clock.increment(LogId::from_bytes([log as u8; 16]), Timestamp::EPOCH);
                }
            }
            clock
        })
        .collect();
    for (i, a) in clocks.iter().enumerate() {
        for (k, b) in clocks.iter().enumerate() {
            let turned = match a.compare(b) {
                ClockOrdering::Before => ClockOrdering::After,
                ClockOrdering::After => ClockOrdering::Before,
                same => same,
            };
            assert_eq!((b.compare(a), a.compare(b) == ClockOrdering::Equal), (turned, i == k));
            assert!(!(a.happens_before(b) && b.happens_before(a)));
        }
    }
}

/// R15. Writing a form back as a whole undoes what arrived while it was open.
#[test]
fn a_stale_form_overwrites_what_arrived_since() {
    let (phone, tablet, id) = two(&fields(&[("a", 0), ("b", 0)]));
    let form = phone.snapshot().unwrap().get(id).unwrap().unwrap();
    patch(&tablet, id, set("a", 1).unset("b").set("c", 1));
    meet(&phone, &tablet);
    phone.write(|tx| tx.put(&form, &fields(&[("a", 0), ("b", 0), ("d", 2)]))).unwrap();
    assert_eq!(
        read(&phone, id),
        fields(&[("a", 1), ("c", 1), ("d", 2)]),
        "only what the form's user changed"
    );
    let root = phone.log_root().unwrap();
    let refused = phone.write(|tx| tx.put(&form, &fields(&[("a", 5), ("b", 0)])));
    let Err(Error::Stale(stale)) = refused else { panic!("{refused:?}") };
    let field = &stale.fields[0];
    assert_eq!(
        (&field.read, &field.yours, &field.theirs),
        (&Some(0.into()), &Some(5.into()), &Some(1.into()))
    );
    assert_eq!(phone.log_root().unwrap(), root);
}

/// R16. Comparing each head with its direct parents only, one that is two edits ahead looks
/// concurrent to its own grandparent.
#[test]
fn a_grandparent_is_called_a_conflict() {
    let (phone, tablet, id) = two(&fields(&[("a", 0)]));
    for n in 1..=3 {
        patch(&phone, id, set("a", n));
    }
    meet(&phone, &tablet);
    for d in [&phone, &tablet] {
        let snapshot = d.snapshot().unwrap();
        assert_eq!(
            (snapshot.heads(id).unwrap().len(), snapshot.conflicts().count().unwrap()),
            (1, 0)
        );
        assert_eq!(read(d, id), fields(&[("a", 3)]));
    }
    // also where only one side's line is long
    patch(&phone, id, set("a", 4));
    patch(&tablet, id, set("b", 1));
    patch(&tablet, id, set("b", 2));
    patch(&tablet, id, set("b", 3));
    meet(&phone, &tablet);
    assert_eq!(
        (read(&phone, id), open_fields(&phone, id)),
        (fields(&[("a", 4), ("b", 3)]), vec![])
    );
}

/// R16. Comparing contents without ancestry, a field that one side lacks because it removed it
/// looks like one that it never got.
#[test]
fn a_removed_field_is_resurrected() {
    let (phone, tablet, id) = two(&fields(&[("a", 0), ("b", 0)]));
    patch(&phone, id, Patch::new().unset("a"));
    patch(&tablet, id, set("b", 1));
    meet(&phone, &tablet);
    assert_eq!(read(&tablet, id), fields(&[("b", 1)]));
    // also by one who merges without having looked at it, and by one who comes late with an old
    // state
    let late = device("late");
    meet(&phone, &late);
    patch(&late, id, set("c", 1));
    patch(&tablet, id, set("b", 2));
    meet(&tablet, &late);
    meet(&phone, &late);
    assert_eq!(read(&phone, id), fields(&[("b", 2), ("c", 1)]));
    assert!(open_fields(&phone, id).is_empty());
}

/// R16. Were a removal to compete, each would have to be remembered for ever; so the change stands
/// and nothing is in conflict.
#[test]
fn a_removal_competes_with_a_change() {
    for removal_is_last in [true, false] {
        let (phone, tablet, id) = two(&fields(&[("a", 0), ("b", 0)]));
        let remove = || patch(&phone, id, Patch::new().unset("a"));
        if !removal_is_last {
            remove();
        }
        patch(&tablet, id, set("a", 1));
        if removal_is_last {
            remove();
        }
        meet(&phone, &tablet);
        for d in [&phone, &tablet] {
            assert_eq!(read(d, id), fields(&[("a", 1), ("b", 0)]), "the change is kept");
            assert!(open_fields(d, id).is_empty());
        }
    }
}

/// R16. Who wants a removal to compete says null: that is a value like any other.
#[test]
fn a_null_does_not_compete() {
    let (phone, tablet, id) = two(&fields(&[("a", 0)]));
    patch(&phone, id, set("a", 1));
    patch(&tablet, id, Patch::new().set("a", Value::Null));
    meet(&phone, &tablet);
    for d in [&phone, &tablet] {
        assert_eq!(open_fields(d, id), ["a"]);
        assert_eq!(read(d, id).get("a"), Some(&Value::Null), "the last write");
    }
}

/// R17. A field above another one is neither the same field nor a stranger to it.
#[test]
fn fields_above_and_below_each_other_pass_for_unrelated() {
    let (phone, tablet, id) = two(&fields(&[]));
    patch(&phone, id, set("m", 1));
    patch(&tablet, id, Patch::new().set_at(["m", "x"], 2));
    meet(&phone, &tablet);
    assert_eq!(open_fields(&phone, id), ["m", "m.x"]);
    assert_eq!(read(&phone, id), read(&tablet, id));
}

/// R18. Falling back to the last write of the whole entity where one field overlaps, an older edit
/// of a field takes with it a newer one of another.
#[test]
fn a_whole_entity_is_switched_when_one_field_overlaps() {
    let (phone, tablet, id) = two(&fields(&[("a", 0), ("b", 0), ("c", 0)]));
    patch(&phone, id, set("a", 1).set("b", 1));
    patch(&tablet, id, set("a", 2).set("c", 2));
    meet(&phone, &tablet);
    for d in [&phone, &tablet] {
        assert_eq!(read(d, id), fields(&[("a", 2), ("b", 1), ("c", 2)]));
        assert_eq!(open_fields(d, id), ["a"]);
    }
}

/// R18. The head with the last stamp also carries old values: taking it as a whole, or counting
/// what it carries as its own, undoes an edit that is newer than they are.
#[test]
fn an_older_edit_erases_a_newer_unrelated_one() {
    let (phone, tablet, id) = two(&fields(&[("a", 0), ("b", 0)]));
    patch(&phone, id, set("a", 1));
    patch(&phone, id, set("b", 1));
    patch(&tablet, id, set("a", 2)); // the last write, on a device that never saw the new b
    meet(&phone, &tablet);
    for d in [&phone, &tablet] {
        assert_eq!(
            (read(d, id), open_fields(d, id)),
            (fields(&[("a", 2), ("b", 1)]), vec!["a".to_owned()])
        );
    }
    // three writers: the oldest arrives last, and takes nothing back
    let third = device("third");
    let (one, two, id) = two(&fields(&[("a", 0), ("b", 0), ("c", 0)]));
    meet(&one, &third);
    patch(&third, id, set("a", 1).set("b", 1));
    patch(&one, id, set("a", 2).set("c", 2));
    patch(&two, id, set("a", 3));
    meet(&one, &two);
    meet(&one, &third);
    meet(&one, &two);
    for d in [&one, &two, &third] {
        assert_eq!(read(d, id), fields(&[("a", 3), ("b", 1), ("c", 2)]));
    }
}

/// R20. Were a write to settle all that it is written upon, a robot that counts something would
/// decide what a person has to.
#[test]
fn a_write_decides_fields_that_it_did_not_touch() {
    let (phone, tablet, id) = two(&fields(&[("a", 0), ("n", 0)]));
    patch(&phone, id, set("a", 1));
    patch(&tablet, id, set("a", 2));
    meet(&phone, &tablet);
    for n in 1..=3 {
        patch(&phone, id, set("n", n));
        meet(&phone, &tablet);
    }
    assert_eq!(
        (open_fields(&tablet, id), read(&tablet, id)),
        (vec!["a".to_owned()], fields(&[("a", 2), ("n", 3)]))
    );
    let report = tablet.snapshot().unwrap().conflict(id).unwrap().unwrap();
    let said: Vec<_> = report.fields[0].sides.iter().map(|s| s.value.clone()).collect();
    assert_eq!(said, [2.into(), 1.into()], "both values are still there");
}

/// R22. Pulling before pushing, the old system put what came over what had not been sent.
#[test]
fn a_pull_overwrites_an_unsent_edit() {
    let (phone, tablet, id) = two(&fields(&[("a", 0), ("b", 0)]));
    patch(&phone, id, set("a", 1));
    let unsent = phone.snapshot().unwrap().heads(id).unwrap()[0].reference();
    patch(&tablet, id, set("a", 2).set("b", 2));
    // the phone only takes in
    let batch =
        tablet.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
    let commits: Vec<&[u8]> = batch.commits.iter().map(|c| &c.bytes[..]).collect();
    phone.replication().ingest(&commits).unwrap();
    assert_eq!(open_fields(&phone, id), ["a"], "it is a conflict, not a loss");
    let snapshot = phone.snapshot().unwrap();
    assert!(snapshot.heads(id).unwrap().iter().any(|h| h.reference() == unsent));
    assert_eq!(snapshot.content_at(&unsent).unwrap().unwrap(), fields(&[("a", 1), ("b", 0)]));

    meet(&phone, &tablet);
    tablet.write(|tx| tx.restore(id, &unsent)).unwrap();
    meet(&phone, &tablet);
    assert_eq!(
        read(&phone, id),
        fields(&[("a", 1), ("b", 0)]),
        "and one call brings it back, elsewhere too"
    );
}

/// R22. Nor is it lost where the loser is never shown: under a policy for whole versions, or beside
/// a deletion.
#[test]
fn a_value_that_is_not_shown_is_lost() {
    for policy in [
        Policy::LastWriteWins,
        Policy::FirstWriteWins,
        Policy::HigherVersionWins,
        Policy::DeleteWins,
    ] {
        let under = |name: &str| {
            let builder =
                Engine::builder().device_id(name).dataset_name("corrected").wall_clock(later);
            builder.policy("lamp", policy.clone()).in_memory().unwrap()
        };
        let (phone, tablet) = (under("phone"), under("tablet"));
        let id = phone.write(|tx| tx.create("lamp", &fields(&[("a", 0)]))).unwrap();
        meet(&phone, &tablet);
        patch(&tablet, id, set("a", 7));
        let edit = tablet.snapshot().unwrap().heads(id).unwrap()[0].reference();
        phone.write(|tx| tx.delete(id)).unwrap();
        meet(&phone, &tablet);
        phone.write(|tx| tx.restore(id, &edit)).unwrap();
        meet(&phone, &tablet);
        assert_eq!(read(&tablet, id), fields(&[("a", 7)]), "{policy}");
    }
}

/// R24. A delta that lists what the new content has cannot say what it no longer has.
#[test]
fn a_delta_cannot_remove_a_field() {
    let (a, b) = (fields(&[("a", 0), ("b", 0)]), fields(&[("b", 1)]));
    assert_eq!(apply_patch(&diff(&a, &b).unwrap(), &a).unwrap(), b);
    let nested = |inner: Content| Content::new().with("m", inner);
    let (a, b) = (nested(fields(&[("x", 0), ("y", 0)])), nested(fields(&[("y", 0)])));
    assert_eq!(apply_patch(&diff(&a, &b).unwrap(), &a).unwrap(), b);
    assert_eq!(apply_patch(&diff(&a, &Content::new()).unwrap(), &a).unwrap(), Content::new());

    // and it travels
    let (phone, tablet, id) = two(&fields(&[("a", 0), ("b", 0)]));
    patch(&phone, id, Patch::new().unset("a"));
    meet(&phone, &tablet);
    assert_eq!(read(&tablet, id), fields(&[("b", 0)]));
}
