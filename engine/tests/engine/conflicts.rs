//! Conflicts through the public API: how they are reported, shown, listed, settled; and writes that
//! must not overwrite what nobody saw.
//!
//! Contents are written as text: `a=1 m.x=2`, `deleted`; behind them, after `!`, what is in
//! conflict.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use heirloom::{
    Builder, Conflict, ConflictKind, Content, Engine, Entity, EntityId, Error, Invalid, Kind, Lsn,
    Patch, Policy, Proposal, Resolution, Sequence, Snapshot, Timestamp, Transaction, Value,
    VersionRef, apply_patch,
};

use super::carried::carry;

// --- devices, and what they show

/// Every look at a clock is a second after the last one, whoever looks: the order of writes is that
/// of the lines of a test.
fn later() -> Timestamp {
    static NOW: AtomicI64 = AtomicI64::new(1_700_000_000_000);
    Timestamp::from_millis(NOW.fetch_add(1_000, Ordering::Relaxed))
}

fn builder(device: &str) -> Builder {
    Engine::builder().device_id(device).dataset_name("home").wall_clock(later)
}

fn device(name: &str) -> Engine {
    builder(name).in_memory().unwrap()
}

/// One whose lamps are under this policy.
fn device_under(name: &str, policy: &Policy) -> Engine {
    builder(name).policy("lamp", policy.clone()).in_memory().unwrap()
}

/// Everybody hears of everything, and all are sound.
fn meet(devices: &[&Engine]) {
    for _ in 0..2 {
        for pair in devices.windows(2) {
            carry(pair[0], pair[1]);
            carry(pair[1], pair[0]);
        }
    }
    for d in devices {
        assert_eq!(d.log_root().unwrap(), devices[0].log_root().unwrap());
        let found = d.verify().unwrap();
        assert!(found.is_clean(), "{:?}", found.problems);
    }
}

fn leaf(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Map(map) if !map.is_empty() => {
            map.iter().for_each(|(key, below)| leaf(below, &format!("{path}.{key}"), out))
        }
        Value::Map(_) => out.push(format!("{path}={{}}")),
        Value::Int(n) => out.push(format!("{path}={n}")),
        Value::Text(t) => out.push(format!("{path}={t}")),
        other => out.push(format!("{path}={other:?}").to_lowercase()),
    }
}

fn text(content: &Content) -> String {
    let mut out = Vec::new();
    content.iter().for_each(|(name, value)| leaf(value, name, &mut out));
    out.join(" ")
}

fn entity_text(entity: &Entity) -> String {
    let mut out = if entity.is_deleted() { "deleted".to_owned() } else { text(&entity.content()) };
    if entity.is_conflicted() {
        let deletion = entity.is_deletion_conflict().then(|| "deletion".to_owned());
        let open: Vec<String> =
            entity.conflicting_fields().iter().cloned().chain(deletion).collect();
        out.push_str(&format!(" !{}", open.join(",")));
    }
    out
}

fn shown_in(snapshot: &Snapshot, id: EntityId) -> String {
    snapshot.get_any(id).unwrap().map_or("unknown".to_owned(), |e| entity_text(&e))
}

fn shown(engine: &Engine, id: EntityId) -> String {
    shown_in(&engine.snapshot().unwrap(), id)
}

fn fields(pairs: &[(&str, i64)]) -> Content {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::Int(*value))).collect()
}

fn set(field: &str, value: i64) -> Patch {
    Patch::new().set(field, value)
}

fn create(engine: &Engine, content: &Content) -> EntityId {
    engine.write(|tx| tx.create("lamp", content)).unwrap()
}

fn patch(engine: &Engine, id: EntityId, patch: Patch) {
    engine.write(|tx| tx.patch(id, patch)).unwrap();
}

fn delete(engine: &Engine, id: EntityId) {
    engine.write(|tx| tx.delete(id)).unwrap();
}

fn form(engine: &Engine, id: EntityId) -> Entity {
    engine.snapshot().unwrap().get(id).unwrap().unwrap()
}

fn conflict(engine: &Engine, id: EntityId) -> Conflict {
    engine.snapshot().unwrap().conflict(id).unwrap().expect("a conflict")
}

fn heads(engine: &Engine, id: EntityId) -> Vec<VersionRef> {
    engine.snapshot().unwrap().heads(id).unwrap().iter().map(|v| v.reference()).collect()
}

