//! Holds, captures, refunds, expiries, orders, account states, batches and fences: correct and forged.

use serde_json::json;

use super::world::{World, account, hold, key, opening, payment, plain};
use crate::check::{Breach, Verdict};
use crate::history::{Event, ResponseBody, Subject};
use quorapay_core::domain::{
    AccountChangeKind, AccountStatus, BatchItem, BatchRequest, LogIndex, MinorUnits, Operation, OperationRequest,
    OrderCap, OrderId, Overdraft, PaymentChangeKind, PaymentChangeOutcome, PaymentOutcome, PaymentRequest, Rejection,
};

fn change(world: &World, payment: u64, change: PaymentChangeKind) -> OperationRequest {
    OperationRequest::PaymentChange { payment: world.id(payment), change }
}

const fn some(amount: i64) -> Option<MinorUnits> {
    Some(MinorUnits::new(amount))
}

fn of_order(amount: i64, total: i64) -> OperationRequest {
    let order = Some(Box::new(OrderCap { id: OrderId::parse("order-1").unwrap(), total: MinorUnits::new(total) }));
    OperationRequest::Payment(PaymentRequest { order, ..plain("external:card", "shop", amount) })
}

fn set_status(id: &str, status: AccountStatus) -> OperationRequest {
    let change = AccountChangeKind::Change { overdraft: None, status: Some(status) };
    OperationRequest::Account { account: account(id), change }
}

fn batch(atomic: bool, items: Vec<(Option<&str>, PaymentRequest)>) -> OperationRequest {
    let items = items.into_iter().map(|(under, request)| BatchItem { key: under.map(key), request }).collect();
    OperationRequest::Batch(BatchRequest { atomic, items })
}

/// Every kind of entry and every reason for which the bank refuses one.
fn good() -> World {
    let mut world = World::new();
    world.write("in", payment("external:card", "a", 1_000));
    let held = world.write("hold", hold("a", "shop", 500, 600));
    world.write("too-much", payment("a", "b", 600));
    world.write("part", change(&world, held, PaymentChangeKind::Capture(some(200))));
    world.write("beyond", change(&world, held, PaymentChangeKind::Capture(some(301))));
    world.write("void", change(&world, held, PaymentChangeKind::Void));
    world.write("void-again", change(&world, held, PaymentChangeKind::Void));
    world.write("back", change(&world, held, PaymentChangeKind::Refund(some(50))));
    world.write("back-too-much", change(&world, held, PaymentChangeKind::Refund(some(151))));
    let last = world.last();
    let id = world.id(held).to_string();
    world.read(Subject::Payment(id), last, 200, &world.current(held));

    let short = world.write("short", hold("a", "shop", 100, 1));
    world.expire();
    world.write("expired", change(&world, short, PaymentChangeKind::Capture(None)));
    for (number, amount) in [60, 60, 40].into_iter().enumerate() {
        world.write(&format!("order-{number}"), of_order(amount, 100));
    }
    world.write("order-other", of_order(1, 101));

    world.write("freeze", set_status("a", AccountStatus::Frozen));
    world.write("frozen", payment("a", "b", 1));
    world.write("thaw", set_status("a", AccountStatus::Active));
    world.write("close", set_status("a", AccountStatus::Closed));
    world.write("open", opening("empty", Overdraft::None));
    world.write("close-empty", set_status("empty", AccountStatus::Closed));
    world.write("closed", payment("external:card", "empty", 1));

    let items = vec![(Some("item"), plain("external:card", "b", 5)), (None, plain("b", "nobody", 1_000))];
    world.write("batch", batch(false, items.clone()));
    let items = vec![(Some("lost-item"), plain("external:card", "b", 5)), (None, plain("b", "nobody", 1_000))];
    world.write("atomic", batch(true, items));
    let items = vec![(None, plain("b", "nobody", 1_000)), (None, plain("nobody", "b", 1))];
    world.write("atomic-all-refused", batch(true, items));
    world.write("fence", OperationRequest::KeyFence);
    let late = world.ask("in", OperationRequest::KeyFence);
    let held = json!({ "state": "committed", "payment": world.shown(2) });
    world.answered(late, super::world::answer(200, 2, None, &held));
    let late = world.ask("fence", payment("external:card", "a", 1));
    world.refused(late, "idempotency_key_fenced", None);
    let last = world.last();
    world.look_up("fence", "fenced", last, None);
    world
}

#[tokio::test]
async fn every_kind_of_entry_and_refusal_is_accepted() {
    let report = good().check().await;
    assert_eq!(report.verdict, Verdict::Kept, "{report}");
    assert_eq!(report.counts.entries, 28, "{report}");
}

/// Changes the body of the last answer.
fn forge_body(world: &mut World, forge: impl FnOnce(&mut serde_json::Value)) {
    let (Event::Ok(ok), forged) = (world.events.last_mut().unwrap(), forge) else { panic!("it was not answered") };
    let mut body = serde_json::from_str(ok.response.body.as_str()).unwrap();
    forged(&mut body);
    ok.response.body = ResponseBody::of(body.to_string().as_bytes());
}

#[test]
fn a_change_that_is_answered_wrongly_is_found_with_the_field() {
    for (field, forged, said) in [
        ("held", json!(1), "what is held is 1, but it is 300"),
        ("status", json!("captured"), "the status is captured, but it is partially_captured"),
        ("change", json!({"type": "capture", "amount": 201, "index": 4}), "the amount that was moved is 201"),
        ("balances", json!({"from": 800, "to": 201}), "the pair of balances is 800, 201, but it is 800, 200"),
    ] {
        let mut world = World::new();
        world.write("in", payment("external:card", "a", 1_000));
        let held = world.write("hold", hold("a", "shop", 500, 600));
        world.write("part", change(&world, held, PaymentChangeKind::Capture(some(200))));
        forge_body(&mut world, |body| body[field] = forged);
        world.assert_broken(Breach::WrongAnswer, &[said, "a capture of 200 of payment"]);
    }
}

