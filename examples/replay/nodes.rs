//! The three nodes: one store file each, in one directory.

use std::path::{Path, PathBuf};

use heirloom::Engine;
use tempfile::TempDir;

use crate::error::{Doing, Result};

/// All replays into one directory meet in this dataset.
const DATASET: &str = "heirloom replay";

/// The node on which the cuts are compared with git.
pub(crate) const LAST: usize = 2;

/// Three engines. A directory of our own making goes when they go.
#[derive(Debug)]
pub(crate) struct Nodes {
    engines: Vec<Engine>,
    directory: PathBuf,
    _temporary: Option<TempDir>,
}

impl Nodes {
    /// Opens them in `directory`, or in a temporary one.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self> {
        let temporary = match directory {
            Some(directory) => {
                std::fs::create_dir_all(directory).doing("making the --store directory")?;
                None
            }
            None => Some(tempfile::tempdir().doing("making a temporary directory")?),
        };
        let directory = match &temporary {
            Some(temporary) => temporary.path(),
            None => directory.unwrap_or(Path::new(".")),
        };
        let directory = directory.to_path_buf();
        let open = |node: usize| {
            let label = format!("node-{}", node + 1);
            Engine::builder().label(&label).dataset_name(DATASET).open(path(&directory, node))
        };
        let engines = (0..3).map(open).collect::<heirloom::Result<_>>()?;
        Ok(Self { engines, directory, _temporary: temporary })
    }

    /// The engines of node 1, 2 and 3.
    pub(crate) fn engines(&self) -> &[Engine] {
        &self.engines
    }

    /// Size of a node's file; `node` counts from 0.
    pub(crate) fn file_bytes(&self, node: usize) -> Result<u64> {
        let file = std::fs::metadata(path(&self.directory, node));
        let file = file.doing("looking at a store file")?;
        // the part of a journal that was never used is a hole
        #[cfg(unix)]
        return Ok(std::os::unix::fs::MetadataExt::blocks(&file) * 512);
        #[cfg(not(unix))]
        Ok(file.len())
    }
}

fn path(directory: &Path, node: usize) -> PathBuf {
    directory.join(format!("node-{}.heirloom", node + 1))
}
