//! Bytes that are no commit, and commits that come too early, fork, or belong elsewhere: every
//! framing error of the format, forged. Each is a typed error, the commits before it in the batch
//! are kept, and nothing of it is stored.

use heirloom::Error;
use heirloom_tests::decoder::{
    Body, Commit, Frame, Framing, Genesis, Id, Leaves, Level1, Metadata, Ref, Refusal, Rest,
    Trailer, Value, hashes, kind,
};
use heirloom_tests::forge::{self, Author, CommitSpec, Forged, VersionSpec};
use heirloom_tests::specimen::DATASET;
use heirloom_tests::twins::{self, Twins};

const LAMP: Id = [0x1a; 16];
const ROOM: Id = [0x20; 16];

/// What an engine says of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blame {
    Refused,
    OutOfOrder,
    WrongDataset,
}

fn blame(error: &Error) -> Blame {
    match error {
        Error::Refused(_) => Blame::Refused,
        Error::OutOfOrder { .. } => Blame::OutOfOrder,
        Error::WrongDataset { .. } => Blame::WrongDataset,
        other => panic!("{other:?} blames nobody"),
    }
}

/// An engine and the decoder that hold two commits of `a` and one of `b`; `next` is about to follow
/// in `a`'s log, `fresh` has written nothing.
struct Scene {
    twins: Twins,
    held: [Forged; 3],
    next: Author,
    fresh: Author,
}

fn create(entity: Id) -> VersionSpec {
    VersionSpec::create(entity, "lamp", forge::own([("on", Value::null())]))
}

fn scene() -> Scene {
    let (mut a, mut b) = (twins::author(DATASET, "a"), twins::author(DATASET, "b"));
    let a1 = a.commit(&CommitSpec::at(1).version(create(LAMP)).version(create(ROOM)));
    let b1 = b.commit(
        &CommitSpec::at(2).version(VersionSpec::update(LAMP, "lamp", Leaves::new()).after(&a1, 0)),
    );
    let a2 = a.commit(&CommitSpec::at(3).version(VersionSpec::delete(ROOM, "lamp").after(&a1, 1)));
    let mut twins = Twins::new(hashes::dataset_id(DATASET));
    for commit in [&a1, &b1, &a2] {
        twins.offer(&commit.bytes).unwrap();
    }
    Scene { twins, held: [a1, b1, a2], next: a, fresh: twins::author(DATASET, "f") }
}

impl Scene {
    /// Offers bytes that are refused, alone and behind a good commit; says why and checks that
    /// nothing of them is stored.
    fn refuse(&mut self, bytes: &[u8]) -> (Refusal, Blame) {
        let engine = self.twins.engine.clone();
        let root = engine.log_root().unwrap();
        let (refusal, error) = self.twins.offer(bytes).map(|(taken, _)| taken).unwrap_err();
        assert_eq!(engine.log_root().unwrap(), root, "{error:?}");
        assert_eq!(engine.snapshot().unwrap().commits().unwrap(), 3);
        assert!(error.to_string().len() > 20);

        let fresh = twins::reader(hashes::dataset_id(DATASET));
        let good: Vec<&[u8]> = self.held.iter().map(|commit| &commit.bytes[..]).collect();
        let behind =
            fresh.replication().ingest(&[&good[..], &[bytes, good[0]]].concat()).unwrap_err();
        assert_eq!(blame(&behind), blame(&error));
        assert_eq!(fresh.log_root().unwrap(), root, "what came before it is kept");
        assert!(fresh.verify().unwrap().is_clean());
        (refusal, blame(&error))
    }

    /// What is said of a draft of the next commit in a log that is held, edited.
    fn edited(edit: impl FnOnce(&mut Commit, &Scene)) -> (Refusal, Blame) {
        let mut scene = scene();
        let version = VersionSpec::update(LAMP, "lamp", Leaves::new()).after(&scene.held[1], 0);
        let spec = CommitSpec::at(9)
            .version(version)
            .version(VersionSpec::delete(ROOM, "lamp").after(&scene.held[2], 0));
        let mut draft = scene.next.draft(&spec);
        edit(&mut draft, &scene);
        scene.refuse(&forge::join(&forge::frame(&draft)))
    }

