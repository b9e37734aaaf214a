//! What reads find in memory: the newest applied entries, older entries that were read lately, and which payments are
//! known never to have changed.
//!
//! Only applied entries are here. They are committed, so no truncation removes them, and what is said of them stays
//! true. A payment can only be changed after it was decided: as the newest entries have no gap, they hold every change
//! of every payment among them, and no other place needs to be asked for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashlink::LruCache;

use crate::ledger::{EntryPage, ScanFilter};
use quorapay_core::domain::{LogIndex, Operation, PaymentId};
use quorapay_core::replication::Entry;

/// Bounds of the memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Newest entries, in number.
    newest: usize,
    /// Newest entries, in bytes.
    newest_bytes: usize,
    /// Older entries, in number.
    older: usize,
    /// Older entries, in bytes.
    older_bytes: usize,
    /// Older payments that are known never to have changed.
    unchanged: usize,
}

/// About 35 MB of plain payments, of which the replica shares the newest 8,192, and at most as much again for older ones.
const BOUNDS: Bounds =
    Bounds { newest: 65_536, newest_bytes: 32 << 20, older: 65_536, older_bytes: 32 << 20, unchanged: 131_072 };

/// Most entries that one scan looks at: it must not keep the event loop waiting.
const MAX_SCANNED: u64 = 2_048;

/// See the module. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Recent(Arc<Mutex<Memory>>);

struct Memory {
    bounds: Bounds,
    /// Consecutive applied entries, of which the last one is at `applied`.
    newest: VecDeque<Slot>,
    newest_bytes: usize,
    applied: LogIndex,
    /// The latest change in `newest` of each payment that has one there.
    changes: HashMap<PaymentId, LogIndex>,
    /// Payments decided since this memory began to follow the log.
    payments: u64,
    /// Payments decided before it; `None` if it lost count.
    payments_before: Option<u64>,
    /// Entries from below `newest`.
    older: LruCache<LogIndex, Arc<Entry>>,
    older_bytes: usize,
    /// Payments from below `newest` that have not changed up to `applied`.
    unchanged: LruCache<PaymentId, ()>,
}

struct Slot {
    entry: Arc<Entry>,
    /// [`Memory::payments`] up to and including this entry.
    payments: u64,
}

/// A payment's latest change, as far as memory knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LatestChange {
    /// It never changed.
    None,
    /// The entry with its latest change.
    At(LogIndex),
}

impl Recent {
    /// An empty memory that follows the log from `applied` on, up to where so many payments were decided.
    #[must_use]
    pub fn new(applied: LogIndex, payments: u64) -> Self {
        Self::within(BOUNDS, applied, payments)
    }

