//! What is written as a serde type is what is read, or it is refused; what a type does not know,
//! and what nobody changed, stays.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use heirloom::replication::Ingested;
use heirloom::{
    Atomic, Collection, Content, Engine, EntityId, Error, Invalid, Lsn, Patch, Policy, Timestamp,
    Value, Variant, VersionRef, from_value, to_value,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Mode {
    Off,
    Zap(u8),
    Scene(String),
    Colour { hue: u16, sat: u16 },
    Both(u8, u8),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Lamp {
    name: String,
    mode: Mode,
}

fn lamp(mode: Mode) -> Lamp {
    Lamp { name: "desk".into(), mode }
}

fn device(label: &str) -> Engine {
    Engine::builder().label(label).dataset_name("home").in_memory().unwrap()
}

/// Brings each what the other has.
fn meet(a: &Engine, b: &Engine) {
    for (from, to) in [(a, b), (b, a)] {
        let batch =
            from.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX).unwrap();
        for commit in batch.commits {
            let _: Ingested = to.replication().ingest(&[&commit.bytes]).unwrap();
        }
    }
}

fn content(engine: &Engine, id: EntityId) -> Content {
    engine.snapshot().unwrap().get(id).unwrap().unwrap().content()
}

fn versions(engine: &Engine, id: EntityId) -> usize {
    engine.snapshot().unwrap().history(id).unwrap().count()
}

fn head(engine: &Engine, id: EntityId) -> VersionRef {
    engine.snapshot().unwrap().heads(id).unwrap()[0].reference()
}

/// Written, read back, and written unchanged: nothing.
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) -> Content {
    let engine = Engine::in_memory().unwrap();
    let all = engine.collection::<T>("thing");
    let id = all.create(&value).unwrap();
    let mut read = all.get(id).unwrap().unwrap();
    assert_eq!(*read, value);
    all.save(&mut read).unwrap();
    let entity = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    engine.write(|tx| tx.put(&entity, &entity.read::<T>()?)).unwrap();
    assert_eq!(versions(&engine, id), 1, "nothing changed, nothing written");
    content(&engine, id)
}

