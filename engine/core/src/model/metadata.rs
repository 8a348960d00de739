//! What a commit says about itself.

use alloc::string::String;

/// Who made a commit and why; optional, kept in its header, so never pruned. At most 255 and 4,096
/// bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// The person or program that acted; empty if unsaid.
    pub actor: String,
    /// Why; empty if unsaid.
    pub message: String,
}

impl Metadata {
    /// Says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// This metadata with the person or program that acted.
    #[must_use]
    pub fn with_actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// This metadata with the reason for the commit.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// The person or program that acted; empty if unsaid.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// Why; empty if unsaid.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether it says nothing: then a header does not mention it.
    pub fn is_empty(&self) -> bool {
        self.actor.is_empty() && self.message.is_empty()
    }
}
