//! The thread that builds indexes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::store::commit::Store;
use crate::store::file::Process;

/// The thread that builds indexes, if there was something to do. Ends when it is done, or with the
/// engine.
pub(crate) struct Indexer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    process: Process,
}

impl Indexer {
    pub(crate) fn start(store: &Arc<Store>, wanted: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = (wanted && store.has_index_work()).then(|| {
            let (store, stop) = (store.clone(), stop.clone());
            let work = move || {
                // an error or a panic ends the work: queries scan, and the next opening goes on
                let step = || catch_unwind(AssertUnwindSafe(|| store.index_step()));
                while !stop.load(Ordering::Relaxed) && matches!(step(), Ok(Ok(true))) {}
            };
            std::thread::Builder::new().name("heirloom-index".to_owned()).spawn(work).ok()
        });
        Self { stop, thread: thread.flatten(), process: store.process }
    }
}

impl Drop for Indexer {
    /// Waits, so that the file is free when the engine is gone.
    fn drop(&mut self) {
        if !self.process.is_this() {
            // no thread came along
            std::mem::forget(self.thread.take());
            return;
        }
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
