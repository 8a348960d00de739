//! Contents with very many fields (R36): all that is done with one works, and none of it compares
//! each field with each, which would keep these tests busy for many minutes.

use heirloom::{Builder, Content, Engine, EntityId, Patch, Value, apply_patch, diff};

use super::carried::carry;

const FIELDS: i64 = 60_000;

fn builder(device: &str) -> Builder {
    Engine::builder().device_id(device).dataset_name("home")
}

fn wide(plus: i64) -> Content {
    (0..FIELDS).map(|i| (format!("f{i:06}"), Value::Int(i + plus))).collect()
}

/// Two devices that know a wide entity.
fn two() -> (Engine, Engine, EntityId) {
    let (phone, tablet) =
        (builder("phone").in_memory().unwrap(), builder("tablet").in_memory().unwrap());
    let id = phone.write(|tx| tx.create("form", &wide(0))).unwrap();
    carry(&phone, &tablet);
    (phone, tablet, id)
}

fn content(engine: &Engine, id: EntityId) -> Content {
    engine.snapshot().unwrap().get(id).unwrap().unwrap().content()
}

#[test]
fn all_fields_are_changed_and_received() {
    let (phone, tablet, id) = two();
    phone.write(|tx| tx.patch(id, Patch::new().set_all(wide(1)))).unwrap();
    let read = phone.snapshot().unwrap().get(id).unwrap().unwrap();
    phone.write(|tx| tx.put(&read, &wide(2))).unwrap();
    carry(&phone, &tablet);
    assert_eq!(content(&tablet, id), wide(2));
    let stale = tablet.write(|tx| tx.put(&read, &wide(3)));
    let Err(heirloom::Error::Stale(stale)) = stale else { panic!("{stale:?}") };
    assert_eq!(stale.fields.len(), FIELDS as usize);
}

#[test]
fn all_fields_are_removed_one_by_one() {
    let (phone, tablet, id) = two();
    let patch = (0..FIELDS).fold(Patch::new().set("z", 1), |p, i| p.unset(&format!("f{i:06}")));
    phone.write(|tx| tx.patch(id, patch)).unwrap();
    carry(&phone, &tablet);
    assert_eq!(content(&tablet, id), Content::new().with("z", 1));
}

#[test]
fn an_earlier_content_comes_back() {
    let (phone, _, id) = two();
    let first = phone.snapshot().unwrap().heads(id).unwrap()[0].reference();
    phone.write(|tx| tx.patch(id, Patch::new().set_all(wide(1)))).unwrap();
    phone.write(|tx| tx.restore(id, &first)).unwrap();
    assert_eq!(content(&phone, id), wide(0));
}

#[test]
fn all_fields_are_in_conflict() {
    let (phone, tablet, id) = two();
    phone.write(|tx| tx.patch(id, Patch::new().set_all(wide(1)))).unwrap();
    tablet.write(|tx| tx.patch(id, Patch::new().set_all(wide(2)))).unwrap();
    carry(&tablet, &phone);
    let snapshot = phone.snapshot().unwrap();
    assert_eq!(snapshot.conflict(id).unwrap().unwrap().fields.len(), FIELDS as usize);
    assert_eq!(snapshot.losses(id).unwrap().count(), FIELDS as usize);
    let seen = snapshot.conflict(id).unwrap().unwrap().seen();
    let suggested = heirloom::Resolution::Suggestion;
    phone.write(|tx| tx.resolve(id, &seen, suggested)).unwrap();
}

#[test]
fn one_field_clashes_with_another_below_it() {
    let (phone, tablet, id) = two();
    phone.write(|tx| tx.patch(id, Patch::new().set("m", 1))).unwrap();
    tablet.write(|tx| tx.patch(id, Patch::new().set_at(["m", "n"], 1))).unwrap();
    carry(&tablet, &phone);
    assert_eq!(content(&phone, id).len(), FIELDS as usize + 1);
}

#[test]
fn two_contents_are_compared_and_one_is_changed() {
    let (a, b) = (wide(0), wide(1));
    let patch = diff(&a, &b).unwrap();
    assert_eq!(apply_patch(&patch, &a).unwrap(), b);
}
