//! A commit as it travels: first its parts as bytes, then as plain structs.

use super::primitives::Reader;
use super::{
    Bodies, Framing, Genesis, Hash, Header, Id, MAX_BODIES, MAX_GENESIS, MAX_HEADER, hashes, prefix,
};

/// The commit before: sequence of its last version and prefix of its chain. Of the first, 0 and the
/// prefix of chain(0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Before {
    /// Sequence of its last version.
    pub sequence: u64,
    /// First 16 bytes of its chain.
    pub prefix: Id,
}

/// The parts of a commit as bytes. Hashes are taken of these, never of what was read from them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Log id.
    pub log: Id,
    /// The commit before.
    pub before: Before,
    /// The genesis, with the first commit.
    pub genesis: Option<Vec<u8>>,
    /// The header.
    pub header: Vec<u8>,
    /// The bodies, one after another.
    pub bodies: Vec<u8>,
    /// The trailer, to the end.
    pub trailer: Vec<u8>,
}

/// What no hash covers. Reserved.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trailer {
    /// A signature over the chain.
    pub signature: Option<[u8; 64]>,
    /// A name that an application gives to what it wants done once.
    pub idempotency_key: Option<Id>,
}

/// A commit as plain structs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Log id.
    pub log: Id,
    /// The commit before.
    pub before: Before,
    /// The genesis, with the first commit.
    pub genesis: Option<Genesis>,
    /// The header.
    pub header: Header,
    /// The bodies.
    pub bodies: Bodies,
    /// The trailer.
    pub trailer: Trailer,
}

impl Frame {
    /// Splits bytes into parts and reads none of them.
    pub fn split(bytes: &[u8]) -> Result<Self, Framing> {
        let mut r = Reader::new(bytes);
        let log = r.array()?;
        let before = Before { sequence: r.varint()?, prefix: r.array()? };
        let genesis = match before.sequence {
            0 => Some(part(&mut r, MAX_GENESIS, Framing::GenesisSize)?),
            _ => None,
        };
        let header = part(&mut r, MAX_HEADER, Framing::HeaderSize)?;
        let bodies = part(&mut r, MAX_BODIES, Framing::BodiesSize)?;
        Ok(Self { log, before, genesis, header, bodies, trailer: r.rest().to_vec() })
    }

    /// Reads the parts and checks all that needs no other commit.
    pub fn read(&self) -> Result<Commit, Framing> {
        let genesis = self.genesis.as_deref().map(|bytes| self.read_genesis(bytes)).transpose()?;
        // Nothing marks a genesis where none belongs; there it stands in the header's place.
        if genesis.is_none() && hashes::log_id(&self.header) == self.log {
            return Err(Framing::PlaceGenesis);
        }
        let header = Header::read(&self.header)?;
        if self.before.sequence.checked_add(1) != Some(header.first) {
            return Err(Framing::PlaceFirst);
        }
        let bodies = Bodies::read(&self.bodies, &header)?;
        let trailer = Trailer::read(&self.trailer)?;
        Ok(Commit { log: self.log, before: self.before, genesis, header, bodies, trailer })
    }

    fn read_genesis(&self, bytes: &[u8]) -> Result<Genesis, Framing> {
        if bytes.is_empty() {
            return Err(Framing::PlaceNoGenesis);
        }
        let genesis = Genesis::read(bytes)?;
        if hashes::log_id(bytes) != self.log {
            return Err(Framing::GenesisLogId);
        }
        if prefix(&hashes::chain_zero(bytes)) != self.before.prefix {
            return Err(Framing::PlaceBefore);
        }
        Ok(genesis)
    }

    /// The chain after this commit, from that before it; of a first commit from its genesis.
    pub fn chain(&self, before: &Hash) -> Hash {
        match &self.genesis {
            Some(genesis) => hashes::chain(&hashes::chain_zero(genesis), &self.header),
            None => hashes::chain(before, &self.header),
        }
    }
}

fn part(r: &mut Reader<'_>, most: usize, beyond: Framing) -> Result<Vec<u8>, Framing> {
    let bytes = r.bytes()?;
    if bytes.len() > most { Err(beyond) } else { Ok(bytes.to_vec()) }
}

