//! A value that one task publishes and many watch.
//!
//! It wakes those who wait in the order in which they began to wait. Tokio's own watch channel wakes them in a random order,
//! and then no run of the simulation could be repeated.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

struct Shared<T> {
    value: RwLock<T>,
    changed: Notify,
    ended: AtomicBool,
}

/// The publisher is gone: the value will not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

/// Publishes. Dropping it ends every wait.
pub struct Publisher<T>(Arc<Shared<T>>);

/// Watches. Cheap to clone.
pub struct Watched<T>(Arc<Shared<T>>);

/// A publisher of this value, and who watches it.
pub fn publish<T>(value: T) -> (Publisher<T>, Watched<T>) {
    let shared = Arc::new(Shared { value: RwLock::new(value), changed: Notify::new(), ended: AtomicBool::new(false) });
    (Publisher(Arc::clone(&shared)), Watched(shared))
}

impl<T> Publisher<T> {
    /// Changes the value in place. Those who wait look at it if the change says so.
    pub(crate) fn modify(&self, change: impl FnOnce(&mut T) -> bool) {
        let notify = change(&mut self.0.value.write().unwrap_or_else(PoisonError::into_inner));
        if notify {
            self.0.changed.notify_waiters();
        }
    }

    /// Publishes another value.
    pub(crate) fn replace(&self, value: T) {
        self.modify(|published| {
            *published = value;
            true
        });
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.changed.notify_waiters();
    }
}

impl<T> Watched<T> {
    /// The value now. The guard must not be kept across a wait.
    pub(crate) fn borrow(&self) -> impl Deref<Target = T> + '_ {
        self.read()
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the value is as wanted, and returns a copy.
    ///
    /// # Errors
    /// [`Ended`] if it is not and will not be.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&T) -> bool) -> Result<T, Ended>
    where
        T: Clone,
    {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Before the look: a change after it wakes this wait.
            changed.as_mut().enable();
            let ended = self.0.ended.load(Ordering::Acquire);
            {
                let value = self.read();
                if wanted(&value) {
                    return Ok(value.clone());
                }
            }
            if ended {
                return Err(Ended);
            }
            changed.await;
        }
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_wait_ends_with_the_wanted_value_or_with_the_publisher() {
        let (publisher, watched) = publish(1);
        let mut wait = Box::pin(watched.wait_for(|value| *value == 3));
        assert_eq!(wait.as_mut().now_or_never(), None);
        publisher.replace(2);
        assert_eq!(wait.as_mut().now_or_never(), None);
        publisher.replace(3);
        assert_eq!(wait.as_mut().now_or_never(), Some(Ok(3)));
        publisher.modify(|value| {
            *value = 4;
            false
        });
        assert_eq!(*watched.borrow(), 4);
        drop(publisher);
        assert_eq!(watched.wait_for(|value| *value == 4).now_or_never(), Some(Ok(4)), "it is as wanted all the same");
        assert_eq!(watched.wait_for(|value| *value == 5).now_or_never(), Some(Err(Ended)));
    }
}
