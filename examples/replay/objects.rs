//! Raw objects, out of two long-lived `git cat-file` processes: one says sizes, one gives bytes.

use std::io::{Read, Write};
use std::process::{ChildStdin, Stdio};

use crate::error::{Doing, Error, Result};
use crate::git::{Repository, Running, unexpected};
use crate::oid::Oid;

/// Requests sent before an answer is read: few enough that they fit a pipe, or both sides would
/// wait.
const AHEAD: usize = 256;

/// Reads objects of a repository.
#[derive(Debug)]
pub(crate) struct Objects {
    sizes: CatFile,
    bytes: CatFile,
}

impl Objects {
    /// Starts the two processes.
    pub(crate) fn open(repository: &Repository) -> Result<Self> {
        let sizes = CatFile::start(repository, "--batch-check")?;
        let bytes = CatFile::start(repository, "--batch")?;
        Ok(Self { sizes, bytes })
    }

    /// The bytes of one object, which must be of this kind.
    pub(crate) fn read(&mut self, kind: &str, oid: Oid) -> Result<Vec<u8>> {
        self.bytes.ask(&[oid])?;
        self.bytes.object(kind, oid)
    }

    /// Of each blob its size in bytes; none where a partial clone left it out.
    pub(crate) fn sizes(&mut self, blobs: &[Oid]) -> Result<Vec<Option<u64>>> {
        self.sizes.each(blobs, |process, oid| process.heading("blob", oid))
    }

    /// The bytes of each blob.
    pub(crate) fn blobs(&mut self, blobs: &[Oid]) -> Result<Vec<Vec<u8>>> {
        self.bytes.each(blobs, |process, oid| process.object("blob", oid))
    }
}

/// One `git cat-file`: ids in, objects out, in the same order.
#[derive(Debug)]
struct CatFile {
    requests: ChildStdin,
    running: Running,
    line: Vec<u8>,
}

impl CatFile {
    fn start(repository: &Repository, mode: &str) -> Result<Self> {
        let mut command = repository.command(["cat-file", mode]);
        // Nobody reads what it says there; a full pipe would stop it.
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running::start(command)?;
        Ok(Self { requests: running.requests()?, running, line: Vec::new() })
    }

    /// Asks for many, and reads the answers with `read`.
    fn each<T>(
        &mut self,
        oids: &[Oid],
        read: impl Fn(&mut Self, Oid) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut answers = Vec::with_capacity(oids.len());
        for some in oids.chunks(AHEAD) {
            self.ask(some)?;
            for oid in some {
                answers.push(read(self, *oid)?);
            }
        }
        Ok(answers)
    }

    fn ask(&mut self, oids: &[Oid]) -> Result<()> {
        let mut lines = String::with_capacity(oids.len() * 65);
        for oid in oids {
            lines.push_str(&oid.to_string());
            lines.push('\n');
        }
        self.requests.write_all(lines.as_bytes()).doing("asking git for objects")
    }

    /// `<id> <kind> <size>`: the size. `<id> missing`: none.
    fn heading(&mut self, kind: &str, oid: Oid) -> Result<Option<u64>> {
        if !self.running.line(&mut self.line)? {
            return Err(Error::Git("cat-file ended early".to_owned()));
        }
        let heading = String::from_utf8_lossy(&self.line);
        let words: Vec<&str> = heading.split(' ').collect();
        match words[..] {
            [id, found, size] if id == oid.to_string() && found == kind => {
                size.parse().map(Some).map_err(|_| unexpected(heading.as_bytes()))
            }
            [id, "missing"] if id == oid.to_string() => Ok(None),
            _ => Err(unexpected(heading.as_bytes())),
        }
    }

    fn object(&mut self, kind: &str, oid: Oid) -> Result<Vec<u8>> {
        let size = self.heading(kind, oid)?.ok_or_else(|| {
            Error::Git(format!(
                "{kind} {oid} is not in this repository, and nothing is fetched; of what a clone \
                 can leave out only blobs may be absent (--filter=blob:none)"
            ))
        })?;
        let mut bytes = Vec::new();
        let end = size.checked_add(1).ok_or_else(|| unexpected(&self.line))?;
        (&mut self.running.answer).take(end).read_to_end(&mut bytes).doing("reading from git")?;
        match (bytes.pop(), bytes.len() as u64 == size) {
            (Some(b'\n'), true) => Ok(bytes),
            _ => Err(Error::Git(format!("{kind} {oid} was cut short"))),
        }
    }
}