/// A phone and a tablet that know a lamp, wrote to it offline (the phone first), and met.
fn diverged_under(
    policy: &Policy,
    base: &Content,
    phone: impl FnOnce(&mut Transaction<'_>, EntityId) -> heirloom::Result<()>,
    tablet: impl FnOnce(&mut Transaction<'_>, EntityId) -> heirloom::Result<()>,
) -> (Engine, Engine, EntityId) {
    let (p, t) = (device_under("phone", policy), device_under("tablet", policy));
    let id = create(&p, base);
    meet(&[&p, &t]);
    p.write(|tx| phone(tx, id)).unwrap();
    t.write(|tx| tablet(tx, id)).unwrap();
    meet(&[&p, &t]);
    (p, t, id)
}

fn diverged(base: &Content, phone: Patch, tablet: Patch) -> (Engine, Engine, EntityId) {
    diverged_under(&Policy::Auto, base, |tx, id| tx.patch(id, phone), |tx, id| tx.patch(id, tablet))
}

/// `a` is 1 on the phone and 2 on the tablet; `b` only the phone set, `c` only the tablet.
fn over_a(policy: &Policy) -> (Engine, Engine, EntityId) {
    let (phone, tablet) = (set("a", 1).set("b", 1), set("a", 2).set("c", 2));
    diverged_under(
        policy,
        &fields(&[("a", 0), ("b", 0), ("c", 0)]),
        |tx, id| tx.patch(id, phone),
        |tx, id| tx.patch(id, tablet),
    )
}

/// The phone deletes what the tablet changes.
fn over_a_deletion(policy: &Policy) -> (Engine, Engine, EntityId) {
    let base = fields(&[("a", 0)]);
    diverged_under(policy, &base, |tx, id| tx.delete(id), |tx, id| tx.patch(id, set("a", 2)))
}

// --- the report (R17)

#[test]
fn a_report_tells_who_said_what_when_and_what_auto_would_show() {
    let (phone, tablet, id) = over_a(&Policy::Auto);
    let report = conflict(&phone, id);
    assert_eq!((report.entity, &*report.entity_type), (id, "lamp"));
    assert_eq!(report.kind, ConflictKind::ConcurrentModification);

    let snapshot = phone.snapshot().unwrap();
    let told: Vec<_> = report.heads.iter().map(|h| (&*h.device, h.generation)).collect();
    assert_eq!(told, [("phone", 2), ("tablet", 2)], "in the order of writes");
    for head in &report.heads {
        let version = snapshot.version(&head.version).unwrap();
        assert_eq!((version.device(), version.stamp()), (&*head.device, head.stamp));
        assert_eq!(head.content, snapshot.content_at(&head.version).unwrap());
    }
    let contents: Vec<_> = report.heads.iter().map(|h| text(h.content.as_ref().unwrap())).collect();
    assert_eq!(contents, ["a=1 b=1 c=0", "a=2 b=0 c=2"]);

    assert_eq!(report.fields.len(), 1, "b and c are in nobody's way");
    assert_eq!(report.fields[0].path, ["a"]);
    let sides: Vec<_> =
        report.fields[0].sides.iter().map(|s| (&*s.device, s.value.clone())).collect();
    assert_eq!(sides, [("tablet", 2.into()), ("phone", 1.into())], "the last write first");
    for side in &report.fields[0].sides {
        let head = report.heads.iter().find(|h| h.version == side.version).unwrap();
        assert_eq!((&side.device, side.stamp), (&head.device, head.stamp));
    }
    assert_eq!(text(report.suggestion.as_ref().unwrap()), "a=2 b=1 c=2");
    let seen: BTreeSet<_> = report.seen().into_iter().collect();
    assert_eq!(seen, heads(&phone, id).into_iter().collect());

    let ancestor = snapshot.common_ancestor(id).unwrap().unwrap();
    assert_eq!(ancestor.kind(), Kind::Create);
    let before = snapshot.content_at(&ancestor.reference()).unwrap().unwrap();
    assert_eq!(text(&before), "a=0 b=0 c=0");

    assert_eq!(report, conflict(&tablet, id), "the same wherever the heads are");
}

#[test]
fn nested_fields_conflict_leaf_by_leaf() {
    let inner = Content::new().with("m", fields(&[("x", 0), ("y", 0)]));
    let both = |x| Patch::new().set_at(["m", "x"], x);
    let (phone, _, id) = diverged(&inner, both(1).set_at(["m", "y"], 1), both(2));
    let report = conflict(&phone, id);
    assert_eq!(report.fields.iter().map(|f| f.path.join("/")).collect::<Vec<_>>(), ["m/x"]);
    assert!(
        report.field("m.x").is_some()
            && report.field("m").is_none()
            && report.field("m.y").is_none()
    );
    assert_eq!(shown(&phone, id), "m.x=2 m.y=1 !m.x");
}

#[test]
fn fields_of_which_one_lies_above_the_other_clash() {
    let (phone, tablet, id) =
        diverged(&fields(&[]), Patch::new().set_at(["m", "x"], 2), set("m", 1));
    let report = conflict(&phone, id);
    assert_eq!(report.kind, ConflictKind::ConcurrentModification);
    let sides = |field: &str| {
        report.field(field).unwrap().sides.iter().map(|s| &*s.device).collect::<Vec<_>>()
    };
    assert_eq!((sides("m"), sides("m.x")), (vec!["tablet"], vec!["phone"]));
    for d in [&phone, &tablet] {
        assert_eq!(shown(d, id), "m=1 !m,m.x", "the newest, then what fits");
    }
}

#[test]
fn an_empty_map_gives_way_to_what_stands_below_it() {
    let empty = Patch::new().set("m", Content::new());
    let (phone, _, id) = diverged(&fields(&[]), Patch::new().set_at(["m", "x"], 2), empty);
    assert_eq!(shown(&phone, id), "m.x=2");
}

#[test]
fn a_deletion_against_an_update_suggests_nothing_and_lists_what_else_is_open() {
    let (phone, tablet, id) = over_a_deletion(&Policy::Auto);
    let report = conflict(&phone, id);
    assert_eq!((report.kind, &report.suggestion), (ConflictKind::DeleteAgainstUpdate, &None));
    let contents: Vec<_> = report.heads.iter().map(|h| h.content.as_ref().map(text)).collect();
    assert_eq!(contents, [None, Some("a=2".to_owned())]);
    assert!(report.fields.is_empty());
    assert_eq!(shown(&phone, id), "deleted !deletion");

    // a third one had changed the same field
    let third = device("third");
    let creation =
        phone.replication().commits(Lsn::START, Lsn::new(1), &|_, _, _| true, usize::MAX).unwrap();
    third.replication().ingest(&[&creation.commits[0].bytes]).unwrap();
    patch(&third, id, set("a", 3));
    meet(&[&phone, &tablet, &third]);
    let report = conflict(&tablet, id);
    assert_eq!((report.kind, report.heads.len()), (ConflictKind::DeleteAgainstUpdate, 3));
    assert_eq!(report.field("a").unwrap().sides.len(), 2);
}

#[test]
fn two_creations_that_differ_are_a_conflict_without_an_ancestor() {
    for other_type in ["lamp", "light"] {
        let (phone, tablet) = (device("phone"), device("tablet"));
        let id = EntityId::v5(&[1; 16], b"kitchen");
        phone.write(|tx| tx.create_with_id(id, "lamp", &fields(&[("a", 1), ("b", 1)]))).unwrap();
        tablet
            .write(|tx| tx.create_with_id(id, other_type, &fields(&[("a", 2), ("c", 2)])))
            .unwrap();
        meet(&[&phone, &tablet]);
        for d in [&phone, &tablet] {
            let report = conflict(d, id);
            assert_eq!(
                (report.kind, &*report.entity_type),
                (ConflictKind::TwoCreations, "lamp"),
                "the first names it"
            );
            assert!(d.snapshot().unwrap().common_ancestor(id).unwrap().is_none());
            assert_eq!(shown(d, id), "a=2 b=1 c=2 !a");
            assert_eq!(d.snapshot().unwrap().list("lamp").count().unwrap(), 1);
            assert_eq!(d.snapshot().unwrap().list("light").count().unwrap(), 0);
        }
        // written to since: still two creations
        patch(&phone, id, set("b", 5));
        assert_eq!(
            conflict(&phone, id).kind,
            ConflictKind::ConcurrentModification,
            "somebody has seen both by now"
        );
    }
}

#[test]
fn two_creations_that_say_the_same_are_no_conflict() {
    let (phone, tablet) = (device("phone"), device("tablet"));
    let id = EntityId::v5(&[1; 16], b"kitchen");
    for d in [&phone, &tablet] {
        d.write(|tx| tx.create_with_id(id, "lamp", &fields(&[("a", 1)]))).unwrap();
    }
    meet(&[&phone, &tablet]);
    assert_eq!((shown(&phone, id), heads(&phone, id).len()), ("a=1".to_owned(), 2));
    assert!(phone.snapshot().unwrap().conflict(id).unwrap().is_none());
}

#[test]
fn what_is_settled_unknown_or_merely_diverged_is_no_conflict() {
    let (phone, _, id) = diverged(&fields(&[("a", 0), ("b", 0)]), set("a", 1), set("b", 2));
    let snapshot = phone.snapshot().unwrap();
    assert_eq!(heads(&phone, id).len(), 2);
    assert!(snapshot.conflict(id).unwrap().is_none());
    assert_eq!(
        (snapshot.conflicts().count().unwrap(), snapshot.unsettled().unwrap().count()),
        (0, 1)
    );
    assert!(snapshot.conflict(EntityId::from_bytes([9; 16])).unwrap().is_none());
    let (phone, _, id) = diverged(&fields(&[("a", 0)]), set("a", 7), set("a", 7));
    assert!(phone.snapshot().unwrap().conflict(id).unwrap().is_none(), "they agree");
}

#[test]
fn a_write_beside_an_open_conflict_leaves_a_report_with_one_head() {
    let (phone, tablet, id) = over_a(&Policy::Auto);
    let before = conflict(&phone, id);
    patch(&phone, id, set("b", 9));
    meet(&[&phone, &tablet]);
    let report = conflict(&tablet, id);
    assert_eq!(
        (report.heads.len(), &*report.heads[0].device, report.heads[0].generation),
        (1, "phone", 3)
    );
    assert_eq!(report.fields, before.fields, "the same sides");
    assert_eq!(shown(&tablet, id), "a=2 b=9 c=2 !a");
}

#[test]
fn the_common_ancestor_is_the_newest_that_all_heads_have_seen() {
    let (phone, tablet) = (device("phone"), device("tablet"));
    let id = create(&phone, &fields(&[("a", 0)]));
    patch(&phone, id, set("a", 1));
    let settled = heads(&phone, id)[0];
    let ancestor =
        |d: &Engine| d.snapshot().unwrap().common_ancestor(id).unwrap().map(|v| v.reference());
    assert_eq!(ancestor(&phone), Some(settled), "of a settled entity its only head");
    meet(&[&phone, &tablet]);
    for n in 0..40 {
        patch(&phone, id, set("a", 100 + n));
    }
    patch(&tablet, id, set("a", 3));
    meet(&[&phone, &tablet]);
    assert_eq!(ancestor(&tablet), Some(settled));
    // both join the two heads, without having seen the other do it: they share two heads now, of
    // which one is newer
    let newest = heads(&phone, id)
        .into_iter()
        .max_by_key(|h| phone.snapshot().unwrap().version(h).unwrap().stamp());
    patch(&phone, id, set("a", 5));
    patch(&tablet, id, set("a", 6));
    meet(&[&phone, &tablet]);
    assert_eq!(ancestor(&phone), newest);
    let unknown = EntityId::from_bytes([9; 16]);
    assert!(phone.snapshot().unwrap().common_ancestor(unknown).unwrap().is_none());
}

// --- lists

/// So many lamps and rooms in conflict on a phone, in the order of their ids, the lamps first.
fn many_conflicts(policy: &Policy, lamps: usize, rooms: usize) -> (Engine, Engine, Vec<EntityId>) {
    let (phone, tablet) = (device_under("phone", policy), device_under("tablet", policy));
    let id = |n: usize| EntityId::from_bytes([n as u8; 16]);
    for n in 0..lamps + rooms {
        let kind = if n < lamps { "lamp" } else { "room" };
        phone.write(|tx| tx.create_with_id(id(n), kind, &fields(&[("a", 0)]))).unwrap();
    }
    meet(&[&phone, &tablet]);
    for n in 0..lamps + rooms {
        patch(&phone, id(n), set("a", 1));
        patch(&tablet, id(n), set("a", 2));
    }
    meet(&[&phone, &tablet]);
    (phone, tablet, (0..lamps + rooms).map(id).collect())
}

#[test]
fn conflicts_are_listed_in_order_by_type_and_page() {
    let (phone, _, ids) = many_conflicts(&Policy::Auto, 4, 3);
    let settled = create(&phone, &fields(&[("a", 0)]));
    let snapshot = phone.snapshot().unwrap();
    let listed = |list: heirloom::Conflicts<'_>| {
        list.into_iter().map(|c| c.unwrap().entity).collect::<Vec<_>>()
    };
    assert_eq!(listed(snapshot.conflicts()), ids);
    assert_eq!(listed(snapshot.conflicts().of_type("lamp")), ids[..4]);
    assert_eq!(listed(snapshot.conflicts().of_type("room").after(ids[4])), ids[5..]);
    assert_eq!(listed(snapshot.conflicts().after(ids[1]).limit(3)), ids[2..5]);
    assert_eq!(
        listed(snapshot.conflicts().of_type("room").limit(1)),
        ids[4..5],
        "of that type, not of the first rows"
    );
    assert_eq!(snapshot.conflicts().of_type("room").count().unwrap(), 3);
    assert_eq!(snapshot.conflicts().limit(2).count().unwrap(), 2);
    assert_eq!(snapshot.conflicts().of_type("nothing").count().unwrap(), 0);
    assert!(!listed(snapshot.conflicts()).contains(&settled));
    assert_eq!(snapshot.queue().count().unwrap(), 0, "none of these types is manual");
}

#[test]
fn the_manual_queue_lasts_over_reopening_until_somebody_decides() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        || builder("phone").policy("lamp", Policy::Manual).open(dir.path().join("store")).unwrap();
    let (source, _, ids) = many_conflicts(&Policy::Auto, 2, 1);
    let phone = open();
    carry(&source, &phone);
    let queued = |e: &Engine| {
        e.snapshot().unwrap().queue().into_iter().map(|c| c.unwrap().entity).collect::<Vec<_>>()
    };
    assert_eq!(queued(&phone), ids[..2], "lamps are manual, rooms are not");
    phone.close().unwrap();

    let phone = open();
    assert_eq!(queued(&phone), ids[..2]);
    let report = phone.snapshot().unwrap().queue().into_iter().next().unwrap().unwrap();
    assert_eq!(report.field("a").unwrap().sides.len(), 2, "the options");
    assert_eq!(shown(&phone, ids[0]), "a=2 !a", "shown as suggested, marked");
    let chosen = report.field("a").unwrap().sides[1].value.clone();
    phone.write(|tx| tx.resolve(ids[0], &report.seen(), Patch::new().set("a", chosen))).unwrap();
    assert_eq!((queued(&phone), shown(&phone, ids[0])), (ids[1..2].to_vec(), "a=1".to_owned()));
    phone.close().unwrap();
    assert_eq!(queued(&open()), ids[1..2]);

    // elsewhere somebody writes the open field
    patch(&source, ids[1], set("a", 7));
    let phone = open();
    carry(&source, &phone);
    assert_eq!((queued(&phone), shown(&phone, ids[1])), (vec![], "a=7".to_owned()));
}

