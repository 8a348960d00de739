//! Commits that no engine of level 1 writes: with what is reserved, of a newer level, void, or with
//! bodies that are not there or wrong.

use heirloom_tests::decoder::{
    Bodies, Body, Commit, Genesis, Id, Leaves, Level1, MAX_TIME, Ref, Rest, Trailer, Value,
    VersionHeader, kind, path,
};
use heirloom_tests::forge::{self, Author, CommitSpec, Forged, Piece, VersionSpec};

use super::{Record, dataset};

const LAMP: [u8; 16] = [0x1a; 16];
const ROOM: [u8; 16] = [0x20; 16];
const VASE: [u8; 16] = [0x7a; 16];

/// Forged commits with their names.
#[derive(Default)]
struct Story(Vec<Record>);

impl Story {
    fn add(&mut self, name: &str, forged: Forged) -> Forged {
        self.0.push((name.to_owned(), forged.bytes.clone()));
        forged
    }

    /// An honest commit.
    fn commit(&mut self, name: &str, author: &mut Author, spec: &CommitSpec) -> Forged {
        self.bent(name, author, spec, |_| {})
    }

    /// A commit that is honest but for one thing.
    fn bent(
        &mut self,
        name: &str,
        author: &mut Author,
        spec: &CommitSpec,
        bend: impl FnOnce(&mut Commit),
    ) -> Forged {
        let mut draft = author.draft(spec);
        bend(&mut draft);
        let forged = author.seal(&draft);
        self.add(name, forged)
    }
}

fn author(label: &str) -> Author {
    Author::new(dataset(), label, [label.as_bytes()[0]; 16])
}

fn level1(commit: &mut Commit) -> &mut Level1 {
    match &mut commit.header.rest {
        Rest::Level1(level1) => level1,
        Rest::Newer(_) => unreachable!("drafts are of level 1"),
    }
}

fn first_version(commit: &mut Commit) -> &mut VersionHeader {
    &mut level1(commit).versions[0]
}

fn on(value: bool) -> Leaves {
    forge::own([("on", Value::bool(value))])
}

fn change(to: i64) -> VersionSpec {
    VersionSpec::update(LAMP, "lamp", forge::own([("on", Value::int(to))]))
}

pub(crate) fn records() -> Vec<Record> {
    let mut story = Story::default();
    let first = reserved(&mut story);
    bodies(&mut story, &first);
    splices(&mut story);
    newer(&mut story, &first);
    void(&mut story, &first);
    wrong(&mut story, &first);
    story.0
}

/// What is reserved, and several refs.
fn reserved(story: &mut Story) -> Forged {
    let predecessor = Some(Ref { log: [6; 16], sequence: 900, prefix: [7; 16] });
    let mut a = Author::open(Genesis {
        level: 1,
        flags: Genesis::MANAGED | Genesis::PUBLIC_KEY | Genesis::PREDECESSOR,
        dataset: dataset(),
        nonce: [b'a'; 16],
        label: "a-successor-with-a-key".into(),
        public_key: Some([5; 32]),
        predecessor,
        more: Vec::new(),
    });
    let create = CommitSpec::at(1_000)
        .version(VersionSpec::create(LAMP, "lamp", on(true)))
        .version(VersionSpec::create(ROOM, "room", forge::own([("name", Value::text("den"))])))
        .version(VersionSpec::create(VASE, "vase", Leaves::new()));
    let a1 = story.bent(
        "a 1-3: a genesis with key and predecessor, a trailer with signature and key",
        &mut a,
        &create,
        |commit| {
            commit.trailer = Trailer { signature: Some([8; 64]), idempotency_key: Some([9; 16]) };
        },
    );
    let a2 = story.commit(
        "a 4: a deletion",
        &mut a,
        &CommitSpec::at(1_100).version(VersionSpec::delete(ROOM, "room").after(&a1, 1)),
    );
    let (mut b, mut c) = (author("b"), author("c"));
    let b1 = story.commit(
        "b 1: an update",
        &mut b,
        &CommitSpec::at(2_000).version(change(1).after(&a1, 0)),
    );
    let c1 = story.commit(
        "c 1: an update beside it",
        &mut c,
        &CommitSpec::at(2_000).version(change(2).after(&a1, 0)),
    );
    let undecided: Leaves = [(
        path(["on"]),
        [(Some(b1.version(0)), Value::int(1)), (Some(c1.version(0)), Value::int(2))].into(),
    )]
    .into();
    let merge = VersionSpec::update(LAMP, "lamp", undecided).after(&b1, 0).after(&c1, 0);
    let spec = CommitSpec::at(3_000).after(&a1).after(&a2).version(merge);
    story.commit(
        "b 2: a merge that leaves a leaf with two writers, two refs into one log",
        &mut b,
        &spec,
    );
    a1
}