impl Trailer {
    /// Reads a trailer, to the end.
    pub fn read(bytes: &[u8]) -> Result<Self, Framing> {
        let mut r = Reader::new(bytes);
        let flags = r.u8()?;
        if flags > 3 {
            return Err(Framing::TrailerFlag);
        }
        let signature = if flags & 1 != 0 { Some(r.array()?) } else { None };
        let idempotency_key = if flags & 2 != 0 { Some(r.array()?) } else { None };
        r.end()?;
        Ok(Self { signature, idempotency_key })
    }
}

impl Commit {
    /// Splits and reads bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Framing> {
        Frame::split(bytes)?.read()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::*;
    use super::*;
    use crate::forge::tests::{DATASET, LAMP, ROOM, author, story};
    use crate::forge::{self, Author, CommitSpec, VersionSpec};

    /// A first commit that creates one entity and deletes another.
    fn draft() -> Commit {
        author("a").draft(&spec())
    }

    fn spec() -> CommitSpec {
        CommitSpec::at(5)
            .version(VersionSpec::create(LAMP, "lamp", forge::own([("on", Value::null())])))
            .version(VersionSpec::delete(ROOM, "room"))
    }

    fn result(edit: impl FnOnce(&mut Commit)) -> Result<(), Framing> {
        let mut commit = draft();
        edit(&mut commit);
        Commit::decode(&forge::join(&forge::frame(&commit))).map(|read| assert_eq!(read, commit))
    }

    fn result_of_parts(edit: impl FnOnce(&mut Frame)) -> Result<(), Framing> {
        let mut frame = forge::frame(&draft());
        edit(&mut frame);
        Commit::decode(&forge::join(&frame)).map(drop)
    }

    fn result_of_genesis(edit: impl FnOnce(&mut Genesis)) -> Result<(), Framing> {
        let mut genesis = draft().genesis.unwrap();
        edit(&mut genesis);
        let commit = Author::open(genesis).draft(&spec());
        Commit::decode(&forge::join(&forge::frame(&commit))).map(|read| assert_eq!(read, commit))
    }

    fn level1(commit: &mut Commit) -> &mut Level1 {
        match &mut commit.header.rest {
            Rest::Level1(level1) => level1,
            Rest::Newer(_) => unreachable!("the draft is of level 1"),
        }
    }

    fn bodies(commit: &mut Commit) -> &mut Vec<Body> {
        match &mut commit.bodies {
            Bodies::Level1(bodies) => bodies,
            Bodies::Newer(_) => unreachable!("the draft is of level 1"),
        }
    }

    fn named(log: u8, sequence: u64, prefix: u8) -> Ref {
        Ref { log: [log; 16], sequence, prefix: [prefix; 16] }
    }

    #[test]
    fn what_is_within_the_rules_is_a_commit() {
        assert_eq!(result(|_| {}), Ok(()));
        assert_eq!(
            result(|c| c.header.refs =
                vec![named(1, 2, 0), named(1, 2, 1), named(1, 3, 0), named(2, 1, 0)]),
            Ok(())
        );
        assert_eq!(
            result(|c| c.header.refs = (1..=65_536).map(|n| named(1, n, 0)).collect()),
            Ok(())
        );
        assert_eq!(result(|c| level1(c).versions[0].parents = vec![(9, 9); 4_096]), Ok(()));
        assert_eq!(result(|c| level1(c).versions[0].entity_type = Some("t".repeat(255))), Ok(()));
        assert_eq!(
            result(|c| (c.header.wall, c.header.excess) = (u64::MAX, u64::MAX)),
            Ok(()),
            "void, but a commit"
        );
        assert_eq!(result(|c| level1(c).versions[0].kind = 15), Ok(()), "void, but a commit");
        assert_eq!(
            result_of_genesis(|g| (g.label, g.flags) = ("!~".repeat(32), Genesis::MANAGED)),
            Ok(())
        );
        assert_eq!(result_of_genesis(|g| g.label = "a".repeat(55)), Ok(()));
        let metadata = |actor: usize, message: usize| {
            result(|c| {
                c.header.flags = 1;
                level1(c).metadata =
                    Some(Metadata { actor: "a".repeat(actor), message: "m".repeat(message) });
            })
        };
        assert_eq!(metadata(255, 4_096), Ok(()));
        assert_eq!(metadata(0, 1), Ok(()));
        assert_eq!(metadata(256, 1), Err(Framing::MetadataLength));
        assert_eq!(metadata(1, 4_097), Err(Framing::MetadataLength));
        assert_eq!(metadata(0, 0), Err(Framing::MetadataEmpty));
    }

