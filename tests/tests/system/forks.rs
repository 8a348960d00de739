//! Copies of a store's file that write on under one name (R34): whoever learns of them in whatever
//! order ends with the same, byte for byte, and an independent replay of the same commits says so
//! too.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use heirloom::{Content, Engine, EntityId, Error, Lsn, Patch, Point, Timestamp};
use heirloom_sync::sync_in_process;
use heirloom_tests::decoder::{Id, hashes};
use heirloom_tests::twins::Twins;
use proptest::prelude::*;
use redb::StorageBackend;

const DATASET: &str = "forks";
const ENTITIES: u8 = 3;

/// A file in memory that can be copied while it is open.
#[derive(Clone, Debug, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl File {
    fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock().unwrap();
        out.copy_from_slice(&bytes[offset as usize..][..out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap()[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }
}

struct Node {
    file: File,
    engine: Engine,
}

impl Node {
    fn open(file: File, name: usize, clock: i64) -> Self {
        Self::open_as(&format!("node{name}"), file, clock)
    }

    fn open_as(label: &str, file: File, clock: i64) -> Self {
        let engine = Engine::builder()
            .label(label)
            .dataset_name(DATASET)
            .wall_clock(move || Timestamp::from_millis(1_700_000_000_000 + clock))
            .open_backend(file.clone())
            .unwrap();
        Self { file, engine }
    }

    fn copy(&self, name: usize, clock: i64) -> Self {
        Self::open(self.file.copy(), name, clock)
    }

    fn write(&self, entity: u8, value: u8) {
        let id = EntityId::from_bytes([entity; 16]);
        let field = ["a", "b", "c"][usize::from(value % 3)];
        let written = self.engine.write(|tx| match tx.get(id)? {
            None if !value.is_multiple_of(4) => {
                tx.create_with_id(id, "thing", &Content::new().with(field, value))
            }
            None => Ok(()),
            Some(_) if value.is_multiple_of(11) => tx.delete(id),
            Some(_) if value.is_multiple_of(7) => tx.patch(id, Patch::new().unset(field)),
            Some(_) => tx.patch(id, Patch::new().set(field, value)),
        });
        assert!(
            matches!(written, Ok(()) | Err(Error::Deleted(_) | Error::Exists { .. })),
            "{written:?}"
        );
    }

    fn commits(&self) -> Vec<Vec<u8>> {
        let batch = self
            .engine
            .replication()
            .commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)
            .unwrap();
        batch.commits.into_iter().map(|c| c.bytes).collect()
    }

    /// All that two replicas of equal logs must agree on, with the present and a point in the past.
    fn shown(&self) -> Vec<String> {
        let snapshot = self.engine.snapshot().unwrap();
        let mut out = vec![
            snapshot.log_root().unwrap().to_string(),
            format!("{:?}", snapshot.state_digest().unwrap()),
            format!("{:?}", snapshot.clock().unwrap()),
            format!("{:?}", snapshot.forks().unwrap()),
        ];
        for entity in 0..ENTITIES {
            let id = EntityId::from_bytes([entity; 16]);
            let heads = snapshot.heads(id).unwrap();
            let names: Vec<_> =
                heads.iter().map(|h| (h.reference(), h.id().unwrap().to_string())).collect();
            out.push(format!("{names:?} {:?}", snapshot.get_any(id).unwrap().map(|e| e.content())));
            let clock = snapshot.clock().unwrap();
            let now =
                snapshot.as_of(Point::from(clock)).unwrap().get(id).unwrap().map(|e| e.content());
            assert_eq!(
                now,
                snapshot.get(id).unwrap().map(|e| e.content()),
                "as of all that is here is now"
            );
            for head in heads {
                let seen = snapshot.clock_at(&head.commit()).unwrap();
                let then = snapshot.as_of(Point::from(seen.clone())).unwrap();
                out.push(format!("{seen:?} {:?}", then.get(id).unwrap().map(|e| e.content())));
            }
        }
        out
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write { node: usize, entity: u8, value: u8 },
    Copy { node: usize },
    Sync { a: usize, b: usize },
    Reopen { node: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<usize>(), 0..ENTITIES, any::<u8>())
            .prop_map(|(node, entity, value)| Step::Write { node, entity, value }),
        2 => any::<usize>().prop_map(|node| Step::Copy { node }),
        3 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Step::Sync { a, b }),
        1 => any::<usize>().prop_map(|node| Step::Reopen { node }),
    ]
}

fn play(steps: Vec<Step>) -> Vec<Node> {
    let mut nodes: Vec<Node> =
        (0..2).map(|n| Node::open(File::default(), n, n as i64 * 90_000)).collect();
    for step in steps {
        let count = nodes.len();
        match step {
            Step::Write { node, entity, value } => nodes[node % count].write(entity, value),
            Step::Copy { node } if count < 6 => {
                let copy = nodes[node % count].copy(count, count as i64 * 50_000);
                nodes.push(copy);
            }
            Step::Copy { .. } => {}
            Step::Sync { a, b } if a % count != b % count => {
                sync_in_process(&nodes[a % count].engine, &nodes[b % count].engine).unwrap();
            }
            Step::Sync { .. } => {}
            Step::Reopen { node } => {
                let at = node % count;
                nodes[at] = nodes[at].copy(at, at as i64 * 50_000);
            }
        }
    }
    nodes
}

/// Everybody with everybody until nothing moves.
fn heal(nodes: &[Node]) {
    for _ in 0..2 {
        for a in 0..nodes.len() {
            for b in 0..a {
                sync_in_process(&nodes[a].engine, &nodes[b].engine).unwrap();
            }
        }
    }
}

