//! Git repositories made for tests, with the git binary and nobody's configuration.

// Each program that includes this uses its part of it.
#![allow(dead_code)]

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A repository with a work tree, gone when dropped.
pub(crate) struct Repo {
    directory: TempDir,
    now: Cell<i64>,
}

impl Repo {
    /// Without commits.
    pub(crate) fn new() -> Self {
        Self::with_format("sha1")
    }

    /// Without commits; its objects are named by this hash.
    pub(crate) fn with_format(format: &str) -> Self {
        let repo = Self { directory: tempfile::tempdir().unwrap(), now: Cell::new(1_700_000_000) };
        repo.git(&["init", "-q", "-b", "main", &format!("--object-format={format}")]);
        repo
    }

    /// A clone, with these options.
    pub(crate) fn clone_with(&self, options: &[&str]) -> Self {
        let clone = Self { directory: tempfile::tempdir().unwrap(), now: self.now.clone() };
        let url = format!("file://{}", self.path().display());
        clone.git(&[&["clone", "-q"], options, &[&url, "."]].concat());
        clone
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs git, which must succeed; returns what it prints.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_with(args, b"")
    }

    /// The same with something to read.
    pub(crate) fn git_with(&self, args: &[&str], input: &[u8]) -> String {
        let date = format!("@{} +0200", self.now.get());
        let mut command = Command::new("git");
        command.current_dir(self.path()).args(args);
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_AUTHOR_NAME", "Ada"),
            ("GIT_AUTHOR_EMAIL", "ada@example.org"),
            ("GIT_COMMITTER_NAME", "Bob"),
            ("GIT_COMMITTER_EMAIL", "bob@example.org"),
            ("GIT_AUTHOR_DATE", &date),
            ("GIT_COMMITTER_DATE", &date),
        ] {
            command.env(name, value);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes a file of the work tree.
    pub(crate) fn write(&self, path: impl AsRef<[u8]>, contents: impl AsRef<[u8]>) {
        let path = self.file(path.as_ref());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    /// A path of the work tree.
    pub(crate) fn file(&self, path: &[u8]) -> PathBuf {
        self.path().join(OsStr::from_bytes(path))
    }

    /// Commits the whole work tree, an hour after the last commit; returns the commit's id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.at(self.now.get() + 3600);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    /// The next commits are made at this second.
    pub(crate) fn at(&self, second: i64) {
        self.now.set(second);
    }

    /// The commit that is checked out.
    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// A commit made by hand of the index: any parents, whatever git thinks of them. Nothing names
    /// it yet.
    pub(crate) fn commit_of_index(&self, parents: &[&str], message: &str) -> String {
        self.at(self.now.get() + 3600);
        let tree = self.git(&["write-tree"]);
        let mut args = vec!["commit-tree", &tree, "-m", message];
        for parent in parents {
            args.extend(["-p", parent]);
        }
        self.git(&args)
    }

    /// A commit object byte for byte, whatever git thinks of it. Nothing names it yet.
    pub(crate) fn raw_commit(&self, object: &[u8]) -> String {
        self.git_with(&["hash-object", "-t", "commit", "-w", "--literally", "--stdin"], object)
    }
}
