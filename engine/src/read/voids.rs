//! Versions that are void: kept, passed on, without effect, and told (I8, R36).

use heirloom_core::model::Lsn;
use heirloom_core::replica::VoidVersion;

use super::snapshot::Snapshot;
use crate::error::Result;

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
        let one = |arrived| match self.voids_of(Lsn::new(arrived)) {
            Ok(voids) => voids.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        Ok((0..self.commits()?).flat_map(one))
    }

    fn voids_of(&self, lsn: Lsn) -> Result<Vec<VoidVersion>> {
        let view = self.view();
        let record = view.record_uncached(lsn)?;
        let info = view.directory.log(record.line);
        let (log, device) =
            (view.log_id(record.line)?, info.map(|i| i.device.clone()).unwrap_or_default());
        // of a newer level no version can be told from another
        let count = if record.header.is_newer() { 1 } else { record.header.versions.len() };
        let void = |index| {
            let reason = record.void_of(index)?;
            let version = record.writer(log, index).reference;
            Some(VoidVersion::new(version, device.clone(), reason))
        };
        Ok((0..count).filter_map(void).collect())
    }
}
