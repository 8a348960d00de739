//! What a replay ends with, for people and as flat JSON.

use std::path::Path;
use std::{fmt, io};

use serde::Serialize;

use crate::error::{Doing, Result};

/// What was replayed, how fast, and whether it is true. Bytes are bytes, times are seconds, rates
/// are per second.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The directory that was given.
    pub repository: String,
    /// The history ends at the boundary of a shallow clone.
    pub shallow: bool,
    /// A file gives some commits other parents than they name.
    pub grafted: bool,
    /// A filter left objects out when it was cloned.
    pub partial: bool,
    /// Commits in the repository.
    pub commits: u64,
    /// Of these, brought in by this run.
    pub commits_new: u64,
    /// Commits without parents.
    pub roots: u64,
    /// Commits that refs name.
    pub tips: u64,
    /// Entities in each store at the end.
    pub entities: u64,
    /// Versions that this run brought in.
    pub versions: u64,
    /// Versions in each store at the end, edits of step 3 included.
    pub versions_total: u64,
    /// Device logs that the graph was cut into.
    pub devices: u64,
    /// File versions with several parents, of this run.
    pub merge_versions: u64,
    /// Deletions, of this run.
    pub tombstones: u64,
    /// File versions of this run without size and contents: the blob is not in the repository.
    pub versions_without_blob: u64,
    /// Entities in conflict after the import: branches that nobody merged.
    pub conflicts_imported: u64,
    /// Edits made while the nodes were apart.
    pub edits: u64,
    /// Conflicts that these made.
    pub conflicts_made: u64,
    /// Of these, settled by the last write.
    pub settled_by_last_write: u64,
    /// Of these, settled by a deletion.
    pub settled_by_deletion: u64,
    /// Files edited on several nodes that merged without conflict.
    pub merged_without_conflict: u64,
    /// Commits compared with `git diff-tree`.
    pub commits_checked: u64,
    /// Trees compared with `git ls-tree`.
    pub trees_checked: u64,
    /// All these commits change here what git lists.
    pub commits_equal: bool,
    /// All these trees are here what git lists.
    pub trees_equal: bool,
    /// The offline edits settled as they should.
    pub edits_settled: bool,
    /// The three nodes have equal log roots, digests and contents.
    pub nodes_equal: bool,
    /// Each node's `verify` found nothing.
    pub verify_clean: bool,
    /// How much differs.
    pub differences: u64,
    /// The first differences, in words; not in the JSON, which is flat.
    #[serde(skip)]
    pub findings: Vec<String>,
    /// Time spent in git while bringing in.
    pub git_seconds: f64,
    /// Time spent in the engine while bringing in.
    pub ingest_seconds: f64,
    /// Versions brought in per second of that.
    pub ingest_versions_per_s: f64,
    /// Time of the two syncs of step 2.
    pub sync_seconds: f64,
    /// Versions through these syncs per second.
    pub sync_versions_per_s: f64,
    /// Bytes that crossed the loopback from the first node to the second, in both directions, lost
    /// ones included.
    pub wire_bytes: u64,
    /// Bytes from the second node to the third, where nothing was cut.
    pub wire_bytes_uncut: u64,
    /// The commits that the second node lacked, canonical and uncompressed.
    pub raw_bytes: u64,
    /// Size of the third node's file after step 2.
    pub disk_bytes: u64,
    /// Bytes on the wire per version carried.
    pub wire_bytes_per_version: f64,
    /// Bytes on disk per version.
    pub disk_bytes_per_version: f64,
    /// Times that the connection was cut and the sync resumed.
    pub resumes: u64,
    /// Round trips of step 2.
    pub round_trips: u64,
    /// Syncs of step 3 until all were equal.
    pub ring_syncs: u64,
    /// Most memory that the process had until all was brought in; 0 where the system does not say.
    pub import_peak_rss_bytes: u64,
    /// Most memory that it had until all three nodes held it.
    pub sync_peak_rss_bytes: u64,
    /// Most memory that it ever had.
    pub peak_rss_bytes: u64,
    /// Time of the checks.
    pub check_seconds: f64,
    /// Time of everything.
    pub seconds: f64,
}

