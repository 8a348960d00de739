//! A file that is written beside its place.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use tempfile::TempPath;

/// A file on its way: it gets its name when it is whole, so that none is ever seen half made, and
/// whatever goes wrong, it does not stay behind.
pub(crate) struct Partial(TempPath);

impl Partial {
    /// Beside its place, under a name that nobody else uses: what a crash left under such a name is
    /// never touched.
    pub(crate) fn create(path: &Path) -> io::Result<(Self, File)> {
        is_free(path)?;
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let mut prefix = name.to_owned();
        prefix.push(".");
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".partial").rand_bytes(16);
        // it is to stay, so who may read it is for the application to say
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let (file, path) = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?.into_parts();
        Ok((Self(path), file))
    }

    /// Gives it its name, and makes that durable, unless somebody took it meanwhile. Returns how
    /// much room it takes.
    pub(crate) fn arrive(
        self,
        path: &Path,
        keep_name: &dyn Fn(&Path) -> io::Result<()>,
    ) -> io::Result<u64> {
        let size = room(&fs::metadata(&self.0)?);
        match self.0.persist_noclobber(path) {
            Err(e) if e.error.kind() == ErrorKind::AlreadyExists => return Err(e.error),
            Err(e) => {
                // a file system that can neither rename so nor link
                is_free(path)?;
                e.path.persist(path).map_err(|e| e.error)?;
            }
            Ok(()) => {}
        }
        keep_name(path).inspect_err(|_| _ = fs::remove_file(path))?;
        Ok(size)
    }
}

/// Bytes that a file takes on the disk, as far as the system tells: one may be longer than that,
/// with holes.
pub(crate) fn room(file: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    return file.len().min(std::os::unix::fs::MetadataExt::blocks(file) * 512);
    #[cfg(not(unix))]
    file.len()
}

fn is_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(ErrorKind::AlreadyExists.into()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_has_its_name_once_it_is_whole_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (partial, mut file) = Partial::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        let [on_its_way] = &names(folder.path())[..] else { panic!("one file") };
        assert!(on_its_way.starts_with("store.") && on_its_way.ends_with(".partial"));
        assert_eq!(partial.arrive(&path, &|_| Ok(())).unwrap(), 5);
        assert_eq!(
            (names(folder.path()), fs::read(&path).unwrap()),
            (vec!["store".into()], b"whole".into())
        );
    }

    #[test]
    fn a_name_that_somebody_took_is_left_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (partial, _file) = Partial::create(&path).unwrap();
        fs::write(&path, "theirs").unwrap();
        let error = partial.arrive(&path, &|_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(
            (names(folder.path()), fs::read(&path).unwrap()),
            (vec!["store".into()], b"theirs".into())
        );
        assert_eq!(Partial::create(&path).err().unwrap().kind(), ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_is_given_up_or_whose_name_does_not_last_does_not_stay_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(Partial::create(&path).unwrap());
        assert_eq!(names(folder.path()), [""; 0]);
        let (partial, _file) = Partial::create(&path).unwrap();
        partial.arrive(&path, &|_| Err(ErrorKind::Other.into())).unwrap_err();
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn it_may_be_read_by_whom_the_umask_lets() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("a"), folder.path().join("b"));
        let (partial, _file) = Partial::create(&ours).unwrap();
        partial.arrive(&ours, &|_| Ok(())).unwrap();
        fs::write(&plain, "").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