fn refused<T: Serialize + DeserializeOwned>(value: T) -> String {
    let engine = Engine::in_memory().unwrap();
    let error = engine.collection::<T>("thing").create(&value).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    assert_eq!(engine.snapshot().unwrap().list("thing").count().unwrap(), 0);
    error.to_string()
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
struct Of<T> {
    it: T,
}

// ---- one value ----

#[test]
fn every_shape_of_variant_is_one_value_and_reads_back() {
    for mode in [
        Mode::Off,
        Mode::Zap(3),
        Mode::Scene("dusk".into()),
        Mode::Colour { hue: 1, sat: 2 },
        Mode::Both(1, 2),
    ] {
        let stored = survives(lamp(mode.clone()));
        match (mode, stored.get("mode").unwrap()) {
            (Mode::Off, Value::Text(text)) => assert_eq!(text, "Off"),
            (_, Value::Variant(_)) => {}
            (mode, value) => panic!("{mode:?} as {value:?}"),
        }
    }
}

#[test]
fn two_variants_by_two_devices_are_a_conflict_of_that_field_and_one_is_shown_whole() {
    for pair in [
        [Mode::Scene("dusk".into()), Mode::Zap(3)],
        [Mode::Colour { hue: 1, sat: 1 }, Mode::Colour { hue: 1, sat: 2 }],
        [Mode::Off, Mode::Both(1, 2)],
    ] {
        let (a, b) = (device("a"), device("b"));
        let id = a.collection("lamp").create(&lamp(Mode::Colour { hue: 0, sat: 0 })).unwrap();
        meet(&a, &b);
        for (engine, mode) in [&a, &b].into_iter().zip(&pair) {
            engine.collection("lamp").update(id, |l: &mut Lamp| l.mode = mode.clone()).unwrap();
        }
        meet(&a, &b);
        let lamps = a.collection::<Lamp>("lamp");
        let shown = lamps.get(id).unwrap().unwrap();
        assert!(pair.contains(&shown.mode), "{:?}", shown.mode);
        assert_eq!(shown.entity().conflicting_fields(), ["mode"]);
        assert_eq!(b.collection::<Lamp>("lamp").get(id).unwrap().unwrap().mode, shown.mode);
        let lost = a.snapshot().unwrap().losses(id).unwrap().next().unwrap().unwrap();
        assert_eq!(lost.path, ["mode"]);
        // a lone write settles it, and is what is read
        lamps.update(id, |l| l.mode = Mode::Zap(9)).unwrap();
        let settled = lamps.get(id).unwrap().unwrap();
        assert_eq!(settled.mode, Mode::Zap(9));
        assert!(!settled.entity().is_conflicted());
    }
}

#[test]
fn a_patch_path_that_leads_into_a_variant_is_refused_at_the_call() {
    let engine = Engine::in_memory().unwrap();
    let id = engine.collection("lamp").create(&lamp(Mode::Colour { hue: 0, sat: 0 })).unwrap();
    for patch in [
        Patch::new().set_at(["mode", "hue"], 1),
        Patch::new().set_at(["mode", "Colour", "hue"], 1),
        Patch::new().unset_at(["mode", "Colour"]),
    ] {
        let error = engine.write(|tx| tx.patch(id, patch.clone())).unwrap_err();
        assert!(
            matches!(&error, Error::Invalid(Invalid::Inside { value, .. }) if value == "mode"),
            "{error:?}"
        );
        let to = content(&engine, id);
        assert!(matches!(
            heirloom::apply_patch(&patch, &to),
            Err(heirloom::Invalid::Inside { .. })
        ));
        let seen = engine.snapshot().unwrap().get(id).unwrap().unwrap().heads().to_vec();
        let resolved = engine.write(|tx| tx.resolve(id, &seen, patch.clone()));
        assert!(matches!(resolved, Err(Error::Invalid(heirloom::Invalid::Inside { .. }))));
    }
    // what is removed first is no value to lead into
    engine.write(|tx| tx.patch(id, Patch::new().unset("mode").set_at(["mode", "hue"], 1))).unwrap();
    let map = Content::new().with("hue", 1);
    assert_eq!(content(&engine, id).get("mode"), Some(&map.into()));
}

#[test]
fn an_index_path_that_leads_into_a_variant_is_refused_where_such_a_thing_is_written() {
    let engine = Engine::builder().index_at("lamp", ["mode", "hue"]).in_memory().unwrap();
    let refused = engine.collection("lamp").create(&lamp(Mode::Zap(1)));
    let Err(Error::Invalid(Invalid::Inside { path, value })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((&*path, &*value), ("mode.hue", "mode"));
    engine.collection("lamp").create(&lamp(Mode::Off)).unwrap();
}

#[test]
fn a_duration_a_moment_and_a_range_are_one_value() {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let stored = survives(Of { it: (Duration::from_millis(1_900), moment, 3u8..7, 3u8..=7) });
    let Some(Value::Array(items)) = stored.get("it") else { panic!() };
    assert!(items.iter().all(|v| matches!(v, Value::Atomic(_))), "{items:?}");

    let (a, b) = (device("a"), device("b"));
    let id = a.collection("t").create(&Of { it: Duration::from_millis(1_000) }).unwrap();
    meet(&a, &b);
    a.collection("t")
        .update(id, |t: &mut Of<Duration>| t.it = Duration::from_millis(1_900))
        .unwrap();
    b.collection("t")
        .update(id, |t: &mut Of<Duration>| t.it = Duration::from_millis(2_000))
        .unwrap();
    meet(&a, &b);
    let shown = a.collection::<Of<Duration>>("t").get(id).unwrap().unwrap();
    assert!([1_900, 2_000].map(Duration::from_millis).contains(&shown.it), "{:?}", shown.it);
    assert_eq!(shown.entity().conflicting_fields(), ["it"]);
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
struct Place {
    lat: f64,
    lon: f64,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
struct Photo {
    #[serde(with = "heirloom::atomic")]
    taken: Place,
    shown: Option<Atomic<Place>>,
    #[serde(with = "heirloom::atomic")]
    tags: BTreeMap<String, u8>,
}

#[test]
fn a_field_that_is_said_to_be_one_value_never_comes_apart() {
    survives(Photo { shown: Some(Atomic(Place { lat: 1.0, lon: 2.0 })), ..Photo::default() });
    let (a, b) = (device("a"), device("b"));
    let id = a.collection("photo").create(&Photo::default()).unwrap();
    meet(&a, &b);
    let change = |engine: &Engine, lat, lon, tag: &str| {
        engine
            .collection("photo")
            .update(id, |p: &mut Photo| {
                if lat != 0.0 {
                    p.taken.lat = lat;
                } else {
                    p.taken.lon = lon;
                }
                p.shown = Some(Place { lat, lon }.into());
                p.tags.insert(tag.into(), 1);
            })
            .unwrap();
    };
    change(&a, 1.0, 0.0, "x");
    change(&b, 0.0, 2.0, "y");
    meet(&a, &b);
    let shown = a.collection::<Photo>("photo").get(id).unwrap().unwrap();
    assert_eq!(shown.taken.lat * shown.taken.lon, 0.0, "both stand: {:?}", shown.taken);
    assert_eq!(shown.tags.len(), 1);
    assert_eq!(shown.entity().conflicting_fields(), ["shown", "tags", "taken"]);
}

#[test]
fn a_field_that_becomes_one_value_is_so_once_it_changes() {
    #[derive(Serialize, Deserialize)]
    struct Older {
        taken: Place,
    }
    #[derive(Serialize, Deserialize)]
    struct Newer {
        #[serde(with = "heirloom::atomic")]
        taken: Place,
    }
    let engine = Engine::in_memory().unwrap();
    let id = engine.collection("photo").create(&Older { taken: Place::default() }).unwrap();
    let newer = engine.collection::<Newer>("photo");
    newer.update(id, |_| ()).unwrap();
    assert_eq!(versions(&engine, id), 1);
    newer.update(id, |p| p.taken.lat = 1.0).unwrap();
    assert!(matches!(content(&engine, id).get("taken"), Some(Value::Atomic(_))));
    // and stays so under the older release
    engine.collection::<Older>("photo").update(id, |p| p.taken.lat = 2.0).unwrap();
    assert!(matches!(content(&engine, id).get("taken"), Some(Value::Atomic(_))));
    assert_eq!(newer.get(id).unwrap().unwrap().taken.lat, 2.0);
}

// ---- what is written is what is read ----

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Due(Option<Timestamp>);

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct V(Value);

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(untagged)]
enum Any {
    Number(i64),
    At(Timestamp),
    Mode(Mode),
    Value(Value),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    lamp: Lamp,
    #[serde(flatten)]
    extra: BTreeMap<String, Value>,
}

#[test]
fn newtypes_untagged_enums_and_flattened_fields_keep_every_kind() {
    let time = Timestamp::from_millis(1_700_000_000_000);
    survives(Of { it: Due(Some(time)) });
    survives(Of { it: Due(None) });
    let kinds = [
        Value::from(time),
        Variant::new("Scene", Content::new().with("x", time)).into(),
        vec![1u8, 2].into(),
        Value::Atomic(Content::new().with("secs", 1)),
        Content::new().with("$variant", 1).into(),
    ];
    for value in kinds.clone() {
        survives(Of { it: V(value) });
    }
    for any in [
        Any::Number(5),
        Any::At(time),
        Any::Mode(Mode::Zap(1)),
        Any::Mode(Mode::Off),
        Any::Value(Value::Null),
        Any::Value(vec![1u8].into()),
    ] {
        survives(Of { it: any });
    }
    let extra =
        [("time".to_owned(), time.into()), ("mode2".to_owned(), Variant::new("A", 1).into())];
    for mode in [Mode::Zap(1), Mode::Colour { hue: 1, sat: 2 }, Mode::Off, Mode::Both(1, 2)] {
        survives(Flat { id: 1, lamp: lamp(mode), extra: extra.clone().into() });
    }
}

/// As `time::Weekday` and others: nothing but unsigned.
#[derive(PartialEq, Debug, Clone, Copy)]
struct Weekday(u8);

impl Serialize for Weekday {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Weekday {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Only;
        impl serde::de::Visitor<'_> for Only {
            type Value = Weekday;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a day")
            }
            fn visit_u64<E>(self, n: u64) -> Result<Weekday, E> {
                Ok(Weekday(n as u8))
            }
        }
        d.deserialize_any(Only)
    }
}

#[test]
fn types_that_ask_for_unsigned_numbers_get_them() {
    survives(Of { it: Weekday(6) });
    survives(Of { it: (0u64, -1i64, i128::from(i64::MIN), u128::from(7u8), i64::MAX as u64) });
    let error =
        refused(Of { it: BTreeMap::from([("a", vec![u64::MAX])].map(|(k, v)| (k.to_owned(), v))) });
    assert!(error.contains("field it.a[0]: ") && error.contains("use text"), "{error}");
}

#[test]
fn bytes_are_read_as_an_array_of_bytes() {
    let engine = Engine::in_memory().unwrap();
    let id =
        engine.write(|tx| tx.create("t", &Content::new().with("it", vec![1u8, 2, 3]))).unwrap();
    assert_eq!(engine.collection::<Of<[u8; 3]>>("t").get(id).unwrap().unwrap().it, [1, 2, 3]);
    assert_eq!(from_value::<(u8, u8)>(&vec![1u8, 2].into()).unwrap(), (1, 2));
    survives(Of { it: [1u8, 2, 3] });
}

#[test]
fn a_change_inside_a_cell_is_saved() {
    let engine = Engine::in_memory().unwrap();
    let all = engine.collection::<Of<(Cell<i64>, RefCell<Vec<u8>>, AtomicI64)>>("t");
    let id = all.create(&Of::default()).unwrap();
    let mut read = all.get(id).unwrap().unwrap();
    read.it.0.set(1);
    read.it.1.borrow_mut().push(2);
    let _: &mut Of<_> = &mut read;
    read.it.2.store(3, Ordering::Relaxed);
    all.save(&mut read).unwrap();
    let now = all.get(id).unwrap().unwrap();
    assert_eq!(
        (now.it.0.get(), &now.it.1.borrow()[..], now.it.2.load(Ordering::Relaxed)),
        (1, &[2][..], 3)
    );
}

#[test]
fn two_fields_of_one_name_are_refused_by_name() {
    #[derive(Serialize, Deserialize)]
    struct Both {
        name: String,
        #[serde(flatten)]
        extra: HashMap<String, String>,
    }
    let extra = HashMap::from([("name".to_owned(), "b".to_owned())]);
    assert!(refused(Both { name: "a".into(), extra }).contains("field name: two fields"));

    #[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
    #[serde(untagged)]
    enum Key {
        Number(u8),
        Text(String),
    }
    let keys = BTreeMap::from([(Key::Number(1), 1), (Key::Text("1".into()), 2)]);
    assert!(to_value(&keys).unwrap_err().to_string().contains("field 1: two fields"));

    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        A(Kind),
    }
    #[derive(Serialize, Deserialize)]
    struct Kind {
        kind: u8,
    }
    let tagged = Tagged::A(Kind { kind: 1 });
    assert!(refused(Of { it: tagged }).contains("field it.kind: two fields"));
}

