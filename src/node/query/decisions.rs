//! The engine's queries: keys, payments and orders that a decision needs and the engine's memory no longer holds. The
//! views say where they are, the ledger says what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ledger::{LedgerError, LedgerReader};
use crate::views::{ViewsError, ViewsReader};
use quorapay_core::domain::{IdempotencyKey, KeyDigest, KeyHolder, LogIndex, Operation, PaymentId, PaymentState};
use quorapay_core::engine::{LookupRequest, LookupResult};
use quorapay_core::replication::Entry;

/// Why a look-up fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The views cannot be read.
    #[error(transparent)]
    Views(#[from] ViewsError),
    /// The views name an entry that says something else.
    #[error("the views and the ledger contradict each other at entry {0}")]
    Contradiction(LogIndex),
}

/// Looks up what the engine requests, as of the projected index or later.
///
/// # Errors
/// [`LookupError`] if the files cannot be read or contradict each other.
pub(crate) async fn look_up(
    views: &ViewsReader,
    ledger: &LedgerReader,
    request: &LookupRequest,
) -> Result<LookupResult, LookupError> {
    let mut found = LookupResult::default();
    if !request.keys.is_empty() {
        found.keys = find_keys(views, ledger, &request.keys).await?;
    }
    if !request.payments.is_empty() {
        found.payments = find_payments(views, ledger, &request.payments).await?;
    }
    if !request.orders.is_empty() {
        found.orders = views.orders(&request.orders).await?.into_iter().collect();
    }
    Ok(found)
}

async fn find_keys(
    views: &ViewsReader,
    ledger: &LedgerReader,
    wanted: &BTreeMap<IdempotencyKey, Option<LogIndex>>,
) -> Result<BTreeMap<KeyDigest, KeyHolder>, LookupError> {
    let mut by_digest: BTreeMap<KeyDigest, &IdempotencyKey> = BTreeMap::new();
    let mut by_index: BTreeMap<LogIndex, Vec<KeyDigest>> = BTreeMap::new();
    let mut elsewhere = Vec::new();
    for (key, index) in wanted {
        let digest = key.digest();
        by_digest.insert(digest, key);
        match index {
            Some(index) => by_index.entry(*index).or_default().push(digest),
            None => elsewhere.push(digest),
        }
    }
    for (digest, index) in views.keys(elsewhere).await? {
        by_index.entry(index).or_default().push(digest);
    }
    let mut holders = BTreeMap::new();
    each_entry(ledger, by_index.keys().copied().collect(), |entry| {
        let operation = entry.operation().ok_or(LookupError::Contradiction(entry.index))?;
        for digest in &by_index[&entry.index] {
            let holder = operation.holder_of(by_digest[digest], entry.index);
            if holder.fingerprint.is_none() && !matches!(operation, Operation::KeyFence(_)) {
                return Err(LookupError::Contradiction(entry.index));
            }
            holders.insert(*digest, holder);
        }
        Ok(())
    })
    .await?;
    Ok(holders)
}

/// The states of payments: after their latest changes, or as decided if they never changed.
async fn find_payments(
    views: &ViewsReader,
    ledger: &LedgerReader,
    wanted: &BTreeSet<PaymentId>,
) -> Result<BTreeMap<PaymentId, PaymentState>, LookupError> {
    let changes = views.last_changes(wanted.iter().copied()).await?;
    let mut states = states_at(ledger, changes.into_iter()).await?;
    let unchanged = wanted.iter().filter(|id| !states.contains_key(id));
    let decided = states_at(ledger, unchanged.map(|id| (*id, id.index()))).await?;
    states.extend(decided);
    Ok(states)
}

/// The states of payments right after these entries.
async fn states_at(
    ledger: &LedgerReader,
    changes: impl Iterator<Item = (PaymentId, LogIndex)>,
) -> Result<BTreeMap<PaymentId, PaymentState>, LookupError> {
    let mut by_index: BTreeMap<LogIndex, Vec<PaymentId>> = BTreeMap::new();
    for (id, index) in changes {
        by_index.entry(index).or_default().push(id);
    }
    let mut states = BTreeMap::new();
    each_entry(ledger, by_index.keys().copied().collect(), |entry| {
        states.extend(by_index[&entry.index].iter().filter_map(|id| Some((*id, state_after(entry, *id)?))));
        Ok(())
    })
    .await?;
    Ok(states)
}

/// The state of a payment right after an entry, if that entry decided or changed it. The whole id must match: an id of
/// another cluster may have an index and a number that this ledger has too.
#[must_use]
pub(crate) fn state_after(entry: &Entry, id: PaymentId) -> Option<PaymentState> {
    match entry.operation()? {
        Operation::PaymentChange(change) => change.after(entry.stamp()).filter(|_| change.payment == id),
        Operation::Expiry(expiry) => (expiry.payment == id).then(|| expiry.after(entry.stamp())),
        operation => {
            let decided = || operation.payments().nth(usize::from(id.item()));
            let payment = (PaymentId::derive(entry.stamp(), id.item()) == id).then(decided).flatten()?;
            PaymentState::decided(payment.request, payment.outcome)
        }
    }
}

/// Calls `take` with those of the entries at these indexes that exist; they are read in chunks.
pub(super) async fn each_entry(
    ledger: &LedgerReader,
    mut indexes: Vec<LogIndex>,
    mut take: impl FnMut(&Arc<Entry>) -> Result<(), LookupError>,
) -> Result<(), LookupError> {
    while !indexes.is_empty() {
        let entries = ledger.entries_of(&indexes).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        entries.iter().try_for_each(&mut take)?;
        indexes.retain(|index| *index > last.index);
    }
    Ok(())
}

#[cfg(test)]
#[path = "decisions_tests.rs"]
mod tests;
