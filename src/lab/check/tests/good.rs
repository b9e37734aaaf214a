//! Histories that keep every promise.

use serde_json::json;

use super::world::{World, account, account_json, answer, opening, payment};
use crate::check::{Report, Verdict};
use crate::history::{Consistency, Subject};
use quorapay_core::domain::{MinorUnits, Overdraft};

/// A correct history with every kind of operation.
fn good() -> World {
    let mut world = World::new();
    world.write("open", opening("shop", Overdraft::Limit(MinorUnits::new(50))));
    let paid = world.write("in", payment("external:card", "a", 100));
    world.write("poor", payment("a", "b", 500));
    world.write("nobody", payment("nobody", "b", 1));
    world.write("again", opening("shop", Overdraft::None));
    world.write("overdrawn", payment("shop", "b", 50));

    let repeat = world.ask("in", payment("external:card", "a", 100));
    let mut replayed = world.response(paid);
    replayed.replayed = true;
    world.answered(repeat, replayed);
    let reuse = world.ask("in", payment("external:card", "a", 7));
    world.refused(reuse, "idempotency_key_reused", Some(answer(422, world.last(), None, &json!({}))));
    let not_sent = world.ask("not-sent", payment("external:card", "a", 7));
    world.refused(not_sent, "not_sent", None);

    let lost = world.ask("lost", payment("external:card", "a", 3));
    world.unknown(lost);
    let survived = world.ask("survived", payment("external:card", "a", 4));
    world.unknown(survived);
    let survived = world.apply("survived", payment("external:card", "a", 4));
    let last = world.last();
    world.look_up("lost", "unknown", last, None);
    world.look_up("survived", "committed", last, Some(survived));
    world.look_up("open", "committed", last, None);

    world.read_account("a", last, 104);
    let early = account_json("a", paid, 100);
    world.read_as(Subject::Account(account("a")), Consistency::Local, None, paid, 200, &early);
    world.read(Subject::Account(account("nobody")), last, 404, &json!({}));
    let id = world.shown(paid)["id"].as_str().unwrap().to_owned();
    world.read(Subject::Payment(id), last, 200, &world.shown(paid));
    let of_a = Subject::Payments { account: Some(account("a")), limit: 10 };
    let of_a_page = json!({ "payments": [world.shown(survived), world.shown(4)], "next_cursor": "p31" });
    world.read(of_a, last, 200, &of_a_page);
    world.ask("never-ended", payment("external:card", "a", 5));
    world
}

fn assert_kept(report: &Report) {
    assert_eq!(report.verdict, Verdict::Kept, "{report}");
    assert!(report.violations.is_empty() && report.broken.is_empty());
}

#[tokio::test]
async fn a_correct_history_is_accepted_and_counted() {
    let report = good().check().await;
    assert_kept(&report);
    let counts = &report.counts;
    assert_eq!((counts.entries, counts.operations, counts.histories), (8, 20, 1));
    assert_eq!((counts.writes, counts.replays, counts.rejected, counts.refused), (4, 1, 3, 2));
    assert_eq!((counts.reads, counts.unknown), (8, 3));
    assert_eq!((counts.unknown_applied, counts.unknown_not_applied), (1, 2));
    assert!(report.to_string().ends_with("KEPT: every promise"));
}

#[tokio::test]
async fn the_same_files_give_the_same_report() {
    let stored = good().stored().await;
    assert_eq!(stored.check().await, stored.check().await);
}

#[tokio::test]
async fn writes_that_overlap_may_come_in_either_order() {
    let mut world = World::new();
    let first = world.ask("first", payment("external:card", "a", 1));
    let second = world.ask("second", payment("external:card", "a", 2));
    let second_index = world.apply("second", payment("external:card", "a", 2));
    let first_index = world.apply("first", payment("external:card", "a", 1));
    world.tell(first, first_index);
    world.tell(second, second_index);
    assert_kept(&world.check().await);
}

#[tokio::test]
async fn a_retry_may_find_that_its_first_attempt_was_applied_long_before() {
    let mut world = World::new();
    let lost = world.ask("k", payment("external:card", "a", 1));
    let index = world.apply("k", payment("external:card", "a", 1));
    world.unknown(lost);
    world.write("later", payment("external:card", "a", 2));
    let refused = world.ask("k", payment("external:card", "a", 1));
    world.refused(refused, "no_leader", None);
    let retry = world.ask("k", payment("external:card", "a", 1));
    world.tell(retry, index);
    assert_kept(&world.check().await);
}

#[tokio::test]
async fn an_uncommitted_end_of_one_ledger_is_ignored() {
    let mut world = World::new();
    world.write("k", payment("external:card", "a", 1));
    let stored = world.stored().await;
    let committed = world.last();
    world.apply("tail", payment("external:card", "a", 2));
    stored.add_ledger(3, &world.entries, quorapay_core::domain::LogIndex(committed)).await;
    let report = stored.check().await;
    assert_kept(&report);
    assert_eq!(report.counts.entries, committed);
}