    #[test]
    fn what_is_newer_is_opaque_but_keeps_its_layout() {
        let newer = |c: &mut Commit| {
            (c.header.level, c.header.flags) = (2, 0xff);
            c.header.rest = Rest::Newer(vec![1, 2, 3]);
            c.bodies = Bodies::Newer(vec![0xff; 9]);
        };
        assert_eq!(result(newer), Ok(()));
        let edited = |edit: fn(&mut Commit)| {
            result(|c| {
                newer(c);
                edit(c);
            })
        };
        assert_eq!(
            edited(|c| c.header.refs = vec![named(2, 1, 0), named(1, 1, 0)]),
            Err(Framing::RefsOrder)
        );
        assert_eq!(edited(|c| c.header.count = 0), Err(Framing::HeaderCount));
        assert_eq!(edited(|c| c.header.first = 9), Err(Framing::PlaceFirst));
        assert_eq!(
            result_of_genesis(|g| (g.level, g.flags, g.more) = (2, 0x80, vec![1; 9])),
            Ok(())
        );
        assert_eq!(
            result_of_genesis(|g| (g.level, g.label) = (2, String::new())),
            Err(Framing::GenesisLabel)
        );
    }

    #[test]
    fn primitives_are_checked() {
        let fault = |edit: fn(&mut Frame)| result_of_parts(edit).unwrap_err();
        let start = |more: &[u8]| Commit::decode(&[&[1; 16][..], more].concat()).unwrap_err();
        assert_eq!(start(&[0x80]), Fault::VarintCut.into());
        assert_eq!(start(&[0x80, 0x00]), Fault::VarintLong.into());
        assert_eq!(start(&[0xff; 10]), Fault::VarintBeyond.into());
        assert_eq!(start(&[0x00]), Fault::Length.into());
        assert_eq!(fault(|f| f.header[1] = 1), Fault::Text.into(), "metadata that is not there");
        assert_eq!(fault(|f| f.header.push(0)), Fault::LeftOver.into());
        assert_eq!(fault(|f| f.trailer.push(0)), Fault::LeftOver.into());
        assert_eq!(fault(|f| f.trailer = vec![1; 64]), Fault::Length.into());
        assert_eq!(fault(|f| f.trailer.clear()), Fault::Length.into());
        assert_eq!(result_of_genesis(|g| g.more = vec![0]), Err(Fault::LeftOver.into()));
        let bytes = forge::join(&forge::frame(&draft()));
        for end in 0..bytes.len() {
            assert!(Commit::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn geneses_outside_the_rules_are_refused() {
        assert_eq!(result_of_genesis(|g| g.level = 0), Err(Framing::GenesisLevel));
        for flag in 3..8 {
            assert_eq!(result_of_genesis(|g| g.flags = 1 << flag), Err(Framing::GenesisFlag));
        }
        for label in ["", "a b", "\t", "\x7f", "é", &"a".repeat(56)] {
            assert_eq!(
                result_of_genesis(|g| g.label = label.to_owned()),
                Err(Framing::GenesisLabel),
                "{label}"
            );
        }
        let long = |g: &mut Genesis| (g.label, g.flags) = ("a".repeat(65), Genesis::MANAGED);
        assert_eq!(result_of_genesis(long), Err(Framing::GenesisLabel));
        let follows = |g: &mut Genesis| {
            (g.predecessor, g.flags) = (Some(named(1, 0, 1)), Genesis::PREDECESSOR)
        };
        assert_eq!(result_of_genesis(follows), Err(Framing::GenesisPredecessor));
        assert_eq!(
            result_of_genesis(|g| (g.level, g.more) = (2, vec![0; 1024])),
            Err(Framing::GenesisSize)
        );
        assert_eq!(result(|c| c.log = [1; 16]), Err(Framing::GenesisLogId));
        assert_eq!(
            result(|c| c.genesis.as_mut().unwrap().nonce = [0; 16]),
            Err(Framing::GenesisLogId)
        );
        let elsewhere = author("a").commit(&spec());
        assert_eq!(Replay::new([0; 16]).add(&elsewhere.bytes), Err(Framing::GenesisDataset.into()));
        assert!(Replay::new(DATASET).add(&elsewhere.bytes).is_ok());
    }

    #[test]
    fn headers_outside_the_rules_are_refused() {
        assert_eq!(result(|c| c.header.level = 0), Err(Framing::HeaderLevel));
        assert_eq!(result(|c| c.header.flags = 2), Err(Framing::HeaderFlag));
        assert_eq!(result(|c| c.header.first = 0), Err(Framing::HeaderFirst));
        for count in [0, 65_537, u64::MAX] {
            assert_eq!(result(|c| c.header.count = count), Err(Framing::HeaderCount));
        }
        for first in [(1 << 63) - 1, u64::MAX] {
            assert_eq!(result(|c| c.header.first = first), Err(Framing::HeaderLast));
        }
        let unsorted: [&[Ref]; 5] = [
            &[named(2, 1, 1), named(1, 1, 1)],
            &[named(1, 1, 1), named(2, 1, 1), named(1, 2, 1)],
            &[named(1, 2, 1), named(1, 1, 1)],
            &[named(1, 1, 2), named(1, 1, 1)],
            &[named(1, 1, 1), named(1, 1, 1)],
        ];
        for refs in unsorted {
            assert_eq!(result(|c| c.header.refs = refs.to_vec()), Err(Framing::RefsOrder));
        }
        let empty_group = [&[1, 0, 1, 1, 0, 0, 1][..], &[7; 16], &[0]].concat();
        assert_eq!(result_of_parts(|f| f.header = empty_group), Err(Framing::RefsEmptyGroup));
        assert_eq!(result(|c| c.header.refs = vec![named(1, 0, 1)]), Err(Framing::RefsSequence));
        let many = (1..=65_537).map(|sequence| named(1, sequence, 0)).collect();
        assert_eq!(result(|c| c.header.refs = many), Err(Framing::RefsTooMany));
        let many = vec![(1, 1); 4_097];
        assert_eq!(result(|c| level1(c).versions[1].parents = many), Err(Framing::ParentsTooMany));
        for length in [0, 256] {
            let entity_type = Some("t".repeat(length));
            assert_eq!(
                result(|c| level1(c).versions[0].entity_type = entity_type),
                Err(Framing::TypeLength)
            );
        }
        for bit in 4..7 {
            assert_eq!(result(|c| level1(c).versions[0].kind |= 1 << bit), Err(Framing::KindBits));
        }
        assert_eq!(
            result_of_parts(|f| f.header = vec![1; MAX_HEADER + 1]),
            Err(Framing::HeaderSize)
        );
    }

    #[test]
    fn bodies_outside_the_rules_are_refused() {
        assert_eq!(result(|c| drop(bodies(c).pop())), Err(Framing::BodyCount));
        assert_eq!(result(|c| bodies(c).push(Body::None)), Err(Framing::BodyCount));
        let first = |bytes: &[u8]| result_of_parts(|f| f.bodies = [bytes, &[0]].concat());
        assert_eq!(first(&[6]), Ok(()));
        assert_eq!(first(&[7]), Err(Framing::BodyTag));
        assert_eq!(first(&[0xff]), Err(Framing::BodyTag));
        assert_eq!(first(&[0]), Err(Framing::BodyNone));
        assert_eq!(result(|c| bodies(c)[1] = Body::Missing), Err(Framing::BodyOfDeletion));
        assert_eq!(result(|c| bodies(c)[1] = Body::Full(vec![0, 0])), Err(Framing::BodyOfDeletion));
        for tag in [3, 4] {
            for length in [0, 15, 17] {
                let bytes = [&[tag, length][..], &vec![1; usize::from(length)]].concat();
                assert_eq!(first(&bytes), Err(Framing::BodyChecksum));
            }
        }
        assert_eq!(first(&[&[5, 15][..], &[1; 15]].concat()), Err(Framing::BodyEncrypted));
        assert_eq!(first(&[&[5, 16][..], &[1; 16]].concat()), Ok(()));
        assert_eq!(first(&[1, 9, 0]), Err(Fault::Length.into()));
        assert_eq!(
            result_of_parts(|f| f.bodies = vec![0; MAX_BODIES + 1]),
            Err(Framing::BodiesSize)
        );
        assert_eq!(first(&[1, 1, 0xff]), Ok(()), "what is in a body does not matter here");
    }

    #[test]
    fn trailers_and_places_outside_the_rules_are_refused() {
        for flag in 2..8 {
            assert_eq!(result_of_parts(|f| f.trailer = vec![1 << flag]), Err(Framing::TrailerFlag));
        }
        assert_eq!(result(|c| c.header.first = 2), Err(Framing::PlaceFirst));
        assert_eq!(
            result(|c| (c.before.sequence, c.genesis) = (7, None)),
            Err(Framing::PlaceFirst)
        );
        assert_eq!(
            result(|c| (c.before.sequence, c.genesis) = (u64::MAX, None)),
            Err(Framing::PlaceFirst)
        );
        assert_eq!(result_of_parts(|f| f.genesis = Some(Vec::new())), Err(Framing::PlaceNoGenesis));
        assert_eq!(result_of_parts(|f| f.before.sequence = 1), Err(Framing::PlaceGenesis));
        assert_eq!(result(|c| c.before.prefix = [0; 16]), Err(Framing::PlaceBefore));
        let [a1, b1, ..] = story();
        let mut replay = Replay::new(DATASET);
        assert_eq!(replay.add(&b1.bytes), Err(Framing::PlaceRef.into()));
        assert_eq!(replay.add(&a1.bytes), Ok(a1.commit));
        assert_eq!(replay.add(&b1.bytes), Ok(b1.commit));
        let mut alone = Replay::new(DATASET);
        let mut a = author("a");
        a.commit(&spec());
        assert_eq!(alone.add(&a.commit(&spec()).bytes), Err(Framing::PlaceBefore.into()));
    }

    /// Puts `with` over `take` bytes at a place, both kept within the bytes.
    fn splice(bytes: &mut Vec<u8>, at: usize, take: usize, with: &[u8]) {
        let at = at % (bytes.len() + 1);
        let end = bytes.len().min(at + take);
        bytes.splice(at..end, with.iter().copied());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Commit::decode(&bytes);
        }

        /// Damage to the whole or within the parts, where lengths stay true and hashes are those of
        /// the damaged.
        #[test]
        fn a_damaged_commit_is_refused_or_taken_and_never_panics(
            which in 0..7_usize,
            part in 0..5,
            at: usize,
            take in 0..4_usize,
            with in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let story = story();
            let mut replay = Replay::new(DATASET);
            for forged in &story[..which] {
                replay.add(&forged.bytes).unwrap();
            }
            let mut frame = Frame::split(&story[which].bytes).unwrap();
            match part {
                0 => splice(&mut frame.header, at, take, &with),
                1 => splice(&mut frame.bodies, at, take, &with),
                2 => splice(&mut frame.trailer, at, take, &with),
                3 => frame.genesis.iter_mut().for_each(|genesis| splice(genesis, at, take, &with)),
                _ => {}
            }
            let mut bytes = forge::join(&frame);
            if part == 4 {
                splice(&mut bytes, at, take, &with);
            }
            if let Ok(reference) = replay.add(&bytes) {
                let commit = &replay.commit(&reference).unwrap().commit;
                prop_assert_eq!(forge::join(&forge::frame(commit)), bytes, "read in another form");
                let verified = replay.commit(&reference).unwrap().verified.is_ok();
                if reference == story[which].commit && verified {
                    let mut honest = Replay::new(DATASET);
                    for forged in &story[..=which] {
                        honest.add(&forged.bytes).unwrap();
                    }
                    let states = |replay: &Replay| -> Vec<_> {
                        replay.versions().iter().map(|v| v.state.clone()).collect()
                    };
                    prop_assert_eq!(
                        states(&replay),
                        states(&honest),
                        "verified with another result"
                    );
                }
                for entity in replay.entities() {
                    let _ = replay.conflicts(&entity);
                }
            }
        }
    }
}
