//! Step 4: git says whether it is true.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use heirloom::{Clock, Content, Engine, Entity, EntityId, Past, Snapshot, Version, VersionRef};

use crate::bring_in::commit_of;
use crate::error::{Error, Result};
use crate::file::{FILE, Stand, read_file, stand_of};
use crate::git::{Difference, Repository};
use crate::graph::{Graph, Place};
use crate::oid::Oid;
use crate::progress;
use crate::sample::Sample;

/// What differs, in words; of many the first.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// How many there are.
    pub(crate) count: u64,
    /// The first of them.
    pub(crate) first: Vec<String>,
}

impl Findings {
    const SHOWN: usize = 20;

    /// One more.
    pub(crate) fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push(what());
        }
    }
}

/// Clocks of commits: those kept while they were brought in, else asked from the store.
pub(crate) struct Clocks<'a> {
    graph: &'a Graph,
    snapshot: &'a Snapshot,
    kept: &'a HashMap<Place, Clock>,
}

impl<'a> Clocks<'a> {
    /// Of the commits of this graph in this snapshot.
    pub(crate) fn new(
        graph: &'a Graph,
        snapshot: &'a Snapshot,
        kept: &'a HashMap<Place, Clock>,
    ) -> Self {
        Self { graph, snapshot, kept }
    }

    fn of(&self, place: Place) -> Result<Clock> {
        if let Some(clock) = self.kept.get(&place) {
            return Ok(clock.clone());
        }
        let id = self.graph.id(place);
        let commit = commit_of(self.snapshot, id)?
            .ok_or_else(|| Error::OtherHistory(format!("no commit {id}")))?;
        Ok(self.snapshot.clock_at(&commit)?)
    }
}

/// Path → what stood there, what stands there now.
type Step = BTreeMap<Vec<u8>, (Option<Stand>, Option<Stand>)>;

