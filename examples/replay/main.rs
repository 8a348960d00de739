//! `cargo run --release --example replay [-- --json PATH] [REPOSITORY]`: a git history, replayed
//! and checked.

use std::io::{self, Write};
use std::process::ExitCode;

use heirloom_examples::{Error, Options, USAGE, run};

/// Everything that was checked is true: 0. Something differs or failed: 1. It could not start: 2.
fn main() -> ExitCode {
    let done = Options::parse(std::env::args_os().skip(1)).and_then(|options| match options {
        None => Ok((USAGE.to_owned(), true)),
        Some(options) => run(&options).map(|summary| (summary.to_string(), summary.is_verified())),
    });
    match done {
        Ok((text, fine)) => {
            // Whoever closed our output does not want it.
            writeln!(io::stdout(), "{text}").ok();
            if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            writeln!(io::stderr(), "replay: {error}").ok();
            match error {
                Error::Usage(_) | Error::GitMissing | Error::NotARepository(..) => {
                    ExitCode::from(2)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}
