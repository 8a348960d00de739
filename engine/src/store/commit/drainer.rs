//! The thread that drains the journal of a store in a file. Ends with the engine.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::idle::Idle;
use super::store::Store;
use crate::store::file::Process;

/// Runs until it is dropped.
pub(crate) struct Drainer {
    idle: Arc<Idle>,
    thread: Option<JoinHandle<()>>,
    process: Process,
}

impl Drainer {
    /// `pause`: after so long a pause in writing it drains what little there is.
    pub(crate) fn start(store: &Arc<Store>, pause: Option<Duration>) -> Self {
        let idle = store.idle.clone();
        let mut thread = None;
        if store.file.is_some() && !store.read_only {
            let (store, idle): (Weak<Store>, _) = (Arc::downgrade(store), idle.clone());
            idle.watch();
            let work = move || {
                while idle.wait(pause) {
                    // what fails here fails again where somebody is told of it
                    let Some(Ok(())) = store.upgrade().map(|store| store.drain()) else { break };
                }
                idle.end();
            };
            let builder = std::thread::Builder::new().name("heirloom-drain".to_owned());
            thread = builder.spawn(work).ok();
        }
        if thread.is_none() {
            idle.end();
        }
        Self { idle, thread, process: store.process }
    }
}

impl Drop for Drainer {
    /// Waits, so that the file is free when the engine is gone.
    fn drop(&mut self) {
        if !self.process.is_this() {
            // no thread came along
            std::mem::forget(self.thread.take());
            return;
        }
        self.idle.end();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
