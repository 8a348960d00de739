//! The tables of a store, by which damage is told.

use std::fmt;

/// A table of a store's file (FORMAT.md, part 2).
///
/// Which one is damaged says what is at stake: the log is what nothing else can give but a peer;
/// heads, dots, types and indexes follow from it, and [`repair`](crate::Engine::repair) makes them
/// again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Table {
    /// What the store knows of itself.
    Meta,
    /// The logs, and the branches of those that forked.
    Logs,
    /// Entity types by their numbers.
    Types,
    /// Numbers of entity types by their names.
    TypeNames,
    /// The commits, in order of arrival.
    Log,
    /// At which place each commit of a log arrived.
    Dots,
    /// The heads of each entity.
    Heads,
    /// Entities by their types.
    ByType,
    /// Entities that are diverged, or have fields that nobody decided.
    Unsettled,
    /// Entities by what stands at an indexed path.
    Index,
    /// What stands of each entity in the index.
    Indexed,
    /// Commits that are damaged here, or whose bodies do not verify.
    Missing,
    /// Large commits on their way in.
    Staging,
    /// What is remembered of peers.
    Peers,
    /// Commits that are not in the tables yet, and how the file is divided.
    Journal,
    /// What redb itself keeps beside them.
    Redb,
}

impl Table {
    /// Those that every store has.
    pub(crate) const ALL: [Self; 11] = [
        Self::Meta,
        Self::Logs,
        Self::Types,
        Self::TypeNames,
        Self::Log,
        Self::Dots,
        Self::Heads,
        Self::ByType,
        Self::Unsettled,
        Self::Staging,
        Self::Peers,
    ];
    /// Those that come into being with their first row.
    pub(crate) const OF_SOME: [Self; 3] = [Self::Missing, Self::Index, Self::Indexed];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Logs => "logs",
            Self::Types => "types",
            Self::TypeNames => "type_names",
            Self::Log => "log",
            Self::Dots => "dots",
            Self::Heads => "heads",
            Self::ByType => "by_type",
            Self::Unsettled => "unsettled",
            Self::Index => "index",
            Self::Indexed => "indexed",
            Self::Missing => "missing",
            Self::Staging => "staging",
            Self::Peers => "peers",
            Self::Journal => "journal",
            Self::Redb => "redb",
        }
    }

    /// By which rows in the journal name it (FORMAT.md, 2.8).
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Meta => 1,
            Self::Logs => 2,
            Self::Types => 3,
            Self::TypeNames => 4,
            Self::Log => 5,
            Self::Dots => 6,
            Self::Heads => 7,
            Self::ByType => 8,
            Self::Unsettled => 9,
            Self::Index => 10,
            Self::Indexed => 11,
            Self::Missing => 12,
            Self::Staging => 13,
            Self::Peers => 14,
            // none has rows there
            Self::Journal | Self::Redb => 0,
        }
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::OF_SOME).find(|table| table.number() == number)
    }

    /// Whether its rows are of one entity each.
    pub(crate) fn is_of_entities(self) -> bool {
        use Table::{ByType, Heads, Index, Indexed, Unsettled};
        matches!(self, Heads | ByType | Unsettled | Index | Indexed)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
