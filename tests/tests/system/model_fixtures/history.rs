//! A fixture's commits as bytes, and its places as refs.

use std::collections::BTreeMap;

use heirloom_tests::decoder::{
    Bodies, Body, Commit, Header, Id, Leaves, Level1, Patch, Path, Ref, Rest, State, VersionHeader,
    Writer, full_body, hashes, kind,
};
use heirloom_tests::forge::{self, Author, CommitSpec, Forged};

use super::chance::Chance;
use super::fixture::{self, Fixture, Json, Order, Parent, Place, hex};
use super::observer::{by_version, content, value};

/// The name of the dataset that all histories belong to.
pub(crate) const DATASET: &str = "histories of the model";

const NO_KIND: u8 = 9;
const NO_ROOT: [u8; 32] = [b'?'; 32];

/// A fixture with its commits authored.
pub(crate) struct History {
    pub(crate) fixture: Fixture,
    /// In the order of the fixture.
    pub(crate) commits: Vec<Forged>,
    /// Log ids in the order of the fixture.
    pub(crate) logs: Vec<Id>,
    /// Entity ids in the order of the fixture.
    pub(crate) entities: Vec<Id>,
}

impl History {
    /// Authors the commits of a fixture from the facts that it states: only hashes and the order of
    /// refs are added.
    pub(crate) fn author(fixture: Fixture) -> Self {
        let dataset = hashes::dataset_id(DATASET);
        let open = |log: &fixture::Log| Author::new(dataset, &log.label, id(&log.nonce));
        let mut authors: Vec<Author> = fixture.logs.iter().map(open).collect();
        let logs = authors.iter().map(Author::log).collect();
        let entities = fixture.entities.iter().map(|entity| id(entity)).collect();
        let mut history = Self { fixture, commits: Vec::new(), logs, entities };
        for at in 0..history.fixture.commits.len() {
            let said = &history.fixture.commits[at];
            let log = said.log;
            let commit = history.commit(said, &authors[log]);
            history.commits.push(authors[log].seal(&commit));
        }
        history
    }

    fn commit(&self, said: &fixture::Commit, author: &Author) -> Commit {
        let mut refs: Vec<Ref> =
            said.refs.iter().map(|&named| self.commits[named].commit).collect();
        refs.sort_unstable();
        let level1 = Level1 {
            states_root: if said.verifies { self.states_root(said, author.log()) } else { NO_ROOT },
            metadata: None,
            versions: said.versions.iter().map(|version| self.version(version, &refs)).collect(),
        };
        let mut commit = author.draft(&CommitSpec::default());
        assert_eq!(said.first, commit.header.first, "{}", self.fixture.name);
        commit.header = Header {
            count: said.versions.len() as u64,
            wall: said.wall,
            excess: said.excess,
            refs,
            rest: Rest::Level1(level1),
            ..commit.header
        };
        commit.bodies =
            Bodies::Level1(said.versions.iter().map(|version| self.body(version)).collect());
        commit
    }

    fn states_root(&self, said: &fixture::Commit, log: Id) -> [u8; 32] {
        let checksum = |(version, sequence): (&fixture::Version, u64)| {
            let entity_type = version.entity_type.as_deref().expect("a type");
            let of = hashes::Identity {
                log,
                sequence,
                entity: self.entities[version.entity],
                entity_type,
            };
            hashes::state_checksum(of, &self.state(version.state.as_ref().expect("a state"), None))
        };
        hashes::states_root(
            &said.versions.iter().zip(said.first..).map(checksum).collect::<Vec<_>>(),
        )
    }