/// For each sampled commit: what changed between the cuts of its first parent and of itself is what
/// git lists.
pub(crate) fn check_steps(
    repository: &Repository,
    clocks: &Clocks<'_>,
    sample: &Sample,
    findings: &mut Findings,
) -> Result<()> {
    let graph = clocks.graph;
    let parent = |place: Place| graph.parents(place).first().copied();
    let pairs = sample
        .steps
        .iter()
        .map(|place| (parent(*place).map(|parent| graph.id(parent)), graph.id(*place)));
    let mut listings = repository.differences(pairs.collect())?;
    let bar = progress::bar("check", sample.steps.len() as u64);
    for place in &sample.steps {
        let theirs = listings.next(graph.id(*place))?.into_iter().map(step_of_git).collect();
        let before =
            parent(*place).map(|parent| clocks.of(parent)).transpose()?.unwrap_or_default();
        let ours = step_of_cuts(clocks.snapshot, &before, &clocks.of(*place)?)?;
        compare(&format!("changes of {}", graph.id(*place)), &ours, &theirs, findings);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// For each of the sample's trees: the cut of the commit is its tree.
///
/// Many trees are compared together, entity by entity: so what is read of the log for an entity
/// serves all of them.
pub(crate) fn check_trees(
    repository: &Repository,
    clocks: &Clocks<'_>,
    sample: &Sample,
    findings: &mut Findings,
) -> Result<()> {
    let bar = progress::bar("trees", sample.trees.len() as u64);
    let mut places = sample.trees.iter().copied().peekable();
    while places.peek().is_some() {
        let (mut trees, mut paths) = (Vec::new(), 0);
        while let Some(place) = places.next_if(|_| paths < PATHS_TOGETHER) {
            let id = clocks.graph.id(place);
            let listing = repository.ls_tree(id)?.into_iter();
            let listed: BTreeMap<Vec<u8>, Stand> =
                listing.map(|(path, entry)| (path, stand_of(entry))).collect();
            paths += listed.len() + 1;
            trees.push(Tree { id, cut: clocks.snapshot.as_of(&clocks.of(place)?)?, listed });
        }
        compare_trees(clocks.snapshot, &mut trees, findings)?;
        bar.inc(trees.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Paths of git's listings that are held at once, about 150 bytes each.
const PATHS_TOGETHER: usize = 500_000;

/// A tree to be compared.
struct Tree<'a> {
    id: Oid,
    cut: Past<'a>,
    /// What git lists and no entity has shown yet.
    listed: BTreeMap<Vec<u8>, Stand>,
}

fn compare_trees(
    snapshot: &Snapshot,
    trees: &mut [Tree<'_>],
    findings: &mut Findings,
) -> Result<()> {
    for entity in snapshot.list(FILE).include_deleted() {
        let entity = entity?.id();
        // In many cuts the entity is the same: it is read once for all of them.
        let mut shown: HashMap<Vec<VersionRef>, Option<(Vec<u8>, Stand)>> = HashMap::new();
        for tree in &mut *trees {
            let heads = tree.cut.heads(entity)?.iter().map(Version::reference).collect();
            let file = match shown.entry(heads) {
                Occupied(known) => known.into_mut(),
                Vacant(new) => new.insert(match tree.cut.get(entity)? {
                    Some(entity) => Some(read_file(|field| Ok(entity.get(field)?))?),
                    None => None,
                }),
            };
            let Some((path, stand)) = file else { continue };
            let listed = tree.listed.remove(path);
            if listed.as_ref() != Some(stand) {
                findings.add(|| {
                    difference(&format!("tree of {}", tree.id), path, Some(stand), listed.as_ref())
                });
            }
        }
    }
    for tree in trees {
        for (path, listed) in &tree.listed {
            findings.add(|| difference(&format!("tree of {}", tree.id), path, None, Some(listed)));
        }
    }
    Ok(())
}

fn step_of_git(difference: Difference) -> (Vec<u8>, (Option<Stand>, Option<Stand>)) {
    (difference.path, (difference.before.map(stand_of), difference.after.map(stand_of)))
}

fn step_of_cuts(snapshot: &Snapshot, before: &Clock, after: &Clock) -> Result<Step> {
    let mut step = Step::new();
    for change in snapshot.diff(before, after)?.of_type(FILE) {
        let change = change?;
        let (old, new) = (read(change.before.as_ref())?, read(change.after.as_ref())?);
        let stand = |file: &Option<(Vec<u8>, Stand)>| file.as_ref().map(|file| file.1.clone());
        let stands = (stand(&old), stand(&new));
        if let (Some((path, _)), true) = (old.or(new), stands.0 != stands.1) {
            step.insert(path, stands);
        }
    }
    Ok(step)
}

fn read(content: Option<&Content>) -> Result<Option<(Vec<u8>, Stand)>> {
    content.map(|content| read_file(|field| Ok(content.get(field).cloned()))).transpose()
}

/// Finds the paths on which both sides disagree.
fn compare<T: PartialEq + Debug>(
    what: &str,
    ours: &BTreeMap<Vec<u8>, T>,
    theirs: &BTreeMap<Vec<u8>, T>,
    findings: &mut Findings,
) {
    let paths = ours.keys().chain(theirs.keys().filter(|path| !ours.contains_key(*path)));
    for path in paths.filter(|path| ours.get(*path) != theirs.get(*path)) {
        let (ours, theirs) = (ours.get(path), theirs.get(path));
        findings.add(|| difference(what, path, ours, theirs));
    }
}

fn difference<T: Debug>(what: &str, path: &[u8], ours: Option<&T>, theirs: Option<&T>) -> String {
    let path = String::from_utf8_lossy(path);
    format!("{what}: {path:?} is {ours:?} here, {theirs:?} in git")
}

/// The nodes hold the same: equal log roots and digests, and entity for entity equal heads and
/// contents.
pub(crate) fn check_nodes(nodes: &[Engine], findings: &mut Findings) -> Result<()> {
    let snapshots = nodes.iter().map(Engine::snapshot).collect::<heirloom::Result<Vec<_>>>()?;
    let Some((first, others)) = snapshots.split_first() else { return Ok(()) };
    for (index, other) in others.iter().enumerate() {
        let node = index + 2;
        if other.log_root()? != first.log_root()? {
            findings.add(|| format!("node {node} has another log root than node 1"));
        }
        if other.state_digest()? != first.state_digest()? {
            findings.add(|| format!("node {node} has another state digest than node 1"));
        }
        check_contents(first, other, node, findings)?;
    }
    Ok(())
}

fn check_contents(
    first: &Snapshot,
    other: &Snapshot,
    node: usize,
    findings: &mut Findings,
) -> Result<()> {
    let (mut ours, mut theirs) = (first.entity_ids()?, other.entity_ids()?);
    loop {
        let (one, two) = (ours.next().transpose()?, theirs.next().transpose()?);
        let (Some(one), Some(two)) = (one, two) else {
            if one != two {
                findings.add(|| format!("node {node} has another number of entities than node 1"));
            }
            return Ok(());
        };
        if one != two || face(first, one)? != face(other, two)? {
            findings.add(|| format!("node {node} has another {one} than node 1"));
        }
    }
}

/// All that an entity shows: its heads, and its content unless it shows as deleted.
fn face(snapshot: &Snapshot, id: EntityId) -> Result<(Vec<VersionRef>, Option<Content>)> {
    let heads = snapshot.heads(id)?.iter().map(Version::reference).collect();
    let content = snapshot.get(id)?.as_ref().map(Entity::content);
    Ok((heads, content))
}

/// What a node holds.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Versions.
    pub(crate) versions: u64,
    /// Entities.
    pub(crate) entities: u64,
}

/// Every record of every node is what its hashes say, and what is derived follows from the log.
/// Returns what the last node holds.
pub(crate) fn check_verify(nodes: &[Engine], findings: &mut Findings) -> Result<Totals> {
    let mut totals = Totals::default();
    let bar = progress::bar("verify", nodes.len() as u64);
    for (index, node) in nodes.iter().enumerate() {
        let verification = node.verify()?;
        for problem in &verification.problems {
            findings.add(|| format!("node {}: {problem}", index + 1));
        }
        totals = Totals { versions: verification.versions, entities: verification.entities };
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Check;
    use crate::bring_in::{Limits, bring_in};
    use crate::repo::Repo;

    fn engine() -> Engine {
        Engine::builder().dataset_name("test").in_memory().unwrap()
    }

    #[test]
    fn a_cut_that_is_not_the_tree_is_found() {
        let repo = Repo::new();
        repo.write("a", "0");
        repo.commit("zero");
        repo.write("a", "1");
        repo.write("b", "1");
        repo.commit("one");
        let repository = Repository::open(repo.path()).unwrap();
        let graph = Graph::read(&repository).unwrap();
        let sample = Sample::of(&graph, Check::All);
        let engine = engine();
        let mut kept = bring_in(&engine, &repository, &graph, (true, Limits::FORMAT), |_| true)
            .unwrap()
            .clocks;
        let snapshot = engine.snapshot().unwrap();
        let differing = |kept: &HashMap<Place, Clock>| {
            let clocks = Clocks::new(&graph, &snapshot, kept);
            let (mut steps, mut trees) = (Findings::default(), Findings::default());
            check_steps(&repository, &clocks, &sample, &mut steps).unwrap();
            check_trees(&repository, &clocks, &sample, &mut trees).unwrap();
            (steps.count, trees.count)
        };
        assert_eq!(differing(&kept), (0, 0));
        // Asked from the store they are the same.
        assert_eq!(differing(&HashMap::new()), (0, 0));
        kept.insert(1, kept[&0].clone());
        assert_eq!(differing(&kept), (2, 2));
    }

    #[test]
    fn nodes_that_differ_are_found() {
        let nodes = [engine(), engine(), engine()];
        let differing = || {
            let mut findings = Findings::default();
            check_nodes(&nodes, &mut findings).unwrap();
            findings.count
        };
        assert_eq!(differing(), 0);
        nodes[1].write(|tx| tx.create(FILE, &Content::new().with("path", "a"))).unwrap();
        assert!(differing() >= 3);
    }
}
