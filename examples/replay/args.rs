//! What is asked for on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The help text.
pub const USAGE: &str = "\
usage: replay [options] [REPOSITORY]

Replays the whole history of a git repository (default: the one it stands in)
through heirloom, carries it over TCP to two more nodes, edits it on all three
while they are apart, syncs, and checks the result against git. Nothing is
fetched: what a shallow or partial clone lacks is left out, as the summary says.

  --json PATH     write the summary as one flat JSON object too
  --store DIR     keep the three stores here; a later run adds only what is new
                  (default: removed at the end)
  --no-contents   leave the contents of files out (otherwise up to 64 KiB of
                  each are taken along)
  --check N|all   how many commits to compare with git (default 2000, spread
                  evenly)
  --seed N        seed of the connection cuts (default 1)
  --help          this text";

/// How many commits are compared with git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Every one.
    All,
    /// At most so many, spread evenly.
    Sample(u32),
}

/// What a replay is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// A directory in the repository.
    pub repository: PathBuf,
    /// Where to write the summary as JSON.
    pub json: Option<PathBuf>,
    /// Where to keep the stores; a temporary directory when absent.
    pub store: Option<PathBuf>,
    /// Take contents up to 64 KiB along?
    pub contents: bool,
    /// How many commits to compare with git.
    pub check: Check,
    /// Seed of what is random: where the connection is cut.
    pub seed: u64,
}

impl Options {
    /// The defaults, for this repository.
    pub fn new(repository: impl Into<PathBuf>) -> Self {
        let repository = repository.into();
        Self {
            repository,
            json: None,
            store: None,
            contents: true,
            check: Check::Sample(2000),
            seed: 1,
        }
    }

    /// Reads the arguments after the program's name. None: the help is asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] names the argument that is not understood.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Self>> {
        let mut options = Self::new(".");
        let mut repository = None;
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value =
                || args.next().ok_or_else(|| usage(format!("{} needs a value", arg.display())));
            match arg.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--json") => options.json = Some(value()?.into()),
                Some("--store") => options.store = Some(value()?.into()),
                Some("--no-contents") => options.contents = false,
                Some("--check") => options.check = check(&value()?)?,
                Some("--seed") => options.seed = number(&value()?)?,
                Some(flag) if flag.starts_with('-') => {
                    return Err(usage(format!("unknown option {flag}")));
                }
                _ if repository.is_some() => {
                    return Err(usage("more than one repository".to_owned()));
                }
                _ => repository = Some(PathBuf::from(&arg)),
            }
        }
        options.repository = repository.unwrap_or(options.repository);
        Ok(Some(options))
    }
}

fn check(value: &OsString) -> Result<Check> {
    if value == "all" { Ok(Check::All) } else { number(value).map(Check::Sample) }
}

fn number<N: std::str::FromStr>(value: &OsString) -> Result<N> {
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| usage(format!("{} is not a number", value.display())))
}

fn usage(what: String) -> Error {
    Error::Usage(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_may_stand_on_either_side_of_the_repository() {
        let options = parse("--json out.json some/where --check all --no-contents --seed 7")
            .unwrap()
            .unwrap();
        let mut expected = Options::new("some/where");
        expected.json = Some("out.json".into());
        (expected.check, expected.contents, expected.seed) = (Check::All, false, 7);
        assert_eq!(options, expected);
        assert_eq!(parse("").unwrap().unwrap(), Options::new("."));
        assert_eq!(parse("--help").unwrap(), None);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [
            ("--jsn x", "--jsn"),
            ("a b", "more than one"),
            ("--json", "--json"),
            ("--check x", "x is not"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("usage:"), "{error}");
        }
    }
}
