//! What verifying found: figures, and each damaged place.

use heirloom_core::model::EntityId;

use crate::error::{Error, Result, Table};

/// A store where everything is damaged must not fill the memory.
const PROBLEMS: usize = 10_000;

/// What [`Engine::verify`](crate::Engine::verify) found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// Commits that were read.
    pub commits: u64,
    /// Versions in them.
    pub versions: u64,
    /// Entities with heads.
    pub entities: u64,
    /// Versions that are void, and commits of newer levels, which count as one: no damage, but
    /// without effect.
    pub voids: u64,
    /// Commits whose bodies never verified here: no damage, but their contents are missing.
    pub unverified: u64,
    /// Trees of the file that were broken and that [`repair`](crate::Engine::repair) put out of the
    /// way: no damage, but they take room until [`compact_to`](crate::Engine::compact_to) leaves
    /// them behind.
    pub set_aside: u64,
    /// Each damaged place, the first 10,000.
    pub problems: Vec<Problem>,
    /// How many there are beyond those.
    pub more_problems: u64,
}

/// A damaged place.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The table.
    pub table: Table,
    /// The key, readable.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}: {}", self.table, self.key, self.what)
    }
}

impl Problem {
    /// The entity whose row is damaged, where the table has rows of entities.
    pub fn entity(&self) -> Option<EntityId> {
        if !self.table.is_of_entities() {
            return None;
        }
        let digits: Vec<u8> = self.key.bytes().filter(|b| *b != b'-').collect();
        let id = std::str::from_utf8(digits.last_chunk::<32>()?).ok()?;
        u128::from_str_radix(id, 16).ok().map(|id| EntityId::from_bytes(id.to_be_bytes()))
    }
}

impl Verification {
    /// Whether nothing is damaged.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn problem(
        &mut self,
        table: Table,
        key: impl std::fmt::Display,
        what: impl Into<String>,
    ) {
        self.push(Problem { table, key: key.to_string(), what: what.into() });
    }

    fn push(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS {
            self.problems.push(problem);
        } else {
            self.more_problems += 1;
        }
    }

    /// Notes a damaged place and goes on; other errors end the walk.
    pub(crate) fn note<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { table, key, what }) => {
                self.push(Problem { table, key, what });
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}
