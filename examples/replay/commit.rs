//! A commit object, and the entity that it becomes.

use heirloom::{Content, EntityId, Timestamp, Value};

use crate::error::{Error, Result};
use crate::oid::Oid;

/// Entity type of git commits.
pub(crate) const COMMIT: &str = "commit";

/// The namespace of commit entities: their id is the UUID v5 of the object id in hex under it.
const NAMESPACE: &[u8; 16] = b"heirloom-commit\0";

/// Longer messages are cut: they are no prose.
const MESSAGE_BYTES: usize = 1 << 20;

/// The entity that stands for a git commit.
pub(crate) fn commit_entity(id: Oid) -> EntityId {
    EntityId::v5(NAMESPACE, id.to_string().as_bytes())
}

/// What a commit object says.
#[derive(Debug, Default)]
pub(crate) struct Commit<'a> {
    /// The tree.
    pub(crate) tree: Option<Oid>,
    parents: Vec<&'a [u8]>,
    author: Person<'a>,
    committer: Person<'a>,
    encoding: Option<&'a [u8]>,
    message: &'a [u8],
}

/// A line `author` or `committer`. What is malformed is absent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Person<'a> {
    name: &'a [u8],
    email: &'a [u8],
    /// Seconds since 1970, also before.
    time: Option<i64>,
    zone: &'a [u8],
}

impl<'a> Commit<'a> {
    /// Reads a raw commit object. Of its form only the tree is demanded.
    pub(crate) fn parse(mut object: &'a [u8]) -> Self {
        let mut commit = Self::default();
        while let Some(end) = object.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&object[..end], &object[end + 1..]);
            object = rest;
            if line.is_empty() {
                break;
            }
            let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
            let (key, value) = (&line[..space], line.get(space + 1..).unwrap_or_default());
            match key {
                b"tree" => commit.tree = Oid::from_hex(value),
                b"parent" => commit.parents.push(value),
                b"author" => commit.author = Person::parse(value),
                b"committer" => commit.committer = Person::parse(value),
                b"encoding" => commit.encoding = Some(value),
                // Signatures and merged tags go on in lines that begin with a space: an empty key.
                _ => {}
            }
        }
        commit.message = object;
        commit
    }

    /// The tree, which every commit has.
    pub(crate) fn tree(&self, id: Oid) -> Result<Oid> {
        self.tree.ok_or_else(|| Error::Git(format!("commit {id} names no tree")))
    }

    /// When its author made it, as far as a log can say so.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.author.time.unwrap_or(0).saturating_mul(1000).max(0))
            .min(Timestamp::MAX)
    }

    /// The fields of its entity.
    pub(crate) fn content(&self, id: Oid) -> Content {
        let parents = self.parents.iter().map(|parent| text_or_bytes(parent)).collect();
        let mut content = Content::new()
            .with("object", id.to_string())
            .with("message", text_or_bytes(cut(self.message)))
            .with("parents", Value::Array(parents));
        if let Some(encoding) = self.encoding {
            content.insert("encoding", text_or_bytes(encoding));
        }
        for (role, person) in [("author", &self.author), ("committer", &self.committer)] {
            content.insert(role, text_or_bytes(person.name));
            content.insert(format!("{role}_email"), text_or_bytes(person.email));
            content.insert(format!("{role}_time"), person.time.map_or(Value::Null, Value::Int));
            content.insert(format!("{role}_zone"), text_or_bytes(person.zone));
        }
        content
    }
}

impl<'a> Person<'a> {
    /// `Name <email> 1234567890 +0100`
    fn parse(line: &'a [u8]) -> Self {
        let Some(close) = line.iter().rposition(|byte| *byte == b'>') else {
            return Self { name: line, ..Self::default() };
        };
        let open = line[..close].iter().position(|byte| *byte == b'<').unwrap_or(close);
        let mut date =
            line[close + 1..].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let time = date.next().and_then(|seconds| std::str::from_utf8(seconds).ok()?.parse().ok());
        Self {
            name: line[..open].trim_ascii_end(),
            email: line.get(open + 1..close).unwrap_or_default(),
            time,
            zone: date.next().unwrap_or_default(),
        }
    }
}

/// At most [`MESSAGE_BYTES`] of it, and no character halved.
fn cut(message: &[u8]) -> &[u8] {
    let mut end = message.len().min(MESSAGE_BYTES);
    while end < message.len() && end > 0 && message[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &message[..end]
}

/// Text when it is UTF-8, else the bytes as they are.
pub(crate) fn text_or_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_commit_with_an_encoding_header_is_read() {
        let object = b"tree 1111111111111111111111111111111111111111\nparent aa\nparent bb\n\
            author J\xf6rg <j@x> -86400 +0100\ncommitter C D <c> 5 -0930\nencoding ISO-8859-1\n\
            gpgsig -----BEGIN PGP SIGNATURE-----\n \n author no\n \
            -----END PGP SIGNATURE-----\n\nsubject\n\nb\xf6dy\n";
        let commit = Commit::parse(object);
        assert_eq!(commit.tree.unwrap().to_string(), "1".repeat(40));
        assert_eq!(commit.wall().as_millis(), 0);
        let content = commit.content(commit.tree.unwrap());
        let expected = [
            ("author", Value::Bytes(b"J\xf6rg".to_vec())),
            ("author_time", Value::Int(-86400)),
            ("author_zone", Value::Text("+0100".to_owned())),
            ("committer", Value::Text("C D".to_owned())),
            ("committer_time", Value::Int(5)),
            ("encoding", Value::Text("ISO-8859-1".to_owned())),
            ("message", Value::Bytes(b"subject\n\nb\xf6dy\n".to_vec())),
            (
                "parents",
                Value::Array(vec![Value::Text("aa".to_owned()), Value::Text("bb".to_owned())]),
            ),
        ];
        for (field, value) in expected {
            assert_eq!(content.get(field), Some(&value), "{field}");
        }
    }

    #[test]
    fn malformed_people_lose_only_what_is_malformed() {
        let person = |line: &'static [u8]| Person::parse(line);
        assert_eq!(person(b"nobody"), Person { name: b"nobody", ..Person::default() });
        assert_eq!(person(b"a <b> x"), Person { name: b"a", email: b"b", time: None, zone: b"" });
        assert_eq!(
            person(b"<> 99999999999999999999 +0"),
            Person { name: b"", email: b"", time: None, zone: b"+0" }
        );
        assert_eq!(
            person(b"a> 7 +0"),
            Person { name: b"a", email: b"", time: Some(7), zone: b"+0" }
        );
    }

    #[test]
    fn a_huge_message_is_cut_between_characters() {
        let message = "\u{e4}".repeat(MESSAGE_BYTES);
        let odd = format!("x{message}");
        assert_eq!(cut(odd.as_bytes()).len(), MESSAGE_BYTES - 1);
        assert!(std::str::from_utf8(cut(odd.as_bytes())).is_ok());
    }
}
