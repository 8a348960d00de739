//! Versions that are void: kept, passed on, without effect, and told (I8, R36).

use std::fmt;

use crate::error::Result;
use crate::model::VersionRef;
use crate::snapshot::Snapshot;
use crate::store::VoidReason;

/// A version that breaks a rule, or that this library is too old to understand. All replicas keep
/// it and pass it on; it changes no entity on any of them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct VoidVersion {
    /// The version. Of a commit of a newer level the first: what it holds cannot be told.
    pub version: VersionRef,
    /// Device id of the log it stands in. Until logs are signed, that is who it claims to be by.
    pub device: String,
    /// What is wrong with it.
    pub reason: VoidReason,
}

impl fmt::Display for VoidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "version {} of {} has no effect: {}",
            self.version.sequence, self.device, self.reason
        )
    }
}

impl fmt::Display for VoidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VoidReason::Level => {
                "it is of a newer format; update this device, it is kept until then"
            }
            VoidReason::EntityTwice => "its commit changes one entity twice",
            VoidReason::Time => "its time lies beyond the last one that there is",
            VoidReason::Wall => "its device's clock goes back in it",
            VoidReason::Stamp => "its time does not follow from what it was written on",
            VoidReason::Parent => "it replaces something that is no version of its entity",
            VoidReason::Kind => "it claims to create what is there, or to change what is not",
        })
    }
}

impl Snapshot {
    /// All versions that are void, in the order of arrival, and why. Reads the headers of the whole
    /// history: for a person who looks into a report of a session or of
    /// [`verify`](crate::Engine::verify), not for every day.
    ///
    /// ```
    /// # use heirloom::{Content, Engine};
    /// # let engine = Engine::in_memory()?;
    /// engine.write(|tx| tx.create("lamp", &Content::new()))?;
    /// for void in engine.snapshot()?.voids()? {
    ///     println!("{}", void?); // version 7 of laptop-7f3ac2d1 has no effect: …
    /// }
    /// # assert_eq!(engine.snapshot()?.voids()?.count(), 0);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    pub fn voids(&self) -> Result<impl Iterator<Item = Result<VoidVersion>> + '_> {
        let one = |lsn| match self.voids_of(lsn) {
            Ok(voids) => voids.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        Ok((0..self.commits()?).flat_map(one))
    }

    fn voids_of(&self, lsn: u64) -> Result<Vec<VoidVersion>> {
        let view = self.view();
        let record = view.record_uncached(lsn)?;
        let info = view.directory.log(record.ordinal);
        let (log, device) =
            (view.log_id(record.ordinal)?, info.map(|i| i.device.clone()).unwrap_or_default());
        // of a newer level no version can be told from another
        let count = if record.header.is_newer() { 1 } else { record.header.versions.len() };
        let void = |index| {
            let reason = record.void_of(index)?;
            let version = record.writer(log, index).reference;
            Some(VoidVersion { version, device: device.clone(), reason })
        };
        Ok((0..count).filter_map(void).collect())
    }
}
