//! The whole history of a git repository, replayed through heirloom and checked against git.
//!
//! It is taken as it is found: a shallow clone from its boundary on, a partial clone without the
//! contents that are not there, grafts as git follows them, replacements as if there were none.
//! Nothing is fetched.
//!
//! 1. `bring_in`: each path is an entity, each git commit a commit of one of as few devices as the
//!    graph allows.
//! 2. `travel`: a second node pulls it over TCP, cut several times; a third pulls from the second.
//! 3. `offline`: all three edit the same files while they are apart, then sync in a ring until they
//!    are equal.
//! 4. `check`: on the third node the cuts of the commits are git's trees, and what changes between
//!    them is what git lists; the three nodes are equal to the last byte, and clean.

mod args;
mod bring_in;
mod check;
mod commit;
mod error;
mod file;
mod git;
mod graph;
mod link;
mod logs;
mod nodes;
mod objects;
mod offline;
mod oid;
mod progress;
#[cfg(test)]
#[path = "../tests/repo/mod.rs"]
mod repo;
mod sample;
mod summary;
mod travel;
mod tree;

use std::time::{Duration, Instant};

pub use args::{Check, Options, USAGE};
use check::{Clocks, Findings};
pub use error::{Error, Result};
use heirloom::Engine;
pub use summary::Summary;
use summary::rate;

/// Replays a repository. What the checks find stands in the summary, see [`Summary::is_verified`];
/// a repository without commits gives a summary of zeros.
///
/// # Errors
/// No repository, no git, a store or a sync that failed: see [`Error`].
pub fn run(options: &Options) -> Result<Summary> {
    let start = Instant::now();
    let repository = git::Repository::open(&options.repository)?;
    let graph = graph::Graph::read(&repository)?;
    let listing = start.elapsed();
    let nodes = nodes::Nodes::open(options.store.as_deref())?;
    let mut replay = Replay {
        options,
        repository,
        sample: sample::Sample::of(&graph, options.check),
        graph,
        nodes,
        summary: Summary::default(),
    };
    let imported = replay.bring_in(listing)?;
    replay.travel()?;
    replay.go_offline()?;
    replay.check(&imported)?;
    let summary = replay.end(start.elapsed())?;
    if let Some(path) = &options.json {
        summary::write_json(&summary, path)?;
    }
    Ok(summary)
}

/// A replay under way: each step fills in its part of the summary.
struct Replay<'a> {
    options: &'a Options,
    repository: git::Repository,
    graph: graph::Graph,
    sample: sample::Sample,
    nodes: nodes::Nodes,
    summary: Summary,
}

