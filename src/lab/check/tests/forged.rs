//! Forged histories. Each breaks exactly one promise, and the checker names the operation that shows it.

use serde_json::json;

use super::world::{World, account, account_json, answer, opening, payment};
use crate::check::Breach;
use crate::history::{Consistency, Event, Response, ResponseBody, Subject};
use quorapay_core::domain::{MinorUnits, Operation, Overdraft, PaymentOutcome, Rejection};

/// The answer of the last event, to be forged.
fn last_response(world: &mut World) -> &mut Response {
    match world.events.last_mut().unwrap() {
        Event::Ok(ok) => &mut ok.response,
        Event::Refused(refused) => refused.response.as_mut().unwrap(),
        other => panic!("{other:?} has no answer"),
    }
}

/// Changes the body of the last answer.
fn forge_body(world: &mut World, forge: impl FnOnce(&mut serde_json::Value)) {
    let response = last_response(world);
    let mut body = serde_json::from_str(response.body.as_str()).unwrap();
    forge(&mut body);
    response.body = ResponseBody::of(body.to_string().as_bytes());
}

#[test]
fn a_write_that_was_acknowledged_and_is_in_no_ledger_is_lost() {
    let mut world = World::new();
    world.write("kept", payment("external:card", "a", 100));
    let operation = world.ask("gone", payment("external:card", "a", 5));
    let mut response = world.response(2);
    response.index = Some(quorapay_core::domain::LogIndex(3));
    world.answered(operation, response);
    world.assert_broken(
        Breach::LostAck,
        &[
            "BROKEN lost_ack: an acknowledged write is in the ledger for good",
            "history.jsonl:4, operation 2 of process 1, key \"gone\"",
            "node2 said at 0.000040 s that a payment of 5 EUR from external:card to a is done, as entry 3; but there is \
             no entry 3: the ledger ends at 2, and the key is in no ledger",
        ],
    );
}

#[test]
fn a_write_whose_answer_names_the_entry_of_another_key_is_lost() {
    let mut world = World::new();
    let index = world.write("mine", payment("external:card", "a", 100));
    let operation = world.ask("yours", payment("external:card", "a", 100));
    world.tell(operation, index);
    world.assert_broken(Breach::LostAck, &["key \"yours\"", "key \"mine\", and the key is in no ledger"]);
}

#[test]
fn a_refusal_of_the_bank_that_is_in_no_ledger_is_lost_too() {
    let mut world = World::new();
    world.write("poor", payment("a", "b", 1));
    last_response(&mut world).index = Some(quorapay_core::domain::LogIndex(1));
    world.assert_broken(Breach::LostAck, &["is refused as account_not_found, as entry 1", "stands at entry 2 instead"]);
}

#[test]
fn a_key_that_is_applied_twice_is_found() {
    let mut world = World::new();
    world.write("once", payment("external:card", "a", 100));
    world.apply("once", payment("external:card", "a", 100));
    world.assert_broken(Breach::DoubleApply, &["history.jsonl:2, operation 1 of process 1, key \"once\"", "entry 3"]);
}

#[test]
fn a_repeated_request_with_another_answer_is_found() {
    let mut world = World::new();
    let index = world.write("k", payment("external:card", "a", 100));
    let repeat = world.ask("k", payment("external:card", "a", 100));
    world.tell(repeat, index);
    forge_body(&mut world, |body| body["created_at"] = json!("2027-01-01T00:00:00.000Z"));
    world.assert_broken(Breach::WrongReplay, &["history.jsonl:4", "history.jsonl:2 (operation 1 of process 1)"]);
}

#[test]
fn an_answer_that_differs_from_its_entry_is_found_with_the_field() {
    for (field, forged, said) in [
        ("amount", json!(101), "the amount is 101, but it is 100"),
        ("to", json!("b"), "the receiver is b, but it is a"),
        ("status", json!("refunded"), "the status is refunded, but it is succeeded"),
        ("held", json!(5), "what is held is 5, but it is 0"),
        ("balances", json!({"from": -100, "to": 101}), "the pair of balances is -100, 101, but it is -100, 100"),
        ("id", json!("x"), "the id is x"),
    ] {
        let mut world = World::new();
        world.write("k", payment("external:card", "a", 100));
        forge_body(&mut world, |body| body[field] = forged);
        world.assert_broken(Breach::WrongAnswer, &[said]);
    }
}

#[test]
fn a_success_that_was_refused_and_a_refusal_for_another_reason_are_found() {
    let mut world = World::new();
    let operation = world.ask("poor", payment("a", "b", 1));
    let index = world.apply("poor", payment("a", "b", 1));
    let mut response = world.response(index);
    response.status = 201;
    world.answered(operation, response);
    world.assert_broken(Breach::WrongAnswer, &["is done, as entry 2; but entry 2", "refused as account_not_found"]);

    let mut world = World::new();
    world.write("poor", payment("a", "b", 1));
    let Some(Event::Refused(refused)) = world.events.last_mut() else { panic!("it was refused") };
    refused.code = "insufficient_funds".to_owned();
    world.assert_broken(Breach::WrongAnswer, &["is refused as insufficient_funds", "refused as account_not_found"]);
}