#[test]
fn a_payment_that_is_shown_in_an_older_state_is_found() {
    let mut world = World::new();
    let paid = world.write("in", payment("external:card", "a", 1_000));
    world.write("back", change(&world, paid, PaymentChangeKind::Refund(None)));
    let id = world.id(paid).to_string();
    world.read(Subject::Payment(id), 3, 200, &world.shown(paid));
    world.assert_broken(Breach::WrongRead, &["the status is succeeded, but it is refunded"]);
}

#[test]
fn a_capture_beyond_what_is_held_is_a_wrong_decision() {
    let mut world = World::new();
    world.write("in", payment("external:card", "a", 1_000));
    let held = world.write("hold", hold("a", "shop", 500, 600));
    let mut wrong = world.decided("k", change(&world, held, PaymentChangeKind::Capture(some(501))));
    let Operation::PaymentChange(change) = &mut wrong else { panic!("it is a change") };
    assert_eq!(change.outcome, PaymentChangeOutcome::Rejected(Rejection::AmountExceedsHeld));
    let (amount, from_balance, to_balance) = (MinorUnits::new(501), MinorUnits::new(499), MinorUnits::new(501));
    change.outcome = PaymentChangeOutcome::Applied { amount, from_balance, to_balance };
    world.force(wrong);
    world.assert_broken(
        Breach::WrongDecision,
        &["a capture of 501 of payment", "demands refused as amount_exceeds_held"],
    );
}

#[test]
fn an_order_that_is_charged_beyond_its_total_is_a_wrong_decision() {
    let mut world = World::new();
    world.write("one", of_order(60, 100));
    let mut wrong = world.decided("two", of_order(60, 100));
    let Operation::Payment(payment) = &mut wrong else { panic!("it is a payment") };
    let (from_balance, to_balance) = (MinorUnits::new(-120), MinorUnits::new(120));
    payment.outcome = PaymentOutcome::Succeeded { from_balance, to_balance };
    world.force(wrong);
    world.assert_broken(Breach::WrongDecision, &["demands refused as order_total_exceeded"]);
}

#[test]
fn a_hold_that_ends_before_its_time_is_a_wrong_decision() {
    let mut world = World::new();
    world.write("in", payment("external:card", "a", 1_000));
    let held = world.write("hold", hold("a", "shop", 500, 600));
    let Operation::PaymentChange(void) = world.decided("k", change(&world, held, PaymentChangeKind::Void)) else {
        panic!("it is a change")
    };
    let expiry = quorapay_core::domain::Expiry { payment: world.id(held), before: *void.before.unwrap() };
    world.force(Operation::Expiry(expiry));
    world.assert_broken(Breach::WrongDecision, &["has not expired by then"]);
}

#[test]
fn a_payment_of_a_batch_under_a_key_that_was_used_is_applied_twice() {
    let mut world = World::new();
    world.write("k", payment("external:card", "a", 100));
    let again = batch(false, vec![(Some("k"), plain("external:card", "a", 100))]);
    let mut wrong = world.decided("batch", again);
    let Operation::Batch(batch) = &mut wrong else { panic!("it is a batch") };
    assert_eq!(batch.items[0].outcome, PaymentOutcome::Repeated { index: LogIndex(2) });
    let (from_balance, to_balance) = (MinorUnits::new(-200), MinorUnits::new(200));
    batch.items[0].outcome = PaymentOutcome::Succeeded { from_balance, to_balance };
    world.force(wrong);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(world.check());
    let broken: Vec<_> = report.broken.keys().collect();
    assert_eq!(broken, [&Breach::DoubleApply, &Breach::WrongDecision], "{report}");
}

#[test]
fn a_fence_that_is_answered_for_a_key_that_was_used_is_found() {
    let mut world = World::new();
    let index = world.write("k", payment("external:card", "a", 100));
    let operation = world.ask("k", OperationRequest::KeyFence);
    let response = super::world::answer(200, index, None, &json!({ "state": "fenced", "index": index }));
    world.answered(operation, response);
    world.assert_broken(Breach::WrongRequest, &["a fence of its key is done, as entry 2; but entry 2 is a payment"]);
}

#[test]
fn a_late_fence_that_is_answered_with_something_else_than_its_keys_content_is_found() {
    let mut world = World::new();
    world.write("k", payment("external:card", "a", 100));
    let operation = world.ask("k", OperationRequest::KeyFence);
    let mut payment = world.shown(2);
    payment["amount"] = json!(99);
    let held = json!({ "state": "committed", "payment": payment });
    world.answered(operation, super::world::answer(200, 2, None, &held));
    world.assert_broken(Breach::WrongAnswer, &["history.jsonl:4", "the amount is 99, but it is 100"]);
}

#[test]
fn a_key_that_is_reported_as_fenced_and_is_not_is_found() {
    let mut world = World::new();
    world.write("k", payment("external:card", "a", 100));
    let operation = world.ask("k", payment("external:card", "a", 100));
    world.refused(operation, "idempotency_key_fenced", None);
    world.assert_broken(Breach::WrongRefusal, &["it was told idempotency_key_fenced, but entry 2 is a payment"]);
}
