//! Typed collections: what survives when types of the application change.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};

use heirloom::{Content, Engine, EntityId, Error, Lsn, Patch, Value};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
struct Lamp {
    name: String,
    brightness: u8,
}

/// The same type in a later release: a field more, one with a default.
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct LaterLamp {
    name: String,
    brightness: u8,
    #[serde(default)]
    colour: Colour,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
struct Colour {
    hue: u16,
}

fn lamp(name: &str, brightness: u8) -> Lamp {
    Lamp { name: name.into(), brightness }
}

fn content(engine: &Engine, id: EntityId) -> Content {
    engine.snapshot().unwrap().get(id).unwrap().unwrap().content()
}

#[test]
fn an_older_release_leaves_fields_that_it_does_not_know() {
    let engine = Engine::in_memory().unwrap();
    let later = engine.collection::<LaterLamp>("lamp");
    let desk = LaterLamp {
        name: "desk".into(),
        brightness: 1,
        colour: Colour { hue: 20 },
        note: Some("warm".into()),
    };
    let id = later.create(&desk).unwrap();
    engine.collection::<Lamp>("lamp").update(id, |lamp| lamp.brightness = 9).unwrap();
    assert_eq!(later.get(id).unwrap().unwrap().into_value(), LaterLamp { brightness: 9, ..desk });
}

#[test]
fn a_missing_field_takes_its_default_and_is_written_only_when_it_changes() {
    let engine = Engine::in_memory().unwrap();
    let id = engine.collection::<Lamp>("lamp").create(&lamp("desk", 1)).unwrap();
    let later = engine.collection::<LaterLamp>("lamp");
    let before = engine.log_root().unwrap();
    later.update(id, |lamp| assert_eq!(lamp.colour.hue, 0)).unwrap();
    assert_eq!(engine.log_root().unwrap(), before, "nothing was changed, so nothing is written");
    later.update(id, |lamp| lamp.brightness = 2).unwrap();
    assert_eq!(content(&engine, id).get("colour"), None);
    later.update(id, |lamp| lamp.colour.hue = 7).unwrap();
    assert_eq!(
        content(&engine, id).get("colour"),
        Some(&Value::Map(Content::new().with("hue", 7)))
    );
}

#[test]
fn an_option_that_becomes_none_is_removed() {
    let engine = Engine::in_memory().unwrap();
    let later = engine.collection::<LaterLamp>("lamp");
    let id = engine.write(|tx| tx.create("lamp", &lamp("desk", 1))).unwrap();
    later.update(id, |lamp| lamp.note = Some("x".into())).unwrap();
    later.update(id, |lamp| lamp.note = None).unwrap();
    assert_eq!(content(&engine, id), Content::new().with("name", "desk").with("brightness", 1));
}

#[test]
fn a_field_of_another_type_is_an_error_that_names_it_and_the_others_are_read() {
    let engine = Engine::in_memory().unwrap();
    let lamps = engine.collection::<Lamp>("lamp");
    let good = lamps.create(&lamp("desk", 1)).unwrap();
    let bad = engine
        .write(|tx| tx.create("lamp", &Content::new().with("name", "x").with("brightness", "dim")));
    let error = lamps.get(bad.unwrap()).unwrap_err();
    assert!(matches!(&error, Error::Misfit(m) if m.field == "brightness"), "{error}");
    let read: Vec<_> = lamps.iter().unwrap().collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read.iter().flatten().map(|d| d.id()).collect::<Vec<_>>(), [good]);

    let nested = engine.write(|tx| {
        let colour = Content::new().with("hue", "red");
        tx.create(
            "lamp",
            &Content::new().with("name", "x").with("brightness", 1).with("colour", colour),
        )
    });
    let error =
        engine.collection::<LaterLamp>("lamp").get(nested.unwrap()).unwrap_err().to_string();
    assert!(error.contains("field colour.hue: "), "{error}");
}