#[test]
fn some_of_nothing_is_refused_since_it_would_be_none() {
    assert!(refused(Of { it: Some(None::<u8>) }).contains("field it: Some of nothing"));
    assert!(refused(Of { it: Some(()) }).contains("field it"));
    survives(Of { it: None::<Option<u8>> });
}

#[test]
fn what_its_own_type_would_not_read_back_is_refused_with_its_field() {
    #[derive(Serialize, Deserialize)]
    struct Odd {
        #[serde(deserialize_with = "lower")]
        name: String,
    }
    fn lower<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
        Ok(String::deserialize(d)?.to_lowercase())
    }
    survives(Of { it: "x".to_owned() });
    assert!(refused(Of { it: Odd { name: "Ada".into() } }).contains("field it.name: "));

    #[derive(Serialize, Deserialize)]
    struct Unreadable {
        #[serde(serialize_with = "as_text")]
        n: u8,
    }
    fn as_text<S: Serializer>(n: &u8, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(n)
    }
    let error = refused(Unreadable { n: 1 });
    assert!(error.contains("field n: ") && error.contains("read back"), "{error}");
}

#[test]
fn a_field_that_is_written_and_never_read_is_fine() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Named {
        name: String,
        #[serde(skip_deserializing)]
        sort: String,
    }
    let engine = Engine::in_memory().unwrap();
    let all = engine.collection::<Named>("t");
    let id = all.create(&Named { name: "Ada".into(), sort: "ada".into() }).unwrap();
    assert_eq!(content(&engine, id).get("sort"), Some(&"ada".into()));
    all.update(id, |n| (n.name, n.sort) = ("Eve".into(), "eve".into())).unwrap();
    assert_eq!(content(&engine, id).get("sort"), Some(&"eve".into()));
}

