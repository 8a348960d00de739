//! What tells a store's file from a copy of it (R34).

use std::fs::{self, Metadata};
use std::path::Path;

use heirloom_core::format::hash::file_fingerprint;

/// What the bytes of a file cannot take along when they are copied.
pub(crate) type Fingerprint = [u8; 16];

/// Of a file on this machine: the machine, the file's number and time of birth as far as the system
/// tells them, and the install id. A file that is renamed, and so stays the same file, keeps it; a
/// copy, one that was restored beside the old one, and one on another machine have others.
pub(crate) fn of_file(path: &Path, install: Option<&[u8]>) -> Option<Fingerprint> {
    let metadata = fs::metadata(path).ok()?;
    let birth =
        metadata.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let birth = birth.map_or([0; 16], |at| at.as_nanos().to_be_bytes());
    Some(file_fingerprint(&[
        &machine(),
        &number(&metadata).to_be_bytes(),
        &birth,
        install.unwrap_or_default(),
    ]))
}

/// Of a store that is no file: the install id alone.
pub(crate) fn of_backend(install: Option<&[u8]>) -> Option<Fingerprint> {
    install.map(|install| file_fingerprint(&[install]))
}

/// What Linux draws when it is installed; nothing where there is none.
fn machine() -> Vec<u8> {
    fs::read("/etc/machine-id").unwrap_or_default()
}

/// The number of the device is left out: it may change whenever the machine starts.
#[cfg(unix)]
fn number(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> u64 {
    0
}
