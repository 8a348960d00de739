//! Which commits and versions are void: a function of headers alone.

use std::collections::BTreeSet;

use super::{Header, MAX_TIME, VersionHeader, kind};

/// Why a version has no effect. The first five concern its whole commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Void {
    /// The commit is of a newer level.
    Level,
    /// Two versions of the commit are of one entity.
    EntityTwice,
    /// The stamp lies beyond the last time.
    Time,
    /// The wall lies before the predecessor's.
    Wall,
    /// The stamp is not exactly what it must be.
    Stamp,
    /// A parent does not exist, is of another entity or void; parents are out of order.
    Parent,
    /// The kind does not fit to parents and type.
    Kind,
}

/// A parent that exists and is of the entity.
pub(super) struct Parent {
    pub(super) stamp: u64,
    pub(super) through_ref: bool,
    pub(super) void: bool,
}

/// Why the whole commit is void. `parents` are those of all its versions.
pub(super) fn of_commit<'a>(
    header: &Header,
    wall_before: u64,
    parents: impl Iterator<Item = &'a Parent>,
) -> Option<Void> {
    let entities: BTreeSet<_> = header.versions().iter().map(|version| version.entity).collect();
    let least =
        |parent: &Parent| parent.stamp.saturating_add(u64::from(parent.through_ref)).min(MAX_TIME);
    if header.level > 1 {
        Some(Void::Level)
    } else if entities.len() < header.versions().len() {
        Some(Void::EntityTwice)
    } else if header.stamp() > MAX_TIME {
        Some(Void::Time)
    } else if header.wall < wall_before {
        Some(Void::Wall)
    } else if header.stamp() != parents.map(least).fold(header.wall, u64::max) {
        Some(Void::Stamp)
    } else {
        None
    }
}