#[test]
fn keys_of_maps_read_back_or_are_refused() {
    #[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Debug, Clone)]
    struct Id(u32);
    #[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Debug, Clone)]
    enum Day {
        Monday,
        #[serde(rename = "tue")]
        Tuesday,
    }
    #[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Debug, Clone)]
    struct Name(Option<String>);
    survives(Of { it: BTreeMap::from([(-1i64, 1), (7, 2)]) });
    survives(Of { it: BTreeMap::from([(u64::MAX, 1), (0, 2)]) });
    survives(Of { it: BTreeMap::from([(i128::MIN, 1)]) });
    survives(Of { it: BTreeMap::from([('ä', 1), ('"', 2)]) });
    survives(Of { it: BTreeMap::from([(true, 1), (false, 2)]) });
    survives(Of { it: BTreeMap::from([(Id(3), 1)]) });
    survives(Of { it: BTreeMap::from([(Day::Monday, 1), (Day::Tuesday, 2)]) });
    survives(Of { it: BTreeMap::from([(Some("a".to_owned()), 1)]) });
    survives(Of { it: BTreeMap::from([(Name(Some("a".into())), 1)]) });
    survives(Of { it: BTreeMap::from([(Timestamp::from_millis(5), 1)]) });
    // inside a list, where a map is no leaves
    survives(Of { it: vec![BTreeMap::from([(Id(3), Day::Tuesday)])] });

    assert!(refused(Of { it: BTreeMap::from([(None::<String>, 1)]) }).contains("field it: a key"));
    assert!(refused(Of { it: BTreeMap::from([((1, 2), 1)]) }).contains("a tuple"));
    assert!(to_value(&BTreeMap::from([(vec![1], 1)])).is_err());
    #[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
    enum Full {
        With(u8),
    }
    assert!(
        refused(Of { it: BTreeMap::from([(Full::With(1), 1)]) }).contains("variant with content")
    );
}

