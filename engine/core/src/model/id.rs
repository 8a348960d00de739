//! Names of things, each a type of its own so that they cannot be mixed up.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use crate::error::{Invalid, Result};

macro_rules! byte_name {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The name with these bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes, as they are hashed and sent.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

macro_rules! hex_name {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        byte_name!($(#[$doc])* $name, $len);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    };
}

byte_name!(
    /// Name of an entity: a UUID, version 7 unless the application chose otherwise.
    EntityId, 16
);
hex_name!(
    /// Name of a dataset: devices sync only within one. Derived from a name or random.
    DatasetId, 16
);
hex_name!(
    /// Name of a log, the chain of commits of one device: hash of its genesis.
    LogId, 16
);
hex_name!(
    /// Name of a store among those that it syncs with, drawn at its first session; told to nobody
    /// else and never part of the data.
    NodeId, 16
);
hex_name!(
    /// Hash after a commit. It *is* the commit: it covers its header, all before it, and all
    /// resulting states.
    Chain, 32
);
hex_name!(
    /// First 16 bytes of a [`Chain`], enough to refer to a commit.
    ChainPrefix, 16
);
hex_name!(
    /// Hash over the ends of all logs: equal log roots mean equal logs, heads and merges.
    LogRoot, 32
);
hex_name!(
    /// Sum over the heads of all entities (FORMAT.md, 1.8). It follows from the logs: where stores
    /// that understand the same levels have equal logs and other digests, one of them is at fault.
    StateDigest, 32
);

impl EntityId {
    /// The id that `name` has in `namespace` (UUID v5): the same on every device.
    pub fn v5(namespace: &[u8; 16], name: &[u8]) -> Self {
        Self(uuid::Uuid::new_v5(&uuid::Uuid::from_bytes(*namespace), name).into_bytes())
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for EntityId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        uuid::Uuid::parse_str(text)
            .map(|u| Self(u.into_bytes()))
            .map_err(|e| Invalid::text("an entity id", text, e.to_string()))
    }
}

impl DatasetId {
    /// Stands in the genesis of a log that never leaves its store.
    pub const NONE: Self = Self([0; 16]);
}

/// A dataset, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dataset {
    /// Its id.
    pub id: DatasetId,
    /// What people call it, where an application gave that name; of another store what that says.
    pub name: Option<String>,
}

impl From<DatasetId> for Dataset {
    fn from(id: DatasetId) -> Self {
        Self { id, name: None }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name:?} ({})", self.id),
            None => self.id.fmt(f),
        }
    }
}

impl Chain {
    /// Its first 16 bytes.
    pub fn prefix(&self) -> ChainPrefix {
        let mut out = [0; 16];
        out.copy_from_slice(&self.0[..16]);
        ChainPrefix(out)
    }
}

impl StateDigest {
    /// The digest where there are no heads.
    pub const ZERO: Self = Self([0; 32]);

    /// Adds the term of one head, modulo 2^256, most significant byte first. See
    /// [`head_term`](crate::format::hash::head_term).
    pub fn add(&mut self, term: &[u8; 32]) {
        let mut carry = 0u16;
        for (a, b) in self.0.iter_mut().zip(term).rev() {
            let sum = u16::from(*a) + u16::from(*b) + carry;
            *a = sum as u8;
            carry = sum >> 8;
        }
    }

    /// Takes off the term of a head that is none any more, modulo 2^256: undoes
    /// [`add`](Self::add).
    pub fn subtract(&mut self, term: &[u8; 32]) {
        let mut borrow = 0i16;
        for (a, b) in self.0.iter_mut().zip(term).rev() {
            let difference = i16::from(*a) - i16::from(*b) - borrow;
            *a = difference as u8;
            borrow = i16::from(difference < 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_subtraction_undoes_addition() {
        let (a, b) = ([0xff; 32], *blake3::hash(b"x").as_bytes());
        let mut digest = StateDigest::ZERO;
        digest.add(&a);
        digest.add(&b);
        digest.subtract(&a);
        assert_eq!(digest.as_bytes(), &b);
        digest.subtract(&b);
        assert_eq!(digest, StateDigest::ZERO);
    }

    #[test]
    fn entity_id_text_round_trips_and_bad_text_is_an_error() {
        let id = EntityId::v5(&[7; 16], b"lamp");
        assert_eq!(id.to_string().parse::<EntityId>().unwrap(), id);
        assert!("no-uuid".parse::<EntityId>().is_err());
    }
}
