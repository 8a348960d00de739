//! Numbers that count different things, so that the compiler tells them apart.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($of:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name($of);

        impl $name {
            /// The one with this number.
            pub const fn new(number: $of) -> Self {
                Self(number)
            }

            /// Its number.
            pub const fn get(self) -> $of {
                self.0
            }
        }

        impl From<$of> for $name {
            fn from(number: $of) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// Which version of its log one is: the first has 1, each of a commit the next one.
    ///
    /// [`Sequence::START`], 0, stands for the place before the first.
    ///
    /// ```
    /// use heirloom_core::model::Sequence;
    ///
    /// assert_eq!(Sequence::START.next(), Sequence::FIRST);
    /// assert_eq!(Sequence::FIRST.plus(6).since(Sequence::new(5)), Some(2));
    /// ```
    Sequence(u64)
}

impl Sequence {
    /// Before the first version of a log.
    pub const START: Self = Self(0);
    /// The first version of a log.
    pub const FIRST: Self = Self(1);
    /// The last that a log can have (FORMAT.md, 1.9).
    pub const LAST: Self = Self(i64::MAX as u64);
    /// Behind all that a log can have.
    pub const END: Self = Self(u64::MAX);

    /// The one after it; [`Sequence::END`] has none and stays.
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// So many after it; never beyond [`Sequence::END`].
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// So many before it, at the earliest [`Sequence::START`]; else nothing.
    pub const fn back(self, count: u64) -> Option<Self> {
        match self.0.checked_sub(count) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// How many after `earlier` it is; nothing where it is before that one.
    pub const fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

number! {
    /// Local number of a line of commits: one for each log, and one more for each branch of a log
    /// that forked. Never hashed, never sent (FORMAT.md, 2.6).
    Line(u32)
}

impl Line {
    /// Its place in a list that has one item for each line.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

number! {
    /// Local number of an entity type. Never hashed, never sent (FORMAT.md, 2).
    TypeNumber(u32)
}

number! {
    /// Log sequence number: how many commits arrived in this store before one. Of a place between
    /// commits, how many are before it (FORMAT.md, 2).
    Lsn(u64)
}

impl Lsn {
    /// Before all commits.
    pub const START: Self = Self(0);
    /// Behind all commits that a store can have.
    pub const END: Self = Self(u64::MAX);

    /// The one after it; [`Lsn::END`] has none and stays.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before it; nothing of the first.
    pub const fn before(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// How many commits arrived from `earlier` on and before it; nothing where it is before that
    /// one.
    pub const fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

/// Line and sequence: names a version in this store.
pub type Dot = (Line, Sequence);