#[derive(Serialize)]
struct Nested(Option<Box<Nested>>);

#[derive(Serialize)]
enum Deep {
    End,
    More(Box<Deep>),
}

#[derive(Serialize)]
struct Tree {
    below: Vec<Tree>,
}

#[test]
fn what_is_too_deep_is_an_error_before_the_stack_ends() {
    let levels = 20_000;
    let nested = (0..levels).fold(Nested(None), |n, _| Nested(Some(Box::new(n))));
    let deep = (0..levels).fold(Deep::End, |d, _| Deep::More(Box::new(d)));
    let tree = (0..levels).fold(Tree { below: vec![] }, |t, _| Tree { below: vec![t] });
    for error in [to_value(&nested), to_value(&deep), to_value(&tree)] {
        assert!(matches!(error, Err(heirloom::Invalid::Limit { what: "depth", .. })), "{error:?}");
    }
    // their destructors would be as deep
    std::mem::forget((nested, deep, tree));
    let fits = (0..63).fold(Deep::End, |d, _| Deep::More(Box::new(d)));
    let engine = Engine::in_memory().unwrap();
    engine.write(|tx| tx.create("t", &Of { it: fits })).unwrap();
    let json = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    assert!(serde_json::from_str::<Value>(&json).unwrap_err().to_string().contains("levels"));
}

// ---- nothing changed, nothing written ----

#[test]
fn a_set_without_order_is_written_only_when_it_changes() {
    let engine = Engine::in_memory().unwrap();
    let all = engine.collection::<Of<HashSet<u32>>>("t");
    let id = all.create(&Of { it: (0..50).collect() }).unwrap();
    for _ in 0..5 {
        let mut read = all.get(id).unwrap().unwrap();
        let _: &mut Of<_> = &mut read;
        all.save(&mut read).unwrap();
        all.update(id, |_| ()).unwrap();
    }
    assert_eq!(versions(&engine, id), 1);
    // nor is it refused as stale where somebody else changed the set
    let mut read = all.get(id).unwrap().unwrap();
    all.update(id, |t| assert!(t.it.insert(99))).unwrap();
    all.save(&mut read).unwrap();
    assert!(all.get(id).unwrap().unwrap().it.contains(&99));
    assert_eq!(versions(&engine, id), 2);
}

static CLOCK: AtomicI64 = AtomicI64::new(1);

