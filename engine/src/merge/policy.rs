//! How what diverged is shown: a policy for each entity type.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Arc;

use super::report::{Conflict, Resolution};
use crate::error::{Error, Result};
use crate::format::hash::{policies_hash, policy_hash};

/// How an entity is shown whose writers had not seen each other (R18). Replicas under equal
/// policies show the same (R19); nothing of it is stored or sent, so it can be changed at any time
/// and never loses a value (R22).
///
/// Given for an entity type with [`Builder::policy`](crate::Builder::policy), or by name with
/// [`Builder::policy_named`](crate::Builder::policy_named). CONFLICTS.md shows what each makes of
/// which situation.
///
/// The first four and `Manual` look at each field; a local write starts from the merge and decides
/// only what it touches (R20). The three that follow look at whole versions: a write starts from
/// the one that is shown, and so decides everything.
/// ```
/// use heirloom::{Engine, Error, Policy};
/// let engine = Engine::builder()
///     .policy("note", Policy::Manual)
///     .policy_named("lamp", "last_write_wins")
///     .in_memory()?;
/// assert_eq!(engine.policy("note"), Policy::Manual);
/// assert_eq!(engine.policy("lamp"), Policy::LastWriteWins);
/// assert_eq!(engine.policy("room"), Policy::Auto);
/// assert!(matches!("newest".parse::<Policy>(), Err(Error::UnknownPolicy(_))));
/// # Ok::<(), heirloom::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Policy {
    /// `auto`: fields that do not overlap merge, each overlapping one takes the last write, a
    /// deletion wins over a concurrent update.
    #[default]
    Auto,
    /// `merge_fields`: shows what `auto` shows, said explicitly.
    MergeFields,
    /// `delete_wins`: shows what `auto` shows, said explicitly.
    DeleteWins,
    /// `update_wins`: like `auto`, but an update wins over a concurrent deletion.
    UpdateWins,
    /// `last_write_wins`: the whole version that was written last, a deletion too.
    LastWriteWins,
    /// `first_write_wins`: the whole version that was written first, a deletion too.
    FirstWriteWins,
    /// `higher_version_wins`: the whole version with the longest line of parents; of several the
    /// last.
    HigherVersionWins,
    /// `manual`: like `auto` until a person decides; listed by
    /// [`Snapshot::queue`](crate::Snapshot::queue) (R21).
    Manual,
    /// A function of the application: see [`custom`](Self::custom).
    Custom(CustomPolicy),
}

/// A policy of the application's own.
#[derive(Clone)]
pub struct CustomPolicy {
    name: Arc<str>,
    version: u32,
    decide: Arc<dyn Fn(&Conflict) -> Resolution + Send + Sync>,
}

impl PartialEq for CustomPolicy {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.version) == (&other.name, other.version)
    }
}

impl Eq for CustomPolicy {}

impl fmt::Debug for CustomPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.name, self.version)
    }
}

/// The head that a policy for whole versions shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whole {
    Last,
    First,
    Highest,
}

impl Policy {
    /// All that have a name of their own.
    const NAMED: [Policy; 8] = [
        Policy::Auto,
        Policy::MergeFields,
        Policy::DeleteWins,
        Policy::UpdateWins,
        Policy::LastWriteWins,
        Policy::FirstWriteWins,
        Policy::HigherVersionWins,
        Policy::Manual,
    ];

