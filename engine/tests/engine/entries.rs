//! An entry (a map below a field) that one device removes while another edits inside of it: told,
//! and never shown in part.

use std::collections::BTreeMap;

use heirloom::{Content, Engine, EntityId, Patch, Policy, Resolution, Value};
use serde::{Deserialize, Serialize};

use super::carried::carry;

/// The phone writes before the tablet.
fn device(label: &str) -> Engine {
    let now =
        heirloom::Timestamp::from_millis(if label == "phone" { 1_000_000 } else { 1_001_000 });
    Engine::builder().label(label).dataset_name("home").wall_clock(move || now).in_memory().unwrap()
}

fn meet(a: &Engine, b: &Engine) {
    carry(a, b);
    carry(b, a);
}

fn content(engine: &Engine, id: EntityId) -> Content {
    engine.snapshot().unwrap().get(id).unwrap().expect("it lives").content()
}

fn point(x: i64, y: i64) -> Content {
    Content::new().with("x", x).with("y", y)
}

fn patch(engine: &Engine, id: EntityId, patch: Patch) {
    engine.write(|tx| tx.patch(id, patch)).unwrap();
}

/// A phone and a tablet that know `{p: {x: 0, y: 0}, n: 0}`; the phone removed `p`, the tablet set
/// `p.x`; they met.
fn torn() -> (Engine, Engine, EntityId) {
    let (phone, tablet) = (device("phone"), device("tablet"));
    let base = Content::new().with("p", point(0, 0)).with("n", 0);
    let id = phone.write(|tx| tx.create("thing", &base)).unwrap();
    meet(&phone, &tablet);
    patch(&phone, id, Patch::new().unset("p"));
    patch(&tablet, id, Patch::new().set_at(["p", "x"], 1));
    meet(&phone, &tablet);
    (phone, tablet, id)
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Room {
    area: i64,
    floor: i64,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
struct House {
    rooms: BTreeMap<String, Room>,
    garden: Option<Room>,
    deep: BTreeMap<String, BTreeMap<String, Room>>,
}

#[test]
fn typed_structs_in_maps_options_and_deeper_stay_readable_whoever_removes_and_edits() {
    let (phone, tablet) = (device("phone"), device("tablet"));
    let room = Room { area: 10, floor: 1 };
    let house = House {
        rooms: [("hall".to_owned(), room.clone()), ("attic".to_owned(), room.clone())].into(),
        garden: Some(room.clone()),
        deep: [("a".to_owned(), [("b".to_owned(), room.clone())].into())].into(),
    };
    let id = phone.collection::<House>("house").create(&house).unwrap();
    meet(&phone, &tablet);
    let (here, there) = (phone.collection::<House>("house"), tablet.collection::<House>("house"));
    here.update(id, |house| {
        house.rooms.remove("hall");
        house.garden = None;
        house.deep.clear();
    })
    .unwrap();
    there
        .update(id, |house| {
            house.rooms.get_mut("hall").unwrap().area = 11;
            house.garden.as_mut().unwrap().area = 12;
            house.deep.get_mut("a").unwrap().get_mut("b").unwrap().floor = 2;
        })
        .unwrap();
    meet(&phone, &tablet);
    let left = House { rooms: [("attic".to_owned(), room)].into(), ..House::default() };
    for engine in [&phone, &tablet] {
        let houses = engine.collection::<House>("house");
        let house = houses.get(id).unwrap().expect("it is there");
        assert_eq!(*house, left, "no part of an entry without the rest");
        let snapshot = engine.snapshot().unwrap();
        let open = snapshot.conflict(id).unwrap().expect("somebody has to look");
        let told: Vec<_> = open.fields.iter().map(|f| (f.path.join("."), f.removed)).collect();
        // `None` is a value in the place of the map, an emptied map stays
        let expected = [("deep.a", true), ("garden", true), ("rooms.hall", true)];
        assert_eq!(told, expected.map(|(path, removed)| (path.to_owned(), removed)));
        let lost: Vec<_> = snapshot.losses(id).unwrap().map(Result::unwrap).collect();
        let paths: Vec<_> = lost.iter().map(|l| l.path.join(".")).collect();
        assert_eq!(paths, ["deep.a", "garden", "rooms.hall"]);
        let hall = lost.iter().find(|l| l.path == ["rooms", "hall"]).unwrap();
        let whole = Content::new().with("area", 11).with("floor", 1);
        assert_eq!(hall.lost.value, Value::Map(whole), "the entry as its writer saw it, whole");
    }
    // each comes back with one call
    for loss in phone.snapshot().unwrap().losses(id).unwrap() {
        phone.write(|tx| tx.patch(id, loss?.patch())).unwrap();
    }
    meet(&phone, &tablet);
    let house = tablet.collection::<House>("house").get(id).unwrap().unwrap();
    assert_eq!(house.rooms["hall"], Room { area: 11, floor: 1 });
    assert_eq!(house.garden, Some(Room { area: 12, floor: 1 }));
    assert_eq!(house.deep["a"]["b"], Room { area: 10, floor: 2 });
    assert!(tablet.snapshot().unwrap().conflict(id).unwrap().is_none());
}

#[test]
fn it_is_told_to_everybody_whom_conflicts_are_told() {
    let (phone, tablet, id) = torn();
    for engine in [&phone, &tablet] {
        let snapshot = engine.snapshot().unwrap();
        let entity = snapshot.get(id).unwrap().unwrap();
        assert_eq!(entity.content(), Content::new().with("n", 0));
        assert_eq!(entity.conflicting_fields(), ["p"]);
        assert_eq!(snapshot.conflicts().count().unwrap(), 1);
        let open = snapshot.conflict(id).unwrap().unwrap();
        let field = open.field("p").unwrap();
        assert!(field.removed);
        assert_eq!(field.sides.len(), 1);
        assert_eq!(field.sides[0].value, Value::Map(Content::new().with("x", 1)));
        assert!(field.sides[0].device.starts_with("tablet"));
    }
    let manual =
        Engine::builder().dataset_name("home").policy("thing", Policy::Manual).in_memory().unwrap();
    carry(&phone, &manual);
    assert_eq!(manual.snapshot().unwrap().queue().count().unwrap(), 1);
}

#[test]
fn it_stays_told_when_somebody_writes_elsewhere() {
    let (phone, tablet, id) = torn();
    patch(&phone, id, Patch::new().set("n", 1));
    meet(&phone, &tablet);
    assert_eq!(content(&tablet, id), Content::new().with("n", 1));
    let open = tablet.snapshot().unwrap().conflict(id).unwrap().expect("nobody has decided");
    assert!(open.field("p").unwrap().removed);
}

#[test]
fn a_write_inside_starts_from_nothing_and_decides() {
    let (phone, tablet, id) = torn();
    patch(&phone, id, Patch::new().set_at(["p", "y"], 5));
    meet(&phone, &tablet);
    let expected = Content::new().with("n", 0).with("p", Content::new().with("y", 5));
    assert_eq!(content(&tablet, id), expected);
    let snapshot = tablet.snapshot().unwrap();
    assert!(snapshot.conflict(id).unwrap().is_none());
    let lost: Vec<_> = snapshot.losses(id).unwrap().map(Result::unwrap).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(
        (lost[0].path.join("."), &lost[0].lost.value),
        ("p".into(), &Value::Map(point(1, 0)))
    );
    assert!(lost[0].by.is_some());
}

#[test]
fn to_unset_it_again_decides_for_the_removal() {
    let (phone, tablet, id) = torn();
    patch(&phone, id, Patch::new().unset("p"));
    meet(&phone, &tablet);
    assert_eq!(content(&tablet, id), Content::new().with("n", 0));
    assert!(tablet.snapshot().unwrap().conflict(id).unwrap().is_none());
}

#[test]
fn a_head_taken_or_a_version_restored_brings_the_whole_entry_back() {
    let whole = Content::new().with("n", 0).with("p", point(1, 0));
    for restore in [false, true] {
        let (phone, tablet, id) = torn();
        let open = phone.snapshot().unwrap().conflict(id).unwrap().unwrap();
        let edited =
            open.heads.iter().find(|h| h.content.as_ref() == Some(&whole)).unwrap().version;
        phone
            .write(|tx| match restore {
                false => tx.resolve(id, &open.seen(), Resolution::Head(edited)),
                true => tx.restore(id, &edited),
            })
            .unwrap();
        // whoever still removes what they knew of it does not reach what was written anew
        patch(&tablet, id, Patch::new().unset("p"));
        meet(&phone, &tablet);
        assert_eq!(content(&phone, id), whole);
        assert!(phone.snapshot().unwrap().conflict(id).unwrap().is_none());
    }
}

#[test]
fn a_suggestion_taken_is_the_removal() {
    let (phone, tablet, id) = torn();
    let open = phone.snapshot().unwrap().conflict(id).unwrap().unwrap();
    assert_eq!(open.suggestion, Some(Content::new().with("n", 0)));
    phone.write(|tx| tx.resolve(id, &open.seen(), Resolution::Suggestion)).unwrap();
    meet(&phone, &tablet);
    assert!(tablet.snapshot().unwrap().conflict(id).unwrap().is_none());
    assert_eq!(content(&tablet, id), Content::new().with("n", 0));
}

#[test]
fn a_policy_for_whole_versions_shows_the_entry_whole_or_not_at_all() {
    let (phone, _, id) = torn();
    for (policy, shown) in [
        (Policy::LastWriteWins, Content::new().with("n", 0).with("p", point(1, 0))),
        (Policy::FirstWriteWins, Content::new().with("n", 0)),
    ] {
        let reader =
            Engine::builder().dataset_name("home").policy("thing", policy).in_memory().unwrap();
        carry(&phone, &reader);
        assert_eq!(content(&reader, id), shown);
    }
}

#[test]
fn a_newer_value_in_its_place_is_shown_and_what_was_written_inside_is_told() {
    let (phone, tablet) = (device("phone"), device("tablet"));
    let id = phone.write(|tx| tx.create("thing", &Content::new().with("p", point(0, 0)))).unwrap();
    meet(&phone, &tablet);
    patch(&phone, id, Patch::new().set("p", 5));
    patch(&tablet, id, Patch::new().set_at(["p", "x"], 1));
    meet(&phone, &tablet);
    assert_eq!(content(&tablet, id), Content::new().with("p", 5));
    let open = tablet.snapshot().unwrap().conflict(id).unwrap().unwrap();
    let field = open.field("p").unwrap();
    let mut values: Vec<_> = field.sides.iter().map(|s| format!("{:?}", s.value)).collect();
    values.sort();
    assert!(field.removed);
    assert_eq!(values.len(), 2, "{values:?}");
}

#[test]
fn a_map_that_two_devices_empty_by_removing_different_entries_stays() {
    let (phone, tablet) = (device("phone"), device("tablet"));
    let id = phone.write(|tx| tx.create("thing", &Content::new().with("m", point(0, 0)))).unwrap();
    meet(&phone, &tablet);
    patch(&phone, id, Patch::new().unset_at(["m", "x"]));
    patch(&tablet, id, Patch::new().unset_at(["m", "y"]));
    meet(&phone, &tablet);
    let empty = Content::new().with("m", Content::new());
    assert_eq!((content(&phone, id), content(&tablet, id)), (empty.clone(), empty));
    assert!(phone.snapshot().unwrap().conflict(id).unwrap().is_none());
}

#[test]
fn a_map_that_two_forms_empty_by_removing_different_entries_stays() {
    let engine = device("phone");
    let id = engine.write(|tx| tx.create("thing", &Content::new().with("m", point(0, 0)))).unwrap();
    let form = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    let keep = |key: &str| Content::new().with("m", Content::new().with(key, 0));
    engine.write(|tx| tx.put(&form, &keep("x"))).unwrap();
    engine.write(|tx| tx.put(&form, &keep("y"))).unwrap();
    assert_eq!(content(&engine, id), Content::new().with("m", Content::new()));
}

#[test]
fn a_form_that_empties_a_map_removes_what_it_knew_and_keeps_what_came_since() {
    let engine = device("phone");
    let one = Content::new().with("m", Content::new().with("x", 0));
    let id = engine.write(|tx| tx.create("thing", &one)).unwrap();
    let form = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    patch(&engine, id, Patch::new().set_at(["m", "y"], 1));
    engine.write(|tx| tx.put(&form, &Content::new().with("m", Content::new()))).unwrap();
    assert_eq!(content(&engine, id), Content::new().with("m", Content::new().with("y", 1)));
}

#[test]
fn a_form_that_removes_a_map_is_stale_where_somebody_wrote_inside_since() {
    let engine = device("phone");
    let id = engine.write(|tx| tx.create("thing", &Content::new().with("p", point(0, 0)))).unwrap();
    let form = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    patch(&engine, id, Patch::new().set_at(["p", "z"], 1));
    let refused = engine.write(|tx| tx.put(&form, &Content::new()));
    assert!(matches!(refused, Err(heirloom::Error::Stale(_))), "{refused:?}");
}

#[test]
fn a_removed_entry_that_was_made_anew_merges_field_by_field_with_the_old_edit() {
    let (phone, tablet) = (device("phone"), device("tablet"));
    let id = phone.write(|tx| tx.create("thing", &Content::new().with("p", point(0, 0)))).unwrap();
    meet(&phone, &tablet);
    patch(&phone, id, Patch::new().unset("p"));
    patch(&phone, id, Patch::new().set("p", point(7, 8)));
    patch(&tablet, id, Patch::new().set_at(["p", "x"], 1));
    meet(&phone, &tablet);
    let open = phone.snapshot().unwrap().conflict(id).unwrap().unwrap();
    let told: Vec<_> = open.fields.iter().map(|f| (f.path.join("."), f.removed)).collect();
    assert_eq!(told, [("p.x".to_owned(), false)], "the map stands, one field has two values");
}
