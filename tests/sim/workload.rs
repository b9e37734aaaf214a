//! What the clients request: payments with and without holds, captures, voids, refunds, orders, batches, fences, and
//! accounts opened, frozen and closed. There are few accounts, orders and payments, so that requests conflict.

use std::collections::BTreeSet;

use quorapay_core::domain::{
    AccountChangeKind, AccountId, AccountStatus, BatchItem, BatchRequest, Capture, Currency, Epoch, IdempotencyKey,
    LogIndex, MinorUnits, OperationRequest, OrderCap, OrderId, Overdraft, PaymentChangeKind, PaymentId, PaymentRequest,
    Stamp, Timestamp,
};

use super::random::Random;

/// What clients know from earlier answers.
#[derive(Default)]
pub(crate) struct Known {
    /// Payments that some client got an answer for.
    pub(crate) payments: Vec<PaymentId>,
    /// Holds that some client got an answer for, with the time at which they expire if the ledger's time keeps pace.
    holds: Vec<(u64, PaymentId)>,
    /// Keys that some client has proposed, with their requests.
    pub(crate) keys: Vec<(IdempotencyKey, OperationRequest)>,
}

/// Payments and holds that are remembered. The newest ones suffice to find late changes of old payments.
const MAX_REMEMBERED: usize = 64;

impl Known {
    pub(crate) fn remember(&mut self, payment: PaymentId) {
        if self.payments.len() == MAX_REMEMBERED {
            self.payments.remove(0);
        }
        self.payments.push(payment);
    }

    pub(crate) fn remember_hold(&mut self, ends: u64, payment: PaymentId) {
        if self.holds.len() == MAX_REMEMBERED {
            self.holds.remove(0);
        }
        self.holds.push((ends, payment));
    }

    /// Takes out a hold that expires within this period, to be captured at the last moment or just too late.
    pub(crate) fn take_ending(&mut self, after: u64, before: u64) -> Option<(u64, PaymentId)> {
        let found = self.holds.iter().position(|(ends, _)| (after..before).contains(ends))?;
        Some(self.holds.swap_remove(found))
    }
}

/// A capture of the whole held amount.
pub(crate) const fn a_full_capture(payment: PaymentId) -> OperationRequest {
    OperationRequest::PaymentChange { payment, change: PaymentChangeKind::Capture(None) }
}

pub(crate) fn an_account(random: &mut Random, accounts: u64) -> AccountId {
    let number = random.below(accounts);
    let name = if random.chance(250) { format!("external:bank{}", number % 2) } else { format!("account{number}") };
    AccountId::parse(&name).expect("a valid id")
}

fn a_policy(random: &mut Random) -> Overdraft {
    match random.below(4) {
        0 => Overdraft::Unlimited,
        1 => Overdraft::Limit(MinorUnits::new(50)),
        _ => Overdraft::None,
    }
}

fn an_account_change(random: &mut Random) -> AccountChangeKind {
    if random.chance(400) {
        return AccountChangeKind::Open(a_policy(random));
    }
    let overdraft = random.chance(500).then(|| a_policy(random));
    let status = match random.below(8) {
        0 => Some(AccountStatus::Closed),
        1 => Some(AccountStatus::Frozen),
        2..=6 => Some(AccountStatus::Active),
        _ => None,
    };
    AccountChangeKind::Change { overdraft, status }
}

fn an_amount(random: &mut Random) -> MinorUnits {
    MinorUnits::new(i64::try_from(random.between(1, 100)).expect("a small amount"))
}

fn an_order(random: &mut Random, accounts: u64) -> Box<OrderCap> {
    let id = OrderId::parse(&format!("order{}", random.below(2 * accounts))).expect("a valid id");
    let total = if random.chance(50) { MinorUnits::new(151) } else { MinorUnits::new(150) };
    Box::new(OrderCap { id, total })
}

fn a_payment(random: &mut Random, accounts: u64) -> PaymentRequest {
    let from = an_account(random, accounts);
    let mut to = an_account(random, accounts);
    while to == from {
        to = an_account(random, accounts);
    }
    let currency = Currency::parse(random.pick(&["USD", "USD", "JPY"])).expect("a known currency");
    let seconds = u32::try_from(random.between(1, 4)).expect("a few seconds");
    let held = random.chance(300);
    PaymentRequest {
        capture: if held { Capture::Manual { expires_in_s: seconds } } else { Capture::Automatic },
        order: random.chance(300).then(|| an_order(random, accounts)),
        opens_accounts: random.chance(50),
        ..PaymentRequest::plain(from, to, an_amount(random), currency)
    }
}

fn a_payment_change(random: &mut Random, known: &Known) -> OperationRequest {
    let unknown =
        PaymentId::derive(Stamp { timestamp: Timestamp(1), epoch: Epoch(1), index: LogIndex(random.between(1, 9)) }, 0);
    let payment = if known.payments.is_empty() || random.chance(30) {
        unknown
    } else {
        known.payments[random.index(known.payments.len())]
    };
    let amount = random.chance(600).then(|| an_amount(random));
    let change = match random.below(5) {
        0 | 1 => PaymentChangeKind::Capture(amount),
        2 => PaymentChangeKind::Void,
        _ => PaymentChangeKind::Refund(amount),
    };
    OperationRequest::PaymentChange { payment, change }
}

/// An item of a batch: a new payment, or under an old key the same or another one.
fn an_item(random: &mut Random, accounts: u64, known: &Known, new: &str) -> (IdempotencyKey, PaymentRequest) {
    let request = a_payment(random, accounts);
    if known.keys.is_empty() || !random.chance(200) {
        return (IdempotencyKey::parse(new).expect("a valid key"), request);
    }
    match &known.keys[random.index(known.keys.len())] {
        (key, OperationRequest::Payment(first)) if random.chance(700) => (key.clone(), first.clone()),
        (key, _) => (key.clone(), request),
    }
}

fn a_batch(random: &mut Random, accounts: u64, known: &Known, name: usize) -> OperationRequest {
    let mut used = BTreeSet::new();
    let items = (0..random.between(1, 5)).map(|number| {
        let (key, request) = an_item(random, accounts, known, &format!("item{name}.{number}"));
        let named = random.chance(600) && used.insert(key.clone());
        BatchItem { key: named.then_some(key), request }
    });
    let items = items.collect();
    OperationRequest::Batch(BatchRequest { atomic: random.chance(500), items })
}

/// A new request. `name` distinguishes it from all others.
pub(crate) fn a_request(random: &mut Random, accounts: u64, known: &Known, name: usize) -> OperationRequest {
    match random.below(100) {
        0..=9 => OperationRequest::Account { account: an_account(random, accounts), change: an_account_change(random) },
        10..=29 => a_payment_change(random, known),
        30..=36 => a_batch(random, accounts, known, name),
        37..=38 => OperationRequest::KeyFence,
        _ => OperationRequest::Payment(a_payment(random, accounts)),
    }
}
