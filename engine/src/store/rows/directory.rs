//! Local numbers for lines of commits and entity types: short in records, never hashed, never sent.
//!
//! A log is one line of commits, unless copies of a file wrote under its name: then it is a tree,
//! and each line after the first begins where it left another that had gone on already. Nothing
//! that is stored is touched when a branch is learnt: the line that was here first keeps its
//! number.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use heirloom_core::fold::{BranchPoint, Dot, Lines};
use heirloom_core::format::genesis::Genesis;
use heirloom_core::model::{CommitRef, Line, LogId, Sequence, TypeNumber};
use heirloom_core::replica::Fork;
use parking_lot::RwLock;

/// A line of commits as it is known here.
#[derive(Debug)]
pub(crate) struct LogInfo {
    pub(crate) id: LogId,
    pub(crate) genesis: Vec<u8>,
    pub(crate) device: String,
    /// The last commit that its writer made in the log before.
    pub(crate) predecessor: Option<CommitRef>,
    pub(crate) fork: Option<BranchPoint>,
}

/// Only grows; a number, once given, is for good. Readers with an older snapshot merely know
/// numbers that they do not meet.
#[derive(Default)]
pub(crate) struct Directory {
    logs: RwLock<Logs>,
    types: RwLock<Types>,
}

#[derive(Default)]
struct Logs {
    by_line: Vec<Arc<LogInfo>>,
    /// The first line of each log.
    by_id: HashMap<LogId, Line>,
    /// All lines of the logs that forked.
    lines: HashMap<LogId, Vec<Line>>,
    /// (line, after which sequence) → what it is called from there.
    names: BTreeMap<(Line, Sequence), LogId>,
    by_name: HashMap<LogId, (Line, Sequence)>,
    /// The one that never leaves this store.
    local: Option<Line>,
}

/// Entity types, of which a member may make any number: only those that no durable commit holds yet
/// are in memory, the others in the tables (see
/// `View::entity_type`).
#[derive(Default)]
struct Types {
    /// How many there are.
    count: u32,
    pending: BTreeMap<TypeNumber, Arc<str>>,
    by_name: HashMap<Arc<str>, TypeNumber>,
}

impl Logs {
    fn fork(&self, line: Line) -> Option<BranchPoint> {
        self.by_line.get(line.index()).and_then(|l| l.fork)
    }

    fn set_name(&mut self, line: Line, after: Sequence, name: LogId) {
        self.names.insert((line, after), name);
        self.by_name.insert(name, (line, after));
    }

    fn name(&self, line: Line, sequence: Sequence) -> Option<LogId> {
        let named = self
            .names
            .range((line, Sequence::START)..(line, sequence))
            .next_back()
            .map(|(_, name)| *name);
        named.or_else(|| self.by_line.get(line.index()).map(|l| l.id))
    }
}

impl Directory {
    pub(crate) fn log(&self, line: Line) -> Option<Arc<LogInfo>> {
        self.logs.read().by_line.get(line.index()).cloned()
    }

    pub(crate) fn log_id(&self, line: Line) -> Option<LogId> {
        self.logs.read().by_line.get(line.index()).map(|l| l.id)
    }

    /// The first line of a log.
    pub(crate) fn first_line(&self, log: LogId) -> Option<Line> {
        self.logs.read().by_id.get(&log).copied()
    }

    /// The line of a log that did not fork.
    pub(crate) fn only_line(&self, log: LogId) -> Option<Line> {
        let logs = self.logs.read();
        logs.by_id.get(&log).copied().filter(|_| !logs.lines.contains_key(&log))
    }

    /// All lines of a log, the first one first.
    pub(crate) fn lines(&self, log: LogId) -> Vec<Line> {
        let logs = self.logs.read();
        match (logs.lines.get(&log), logs.by_id.get(&log)) {
            (Some(lines), _) => lines.clone(),
            (None, Some(only)) => vec![*only],
            (None, None) => Vec::new(),
        }
    }

    pub(crate) fn branch_point(&self, line: Line) -> Option<BranchPoint> {
        self.logs.read().fork(line)
    }

    /// A line, and those that leave it after a sequence.
    pub(crate) fn leaving(&self, line: Line, after: Sequence) -> Vec<Line> {
        let logs = self.logs.read();
        let leaves = |l: &LogInfo| l.fork.is_some_and(|f| (f.of, f.after) == (line, after));
        let others = lines_of(&logs).filter(|(_, l)| leaves(l)).map(|(line, _)| line);
        std::iter::once(line).chain(others).collect()
    }