#[test]
fn counting_a_listing_agrees_with_reading_it_under_every_policy() {
    let deletes = Policy::custom("deletes", 1, |_| Resolution::Delete);
    let keeps = Policy::custom("keeps", 1, |_| Resolution::Patch(Patch::new()));
    let named = NAMED.map(|name| name.parse::<Policy>().unwrap());
    for policy in named.iter().chain([&deletes, &keeps]) {
        for (phone, _, id) in [over_a(policy), over_a_deletion(policy)] {
            let snapshot = phone.snapshot().unwrap();
            let read = snapshot.list("lamp").entities().unwrap();
            assert_eq!(read.len(), usize::from(snapshot.get(id).unwrap().is_some()), "{policy}");
            assert_eq!(snapshot.list("lamp").count().unwrap(), read.len() as u64, "{policy}");
            assert_eq!(snapshot.list("lamp").include_deleted().count().unwrap(), 1, "{policy}");
        }
    }
}

// --- resolve (R20, R21)

/// Resolves on the phone; what both show then, and the new version's parents are all heads.
fn resolve(phone: &Engine, tablet: &Engine, id: EntityId, resolution: Resolution) -> String {
    let before = heads(phone, id);
    let seen = conflict(phone, id).seen();
    phone.write(|tx| tx.resolve(id, &seen, resolution)).unwrap();
    meet(&[phone, tablet]);
    let snapshot = tablet.snapshot().unwrap();
    let now = snapshot.heads(id).unwrap();
    assert_eq!(now.len(), 1);
    let parents: BTreeSet<_> = now[0].parents().iter().copied().collect();
    assert_eq!(parents, before.into_iter().collect());
    assert_eq!(shown(phone, id), shown(tablet, id));
    shown(phone, id)
}

