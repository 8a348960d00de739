//! What does not fit between a serde type and a value, and where.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::fmt;

use serde::{de, ser};

use crate::error::Invalid;
use crate::limits;

/// Why a value cannot be written, or not be read as a type, with the way to the place.
#[derive(Debug, PartialEq)]
pub struct Fault {
    /// From the inside out: each step is added on the way back.
    steps: Vec<Step>,
    why: Why,
}

/// One step from a value to one inside it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// A field of a map, or the variant of an enum.
    Key(String),
    /// An item of a list.
    Item(usize),
}

#[derive(Debug, PartialEq)]
enum Why {
    Says(String),
    Missing,
    TooDeep,
}

impl Fault {
    /// Something is wrong, at no place yet: what, and what to do.
    pub fn new(text: impl Into<String>) -> Self {
        Self { steps: Vec::new(), why: Why::Says(text.into()) }
    }

    pub(super) fn too_deep() -> Self {
        Self { steps: Vec::new(), why: Why::TooDeep }
    }

    /// This fault seen from one level further out.
    pub(super) fn at(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(super) fn at_key(self, key: &str) -> Self {
        self.at(Step::Key(key.to_owned()))
    }

    /// The way to the place, from the outside in.
    pub fn path(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }

    /// Whether a field that must be there is not.
    pub fn is_missing(&self) -> bool {
        self.why == Why::Missing
    }

    /// What is wrong at the place, without the way to it.
    pub fn why(&self) -> String {
        match &self.why {
            Why::Says(text) => text.clone(),
            Why::Missing => "it is missing".into(),
            Why::TooDeep => format!("more than {} levels", limits::DEPTH),
        }
    }
}

/// A path as people read it: `rooms[2].lamp`.
pub fn print_path(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => {
                out.push('.');
                out.push_str(key);
            }
            Step::Item(at) => out.push_str(&format!("[{at}]")),
        }
    }
    out
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.steps.is_empty() {
            write!(f, "field {}: ", print_path(&self.path()))?;
        }
        f.write_str(&self.why())
    }
}

impl core::error::Error for Fault {}

impl ser::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self { steps: vec![Step::Key(field.into())], why: Why::Missing }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        let advice = match expected.starts_with("a borrowed") {
            true => "; owned types only: use String or Vec<u8>",
            false => "",
        };
        Self::new(format!("invalid type: {found}, expected {expected}{advice}"))
    }
}

impl From<Fault> for Invalid {
    fn from(fault: Fault) -> Self {
        match fault.why {
            Why::TooDeep => {
                let limit = limits::DEPTH as u64;
                Invalid::Limit { what: "depth", limit, given: limit + 1 }
            }
            _ => Invalid::Unfit { field: print_path(&fault.path()), why: fault.why() },
        }
    }
}