#[test]
fn a_document_of_another_type_is_named() {
    let engine = Engine::in_memory().unwrap();
    let room = engine.write(|tx| tx.create("room", &lamp("hall", 1))).unwrap();
    let lamps = engine.collection::<Lamp>("lamp");
    for error in
        [lamps.get(room).unwrap_err(), lamps.update(room, |l| l.brightness = 2).unwrap_err()]
    {
        assert!(error.to_string().contains("room"), "{error}");
    }
    assert!(matches!(lamps.update(EntityId::v5(&[0; 16], b"x"), |_| ()), Err(Error::NotFound(_))));
}

#[test]
fn saving_a_form_keeps_what_came_meanwhile_and_refuses_what_overlaps() {
    let engine = Engine::in_memory().unwrap();
    let lamps = engine.collection::<Lamp>("lamp");
    let id = lamps.create(&lamp("desk", 1)).unwrap();
    let mut form = lamps.get(id).unwrap().unwrap();
    engine.write(|tx| tx.patch(id, Patch::new().set("name", "hall").set("extra", true))).unwrap();
    form.brightness = 5;
    let mut other = form.clone();
    lamps.save(&mut form).unwrap();
    assert_eq!(lamps.get(id).unwrap().unwrap().into_value(), lamp("hall", 5));
    assert_eq!(content(&engine, id).get("extra"), Some(&Value::Bool(true)));
    other.name = "bed".into();
    let Err(Error::Stale(stale)) = lamps.save(&mut other) else {
        panic!("the name was changed elsewhere")
    };
    let names: Vec<_> = stale.fields.iter().map(|f| f.path.join(".")).collect();
    assert_eq!(names, ["name"], "the change of brightness is agreed on");
    assert_eq!(*other, lamp("bed", 5), "what was refused is still in the form");
    lamps.delete(id).unwrap();
    assert!(matches!(lamps.save(&mut other), Err(Error::Stale(stale)) if stale.deleted));
}

#[test]
fn a_document_is_refreshed_when_it_is_saved_and_conflicts_with_nobody() {
    let engine = Engine::in_memory().unwrap();
    let lamps = engine.collection::<Lamp>("lamp");
    let id = lamps.create(&lamp("desk", 1)).unwrap();
    let mut form = lamps.get(id).unwrap().unwrap();
    for brightness in 2..6 {
        form.brightness = brightness;
        lamps.save(&mut form).unwrap();
        assert_eq!(content(&engine, id).get("brightness"), Some(&Value::Int(brightness.into())));
    }
    let versions = || engine.snapshot().unwrap().history(id).unwrap().count();
    let before = versions();
    lamps.save(&mut form).unwrap();
    assert_eq!(versions(), before, "nothing changed, nothing written");

    // what others wrote elsewhere is seen with it, and only what came after it is a conflict
    lamps.update(id, |l| l.name = "hall".into()).unwrap();
    form.brightness = 7;
    lamps.save(&mut form).unwrap();
    assert_eq!(*form, lamp("hall", 7));
    form.name = "bed".into();
    lamps.save(&mut form).unwrap();
    lamps.update(id, |l| l.name = "attic".into()).unwrap();
    form.name = "cellar".into();
    assert!(matches!(lamps.save(&mut form), Err(Error::Stale(_))));
    assert_eq!(*form, lamp("cellar", 7));

    // what does not fit the type any more does not undo what was written
    let mut form = lamps.get(id).unwrap().unwrap();
    engine.write(|tx| tx.patch(id, Patch::new().set("name", 5))).unwrap();
    form.brightness = 9;
    lamps.save(&mut form).unwrap();
    assert_eq!(content(&engine, id).get("brightness"), Some(&Value::Int(9)));
    assert_eq!(*form, lamp("attic", 9));
}