#[test]
fn every_resolution_settles_what_it_says_it_settles() {
    let mine =
        |c: &Conflict, device: &str| c.heads.iter().find(|h| h.device == device).unwrap().version;
    type Choose<'a> = &'a dyn Fn(&Conflict) -> Resolution;
    let cases: [(Choose<'_>, &str, &str); 7] = [
        (&|_| Resolution::Suggestion, "a=2 b=1 c=2", "deleted"),
        (&|_| set("a", 9).into(), "a=9 b=1 c=2", "a=9"),
        (&|_| set("d", 9).into(), "a=2 b=1 c=2 d=9 !a", "a=2 d=9"),
        (&|_| Resolution::Content(fields(&[("z", 1)])), "z=1", "z=1"),
        (&|c| Resolution::Head(mine(c, "phone")), "a=1 b=1 c=0", "deleted"),
        (&|c| Resolution::Head(mine(c, "tablet")), "a=2 b=0 c=2", "a=2"),
        (&|_| Resolution::Delete, "deleted", "deleted"),
    ];
    for (choose, of_a_field, of_a_deletion) in cases {
        let (phone, tablet, id) = over_a(&Policy::Auto);
        let resolution = choose(&conflict(&phone, id));
        assert_eq!(resolve(&phone, &tablet, id, resolution.clone()), of_a_field, "{resolution:?}");
        let (phone, tablet, id) = over_a_deletion(&Policy::Auto);
        let resolution = choose(&conflict(&phone, id));
        assert_eq!(
            resolve(&phone, &tablet, id, resolution.clone()),
            of_a_deletion,
            "{resolution:?}"
        );
    }
}

#[test]
fn resolving_a_clash_leaves_one_of_the_two() {
    let clash = || diverged(&fields(&[]), Patch::new().set_at(["m", "x"], 2), set("m", 1));
    let (phone, tablet, id) = clash();
    assert_eq!(resolve(&phone, &tablet, id, Resolution::Suggestion), "m=1");
    let (phone, tablet, id) = clash();
    assert_eq!(resolve(&phone, &tablet, id, Patch::new().set_at(["m", "x"], 2).into()), "m.x=2");
    let (phone, tablet, id) = clash();
    assert_eq!(resolve(&phone, &tablet, id, Patch::new().unset("m").into()), "");
}

#[test]
fn resolving_decides_over_the_merge_whatever_the_policy_shows() {
    for policy in
        [Policy::LastWriteWins, Policy::FirstWriteWins, Policy::HigherVersionWins, Policy::Manual]
    {
        let (phone, tablet, id) = over_a(&policy);
        assert_eq!(resolve(&phone, &tablet, id, set("a", 5).into()), "a=5 b=1 c=2", "{policy}");
    }
}

#[test]
fn a_resolution_is_refused_if_another_head_arrived_meanwhile() {
    let (phone, tablet, id) = over_a(&Policy::Auto);
    let report = conflict(&phone, id);
    patch(&tablet, id, set("c", 3));
    carry(&tablet, &phone);
    let root = phone.log_root().unwrap();
    let refused = phone.write(|tx| tx.resolve(id, &report.seen(), Resolution::Suggestion));
    let Err(Error::Stale(stale)) = refused else { panic!("{refused:?}") };
    let set_of = |refs: &[VersionRef]| refs.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!((stale.entity, stale.deleted, stale.fields.len()), (id, false, 0));
    assert_eq!(set_of(&stale.seen), set_of(&report.seen()));
    assert_eq!(stale.now, heads(&phone, id));
    assert_eq!(phone.log_root().unwrap(), root);
    assert!(stale.to_string().contains("another version arrived"), "{stale}");
    // part of the heads is not enough either
    let part = &conflict(&tablet, id).seen()[..0];
    assert!(matches!(
        tablet.write(|tx| tx.resolve(id, part, Resolution::Suggestion)),
        Err(Error::Stale(_))
    ));
}

#[test]
fn a_resolution_that_cannot_be_is_a_typed_error() {
    let (phone, _, id) = over_a(&Policy::Auto);
    let (seen, root) = (conflict(&phone, id).seen(), phone.log_root().unwrap());
    let after_a_patch = phone.write(|tx| {
        tx.patch(id, set("b", 5))?;
        tx.resolve(id, &seen, Resolution::Suggestion)
    });
    assert!(matches!(after_a_patch, Err(Error::AlreadyChanged(_))), "{after_a_patch:?}");
    let creation = phone.snapshot().unwrap().common_ancestor(id).unwrap().unwrap().reference();
    let no_head = phone.write(|tx| tx.resolve(id, &seen, Resolution::Head(creation)));
    assert!(matches!(no_head, Err(Error::NotAHead { .. })), "{no_head:?}");
    let clash = set("m", 1).set_at(["m", "x"], 2);
    assert!(matches!(phone.write(|tx| tx.resolve(id, &seen, clash)), Err(Error::Invalid(_))));
    let nobody = EntityId::from_bytes([9; 16]);
    let unknown = phone.write(|tx| tx.resolve(nobody, &seen, Resolution::Suggestion));
    assert!(matches!(unknown, Err(Error::NotFound(_))), "{unknown:?}");
    assert_eq!(phone.log_root().unwrap(), root);

    delete(&phone, id);
    let dead = phone.write(|tx| tx.resolve(id, &heads(&phone, id), set("a", 1)));
    assert!(matches!(dead, Err(Error::Deleted(_))), "{dead:?}");
}

#[test]
fn resolving_joins_heads_even_where_nothing_else_changes_and_is_silent_where_nothing_is_to_join() {
    let (phone, tablet, id) = diverged(&fields(&[("a", 0), ("b", 0)]), set("a", 1), set("b", 2));
    phone.write(|tx| tx.resolve(id, &heads(&phone, id), Patch::new())).unwrap();
    meet(&[&phone, &tablet]);
    assert_eq!((heads(&tablet, id).len(), shown(&tablet, id)), (1, "a=1 b=2".to_owned()));
    let root = phone.log_root().unwrap();
    phone.write(|tx| tx.resolve(id, &heads(&phone, id), set("a", 1))).unwrap();
    assert_eq!(phone.log_root().unwrap(), root);
}

#[test]
fn two_people_who_decide_alike_make_no_new_conflict_and_who_decide_differently_make_one() {
    let cases: [(Resolution, Resolution, &str); 5] = [
        (set("a", 1).into(), set("a", 1).into(), "a=1 b=1 c=2"),
        (Resolution::Suggestion, Resolution::Suggestion, "a=2 b=1 c=2"),
        (Resolution::Suggestion, set("a", 2).into(), "a=2 b=1 c=2"),
        (set("a", 1).into(), set("a", 5).into(), "a=5 b=1 c=2 !a"),
        (Resolution::Delete, set("a", 5).into(), "deleted !deletion"),
    ];
    for (on_phone, on_tablet, expected) in cases {
        let (phone, tablet, id) = over_a(&Policy::Manual);
        let seen = conflict(&phone, id).seen();
        phone.write(|tx| tx.resolve(id, &seen, on_phone.clone())).unwrap();
        tablet.write(|tx| tx.resolve(id, &seen, on_tablet.clone())).unwrap();
        meet(&[&phone, &tablet]);
        for d in [&phone, &tablet] {
            assert_eq!(shown(d, id), expected, "{on_phone:?} {on_tablet:?}");
            assert_eq!(
                d.snapshot().unwrap().queue().count().unwrap(),
                u64::from(expected.contains('!'))
            );
        }
    }
}

#[test]
fn a_losing_value_is_brought_back_with_one_call() {
    let (phone, tablet, id) = over_a(&Policy::Auto);
    let lost = conflict(&phone, id).field("a").unwrap().sides[1].version;
    patch(&tablet, id, set("a", 2));
    meet(&[&phone, &tablet]);
    assert_eq!(shown(&phone, id), "a=2 b=1 c=2");
    phone.write(|tx| tx.restore(id, &lost)).unwrap();
    meet(&[&phone, &tablet]);
    assert_eq!(shown(&tablet, id), "a=1 b=1 c=0");
    assert_eq!(tablet.snapshot().unwrap().heads(id).unwrap()[0].kind(), Kind::Restore);
}

// --- expect, put (R15)

#[test]
fn what_is_expected_must_be_so_or_nothing_is_written() {
    let (phone, _, id) = over_a(&Policy::Auto);
    let (read, root) = (form(&phone, id), phone.log_root().unwrap());
    let all = read.heads().to_vec();
    let backwards: Vec<_> = all.iter().rev().copied().collect();
    phone.write(|tx| tx.expect(id, &backwards)).unwrap();
    for wrong in [&all[..1], &[]] {
        let refused = phone.write(|tx| {
            tx.patch(id, set("b", 7))?;
            tx.expect(id, wrong)
        });
        let Err(Error::Stale(stale)) = refused else { panic!("{refused:?}") };
        assert_eq!((&*stale.seen, &*stale.now, stale.fields.len()), (wrong, &all[..], 0));
    }
    let nobody = EntityId::from_bytes([9; 16]);
    assert!(matches!(phone.write(|tx| tx.expect(nobody, &[])), Err(Error::NotFound(_))));
    assert_eq!(phone.log_root().unwrap(), root);
    phone
        .write(|tx| {
            tx.expect(id, &all)?;
            tx.patch(id, set("a", 7))?;
            tx.expect(id, &all) // of what is here, not of what this transaction is about to write
        })
        .unwrap();
    assert_eq!(shown(&phone, id), "a=7 b=1 c=2");
}

#[test]
fn putting_back_what_was_read_writes_nothing_whatever_happened_since() {
    let (phone, tablet, id) = over_a(&Policy::Auto);
    let read = form(&phone, id);
    let root = phone.log_root().unwrap();
    phone.write(|tx| tx.put(&read, &read.content())).unwrap();
    assert_eq!(
        (phone.log_root().unwrap(), heads(&phone, id).len()),
        (root, 2),
        "nor does it join the heads"
    );
    patch(&tablet, id, set("a", 9));
    carry(&tablet, &phone);
    let root = phone.log_root().unwrap();
    phone.write(|tx| tx.put(&read, &read.content())).unwrap();
    assert_eq!((phone.log_root().unwrap(), shown(&phone, id)), (root, "a=9 b=1 c=2".to_owned()));
}

/// A form is read, somebody writes, the form comes back. What stands then, or both sides of each
/// field in dispute: read, mine, theirs.
fn put_after(base: &Content, theirs: Patch, mine: Patch) -> Result<String, Vec<String>> {
    let phone = device("phone");
    let id = create(&phone, base);
    let read = form(&phone, id);
    patch(&phone, id, theirs);
    let content = apply_patch(&mine, &read.content()).unwrap();
    let root = phone.log_root().unwrap();
    match phone.write(|tx| tx.put(&read, &content)) {
        Ok(()) => Ok(shown(&phone, id)),
        Err(Error::Stale(stale)) => {
            assert_eq!(phone.log_root().unwrap(), root);
            assert_eq!(
                (&*stale.seen, stale.now, stale.deleted),
                (read.heads(), heads(&phone, id), false)
            );
            let side = |v: &Option<Value>| {
                let mut out = Vec::new();
                v.iter().for_each(|v| leaf(v, "", &mut out));
                out.first().map_or("none".to_owned(), |t| t[1..].to_owned())
            };
            let line = |f: &heirloom::StaleField| {
                format!(
                    "{}: {} {} {}",
                    f.path.join("."),
                    side(&f.read),
                    side(&f.yours),
                    side(&f.theirs)
                )
            };
            Err(stale.fields.iter().map(line).collect())
        }
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn a_form_changes_what_its_user_changed_and_names_both_sides_of_what_others_changed_too() {
    let base = fields(&[("a", 0), ("b", 0)]);
    assert_eq!(put_after(&base, set("a", 1), set("b", 2)), Ok("a=1 b=2".to_owned()));
    assert_eq!(
        put_after(&base, set("a", 1), set("a", 1)),
        Ok("a=1 b=0".to_owned()),
        "both want the same"
    );
    assert_eq!(
        put_after(&base, Patch::new().unset("a"), Patch::new().unset("a")),
        Ok("b=0".to_owned())
    );
    let disputed = |lines: &[&str]| Err(lines.iter().map(|l| (*l).to_owned()).collect());
    assert_eq!(put_after(&base, set("a", 1), set("a", 2).set("b", 2)), disputed(&["a: 0 2 1"]));
    assert_eq!(put_after(&base, set("a", 1), Patch::new().unset("a")), disputed(&["a: 0 none 1"]));
    assert_eq!(put_after(&base, Patch::new().unset("a"), set("a", 2)), disputed(&["a: 0 2 none"]));
    assert_eq!(put_after(&base, set("c", 1), set("c", 2)), disputed(&["c: none 2 1"]));
}

#[test]
fn a_form_is_refused_where_its_change_lies_above_or_below_that_of_another() {
    let base = Content::new().with("m", fields(&[("x", 0)]));
    let disputed = |lines: &[&str]| Err(lines.iter().map(|l| (*l).to_owned()).collect());
    let x = |n: i64| Patch::new().set_at(["m", "x"], n);
    assert_eq!(put_after(&base, x(1), set("m", 5)), disputed(&["m: none 5 none", "m.x: 0 none 1"]));
    assert_eq!(put_after(&base, set("m", 5), x(1)), disputed(&["m: none none 5", "m.x: 0 1 none"]));
    let beside = Patch::new().set_at(["m", "y"], 1);
    assert_eq!(
        put_after(&base, x(1), beside),
        Ok("m.x=1 m.y=1".to_owned()),
        "beside it there is room"
    );
}

#[test]
fn a_form_of_what_was_deleted_since_is_refused() {
    let phone = device("phone");
    let id = create(&phone, &fields(&[("a", 0)]));
    let read = form(&phone, id);
    delete(&phone, id);
    let refused = phone.write(|tx| tx.put(&read, &fields(&[("a", 1)])));
    let Err(Error::Stale(stale)) = refused else { panic!("{refused:?}") };
    assert!(stale.deleted && stale.to_string().contains("deleted"), "{stale}");
    let elsewhere = device("tablet").write(|tx| tx.put(&read, &fields(&[("a", 1)])));
    assert!(matches!(elsewhere, Err(Error::NotFound(_))), "{elsewhere:?}");
    let hidden = phone.snapshot().unwrap().get_any(id).unwrap().unwrap();
    assert!(matches!(phone.write(|tx| tx.put(&hidden, &fields(&[]))), Err(Error::Deleted(_))));
}

#[test]
fn a_form_sees_what_its_own_transaction_did() {
    let phone = device("phone");
    let id = create(&phone, &fields(&[("a", 0), ("b", 0)]));
    let read = form(&phone, id);
    let refused = phone.write(|tx| {
        tx.patch(id, set("a", 1))?;
        tx.put(&read, &fields(&[("a", 2), ("b", 0)]))
    });
    assert!(matches!(refused, Err(Error::Stale(_))), "{refused:?}");
    phone
        .write(|tx| {
            tx.patch(id, set("a", 1))?;
            tx.put(&read, &fields(&[("a", 0), ("b", 2)]))
        })
        .unwrap();
    assert_eq!(shown(&phone, id), "a=1 b=2");
}

// --- policies (R18)

const NAMED: [&str; 8] = [
    "auto",
    "merge_fields",
    "delete_wins",
    "update_wins",
    "last_write_wins",
    "first_write_wins",
    "higher_version_wins",
    "manual",
];

#[test]
fn each_policy_goes_by_its_name_and_shows_what_it_says() {
    let fields = ["a=2 b=1 c=2 !a"; 4].into_iter().chain([
        "a=2 b=0 c=2 !a",
        "a=1 b=1 c=0 !a",
        "a=2 b=0 c=2 !a",
    ]);
    let fields = fields.chain(["a=2 b=1 c=2 !a"]);
    let deletions = ["deleted"; 3].into_iter().chain(["a=2", "a=2", "deleted", "a=2", "deleted"]);
    for ((name, of_a_field), of_a_deletion) in NAMED.into_iter().zip(fields).zip(deletions) {
        let policy: Policy = name.parse().unwrap();
        assert_eq!((policy.name(), policy.to_string()), (name, name.to_owned()));
        let engine = builder("phone").policy_named("lamp", name).in_memory().unwrap();
        assert_eq!((engine.policy("lamp"), engine.policy("room")), (policy.clone(), Policy::Auto));
        let (phone, tablet, id) = over_a(&policy);
        assert_eq!((&*shown(&phone, id), &*shown(&tablet, id)), (of_a_field, of_a_field), "{name}");
        let (phone, tablet, id) = over_a_deletion(&policy);
        let marked = format!("{of_a_deletion} !deletion");
        assert_eq!((shown(&phone, id), shown(&tablet, id)), (marked.clone(), marked), "{name}");
    }
}

#[test]
fn the_higher_version_wins_by_its_line_of_parents_not_by_its_time() {
    let (phone, tablet) = (
        device_under("phone", &Policy::HigherVersionWins),
        device_under("tablet", &Policy::HigherVersionWins),
    );
    let id = create(&phone, &fields(&[("a", 0)]));
    meet(&[&phone, &tablet]);
    patch(&phone, id, set("a", 1));
    patch(&phone, id, set("a", 2));
    patch(&tablet, id, set("a", 3));
    meet(&[&phone, &tablet]);
    assert_eq!((shown(&phone, id), shown(&tablet, id)), ("a=2 !a".to_owned(), "a=2 !a".to_owned()));
}

#[test]
fn a_policy_that_there_is_not_is_found_at_opening() {
    let unknown = builder("phone").policy_named("lamp", "newest").in_memory();
    assert!(
        matches!(&unknown, Err(Error::Invalid(Invalid::UnknownPolicy(n))) if n == "newest"),
        "{unknown:?}"
    );
    assert!(
        unknown.unwrap_err().to_string().contains("higher_version_wins"),
        "the text lists those that there are"
    );
    assert!(matches!("Auto".parse::<Policy>(), Err(heirloom::Invalid::UnknownPolicy(_))));

    let newest = Policy::custom("newest", 1, |_| Resolution::Suggestion);
    let engine = builder("phone")
        .policy_named("lamp", "newest")
        .register_policy(newest.clone())
        .in_memory()
        .unwrap();
    assert_eq!(engine.policy("lamp"), newest);
    for name in ["", "manual"] {
        let clash = Policy::custom(name, 1, |_| Resolution::Suggestion);
        for opened in [
            builder("p").policy("lamp", clash.clone()).in_memory(),
            builder("p").register_policy(clash).in_memory(),
        ] {
            assert!(matches!(opened, Err(Error::Invalid(_))), "{name:?}: {opened:?}");
        }
    }
    let last = builder("p")
        .policy_named("lamp", "no such")
        .policy("lamp", Policy::Manual)
        .in_memory()
        .unwrap();
    assert_eq!(last.policy("lamp"), Policy::Manual, "the last one given for a type counts");
    let last = builder("p")
        .policy("lamp", Policy::Manual)
        .policy_named("lamp", "auto")
        .in_memory()
        .unwrap();
    assert_eq!(last.policy("lamp"), Policy::Auto);
}

#[test]
fn fingerprints_are_equal_exactly_where_policies_are() {
    let custom = |version| Policy::custom("newest", version, |_| Resolution::Suggestion);
    let print = |b: Builder| b.in_memory().unwrap().policy_fingerprint();
    let plain = print(builder("p"));
    assert_eq!(
        print(builder("q").policy("lamp", Policy::Auto)),
        plain,
        "auto is what nobody mentions"
    );
    let different = [
        plain,
        print(builder("p").policy("lamp", Policy::Manual)),
        print(builder("p").policy("room", Policy::Manual)),
        print(builder("p").policy("lamp", Policy::MergeFields)),
        print(builder("p").policy("lamp", custom(1))),
        print(builder("p").policy("lamp", custom(2))),
    ];
    assert_eq!(BTreeSet::from(different).len(), different.len());
    assert_eq!(
        print(builder("q").policy_named("lamp", "newest").register_policy(custom(2))),
        different[5]
    );
}

/// Of each open field the greatest integer; what was deleted lives again.
fn greatest() -> Policy {
    Policy::custom("greatest", 1, |conflict| {
        let mut patch = Patch::new();
        for field in &conflict.fields {
            let most = field.sides.iter().filter_map(|s| s.value.as_int()).max();
            patch = patch.set_at(&field.path, most);
        }
        patch.into()
    })
}

#[test]
fn a_custom_policy_decides_what_is_shown_and_is_asked_only_where_something_is_in_conflict() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let counting = Policy::custom("counting", 1, move |c| {
        count.fetch_add(1, Ordering::Relaxed);
        Resolution::Content(fields(&[("heads", c.heads.len() as i64)]))
    });
    let (phone, _, id) = diverged_under(
        &counting,
        &fields(&[("a", 0), ("b", 0)]),
        |tx, id| tx.patch(id, set("a", 1)),
        |tx, id| tx.patch(id, set("b", 1)),
    );
    assert_eq!(
        (shown(&phone, id), asked.load(Ordering::Relaxed)),
        ("a=1 b=1".to_owned(), 0),
        "they do not overlap"
    );
    let (phone, tablet, id) = over_a(&counting);
    assert_eq!(
        (shown(&phone, id), shown(&tablet, id)),
        ("heads=2 !a".to_owned(), "heads=2 !a".to_owned())
    );
    assert!(asked.load(Ordering::Relaxed) > 0);

    for (resolution, of_a_deletion) in [
        (Resolution::Suggestion, "deleted"),
        (Resolution::Delete, "deleted"),
        (Patch::new().into(), "a=2"),
        (set("z", 1).into(), "a=2 z=1"),
    ] {
        let policy = Policy::custom("fixed", 1, move |_| resolution.clone());
        let (phone, _, id) = over_a_deletion(&policy);
        assert_eq!(shown(&phone, id), format!("{of_a_deletion} !deletion"));
    }
    let first_head = Policy::custom("phone", 1, |c| {
        Resolution::Head(c.heads.iter().find(|h| h.device == "phone").unwrap().version)
    });
    let (phone, _, id) = over_a(&first_head);
    assert_eq!(shown(&phone, id), "a=1 b=1 c=0 !a");
}

#[test]
fn a_custom_policy_may_go_through_several_open_fields_one_by_one() {
    let (phone, _, id) = diverged_under(
        &greatest(),
        &fields(&[("a", 0), ("b", 0)]),
        |tx, id| tx.patch(id, set("a", 1).set("b", 2)),
        |tx, id| tx.patch(id, set("a", 2).set("b", 1)),
    );
    assert_eq!(shown(&phone, id), "a=2 b=2 !a,b");
}

#[test]
fn a_custom_policy_that_fails_harms_nothing_but_its_entity() {
    let impure = Arc::new(AtomicI64::new(0));
    let broken: [(&str, Policy); 4] = [
        ("panics", Policy::custom("panics", 1, |_| panic!("oops"))),
        ("order", Policy::custom("order", 1, |c| Resolution::Head(c.heads[0].version))),
        (
            "impure",
            Policy::custom("impure", 1, move |_| {
                set("a", impure.fetch_add(1, Ordering::Relaxed)).into()
            }),
        ),
        (
            "useless",
            Policy::custom("useless", 1, |c| {
                Resolution::Head(VersionRef { sequence: Sequence::new(99), ..c.heads[0].version })
            }),
        ),
    ];
    for (name, policy) in broken {
        // without debug assertions nobody asks twice
        if !cfg!(debug_assertions) && (name == "order" || name == "impure") {
            continue;
        }
        let (phone, tablet, id) = over_a(&policy);
        let other = create(&phone, &fields(&[("a", 1)]));
        let check = |result: Result<(), Error>| match result {
            Err(Error::PolicyFailed { policy, entity, .. }) => {
                assert_eq!((&*policy, entity), (name, id))
            }
            other => panic!("{name}: {other:?}"),
        };
        let snapshot = phone.snapshot().unwrap();
        check(snapshot.get(id).map(drop));
        check(snapshot.list("lamp").entities().map(drop));
        check(phone.write(|tx| tx.get(id).map(drop)));
        check(phone.write(|tx| tx.patch(id, set("b", 2))));
        assert_eq!(shown(&phone, other), "a=1", "others are read");
        assert_eq!(
            conflict(&phone, id).field("a").unwrap().sides.len(),
            2,
            "and the conflict is told"
        );
        patch(&phone, other, set("a", 2));
        phone.write(|tx| tx.resolve(id, &heads(&phone, id), Resolution::Suggestion)).unwrap();
        meet(&[&phone, &tablet]);
        assert_eq!(
            (shown(&tablet, id), shown(&tablet, other)),
            ("a=2 b=1 c=2".to_owned(), "a=2".to_owned())
        );
    }
}

#[test]
fn what_a_custom_policy_computed_is_the_writers_own_and_what_stood_alone_keeps_its_writer() {
    let (phone, tablet, id) = over_a(&greatest());
    let third = device_under("third", &greatest());
    meet(&[&phone, &tablet, &third]);
    let root = phone.log_root().unwrap();
    patch(&phone, id, set("b", 1));
    assert_eq!(phone.log_root().unwrap(), root, "nothing was changed, so nothing is decided");

    patch(&phone, id, set("d", 1));
    assert_eq!(shown(&phone, id), "a=2 b=1 c=2 d=1");
    // who did not see that, and changes what stood alone, is in nobody's way
    patch(&tablet, id, set("b", 7));
    // but a was decided
    patch(&third, id, set("a", 9));
    meet(&[&phone, &tablet, &third]);
    let report = conflict(&phone, id);
    assert_eq!(report.fields.iter().map(|f| f.path.join(".")).collect::<Vec<_>>(), ["a"]);
    let sides: BTreeSet<_> = report.fields[0].sides.iter().map(|s| &*s.device).collect();
    assert_eq!(sides, BTreeSet::from(["phone", "tablet", "third"]));
    assert_eq!(shown(&third, id), "a=9 b=7 c=2 d=1 !a");
}

// --- what a write decides (R20)

#[test]
fn a_write_under_a_policy_for_whole_versions_starts_from_the_winner_and_decides_everything() {
    let cases = [
        (Policy::LastWriteWins, "a=2 b=0 c=2", "a=2 b=0 c=2 d=1"),
        (Policy::FirstWriteWins, "a=1 b=1 c=0", "a=1 b=1 c=0 d=1"),
        (Policy::HigherVersionWins, "a=2 b=0 c=2", "a=2 b=0 c=2 d=1"),
    ];
    for (policy, before, after) in cases {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            builder("desk").policy("lamp", policy.clone()).open(dir.path().join("store")).unwrap()
        };
        let (phone, tablet, id) = over_a(&policy);
        let desk = open();
        carry(&phone, &desk);
        assert_eq!(shown(&desk, id), format!("{before} !a"), "{policy}");
        desk.write(|tx| {
            tx.patch(id, set("d", 1))?;
            assert_eq!(tx.get(id)?.map(|e| entity_text(&e)), Some(after.to_owned()));
            Ok::<_, Error>(())
        })
        .unwrap();
        desk.close().unwrap();
        let desk = open();
        meet(&[&desk, &phone, &tablet]);
        for d in [&desk, &phone, &tablet] {
            assert_eq!((shown(d, id), heads(d, id).len()), (after.to_owned(), 1), "{policy}");
            assert_eq!(d.snapshot().unwrap().conflicts().count().unwrap(), 0);
        }
        // the loser stays in history
        let lost = desk.snapshot().unwrap().heads(id).unwrap()[0].parents().to_vec();
        let contents: BTreeSet<_> = lost
            .iter()
            .map(|r| text(&desk.snapshot().unwrap().content_at(r).unwrap().unwrap()))
            .collect();
        assert_eq!(contents, ["a=1 b=1 c=0", "a=2 b=0 c=2"].map(str::to_owned).into());
    }
}

#[test]
fn a_write_under_a_policy_for_fields_decides_only_what_it_touches() {
    for name in ["auto", "merge_fields", "delete_wins", "update_wins", "manual"] {
        let policy: Policy = name.parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            builder("desk").policy("lamp", policy.clone()).open(dir.path().join("store")).unwrap()
        };
        let base = fields(&[("a", 0), ("b", 0)]);
        let (phone, tablet, id) = diverged_under(
            &policy,
            &base,
            |tx, id| tx.patch(id, set("a", 1).set("b", 1)),
            |tx, id| tx.patch(id, set("a", 2).set("b", 2)),
        );
        let desk = open();
        carry(&tablet, &desk);
        patch(&desk, id, set("c", 1));
        desk.close().unwrap();
        let desk = open();
        meet(&[&desk, &phone, &tablet]);
        for d in [&desk, &phone, &tablet] {
            assert_eq!(
                (shown(d, id), heads(d, id).len()),
                ("a=2 b=2 c=1 !a,b".to_owned(), 1),
                "{name}"
            );
        }
        // the shown value, said by somebody, is a decision
        patch(&phone, id, set("a", 2));
        meet(&[&desk, &phone, &tablet]);
        assert_eq!(shown(&desk, id), "a=2 b=2 c=1 !b", "{name}");
        patch(&desk, id, Patch::new().unset("b"));
        meet(&[&desk, &phone, &tablet]);
        assert_eq!(shown(&tablet, id), "a=2 c=1", "{name}");
    }
}