    /// The same of its parts.
    fn edited_parts(edit: impl FnOnce(&mut Frame)) -> (Refusal, Blame) {
        let mut scene = scene();
        let spec = CommitSpec::at(9).version(create([7; 16]));
        let mut frame = forge::frame(&scene.next.draft(&spec));
        edit(&mut frame);
        scene.refuse(&forge::join(&frame))
    }

    /// The same of a first commit with an edited genesis, all hashes right.
    fn edited_genesis(edit: impl FnOnce(&mut Genesis)) -> (Refusal, Blame) {
        let mut scene = scene();
        let spec = CommitSpec::at(9).version(create([7; 16]));
        let mut genesis = scene.fresh.draft(&spec).genesis.unwrap();
        edit(&mut genesis);
        let bytes = Author::open(genesis).commit(&spec).bytes;
        scene.refuse(&bytes)
    }
}

fn level1(commit: &mut Commit) -> &mut Level1 {
    match &mut commit.header.rest {
        Rest::Level1(level1) => level1,
        Rest::Newer(_) => unreachable!("drafts are of level 1"),
    }
}

fn first_body(commit: &mut Commit) -> &mut Body {
    match &mut commit.bodies {
        heirloom_tests::decoder::Bodies::Level1(bodies) => &mut bodies[0],
        heirloom_tests::decoder::Bodies::Newer(_) => unreachable!("drafts are of level 1"),
    }
}

fn refused(framing: Framing) -> (Refusal, Blame) {
    (Refusal::Framing(framing), Blame::Refused)
}

fn named(log: u8, sequence: u64, prefix: u8) -> Ref {
    Ref { log: [log; 16], sequence, prefix: [prefix; 16] }
}

fn is_primitive((refusal, blame): (Refusal, Blame)) -> bool {
    matches!(refusal, Refusal::Framing(Framing::Primitive(_))) && blame == Blame::Refused
}

#[test]
fn primitives() {
    assert!(is_primitive(Scene::edited_parts(|f| f.header[1] = 1)), "metadata that is not there");
    assert!(
        is_primitive(Scene::edited_parts(|f| f.header.push(0))),
        "bytes left over in the header"
    );
    assert!(is_primitive(Scene::edited_parts(|f| f.trailer.push(0))), "bytes left over at the end");
    assert!(is_primitive(Scene::edited_parts(|f| f.trailer.clear())));
    assert!(
        is_primitive(Scene::edited_parts(|f| f.trailer = vec![1; 64])),
        "a signature cut short"
    );
    assert!(is_primitive(Scene::edited_parts(|f| f.trailer = vec![2; 16])), "a key cut short");
    assert!(is_primitive(Scene::edited_genesis(|g| g.more = vec![0])));
    for start in [&[0x80][..], &[0x80, 0x00], &[0xff; 10], &[0x00], &[]] {
        assert!(is_primitive(scene().refuse(&[&[1; 16][..], start].concat())), "{start:?}");
    }
}

#[test]
fn commits_cut_anywhere() {
    let mut scene = scene();
    let spec = CommitSpec::at(9).version(create([7; 16])).metadata("me", "why");
    for bytes in [scene.next.draft(&spec), scene.fresh.draft(&spec)]
        .map(|draft| forge::join(&forge::frame(&draft)))
    {
        for end in 0..bytes.len() {
            let (_, error) = scene.twins.offer(&bytes[..end]).map(drop).unwrap_err();
            assert_eq!(blame(&error), Blame::Refused, "cut at {end}");
        }
        assert_eq!(scene.twins.engine.snapshot().unwrap().commits().unwrap(), 3);
    }
    scene.twins.agree();
}

