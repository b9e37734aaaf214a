//! The disk of a simulated host: real files and a real SQLite, which works while everything else of the run stands still,
//! and takes as long as the run says.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use quorapay_lab::random::Random;
use quorapay_node::blocking::Steps;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::unconstrained;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Disk {
    /// Where SQLite's own tasks and threads run.
    threads: Handle,
    random: Arc<Mutex<Random>>,
    longest_ms: u64,
    hangs: Arc<AtomicBool>,
    goes_on: Arc<Notify>,
}

impl Disk {
    /// A disk whose writes take up to `longest_ms`.
    pub(crate) fn new(threads: Handle, random: Random, longest_ms: u64) -> Self {
        Self {
            threads,
            random: Arc::new(Mutex::new(random)),
            longest_ms,
            hangs: Arc::default(),
            goes_on: Arc::default(),
        }
    }

    /// Drops something that has connections to SQLite: their last tasks need a runtime.
    pub(crate) fn dropping(&self, drop: impl FnOnce()) {
        let _threads = self.threads.enter();
        drop();
    }

    /// Whether writes do not end from now on.
    pub(crate) fn set_hangs(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::Relaxed);
        self.goes_on.notify_waiters();
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

impl Steps for Disk {
    fn run(&self, work: Pin<&mut (dyn Future<Output = ()> + Send)>) {
        let _threads = self.threads.enter();
        // Without the scheduler's budget: it would never be renewed here.
        pollster::block_on(unconstrained(work));
    }

    fn write_takes(&self) -> BoxFuture<'_, ()> {
        let us = 200 + 1_000 * self.random.lock().unwrap_or_else(PoisonError::into_inner).below(self.longest_ms);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_micros(us)).await;
            while self.hangs.load(Ordering::Relaxed) {
                self.goes_on.notified().await;
            }
        })
    }
}