    fn version(&self, said: &fixture::Version, refs: &[Ref]) -> VersionHeader {
        let name = |parent: &Parent| match *parent {
            Parent::Own { own } => (0, own),
            Parent::Through { r#ref, seq } => {
                (1 + refs.binary_search(&self.commits[r#ref].commit).expect("a ref") as u64, seq)
            }
            Parent::Nowhere { ref_index, seq } => (1 + ref_index, seq),
        };
        let mut parents: Vec<_> = said.parents.iter().map(name).collect();
        parents.sort_unstable();
        if said.order == Some(Order::Reversed) {
            parents.reverse();
        }
        let kind = match said.kind.as_str() {
            "create" => kind::CREATE,
            "update" => kind::UPDATE,
            "delete" => kind::DELETE,
            "restore" => kind::RESTORE,
            _ => NO_KIND,
        };
        VersionHeader {
            entity: self.entities[said.entity],
            kind,
            entity_type: said.given_type.clone(),
            parents,
        }
    }

    fn body(&self, said: &fixture::Version) -> Body {
        match (&said.body, &said.state) {
            (None, _) => Body::None,
            (
                Some(fixture::Body::Told(fixture::Told::Full)),
                Some(fixture::State::Live(leaves)),
            )
            | (Some(fixture::Body::Full { full: leaves }), _) => {
                Body::Full(full_body(&self.leaves(leaves, None)))
            }
            (Some(fixture::Body::Told(fixture::Told::Full)), _) => {
                panic!("a full body without a state")
            }
            (Some(fixture::Body::Told(fixture::Told::Missing)), _) => Body::Missing,
            (Some(fixture::Body::Patch { patch: fixture::Patch { unsets, sets } }), _) => {
                let set = sets.iter().map(|(path, value)| (path.clone(), value.value())).collect();
                Body::Patch(forge::patch(&Patch { unset: unsets.clone(), set }))
            }
        }
    }

    /// A state as the fixture says it, with `own` as the writer of its own entries.
    pub(crate) fn state(&self, said: &fixture::State, own: Option<Writer>) -> State {
        match said {
            fixture::State::Tombstone(_) => State::Tombstone,
            fixture::State::Live(leaves) => State::Live(self.leaves(leaves, own)),
        }
    }

    /// Leaves as the fixture says them, with `own` as the writer of own entries.
    pub(crate) fn leaves(&self, said: &fixture::Leaves, own: Option<Writer>) -> Leaves {
        let writer = |name: &fixture::Writer| match name {
            fixture::Writer::Own(_) => own,
            fixture::Writer::Of(place) => Some(self.writer(*place)),
        };
        let entry = |(name, value): &(fixture::Writer, Json)| (writer(name), value.value());
        let leaf =
            |(path, entries): &(Path, Vec<_>)| (path.clone(), entries.iter().map(entry).collect());
        said.iter().map(leaf).collect()
    }

    /// Who says what of an open field: a value, or what it wrote inside of an entry that another
    /// had removed.
    pub(crate) fn sides(
        &self,
        leaves: &fixture::Leaves,
        path: &Path,
    ) -> Vec<(Ref, heirloom::Value)> {
        let version = |writer: &fixture::Writer| match writer {
            fixture::Writer::Of(place) => self.writer(*place).version,
            fixture::Writer::Own(_) => panic!("a merge has no own entries"),
        };
        let is_map = |entries: &[(fixture::Writer, Json)]| {
            entries.iter().any(|(_, v)| matches!(v, Json::EmptyMap))
        };
        let inside: Vec<_> =
            leaves.iter().filter(|(p, _)| p != path && p.starts_with(path)).collect();
        let is_removed = (1..=path.len()).any(|keys| {
            !inside.is_empty() && !leaves.iter().any(|(p, e)| *p == path[..keys] && is_map(e))
        });
        let at = leaves.iter().filter(|(p, _)| p == path).flat_map(|(_, entries)| entries);
        let at = at.filter(|(_, v)| inside.is_empty() || !matches!(v, Json::EmptyMap));
        let mut sides: Vec<_> = at.map(|(writer, v)| (version(writer), value(v))).collect();
        if is_removed {
            let mut maps: BTreeMap<Ref, Vec<(Path, &Json)>> = BTreeMap::new();
            for (p, entries) in inside {
                for (writer, v) in entries {
                    maps.entry(version(writer)).or_default().push((p[path.len()..].to_vec(), v));
                }
            }
            let map = |own: Vec<(Path, &Json)>| content(own.iter().map(|(p, v)| (p, *v)));
            sides.extend(maps.into_iter().map(|(writer, own)| (writer, map(own).into())));
        }
        by_version(sides.into_iter())
    }

    /// The version at a place, with its stamp.
    pub(crate) fn writer(&self, (commit, sequence): Place) -> Writer {
        let Forged { commit, stamp, .. } = self.commits[commit];
        Writer { version: Ref { sequence, ..commit }, stamp }
    }

    /// The refs of versions, ascending.
    pub(crate) fn refs(&self, places: &[Place]) -> Vec<Ref> {
        let mut refs: Vec<Ref> = places.iter().map(|&place| self.writer(place).version).collect();
        refs.sort_unstable();
        refs
    }

    /// What the commit at a place must come after: its predecessor and its refs.
    fn causes(&self, at: usize) -> impl Iterator<Item = usize> {
        let commits = &self.fixture.commits;
        let before = commits[..at].iter().rposition(|earlier| earlier.log == commits[at].log);
        before.into_iter().chain(commits[at].refs.iter().copied())
    }

    /// Any causal order of all commits.
    pub(crate) fn causal_order(&self, chance: &mut Chance) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.commits.len()).collect();
        let mut order = Vec::new();
        while !left.is_empty() {
            let ready = |at: usize| self.causes(at).all(|cause| order.contains(&cause));
            let ready: Vec<usize> = (0..left.len()).filter(|&place| ready(left[place])).collect();
            order.push(left.swap_remove(ready[chance.below(ready.len())]));
        }
        order
    }

    /// The commits at these places and all before them, in the order of the fixture.
    pub(crate) fn past(&self, ends: &[usize]) -> Vec<usize> {
        let mut within = vec![false; self.commits.len()];
        let mut left = ends.to_vec();
        while let Some(at) = left.pop() {
            if !std::mem::replace(&mut within[at], true) {
                left.extend(self.causes(at));
            }
        }
        (0..within.len()).filter(|&at| within[at]).collect()
    }
}

fn id(digits: &str) -> Id {
    hex(digits).try_into().expect("16 bytes")
}
