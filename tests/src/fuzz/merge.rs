//! A tape as histories that forgers write: any parents, patches and refs, branches of one log, and
//! what frames and chains but breaks a rule. Both implementations must agree on what is void, what
//! verifies, on heads, contents and conflicts; and so must an engine to which the commits come in
//! another order.

use heirloom::Error;

use crate::decoder::{self, Id, Leaves, Ref, Rest, hashes, kind};
use crate::forge::{self, Author, CommitSpec, Forged, VersionSpec};
use crate::random::Random;
use crate::twins::{self, Twins};

const DATASET: &str = "merge";
/// Each is compared with all others: many cost much and show little more.
const COMMITS_MAX: usize = 24;
const AUTHORS_MAX: usize = 5;

/// See the module.
pub fn run(tape: &[u8]) {
    let mut random = Random::tape(tape);
    let mut twins = Twins::new(hashes::dataset_id(DATASET));
    let mut authors = ["a", "b", "c"].map(|label| twins::author(DATASET, label)).to_vec();
    let mut made: Vec<Forged> = Vec::new();
    while !random.is_spent() && made.len() < COMMITS_MAX {
        let author = random.below(authors.len());
        if authors.len() < AUTHORS_MAX && random.percent(10) {
            // who goes on with a copy of the log writes a branch
            authors.push(authors[author].clone());
        }
        let draft = draft(&twins, &authors[author], &made, &mut random);
        let forged = authors[author].seal(&draft);
        let (reference, _) = twins.offer(&forged.bytes).expect("it frames and chains");
        assert_eq!(reference, forged.commit);
        made.push(forged);
    }
    twins.agree();
    in_any_order(&twins, made, &mut random);
}

