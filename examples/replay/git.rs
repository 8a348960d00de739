//! The git binary: the only reader of repositories here, so that packs, alternates, grafts and both
//! hashes are git's own business. Every answer is taken NUL-terminated or as raw objects: no
//! quoting to undo.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use crate::error::{Doing, Error, Result};
use crate::oid::Oid;
use crate::tree::Entry;

/// What a history is walked from: every ref, tags peeled, and the HEAD of each work tree, detached
/// or not. To git even a commit under `refs/replace/` is among these, where nothing is replaced,
/// too; but it stands in for another commit and is no history of its own.
const EVERYTHING: [&str; 2] = ["--exclude=refs/replace/*", "--all"];

/// A repository that git can read.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    path: PathBuf,
}

/// One path of `git diff-tree`: what stood there, what stands there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The path, as its bytes.
    pub(crate) path: Vec<u8>,
    /// Mode and object on the older side.
    pub(crate) before: Option<Entry>,
    /// Mode and object on the newer side.
    pub(crate) after: Option<Entry>,
}

impl Repository {
    /// Finds the repository that `path` lies in.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let none = |said: &str| Error::NotARepository(path.to_path_buf(), said.trim().to_owned());
        if !path.is_dir() {
            return Err(none("no such directory"));
        }
        let repository = Self { path: path.to_path_buf() };
        match repository.ask(["rev-parse", "--git-dir"]) {
            Err(Error::Git(said)) => Err(none(&said)),
            answer => answer.map(|_| repository),
        }
    }

    /// Where it was found.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Does its history end at a boundary that `git clone --depth` drew?
    pub(crate) fn is_shallow(&self) -> Result<bool> {
        Ok(self.ask(["rev-parse", "--is-shallow-repository"])?.starts_with(b"true"))
    }

    /// Has it a remote that promised to send later what a filter left out of the clone?
    pub(crate) fn is_partial(&self) -> Result<bool> {
        let answer = self.ask(["config", "--list", "--name-only", "-z"])?;
        Ok(answer.split(|byte| *byte == 0).any(|name| {
            name == b"extensions.partialclone"
                || name.starts_with(b"remote.")
                    && (name.ends_with(b".promisor") || name.ends_with(b".partialclonefilter"))
        }))
    }

    /// Does a file give commits other parents than they name? Git follows it in all that it lists,
    /// and has no switch against that as it has against replacement.
    pub(crate) fn is_grafted(&self) -> Result<bool> {
        let answer = self.ask(["rev-parse", "--git-path", "info/grafts"])?;
        let grafts = self.path.join(OsStr::from_bytes(answer.trim_ascii_end()));
        match fs::read(grafts) {
            Ok(grafts) => {
                let mut lines = grafts.split(|byte| *byte == b'\n');
                Ok(lines.any(|line| line.first().is_some_and(|first| *first != b'#')))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::Io("reading info/grafts", error)),
        }
    }

    /// Calls `visit` for each commit that a ref or a HEAD reaches, parents first, with its parents.
    pub(crate) fn commits(&self, mut visit: impl FnMut(Oid, &[Oid]) -> Result<()>) -> Result<()> {
        let mut command = self.command(["rev-list"]);
        command.args(EVERYTHING).args(["--topo-order", "--reverse", "--parents"]);
        let mut listing = Running::start(command)?;
        let mut line = Vec::new();
        let mut ids = Vec::new();
        while listing.line(&mut line)? {
            ids.clear();
            for word in line.split(|byte| *byte == b' ') {
                ids.push(oid(word)?);
            }
            let (id, parents) = ids.split_first().ok_or_else(|| unexpected(&line))?;
            visit(*id, parents)?;
        }
        listing.end()
    }

    /// The commits that refs and HEADs point to, tags peeled.
    pub(crate) fn tips(&self) -> Result<Vec<Oid>> {
        let [but, all] = EVERYTHING;
        let answer = self.ask(["rev-list", but, all, "--no-walk=unsorted"])?;
        answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(oid).collect()
    }

    /// The whole tree of a commit, path by path.
    pub(crate) fn ls_tree(&self, commit: Oid) -> Result<Vec<(Vec<u8>, Entry)>> {
        let answer = self.ask(["ls-tree", "-r", "-z", "--full-tree", &commit.to_string()])?;
        let lines = answer.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        lines.map(|line| ls_tree_line(line).ok_or_else(|| unexpected(line))).collect()
    }

    /// One process that answers `git diff-tree` for each of `pairs`, in order.
    pub(crate) fn differences(&self, pairs: Vec<(Option<Oid>, Oid)>) -> Result<Differences> {
        Differences::start(self, pairs)
    }

    /// A command in this repository, free of what the caller's environment says about git.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("git");
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_"))
        {
            command.env_remove(name);
        }
        // Nothing is fetched, not even what a partial clone lacks: a replay is of what is here. A
        // git that does not know the first of these, as before 2.45, stops at the second.
        command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_ALLOW_PROTOCOL", "").env("LC_ALL", "C");
        command.arg("-C").arg(&self.path);
        command.args(["--no-pager", "--no-replace-objects", "-c", "core.quotepath=off"]);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command whose answer is small.
    fn ask<const N: usize>(&self, args: [&str; N]) -> Result<Vec<u8>> {
        let output = self.command(args).output().map_err(start_failed)?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(Error::Git(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }
}

/// A git process whose answer is read as it comes.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    said: Option<JoinHandle<String>>,
    /// What it prints.
    pub(crate) answer: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a command made by [`Repository::command`].
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command.spawn().map_err(start_failed)?;
        let stdout = child.stdout.take().ok_or_else(|| Error::Git("no output".to_owned()))?;
        // On a thread of its own: nobody reads it meanwhile, and a full pipe would stop git.
        let said = child.stderr.take().map(|stderr| thread::spawn(|| last_lines(stderr)));
        Ok(Self { child, said, answer: BufReader::with_capacity(1 << 16, stdout) })
    }

    /// What it reads, once.
    pub(crate) fn requests(&mut self) -> Result<std::process::ChildStdin> {
        self.child.stdin.take().ok_or_else(|| Error::Git("no input".to_owned()))
    }

    /// Reads one line, without its end; false at the end of the answer.
    pub(crate) fn line(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        self.answer.read_until(b'\n', line).doing("reading from git")?;
        Ok(line.pop_if(|byte| *byte == b'\n').is_some() || !line.is_empty())
    }

    /// Waits for it; its failure is ours.
    pub(crate) fn end(mut self) -> Result<()> {
        // What it says serves the message only: its status decides.
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        match self.child.wait().doing("waiting for git")?.success() {
            true => Ok(()),
            false => Err(Error::Git(said.trim().to_owned())),
        }
    }
}