    fn within(bounds: Bounds, applied: LogIndex, payments: u64) -> Self {
        Self(Arc::new(Mutex::new(Memory {
            bounds,
            newest: VecDeque::new(),
            newest_bytes: 0,
            applied,
            changes: HashMap::new(),
            payments: 0,
            payments_before: Some(payments),
            older: LruCache::new_unbounded(),
            older_bytes: 0,
            unchanged: LruCache::new(bounds.unchanged),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the log up to the applied index. If the replica no longer holds an entry, all is forgotten: a change may
    /// have been missed.
    pub(crate) fn follow(&self, applied: LogIndex, entry: impl Fn(LogIndex) -> Option<Arc<Entry>>) {
        let mut memory = self.lock();
        while memory.applied < applied {
            match entry(memory.applied.next()) {
                Some(entry) => memory.push(entry),
                None => memory.begin_again(applied),
            }
        }
    }

    /// Up to where memory has followed the log.
    pub(super) fn applied(&self) -> LogIndex {
        self.lock().applied
    }

    /// The entry at an index, if it is applied and here.
    pub(super) fn entry(&self, index: LogIndex) -> Option<Arc<Entry>> {
        self.lock().entry(index)
    }

    /// A payment's latest change up to `at` or later, if memory knows it.
    pub(super) fn latest_change(&self, id: PaymentId, at: LogIndex) -> Option<LatestChange> {
        self.lock().latest_change(id, at)
    }

    /// The entry that a payment's id names, and the payment's latest change up to `at` or later, if memory knows both.
    pub(super) fn payment(&self, id: PaymentId, at: LogIndex) -> Option<(Arc<Entry>, LatestChange)> {
        let mut memory = self.lock();
        let latest = memory.latest_change(id, at)?;
        Some((memory.entry(id.index())?, latest))
    }

    /// Keeps an entry that was read from the ledger. The read must have begun when the entry was applied: what stood at
    /// its index before may have been truncated since.
    pub(super) fn keep(&self, entry: &Arc<Entry>) {
        self.lock().keep(entry);
    }

    /// Keeps that payments had not changed up to `as_of`, an index that was applied.
    pub(super) fn keep_unchanged(&self, payments: impl Iterator<Item = PaymentId>, as_of: LogIndex) {
        let mut memory = self.lock();
        if memory.first() > as_of.next() {
            // Changes may have come and gone since.
            return;
        }
        for id in payments {
            if id.index() < memory.first() && !memory.changes.contains_key(&id) {
                memory.unchanged.insert(id, ());
            }
        }
    }

    /// How many payments were decided up to `at`, if memory knows.
    pub(super) fn payment_count(&self, at: LogIndex) -> Option<u64> {
        let memory = self.lock();
        Some(memory.payments_before? + memory.payments_at(at)?)
    }

    /// Tells how many payments were decided up to `at`, after memory lost count.
    pub(super) fn recount(&self, at: LogIndex, payments: u64) {
        let mut memory = self.lock();
        if let Some(followed) = memory.payments_at(at) {
            memory.payments_before = payments.checked_sub(followed);
        }
    }

    /// At most `limit` of the newest entries that pass the filter, newest first, each counting as much as `worth` says;
    /// and below which index the scan has not looked, `None` if all is found. The work is bounded.
    pub(super) fn scan(&self, filter: &ScanFilter, limit: usize, worth: impl Fn(&Entry) -> usize) -> EntryPage {
        let memory = self.lock();
        let mut page = EntryPage { entries: Vec::new(), next_below: Some(filter.below) };
        if filter.below > memory.applied.next() {
            return page;
        }
        let floor = LogIndex(filter.below.0.saturating_sub(MAX_SCANNED)).max(filter.at_least).max(memory.first());
        let (mut below, mut found) = (filter.below, 0);
        while below > floor && found < limit {
            below = below.previous();
            let Some(entry) = memory.newest_entry(below) else { break };
            if filter.passes(entry) {
                found += worth(entry);
                page.entries.push(Arc::clone(entry));
            }
        }
        page.next_below = (below > filter.at_least.max(LogIndex(1))).then_some(below);
        page
    }

    /// The payments that the entries above `above` and up to `upto` changed, and from where on they are known: what is
    /// below has to be read.
    pub(super) fn changed_payments(&self, above: LogIndex, upto: LogIndex) -> (LogIndex, Vec<PaymentId>) {
        let memory = self.lock();
        let known = above.next().max(memory.first());
        if upto > memory.applied {
            return (upto.next(), Vec::new());
        }
        let within = |(id, at): (&PaymentId, &LogIndex)| (*at >= known).then_some(*id);
        (known, memory.changes.iter().filter_map(within).collect())
    }
}

impl Memory {
    /// The oldest of the newest entries; the one after the applied index if there are none.
    fn first(&self) -> LogIndex {
        self.newest.front().map_or(self.applied.next(), |slot| slot.entry.index)
    }

    fn slot(&self, index: LogIndex) -> Option<&Slot> {
        let at = index.0.checked_sub(self.first().0)?;
        self.newest.get(usize::try_from(at).ok()?)
    }

    fn newest_entry(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        self.slot(index).map(|slot| &slot.entry)
    }

    fn entry(&mut self, index: LogIndex) -> Option<Arc<Entry>> {
        self.newest_entry(index).cloned().or_else(|| self.older.get(&index).cloned())
    }

    fn latest_change(&mut self, id: PaymentId, at: LogIndex) -> Option<LatestChange> {
        if self.applied < at {
            return None;
        }
        let at = self.changes.get(&id).map(|at| LatestChange::At(*at));
        at.or_else(|| {
            let known = self.newest_entry(id.index()).is_some() || self.unchanged.get(&id).is_some();
            known.then_some(LatestChange::None)
        })
    }

    fn payments_at(&self, at: LogIndex) -> Option<u64> {
        if at == self.applied {
            return Some(self.payments);
        }
        self.slot(at).map(|slot| slot.payments)
    }

    fn push(&mut self, entry: Arc<Entry>) {
        assert_eq!(entry.index, self.applied.next(), "applied entries have no gap");
        self.applied = entry.index;
        if let Some(operation) = entry.operation() {
            self.payments += operation.payments().filter(|payment| payment.is_decided()).count() as u64;
            if let Some(id) = changed_payment(operation) {
                self.changes.insert(id, entry.index);
                self.unchanged.remove(&id);
            }
        }
        self.newest_bytes += entry.encoded_len();
        self.newest.push_back(Slot { entry, payments: self.payments });
        while self.newest.len() > self.bounds.newest || self.newest_bytes > self.bounds.newest_bytes {
            let Some(Slot { entry, .. }) = self.newest.pop_front() else { break };
            self.newest_bytes -= entry.encoded_len();
            if let Some(id) = entry.operation().and_then(changed_payment)
                && self.changes.get(&id) == Some(&entry.index)
            {
                self.changes.remove(&id);
            }
        }
    }

    fn begin_again(&mut self, applied: LogIndex) {
        self.newest.clear();
        self.newest_bytes = 0;
        self.changes.clear();
        self.unchanged.clear();
        self.applied = applied;
        self.payments_before = None;
    }

    fn keep(&mut self, entry: &Arc<Entry>) {
        let bytes = entry.encoded_len();
        if entry.index >= self.first() || bytes > self.bounds.older_bytes {
            return;
        }
        if let Some(before) = self.older.insert(entry.index, Arc::clone(entry)) {
            self.older_bytes -= before.encoded_len();
        }
        self.older_bytes += bytes;
        while self.older.len() > self.bounds.older || self.older_bytes > self.bounds.older_bytes {
            let Some((_, oldest)) = self.older.remove_lru() else { break };
            self.older_bytes -= oldest.encoded_len();
        }
    }
}

/// The payment that an operation changed.
fn changed_payment(operation: &Operation) -> Option<PaymentId> {
    match operation {
        Operation::PaymentChange(change) => operation.rejection().is_none().then_some(change.payment),
        Operation::Expiry(expiry) => Some(expiry.payment),
        Operation::Payment(_)
        | Operation::Account(_)
        | Operation::Batch(_)
        | Operation::KeyFence(_)
        | Operation::ApiKey(_) => None,
    }
}

#[cfg(test)]
#[path = "recent_tests.rs"]
mod tests;