#[test]
fn geneses() {
    assert_eq!(Scene::edited_genesis(|g| g.level = 0), refused(Framing::GenesisLevel));
    for flag in 3..8 {
        assert_eq!(Scene::edited_genesis(|g| g.flags = 1 << flag), refused(Framing::GenesisFlag));
    }
    for label in ["", "a b", "\t", "\x7f", "é", &"a".repeat(56)] {
        assert_eq!(
            Scene::edited_genesis(|g| g.label = label.to_owned()),
            refused(Framing::GenesisLabel),
            "{label}"
        );
    }
    let long = |g: &mut Genesis| (g.label, g.flags) = ("a".repeat(65), Genesis::MANAGED);
    assert_eq!(Scene::edited_genesis(long), refused(Framing::GenesisLabel));
    let follows =
        |g: &mut Genesis| (g.predecessor, g.flags) = (Some(named(1, 0, 1)), Genesis::PREDECESSOR);
    assert_eq!(Scene::edited_genesis(follows), refused(Framing::GenesisPredecessor));
    let large = |g: &mut Genesis| (g.level, g.more) = (2, vec![0; 1024]);
    assert_eq!(Scene::edited_genesis(large), refused(Framing::GenesisSize));
    let elsewhere = |g: &mut Genesis| g.dataset = [9; 16];
    let (refusal, blamed) = Scene::edited_genesis(elsewhere);
    assert_eq!((refusal, blamed), (Refusal::Framing(Framing::GenesisDataset), Blame::WrongDataset));

    let mut scene = scene();
    let mut draft = scene.fresh.draft(&CommitSpec::at(9).version(create([7; 16])));
    draft.log = [1; 16];
    assert_eq!(scene.refuse(&forge::join(&forge::frame(&draft))), refused(Framing::GenesisLogId));
}

#[test]
fn headers() {
    use Framing::*;
    assert_eq!(Scene::edited(|c, _| c.header.level = 0), refused(HeaderLevel));
    for flag in 1..8 {
        assert_eq!(Scene::edited(|c, _| c.header.flags = 1 << flag), refused(HeaderFlag));
    }
    assert_eq!(Scene::edited(|c, _| c.header.first = 0), refused(HeaderFirst));
    for count in [0, 65_537, u64::MAX] {
        assert_eq!(Scene::edited(|c, _| c.header.count = count), refused(HeaderCount));
    }
    for first in [(1 << 63) - 1, 1 << 63, u64::MAX] {
        assert_eq!(Scene::edited(|c, _| c.header.first = first), refused(HeaderLast));
    }
    for refs in [
        vec![named(2, 1, 0), named(1, 1, 0)],
        vec![named(1, 2, 0), named(1, 1, 0)],
        vec![named(1, 1, 1), named(1, 1, 0)],
        vec![named(1, 1, 0); 2],
    ] {
        assert_eq!(Scene::edited(|c, _| c.header.refs = refs), refused(RefsOrder));
    }
    assert_eq!(Scene::edited(|c, _| c.header.refs = vec![named(1, 0, 0)]), refused(RefsSequence));
    let crowd = || (1..=65_537).map(|sequence| named(1, sequence, 0)).collect();
    assert_eq!(Scene::edited(|c, _| c.header.refs = crowd()), refused(RefsTooMany));
    let empty = Scene::edited_parts(|f| {
        // level, flags, first, count, wall, excess take a byte each; then come no refs
        assert_eq!(f.header[6], 0);
        f.header.splice(6..7, [&[1][..], &[1; 16], &[0]].concat());
    });
    assert_eq!(empty, refused(RefsEmptyGroup));
    let parents = |c: &mut Commit, _: &Scene| level1(c).versions[0].parents = vec![(1, 1); 4_097];
    assert_eq!(Scene::edited(parents), refused(ParentsTooMany));
    for length in [0, 256] {
        let of_length = |c: &mut Commit, _: &Scene| {
            level1(c).versions[0].entity_type = Some("t".repeat(length))
        };
        assert_eq!(Scene::edited(of_length), refused(TypeLength));
    }
    for bit in 4..7 {
        assert_eq!(Scene::edited(|c, _| level1(c).versions[0].kind |= 1 << bit), refused(KindBits));
    }
    for (actor, message, error) in
        [(256, 1, MetadataLength), (1, 4_097, MetadataLength), (0, 0, MetadataEmpty)]
    {
        let with = |c: &mut Commit, _: &Scene| {
            c.header.flags = 1;
            level1(c).metadata =
                Some(Metadata { actor: "a".repeat(actor), message: "m".repeat(message) });
        };
        assert_eq!(Scene::edited(with), refused(error));
    }
    assert_eq!(Scene::edited_parts(|f| f.header.resize((16 << 20) + 1, 0)), refused(HeaderSize));
}

