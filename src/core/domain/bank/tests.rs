//! Tests of the bank: each rule, and that every executed operation can be applied by another bank and undone.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::undo::OrderRecord;
use super::{AccountState, Bank, KeyHolders, Undo};
use crate::domain::{
    AccountChangeKind, AccountId, AccountStatus, BatchItem, BatchRequest, Capture, Currency, Epoch, IdempotencyKey,
    LogIndex, MinorUnits, Operation, OperationRequest, OrderCap, OrderId, Overdraft, PaymentChange, PaymentChangeKind,
    PaymentChangeOutcome, PaymentId, PaymentOutcome, PaymentRequest, PaymentState, PaymentStatus, Proposal, Rejection,
    Stamp, Timestamp,
};

fn account(id: &str) -> AccountId {
    AccountId::parse(id).expect("valid")
}

fn usd() -> Currency {
    Currency::parse("USD").expect("known")
}

fn payment(from: &str, to: &str, amount: i64) -> PaymentRequest {
    PaymentRequest::plain(account(from), account(to), MinorUnits::new(amount), usd())
}

fn hold(from: &str, to: &str, amount: i64) -> PaymentRequest {
    PaymentRequest { capture: Capture::Manual { expires_in_s: 10 }, ..payment(from, to, amount) }
}

fn for_order(request: PaymentRequest, id: &str, total: i64) -> PaymentRequest {
    let order = OrderCap { id: OrderId::parse(id).expect("valid"), total: MinorUnits::new(total) };
    PaymentRequest { order: Some(Box::new(order)), ..request }
}

/// The banks of a leader and a follower, which must agree after every operation.
#[derive(Default)]
struct Pair {
    leader: Bank,
    follower: Bank,
    /// Payments as they were decided: what the leader's disk holds.
    decided: BTreeMap<PaymentId, PaymentState>,
    index: u64,
    now_ms: u64,
}

impl Pair {
    fn stamp(&mut self) -> Stamp {
        self.index += 1;
        Stamp { timestamp: Timestamp(self.now_ms), epoch: Epoch(1), index: LogIndex(self.index) }
    }

    fn submit(&mut self, request: OperationRequest) -> Operation {
        self.submit_undoably(request).0
    }

    /// The leader executes and the follower applies. Returns how each undoes it.
    fn submit_undoably(&mut self, request: OperationRequest) -> (Operation, Undo, Undo) {
        let stamp = self.stamp();
        if let OperationRequest::PaymentChange { payment, .. } = &request
            && let Some(state) = self.decided.get(payment)
        {
            self.leader.recall_payment(*payment, state.clone());
        }
        let key = IdempotencyKey::parse(&format!("key{}", stamp.index)).expect("valid");
        let (operation, undo) = self.leader.execute(stamp, Proposal { key, request }, &KeyHolders::new());
        let applied = self.follower.apply(stamp, &operation).expect("the same request gives the same outcome");
        assert_eq!(Snapshot::of(&self.leader), Snapshot::of(&self.follower));
        for payment in operation.payments() {
            let state = PaymentState::decided(payment.request, payment.outcome);
            self.decided.extend(state.map(|state| (PaymentId::derive(stamp, payment.item), state)));
        }
        (operation, undo, applied)
    }

    fn pay(&mut self, request: PaymentRequest) -> (PaymentId, PaymentOutcome) {
        let Operation::Payment(payment) = self.submit(OperationRequest::Payment(request)) else { unreachable!() };
        (self.last_id(), payment.outcome)
    }

    fn last_id(&self) -> PaymentId {
        PaymentId::derive(Stamp { timestamp: Timestamp(self.now_ms), epoch: Epoch(1), index: LogIndex(self.index) }, 0)
    }

    fn change(&mut self, payment: PaymentId, change: PaymentChangeKind) -> Result<PaymentStatus, Rejection> {
        let operation = self.submit(OperationRequest::PaymentChange { payment, change });
        let Operation::PaymentChange(PaymentChange { outcome, .. }) = operation else { unreachable!() };
        match outcome {
            PaymentChangeOutcome::Applied { .. } => Ok(self.leader.payments[&payment].status()),
            PaymentChangeOutcome::Rejected(rejection) => Err(rejection),
        }
    }