#[test]
fn what_is_shown_as_deleted_takes_no_patch_and_what_is_not_takes_one() {
    for name in NAMED {
        let policy: Policy = name.parse().unwrap();
        let (phone, tablet, id) = over_a_deletion(&policy);
        let alive = matches!(name, "update_wins" | "last_write_wins" | "higher_version_wins");
        let written = phone.write(|tx| tx.patch(id, set("b", 1)));
        if alive {
            written.unwrap();
            meet(&[&phone, &tablet]);
            assert_eq!(
                shown(&tablet, id),
                "a=2 b=1",
                "{name}: who writes on it has decided that it lives"
            );
        } else {
            assert!(matches!(written, Err(Error::Deleted(_))), "{name}: {written:?}");
        }
        // a deletion says so where it is open
        let (phone, tablet, id) = over_a_deletion(&policy);
        delete(&phone, id);
        meet(&[&phone, &tablet]);
        assert_eq!(
            (shown(&tablet, id), heads(&tablet, id).len()),
            ("deleted".to_owned(), 1),
            "{name}"
        );
    }
}

#[test]
fn a_policy_changed_at_reopening_changes_what_is_shown_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let open = |policy: Policy| {
        builder("desk").policy("lamp", policy).open(dir.path().join("store")).unwrap()
    };
    let (phone, _, id) = over_a(&Policy::Auto);
    let desk = open(Policy::Auto);
    carry(&phone, &desk);
    let root = desk.log_root().unwrap();
    desk.close().unwrap();
    for (policy, expected) in [
        (Policy::FirstWriteWins, "a=1 b=1 c=0 !a"),
        (greatest(), "a=2 b=1 c=2 !a"),
        (Policy::Auto, "a=2 b=1 c=2 !a"),
    ] {
        let desk = open(policy);
        assert_eq!((shown(&desk, id), desk.log_root().unwrap()), (expected.to_owned(), root));
        desk.close().unwrap();
    }
}

