//! How what diverged is shown: a policy for each entity type.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

use super::report::{Conflict, Resolution};
use crate::error::{Invalid, Result};
use crate::format::hash::{policies_hash, policy_hash};

/// How an entity is shown whose writers had not seen each other. Replicas under equal policies show
/// the same; no commit tells of it, so it can be changed at any time and never loses a value.
///
/// Given for an entity type with `Builder::policy`, or by name with `Builder::policy_named`.
/// CONFLICTS.md shows what each makes of which situation.
///
/// The first four and `Manual` look at each field; a local write starts from the merge and decides
/// only what it touches. The three that follow look at whole versions: a write starts from the one
/// that is shown, and so decides everything.
///
/// ```
/// use heirloom::{Engine, Invalid, Policy};
/// let engine = Engine::builder()
///     .policy("note", Policy::Manual)
///     .policy_named("lamp", "last_write_wins")
///     .in_memory()?;
/// assert_eq!(engine.policy("note"), Policy::Manual);
/// assert_eq!(engine.policy("lamp"), Policy::LastWriteWins);
/// assert_eq!(engine.policy("room"), Policy::Auto);
/// assert!(matches!("newest".parse::<Policy>(), Err(Invalid::UnknownPolicy(_))));
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
    /// `manual`: like `auto` until a person decides; listed by `Snapshot::queue`.
    Manual,
    /// A function of the application: see [`custom`](Self::custom).
    Custom(CustomPolicy),
}

/// A policy of the application's own: a function with a name and a version. Two are equal if these
/// are.
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
pub enum Whole {
    /// The greatest in the order of writes.
    Last,
    /// The least in the order of writes.
    First,
    /// The one with the longest line of parents; of several the greatest in the order of writes.
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
    /// order, and a difference is `Error::PolicyFailed`; so is a panic in it. Neither harms
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

    /// Its name, as `Builder::policy_named` takes it.
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

    /// Which head it shows, if it looks at whole versions.
    pub fn whole(&self) -> Option<Whole> {
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
    type Err = Invalid;

    /// One that is not custom, by its name. [`Invalid::UnknownPolicy`] if there is none.
    fn from_str(name: &str) -> Result<Self> {
        let found = Self::NAMED.into_iter().find(|p| p.name() == name);
        found.ok_or_else(|| Invalid::UnknownPolicy(name.to_owned()))
    }
}

impl CustomPolicy {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of a conflict. Whoever asks catches its panics.
    pub fn decide(&self, conflict: &Conflict) -> Resolution {
        (self.decide)(conflict)
    }
}

/// The policies of a store, by entity type. They do not change while it is open.
#[derive(Clone, Default)]
pub struct Policies {
    by_type: BTreeMap<String, Policy>,
    /// Whether custom policies are checked to be pure, by asking them twice: [`new`](Self::new)
    /// says so where debug assertions are on.
    pub ask_twice: bool,
}

impl Policies {
    /// Policies by entity type: those given as such, and for the types of `named` those that have
    /// the name, among `registered` and the ones that are not custom.
    ///
    /// [`Invalid::UnknownPolicy`] if none has it. [`Invalid::PolicyName`] if a custom one has no
    /// name or that of one that is not, or two of `registered` have the same.
    pub fn new(
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
                return Err(Invalid::PolicyName(custom.name().to_owned()));
            }
        }
        for (i, one) in registered.iter().enumerate() {
            if registered[..i].iter().any(|other| other.name() == one.name()) {
                return Err(Invalid::PolicyName(one.name().to_owned()));
            }
        }
        by_type.retain(|_, p| *p != Policy::Auto);
        Ok(Self { by_type, ask_twice: cfg!(debug_assertions) })
    }

    /// The policy of an entity type: `auto` unless another was given.
    pub fn of(&self, entity_type: &str) -> &Policy {
        self.by_type.get(entity_type).unwrap_or(&Policy::Auto)
    }

    /// Types with another policy than `auto`, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Policy)> {
        self.by_type.iter().map(|(t, p)| (t.as_str(), p))
    }

    /// Hash over all types with their policies' names and versions; a type under `auto` counts like
    /// one that nobody mentions. Zero if all are so.
    pub fn fingerprint(&self) -> [u8; 8] {
        if self.by_type.is_empty() {
            return [0; 8];
        }
        policies_hash(self.iter().map(|(t, p)| (t, p.name(), p.version())))
    }

    /// Hash of the policy of one type, by which an index knows what it was made under (FORMAT.md,
    /// 2.4).
    pub fn tag(&self, entity_type: &str) -> [u8; 16] {
        let policy = self.of(entity_type);
        policy_hash(policy.name(), policy.version())
    }
}