    /// A function that says what is shown of a conflict. It is asked wherever something is in
    /// conflict, also when another device asks itself the same, so it must be pure: the same answer
    /// for the same conflict, whatever the order of heads and sides, no clock, no randomness,
    /// nothing from outside. Raise `version` whenever its answers change, so that peers are told.
    ///
    /// With debug assertions it is asked twice, the second time with heads and sides in the other
    /// order, and a difference is [`Error::PolicyFailed`]; so is a panic in it. Neither harms
    /// anybody but who reads this entity.
    ///
    /// ```
    /// use heirloom::{Content, Engine, Patch, Policy, Resolution, Value};
    /// // the longer text stands
    /// let longest = Policy::custom("longest", 1, |conflict| {
    ///     let mut patch = Patch::new();
    ///     for field in &conflict.fields {
    ///         let key =
    ///             |v: &Value| (v.as_str().map_or(0, str::len), v.as_str().map(str::to_owned));
    ///         if let Some(best) = field.sides.iter().map(|s| &s.value).max_by_key(|v| key(v)) {
    ///             patch = patch.set_at(&field.path, best.clone());
    ///         }
    ///     }
    ///     Resolution::Patch(patch)
    /// });
    /// let engine = Engine::builder().policy("note", longest).in_memory()?;
    /// assert_eq!(engine.policy("note").to_string(), "longest");
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn custom(
        name: impl Into<Arc<str>>,
        version: u32,
        decide: impl Fn(&Conflict) -> Resolution + Send + Sync + 'static,
    ) -> Self {
        Policy::Custom(CustomPolicy { name: name.into(), version, decide: Arc::new(decide) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Policy::Auto => "auto",
            Policy::MergeFields => "merge_fields",
            Policy::DeleteWins => "delete_wins",
            Policy::UpdateWins => "update_wins",
            Policy::LastWriteWins => "last_write_wins",
            Policy::FirstWriteWins => "first_write_wins",
            Policy::HigherVersionWins => "higher_version_wins",
            Policy::Manual => "manual",
            Policy::Custom(custom) => &custom.name,
        }
    }

    fn version(&self) -> u32 {
        if let Policy::Custom(custom) = self { custom.version } else { 0 }
    }

    pub(crate) fn whole(&self) -> Option<Whole> {
        match self {
            Policy::LastWriteWins => Some(Whole::Last),
            Policy::FirstWriteWins => Some(Whole::First),
            Policy::HigherVersionWins => Some(Whole::Highest),
            _ => None,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Policy {
    type Err = Error;

    /// One that is not custom, by its name. [`Error::UnknownPolicy`] if there is none.
    fn from_str(name: &str) -> Result<Self> {
        let found = Self::NAMED.into_iter().find(|p| p.name() == name);
        found.ok_or_else(|| Error::UnknownPolicy(name.to_owned()))
    }
}

impl CustomPolicy {
    /// What it says of a conflict. A panic in it, or another answer when asked twice, is an error.
    pub(crate) fn ask(&self, conflict: &Conflict, twice: bool) -> Result<Resolution> {
        let answer = self.ask_once(conflict)?;
        if twice && self.ask_once(&conflict.reversed())? != answer {
            return Err(
                self.failed(conflict, "it answers differently when heads come in another order")
            );
        }
        Ok(answer)
    }

    fn ask_once(&self, conflict: &Conflict) -> Result<Resolution> {
        catch_unwind(AssertUnwindSafe(|| (self.decide)(conflict)))
            .map_err(|_| self.failed(conflict, "it panicked"))
    }

    pub(crate) fn failed(&self, conflict: &Conflict, why: &str) -> Error {
        Error::PolicyFailed {
            policy: self.name.to_string(),
            entity: conflict.entity,
            why: why.to_owned(),
        }
    }
}

/// The policies of an engine, by entity type. For good from its opening on.
#[derive(Clone, Default)]
pub(crate) struct Policies {
    by_type: BTreeMap<String, Policy>,
    /// Whether custom policies are checked to be pure.
    pub(crate) ask_twice: bool,
}

impl Policies {
    /// `named`: types whose policy was given by name, to be found among the eight and `registered`.
    pub(crate) fn new(
        mut by_type: BTreeMap<String, Policy>,
        named: &[(String, String)],
        registered: &[Policy],
    ) -> Result<Self> {
        for (entity_type, name) in named {
            let own = registered.iter().find(|p| p.name() == name).cloned();
            by_type.insert(entity_type.clone(), own.map_or_else(|| name.parse(), Ok)?);
        }
        for custom in by_type.values().chain(registered).filter(|p| matches!(p, Policy::Custom(_)))
        {
            if custom.name().is_empty() || custom.name().parse::<Policy>().is_ok() {
                return Err(Error::invalid(format!(
                    "a custom policy cannot be called {:?}; give it a name of its own",
                    custom.name()
                )));
            }
        }
        for (i, one) in registered.iter().enumerate() {
            if registered[..i].iter().any(|other| other.name() == one.name()) {
                let name = one.name();
                return Err(Error::invalid(format!(
                    "two policies are registered as {name:?}; name them apart"
                )));
            }
        }
        by_type.retain(|_, p| *p != Policy::Auto);
        Ok(Self { by_type, ask_twice: cfg!(debug_assertions) })
    }

    pub(crate) fn of(&self, entity_type: &str) -> &Policy {
        self.by_type.get(entity_type).unwrap_or(&Policy::Auto)
    }

    /// Types with another policy than `auto`.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Policy)> {
        self.by_type.iter().map(|(t, p)| (t.as_str(), p))
    }

    /// Hash over all types with their policies' names and versions; a type under `auto` counts like
    /// one that nobody mentions. Zero if all are so.
    pub(crate) fn fingerprint(&self) -> [u8; 8] {
        if self.by_type.is_empty() {
            return [0; 8];
        }
        policies_hash(self.iter().map(|(t, p)| (t, p.name(), p.version())))
    }

    /// Of one type.
    pub(crate) fn tag(&self, entity_type: &str) -> [u8; 16] {
        let policy = self.of(entity_type);
        policy_hash(policy.name(), policy.version())
    }
}
