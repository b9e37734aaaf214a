//! Single payments that memory does not hold, read many at a time: whoever asks while a read is on its way joins the
//! next one.
//!
//! One statement costs as much as decoding twenty rows, and callers come together. These reads have connections of their
//! own, so that a long list does not delay them. An entry with thousands of payments takes long to decode and is read
//! apart, so that those who ask for other payments do not wait for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::decisions::state_after;
use super::error::{ReadError, unreadable};
use super::queries::{EngineMemory, QueryFiles};
use super::recent::{LatestChange, Recent};
use crate::ledger::StoredEntry;
use quorapay_core::domain::{LogIndex, PaymentId, PaymentState};
use quorapay_core::replication::Entry;

/// Reads on their way at the same time, each on a connection of its own.
const MAX_READS: usize = 2;
/// Most payments of one read: as many as one statement takes.
const MAX_PAYMENTS: usize = 256;
/// Payments that may wait for the next read.
const MAX_WAITING: usize = 16_384;
/// Large entries that are read at the same time: each may take tens of megabytes until it is decoded.
const MAX_LARGE_READS: usize = 2;

/// A payment as it was found, with what tells its present state.
pub(super) struct FoundPayment {
    /// The entry that its id names.
    pub(super) entry: Arc<Entry>,
    pub(super) latest: Latest,
}

/// What tells a payment's present state.
pub(super) enum Latest {
    /// The state in memory.
    State(PaymentState),
    /// Its latest change.
    Change(LatestChange),
}

type Answer = Result<Option<FoundPayment>, ReadError>;

struct Asked {
    id: PaymentId,
    /// The state must show all changes up to here.
    at: LogIndex,
    reply: oneshot::Sender<Answer>,
}

#[derive(Default)]
struct Waiting {
    asked: VecDeque<Asked>,
    /// Reads on their way.
    reads: usize,
}

/// See the module. Cheap to clone; clones share it.
#[derive(Clone)]
pub(super) struct PaymentReads<M> {
    files: QueryFiles,
    memory: M,
    recent: Recent,
    waiting: Arc<Mutex<Waiting>>,
    large_reads: Arc<Semaphore>,
}

impl<M: EngineMemory> PaymentReads<M> {
    pub(super) fn new(files: QueryFiles, memory: M, recent: Recent) -> Self {
        let large_reads = Arc::new(Semaphore::new(MAX_LARGE_READS));
        Self { files, memory, recent, waiting: Arc::default(), large_reads }
    }