    pub(crate) fn has_forks(&self) -> bool {
        !self.logs.read().lines.is_empty()
    }

    /// Every line that left another.
    pub(crate) fn branch_points(&self) -> Vec<(Line, BranchPoint)> {
        let logs = self.logs.read();
        lines_of(&logs).filter_map(|(line, l)| Some((line, l.fork?))).collect()
    }

    /// What people and clocks call the log that a place lies in: its id up to a fork, from there
    /// the name of the branch.
    pub(crate) fn name(&self, line: Line, sequence: Sequence) -> Option<LogId> {
        self.logs.read().name(line, sequence)
    }

    /// The stretches of a line that have names of their own, each with the last sequence that it
    /// has if another follows.
    pub(crate) fn stretches(&self, line: Line) -> Vec<(LogId, Option<Sequence>)> {
        let logs = self.logs.read();
        let start = logs.fork(line).map_or(Sequence::START, |f| f.after);
        let mut out: Vec<(LogId, Option<Sequence>)> = Vec::new();
        if let Some(id) = logs.by_line.get(line.index()).filter(|l| l.fork.is_none()).map(|l| l.id)
            && !logs.names.contains_key(&(line, Sequence::START))
        {
            out.push((id, None));
        }
        for ((_, after), name) in logs.names.range((line, start)..=(line, Sequence::END)) {
            if let Some(last) = out.last_mut() {
                last.1 = Some(*after);
            }
            out.push((*name, None));
        }
        out
    }

    /// The stretch of a name: its line, and after which sequence up to which it has that name. Of a
    /// log's id only while that names anything.
    pub(crate) fn named(&self, name: LogId) -> Option<(Line, Sequence, Sequence)> {
        let logs = self.logs.read();
        let (line, after) = match logs.by_name.get(&name) {
            Some(place) => *place,
            None => (*logs.by_id.get(&name)?, Sequence::START),
        };
        let next = match logs.by_name.contains_key(&name) {
            true => logs.names.range((line, after.next())..=(line, Sequence::END)).next(),
            false => logs.names.range((line, Sequence::START)..=(line, Sequence::END)).next(),
        };
        Some((line, after, next.map_or(Sequence::END, |((_, until), _)| *until)))
    }

    /// What people call the device that wrote a place (R3): on a branch 8 digits of its name
    /// follow.
    pub(crate) fn device(&self, line: Line, sequence: Sequence) -> String {
        let logs = self.logs.read();
        let Some(info) = logs.by_line.get(line.index()) else { return String::new() };
        match logs.name(line, sequence) {
            Some(name) if name != info.id => format!("{}-{}", info.device, &name.to_string()[..8]),
            _ => info.device.clone(),
        }
    }

    pub(crate) fn is_local(&self, line: Line) -> bool {
        self.local() == Some(line)
    }

    pub(crate) fn set_local(&self, line: Line) {
        self.logs.write().local = Some(line);
    }

    /// The first line of a log that travels.
    pub(crate) fn shared(&self, log: LogId) -> Option<Line> {
        let logs = self.logs.read();
        logs.by_id.get(&log).copied().filter(|o| logs.local != Some(*o))
    }

    /// The numbers of all lines that travel: all that a peer may hear of.
    pub(crate) fn all_shared(&self) -> impl Iterator<Item = Line> + use<> {
        let local = self.local();
        self.all().filter(move |o| Some(*o) != local)
    }

    /// The numbers of all lines.
    pub(crate) fn all(&self) -> impl Iterator<Item = Line> + use<> {
        (0..self.log_count()).map(Line::new)
    }

    pub(crate) fn log_count(&self) -> u32 {
        self.logs.read().by_line.len() as u32
    }

    pub(crate) fn add_log(&self, id: LogId, bytes: &[u8], genesis: &Genesis) -> Line {
        let mut logs = self.logs.write();
        let line = Line::new(logs.by_line.len() as u32);
        let (genesis, device, predecessor) =
            (bytes.to_vec(), genesis.device_id(id), genesis.predecessor);
        logs.by_line.push(Arc::new(LogInfo { id, genesis, device, predecessor, fork: None }));
        logs.by_id.insert(id, line);
        line
    }