    fn change_account(&mut self, id: &str, change: AccountChangeKind) -> Option<Rejection> {
        self.submit(OperationRequest::Account { account: account(id), change }).rejection()
    }

    fn balance(&self, id: &str) -> (i64, i64) {
        let balance = self.leader.balance(&account(id), usd());
        (balance.posted.get(), balance.held.get())
    }

    /// A shop and a customer with 1,000.
    fn with_a_customer() -> Self {
        let mut pair = Self { now_ms: 1_000, ..Self::default() };
        pair.pay(payment("external:card", "customer", 1_000));
        pair
    }
}

/// What must be equal in two banks that agree. They may differ in the closed payments and orders that they still hold.
#[derive(Debug, PartialEq)]
struct Snapshot {
    accounts: BTreeMap<AccountId, AccountState>,
    holds: Vec<(PaymentId, PaymentState)>,
}

impl Snapshot {
    fn of(bank: &Bank) -> Self {
        let holds = bank.open_holds().map(|(id, state)| (id, state.clone())).collect();
        Self { accounts: bank.accounts.clone(), holds }
    }
}

const fn some(amount: i64) -> Option<MinorUnits> {
    Some(MinorUnits::new(amount))
}

#[test]
fn a_hold_is_captured_in_parts_and_the_rest_is_voided() {
    let mut pair = Pair::with_a_customer();
    let (id, outcome) = pair.pay(hold("customer", "shop", 600));
    assert_eq!(outcome, PaymentOutcome::Authorized { from_held: MinorUnits::new(600), expires_at_ms: 11_000 });
    assert_eq!(pair.balance("customer"), (1_000, 600));
    assert_eq!(pair.pay(payment("customer", "shop", 401)).1, PaymentOutcome::Rejected(Rejection::InsufficientFunds));
    assert_eq!(pair.change(id, PaymentChangeKind::Capture(some(250))), Ok(PaymentStatus::PartiallyCaptured));
    assert_eq!(pair.change(id, PaymentChangeKind::Capture(some(351))), Err(Rejection::AmountExceedsHeld));
    assert_eq!(pair.change(id, PaymentChangeKind::Void), Ok(PaymentStatus::Captured));
    assert_eq!((pair.balance("customer"), pair.balance("shop")), ((750, 0), (250, 0)));
    assert_eq!(pair.change(id, PaymentChangeKind::Capture(None)), Err(Rejection::PaymentVoided));
}

#[test]
fn refunds_are_capped_by_what_is_left() {
    let mut pair = Pair::with_a_customer();
    let (id, _) = pair.pay(payment("customer", "shop", 300));
    assert_eq!(pair.change(id, PaymentChangeKind::Refund(some(100))), Ok(PaymentStatus::PartiallyRefunded));
    assert_eq!(pair.change(id, PaymentChangeKind::Refund(some(201))), Err(Rejection::AmountExceedsRefundable));
    assert_eq!(pair.change(id, PaymentChangeKind::Refund(None)), Ok(PaymentStatus::Refunded));
    assert_eq!(pair.change(id, PaymentChangeKind::Refund(None)), Err(Rejection::NothingToRefund));
    assert_eq!(pair.change(id, PaymentChangeKind::Void), Err(Rejection::NothingHeld));
    assert_eq!((pair.balance("customer"), pair.balance("shop")), ((1_000, 0), (0, 0)));
}

#[test]
fn a_shop_that_has_spent_the_money_cannot_refund_it() {
    let mut pair = Pair::with_a_customer();
    let (id, _) = pair.pay(payment("customer", "shop", 300));
    pair.pay(payment("shop", "external:bank", 300));
    assert_eq!(pair.change(id, PaymentChangeKind::Refund(None)), Err(Rejection::InsufficientFunds));
}

