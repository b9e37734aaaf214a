//! A value with its history.

use quorapay_core::domain::LogIndex;

/// The versions of a value. Each is valid from its index on.
#[derive(Clone, Debug)]
pub(super) struct Versions<T>(Vec<(LogIndex, T)>);

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Versions<T> {
    /// The current value.
    pub(super) fn latest(&self) -> Option<T> {
        self.0.last().map(|(_, value)| *value)
    }

    /// The first value.
    pub(super) fn first(&self) -> Option<T> {
        self.0.first().map(|(_, value)| *value)
    }

    /// The value as of an index.
    pub(super) fn as_of(&self, index: LogIndex) -> Option<T> {
        let after = self.0.partition_point(|(since, _)| *since <= index);
        after.checked_sub(1).map(|at| self.0[at].1)
    }

    /// The value as of an index and all later ones.
    pub(super) fn from(&self, index: LogIndex) -> impl Iterator<Item = T> {
        let after = self.0.partition_point(|(since, _)| *since <= index);
        self.0[after.saturating_sub(1)..].iter().map(|(_, value)| *value)
    }

    /// Sets the value from an index on, which is not before the last one.
    pub(super) fn set(&mut self, index: LogIndex, value: T) {
        match self.0.last_mut().filter(|(since, _)| *since == index) {
            Some((_, last)) => *last = value,
            None => self.0.push((index, value)),
        }
    }

    /// Removes what was set at an index.
    pub(super) fn undo(&mut self, index: LogIndex) {
        while self.0.pop_if(|(since, _)| *since >= index).is_some() {}
    }
}
