//! What can be wrong with bytes: framing errors, which make them no commit, and bodies that do not
//! verify.

/// A primitive that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A varint is cut short.
    VarintCut,
    /// A varint is longer than needed.
    VarintLong,
    /// A varint goes beyond 64 bits.
    VarintBeyond,
    /// A length, or a field of fixed length, goes beyond what is there.
    Length,
    /// Text is not UTF-8.
    Text,
    /// Bytes are left over.
    LeftOver,
}

/// Why bytes are not a commit. The list is that of the format, and exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// A primitive outside of the bodies' contents.
    Primitive(Fault),

    /// A genesis of level 0.
    GenesisLevel,
    /// An unknown flag in a genesis of level 1.
    GenesisFlag,
    /// A label of a wrong length or with other characters than printable ASCII.
    GenesisLabel,
    /// A predecessor with sequence 0.
    GenesisPredecessor,
    /// A genesis beyond 1,024 bytes.
    GenesisSize,
    /// The log id is not the hash of the genesis.
    GenesisLogId,
    /// The genesis belongs to another dataset.
    GenesisDataset,

    /// A header of level 0.
    HeaderLevel,
    /// An unknown flag in a header of level 1.
    HeaderFlag,
    /// First sequence 0.
    HeaderFirst,
    /// No version, or more than 65,536.
    HeaderCount,
    /// The last sequence is beyond 2^63 − 1.
    HeaderLast,
    /// Refs that are not strictly ascending: unsorted or doubled, groups or within a group.
    RefsOrder,
    /// A group of refs that is empty.
    RefsEmptyGroup,
    /// A ref with sequence 0.
    RefsSequence,
    /// More than 65,536 refs.
    RefsTooMany,
    /// More than 4,096 parents of a version.
    ParentsTooMany,
    /// An entity type outside of 1 … 255 bytes.
    TypeLength,
    /// One of the bits 4 to 6 of a kind.
    KindBits,
    /// An actor beyond 255 or a message beyond 4,096 bytes.
    MetadataLength,
    /// Metadata without actor and message.
    MetadataEmpty,
    /// A header beyond 16 MiB.
    HeaderSize,

    /// Another number of bodies than of versions.
    BodyCount,
    /// An unknown tag of a body.
    BodyTag,
    /// Tag 0 on another version than a deletion.
    BodyNone,
    /// Another tag than 0 on a deletion.
    BodyOfDeletion,
    /// A pruned or withheld body that is not 16 bytes.
    BodyChecksum,
    /// An encrypted body under 16 bytes.
    BodyEncrypted,
    /// Bodies beyond 72 MiB.
    BodiesSize,

    /// An unknown flag in the trailer.
    TrailerFlag,

    /// `first` is not one more than `before`.
    PlaceFirst,
    /// `before` is 0 without a genesis.
    PlaceNoGenesis,
    /// `before` is not 0 and a genesis is there.
    PlaceGenesis,
    /// `before` names no commit of the log.
    PlaceBefore,
    /// A ref names no commit.
    PlaceRef,
}

impl From<Fault> for Framing {
    fn from(fault: Fault) -> Self {
        Self::Primitive(fault)
    }
}

/// Why the bodies of a commit do not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unverified {
    /// A body is not in canonical form; says what is wrong.
    Malformed(&'static str),
    /// A primitive in a body cannot be read.
    Primitive(Fault),
    /// A full body names a writer outside of the version's entity clock.
    Writer,
    /// Of the paths that one version wrote one is a prefix of another.
    OwnClash,
    /// A state breaks a limit; says which.
    Limit(&'static str),
    /// The states that a patch builds on are not here.
    NoBase,
    /// A version is void.
    Void,
    /// A body is missing.
    Missing,
    /// The commit is of a newer level.
    Newer,
    /// The states do not give the root.
    Root,
}

impl From<Fault> for Unverified {
    fn from(fault: Fault) -> Self {
        Self::Primitive(fault)
    }
}