/// Bodies that are not there.
fn bodies(story: &mut Story, first: &Forged) {
    let mut d = author("d");
    let create = |id: u8| VersionSpec::create([id; 16], "thing", on(true));
    let sum = |version: u64| {
        let of = heirloom_tests::decoder::hashes::Identity {
            log: author("d").log(),
            sequence: version,
            entity: [0xd0 + version as u8; 16],
            entity_type: "thing",
        };
        heirloom_tests::decoder::hashes::state_checksum(
            of,
            &heirloom_tests::decoder::State::Live(on(true)),
        )
    };
    let spec = CommitSpec::at(1)
        .version(create(0xd1).body(Body::Pruned(sum(1))))
        .version(create(0xd2).body(Body::Withheld(sum(2))))
        .version(create(0xd3).body(Body::Encrypted(sum(3), vec![1, 2, 3])))
        .version(create(0xd4));
    let d1 = story.commit("d 1-4: pruned, withheld, encrypted, full", &mut d, &spec);
    let missing = create(0xd5).body(Body::Missing);
    story.commit(
        "d 5-6: missing, full",
        &mut d,
        &CommitSpec::at(2).version(missing).version(create(0xd6)),
    );
    let patch = forge::changes([("level", Value::int(1))], []);
    let on_nothing = VersionSpec::patch([0xd1; 16], "thing", Leaves::new(), &patch).after(&d1, 0);
    story.commit("d 7: a patch without its base", &mut d, &CommitSpec::at(3).version(on_nothing));
    let gone = VersionSpec::delete([0xd2; 16], "thing").after(&d1, 1);
    story.commit(
        "d 8: a deletion of what is withheld",
        &mut d,
        &CommitSpec::at(4).after(first).version(gone),
    );
}

/// Values said by what they take from others.
fn splices(story: &mut Story) {
    const DESK: Id = [0xde; 16];
    let note = |text: &str| forge::own([("note", Value::text(text))]);
    let say = |after: &str, splice: Value| {
        let said = forge::patch(&forge::changes([("note", splice)], []));
        VersionSpec::update(DESK, "desk", note(after)).body(Body::Patch(said))
    };
    let (mut k, mut l) = (author("k"), author("l"));
    let spec = |version| CommitSpec::at(8_000).version(version);
    let k1 = story.commit(
        "k 1: a text",
        &mut k,
        &spec(VersionSpec::create(DESK, "desk", note("lamp, chair"))),
    );
    let turned = forge::pieced(12, &[Piece::Old(6, 5), Piece::New(b" & "), Piece::Old(-11, 4)]);
    let k2 = story.commit(
        "k 2: a splice of which a piece takes from further in front",
        &mut k,
        &spec(say("chair & lamp", turned).after(&k1, 0)),
    );
    let l1 = story.commit(
        "l 1: an update beside it",
        &mut l,
        &CommitSpec::at(9_000)
            .version(VersionSpec::update(DESK, "desk", note("no lamp")).after(&k1, 0)),
    );
    let newest = forge::pieced(4, &[Piece::Old(3, 4)]);
    let both = say("lamp", newest).after(&k2, 0).after(&l1, 0);
    let k3 = story.commit(
        "k 3: a splice of the newer of two values",
        &mut k,
        &CommitSpec::at(9_500).version(both),
    );
    let wrong = [
        ("wrong, a splice of what is not there", 5, vec![Piece::Old(0, 5)]),
        ("wrong, a splice that makes less", 9, vec![Piece::Old(0, 4)]),
        ("wrong, a splice that makes more", 3, vec![Piece::Old(0, 4)]),
    ];
    for (name, result, pieces) in wrong {
        let version = say("lamp", forge::pieced(result, &pieces)).after(&k3, 0);
        story.commit(name, &mut l, &CommitSpec::at(9_600).version(version));
    }
}

/// A newer level: only its place is understood.
fn newer(story: &mut Story, first: &Forged) {
    let genesis = Genesis {
        level: 2,
        flags: 0x80,
        dataset: dataset(),
        nonce: [b'e'; 16],
        label: "e".into(),
        public_key: None,
        predecessor: None,
        more: vec![1, 2, 3],
    };
    let mut e = Author::open(genesis);
    let opaque = |commit: &mut Commit| {
        (commit.header.level, commit.header.flags, commit.header.count) = (2, 0xff, 3);
        commit.header.rest = Rest::Newer(vec![0xaa; 20]);
        commit.bodies = Bodies::Newer(vec![0xff; 9]);
    };
    let e1 = story.bent(
        "e 1-3: genesis and commit of a newer level",
        &mut e,
        &CommitSpec::at(5_000).after(first),
        opaque,
    );
    let spec = CommitSpec::at(5_000).version(change(3).after(first, 0));
    story.commit("e 4: level 1 again", &mut e, &spec);
    let mut f = author("f");
    story.commit(
        "f 1: refers to the newer commit",
        &mut f,
        &CommitSpec::at(1).after(&e1).version(change(4).after(first, 0)),
    );
}

