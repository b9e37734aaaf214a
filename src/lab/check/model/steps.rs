//! A value's whole history.

use quorapay_core::domain::LogIndex;

/// Each step holds from its index on.
#[derive(Clone, Debug)]
pub(super) struct Steps<T>(Vec<(LogIndex, T)>);

impl<T> Default for Steps<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Steps<T> {
    /// The value now.
    pub(super) fn latest(&self) -> Option<T> {
        self.0.last().map(|(_, value)| *value)
    }

    /// The first value that it had.
    pub(super) fn first(&self) -> Option<T> {
        self.0.first().map(|(_, value)| *value)
    }

    /// The value as of an index.
    pub(super) fn as_of(&self, index: LogIndex) -> Option<T> {
        let after = self.0.partition_point(|(since, _)| *since <= index);
        after.checked_sub(1).map(|at| self.0[at].1)
    }

    /// The value as of an index, and every one after it.
    pub(super) fn from(&self, index: LogIndex) -> impl Iterator<Item = T> {
        let after = self.0.partition_point(|(since, _)| *since <= index);
        self.0[after.saturating_sub(1)..].iter().map(|(_, value)| *value)
    }

    /// Sets the value from an index on that is not before the last one.
    pub(super) fn set(&mut self, index: LogIndex, value: T) {
        match self.0.last_mut().filter(|(since, _)| *since == index) {
            Some((_, last)) => *last = value,
            None => self.0.push((index, value)),
        }
    }

    /// Takes back what was set at an index.
    pub(super) fn take_back(&mut self, index: LogIndex) {
        while self.0.pop_if(|(since, _)| *since >= index).is_some() {}
    }
}
