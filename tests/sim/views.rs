//! A model of a node's views: the state as of the projected index.

use std::collections::HashMap;
use std::sync::Arc;

use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{Bank, KeyDigest, PaymentId, PaymentOutcome, PaymentState};
use quorapay_core::engine::{DigestFilter, DigestFilters, LookupRequest, LookupResult, ViewsFilters, digest_prefix};
use quorapay_core::replication::Entry;

use super::disk::row;
use super::random::Random;

/// Runs of digests, and parts of each run, before they are merged into one run.
const MAX_RUNS: usize = 5;
/// Digests in a part of a filter.
const PART: usize = 50;
/// Bits of the filters' fingerprints: as few as possible, so that filters err.
const BITS: u32 = 8;

/// Digests in sorted runs with their filters, as the real views have them.
#[derive(Default)]
struct Runs(Vec<(Vec<u64>, Vec<Arc<DigestFilter>>)>);

impl Runs {
    fn add(&mut self, mut digests: Vec<u64>) {
        if self.0.len() >= MAX_RUNS {
            digests.extend(self.0.drain(..).flat_map(|(run, _)| run));
        }
        digests.sort_unstable();
        let parts = digests.chunks(PART).filter_map(|part| DigestFilter::build(part, BITS)).map(Arc::new).collect();
        self.0.push((digests, parts));
    }

    fn filters(&self) -> DigestFilters {
        DigestFilters::new(self.0.iter().map(|(_, parts)| parts.clone()).collect())
    }
}

/// A node's views. Their bank never forgets, so it holds every changed payment and every paid order.
#[derive(Default)]
pub(crate) struct Views {
    projected: LogIndex,
    bank: Bank,
    keys: HashMap<KeyDigest, LogIndex>,
    key_runs: Runs,
    order_runs: Runs,
}

impl Views {
    /// Everything up to here is in the views.
    pub(crate) const fn projected(&self) -> LogIndex {
        self.projected
    }

    /// Filters over everything in the views.
    pub(crate) fn filters(&self) -> Arc<ViewsFilters> {
        Arc::new(ViewsFilters { keys: self.key_runs.filters(), orders: self.order_runs.filters() })
    }

    /// Loses the views and rebuilds them up to some index.
    pub(crate) fn lose_some(&mut self, random: &mut Random, rows: &[Arc<Entry>]) {
        let to = LogIndex(random.between(0, self.projected.0));
        *self = Self::default();
        self.project(to, rows);
    }

    /// Brings the views up to a committed index.
    pub(crate) fn project(&mut self, to: LogIndex, rows: &[Arc<Entry>]) {
        let (mut keys, mut orders) = (Vec::new(), Vec::new());
        while self.projected < to {
            self.projected = self.projected.next();
            let entry = &rows[row(self.projected)];
            entry.apply_to(&mut self.bank).expect("what is committed fits the bank before it");
            let Some(operation) = entry.operation() else { continue };
            for key in operation.keys() {
                self.keys.insert(key.digest(), self.projected);
                keys.push(digest_prefix(&key.digest().0));
            }
            let applied =
                |outcome| matches!(outcome, PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. });
            let paid = operation.payments().filter(|payment| applied(payment.outcome));
            let paid = paid.filter_map(|payment| payment.request.order.as_ref());
            orders.extend(paid.map(|order| digest_prefix(&order.id.digest().0)));
        }
        self.key_runs.add(keys);
        self.order_runs.add(orders);
    }

    /// The bank as a node loads it: accounts, open holds with their orders and API keys, nothing else.
    pub(crate) fn load_bank(&self) -> Bank {
        let mut bank = Bank::default();
        for (id, state) in self.bank.accounts_after(None) {
            bank.restore_account(id.clone(), state.clone());
        }
        for (id, state) in self.bank.open_holds() {
            let order = state.order.as_ref().and_then(|order| self.bank.order(order));
            bank.restore_hold(id, state.clone(), order);
        }
        bank.restore_api_keys(self.bank.api_keys().clone());
        bank
    }

    /// What a node's disk holds of a request: the views say where, the ledger's rows say what.
    pub(crate) fn look_up(&self, request: &LookupRequest, rows: &[Arc<Entry>]) -> LookupResult {
        let mut found = LookupResult::default();
        for (key, known) in &request.keys {
            let digest = key.digest();
            if let Some(index) = known.or_else(|| self.keys.get(&digest).copied()) {
                let operation = rows[row(index)].operation().expect("keys are held by operations");
                found.keys.insert(digest, operation.holder_of(key, index));
            }
        }
        for id in &request.payments {
            let state = self.bank.payment(*id).cloned().or_else(|| as_created(*id, rows));
            found.payments.extend(state.map(|state| (*id, state)));
        }
        for id in &request.orders {
            found.orders.extend(self.bank.order(id).map(|state| (id.clone(), state)));
        }
        found
    }
}

/// A payment that has never changed, from its own entry.
fn as_created(id: PaymentId, rows: &[Arc<Entry>]) -> Option<PaymentState> {
    let number = id.index().0.checked_sub(1)?;
    let entry = rows.get(usize::try_from(number).ok()?)?;
    let payment = entry.operation()?.payments().find(|payment| payment.item == id.item())?;
    let state = PaymentState::decided(payment.request, payment.outcome)?;
    (PaymentId::derive(entry.stamp(), payment.item) == id).then_some(state)
}