// --- the application's rules (R8)

/// Refuses lamps brighter than 100, and notes what it was asked.
fn strict(asked: &Arc<Mutex<Vec<Proposal>>>) -> Builder {
    let asked = asked.clone();
    builder("phone").validate("lamp", move |proposal| {
        asked.lock().unwrap().push(proposal.clone());
        match proposal.after.as_ref().and_then(|c| c.get("a")?.as_int()) {
            Some(n) if n > 100 => Err(format!("{n} is too bright")),
            _ => Ok(()),
        }
    })
}

#[test]
fn a_rule_sees_each_write_before_and_after() {
    let asked = Arc::default();
    let phone = strict(&asked).in_memory().unwrap();
    let told = || {
        let side = |c: &Option<Content>| c.as_ref().map_or("-".to_owned(), text);
        let line = |p: Proposal| {
            format!("{:?} {}: {} > {}", p.kind, p.entity_type, side(&p.before), side(&p.after))
        };
        asked.lock().unwrap().drain(..).map(line).collect::<Vec<_>>()
    };
    let id = create(&phone, &fields(&[("a", 1)]));
    assert_eq!(told(), ["Create lamp: - > a=1"]);
    let first = heads(&phone, id)[0];
    phone
        .write(|tx| {
            tx.patch(id, set("a", 2))?;
            tx.patch(id, set("b", 3))
        })
        .unwrap();
    assert_eq!(told(), ["Update lamp: a=1 > a=2 b=3"], "once for what the transaction makes of it");
    patch(&phone, id, set("a", 2));
    assert_eq!(told(), [""; 0], "nothing is written");
    let read = form(&phone, id);
    phone.write(|tx| tx.put(&read, &fields(&[("a", 4)]))).unwrap();
    assert_eq!(told(), ["Update lamp: a=2 b=3 > a=4"]);
    delete(&phone, id);
    assert_eq!(told(), ["Delete lamp: a=4 > -"]);
    phone.write(|tx| tx.restore(id, &first)).unwrap();
    assert_eq!(told(), ["Restore lamp: - > a=1"]);
    phone.write(|tx| tx.create("room", &fields(&[("a", 1_000)]))).unwrap();
    assert_eq!(told(), [""; 0], "another type");

    let (other, _, id) = over_a(&Policy::Auto);
    carry(&other, &phone);
    assert_eq!(told(), [""; 0], "what others wrote was judged there");
    phone.write(|tx| tx.resolve(id, &heads(&phone, id), set("a", 7))).unwrap();
    assert_eq!(told(), ["Update lamp: a=2 b=1 c=2 > a=7 b=1 c=2"]);
}