/// The last lines of what a process says: what stopped it stands there, after all warnings.
fn last_lines(stderr: ChildStderr) -> String {
    const LINES: usize = 20;
    let mut last = VecDeque::new();
    for line in BufReader::new(stderr).split(b'\n').map_while(io::Result::ok) {
        if last.len() == LINES {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    last.into_iter().collect::<Vec<_>>().join("\n")
}

impl Drop for Running {
    fn drop(&mut self) {
        // Also after an error on our side: no process is left behind.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The answers of one `git diff-tree --stdin`.
#[derive(Debug)]
pub(crate) struct Differences {
    running: Running,
}

impl Differences {
    fn start(repository: &Repository, pairs: Vec<(Option<Oid>, Oid)>) -> Result<Self> {
        // A submodule that .gitmodules says to ignore is listed all the same.
        let args = ["diff-tree", "--stdin", "-z", "-r", "--root", "--no-renames", "--no-abbrev"];
        let mut command = repository.command(args);
        // --always: also a commit without differences gets its heading.
        command.args(["--ignore-submodules=none", "--raw", "--always"]).stdin(Stdio::piped());
        let mut running = Running::start(command)?;
        let mut requests = io::BufWriter::new(running.requests()?);
        // A thread of its own, or both sides would wait on a full pipe. A failure shows as a
        // missing answer.
        thread::spawn(move || {
            pairs.iter().try_for_each(|(before, after)| match before {
                Some(before) => writeln!(requests, "{after} {before}"),
                None => writeln!(requests, "{after}"),
            })
        });
        Ok(Self { running })
    }

    /// The next answer, which must be about `commit`.
    pub(crate) fn next(&mut self, commit: Oid) -> Result<Vec<Difference>> {
        let heading = self.word()?;
        if oid(&heading)? != commit {
            return Err(unexpected(&heading));
        }
        let mut differences = Vec::new();
        while self.running.answer.fill_buf().doing("reading from git")?.first() == Some(&b':') {
            let fields = self.word()?;
            let path = self.word()?;
            let (before, after) = raw_fields(&fields).ok_or_else(|| unexpected(&fields))?;
            differences.push(Difference { path, before, after });
        }
        Ok(differences)
    }

    /// Up to the next NUL.
    fn word(&mut self) -> Result<Vec<u8>> {
        let mut word = Vec::new();
        self.running.answer.read_until(0, &mut word).doing("reading from git")?;
        match word.pop() {
            Some(0) => Ok(word),
            _ => Err(Error::Git("diff-tree ended early".to_owned())),
        }
    }
}

/// `:100644 100755 <id> <id> M`
fn raw_fields(fields: &[u8]) -> Option<(Option<Entry>, Option<Entry>)> {
    let mut words = fields.strip_prefix(b":")?.split(|byte| *byte == b' ');
    let (old_mode, new_mode) = (mode(words.next()?)?, mode(words.next()?)?);
    let (old, new) = (Oid::from_hex(words.next()?)?, Oid::from_hex(words.next()?)?);
    let entry = |mode, oid: Oid| (!oid.is_null()).then_some(Entry { mode, oid });
    Some((entry(old_mode, old), entry(new_mode, new)))
}

/// `100644 blob <id>\t<path>`
fn ls_tree_line(line: &[u8]) -> Option<(Vec<u8>, Entry)> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let mut words = line[..tab].split(|byte| *byte == b' ');
    let mode = mode(words.next()?)?;
    let oid = Oid::from_hex(words.nth(1)?)?;
    Some((line[tab + 1..].to_vec(), Entry { mode, oid }))
}

fn mode(octal: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(octal).ok()?, 8).ok()
}

fn oid(hex: &[u8]) -> Result<Oid> {
    Oid::from_hex(hex).ok_or_else(|| unexpected(hex))
}

/// Git answered what it never answers.
pub(crate) fn unexpected(answer: &[u8]) -> Error {
    Error::Git(format!("unexpected answer {:?}", String::from_utf8_lossy(answer)))
}

fn start_failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::GitMissing,
        _ => Error::Io("starting git", error),
    }
}