#[test]
fn a_write_before_one_that_was_acknowledged_before_its_request_is_reordered() {
    let mut world = World::new();
    let early = world.apply("late", payment("external:card", "a", 1));
    world.write("first", payment("external:card", "a", 2));
    let operation = world.ask("late", payment("external:card", "a", 1));
    world.tell(operation, early);
    world.assert_broken(
        Breach::Reordered,
        &["history.jsonl:4, operation 2 of process 1, key \"late\"", "stands at entry 2", "had been told of entry 3"],
    );
}

#[test]
fn an_entry_that_was_read_before_its_request_is_reordered() {
    let mut world = World::new();
    let index = world.apply("k", payment("external:card", "a", 1));
    world.read_account("a", index, 1);
    let operation = world.ask("k", payment("external:card", "a", 1));
    world.tell(operation, index);
    world.assert_broken(Breach::Reordered, &["key \"k\"", "history.jsonl:2 (operation 1 of process 1) had been told"]);
}

#[test]
fn a_linearizable_read_that_misses_an_answered_write_is_stale_and_a_local_one_is_not() {
    let mut world = World::new();
    world.write("one", payment("external:card", "a", 100));
    world.write("two", payment("external:card", "a", 1));
    let body = account_json("a", 2, 100);
    world.read_as(Subject::Account(account("a")), Consistency::Local, None, 2, 200, &body);
    world.read_account("a", 2, 100);
    world.assert_broken(
        Breach::StaleRead,
        &[
            "history.jsonl:8, operation 4 of process 1",
            "as of entry 2, but",
            ":4 (operation 2 of process 1) had been told of entry 3",
        ],
    );
}

#[test]
fn a_balance_that_differs_from_the_ledger_is_found_in_local_reads_too() {
    for consistency in [Consistency::Linearizable, Consistency::Local] {
        let mut world = World::new();
        let index = world.write("k", payment("external:card", "a", 100));
        world.read_as(Subject::Account(account("a")), consistency, None, index, 200, &account_json("a", index, 99));
        world.assert_broken(
            Breach::WrongRead,
            &["history.jsonl:4", "account a as of entry 2 is active with overdraft none"],
        );
    }
}

#[test]
fn an_existing_account_that_is_not_shown_and_a_missing_one_that_is_are_found() {
    let mut world = World::new();
    let index = world.write("k", opening("a", Overdraft::None));
    world.read(Subject::Account(account("a")), index, 404, &json!({}));
    world.assert_broken(Breach::WrongRead, &["account a does not exist, but it did by then"]);
    let mut world = World::new();
    world.read_account("a", 1, 0);
    world.assert_broken(Breach::WrongRead, &["it shows account a, which did not exist as of entry 1"]);
}

#[test]
fn a_read_as_of_an_index_beyond_the_ledger_or_below_the_requested_one_is_found() {
    let mut world = World::new();
    world.write("k", payment("external:card", "a", 100));
    world.read_account("a", 9, 100);
    world.assert_broken(Breach::WrongIndex, &["as of entry 9, but the ledgers end at 2"]);

    let mut world = World::new();
    let index = world.write("k", payment("external:card", "a", 100));
    world.write("l", payment("external:card", "b", 100));
    let body = account_json("a", index, 100);
    world.read_as(Subject::Account(account("a")), Consistency::Local, Some(3), index, 200, &body);
    world.assert_broken(Breach::WrongIndex, &["as of entry 2, but at least 3 was asked for"]);
}

#[test]
fn a_write_that_was_definitely_refused_and_is_in_the_ledger_is_found() {
    let mut world = World::new();
    let operation = world.ask("k", payment("external:card", "a", 100));
    world.refused(operation, "no_leader", Some(answer(503, 1, None, &json!({}))));
    world.apply("k", payment("external:card", "a", 100));
    world.assert_broken(Breach::RefusedButApplied, &["history.jsonl:2", "refused for good (no_leader)", "entry 2"]);
}

#[test]
fn a_key_that_is_reported_as_unknown_as_of_its_own_index_is_found() {
    for state in ["unknown", "in_flight"] {
        let mut world = World::new();
        let operation = world.ask("k", payment("external:card", "a", 100));
        world.unknown(operation);
        let index = world.apply("k", payment("external:card", "a", 100));
        world.look_up("k", state, index, None);
        world.look_up("k", "committed", index, Some(index));
        world.assert_broken(
            Breach::WronglyUnknown,
            &["history.jsonl:4, operation 2 of process 1, key \"k\"", state, "entry 2 is a payment"],
        );
    }
}

#[test]
fn a_key_that_is_reported_as_committed_and_is_in_no_ledger_is_lost() {
    let mut world = World::new();
    world.write("other", payment("external:card", "a", 100));
    world.look_up("k", "committed", 2, Some(2));
    world.assert_broken(Breach::LostAck, &["key \"k\"", "it says that the key is committed, but it is in no ledger"]);
}

