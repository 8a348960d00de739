//! Step 1: every git commit becomes a commit here, written by the device whose log it extends.
//!
//! What a commit writes: for each path on which its tree differs from a parent's, a version whose
//! parents are all heads that the path has in the commit's past, if these are several or show
//! something else than the tree. So after it each path that it touched has one head, and any other
//! path only heads that agree: the cut of the commit is its tree. (git's own list of changes would
//! not do: a merge that takes the other side's older file is in no list.)

use std::collections::HashMap;
use std::time::{Duration, Instant};

use heirloom::{
    Authored, Clock, CommitRef, Content, Device, Draft, Engine, EntityId, Importer, LogId,
    Snapshot, Timestamp, Value, Version, VersionRef,
};

use crate::commit::{COMMIT, Commit, commit_entity};
use crate::error::{Error, Result};
use crate::file::{FILE, file_content, file_entity};
use crate::git::Repository;
use crate::graph::{Graph, Place};
use crate::logs::{Logs, device_name};
use crate::objects::Objects;
use crate::oid::Oid;
use crate::progress;
use crate::tree::{Change, Changes, Entry, Trees};

/// Contents of larger files are left out.
const CONTENTS_BYTES: u64 = 64 << 10;

/// A git commit beyond one of these goes into several commits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    versions: usize,
    bytes: usize,
}

impl Limits {
    /// Somewhat below the format's limits, so that what surrounds the contents fits too.
    pub(crate) const FORMAT: Self = Self { versions: 60_000, bytes: 40 << 20 };
}

/// What a file takes besides its contents, at most or nearly so.
const SURROUNDINGS: usize = 512;

/// Paths whose blobs are asked for together. With contents of the greatest size they fit what the
/// limits leave free.
const TOGETHER: usize = 256;

/// What was brought in.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    /// Git commits that were not here before.
    pub(crate) commits: u64,
    /// Versions that these wrote.
    pub(crate) versions: u64,
    /// Versions of files with several parents.
    pub(crate) merge_versions: u64,
    /// Deletions.
    pub(crate) tombstones: u64,
    /// Versions of files without size and contents, whose blobs are not in the repository.
    pub(crate) versions_without_blob: u64,
    /// Device logs in the store that hold git commits.
    pub(crate) devices: u64,
    /// Clocks of the new commits that were to be kept.
    pub(crate) clocks: HashMap<Place, Clock>,
    /// Time that git took.
    pub(crate) git: Duration,
    /// Time that the engine took.
    pub(crate) ingest: Duration,
}