fn now() -> i64 {
    CLOCK.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn a_default_that_is_the_time_is_not_written_by_itself() {
    #[derive(Serialize, Deserialize)]
    struct Note {
        text: String,
        #[serde(default = "now")]
        seen: i64,
    }
    let engine = Engine::in_memory().unwrap();
    let id = engine.write(|tx| tx.create("note", &Content::new().with("text", "a"))).unwrap();
    let notes = engine.collection::<Note>("note");
    let mut read = notes.get(id).unwrap().unwrap();
    notes.save(&mut read).unwrap();
    notes.update(id, |_| ()).unwrap();
    assert_eq!(versions(&engine, id), 1);
    notes.update(id, |n| n.text = "b".into()).unwrap();
    assert_eq!(content(&engine, id), Content::new().with("text", "b"));
    notes.update(id, |n| n.seen = -7).unwrap();
    assert_eq!(content(&engine, id).get("seen"), Some(&(-7).into()));
}

#[test]
fn a_kind_that_a_type_reads_as_another_stays() {
    #[derive(Serialize, Deserialize, Clone)]
    struct Plain {
        raw: Vec<u8>,
        at: i64,
        share: f64,
    }
    let engine = Engine::in_memory().unwrap();
    let stored = Content::new()
        .with("raw", vec![1u8, 2])
        .with("at", Timestamp::from_millis(5))
        .with("share", 40);
    let id = engine.write(|tx| tx.create("t", &stored)).unwrap();
    let read = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    engine.write(|tx| tx.put(&read, &read.read::<Plain>()?)).unwrap();
    assert_eq!(versions(&engine, id), 1);
    let all = engine.collection::<Plain>("t");
    all.update(id, |p| (p.raw, p.at) = (vec![3], 6)).unwrap();
    let changed = stored.clone().with("raw", vec![3u8]).with("at", Timestamp::from_millis(6));
    assert_eq!(content(&engine, id), changed);
    // who says the kind has it
    let read = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    engine.write(|tx| tx.put(&read, &read.content().with("at", 7))).unwrap();
    assert_eq!(content(&engine, id).get("at"), Some(&7.into()));
}

// ---- names and releases ----

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Renamed {
    #[serde(alias = "old", default)]
    name: String,
    #[serde(default)]
    count: u8,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    inner: BTreeMap<String, Part>,
    #[serde(default)]
    best: Option<Atomic<Part>>,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Part {
    #[serde(alias = "was")]
    size: u8,
    #[serde(default)]
    colour: u8,
}

#[test]
fn after_the_first_update_only_the_new_name_is_left_wherever_the_old_one_stood() {
    let part = |n| Content::new().with("was", n).with("more", true);
    let stored = Content::new()
        .with("old", "desk")
        .with("parts", Value::Array(vec![part(1).into(), part(2).into()]))
        .with("inner", Content::new().with("a", part(3)))
        .with("best", Value::Atomic(part(4)));
    let new = |n| Content::new().with("size", n).with("more", true);
    let renamed = Content::new()
        .with("name", "desk")
        .with("count", 1)
        .with("parts", Value::Array(vec![new(1).into(), new(2).into()]))
        .with("inner", Content::new().with("a", new(3)))
        .with("best", Value::Atomic(new(4)));
    for by_put in [false, true] {
        let engine = Engine::in_memory().unwrap();
        let id = engine.write(|tx| tx.create("t", &stored)).unwrap();
        let all = engine.collection::<Renamed>("t");
        all.update(id, |_| ()).unwrap();
        assert_eq!(content(&engine, id), stored, "nothing changed");
        if by_put {
            let read = engine.snapshot().unwrap().get(id).unwrap().unwrap();
            let now = Renamed { count: 1, ..read.read().unwrap() };
            engine.write(|tx| tx.put(&read, &now)).unwrap();
        } else {
            all.update(id, |t| t.count = 1).unwrap();
        }
        assert_eq!(content(&engine, id), renamed);
        all.update(id, |t| t.name = "bed".into()).unwrap();
        assert_eq!(content(&engine, id), renamed.clone().with("name", "bed"));
    }
}

#[test]
fn an_old_name_goes_also_where_its_value_is_the_default() {
    let engine = Engine::in_memory().unwrap();
    let id = engine.write(|tx| tx.create("t", &Content::new().with("old", ""))).unwrap();
    let all = engine.collection::<Renamed>("t");
    all.update(id, |t| t.name = "bed".into()).unwrap();
    assert_eq!(all.get(id).unwrap().unwrap().name, "bed");
    assert_eq!(content(&engine, id).get("old"), None);
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct NewItem {
    name: String,
    #[serde(default)]
    done: bool,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct OldItem {
    name: String,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Todo<I> {
    title: String,
    items: Vec<I>,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Titled {
    #[serde(flatten)]
    title: Title,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Title {
    title: String,
}

fn todo() -> (Engine, EntityId, Collection<Todo<NewItem>>) {
    let engine = Engine::in_memory().unwrap();
    let all = engine.collection::<Todo<NewItem>>("todo");
    let item = |name: &str| NewItem { name: name.into(), done: true };
    let items = ["a", "b", "c"].map(item).to_vec();
    let id = all.create(&Todo { title: "x".into(), items }).unwrap();
    (engine, id, all)
}

#[test]
fn what_an_older_struct_never_read_survives_its_put_and_its_save() {
    let (engine, id, newer) = todo();
    let whole = newer.get(id).unwrap().unwrap().into_value();
    let read = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    engine.write(|tx| tx.put(&read, &Title { title: "y".into() })).unwrap();
    engine.collection::<Titled>("todo").update(id, |t| t.title.title.push('z')).unwrap();
    assert_eq!(newer.get(id).unwrap().unwrap().into_value(), Todo { title: "yz".into(), ..whole });
    // a map knows everything, so what it leaves out goes
    let read = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    engine.write(|tx| tx.put(&read, &Content::new().with("title", "only"))).unwrap();
    assert_eq!(content(&engine, id), Content::new().with("title", "only"));
}

#[test]
fn items_of_a_list_that_an_older_release_left_alone_keep_what_it_does_not_know() {
    let (engine, id, newer) = todo();
    let older = engine.collection::<Todo<OldItem>>("todo");
    older.update(id, |t| t.title = "y".into()).unwrap();
    older
        .update(id, |t| {
            t.items.swap(0, 2);
            t.items.push(OldItem { name: "d".into() });
            t.items.remove(1);
        })
        .unwrap();
    let item = |name: &str, done| NewItem { name: name.into(), done };
    let items = vec![item("c", true), item("a", true), item("d", false)];
    assert_eq!(newer.get(id).unwrap().unwrap().into_value(), Todo { title: "y".into(), items });
}

#[test]
fn what_an_older_release_drops_from_items_that_it_changed_is_told_as_lost() {
    let (engine, id, _) = todo();
    let older = engine.collection::<Todo<OldItem>>("todo");
    let lost =
        || engine.snapshot().unwrap().losses(id).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let whole = content(&engine, id).remove("items").unwrap();
    older.update(id, |t| t.items.truncate(2)).unwrap();
    assert!(lost().is_empty(), "a removed item is what was wanted");
    older.update(id, |t| t.items[0].name = "A".into()).unwrap();
    let told = lost();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0].path[..], told[0].by),
        (&["items".to_owned()][..], Some(head(&engine, id)))
    );
    let Value::Array(items) = whole else { panic!() };
    assert_eq!(told[0].lost.value, Value::Array(items[..2].to_vec()));
    engine.write(|tx| tx.patch(id, told[0].patch())).unwrap();
    assert_eq!(content(&engine, id).get("items"), Some(&told[0].lost.value));
}

// ---- what does not fit ----

#[test]
fn a_misfit_says_which_field_of_which_version_and_by_whom() {
    let (a, b) = (device("phone"), device("tablet"));
    let id = a.collection("lamp").create(&lamp(Mode::Off)).unwrap();
    meet(&a, &b);
    b.write(|tx| tx.patch(id, Patch::new().set("mode", 3))).unwrap();
    let bad = head(&b, id);
    b.write(|tx| tx.patch(id, Patch::new().set("name", "bed"))).unwrap();
    meet(&a, &b);
    let lamps = a.collection::<Lamp>("lamp");
    let told = |error: Error| {
        let text = error.to_string();
        let Error::Misfit(misfit) = error else { panic!("{error:?}") };
        assert_eq!((&misfit.field[..], misfit.version), ("mode", Some(bad)));
        assert_eq!(misfit.device, b.device_id());
        assert!(
            text.contains("field mode: ") && text.contains(misfit.device.as_deref().unwrap()),
            "{text}"
        );
    };
    told(lamps.get(id).unwrap_err());
    told(lamps.iter().unwrap().next().unwrap().unwrap_err());
    told(lamps.update(id, |_| ()).unwrap_err());
    told(a.snapshot().unwrap().get(id).unwrap().unwrap().read::<Lamp>().unwrap_err());
    // a field that is missing: the last version
    a.write(|tx| tx.patch(id, Patch::new().set("mode", "Off").unset("name"))).unwrap();
    let Err(Error::Misfit(misfit)) = lamps.get(id) else { panic!() };
    assert_eq!((&misfit.field[..], misfit.version), ("name", Some(head(&a, id))));
}

#[test]
fn out_of_a_misfit_leads_an_update_from_a_chosen_head_or_a_restore() {
    for restore in [false, true] {
        let (a, b) = (device("phone"), device("tablet"));
        let id = a.collection("lamp").create(&lamp(Mode::Off)).unwrap();
        meet(&a, &b);
        let good = head(&a, id);
        a.write(|tx| tx.patch(id, Patch::new().set("extra", 1))).unwrap();
        let chosen = head(&a, id);
        b.write(|tx| tx.patch(id, Patch::new().set("mode", 3))).unwrap();
        meet(&a, &b);
        let lamps = a.collection::<Lamp>("lamp");
        assert!(matches!(lamps.get(id), Err(Error::Misfit(_))));
        if restore {
            lamps.restore(id, &good).unwrap();
            assert_eq!(lamps.get(id).unwrap().unwrap().mode, Mode::Off);
        } else {
            lamps.update_from(id, &chosen, |l| l.mode = Mode::Zap(1)).unwrap();
            let read = lamps.get(id).unwrap().unwrap();
            assert_eq!(read.mode, Mode::Zap(1));
            assert_eq!(
                read.entity().get("extra").unwrap(),
                Some(1.into()),
                "what the type does not know"
            );
            assert_eq!(read.entity().heads().len(), 1);
            assert!(!read.entity().is_conflicted());
        }
    }
    let engine = Engine::builder().policy("lamp", Policy::LastWriteWins).in_memory().unwrap();
    let lamps = engine.collection::<Lamp>("lamp");
    let id = lamps.create(&lamp(Mode::Off)).unwrap();
    let first = head(&engine, id);
    lamps.delete(id).unwrap();
    assert!(matches!(lamps.update_from(id, &first, |_| ()), Err(Error::Deleted(_))));
}

// ---- the forms of others ----

#[test]
fn internally_and_adjacently_tagged_enums_are_one_value_if_they_are_said_to_be() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(tag = "kind")]
    enum Inside {
        A { x: u8 },
        B { y: Duration },
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(tag = "kind", content = "of")]
    enum Beside {
        A(u8),
        B { range: Range<u8>, mode: Mode },
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct Tagged {
        #[serde(with = "heirloom::atomic")]
        inside: Inside,
        #[serde(with = "heirloom::atomic")]
        beside: Beside,
        loose: (Inside, Beside),
    }
    let b = Inside::B { y: Duration::from_millis(1_500) };
    let beside = Beside::B { range: 1..2, mode: Mode::Zap(1) };
    let stored = survives(Tagged { inside: b.clone(), beside: beside.clone(), loose: (b, beside) });
    assert!(matches!(stored.get("inside"), Some(Value::Atomic(_))));
    survives(Tagged {
        inside: Inside::A { x: 1 },
        beside: Beside::A(1),
        loose: (Inside::A { x: 1 }, Beside::A(2)),
    });
}

#[test]
fn any_json_value_reads_an_entity_and_content_reads_its_own_json() {
    let engine = Engine::in_memory().unwrap();
    let id = engine.collection("lamp").create(&lamp(Mode::Scene("dusk".into()))).unwrap();
    let entity = engine.snapshot().unwrap().get(id).unwrap().unwrap();
    let json: serde_json::Value = entity.read().unwrap();
    assert_eq!(json, serde_json::json!({"name": "desk", "mode": {"Scene": "dusk"}}));
    let text = serde_json::to_string(&entity.content()).unwrap();
    assert_eq!(text, r#"{"mode":{"$variant":{"Scene":"dusk"}},"name":"desk"}"#);
    assert_eq!(serde_json::from_str::<Content>(&text).unwrap(), entity.content());
}
