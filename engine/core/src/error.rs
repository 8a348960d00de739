//! What a caller gave that cannot be used as it is.

use alloc::string::String;

/// Result with [`Invalid`].
pub type Result<T, E = Invalid> = core::result::Result<T, E>;

/// The caller gave something that cannot be, and nothing came of it: what it was, and what to do.
///
/// No other party is ever at fault: bytes that cannot be read are
/// [`Malformed`](crate::bytes::Malformed).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Text that does not say what it should.
    #[error("{text:?} is not {what}: {why}")]
    Text {
        /// What it should be, with its article.
        what: &'static str,
        /// The text.
        text: String,
        /// What is wrong with it, and where.
        why: String,
    },
    /// A device needs another name.
    #[error("{name:?} cannot name a device: use 1 to {most} printable ASCII characters")]
    Device {
        /// The name.
        name: String,
        /// The most characters it may have.
        most: usize,
    },
    /// An entity type is text of 1 to 255 bytes.
    #[error(
        "{0:?} is no entity type: use 1 to {most} bytes of text",
        most = crate::limits::TYPE
    )]
    EntityType(String),
    /// A time that no version can have.
    #[error("{millis} ms from 1970 lies outside the years 0000 to 9999")]
    Time {
        /// Milliseconds from 1970.
        millis: i64,
    },
    /// A field that no entity can have, so that nothing could be found in its index.
    #[error(
        "no entity of type {entity_type:?} can have a field {field:?}: a type has 1 to {ty} bytes, \
         a path 1 to {depth} keys of at most {key} bytes",
        ty = crate::limits::TYPE,
        depth = crate::limits::DEPTH,
        key = crate::limits::KEY
    )]
    Field {
        /// The entity type.
        entity_type: String,
        /// The keys of the path, joined by dots.
        field: String,
    },
    /// A path without a key.
    #[error("a path needs at least one key: name the field")]
    EmptyPath,
    /// A patch that sets a path twice, or one and another below it.
    #[error("a patch sets {above} and {below}, one within the other or twice: leave one out")]
    SetTwice {
        /// The path that contains the other, its keys joined by dots.
        above: String,
        /// The other.
        below: String,
    },
    /// A path leads into a variant or an atomic map, which is one value: set that as a whole.
    #[error("{path} leads into {value}, which is one value; set {value} as a whole")]
    Inside {
        /// The path, its keys joined by dots.
        path: String,
        /// Where the value stands that it leads into.
        value: String,
    },
    /// A limit of the format would be broken (FORMAT.md, 1.12); write less at once.
    #[error("{what}: {given} exceeds the format's limit of {limit}; {}", advice(what))]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The most there may be.
        limit: u64,
        /// What was given.
        given: u64,
    },
    /// A type does not fit into values, or a value does not fit the type that it is read as.
    #[error("{}{why}", place(field))]
    Unfit {
        /// The field, as people write its path: `rooms[2].lamp`. Empty where it is no single one.
        field: String,
        /// What is wrong there, and what to do.
        why: String,
    },
    /// Only null, bools, numbers, times, text and bytes have a place in the order of an index.
    #[error(
        "an array, a map or a variant has no place in the order of an index; ask for a value \
             within it"
    )]
    Unordered,
    /// No policy has this name.
    #[error(
        "no policy is called {0:?}; use auto, merge_fields, delete_wins, update_wins, \
         last_write_wins, first_write_wins, higher_version_wins, manual, or register a custom one \
         under that name"
    )]
    UnknownPolicy(String),
    /// A custom policy needs a name of its own.
    #[error("a custom policy cannot be called {0:?}; give it a name that no other policy has")]
    PolicyName(String),
}

fn advice(what: &str) -> &'static str {
    match what {
        "depth" => "nest less deeply",
        "bytes of a key" | "bytes of the actor" | "bytes of the message" => "shorten it",
        "bytes of a version" => "spread the content over several entities",
        _ => "write less at once",
    }
}

fn place(field: &str) -> String {
    if field.is_empty() { String::new() } else { alloc::format!("field {field}: ") }
}

impl Invalid {
    /// Text that is not `what`.
    pub fn text(what: &'static str, text: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Text { what, text: text.into(), why: why.into() }
    }

    /// Ok unless more is given than `limit` of `what`.
    pub fn check_limit(what: &'static str, limit: u64, given: usize) -> Result<()> {
        let given = given as u64;
        if given > limit { Err(Self::Limit { what, limit, given }) } else { Ok(()) }
    }
}