#[test]
fn iteration_is_one_snapshot_over_many_pages() {
    let engine = Engine::in_memory().unwrap();
    let lamps = engine.collection::<Lamp>("lamp");
    let ids = engine.write(|tx| {
        (0..600u32).map(|i| tx.create("lamp", &lamp("x", i as u8))).collect::<Result<Vec<_>, _>>()
    });
    let mut ids = ids.unwrap();
    ids.sort();
    let iter = lamps.iter().unwrap();
    lamps.delete(ids[599]).unwrap();
    lamps.create(&lamp("new", 1)).unwrap();
    let read: Vec<_> = iter.map(|d| d.unwrap().id()).collect();
    assert_eq!(read, ids);
    assert_eq!(lamps.iter().unwrap().count(), 600);
}

#[derive(Serialize, Deserialize)]
struct Tagged {
    name: String,
    tags: HashSet<u32>,
    #[serde(default = "next")]
    drawn: u32,
}

/// Another each time.
fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn what_has_no_order_or_another_default_each_time_is_written_only_when_it_changes() {
    let engine = Engine::in_memory().unwrap();
    let content =
        Content::new().with("name", "x").with("tags", (0..20).map(Value::Int).collect::<Vec<_>>());
    let id = engine.write(|tx| tx.create("thing", &content)).unwrap();
    let things = engine.collection::<Tagged>("thing");
    let mut form = things.get(id).unwrap().unwrap();
    form.name = "y".into();
    things.save(&mut form).unwrap();
    things.update(id, |_| ()).unwrap();
    let entity = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    assert_eq!(entity.content(), content.with("name", "y"));
    assert_eq!(engine.snapshot().unwrap().history(id).unwrap().count(), 2);
    things.update(id, |thing| assert!(thing.tags.insert(99))).unwrap();
    assert!(things.get(id).unwrap().unwrap().tags.contains(&99));
}

#[test]
fn what_cannot_be_shown_is_an_error_in_its_place_and_the_others_follow() {
    let builder = |label: &str| Engine::builder().label(label).dataset_name("home");
    let (phone, tablet) =
        (builder("phone").in_memory().unwrap(), builder("tablet").in_memory().unwrap());
    let id = |n: u8| EntityId::from_bytes([n; 16]);
    phone.collection::<Lamp>("lamp").create_with_id(id(2), &lamp("hall", 2)).unwrap();
    let batch =
        phone.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
    let mut bytes = batch.commits[0].bytes.clone();
    // a body that does not give the root of the states: kept, but never shown
    let at = bytes.len() - 2;
    bytes[at] ^= 1;
    assert_eq!(tablet.replication().ingest(&[&bytes]).unwrap().unverified, 1);
    let lamps = tablet.collection::<Lamp>("lamp");
    lamps.create_with_id(id(1), &lamp("desk", 1)).unwrap();
    lamps.create_with_id(id(3), &lamp("door", 3)).unwrap();
    let read: Vec<_> = lamps.iter().unwrap().collect();
    let [Ok(desk), Err(Error::Absent(_)), Ok(door)] = &read[..] else { panic!("{read:?}") };
    assert_eq!((desk.id(), door.id()), (id(1), id(3)));
}

#[derive(Serialize, Deserialize, Debug)]
struct Named {
    name: String,
}

