//! What the device under a folder was written, by what the system counts: a process's own count
//! takes whole pages of the cache for bytes, and a ring that is written in place for more than it
//! is.

use std::path::{Path, PathBuf};

/// The device that a folder lies on.
#[derive(Clone, Debug)]
pub(crate) struct Device(Option<PathBuf>);

impl Device {
    pub(crate) fn of(folder: &Path) -> Self {
        Self(statistics(folder))
    }

    /// Bytes so far, of all processes; 0 where the system does not tell.
    pub(crate) fn written(&self) -> u64 {
        let said = self.0.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let sectors = said.and_then(|said| said.split_whitespace().nth(6)?.parse::<u64>().ok());
        sectors.unwrap_or(0) * 512
    }
}

#[cfg(target_os = "linux")]
fn statistics(folder: &Path) -> Option<PathBuf> {
    use std::os::linux::fs::MetadataExt;
    let device = std::fs::metadata(folder).ok()?.st_dev();
    // as makedev(3) packs them
    let major = (device >> 8 & 0xfff) | (device >> 32 & !0xfff);
    let minor = (device & 0xff) | (device >> 12 & !0xff);
    let path = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
    path.exists().then_some(path)
}

#[cfg(not(target_os = "linux"))]
fn statistics(_: &Path) -> Option<PathBuf> {
    None
}
