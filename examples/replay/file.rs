//! A path of the repository as an entity.

use heirloom::{Content, EntityId, Value};

use crate::commit::text_or_bytes;
use crate::error::{Error, Result};
use crate::tree::Entry;

/// Entity type of paths.
pub(crate) const FILE: &str = "file";

/// The namespace of file entities: their id is the UUID v5 of the path's bytes under it.
const NAMESPACE: &[u8; 16] = b"heirloom-file\0\0\0";

/// The entity that stands for a path.
pub(crate) fn file_entity(path: &[u8]) -> EntityId {
    EntityId::v5(NAMESPACE, path)
}

/// The fields of a file: `size` is absent for a submodule and where the blob is not in the
/// repository, `bytes` are its contents if they are taken along.
pub(crate) fn file_content(
    path: &[u8],
    entry: Entry,
    size: Option<u64>,
    bytes: Option<&[u8]>,
) -> Content {
    let mut content = Content::new().with("path", text_or_bytes(path));
    content.insert("mode", mode_text(entry));
    content.insert("blob", entry.oid.to_string());
    if let Some(size) = size {
        content.insert("size", Value::Int(i64::try_from(size).unwrap_or(i64::MAX)));
    }
    if let Some(bytes) = bytes {
        content.insert("contents", text_or_bytes(bytes));
    }
    content
}

/// The mode as git prints it.
pub(crate) fn mode_text(entry: Entry) -> String {
    format!("{:06o}", entry.mode)
}

/// Mode and object as git prints them: what the checks compare.
pub(crate) type Stand = (String, String);

/// What a tree has at a path.
pub(crate) fn stand_of(entry: Entry) -> Stand {
    (mode_text(entry), entry.oid.to_string())
}

/// What the fields of a file entity say, with its path. `field` reads one.
pub(crate) fn read_file(
    mut field: impl FnMut(&str) -> Result<Option<Value>>,
) -> Result<(Vec<u8>, Stand)> {
    let path = match field("path")? {
        Some(Value::Text(text)) => text.into_bytes(),
        Some(Value::Bytes(bytes)) => bytes,
        _ => return Err(no_file("path")),
    };
    let mut text = |name: &'static str| match field(name)? {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(no_file(name)),
    };
    Ok((path, (text("mode")?, text("blob")?)))
}

fn no_file(field: &str) -> Error {
    Error::OtherHistory(format!(
        "a file entity has no {field}: another program wrote into this store"
    ))
}