#[test]
fn headers_of_a_newer_level_keep_their_layout() {
    let newer = |edit: fn(&mut Commit)| {
        Scene::edited(move |c, _| {
            (c.header.level, c.header.flags) = (2, 0xff);
            c.header.rest = Rest::Newer(vec![1, 2, 3]);
            c.bodies = heirloom_tests::decoder::Bodies::Newer(vec![0xff; 9]);
            edit(c);
        })
    };
    let unsorted = |c: &mut Commit| c.header.refs = vec![named(2, 1, 0), named(1, 1, 0)];
    assert_eq!(newer(unsorted), refused(Framing::RefsOrder));
    assert_eq!(newer(|c| c.header.count = 0), refused(Framing::HeaderCount));
    assert_eq!(newer(|c| c.header.first = 99), refused(Framing::PlaceFirst));
    let early = newer(|c| c.header.refs = vec![named(9, 1, 0)]);
    assert_eq!(early, (Refusal::Framing(Framing::PlaceRef), Blame::OutOfOrder));
}

#[test]
fn bodies_and_trailers() {
    use Framing::*;
    // an update and a deletion: two bodies
    let bodies = |bytes: &[u8]| {
        let mut scene = scene();
        let update = VersionSpec::update(LAMP, "lamp", Leaves::new()).after(&scene.held[1], 0);
        let delete = VersionSpec::delete(ROOM, "lamp").after(&scene.held[0], 1);
        let draft = scene.next.draft(&CommitSpec::at(9).version(update).version(delete));
        let mut frame = forge::frame(&draft);
        frame.bodies = bytes.to_vec();
        scene.refuse(&forge::join(&frame))
    };
    for count in [&[][..], &[1, 2, 0, 0], &[1, 2, 0, 0, 0, 0]] {
        assert_eq!(bodies(count), refused(BodyCount), "{count:?}");
    }
    assert_eq!(bodies(&[7, 0, 0]), refused(BodyTag));
    assert_eq!(bodies(&[0xff, 0, 0]), refused(BodyTag));
    assert_eq!(bodies(&[0, 0]), refused(BodyNone));
    for other in 1..7 {
        assert_eq!(bodies(&[1, 2, 0, 0, other, 0]), refused(BodyOfDeletion), "{other}");
    }
    for tag in [3, 4] {
        assert_eq!(bodies(&[&[tag, 15][..], &[1; 15], &[0]].concat()), refused(BodyChecksum));
        assert_eq!(bodies(&[&[tag, 17][..], &[1; 17], &[0]].concat()), refused(BodyChecksum));
    }
    assert_eq!(bodies(&[&[5, 15][..], &[1; 15], &[0]].concat()), refused(BodyEncrypted));
    assert!(is_primitive(bodies(&[1, 9, 0, 0])), "a length beyond what is there");
    assert_eq!(bodies(&vec![0; (72 << 20) + 1]), refused(BodiesSize));
    for flag in 2..8 {
        assert_eq!(Scene::edited_parts(|f| f.trailer = vec![1 << flag]), refused(TrailerFlag));
    }
    let both = |c: &mut Commit, _: &Scene| {
        c.trailer = Trailer { signature: Some([1; 64]), idempotency_key: Some([2; 16]) };
        *first_body(c) = Body::Missing;
        level1(c).versions[1].kind = kind::UPDATE;
    };
    assert_eq!(
        Scene::edited(both),
        refused(BodyNone),
        "what is reserved changes nothing about that"
    );
}

