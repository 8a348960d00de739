//! What a commit says about itself.

/// Who made a commit and why; optional, kept in its header, so never pruned. At most 255 and 4,096
/// bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    pub(crate) actor: String,
    pub(crate) message: String,
}

impl Metadata {
    /// Says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The person or program that acted.
    #[must_use]
    pub fn with_actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// Why.
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

    pub(crate) fn is_empty(&self) -> bool {
        self.actor.is_empty() && self.message.is_empty()
    }
}