#[test]
fn a_write_that_a_rule_rejects_leaves_no_trace() {
    let asked = Arc::default();
    let phone = strict(&asked).in_memory().unwrap();
    let id = create(&phone, &fields(&[("a", 1)]));
    assert_eq!(shown(&phone, id), "a=1");
    let (root, clock) = (phone.log_root().unwrap(), phone.clock().unwrap());
    let refused = phone.write(|tx| {
        tx.create("room", &fields(&[]))?;
        tx.patch(id, set("a", 300))?;
        assert_eq!(tx.get(id)?.unwrap().get("a")?, Some(300.into()));
        Ok::<_, Error>(())
    });
    let Err(Error::Rejected { entity, entity_type, why }) = refused else { panic!("{refused:?}") };
    assert_eq!((entity, &*entity_type, &*why), (id, "lamp", "300 is too bright"));
    assert_eq!((phone.log_root().unwrap(), phone.clock().unwrap()), (root, clock));
    assert_eq!(
        (shown(&phone, id), phone.snapshot().unwrap().list("room").count().unwrap()),
        ("a=1".to_owned(), 0)
    );
    patch(&phone, id, set("a", 3));
    let sequence = phone.snapshot().unwrap().heads(id).unwrap()[0].reference().sequence;
    assert_eq!(
        (shown(&phone, id), sequence.get()),
        ("a=3".to_owned(), 2),
        "no sequence was used up"
    );
}

#[test]
fn several_rules_must_all_agree() {
    let even = |p: &Proposal| match p.after.as_ref().and_then(|c| c.get("a")?.as_int()) {
        Some(n) if n % 2 != 0 => Err(format!("{n} is odd")),
        _ => Ok(()),
    };
    let phone = strict(&Arc::default()).validate("lamp", even).in_memory().unwrap();
    let why = |n: i64| match phone.write(|tx| tx.create("lamp", &fields(&[("a", n)]))) {
        Err(Error::Rejected { why, .. }) => why,
        other => format!("{:?}", other.is_ok()),
    };
    assert_eq!([why(102), why(7), why(8)], ["102 is too bright", "7 is odd", "true"]);
}

// --- the cache of decoded entities (R8)

#[test]
fn reading_again_is_answered_from_memory() {
    let (phone, _, id) = over_a(&Policy::Auto);
    let before = phone.cache_stats();
    let snapshot = phone.snapshot().unwrap();
    (0..100).for_each(|_| assert_eq!(shown_in(&snapshot, id), "a=2 b=1 c=2 !a"));
    let after = phone.cache_stats();
    // the first read tells that it is wanted, the second keeps it
    assert_eq!((after.hits - before.hits, after.misses - before.misses), (98, 2));
    assert!(after.hit_rate() > before.hit_rate() && after.hit_rate() < 1.0);
    assert!(after.bytes > 0 && after.bytes <= after.capacity);
    patch(&phone, create(&phone, &fields(&[])), set("z", 1));
    assert_eq!(shown(&phone, id), "a=2 b=1 c=2 !a");
    assert_eq!(phone.cache_stats().misses, after.misses, "another entity's write changes nothing");
}