#[test]
fn ids_of_other_types_are_refused_whatever_is_asked_of_them() {
    let engine = Engine::in_memory().unwrap();
    let (lamps, rooms) = (engine.collection::<Named>("lamp"), engine.collection::<Named>("room"));
    let den = rooms.create(&Named { name: "den".into() }).unwrap();
    let gone = rooms.create(&Named { name: "attic".into() }).unwrap();
    let version = engine.snapshot().unwrap().heads(gone).unwrap()[0].reference();
    rooms.delete(gone).unwrap();
    let mut document = rooms.get(den).unwrap().unwrap();
    let refused = |what: Result<(), Error>| {
        let Err(Error::OtherType { found, wanted, .. }) = what else { panic!("{what:?}") };
        assert_eq!((&*found, &*wanted), ("room", "lamp"));
    };
    refused(lamps.get(den).map(drop));
    refused(lamps.update(den, |room| room.name = "hall".into()));
    refused(lamps.save(&mut document));
    refused(lamps.delete(den));
    refused(lamps.restore(den, &version));
    // deleted ones have a type, too
    refused(lamps.delete(gone));
    refused(lamps.restore(gone, &version));
    refused(lamps.update(gone, |room| room.name = "hall".into()));
    assert_eq!(rooms.get(den).unwrap().unwrap().name, "den");
    assert!(rooms.get(gone).unwrap().is_none());
    rooms.restore(gone, &version).unwrap();
    rooms.delete(den).unwrap();
    let unknown = EntityId::v5(&[0; 16], b"nobody");
    assert!(matches!(lamps.delete(unknown), Err(Error::NotFound(id)) if id == unknown));
    assert!(matches!(
        lamps.restore(unknown, &version),
        Err(Error::NotFound(_) | Error::NotOfEntity { .. })
    ));
}

#[test]
fn an_update_whose_closure_fails_writes_nothing() {
    let engine = Engine::in_memory().unwrap();
    let rooms = engine.collection::<Named>("room");
    let den = rooms.create(&Named { name: "den".into() }).unwrap();
    let root = engine.log_root().unwrap();
    let refuse = |room: &mut Named| -> Result<u8, Box<dyn std::error::Error>> {
        room.name = "hall".into();
        Err("no".into())
    };
    let version = engine.snapshot().unwrap().heads(den).unwrap()[0].reference();
    assert_eq!(rooms.update(den, refuse).unwrap_err().to_string(), "no");
    assert_eq!(rooms.update_from(den, &version, refuse).unwrap_err().to_string(), "no");
    assert_eq!(engine.log_root().unwrap(), root);
    // within a transaction that goes on, too
    engine
        .write(|tx| {
            assert!(tx.update(den, refuse).is_err());
            tx.create("room", &Named { name: "attic".into() }).map(drop)
        })
        .unwrap();
    assert_ne!(engine.log_root().unwrap(), root);
    assert_eq!(rooms.get(den).unwrap().unwrap().name, "den");
    // and what is `Ok` is written and returned
    let before =
        rooms.update(den, |room| Ok::<_, Error>(std::mem::replace(&mut room.name, "hall".into())));
    assert_eq!(before.unwrap(), "den");
    assert_eq!(rooms.get(den).unwrap().unwrap().name, "hall");
}

#[test]
fn what_was_deleted_is_not_created_again_but_restored_and_the_error_says_so() {
    let engine = Engine::in_memory().unwrap();
    let rooms = engine.collection::<Named>("room");
    let id = EntityId::v5(&[0; 16], b"den");
    let den = || Named { name: "den".into() };
    rooms.create_with_id(id, &den()).unwrap();
    let exists = rooms.create_with_id(id, &den()).unwrap_err();
    assert!(matches!(exists, Error::Exists { deleted: false, .. }), "{exists}");
    assert!(exists.to_string().contains("patch it"), "{exists}");
    let version = engine.snapshot().unwrap().heads(id).unwrap()[0].reference();
    rooms.delete(id).unwrap();
    let deleted = rooms.create_with_id(id, &den()).unwrap_err();
    assert!(matches!(deleted, Error::Exists { deleted: true, .. }), "{deleted}");
    assert!(deleted.to_string().contains("restore it"), "{deleted}");
    rooms.restore(id, &version).unwrap();
    // the same within one transaction
    let within = engine.write(|tx| {
        tx.delete(id)?;
        tx.create_with_id(id, "room", &den())
    });
    assert!(matches!(within, Err(Error::Exists { deleted: true, .. })), "{within:?}");
    assert!(rooms.get(id).unwrap().is_some());
}