#[test]
fn a_hold_expires_on_the_ledgers_time_and_not_before() {
    let mut pair = Pair::with_a_customer();
    let (id, _) = pair.pay(hold("customer", "shop", 600));
    pair.change(id, PaymentChangeKind::Capture(some(100))).expect("in time");
    pair.now_ms = 10_999;
    let early = pair.stamp();
    assert_eq!(pair.leader.expire(early, id), None, "its time is not up");
    pair.now_ms = 11_000;
    assert_eq!(pair.change(id, PaymentChangeKind::Capture(None)), Err(Rejection::PaymentExpired));
    let stamp = pair.stamp();
    assert_eq!(pair.leader.first_expiry(), Some((11_000, id)));
    let (expiry, _) = pair.leader.expire(stamp, id).expect("its time is up");
    pair.follower.apply(stamp, &expiry).expect("the follower agrees");
    assert_eq!(Snapshot::of(&pair.leader), Snapshot::of(&pair.follower));
    assert_eq!(pair.balance("customer"), (900, 0));
    assert_eq!(pair.leader.payments[&id].status(), PaymentStatus::Captured, "a part was captured before");
    assert_eq!(pair.leader.first_expiry(), None);
}

#[test]
fn an_order_is_never_charged_beyond_its_total_whatever_keys_are_used() {
    let mut pair = Pair::with_a_customer();
    let refused = |rejection| PaymentOutcome::Rejected(rejection);
    let (held, _) = pair.pay(for_order(hold("customer", "shop", 60), "o1", 100));
    assert_eq!(
        pair.pay(for_order(payment("customer", "shop", 41), "o1", 100)).1,
        refused(Rejection::OrderTotalExceeded)
    );
    assert_eq!(pair.pay(for_order(payment("customer", "shop", 40), "o1", 101)).1, refused(Rejection::OrderMismatch));
    let (paid, _) = pair.pay(for_order(payment("customer", "shop", 40), "o1", 100));
    pair.change(paid, PaymentChangeKind::Refund(None)).expect("captured");
    let again = for_order(payment("customer", "shop", 1), "o1", 100);
    assert_eq!(pair.pay(again.clone()).1, refused(Rejection::OrderTotalExceeded), "a refund makes no room");
    pair.change(held, PaymentChangeKind::Capture(some(10))).expect("held");
    pair.change(held, PaymentChangeKind::Void).expect("held");
    assert!(matches!(pair.pay(again).1, PaymentOutcome::Succeeded { .. }), "a void makes room");
}

#[test]
fn a_frozen_account_neither_pays_nor_receives_and_its_holds_may_be_voided() {
    let mut pair = Pair::with_a_customer();
    let (id, _) = pair.pay(hold("customer", "shop", 100));
    let status = |status| AccountChangeKind::Change { overdraft: None, status: Some(status) };
    assert_eq!(pair.change_account("customer", status(AccountStatus::Frozen)), None);
    let refused = PaymentOutcome::Rejected(Rejection::AccountFrozen);
    assert_eq!(pair.pay(payment("customer", "shop", 1)).1, refused);
    assert_eq!(pair.pay(payment("external:card", "customer", 1)).1, refused);
    assert_eq!(pair.change(id, PaymentChangeKind::Capture(None)), Err(Rejection::AccountFrozen));
    assert_eq!(pair.change(id, PaymentChangeKind::Void), Ok(PaymentStatus::Voided));
    assert_eq!(pair.change_account("customer", status(AccountStatus::Active)), None);
    assert!(matches!(pair.pay(payment("customer", "shop", 1)).1, PaymentOutcome::Succeeded { .. }));
}

