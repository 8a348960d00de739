//! Which log a store writes: its own, until it turns out that the file is a copy (R34).

use crate::engine::Engine;
use crate::error::Result;
use crate::store::Opened;

impl Engine {
    /// What opening found.
    ///
    /// What is noticed at opening: a copy under another name, a file restored beside or in place of
    /// the old one by making it anew, another machine, another [install
    /// id](crate::Builder::install_id). What is not: a machine or disk that is set back as a whole,
    /// and a backup written *into* the old file. The store is then told by the first sync that
    /// brings commits which go on with its own log; until both have written nothing can go wrong,
    /// and what both wrote lives on as branches (see [`Fork`](crate::Fork)).
    ///
    /// What keeps it: renaming the file, and moving it within a file system, while nobody has it
    /// open. Where a file system gives a file another number each time it is mounted (some network
    /// shares) each opening finds a copy: that costs a log and a new name among peers with the next
    /// write, and nothing else.
    pub fn opened(&self) -> Opened {
        self.store().opened
    }

    /// Goes on under a fresh log, drawn with the next write, that names this one as its predecessor
    ///.
    ///
    /// For a device whose clock was far ahead and is right again: times never go back within a log,
    /// so that all that it writes bears the wrong time until its clock has caught up. From this
    /// call on [`Version::wall`](crate::Version::wall) is the device's clock again, and
    /// [`as_of`](crate::Snapshot::as_of) a time finds what is written by then, also on top of what
    /// was written ahead. What was written ahead keeps its time. The stamp of a version that is
    /// written on top of it follows it, since a version must come after what it replaces; a new
    /// entity's is right.
    ///
    /// And for whoever sets a machine back as a whole and knows it. Durable when it returns; does
    /// nothing where nothing was written yet.
    ///
    /// ```
    /// # use heirloom::{Content, Engine};
    /// # let engine = Engine::in_memory()?;
    /// engine.write(|tx| tx.create("note", &Content::new()))?;
    /// let before = engine.log_id();
    /// engine.start_fresh_log()?;
    /// engine.write(|tx| tx.create("note", &Content::new()))?;
    /// assert_ne!(engine.log_id(), before);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::Closed`](crate::Error::Closed), [`Error::Poisoned`](crate::Error::Poisoned),
    /// [`Error::Storage`](crate::Error::Storage).
    pub fn start_fresh_log(&self) -> Result<()> {
        let store = self.store();
        let batch = {
            let mut writer = store.writer()?;
            writer.wall = 0;
            store.leave_own_log(&mut writer);
            // also where another has just left it: that is on its way
            writer.rests_on()
        };
        store.flush(batch)
    }
}