/// Each reason for which a commit or a version is void.
fn void(story: &mut Story, first: &Forged) {
    let spec = || CommitSpec::at(6_000).version(change(9).after(first, 0));
    let mut g = author("g");
    let twice =
        CommitSpec::at(6_000).version(change(8).after(first, 0)).version(change(9).after(first, 0));
    story.commit("void, entity twice", &mut g, &twice);
    story.bent("void, time", &mut g, &spec(), |commit| commit.header.excess = MAX_TIME);
    story.bent("void, wall", &mut g, &spec(), |commit| {
        (commit.header.wall, commit.header.excess) =
            (commit.header.wall - 1, commit.header.excess + 1);
    });
    let stamp = story.bent("void, stamp", &mut g, &spec(), |commit| commit.header.excess += 1);
    story.bent(
        "void, stamp: the own log named through a ref",
        &mut g,
        &CommitSpec::at(6_000).version(change(9)),
        |commit| {
            commit.header.refs = vec![stamp.commit];
            first_version(commit).parents = vec![(1, stamp.commit.sequence)];
        },
    );
    let mut h = author("h");
    story.bent("void, parent: does not exist", &mut h, &spec(), |commit| {
        first_version(commit).parents.push((1, 77))
    });
    story.bent("void, parent: through no ref", &mut h, &spec(), |commit| {
        first_version(commit).parents.push((9, 1))
    });
    story.bent("void, parent: out of order", &mut h, &spec(), |commit| {
        first_version(commit).parents = vec![(1, 1), (1, 1)];
    });
    let other = CommitSpec::at(6_000)
        .version(VersionSpec::update([0x77; 16], "lamp", on(true)).after(first, 0));
    story.commit("void, parent: of another entity", &mut h, &other);
    story.commit(
        "void, parent: void itself",
        &mut h,
        &CommitSpec::at(6_000).version(change(9).after(&stamp, 0)),
    );
    let mut i = author("i");
    story.bent("void, kind: none", &mut i, &spec(), |commit| first_version(commit).kind = 9);
    story.bent("void, kind: a creation with parents", &mut i, &spec(), |commit| {
        (first_version(commit).kind, first_version(commit).entity_type) =
            (kind::CREATE, Some("lamp".into()));
    });
    story.bent(
        "void, kind: an update without parents",
        &mut i,
        &CommitSpec::at(6_000).version(change(9)),
        |_| {},
    );
    story.bent("void, kind: an update with a type", &mut i, &spec(), |commit| {
        first_version(commit).entity_type = Some("lamp".into());
    });
    let create = CommitSpec::at(6_000).version(VersionSpec::create([0x78; 16], "thing", on(true)));
    story.bent("void, kind: a creation without a type", &mut i, &create, |commit| {
        first_version(commit).entity_type = None
    });
    let beside = CommitSpec::at(6_000)
        .version(VersionSpec::create([0x79; 16], "thing", on(true)))
        .version(change(9).after(first, 0))
        .version(VersionSpec::delete(ROOM, "room").after(first, 1));
    story.bent("void, parent: one version; those beside it count", &mut i, &beside, |commit| {
        level1(commit).versions[1].parents = vec![(0, 77)];
    });
}

/// Bodies that frame, but do not give the root or are not canonical: kept without contents.
fn wrong(story: &mut Story, first: &Forged) {
    let mut j = author("j");
    let spec = || CommitSpec::at(7_000).version(vase(on(false)).after(first, 2));
    story.bent("wrong root", &mut j, &spec(), |commit| level1(commit).states_root = [b'?'; 32]);
    let elsewhere =
        author("z").commit(&CommitSpec::at(1).version(VersionSpec::create(VASE, "vase", on(true))));
    let unseen =
        vase([(path(["on"]), [(Some(elsewhere.version(0)), Value::null())].into())].into());
    story.commit("wrong writer", &mut j, &CommitSpec::at(7_000).version(unseen.after(first, 2)));
    let mut clash = forge::own([("a.b", Value::null())]);
    clash.insert(path(["a"]), [(None, Value::null())].into());
    story.commit(
        "wrong, own paths clash",
        &mut j,
        &CommitSpec::at(7_000).version(vase(clash).after(first, 2)),
    );
    let reserved = forge::own([("a", Value::raw(vec![0x10, 1, 7]))]);
    story.commit(
        "wrong, a reserved tag",
        &mut j,
        &CommitSpec::at(7_000).version(vase(reserved).after(first, 2)),
    );
    let full = vase(on(true)).body(Body::Full(vec![0, 1, 1]));
    story.commit("wrong, cut short", &mut j, &CommitSpec::at(7_000).version(full.after(first, 2)));
}

fn vase(leaves: Leaves) -> VersionSpec {
    VersionSpec::update(VASE, "vase", leaves)
}
