//! Whether a file that is derived from another one may be read. While it is made anew it holds less than it did, and what
//! is missing in it must not pass for what does not exist.
//!
//! A read that overlaps such a time fails: it looks at the gate before it begins and after it ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    closed: AtomicBool,
    /// How often it was closed.
    closings: AtomicU64,
    /// Damage that readers found and nobody has taken yet.
    damage: Mutex<Option<String>>,
    found: Notify,
}

/// See the module. Clones share one gate.
#[derive(Clone, Debug, Default)]
pub struct ReadGate(Arc<Shared>);

/// A read that began while the gate was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(u64);

impl ReadGate {
    /// Begins a read; `None` while the gate is closed.
    #[must_use]
    pub fn enter(&self) -> Option<Pass> {
        let pass = Pass(self.0.closings.load(Ordering::Acquire));
        (!self.is_closed()).then_some(pass)
    }

    /// Whether the gate was open all the time since the read began.
    #[must_use]
    pub fn held_open(&self, pass: Pass) -> bool {
        !self.is_closed() && self.0.closings.load(Ordering::Acquire) == pass.0
    }

    /// Whether the file may not be read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// The file is about to be made anew.
    pub(crate) fn close(&self) {
        self.0.closings.fetch_add(1, Ordering::AcqRel);
        self.0.closed.store(true, Ordering::Release);
    }

    /// The file holds again what it held.
    pub(crate) fn open(&self) {
        // What was found before is gone with the old file.
        self.take_damage();
        self.0.closed.store(false, Ordering::Release);
    }

    /// A reader found the file damaged.
    pub(crate) fn report(&self, reason: String) {
        if !self.is_closed() {
            self.0.damage.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
            self.0.found.notify_one();
        }
    }

    fn take_damage(&self) -> Option<String> {
        self.0.damage.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until a reader finds the file damaged.
    pub(crate) async fn damaged(&self) -> String {
        loop {
            if let Some(reason) = self.take_damage() {
                return reason;
            }
            self.0.found.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_read_that_overlaps_the_time_in_which_the_file_is_made_anew_does_not_count() {
        let gate = ReadGate::default();
        let before = gate.enter().expect("open");
        assert!(gate.held_open(before));
        gate.close();
        assert_eq!(gate.enter(), None);
        assert!(!gate.held_open(before));
        gate.open();
        assert!(!gate.held_open(before), "it was closed meanwhile");
        assert!(gate.enter().is_some_and(|after| gate.held_open(after)));
    }

    #[test]
    fn damage_is_reported_once_and_not_while_it_is_being_mended() {
        let gate = ReadGate::default();
        assert_eq!(gate.damaged().now_or_never(), None);
        gate.report("a page".to_owned());
        gate.report("another page".to_owned());
        assert_eq!(gate.damaged().now_or_never().as_deref(), Some("a page"));
        gate.close();
        gate.report("the same page".to_owned());
        gate.open();
        assert_eq!(gate.damaged().now_or_never(), None);
    }
}