/// Brings in what the store does not have yet. Of the commits for which `keep` says so the clocks
/// are kept.
///
/// Memory: one commit's paths, and a handle for each commit whose children are still to come.
pub(crate) fn bring_in(
    engine: &Engine,
    repository: &Repository,
    graph: &Graph,
    (contents, limits): (bool, Limits),
    keep: impl Fn(Place) -> bool,
) -> Result<Imported> {
    let start = Instant::now();
    let snapshot = engine.snapshot()?;
    let known = known(&snapshot, graph)?;
    let mut importer = engine.importer()?;
    let (logs, devices) = open_logs(&snapshot, &mut importer)?;
    // Not kept: an open snapshot keeps the store from using freed pages again.
    drop(snapshot);
    let git = Git {
        objects: Objects::open(repository)?,
        trees: Trees::new(),
        contents,
        limits,
        time: Duration::ZERO,
    };
    let waiting = waiting(graph, &known);
    let mut work =
        BringIn { engine, graph, importer, logs, devices, git, live: HashMap::new(), waiting };
    let mut imported = Imported::default();
    let bar = progress::bar("bring in", graph.len() as u64);
    for place in graph.places().filter(|place| !known[*place as usize]) {
        let authored = work.bring(place, &mut imported)?;
        if keep(place) {
            imported.clocks.insert(place, authored.clock().clone());
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    imported.devices = work.logs.len() as u64;
    work.importer.finish()?;
    imported.git = work.git.time;
    imported.ingest = start.elapsed().saturating_sub(imported.git);
    Ok(imported)
}

/// The commit that the store has for a git commit; none if it was never brought in.
pub(crate) fn commit_of(snapshot: &Snapshot, id: Oid) -> Result<Option<CommitRef>> {
    Ok(snapshot.heads(commit_entity(id))?.first().map(Version::commit))
}

/// Which git commits the store has. They are closed under ancestry, or the store was filled from
/// another history.
fn known(snapshot: &Snapshot, graph: &Graph) -> Result<Vec<bool>> {
    let mut known = vec![false; graph.len()];
    if snapshot.clock()?.is_empty() {
        return Ok(known);
    }
    for place in graph.places() {
        let id = graph.id(place);
        if commit_of(snapshot, id)?.is_none() {
            continue;
        }
        known[place as usize] = true;
        if let Some(parent) = graph.parents(place).iter().find(|parent| !known[**parent as usize]) {
            let parent = graph.id(*parent);
            return Err(Error::OtherHistory(format!(
                "the store has commit {id} without its parent {parent}"
            )));
        }
    }
    Ok(known)
}

/// The device logs of earlier runs. A log ends with the last git commit that came in whole: what an
/// interrupted run left after it is written again, to the same bytes.
fn open_logs(snapshot: &Snapshot, importer: &mut Importer) -> Result<(Logs, Vec<Device>)> {
    let mut ends: HashMap<LogId, VersionRef> = HashMap::new();
    for entity in snapshot.list(COMMIT) {
        for head in entity?.heads() {
            let end = ends.entry(head.log).or_insert(*head);
            *end = (*end).max(*head);
        }
    }
    let mut by_device = HashMap::new();
    for end in ends.into_values() {
        let version = snapshot.version(&end)?;
        by_device.insert(version.device().to_owned(), version.commit());
    }
    let (mut logs, mut devices) = (Logs::default(), Vec::new());
    while let Some(end) = by_device.remove(&device_name(logs.len())) {
        devices.push(importer.device(&device_name(logs.len()))?);
        // The device goes on after this commit.
        importer.authored(&end, snapshot.clock_at(&end)?)?;
        logs.push(end.log, end.sequence);
    }
    Ok((logs, devices))
}

/// For each commit, how many children are to be brought in.
fn waiting(graph: &Graph, known: &[bool]) -> Vec<u32> {
    let mut waiting = vec![0; graph.len()];
    for place in graph.places().filter(|place| !known[*place as usize]) {
        for parent in graph.parents(place) {
            waiting[*parent as usize] += 1;
        }
    }
    waiting
}

/// A commit whose children are still to come.
struct Live {
    authored: Authored,
    tree: Oid,
}

/// An import under way.
struct BringIn<'a> {
    engine: &'a Engine,
    graph: &'a Graph,
    importer: Importer,
    logs: Logs,
    devices: Vec<Device>,
    git: Git,
    live: HashMap<Place, Live>,
    waiting: Vec<u32>,
}

impl BringIn<'_> {
    /// Writes one git commit, all of whose parents are here.
    fn bring(&mut self, place: Place, imported: &mut Imported) -> Result<Authored> {
        let graph = self.graph;
        let (id, parents) = (graph.id(place), graph.parents(place));
        for parent in parents {
            self.revive(*parent)?;
        }
        let parents: Vec<&Live> = parents.iter().map(|parent| &self.live[parent]).collect();
        let trees: Vec<Oid> = parents.iter().map(|parent| parent.tree).collect();
        let step = self.git.step(id, &trees)?;
        let authored: Vec<&Authored> = parents.iter().map(|parent| &parent.authored).collect();
        let log = log_for(&self.logs, &authored);
        let device = match log {
            Some(log) => self.devices[log],
            None => self.importer.device(&device_name(self.logs.len()))?,
        };
        let tree = step.tree;
        let authored =
            step.write(&mut self.importer, device, &authored, &mut self.git, imported)?;
        let end = authored.commit();
        match log {
            Some(log) => self.logs.extend(log, end.sequence),
            None => {
                self.logs.push(end.log, end.sequence);
                self.devices.push(device);
            }
        }
        imported.commits += 1;
        self.release(place);
        if self.waiting[place as usize] > 0 {
            self.live.insert(place, Live { authored: authored.clone(), tree });
        }
        Ok(authored)
    }

    /// A parent that an earlier run brought in gets its handle again.
    fn revive(&mut self, place: Place) -> Result<()> {
        if self.live.contains_key(&place) {
            return Ok(());
        }
        let (snapshot, id) = (self.engine.snapshot()?, self.graph.id(place));
        let commit = commit_of(&snapshot, id)?
            .ok_or_else(|| Error::OtherHistory(format!("commit {id} is gone")))?;
        let authored = self.importer.authored(&commit, snapshot.clock_at(&commit)?)?;
        let tree = self.git.tree(id)?;
        self.live.insert(place, Live { authored, tree });
        Ok(())
    }

    /// Drops the handles that this commit was the last to need.
    fn release(&mut self, place: Place) {
        for parent in self.graph.parents(place) {
            self.waiting[*parent as usize] -= 1;
            if self.waiting[*parent as usize] == 0 {
                self.live.remove(parent);
            }
        }
    }
}