impl Replay<'_> {
    fn first(&self) -> &Engine {
        &self.nodes.engines()[0]
    }

    fn bring_in(&mut self, listing: Duration) -> Result<bring_in::Imported> {
        let keep = |place| self.sample.needs_clock(place);
        let how = (self.options.contents, bring_in::Limits::FORMAT);
        let imported = bring_in::bring_in(self.first(), &self.repository, &self.graph, how, keep)?;
        let conflicts_imported = offline::conflicts(self.first())?;
        let summary = &mut self.summary;
        summary.commits_new = imported.commits;
        summary.versions = imported.versions;
        summary.merge_versions = imported.merge_versions;
        summary.tombstones = imported.tombstones;
        summary.versions_without_blob = imported.versions_without_blob;
        summary.devices = imported.devices;
        summary.conflicts_imported = conflicts_imported;
        summary.import_peak_rss_bytes = summary::peak_rss_bytes();
        summary.git_seconds = (listing + imported.git).as_secs_f64();
        summary.ingest_seconds = imported.ingest.as_secs_f64();
        summary.ingest_versions_per_s = rate(imported.versions, summary.ingest_seconds);
        Ok(imported)
    }

    fn travel(&mut self) -> Result<()> {
        let [first, second, third] = self.nodes.engines() else { return Ok(()) };
        let (to_second, to_third) = (travel::cargo(second, first)?, travel::cargo(third, first)?);
        let start = Instant::now();
        let rough = travel::pull_with_cuts(second, first, to_second.raw_bytes, self.options.seed)?;
        let smooth = travel::pull(third, second)?;
        let took = start.elapsed().as_secs_f64();
        let disk_bytes = self.nodes.file_bytes(nodes::LAST)?;
        let summary = &mut self.summary;
        summary.raw_bytes = to_second.raw_bytes;
        summary.sync_seconds = took;
        summary.sync_versions_per_s = rate(to_second.versions + to_third.versions, took);
        summary.wire_bytes = rough.wire_bytes;
        summary.wire_bytes_uncut = smooth.wire_bytes;
        summary.wire_bytes_per_version = rate(rough.wire_bytes, to_second.versions as f64);
        summary.resumes = rough.resumes;
        summary.round_trips = rough.round_trips + smooth.round_trips;
        summary.disk_bytes = disk_bytes;
        summary.sync_peak_rss_bytes = summary::peak_rss_bytes();
        Ok(())
    }

    fn go_offline(&mut self) -> Result<()> {
        let files = offline::choose(self.first())?;
        let edits = offline::edit(self.nodes.engines(), &files)?;
        let ring_syncs = travel::ring(self.nodes.engines())?;
        let mut findings = Findings::default();
        let settled = offline::settle(self.first(), &files, edits, &mut findings)?;
        let summary = &mut self.summary;
        summary.edits = settled.edits;
        summary.conflicts_made = settled.conflicts;
        summary.settled_by_last_write = settled.by_last_write;
        summary.settled_by_deletion = settled.by_deletion;
        summary.merged_without_conflict = settled.merged;
        summary.ring_syncs = ring_syncs;
        summary.edits_settled = findings.count == 0;
        summary.differences += findings.count;
        summary.findings.append(&mut findings.first);
        Ok(())
    }

    fn check(&mut self, imported: &bring_in::Imported) -> Result<()> {
        let start = Instant::now();
        let engines = self.nodes.engines();
        let snapshot = engines[nodes::LAST].snapshot()?;
        let clocks = Clocks::new(&self.graph, &snapshot, &imported.clocks);
        let mut found = |check: &mut dyn FnMut(&mut Findings) -> Result<()>| {
            let mut findings = Findings::default();
            check(&mut findings)?;
            self.summary.differences += findings.count;
            self.summary.findings.append(&mut findings.first);
            Ok::<bool, Error>(findings.count == 0)
        };
        let steps = found(&mut |findings| {
            check::check_steps(&self.repository, &clocks, &self.sample, findings)
        })?;
        let trees = found(&mut |findings| {
            check::check_trees(&self.repository, &clocks, &self.sample, findings)
        })?;
        let nodes = found(&mut |findings| check::check_nodes(engines, findings))?;
        drop(snapshot);
        let mut totals = check::Totals::default();
        let verify = found(&mut |findings| {
            totals = check::check_verify(engines, findings)?;
            Ok(())
        })?;
        let summary = &mut self.summary;
        (summary.commits_equal, summary.trees_equal) = (steps, trees);
        (summary.nodes_equal, summary.verify_clean) = (nodes, verify);
        summary.commits_checked = self.sample.steps.len() as u64;
        summary.trees_checked = self.sample.trees.len() as u64;
        summary.versions_total = totals.versions;
        summary.entities = totals.entities;
        summary.check_seconds = start.elapsed().as_secs_f64();
        Ok(())
    }

    fn end(self, elapsed: Duration) -> Result<Summary> {
        let (graph, mut summary) = (&self.graph, self.summary);
        let path = self.repository.path();
        summary.repository =
            path.canonicalize().unwrap_or(path.to_path_buf()).display().to_string();
        summary.shallow = self.repository.is_shallow()?;
        summary.grafted = self.repository.is_grafted()?;
        summary.partial = self.repository.is_partial()?;
        summary.commits = graph.len() as u64;
        summary.roots = graph.roots().count() as u64;
        summary.tips = graph.tips().len() as u64;
        summary.disk_bytes_per_version =
            rate(summary.disk_bytes, summary.versions_total.saturating_sub(summary.edits) as f64);
        summary.peak_rss_bytes = summary::peak_rss_bytes();
        summary.seconds = elapsed.as_secs_f64();
        Ok(summary)
    }
}
