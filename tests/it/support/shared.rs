//! One cluster for the tests of a file: starting one takes longer than most of them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::cluster::Cluster;

/// A cluster of three that lives while a test holds it. Tests that overlap share it, so each uses keys and accounts of
/// its own and breaks nothing.
pub(crate) struct Shared(Mutex<Weak<Cluster>>);

impl Shared {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The cluster, started if no other test holds it.
    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Cluster::start(3));
            *held = Arc::downgrade(&cluster);
            cluster
        })
    }
}