#[test]
fn another_request_under_a_key_is_found_whatever_the_answer_said() {
    let mut world = World::new();
    let operation = world.ask("k", payment("external:card", "a", 100));
    let index = world.apply("k", payment("external:card", "b", 100));
    world.tell(operation, index);
    world.assert_broken(Breach::WrongRequest, &["a payment of 100 EUR from external:card to a is done", "to b, made"]);

    let mut world = World::new();
    let operation = world.ask("k", payment("external:card", "a", 100));
    world.unknown(operation);
    world.apply("k", payment("external:card", "b", 100));
    world.assert_broken(Breach::WrongRequest, &["nobody asked for what stands under the key"]);
}

#[test]
fn a_key_that_is_reported_as_reused_and_is_not_is_found() {
    let mut world = World::new();
    let operation = world.ask("k", payment("external:card", "a", 100));
    world.refused(operation, "idempotency_key_reused", Some(answer(422, 1, None, &json!({}))));
    world.assert_broken(Breach::WrongRefusal, &["it was told idempotency_key_reused, but the key is in no ledger"]);

    let mut world = World::new();
    world.write("k", payment("external:card", "a", 100));
    let operation = world.ask("k", payment("external:card", "a", 100));
    world.refused(operation, "idempotency_key_reused", Some(answer(422, 2, None, &json!({}))));
    world.assert_broken(Breach::WrongRefusal, &["history.jsonl:4", "but entry 2 is a payment of 100 EUR"]);
}

#[test]
fn a_decision_that_does_not_follow_from_the_accounts_is_found() {
    let mut world = World::new();
    world.write("in", payment("external:card", "a", 100));
    let mut wrong = world.decided("poor", payment("a", "b", 500));
    let Operation::Payment(payment) = &mut wrong else { panic!("it is a payment") };
    assert_eq!(payment.outcome, PaymentOutcome::Rejected(Rejection::InsufficientFunds));
    payment.outcome = PaymentOutcome::Rejected(Rejection::AccountNotFound);
    world.force(wrong);
    world.assert_broken(
        Breach::WrongDecision,
        &["entry 3, key \"poor\"", "decided as refused as account_not_found", "demands refused as insufficient_funds"],
    );
}

#[test]
fn money_from_nowhere_is_found_in_the_decision_and_in_the_sum() {
    let mut world = World::new();
    let mut wrong = world.decided("k", payment("external:card", "a", 100));
    let Operation::Payment(payment) = &mut wrong else { panic!("it is a payment") };
    let (from_balance, to_balance) = (MinorUnits::new(-100), MinorUnits::new(1_000));
    payment.outcome = PaymentOutcome::Succeeded { from_balance, to_balance };
    world.force(wrong);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(world.check());
    let broken: Vec<_> = report.broken.keys().collect();
    assert_eq!(broken, [&Breach::WrongDecision, &Breach::Unbalanced], "{report}");
    assert!(
        report.to_string().contains("by the balances in the ledger all accounts together hold 900 minor units of EUR"),
        "{report}"
    );
}

#[test]
fn a_payment_that_is_not_shown_or_shown_wrongly_is_found() {
    let mut world = World::new();
    let index = world.write("k", payment("external:card", "a", 100));
    let id = world.shown(index)["id"].as_str().unwrap().to_owned();
    world.read(Subject::Payment(id.clone()), index, 404, &json!({}));
    world.assert_broken(Breach::WrongRead, &["there is no payment", "but entry 2 is a payment"]);

    let mut world = World::new();
    world.write("k", payment("external:card", "a", 100));
    let mut shown = world.shown(index);
    shown["amount"] = json!(7);
    world.read(Subject::Payment(id), index, 200, &shown);
    world.assert_broken(Breach::WrongRead, &["the amount is 7, but it is 100"]);
}

#[test]
fn a_list_with_a_gap_or_an_early_end_is_found() {
    let mut world = World::new();
    let indexes = [1, 2, 3].map(|number| world.write(&number.to_string(), payment("external:card", "a", number)));
    let all = || Subject::Payments { account: None, limit: 10 };
    let gap = json!({ "payments": [world.shown(indexes[2]), world.shown(indexes[0])], "next_cursor": null });
    world.read(all(), 4, 200, &gap);
    world.assert_broken(Breach::WrongRead, &["of the payment that should come next in the list"]);

    world.events.truncate(6);
    let short = json!({ "payments": [world.shown(indexes[2]), world.shown(indexes[1])], "next_cursor": null });
    world.read(all(), 4, 200, &short);
    world.assert_broken(Breach::WrongRead, &["the list ends without entry 2 is a payment"]);
}

#[test]
fn violations_beyond_the_twentieth_of_a_kind_are_only_counted() {
    let mut world = World::new();
    let index = world.write("k", payment("external:card", "a", 100));
    for _ in 0..30 {
        world.read_account("a", index, 1);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(world.check());
    assert_eq!((report.total_broken(), report.violations.len()), (30, 20));
    assert!(report.to_string().contains("… and 10 more of wrong_read"), "{report}");
}