impl Summary {
    /// Is everything true that was checked?
    pub fn is_verified(&self) -> bool {
        self.commits_equal
            && self.trees_equal
            && self.edits_settled
            && self.nodes_equal
            && self.verify_clean
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  {} · replayed", self.repository)?;
        for (found, what) in [
            (self.shallow, ", from the boundary of a shallow clone on"),
            (self.grafted, ", with the parents that info/grafts names"),
            (self.partial, ", as far as a partial clone holds it"),
        ] {
            f.write_str(if found { what } else { "" })?;
        }
        writeln!(f, "\n")?;
        let mut row = |name: &str, text: String| writeln!(f, "  {name:<12}{text}");
        row(
            "history",
            format!(
                "{} commits ({} new), {} roots, {} tips, on {} devices",
                count(self.commits),
                count(self.commits_new),
                count(self.roots),
                count(self.tips),
                count(self.devices)
            ),
        )?;
        row(
            "versions",
            format!(
                "{} brought in: {} merges, {} tombstones; {} entities, {} in conflict",
                count(self.versions),
                count(self.merge_versions),
                count(self.tombstones),
                count(self.entities),
                count(self.conflicts_imported)
            ),
        )?;
        if self.versions_without_blob > 0 {
            let versions = count(self.versions_without_blob);
            let damaged = ", and this is no partial clone: `git fsck` tells more";
            let damaged = if self.partial { "" } else { damaged };
            let what = format!("size and contents of {versions} versions: blobs not here{damaged}");
            row("left out", what)?;
        }
        row(
            "brought in",
            format!(
                "{} versions/s in {}, besides {} in git",
                count(self.ingest_versions_per_s as u64),
                seconds(self.ingest_seconds),
                seconds(self.git_seconds)
            ),
        )?;
        row(
            "synced",
            format!(
                "{} versions/s to two nodes in {}, {} round trips, {} resumes after cuts",
                count(self.sync_versions_per_s as u64),
                seconds(self.sync_seconds),
                self.round_trips,
                self.resumes
            ),
        )?;
        row(
            "bytes",
            format!(
                "{} on the wire ({:.0} a version; {} uncompressed), {} on disk ({:.0} a version)",
                bytes(self.wire_bytes),
                self.wire_bytes_per_version,
                bytes(self.raw_bytes),
                bytes(self.disk_bytes),
                self.disk_bytes_per_version
            ),
        )?;
        row(
            "apart",
            format!(
                "{} edits offline made {} conflicts: {} to the last write, {} to a deletion; {} \
                 files merged; {} syncs",
                self.edits,
                self.conflicts_made,
                self.settled_by_last_write,
                self.settled_by_deletion,
                self.merged_without_conflict,
                self.ring_syncs
            ),
        )?;
        row(
            "cost",
            format!(
                "{} of memory at most to bring in, {} to sync, {} to check; {} in all",
                bytes(self.import_peak_rss_bytes),
                bytes(self.sync_peak_rss_bytes),
                bytes(self.peak_rss_bytes),
                seconds(self.seconds)
            ),
        )?;
        row(
            "checked",
            format!(
                "{} commits {}, {} trees {}, three nodes {}, verify {}, in {}",
                count(self.commits_checked),
                equal(self.commits_equal),
                count(self.trees_checked),
                equal(self.trees_equal),
                equal(self.nodes_equal),
                if self.verify_clean { "clean" } else { "NOT CLEAN" },
                seconds(self.check_seconds)
            ),
        )?;
        for finding in &self.findings {
            writeln!(f, "  {:<12}{finding}", "differs")?;
        }
        match (self.is_verified(), self.commits) {
            (false, _) => writeln!(f, "\n  NOT verified\n"),
            (true, 0) => writeln!(f, "\n  nothing to replay: the repository has no commits\n"),
            (true, _) => writeln!(f, "\n  verified ✓\n"),
        }
    }
}

fn equal(equal: bool) -> &'static str {
    if equal { "equal" } else { "NOT EQUAL" }
}

/// `1,234,567`
fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1_048_576.0),
    }
}

fn seconds(s: f64) -> String {
    if s < 1.0 { format!("{:.0} ms", s * 1000.0) } else { format!("{s:.1} s") }
}

/// `of / by`, or 0 where there is nothing to divide by.
pub(crate) fn rate(of: u64, by: f64) -> f64 {
    if by > 0.0 { of as f64 / by } else { 0.0 }
}

/// Writes the summary as one flat object.
pub(crate) fn write_json(summary: &Summary, path: &Path) -> Result<()> {
    let mut json =
        serde_json::to_vec_pretty(summary).map_err(io::Error::from).doing("writing --json")?;
    json.push(b'\n');
    std::fs::write(path, json).doing("writing --json")
}

/// The most memory that this process ever had, as Linux tells it; else 0.
pub(crate) fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([12, 20_480, 20 << 20].map(bytes), ["12 B", "20.0 KiB", "20.0 MiB"]);
        assert_eq!([0.25, 12.34].map(seconds), ["250 ms", "12.3 s"]);
    }

    #[test]
    fn one_flag_down_is_not_verified() {
        let all = Summary {
            commits_equal: true,
            trees_equal: true,
            edits_settled: true,
            nodes_equal: true,
            verify_clean: true,
            ..Summary::default()
        };
        assert!(all.is_verified());
        for turn in 0..5 {
            let mut one = all.clone();
            *[
                &mut one.commits_equal,
                &mut one.trees_equal,
                &mut one.edits_settled,
                &mut one.nodes_equal,
                &mut one.verify_clean,
            ][turn] = false;
            assert!(!one.is_verified() && one.to_string().contains("NOT verified"));
        }
    }
}
