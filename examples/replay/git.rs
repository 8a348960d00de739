//! The git binary: the only reader of repositories here, so that packs, alternates, grafts and both hashes are
//! git's own business. Every answer is taken NUL-terminated or as raw objects: no quoting to undo.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use crate::{
    error::{Doing, Error, Result},
    oid::Oid,
    tree::Entry,
};

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

    /// Calls `visit` for each commit that a ref or a HEAD reaches, parents first, with its parents.
    pub(crate) fn commits(&self, mut visit: impl FnMut(Oid, &[Oid]) -> Result<()>) -> Result<()> {
        let args = ["rev-list", "--all", "--topo-order", "--reverse", "--parents"];
        let mut listing = Running::start(self.command(args))?;
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
        let answer = self.ask(["rev-list", "--all", "--no-walk=unsorted"])?;
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
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("GIT_NO_LAZY_FETCH", "1");
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
    /// What it prints.
    pub(crate) answer: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a command made by [`Repository::command`].
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command.spawn().map_err(start_failed)?;
        let stdout = child.stdout.take().ok_or_else(|| Error::Git("no output".to_owned()))?;
        Ok(Self { child, answer: BufReader::with_capacity(1 << 16, stdout) })
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
        let mut said = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            // What it says serves the message only: its status decides.
            stderr.take(1 << 16).read_to_string(&mut said).ok();
        }
        match self.child.wait().doing("waiting for git")?.success() {
            true => Ok(()),
            false => Err(Error::Git(said.trim().to_owned())),
        }
    }
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
        // A thread of its own, or both sides would wait on a full pipe. A failure shows as a missing answer.
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
