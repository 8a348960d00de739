//! The name of a file: it outlives a power cut only when its directory is durable, too.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Makes the name of a file durable, which must exist.
///
/// On Unix a directory is a file of its own, to be synced like any other; elsewhere the system
/// keeps names with the files. Where a directory may not be read, or its file system cannot sync
/// one, nothing can be done: that is no error, or no store could be made there.
pub(crate) fn keep_name(file: &Path) -> io::Result<()> {
    keep_name_in(file, &|directory| {
        let is_possible = cfg!(unix);
        if is_possible { File::open(directory)?.sync_all() } else { Ok(()) }
    })
}

/// The same, with another way to make a directory durable.
pub(crate) fn keep_name_in(file: &Path, sync: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    // a link may lead to a file elsewhere, whose name is in another directory
    let file = fs::canonicalize(file)?;
    let Some(directory) = file.parent() else { return Ok(()) };
    match sync(directory) {
        Err(e) if is_impossible(&e) => Ok(()),
        done => done,
    }
}

fn is_impossible(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unsupported | ErrorKind::InvalidInput | ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;

    use super::*;

    fn synced(file: &Path) -> Vec<PathBuf> {
        let seen = RefCell::new(Vec::new());
        keep_name_in(file, &|directory| {
            seen.borrow_mut().push(directory.to_owned());
            Ok(())
        })
        .unwrap();
        seen.into_inner()
    }

    #[test]
    fn the_directory_that_holds_the_name_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(folder.path()).unwrap();
        let file = home.join("a");
        fs::write(&file, "").unwrap();
        assert_eq!(synced(&file), [home]);
        assert_eq!(synced(Path::new("Cargo.toml")), [fs::canonicalize(".").unwrap()]);
        keep_name(&file).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn of_a_link_it_is_the_directory_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(folder.path()).unwrap();
        let elsewhere = home.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("a"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.join("a"), home.join("b")).unwrap();
        assert_eq!(synced(&home.join("b")), [elsewhere]);
    }

    #[test]
    fn what_cannot_be_done_is_no_error_and_what_fails_is() {
        let with = |kind: ErrorKind| keep_name_in(Path::new("Cargo.toml"), &|_| Err(kind.into()));
        for kind in [ErrorKind::Unsupported, ErrorKind::InvalidInput, ErrorKind::PermissionDenied] {
            with(kind).unwrap();
        }
        for kind in [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::NotFound] {
            assert_eq!(with(kind).unwrap_err().kind(), kind);
        }
    }
}
