//! The commit after which opening is quick, made when nothing was written for a while.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::idle::Idle;
use super::store::Store;
use crate::error::Result;
use crate::store::file::Process;

impl Store {
    /// A commit after which opening is quick. Does nothing if the last one was such.
    pub(crate) fn mark_clean(&self) -> Result<()> {
        self.check_not_held()?;
        if self.read_only {
            return Ok(());
        }
        self.group.in_turn(|| {
            if self.group.is_broken() {
                return Err(self.broken());
            }
            // before the commit: peers are remembered out of turn, and what follows it must not go
            // unnoticed
            let Some(written) = self.idle.state.lock().written.take() else { return Ok(()) };
            self.commit(true, |_| Ok(()))
                .inspect_err(|_| self.idle.state.lock().written = Some(written))
        })
    }
}

/// The thread that marks the file clean when nothing was written for a while. Ends with the engine.
pub(crate) struct MarkClean {
    idle: Arc<Idle>,
    thread: Option<JoinHandle<()>>,
    process: Process,
}

impl MarkClean {
    pub(crate) fn start(store: &Arc<Store>, period: Option<Duration>) -> Self {
        let idle = store.idle.clone();
        let thread =
            period.filter(|_| store.file.is_some() && !store.read_only).and_then(|period| {
                let (store, idle): (Weak<Store>, _) = (Arc::downgrade(store), idle.clone());
                let work = move || {
                    while idle.wait(period) {
                        // what fails here fails again where somebody is told of it
                        let Some(Ok(())) = store.upgrade().map(|store| store.mark_clean()) else {
                            break;
                        };
                    }
                };
                std::thread::Builder::new().name("heirloom-idle".to_owned()).spawn(work).ok()
            });
        Self { idle, thread, process: store.process }
    }
}

impl Drop for MarkClean {
    /// Waits, so that the file is free when the engine is gone.
    fn drop(&mut self) {
        if !self.process.is_this() {
            // no thread came along
            std::mem::forget(self.thread.take());
            return;
        }
        self.idle.state.lock().over = true;
        self.idle.moved.notify_all();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
