//! Cursors and pages of lists that are shown newest first.

use quorapay_core::domain::LogIndex;

/// A position in a list that is shown newest first: a payment or a posting within an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The entry.
    pub index: LogIndex,
    /// The number within the entry: zero except in batches.
    pub item: u16,
}

impl Cursor {
    /// The first position of an entry.
    pub(super) const fn at(index: LogIndex) -> Self {
        Self { index, item: 0 }
    }

    /// The lowest index all of whose positions are at this one or after it: a page before this cursor looks below it.
    pub(super) const fn below(self) -> LogIndex {
        if self.item == 0 { self.index } else { self.index.next() }
    }
}

/// One page of a list, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What was found, at most as much as asked for. May be less, or nothing, before the end of the list: the work for
    /// one page is bounded.
    pub found: Vec<T>,
    /// The next page holds what is before this cursor; `None` at the end of the list.
    pub next_before: Option<Cursor>,
}