/// The log that a commit with these parents extends, if any may be.
fn log_for(logs: &Logs, parents: &[&Authored]) -> Option<usize> {
    let mut past = Clock::new();
    parents.iter().for_each(|parent| past.merge(parent.clock()));
    let of_parents: Vec<LogId> = parents.iter().map(|parent| parent.commit().log).collect();
    logs.choose(&past, &of_parents)
}

/// The repository's side of an import, with the time that it takes.
struct Git {
    objects: Objects,
    trees: Trees,
    contents: bool,
    limits: Limits,
    time: Duration,
}

impl Git {
    fn timed<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = work(self);
        self.time += start.elapsed();
        result
    }

    fn tree(&mut self, id: Oid) -> Result<Oid> {
        let object = self.timed(|git| git.objects.read("commit", id))?;
        Commit::parse(&object).tree(id)
    }

    /// What a commit says, and on which paths its tree differs from its parents'.
    fn step(&mut self, id: Oid, parents: &[Oid]) -> Result<Step> {
        self.timed(|git| {
            let object = git.objects.read("commit", id)?;
            let commit = Commit::parse(&object);
            let tree = commit.tree(id)?;
            let changes = git.trees.changes(&mut git.objects, parents, tree)?;
            Ok(Step { id, tree, wall: commit.wall(), content: commit.content(id), changes })
        })
    }

    /// The contents of the entities for these files.
    fn files(&mut self, files: &[(EntityId, Vec<u8>, Entry)]) -> Result<Vec<Content>> {
        self.timed(|git| {
            let blobs: Vec<Oid> =
                files.iter().filter(|file| !file.2.is_submodule()).map(|file| file.2.oid).collect();
            // Of a blob that is not here neither size nor contents are known.
            let sizes = blobs.iter().copied().zip(git.objects.sizes(&blobs)?);
            let sizes = sizes.filter_map(|(blob, size)| Some((blob, size?)));
            let sizes: HashMap<Oid, u64> = sizes.collect();
            let fits = |blob: &Oid| sizes.get(blob).is_some_and(|size| *size <= CONTENTS_BYTES);
            let wanted = |blob: &Oid| git.contents && fits(blob);
            let blobs: Vec<Oid> = blobs.into_iter().filter(wanted).collect();
            let bytes: HashMap<Oid, Vec<u8>> =
                blobs.iter().copied().zip(git.objects.blobs(&blobs)?).collect();
            let content = |(_, path, entry): &(EntityId, Vec<u8>, Entry)| {
                let blob = (!entry.is_submodule()).then_some(&entry.oid);
                let size = blob.and_then(|blob| sizes.get(blob).copied());
                file_content(
                    path,
                    *entry,
                    size,
                    blob.and_then(|blob| bytes.get(blob)).map(Vec::as_slice),
                )
            };
            Ok(files.iter().map(content).collect())
        })
    }
}

/// A git commit about to be written.
struct Step {
    id: Oid,
    tree: Oid,
    wall: Timestamp,
    content: Content,
    changes: Changes,
}

impl Step {
    /// Writes it: as one commit, or beyond the limits as several, the last of which holds the
    /// `commit` entity.
    fn write(
        self,
        importer: &mut Importer,
        device: Device,
        parents: &[&Authored],
        git: &mut Git,
        imported: &mut Imported,
    ) -> Result<Authored> {
        let mut rest = self.changes.into_iter().peekable();
        let mut before: Option<Authored> = None;
        loop {
            let refs = before.as_ref().map_or(parents.to_vec(), |before| vec![before]);
            let mut page =
                Page { draft: importer.commit(device, &refs, self.wall)?, versions: 0, bytes: 0 };
            while rest.peek().is_some() && page.room(git.limits) > 0 {
                let some = rest.by_ref().take(page.room(git.limits));
                page.write(some, parents, git, imported)?;
            }
            let last = rest.peek().is_none();
            if last {
                page.draft.create(commit_entity(self.id), COMMIT, &self.content)?;
            }
            let authored = page.draft.finish()?;
            imported.versions += authored.versions() as u64;
            if last {
                return Ok(authored);
            }
            before = Some(authored);
        }
    }
}

/// One commit under construction.
struct Page<'a> {
    draft: Draft<'a>,
    versions: usize,
    bytes: usize,
}