#[test]
fn an_account_is_closed_only_when_nothing_is_in_it_and_then_for_good() {
    let mut pair = Pair::with_a_customer();
    let close = AccountChangeKind::Change { overdraft: None, status: Some(AccountStatus::Closed) };
    assert_eq!(pair.change_account("customer", close), Some(Rejection::AccountNotEmpty));
    pair.pay(payment("customer", "shop", 1_000));
    assert_eq!(pair.change_account("customer", close), None);
    let reopen = AccountChangeKind::Change { overdraft: None, status: Some(AccountStatus::Active) };
    assert_eq!(pair.change_account("customer", reopen), Some(Rejection::AccountClosed));
    assert_eq!(
        pair.change_account("customer", AccountChangeKind::Open(Overdraft::None)),
        Some(Rejection::AccountExists)
    );
    let refused = PaymentOutcome::Rejected(Rejection::AccountClosed);
    assert_eq!(pair.pay(payment("shop", "customer", 1)).1, refused);
}

#[test]
fn amounts_at_the_limits_overflow_into_a_refusal_and_never_into_another_balance() {
    let mut pair = Pair::default();
    let refused = PaymentOutcome::Rejected(Rejection::BalanceOverflow);
    let max = i64::MAX;
    assert!(matches!(pair.pay(payment("external:a", "x", max)).1, PaymentOutcome::Succeeded { .. }));
    assert_eq!(pair.pay(payment("external:b", "x", 1)).1, refused);
    assert_eq!(pair.pay(payment("external:a", "y", 2)).1, refused);
    assert!(matches!(pair.pay(payment("external:a", "y", 1)).1, PaymentOutcome::Succeeded { .. }));
    assert_eq!(pair.balance("external:a"), (i64::MIN, 0));
    assert!(matches!(pair.pay(hold("external:c", "y", max)).1, PaymentOutcome::Authorized { .. }));
    assert_eq!(pair.pay(hold("external:c", "y", 2)).1, refused);
}

#[test]
fn accounts_that_a_payment_opens_have_unlimited_overdraft() {
    let mut pair = Pair::default();
    let request = PaymentRequest { opens_accounts: true, ..payment("alice", "bob", 5) };
    assert!(matches!(pair.pay(request).1, PaymentOutcome::Succeeded { .. }));
    assert_eq!(pair.leader.account(&account("alice")).expect("opened").overdraft, Overdraft::Unlimited);
    assert_eq!(pair.leader.account(&account("bob")).expect("opened").overdraft, Overdraft::Unlimited);
}

#[test]
fn an_atomic_batch_is_all_or_none() {
    let mut pair = Pair::with_a_customer();
    let item = |amount| BatchItem { key: None, request: payment("customer", "shop", amount) };
    let before = Snapshot::of(&pair.leader);
    let batch = |atomic, items| OperationRequest::Batch(BatchRequest { atomic, items });
    let Operation::Batch(aborted) = pair.submit(batch(true, vec![item(600), item(600), item(100)])) else {
        unreachable!()
    };
    let rejections: Vec<_> = aborted.items.iter().filter_map(|item| item.outcome.rejection()).collect();
    assert_eq!(rejections, [Rejection::BatchAborted, Rejection::InsufficientFunds, Rejection::BatchAborted]);
    assert_eq!(Snapshot::of(&pair.leader), before);
    pair.submit(batch(false, vec![item(600), item(600), item(100)]));
    assert_eq!(pair.balance("shop"), (700, 0));
}

#[test]
fn a_tampered_operation_is_refused_and_changes_nothing() {
    let mut pair = Pair::with_a_customer();
    let stamp = pair.stamp();
    let key = IdempotencyKey::parse("k").expect("valid");
    let request = OperationRequest::Payment(payment("customer", "shop", 10));
    let (operation, _) = pair.leader.clone().execute(stamp, Proposal { key, request }, &KeyHolders::new());
    let Operation::Payment(mut tampered) = operation else { unreachable!() };
    tampered.request.amount = MinorUnits::new(11);
    let before = Snapshot::of(&pair.follower);
    assert!(pair.follower.apply(stamp, &Operation::Payment(tampered)).is_err());
    assert_eq!(Snapshot::of(&pair.follower), before);
}