#[test]
fn places() {
    let order = |framing| (Refusal::Framing(framing), Blame::OutOfOrder);
    for first in [3, 5, 99] {
        assert_eq!(Scene::edited(|c, _| c.header.first = first), refused(Framing::PlaceFirst));
    }
    let far = |c: &mut Commit, _: &Scene| (c.before.sequence, c.header.first) = (99, 100);
    assert_eq!(Scene::edited(far), order(Framing::PlaceBefore));
    let unknown_log = |c: &mut Commit, _: &Scene| c.log = [9; 16];
    assert_eq!(Scene::edited(unknown_log), order(Framing::PlaceBefore));
    for reference in [named(9, 1, 9), named(0, 1, 0)] {
        assert_eq!(Scene::edited(|c, _| c.header.refs = vec![reference]), order(Framing::PlaceRef));
    }
    let no_such_prefix = |c: &mut Commit, scene: &Scene| {
        c.header.refs = vec![Ref { prefix: [9; 16], ..scene.held[1].commit }];
    };
    assert_eq!(Scene::edited(no_such_prefix), order(Framing::PlaceRef));
    let within_a_commit = |c: &mut Commit, scene: &Scene| {
        c.header.refs = vec![Ref { sequence: 1, ..scene.held[0].commit }];
    };
    assert_eq!(Scene::edited(within_a_commit), order(Framing::PlaceRef));
    let itself = |c: &mut Commit, _: &Scene| {
        c.header.refs = vec![Ref { log: c.log, sequence: 4, prefix: [1; 16] }]
    };
    assert_eq!(Scene::edited(itself), order(Framing::PlaceRef));

    // a genesis where none belongs, and none where one does
    let mut scene = scene();
    let spec = CommitSpec::at(9).version(create([7; 16]));
    let genesis = forge::genesis(&scene.fresh.draft(&spec).genesis.unwrap());
    let mut first = forge::frame(&scene.fresh.draft(&spec));
    first.genesis = Some(Vec::new());
    assert_eq!(scene.refuse(&forge::join(&first)), refused(Framing::PlaceNoGenesis));
    first.genesis = Some(genesis);
    first.before.prefix = [1; 16];
    assert_eq!(scene.refuse(&forge::join(&first)), refused(Framing::PlaceBefore));
    let own = Frame::split(&scene.held[0].bytes).unwrap();
    let mut later = forge::frame(&scene.next.draft(&spec));
    later.trailer = [&[own.header.len() as u8][..], &own.header, &later.trailer].concat();
    (later.bodies, later.header) = (later.header, own.genesis.unwrap());
    let (_, blamed) = scene.refuse(&forge::join(&later));
    assert_eq!(blamed, Blame::Refused);
}

#[test]
fn what_follows_no_commit_is_refused_and_forks_are_kept() {
    let spec = || CommitSpec::at(9).version(create([7; 16]));
    let mut scene = scene();
    // one that follows a commit that is not here, and one that follows the middle of one
    let mut a = twins::author(DATASET, "a");
    a.commit(&CommitSpec::at(1).version(create(LAMP)).version(create(ROOM)));
    let other_second = a.commit(&spec());
    let on_a_branch = a.commit(&CommitSpec::at(10).version(create([8; 16])));
    let unplaced = (Refusal::Framing(Framing::PlaceBefore), Blame::OutOfOrder);
    assert_eq!(scene.refuse(&on_a_branch.bytes), unplaced);
    let mut inside = scene.next.draft(&spec());
    (inside.before.sequence, inside.header.first) = (1, 2);
    assert_eq!(scene.refuse(&forge::join(&forge::frame(&inside))).1, Blame::OutOfOrder);
    // another second commit, what goes on with it, another first commit: branches
    let mut a = twins::author(DATASET, "a");
    let other_first = a.commit(&spec());
    for branch in [&other_second, &on_a_branch, &other_first] {
        let (_, report) = scene.twins.offer(&branch.bytes).unwrap();
        assert_eq!(
            (report.added, report.forks.len()),
            (1, usize::from(!std::ptr::eq(branch, &on_a_branch)))
        );
        assert_eq!(scene.twins.offer(&branch.bytes).unwrap().1.skipped, 1);
    }
    // and what is held is held
    for commit in &scene.held {
        let (_, report) = scene.twins.offer(&commit.bytes).unwrap();
        assert_eq!((report.added, report.skipped), (0, 1));
    }
    scene.twins.agree();
}

#[test]
fn a_store_without_a_dataset_takes_nothing() {
    let engine = heirloom::Engine::in_memory().unwrap();
    let error = twins::ingest(&engine, &scene().held[0].bytes).unwrap_err();
    assert!(matches!(error, Error::NoDataset), "{error:?}");
    assert_eq!(engine.snapshot().unwrap().commits().unwrap(), 0);
}