#[test]
fn each_snapshot_sees_its_own_state_whatever_was_read_first() {
    let (phone, tablet, id) = over_a(&Policy::Auto);
    for newest_first in [false, true] {
        let mut snapshots = vec![(phone.snapshot().unwrap(), shown(&phone, id))];
        let mut keep = |expected: String| snapshots.push((phone.snapshot().unwrap(), expected));
        patch(&phone, id, set("a", 5).set("b", 5));
        keep("a=5 b=5 c=2".into());
        patch(&tablet, id, set("c", 6));
        carry(&tablet, &phone);
        keep("a=5 b=5 c=6".into());
        let kept = heads(&phone, id);
        delete(&phone, id);
        keep("deleted".into());
        if newest_first {
            snapshots.reverse();
        }
        for _ in 0..3 {
            for (snapshot, expected) in &snapshots {
                assert_eq!(shown_in(snapshot, id), *expected);
                assert_eq!(snapshot.get(id).unwrap().is_some(), expected != "deleted");
            }
        }
        phone.write(|tx| tx.restore(id, &kept[0])).unwrap();
        phone.write(|tx| tx.patch(id, set("a", 1).set("b", 1).set("c", 2))).unwrap();
        meet(&[&phone, &tablet]);
    }
}

#[test]
fn a_transaction_that_gives_up_or_panics_leaves_nothing_in_memory() {
    let (phone, _, id) = over_a(&Policy::Auto);
    let before = shown(&phone, id);
    let change = |tx: &mut Transaction<'_>| -> Result<(), Error> {
        tx.patch(id, set("a", 99))?;
        assert_eq!(tx.get(id)?.unwrap().get("a")?, Some(99.into()));
        Ok(())
    };
    let gave_up: Result<(), Error> = phone.write(|tx| {
        change(tx)?;
        Err(Error::Cancelled)
    });
    assert!(gave_up.is_err());
    assert_eq!(shown(&phone, id), before);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        phone.write(|tx| -> Result<(), Error> {
            change(tx)?;
            tx.delete(id)?;
            panic!("oops")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(shown(&phone, id), before);
    phone
        .write(|tx| -> Result<(), Error> {
            assert_eq!(tx.get(id)?.map(|e| entity_text(&e)), Some(before));
            Ok(())
        })
        .unwrap();
}

// --- contents that are not here

/// The same, but the bodies of the last commit come damaged.
fn carry_damaged(from: &Engine, to: &Engine) {
    let mut batch =
        from.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
    let last = batch.commits.last_mut().unwrap();
    let at = last.bytes.len() - 2;
    last.bytes[at] ^= 1;
    let commits: Vec<&[u8]> = batch.commits.iter().map(|c| &c.bytes[..]).collect();
    assert_eq!(to.replication().ingest(&commits).unwrap().unverified, 1);
}

#[test]
fn what_is_not_here_can_be_deleted_restored_and_resolved_by_deletion_under_any_rule_and_policy() {
    let custom = Policy::custom("of no use", 1, |_| Resolution::Content(Content::new()));
    for policy in [Policy::Auto, Policy::LastWriteWins, custom] {
        for act in 0..3 {
            let phone = device("phone");
            let rule = |p: &Proposal| {
                if p.before.is_none() { Ok(()) } else { Err("it was not here".to_owned()) }
            };
            let tablet = builder("tablet")
                .policy("lamp", policy.clone())
                .validate("lamp", rule)
                .in_memory()
                .unwrap();
            let id = create(&phone, &fields(&[("a", 1)]));
            let first = heads(&phone, id)[0];
            patch(&phone, id, set("a", 2));
            carry_damaged(&phone, &tablet);
            assert!(matches!(tablet.snapshot().unwrap().get(id), Err(Error::Absent(_))));
            let refused = tablet.write(|tx| tx.patch(id, set("b", 1)));
            assert!(matches!(refused, Err(Error::Absent(_))), "{refused:?}");
            let seen = heads(&tablet, id);
            tablet
                .write(|tx| match act {
                    0 => tx.delete(id),
                    1 => tx.resolve(id, &seen, Resolution::Delete),
                    _ => tx.restore(id, &first),
                })
                .unwrap();
            assert_eq!(shown(&tablet, id), if act < 2 { "deleted" } else { "a=1" });
        }
    }
}

#[test]
fn an_entity_whose_policy_fails_can_be_resolved_under_rules() {
    let fails = Policy::custom("fails", 1, |_| panic!("a bug"));
    let (_, tablet, id) = over_a(&Policy::Auto);
    let own =
        builder("hub").policy("lamp", fails).validate("lamp", |_| Ok(())).in_memory().unwrap();
    carry(&tablet, &own);
    assert!(matches!(own.snapshot().unwrap().get(id), Err(Error::PolicyFailed { .. })));
    own.write(|tx| tx.resolve(id, &heads(&own, id), set("a", 9))).unwrap();
    assert!(shown(&own, id).contains("a=9"));
}

#[test]
fn a_policy_or_a_rule_that_writes_gets_an_error_and_no_deadlock() {
    // a policy must be pure; one that is not must not hang the store
    let slot: Arc<std::sync::OnceLock<Engine>> = Arc::default();
    let (inner, refused) = (slot.clone(), Arc::new(AtomicUsize::new(0)));
    let seen = refused.clone();
    let meddling = Policy::custom("meddling", 1, move |_| {
        if let Some(engine) = inner.get() {
            let wrote = engine.write(|tx| tx.create("note", &Content::new()));
            assert!(matches!(wrote, Err(Error::InsideWrite)), "{wrote:?}");
            seen.fetch_add(1, Ordering::Relaxed);
        }
        Resolution::Suggestion
    });
    let device = |name: &str| Engine::builder().device_id(name).dataset_name("home");
    let phone = device("phone").policy("lamp", meddling).index("lamp", "a").in_memory().unwrap();
    let tablet = device("tablet").in_memory().unwrap();
    let id = create(&phone, &fields(&[("a", 0)]));
    carry(&phone, &tablet);
    patch(&phone, id, set("a", 1));
    patch(&tablet, id, set("a", 2));
    slot.set(phone.clone()).unwrap();
    // what arrives is indexed as it is shown, so the policy is asked while the store is being
    // written
    carry(&tablet, &phone);
    assert!(refused.load(Ordering::Relaxed) > 0);
    assert_eq!(phone.snapshot().unwrap().list("note").count().unwrap(), 0);
    patch(&phone, id, set("b", 1));
}

// --- more heads than a version may have parents

#[test]
fn a_crowd_of_heads_is_joined_by_a_few_writes() {
    const HEADS: i64 = 4_150;
    let phone = device("phone");
    let id = create(&phone, &fields(&[("a", 0), ("b", 0)]));
    let first = phone.snapshot().unwrap().heads(id).unwrap()[0].commit();
    let mut importer = phone.importer().unwrap();
    let past = importer.authored(&first, phone.clock().unwrap()).unwrap();
    for n in 0..HEADS {
        let author = importer.device(&format!("d{n}")).unwrap();
        let mut draft = importer.commit(author, &[&past], later()).unwrap();
        draft.patch(id, set("a", n + 1).set(&format!("own{n}"), n)).unwrap();
        draft.finish().unwrap();
    }
    importer.finish().unwrap();
    let seen = conflict(&phone, id).seen();
    assert_eq!(seen.len(), HEADS as usize);
    assert_eq!(conflict(&phone, id).field("a").unwrap().sides.len(), HEADS as usize);

    patch(&phone, id, set("b", 5));
    let now = form(&phone, id);
    assert_eq!(now.heads().len(), HEADS as usize - 4_096 + 1);
    assert_eq!((now.get("b").unwrap(), now.content().len()), (Some(5.into()), HEADS as usize + 2));
    assert_eq!(
        conflict(&phone, id).field("a").unwrap().sides.len(),
        HEADS as usize,
        "b alone was decided"
    );
    let refused = phone.write(|tx| tx.resolve(id, &seen, set("a", 7)));
    assert!(matches!(refused, Err(Error::Stale(_))), "{refused:?}");
    phone.write(|tx| tx.resolve(id, now.heads(), set("a", 7))).unwrap();
    let now = form(&phone, id);
    assert_eq!((now.heads().len(), now.is_conflicted()), (1, false));
    assert_eq!((now.get("a").unwrap(), now.content().len()), (Some(7.into()), HEADS as usize + 2));
    assert!(phone.verify().unwrap().is_clean());
}
