//! Why something that was written has no effect.

use core::fmt;

/// Why a version or a commit is void (FORMAT.md, 1.10).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum VoidReason {
    /// Of a newer format level.
    Level = 1,
    /// Two versions of one entity.
    EntityTwice = 2,
    /// A stamp beyond the last time.
    Time = 3,
    /// A wall before its predecessor's.
    Wall = 4,
    /// Not the stamp that follows from wall and parents.
    Stamp = 5,
    /// A parent that is none, or not in order.
    Parent = 6,
    /// Kind, parents and type do not fit together.
    Kind = 7,
}

impl VoidReason {
    /// The reason that a byte stands for (FORMAT.md, 1.10).
    pub fn from_byte(byte: u8) -> Option<Self> {
        use VoidReason::*;
        [Level, EntityTwice, Time, Wall, Stamp, Parent, Kind].into_iter().find(|v| *v as u8 == byte)
    }
}

impl fmt::Display for VoidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VoidReason::Level => {
                "it is of a newer format; update this device, it is kept until then"
            }
            VoidReason::EntityTwice => "its commit changes one entity twice",
            VoidReason::Time => "its time lies beyond the last one that there is",
            VoidReason::Wall => "its device's clock goes back in it",
            VoidReason::Stamp => "its time does not follow from what it was written on",
            VoidReason::Parent => "it replaces something that is no version of its entity",
            VoidReason::Kind => "it claims to create what is there, or to change what is not",
        })
    }
}
