//! How many clusters run at the same time.

use std::sync::{Condvar, Mutex, PoisonError};

/// Maximum number of concurrent clusters. More would only compete for CPU time.
const MAX_CONCURRENT_CLUSTERS: usize = 3;

/// Permission to run a cluster, until it is dropped.
pub(super) struct Permit;

static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Permit {
    /// Waits for one.
    pub(super) fn take() -> Self {
        let running = RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |running: &mut usize| *running >= MAX_CONCURRENT_CLUSTERS;
        *RUNNING.1.wait_while(running, full).unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RUNNING.1.notify_one();
    }
}