#[test]
fn closed_payments_and_orders_are_forgotten_and_recalled_with_the_next_change() {
    let mut pair = Pair::with_a_customer();
    let (id, _) = pair.pay(for_order(hold("customer", "shop", 100), "o", 100));
    pair.follower.forget_up_to(LogIndex(pair.index), 100);
    assert!(pair.follower.payment(id).is_some(), "an open hold is never forgotten");
    pair.change(id, PaymentChangeKind::Capture(None)).expect("held");
    pair.follower.forget_up_to(LogIndex(pair.index), 100);
    assert_eq!((pair.follower.payment(id), pair.follower.orders.len()), (None, 0));
    assert_eq!(pair.change(id, PaymentChangeKind::Refund(some(40))), Ok(PaymentStatus::PartiallyRefunded));
    assert_eq!(pair.follower.payment(id), pair.leader.payment(id));
}

fn any_request() -> impl Strategy<Value = OperationRequest> {
    let name = || prop::sample::select(vec!["a", "b", "c", "external:x"]);
    let any_payment = (name(), name(), 1_i64..200, prop::option::of(0_u8..3), any::<(bool, bool)>()).prop_map(
        |(from, to, amount, order, (held, opens))| {
            let to = if from == to { "d" } else { to };
            let plain = if held { hold(from, to, amount) } else { payment(from, to, amount) };
            let request = PaymentRequest { opens_accounts: opens, ..plain };
            order.map_or(request.clone(), |order| for_order(request, &format!("o{order}"), 300))
        },
    );
    let any_payment = any_payment.boxed();
    let change = prop_oneof![
        prop::option::of(1_i64..100).prop_map(|amount| PaymentChangeKind::Capture(amount.map(MinorUnits::new))),
        Just(PaymentChangeKind::Void),
        prop::option::of(1_i64..100).prop_map(|amount| PaymentChangeKind::Refund(amount.map(MinorUnits::new))),
    ];
    let status = prop::sample::select(vec![AccountStatus::Active, AccountStatus::Frozen, AccountStatus::Closed]);
    let item = any_payment.clone().prop_map(|request| BatchItem { key: None, request });
    prop_oneof![
        6 => any_payment.prop_map(OperationRequest::Payment),
        4 => (1_u64..40, change).prop_map(|(index, change)| {
            let payment = PaymentId::derive(Stamp { timestamp: Timestamp(0), epoch: Epoch(1), index: LogIndex(index) }, 0);
            OperationRequest::PaymentChange { payment, change }
        }),
        1 => (name(), status).prop_map(|(id, status)| OperationRequest::Account {
            account: account(id),
            change: AccountChangeKind::Change { overdraft: None, status: Some(status) },
        }),
        1 => (any::<bool>(), prop::collection::vec(item, 1..5))
            .prop_map(|(atomic, items)| OperationRequest::Batch(BatchRequest { atomic, items })),
    ]
}

proptest! {
    #[test]
    fn every_executed_operation_applies_to_another_bank_and_can_be_undone(
        requests in prop::collection::vec(any_request(), 1..60),
    ) {
        let mut pair = Pair::default();
        let mut done = Vec::new();
        for request in requests {
            let before = Snapshot::of(&pair.leader);
            let (_, undo, applied) = pair.submit_undoably(request);
            prop_assert_eq!(pair.leader.unbalanced(), None);
            prop_assert!(pair.leader.totals().values().all(|sum| *sum == 0));
            let order_within = |record: &OrderRecord| record.state.used <= record.state.total;
            prop_assert!(pair.leader.orders.values().all(order_within));
            done.push((before, undo, applied));
        }
        while let Some((before, undo, applied)) = done.pop() {
            pair.leader.undo(&undo);
            pair.follower.undo(&applied);
            prop_assert_eq!(pair.leader.unbalanced(), None);
            prop_assert_eq!(Snapshot::of(&pair.leader), before);
            prop_assert_eq!(Snapshot::of(&pair.leader), Snapshot::of(&pair.follower));
        }
    }
}