fn agree(nodes: &[Node]) {
    let dataset: Id = hashes::dataset_id(DATASET);
    let expected = nodes[0].shown();
    let same = |node: &Node| {
        for (found, expected) in node.shown().iter().zip(&expected) {
            assert_eq!(found, expected);
        }
    };
    for node in nodes {
        same(node);
        let found = node.engine.verify().unwrap();
        assert!(found.is_clean(), "{:?}", found.problems);
        // what a file gives back is the same
        same(&node.copy(0, 0));
        // and an independent replay of the commits in the order in which they came here finds the
        // same
        let mut twins = Twins::new(dataset);
        for commit in node.commits() {
            twins.offer(&commit).unwrap();
        }
        twins.agree();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn replicas_that_learn_of_forks_in_any_order_agree(
        steps in proptest::collection::vec(step(), 5..60),
    ) {
        let nodes = play(steps);
        let written: std::collections::BTreeSet<Vec<u8>> =
            nodes.iter().flat_map(Node::commits).collect();
        heal(&nodes);
        for node in &nodes {
            // bodies may be kept in another encoding; how many there are says that none is lost
            assert!(node.commits().len() >= written.len().div_ceil(2));
        }
        agree(&nodes);
    }
}

/// Two branches that never meet but through others, one of which forked again.
#[test]
fn branches_meet_through_third_and_fourth_nodes() {
    let phone = Node::open(File::default(), 0, 0);
    for value in 1..20 {
        phone.write(value % ENTITIES, value);
    }
    let laptop = phone.copy(1, 1_000);
    let (third, fourth) =
        (Node::open(File::default(), 2, 2_000), Node::open(File::default(), 3, 3_000));
    for value in 20..40 {
        phone.write(value % ENTITIES, value);
        laptop.write(value % ENTITIES, value + 100);
    }
    let again = laptop.copy(4, 4_000);
    again.write(20, 1);
    laptop.write(21, 1);
    let log = phone.engine.log_id().unwrap();
    // on proof: the laptop is the first to receive commits that go on with its own log
    for (a, b, left) in
        [(&phone, &third, None), (&again, &fourth, None), (&laptop, &fourth, Some(log))]
    {
        let (report, _) = sync_in_process(&a.engine, &b.engine).unwrap();
        assert_eq!(report.left_log, left);
    }
    third.write(22, 1);
    let (report, _) = sync_in_process(&third.engine, &fourth.engine).unwrap();
    assert_eq!(report.forks.len(), 2);
    assert!(report.forks.iter().all(|fork| fork.log == log && fork.after.get() > 0));
    // each learns from the fourth that its log goes on elsewhere
    for (entity, node) in (10..).zip([&phone, &again]) {
        let (report, _) = sync_in_process(&node.engine, &fourth.engine).unwrap();
        assert_eq!(report.left_log, Some(log));
        let written = node.engine.snapshot().unwrap().commits().unwrap();
        node.write(entity, 1);
        assert_eq!(node.engine.snapshot().unwrap().commits().unwrap(), written + 1);
        assert!(node.engine.log_id().is_some_and(|own| own != log));
    }
    let nodes = [phone, laptop, third, fourth, again];
    heal(&nodes);
    assert_eq!(nodes[0].engine.snapshot().unwrap().forks().unwrap().len(), 2);
    agree(&nodes);
}

#[test]
fn a_clock_from_before_the_fork_that_now_fits_twice_is_a_typed_error() {
    let phone = Node::open(File::default(), 0, 0);
    (1..4).for_each(|value| phone.write(1, value));
    let early = phone.engine.clock().unwrap();
    let laptop = phone.copy(1, 1_000);
    phone.write(1, 16);
    laptop.write(1, 17);
    let late = phone.engine.clock().unwrap();
    sync_in_process(&phone.engine, &laptop.engine).unwrap();
    let snapshot = phone.engine.snapshot().unwrap();
    assert!(snapshot.as_of(early).is_ok());
    let error = snapshot.as_of(late).err().unwrap();
    assert!(
        matches!(error, Error::Clock(_)) && error.to_string().contains("two branches"),
        "{error}"
    );
}

/// What a session tells: in plain words, and as an event.
#[test]
fn the_report_says_what_happened_in_plain_words() {
    let phone = Node::open(File::default(), 0, 0);
    phone.write(1, 1);
    let laptop = phone.copy(1, 1_000);
    phone.write(1, 2);
    laptop.write(1, 3);
    let (report, _) = sync_in_process(&phone.engine, &laptop.engine).unwrap();
    let said = report.forks[0].to_string();
    assert!(said.starts_with("2 copies of node0-") && said.contains("all is kept"), "{said}");
}

#[test]
fn each_version_has_an_id_also_on_the_branch_of_a_node_with_the_longest_label() {
    let label = "n".repeat(55);
    let first = Node::open_as(&label, File::default(), 0);
    first.write(1, 1);
    let copy = Node::open_as(&label, first.file.copy(), 1);
    first.write(1, 2);
    copy.write(1, 3);
    let report = sync_in_process(&first.engine, &copy.engine).unwrap();
    assert_eq!(report.0.forks.len() + report.1.forks.len(), 2);
    let heads = first.engine.snapshot().unwrap().heads(EntityId::from_bytes([1; 16])).unwrap();
    let ids: BTreeSet<String> = heads.iter().map(|h| h.id().unwrap().to_string()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(ids.iter().all(|id| id.contains(&label)), "{ids:?}");
    agree(&[first, copy]);
}