    /// A line that leaves one that is here. The number that it has already, if it was learnt by
    /// something that failed later.
    pub(crate) fn add_branch(&self, point: BranchPoint) -> Option<Line> {
        let mut logs = self.logs.write();
        if let Some((line, _)) = logs.by_name.get(&point.name) {
            return Some(*line);
        }
        let trunk = logs.by_line.get(point.of.index())?.clone();
        let branch = Line::new(logs.by_line.len() as u32);
        logs.by_line.push(Arc::new(LogInfo {
            id: trunk.id,
            genesis: trunk.genesis.clone(),
            device: trunk.device.clone(),
            predecessor: trunk.predecessor,
            fork: Some(point),
        }));
        let first = *logs.by_id.get(&trunk.id)?;
        logs.lines.entry(trunk.id).or_insert_with(|| vec![first]).push(branch);
        logs.set_name(branch, point.after, point.name);
        logs.set_name(point.of, point.after, point.other);
        Some(branch)
    }

    /// The line that begins with a commit of that name, if it is known to be a branch.
    pub(crate) fn branch(&self, name: LogId) -> Option<Line> {
        self.logs.read().by_name.get(&name).map(|(line, _)| *line)
    }

    /// Whether a line, or the stretch of it that begins with this sequence, is known by that name.
    pub(crate) fn names_place(&self, name: LogId, line: Line, first: Sequence) -> bool {
        let logs = self.logs.read();
        logs.by_name.get(&name).is_some_and(|(l, after)| *l == line && after.next() == first)
    }

    /// The name of a type that is on its way to the tables.
    pub(crate) fn pending_type(&self, number: TypeNumber) -> Option<Arc<str>> {
        self.types.read().pending.get(&number).cloned()
    }

    /// The number of a type that is on its way to the tables.
    pub(crate) fn pending_type_number(&self, name: &str) -> Option<TypeNumber> {
        self.types.read().by_name.get(name).copied()
    }

    pub(crate) fn type_count(&self) -> u32 {
        self.types.read().count
    }

    /// So many are in the tables.
    pub(crate) fn types_are_durable(&self, count: u32) {
        let mut types = self.types.write();
        types.count = types.count.max(count);
        let rest = types.pending.split_off(&TypeNumber::new(count));
        for name in std::mem::replace(&mut types.pending, rest).into_values() {
            types.by_name.remove(&name);
        }
    }

    /// Of a type that is in no table.
    pub(crate) fn add_type(&self, name: &str) -> TypeNumber {
        let mut types = self.types.write();
        if let Some(known) = types.by_name.get(name) {
            return *known;
        }
        let number = TypeNumber::new(types.count);
        types.count += 1;
        let name: Arc<str> = name.into();
        types.pending.insert(number, name.clone());
        types.by_name.insert(name, number);
        number
    }
}

impl Lines for Directory {
    fn log_of(&self, line: Line) -> Option<LogId> {
        self.log_id(line)
    }

    fn line_at(&self, mut line: Line, sequence: Sequence) -> Line {
        let logs = self.logs.read();
        while let Some(fork) = logs.fork(line).filter(|f| sequence <= f.after) {
            line = fork.of;
        }
        line
    }

    fn path(&self, line: Line, sequence: Sequence) -> Vec<Dot> {
        let logs = self.logs.read();
        let (mut out, mut line) = (vec![(line, sequence)], line);
        while let Some(fork) = logs.fork(line).filter(|f| f.after > Sequence::START) {
            out.push((fork.of, fork.after));
            line = fork.of;
        }
        out
    }

    fn local(&self) -> Option<Line> {
        self.logs.read().local
    }
}

/// Each line with its number.
fn lines_of(logs: &Logs) -> impl Iterator<Item = (Line, &Arc<LogInfo>)> {
    (0..).map(Line::new).zip(&logs.by_line)
}

/// The fork at which a line leaves another.
pub(crate) fn fork_of(directory: &Directory, line: Line) -> Option<Fork> {
    let (info, point) = (directory.log(line)?, directory.branch_point(line)?);
    let beside =
        |other: &(Line, BranchPoint)| other.1.of == point.of && other.1.after == point.after;
    let mut branches: Vec<LogId> =
        directory.branch_points().iter().filter(|o| beside(o)).map(|(_, p)| p.name).collect();
    branches.push(point.other);
    Some(Fork::new(info.id, info.device.clone(), point.after, branches))
}