impl Page<'_> {
    /// How many paths may be looked at together.
    fn room(&self, limits: Limits) -> usize {
        let versions = if self.bytes < limits.bytes {
            limits.versions.saturating_sub(self.versions)
        } else {
            0
        };
        versions.min(TOGETHER)
    }

    /// Writes those of these changes that the heads in the commit's past do not show already.
    fn write(
        &mut self,
        changes: impl Iterator<Item = (Vec<u8>, Change)>,
        parents: &[&Authored],
        git: &mut Git,
        imported: &mut Imported,
    ) -> Result<()> {
        let mut files = Vec::new();
        for (path, change) in changes {
            let entity = file_entity(&path);
            let heads = self.draft.heads(entity)?;
            if is_settled(&heads, &change, parents) {
                continue;
            }
            imported.merge_versions += u64::from(heads.len() > 1);
            self.versions += 1;
            match change.now {
                Some(entry) => files.push((entity, path, entry)),
                None => {
                    self.draft.delete(entity)?;
                    imported.tombstones += 1;
                }
            }
        }
        for ((entity, _, entry), content) in files.iter().zip(git.files(&files)?) {
            let blob_is_here = entry.is_submodule() || content.get("size").is_some();
            imported.versions_without_blob += u64::from(!blob_is_here);
            self.bytes += content.get("contents").map_or(0, value_bytes) + SURROUNDINGS;
            self.draft.put(*entity, FILE, &content)?;
        }
        Ok(())
    }
}

/// Is what stands in the tree what these heads show, without any of them to be merged?
///
/// What a head shows need not be read. The only head in the commit's past is a head, too, in the
/// past of each parent that has seen it, and there all heads show that parent's tree: so it shows
/// the commit's own where one of these parents has the same at this path. (Of a commit with one
/// parent no change is settled, only of a merge.)
fn is_settled(heads: &[Version], change: &Change, parents: &[&Authored]) -> bool {
    match heads {
        [] => change.now.is_none(),
        [head] => parents.iter().enumerate().any(|(index, parent)| {
            let head = head.reference();
            !change.differs_from.contains(&index) && parent.clock().covers(head.log, head.sequence)
        }),
        _ => false,
    }
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use heirloom::LogRoot;

    use super::*;
    use crate::repo::Repo;

    /// Branches, merges of all kinds, and commits too large for the limits of these tests.
    fn repository() -> Repo {
        let repo = Repo::new();
        for n in 0..20 {
            repo.write(format!("dir{}/f{n}", n % 3), format!("{n}"));
        }
        repo.commit("many files");
        for (n, branch) in ["left", "right", "left", "right"].into_iter().enumerate() {
            repo.git(&["checkout", "-q", "-B", branch]);
            repo.write("dir0/f0", format!("{branch} {n}"));
            repo.write(format!("new {n}"), "x".repeat(5_000));
            repo.commit(branch);
            repo.git(&["checkout", "-q", "main"]);
            repo.write("dir1/f1", n.to_string());
            repo.commit("main");
            repo.git(&["merge", "-q", "--no-edit", "-X", "theirs", branch]);
        }
        repo
    }

    fn engine() -> Engine {
        Engine::builder().dataset_name("test").in_memory().unwrap()
    }

    fn bring(engine: &Engine, repo: &Repo) -> Imported {
        let repository = Repository::open(repo.path()).unwrap();
        let graph = Graph::read(&repository).unwrap();
        let limits = Limits { versions: 7, bytes: 4_000 };
        bring_in(engine, &repository, &graph, (true, limits), |_| true).unwrap()
    }

    fn root(engine: &Engine) -> LogRoot {
        engine.log_root().unwrap()
    }

    #[test]
    fn the_same_history_gives_the_same_bytes_wherever_it_is_brought_in() {
        let (repo, one, two) = (repository(), engine(), engine());
        let (first, second) = (bring(&one, &repo), bring(&two, &repo));
        assert_eq!(first.versions, second.versions);
        assert_eq!(root(&one), root(&two));
        assert_eq!(bring(&one, &repo).versions, 0);
        assert_eq!(root(&one), root(&two));
    }

    #[test]
    fn an_import_interrupted_after_any_commit_goes_on_to_the_same_bytes() {
        let (repo, whole) = (repository(), engine());
        let imported = bring(&whole, &repo);
        let all = whole.replication().position().unwrap().lsn;
        assert!(all.get() > imported.commits, "some git commits must take several commits here");
        let batch = whole
            .replication()
            .commits(heirloom::Lsn::START, all, &|_, _, _| true, usize::MAX)
            .unwrap();
        let bytes: Vec<&[u8]> =
            batch.commits.iter().map(|commit| commit.bytes.as_slice()).collect();
        for held in 0..=bytes.len() {
            let part = engine();
            if held > 0 {
                part.replication().ingest(&bytes[..held]).unwrap();
            }
            bring(&part, &repo);
            assert_eq!(root(&part), root(&whole), "after {held} of {all} commits");
        }
    }
}