/// Why a single version is void. `parents` are those that exist and are of the entity.
pub(super) fn of_version(version: &VersionHeader, parents: &[Parent]) -> Option<Void> {
    let found = parents.len() == version.parents.len() && !parents.iter().any(|parent| parent.void);
    let creation = version.kind == kind::CREATE;
    if !found || !version.parents.is_sorted_by(|one, next| one < next) {
        Some(Void::Parent)
    } else if !(kind::CREATE..=kind::RESTORE).contains(&version.kind)
        || creation != version.parents.is_empty()
        || creation != version.entity_type.is_some()
    {
        Some(Void::Kind)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use crate::forge::tests::{DATASET, LAMP, ROOM, author};
    use crate::forge::{self, Author, CommitSpec, Forged, VersionSpec};

    /// `a` has created a lamp and a room; `b` is about to change the lamp.
    struct Scene {
        replay: Replay,
        a: Author,
        b: Author,
        a1: Forged,
    }

    fn scene() -> Scene {
        let (mut replay, mut a, b) = (Replay::new(DATASET), author("a"), author("b"));
        let create = |entity| VersionSpec::create(entity, "thing", Leaves::new());
        let a1 = a.commit(&CommitSpec::at(1000).version(create(LAMP)).version(create(ROOM)));
        replay.add(&a1.bytes).unwrap();
        Scene { replay, a, b, a1 }
    }

    fn change(entity: Id) -> VersionSpec {
        VersionSpec::update(entity, "thing", forge::own([("on", Value::null())]))
    }

    impl Scene {
        /// Adds a commit by `b` on the lamp, edited; says why commit and first version are void.
        fn judged(mut self, edit: impl FnOnce(&mut Header)) -> [Option<Void>; 2] {
            let mut draft =
                self.b.draft(&CommitSpec::at(900).version(change(LAMP).after(&self.a1, 0)));
            edit(&mut draft.header);
            let (root, digest) = (self.replay.log_root(), self.replay.state_digest());
            let reference = self.replay.add(&self.b.seal(&draft).bytes).unwrap();
            let version = self.replay.version(&Ref { sequence: draft.header.first, ..reference });
            let void = version.and_then(|version| version.void);
            assert_ne!(self.replay.log_root(), root);
            assert_eq!(self.replay.state_digest() == digest, void.is_some() || version.is_none());
            [self.replay.commit(&reference).unwrap().void, void]
        }
    }

    fn level1(header: &mut Header) -> &mut Level1 {
        match &mut header.rest {
            Rest::Level1(level1) => level1,
            Rest::Newer(_) => unreachable!("the draft is of level 1"),
        }
    }

    fn version(header: &mut Header) -> &mut VersionHeader {
        &mut level1(header).versions[0]
    }

    #[test]
    fn an_honest_commit_is_not_void() {
        assert_eq!(scene().judged(|h| assert_eq!((h.wall, h.stamp()), (900, 1001))), [None, None]);
    }

    #[test]
    fn a_stamp_is_exact() {
        let void = [Some(Void::Stamp), Some(Void::Stamp)];
        assert_eq!(scene().judged(|h| h.excess += 1), void);
        assert_eq!(scene().judged(|h| h.excess -= 1), void);
        assert_eq!(scene().judged(|h| h.excess = 0), void);
        assert_eq!(scene().judged(|h| (h.wall, h.excess) = (1001, 0)), [None, None]);
        assert_eq!(scene().judged(|h| (h.wall, h.excess) = (5000, 0)), [None, None]);
        assert_eq!(
            scene().judged(|h| (h.wall, h.excess) = (MAX_TIME + 1, 0)),
            [Some(Void::Time); 2]
        );
        assert_eq!(
            scene().judged(|h| (h.wall, h.excess) = (u64::MAX, u64::MAX)),
            [Some(Void::Time); 2]
        );
    }

    #[test]
    fn stamps_stop_at_the_last_time() {
        let Scene { mut replay, mut a, mut b, .. } = scene();
        let last = a.commit(&CommitSpec::at(MAX_TIME).version(VersionSpec::create(
            [9; 16],
            "thing",
            Leaves::new(),
        )));
        let after = b.commit(&CommitSpec::at(5).version(change([9; 16]).after(&last, 0)));
        assert_eq!(after.stamp, MAX_TIME);
        replay.add(&last.bytes).unwrap();
        let reference = replay.add(&after.bytes).unwrap();
        assert_eq!(replay.commit(&reference).unwrap().void, None);
    }

    #[test]
    fn walls_do_not_go_back() {
        let Scene { mut replay, mut a, a1, .. } = scene();
        let mut draft = a.draft(&CommitSpec::at(2000).version(change(LAMP).after(&a1, 0)));
        (draft.header.wall, draft.header.excess) = (999, 1);
        let reference = replay.add(&a.seal(&draft).bytes).unwrap();
        assert_eq!(replay.commit(&reference).unwrap().void, Some(Void::Wall));
    }

    #[test]
    fn an_entity_stands_once_in_a_commit() {
        let twice = |h: &mut Header| {
            let again = version(h).clone();
            level1(h).versions.push(again);
            h.count = 2;
        };
        let Scene { mut replay, mut b, a1, .. } = scene();
        let mut draft = b.draft(&CommitSpec::at(900).version(change(LAMP).after(&a1, 0)));
        twice(&mut draft.header);
        draft.bodies = Bodies::Level1(vec![Body::Missing, Body::Missing]);
        let reference = replay.add(&b.seal(&draft).bytes).unwrap();
        assert_eq!(replay.commit(&reference).unwrap().void, Some(Void::EntityTwice));
    }

    #[test]
    fn a_newer_commit_counts_for_the_chain_alone() {
        let Scene { mut replay, mut b, a1, .. } = scene();
        let mut draft = b.draft(&CommitSpec::at(900).version(change(LAMP).after(&a1, 0)));
        (draft.header.level, draft.header.rest, draft.bodies) =
            (2, Rest::Newer(vec![9]), Bodies::Newer(vec![7]));
        let newer = b.seal(&draft);
        replay.add(&newer.bytes).unwrap();
        assert_eq!(replay.commit(&newer.commit).unwrap().void, Some(Void::Level));
        assert_eq!(replay.heads(&LAMP).len(), 1);
        let own = b.commit(&CommitSpec::at(901).version(VersionSpec::create(
            [9; 16],
            "thing",
            Leaves::new(),
        )));
        replay.add(&own.bytes).unwrap();
        assert_eq!(replay.heads(&[9; 16])[0].reference(), own.version(0).version);
        let mut draft = b.draft(&CommitSpec::at(902).version(change(LAMP).after(&newer, 0)));
        draft.header.excess = 0; // a version that is not understood counts for no stamp
        let unknown = b.seal(&draft);
        replay.add(&unknown.bytes).unwrap();
        assert_eq!(replay.version(&unknown.commit).unwrap().void, Some(Void::Parent));
    }

    #[test]
    fn parents_exist_are_of_the_entity_and_ascend() {
        let void = [None, Some(Void::Parent)];
        let lower = |h: &mut Header| h.excess = 0; // no parent counts for the stamp
        let with = |parents: Vec<(u64, u64)>| {
            move |h: &mut Header| {
                version(h).parents = parents;
                lower(h);
            }
        };
        assert_eq!(scene().judged(with(vec![(0, 1)])), void, "nothing on the own path");
        assert_eq!(scene().judged(with(vec![(1, 2)])), void, "of the room");
        assert_eq!(scene().judged(with(vec![(1, 3)])), void, "beyond the log");
        assert_eq!(scene().judged(with(vec![(1, 0)])), void);
        assert_eq!(scene().judged(with(vec![(2, 1)])), void, "no such ref");
        assert_eq!(scene().judged(with(vec![(u64::MAX, 1)])), void);
        assert_eq!(
            scene().judged(|h| version(h).parents = vec![(1, 1), (1, 1)]),
            void,
            "doubled; it counts"
        );
        assert_eq!(scene().judged(|h| version(h).parents = vec![(1, 1), (0, 1)]), void);
    }

    #[test]
    fn a_parent_lies_on_the_path_of_its_ref() {
        let Scene { mut replay, mut a, mut b, a1 } = scene();
        let a2 = a.commit(&CommitSpec::at(1001).version(change(LAMP).after(&a1, 0)));
        let a3 = a.commit(&CommitSpec::at(1002).version(change(ROOM).after(&a1, 1)));
        let void = |version: VersionSpec, b: &mut Author, replay: &mut Replay| {
            let mut draft = b.draft(&CommitSpec::at(2000).version(version));
            draft.header.excess = 0;
            let forged = b.seal(&draft);
            replay.add(&forged.bytes).unwrap();
            replay.version(&forged.commit).unwrap().void
        };
        replay.add(&a2.bytes).unwrap();
        replay.add(&a3.bytes).unwrap();
        let mut before = change(LAMP).after(&a2, 0);
        before.parents[0].through = a1.commit;
        assert_eq!(void(before, &mut b, &mut replay), Some(Void::Parent), "the ref ends before it");
        let mut behind = change(LAMP).after(&a2, 0);
        behind.parents[0].through = a3.commit;
        assert_eq!(void(behind, &mut b, &mut replay), None, "a later commit names it too");
    }

    #[test]
    fn a_void_parent_makes_void_and_counts_for_the_stamp() {
        let Scene { mut replay, mut b, mut a, a1 } = scene();
        let mut draft = b.draft(&CommitSpec::at(900).version(change(LAMP).after(&a1, 0)));
        draft.header.excess += 4000;
        let void = b.seal(&draft);
        replay.add(&void.bytes).unwrap();
        let child = a.commit(&CommitSpec::at(901).version(change(LAMP).after(&void, 0)));
        assert_eq!(child.stamp, void.stamp + 1);
        replay.add(&child.bytes).unwrap();
        assert_eq!(replay.commit(&child.commit).unwrap().void, None);
        assert_eq!(replay.version(&child.commit).unwrap().void, Some(Void::Parent));
        assert_eq!(replay.heads(&LAMP)[0].reference(), a1.version(0).version);
    }

    #[test]
    fn kinds_fit_to_parents_and_types() {
        let void = [None, Some(Void::Kind)];
        for kind in [0, 5, 15] {
            assert_eq!(scene().judged(|h| version(h).kind = kind), void);
        }
        assert_eq!(scene().judged(|h| version(h).kind = kind::CREATE), void, "with a parent");
        assert_eq!(scene().judged(|h| version(h).entity_type = Some("thing".into())), void);
        let orphan = |kind, entity_type: Option<&str>| {
            let entity_type = entity_type.map(str::to_owned);
            move |h: &mut Header| {
                (version(h).kind, version(h).entity_type, h.excess) = (kind, entity_type, 0);
                version(h).parents.clear();
            }
        };
        assert_eq!(scene().judged(orphan(kind::CREATE, Some("thing"))), [None, None]);
        assert_eq!(scene().judged(orphan(kind::CREATE, None)), void);
        assert_eq!(scene().judged(orphan(kind::UPDATE, None)), void);
        assert_eq!(scene().judged(orphan(kind::RESTORE, Some("thing"))), void);
    }

    #[test]
    fn one_void_version_leaves_the_others_of_its_commit_alone() {
        let Scene { mut replay, mut b, a1, .. } = scene();
        let spec = CommitSpec::at(900)
            .version(change(LAMP).after(&a1, 0))
            .version(change(ROOM).after(&a1, 1));
        let mut draft = b.draft(&spec);
        version(&mut draft.header).kind = 7;
        let forged = b.seal(&draft);
        replay.add(&forged.bytes).unwrap();
        assert_eq!(replay.heads(&LAMP)[0].reference(), a1.version(0).version);
        assert_eq!(replay.heads(&ROOM)[0].reference(), forged.version(1).version);
        assert_eq!(replay.commit(&forged.commit).unwrap().verified, Err(Unverified::Void));
    }
}