/// Whatever comes first that can, the same is there in the end.
fn in_any_order(twins: &Twins, mut left: Vec<Forged>, random: &mut Random) {
    let other = twins::reader(hashes::dataset_id(DATASET));
    while !left.is_empty() {
        let next = random.below(left.len());
        let mut came = false;
        // from there on the first that has all that it refers to
        for at in (next..left.len()).chain(0..next) {
            match twins::ingest(&other, &left[at].bytes) {
                Ok(_) => {
                    left.remove(at);
                    came = true;
                    break;
                }
                Err(Error::OutOfOrder { .. }) => {}
                Err(error) => panic!("the other took it: {error:?}"),
            }
        }
        assert!(came, "none of {} can come first", left.len());
    }
    assert_eq!(other.log_root().unwrap(), twins.engine.log_root().unwrap(), "log roots");
    assert_eq!(
        other.state_digest().unwrap(),
        twins.engine.state_digest().unwrap(),
        "state digests"
    );
    let (ours, theirs) = (twins.engine.snapshot().unwrap(), other.snapshot().unwrap());
    assert_eq!(ours.clock().unwrap(), theirs.clock().unwrap());
    for id in ours.entity_ids().unwrap().map(Result::unwrap) {
        let read =
            |snapshot: &heirloom::Snapshot| Ok((snapshot.get_any(id)?, snapshot.conflict(id)?));
        let shown = |snapshot: &heirloom::Snapshot| match read(snapshot) {
            Ok((entity, conflict)) => {
                let entity = entity.expect("its id is listed");
                Some((entity.content(), entity.heads().to_vec(), conflict))
            }
            Err(Error::Absent(_)) => None,
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(shown(&ours), shown(&theirs), "{id}");
    }
    let found = other.verify().unwrap();
    assert!(found.is_clean(), "{:?}", found.problems);
}

/// The versions that exist of an entity, with the commit that brought each.
fn versions_of(twins: &Twins, made: &[Forged], entity: &Id) -> Vec<(usize, u64)> {
    let of_commit = |(at, forged): (usize, &Forged)| {
        let held = twins.replay.commit(&forged.commit)?;
        let own = held.commit.header.versions().iter().enumerate();
        Some(
            own.filter(|(_, v)| v.entity == *entity)
                .map(|(i, _)| (at, i as u64))
                .collect::<Vec<_>>(),
        )
    };
    made.iter().enumerate().filter_map(of_commit).flatten().collect()
}

fn draft(twins: &Twins, author: &Author, made: &[Forged], random: &mut Random) -> decoder::Commit {
    let wall = random.below(40) as u64;
    let mut spec = CommitSpec::at(1_000 + wall);
    if !made.is_empty() && random.percent(40) {
        spec = spec.after(&made[random.below(made.len())]);
    }
    for _ in 0..1 + random.below(2) {
        spec = spec.version(version(twins, made, wall, random));
    }
    let mut draft = author.draft(&spec);
    for _ in 0..random.pick(&[0, 0, 0, 1, 2]) {
        bend(&mut draft, author.log(), made, random);
    }
    if random.percent(70)
        && let (Ok(root), Rest::Level1(level1)) =
            (twins.replay.root_of(&draft), &mut draft.header.rest)
    {
        level1.states_root = root;
    }
    draft
}

fn version(twins: &Twins, made: &[Forged], wall: u64, random: &mut Random) -> VersionSpec {
    let id = [random.below(3) as u8; 16];
    let known = versions_of(twins, made, &id);
    let kind =
        match random.pick(&[kind::UPDATE, kind::UPDATE, kind::UPDATE, kind::DELETE, kind::RESTORE])
        {
            _ if known.is_empty() || random.percent(5) => kind::CREATE,
            kind => kind,
        };
    let field = random.pick(&["a", "b", "m", "m.x", "m.y"]);
    let leaves = forge::own([(field, value(wall, random))]);
    let mut version = match kind {
        kind::DELETE => VersionSpec::delete(id, "thing"),
        _ => VersionSpec::new(kind, id, "thing", decoder::State::Live(leaves)),
    };
    let mut named = Vec::new();
    if kind != kind::CREATE && !known.is_empty() {
        named.extend((0..random.below(4)).map(|_| known[random.below(known.len())]));
        if named.is_empty() {
            named.extend(known.last());
        }
    }
    named.sort_unstable();
    named.dedup();
    for (at, index) in named {
        version = version.after(&made[at], index);
    }
    // over one parent whose state is here a patch says the same as some full body
    if let ([parent], true) = (&version.parents[..], kind == kind::UPDATE && random.percent(60))
        && let Some(decoder::State::Live(leaves)) =
            twins.replay.version(&parent.version.version).and_then(|v| v.state.clone())
    {
        let unset = random.pick(&["a", "b", "m"]);
        let changes = forge::changes([(field, value(wall, random))], [unset]);
        let parents = std::mem::take(&mut version.parents);
        version = if random.percent(50) {
            VersionSpec::spliced(id, "thing", leaves, &changes)
        } else {
            VersionSpec::patch(id, "thing", leaves, &changes)
        };
        version.parents = parents;
    }
    version
}

/// Few different ones, so that writers sometimes agree.
fn value(wall: u64, random: &mut Random) -> decoder::Value {
    match random.below(8) {
        6 | 7 => decoder::Value::text(&random.note()),
        0 => decoder::Value::null(),
        1 => decoder::Value::map(&[]),
        2 => decoder::Value::bool(true),
        3 => decoder::Value::float(1.0),
        4 => decoder::Value::variant("V", &decoder::Value::int(wall as i64 % 2)),
        _ => decoder::Value::int(wall as i64 % 3),
    }
}

/// Breaks a rule, or nearly.
fn bend(draft: &mut decoder::Commit, log: Id, made: &[Forged], random: &mut Random) {
    let header = &mut draft.header;
    let first = header.first;
    let own: Option<Ref> = made.iter().map(|f| f.commit).filter(|c| c.log == log).max();
    let (Rest::Level1(level1), decoder::Bodies::Level1(bodies)) =
        (&mut header.rest, &mut draft.bodies)
    else {
        return; // made opaque by an earlier one
    };
    match random.below(11) {
        0 => header.excess += random.below(3) as u64,
        1 => header.wall = header.wall.saturating_sub(30),
        2 => header.excess = decoder::MAX_TIME,
        3 => level1.states_root = [7; 32],
        4 => {
            let entity = level1.versions[0].entity;
            level1.versions.iter_mut().for_each(|version| version.entity = entity);
        }
        5 => {
            let bits = random.below(16) as u8;
            if (level1.versions[0].kind == kind::DELETE) == (bits == kind::DELETE) {
                level1.versions[0].kind = bits;
            }
        }
        6 => level1.versions[0].entity_type = Some("other".into()),
        7 => {
            let parent = (random.below(4) as u64, random.below(6) as u64);
            level1.versions[0].parents.push(parent);
        }
        8 => {
            let Some(own) = own.filter(|own| own.sequence < first) else { return };
            through_a_ref(header, own);
        }
        9 => {
            header.level = 2;
            header.rest = Rest::Newer(vec![1, 2, 3]);
            draft.bodies = decoder::Bodies::Newer(vec![0xff; 5]);
        }
        _ => {
            if level1.versions[0].kind == kind::DELETE {
                return;
            }
            bodies[0] = match random.below(6) {
                0 => decoder::Body::Full(decoder::full_body(&Leaves::new())),
                1 => decoder::Body::Patch(vec![0, 0]),
                2 => decoder::Body::Pruned([3; 16]),
                3 => decoder::Body::Withheld([4; 16]),
                4 => decoder::Body::Encrypted([5; 16], vec![1, 2, 3]),
                _ => decoder::Body::Missing,
            };
        }
    }
}

/// The own log among the refs: a parent on it may be named through that.
fn through_a_ref(header: &mut decoder::Header, own: Ref) {
    header.refs.push(own);
    header.refs.sort_unstable();
    header.refs.dedup();
    let at = 1 + header.refs.partition_point(|r| *r < own) as u64;
    let Rest::Level1(level1) = &mut header.rest else { return };
    for version in &mut level1.versions {
        for (path, _) in &mut version.parents {
            match *path {
                0 => *path = at,
                p if p >= at => *path += 1,
                _ => {}
            }
        }
        version.parents.sort_unstable();
    }
    // the stamp as it is without that, or as one named through a ref asks for
    if header.first.is_multiple_of(2) {
        header.excess += 1;
    }
}