    /// The payment with this id, with its latest change up to `at` or later; `None` if there is no entry at its index,
    /// or one that does not hold it.
    pub(super) async fn payment(&self, id: PaymentId, at: LogIndex) -> Answer {
        let (reply, answer) = oneshot::channel();
        let begins = {
            let mut waiting = self.lock();
            if waiting.asked.len() >= MAX_WAITING {
                return Err(ReadError::Overloaded);
            }
            waiting.asked.push_back(Asked { id, at, reply });
            let begins = waiting.reads < MAX_READS;
            waiting.reads += usize::from(begins);
            begins
        };
        if begins {
            // A task of its own: a caller may give up while others wait for the same read.
            tokio::spawn(self.clone().run());
        }
        answer.await.unwrap_or(Err(ReadError::Overloaded))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until nobody waits.
    async fn run(self) {
        loop {
            let asked: Vec<Asked> = {
                let mut waiting = self.lock();
                let count = waiting.asked.len().min(MAX_PAYMENTS);
                if count == 0 {
                    waiting.reads -= 1;
                    return;
                }
                waiting.asked.drain(..count).filter(|asked| !asked.reply.is_closed()).collect()
            };
            self.read(asked).await;
        }
    }

    async fn read(&self, asked: Vec<Asked>) {
        let (mut known, mut unknown) = (Vec::new(), BTreeMap::<LogIndex, Vec<Asked>>::new());
        for asked in asked {
            match self.recent.entry(asked.id.index()) {
                Some(entry) => known.push((asked, entry)),
                None => unknown.entry(asked.id.index()).or_default().push(asked),
            }
        }
        let applied = self.recent.applied();
        let indexes: Vec<LogIndex> = unknown.keys().copied().collect();
        let found = match self.files.ledger.stored_entries(&indexes).await.map_err(unreadable) {
            Ok(found) => found,
            Err(error) => return unknown.into_values().flatten().for_each(|asked| asked.answer(Err(error))),
        };
        for (index, entry) in found {
            let asked = unknown.remove(&index).unwrap_or_default();
            match entry.map_err(unreadable) {
                Ok(StoredEntry::Whole(entry)) => {
                    if index <= applied {
                        self.recent.keep(&entry);
                    }
                    known.extend(asked.into_iter().map(|asked| (asked, Arc::clone(&entry))));
                }
                Ok(StoredEntry::Large) => drop(tokio::spawn(self.clone().read_large(index, asked, applied))),
                Err(error) => asked.into_iter().for_each(|asked| asked.answer(Err(error))),
            }
        }
        unknown.into_values().flatten().for_each(|asked| asked.answer(Ok(None)));
        self.answer(known).await;
    }

    async fn read_large(self, index: LogIndex, asked: Vec<Asked>, applied: LogIndex) {
        let Ok(_permit) = self.large_reads.acquire().await else { return };
        // Another read may have brought it meanwhile.
        let entry = match self.recent.entry(index) {
            Some(entry) => Ok(Some(entry)),
            None => self.files.ledger.entry(index).await.map_err(unreadable),
        };
        match entry {
            Ok(Some(entry)) => {
                if index <= applied {
                    self.recent.keep(&entry);
                }
                self.answer(asked.into_iter().map(|asked| (asked, Arc::clone(&entry))).collect()).await;
            }
            Ok(None) => asked.into_iter().for_each(|asked| asked.answer(Ok(None))),
            Err(error) => asked.into_iter().for_each(|asked| asked.answer(Err(error))),
        }
    }

    /// Answers for payments whose entries are known.
    async fn answer(&self, known: Vec<(Asked, Arc<Entry>)>) {
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|(asked, entry)| state_after(entry, asked.id).is_some());
        elsewhere.into_iter().for_each(|(asked, _)| asked.answer(Ok(None)));
        if here.is_empty() {
            return;
        }
        let at = here.iter().map(|(asked, _)| asked.at).max().unwrap_or_default();
        let ids = here.iter().map(|(asked, _)| asked.id);
        match latest(&self.files, &self.memory, &self.recent, ids, at).await {
            Ok(mut latest) => {
                for (asked, entry) in here {
                    let latest = latest.remove(&asked.id).unwrap_or(Latest::Change(LatestChange::None));
                    asked.answer(Ok(Some(FoundPayment { entry, latest })));
                }
            }
            Err(error) => here.into_iter().for_each(|(asked, _)| asked.answer(Err(error))),
        }
    }
}

impl Asked {
    fn answer(self, answer: Answer) {
        // A caller that has given up needs no answer.
        let _ = self.reply.send(answer);
    }
}

/// What tells the states of payments that are in the ledger, as of `at` or later. One that is missing never changed.
///
/// The engine's memory is asked first: what it has forgotten by then is in the views when they are read afterwards.
pub(super) async fn latest<M: EngineMemory>(
    files: &QueryFiles,
    memory: &M,
    recent: &Recent,
    payments: impl Iterator<Item = PaymentId>,
    at: LogIndex,
) -> Result<BTreeMap<PaymentId, Latest>, ReadError> {
    let mut latest = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for id in payments {
        match recent.latest_change(id, at) {
            Some(change) => drop(latest.insert(id, Latest::Change(change))),
            None => drop(unknown.insert(id)),
        }
    }
    if unknown.is_empty() {
        return Ok(latest);
    }
    let applied = recent.applied();
    for (id, state) in memory.payments(unknown.clone()).await? {
        unknown.remove(&id);
        latest.insert(id, Latest::State(state));
    }
    if unknown.is_empty() {
        return Ok(latest);
    }
    for (id, index) in files.views.last_changes(unknown.iter().copied()).await.map_err(unreadable)? {
        unknown.remove(&id);
        latest.insert(id, Latest::Change(LatestChange::At(index)));
    }
    recent.keep_unchanged(unknown.into_iter(), applied);
    Ok(latest)
}

#[cfg(test)]
#[path = "payment_reads_tests.rs"]
mod tests;
