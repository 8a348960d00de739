//! Stores that are looked at and not changed.

use std::path::Path;

use crate::builder::Builder;
use crate::engine::Engine;
use crate::error::Result;
use crate::store::Store;

impl Builder {
    /// Opens the store in a file to read it: whatever happens, the file stays as it is, byte by
    /// byte. Also what a crash left, what lies on a medium that cannot be written, and a file
    /// that one may only read: what redb has to write to recover it stays in memory, some pages.
    ///
    /// Several processes may read one file, and none can write it meanwhile, unless both sides ask
    /// for it with [`shared`](Self::shared). Everything that would change the store is
    /// [`Error::ReadOnly`](crate::Error::ReadOnly). Reading, queries (by those indexes that are
    /// ready), [`verify`](Engine::verify) and [`backup`](Engine::backup) are as ever; a sync with a
    /// store that has nothing new gives it everything, and only the other side remembers. What
    /// opening may tell of copies ([`Engine::opened`]) it does not look for.
    ///
    /// ```
    /// use heirloom::{Content, Engine, Error};
    /// # let dir = std::env::temp_dir().join(format!("heirloom-read-only-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir).unwrap();
    /// # let path = dir.join("store");
    /// let engine = Engine::open(&path)?;
    /// let lamp = engine.write(|tx| tx.create("lamp", &Content::new().with("name", "desk")))?;
    /// engine.close()?;
    ///
    /// let engine = Engine::open_read_only(&path)?;
    /// assert_eq!(engine.snapshot()?.get(lamp)?.unwrap().get("name")?, Some("desk".into()));
    /// assert!(matches!(engine.write(|tx| tx.delete(lamp)), Err(Error::ReadOnly)));
    /// # engine.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// Takes as long as [`open`](Self::open): what a crash left in the journal is read each time.
    ///
    /// # Errors
    /// As for [`open`](Self::open). [`Error::AlreadyOpen`](crate::Error::AlreadyOpen) if somebody
    /// has it open to write; [`Error::NoFile`](crate::Error::NoFile) if there is no file.
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Engine> {
        let store = Store::open_read_only(path.as_ref(), self.options()?)?;
        Ok(self.engine(store))
    }
}

impl Engine {
    /// Opens the store in a file to read it, with the defaults of [`Builder`]: see
    /// [`Builder::open_read_only`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open_read_only(path)
    }

    /// Whether everything that would change the store is refused.
    pub fn is_read_only(&self) -> bool {
        self.store().read_only
    }
}
