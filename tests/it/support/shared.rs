//! One cluster for all tests of a file, because starting one takes longer than most tests.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::cluster::Cluster;

/// A cluster of three nodes that lives while a test uses it. Concurrent tests share it, so each uses its own keys and
/// accounts and makes nothing fail.
pub(crate) struct Shared(Mutex<Weak<Cluster>>);

impl Shared {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The cluster, started if no other test holds it.
    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        current.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Cluster::start(3));
            *current = Arc::downgrade(&cluster);
            cluster
        })
    }
}
