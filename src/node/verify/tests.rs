//! Audits of intact and of damaged data directories.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::ledger::LedgerError;
use crate::query::state_after;
use crate::stored::{opened, stored, tamper};
use crate::views;
use quorapay_core::domain::{
    IdempotencyKey, LogIndex, MinorUnits, Operation, OrderState, Payment, PaymentChange, PaymentChangeKind,
    PaymentChangeOutcome, PaymentState,
};
use quorapay_core::replication::sample::{Chain, assert_same_money, hold, payment};
use quorapay_core::replication::{Entry, EntryBody, StoreId};

fn chain() -> Chain {
    let mut chain = Chain::of_payments(9_000);
    chain.one_of_each();
    for number in 0..500 {
        chain.request(payment("a", &format!("customer-{}", number % 7), 1 + number % 50, None, None));
    }
    chain
}

async fn findings(dir: &TempDir) -> Vec<Finding> {
    verify(dir.path(), &mut |_, _| {}).await.unwrap().findings
}

#[tokio::test]
async fn an_intact_ledger_verifies_to_its_end_and_reports_progress() {
    let chain = chain();
    let dir = stored(&chain, 5_000).await;
    let mut steps = Vec::new();
    let report = verify(dir.path(), &mut |done, total| steps.push((done, total))).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.verified, chain.last());
    assert_eq!(report.projected, Some(LogIndex(5_000)));
    assert_eq!(report.accounts, chain.bank.len() as u64);
    assert_eq!(steps.last(), Some(&(chain.last().index.0, chain.last().index.0)));
    assert_eq!(steps.len(), 3);
}

#[tokio::test]
async fn a_running_node_is_audited_up_to_its_commit_index() {
    let chain = chain();
    let dir = stored(&chain, chain.entries.len()).await;
    let running = opened(&dir, StoreId(1)).await;
    let report = verify(dir.path(), &mut |_, _| {}).await.unwrap();
    assert_eq!((report.findings, report.verified), (Vec::new(), chain.last()));
    let error = rebuild_views(dir.path(), &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(error, AuditError::Ledger(LedgerError::Locked(_))), "{error}");
    drop(running);
}

#[tokio::test]
async fn a_changed_amount_far_below_the_tail_is_found() {
    let dir = stored(&chain(), 5_000).await;
    tamper(&dir, "ledger.db", "UPDATE entries SET amount = amount | 1024 WHERE log_index = 3000").await;
    assert_eq!(opened(&dir, StoreId(1)).await.damaged, None);
    assert_eq!(findings(&dir).await, [Finding::ChainBroken { index: LogIndex(3_000) }]);
    let error = rebuild_views(dir.path(), &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(error, AuditError::Unverified(Finding::ChainBroken { index: LogIndex(3_000) })), "{error}");
}

#[tokio::test]
async fn a_hole_and_an_unreadable_row_are_found() {
    let dir = stored(&chain(), 0).await;
    tamper(&dir, "ledger.db", "UPDATE entries SET currency = 'XXX' WHERE log_index = 8000").await;
    let found = findings(&dir).await;
    assert!(matches!(&found[..], [Finding::Unreadable { reason, .. }] if reason.contains("entry 8000")), "{found:?}");
    tamper(&dir, "ledger.db", "DELETE FROM entries WHERE log_index = 3000").await;
    assert_eq!(findings(&dir).await, [Finding::Missing { index: LogIndex(3_000) }]);
}

#[tokio::test]
async fn a_ledger_that_ends_too_early_is_found() {
    let chain = chain();
    let dir = stored(&chain, 0).await;
    tamper(&dir, "ledger.db", "DELETE FROM entries WHERE log_index > 9000").await;
    let expected = Finding::EndsTooEarly { last: LogIndex(9_000), mark: chain.last().index };
    assert_eq!(findings(&dir).await, [expected]);
}

#[tokio::test]
async fn views_that_differ_from_the_ledger_are_found() {
    let dir = stored(&chain(), 5_000).await;
    tamper(&dir, "views.db", "UPDATE balances SET posted = posted + 1 WHERE account = 'customer-2'").await;
    let found = findings(&dir).await;
    assert!(matches!(&found[..], [Finding::ViewsBalances { index: LogIndex(5_000), .. }]), "{found:?}");
    rebuild_views(dir.path(), &mut |_, _| {}).await.unwrap();

    for (sql, reason) in [
        (
            "DELETE FROM blocks WHERE kind = 0 AND first_key = (SELECT MAX(first_key) FROM blocks WHERE kind = 0)",
            "keys",
        ),
        (
            "UPDATE blocks SET data = CAST(substr(data, 1, 500) || x'5a' || substr(data, 502) AS BLOB) WHERE kind = 1",
            "checksum",
        ),
        ("UPDATE blocks SET first_key = CAST(first_key || x'00' AS BLOB) WHERE kind = 1", "place"),
        ("DELETE FROM blocks WHERE kind = 5", "filter"),
    ] {
        tamper(&dir, "views.db", sql).await;
        let found = findings(&dir).await;
        let expected =
            |finding: &Finding| matches!(finding, Finding::ViewsUnreadable { reason: found } if found.contains(reason));
        assert!(found.iter().any(expected), "{sql}: {found:?}");
        rebuild_views(dir.path(), &mut |_, _| {}).await.unwrap();
        assert_eq!(findings(&dir).await, []);
    }

    tamper(
        &dir,
        "views.db",
        "DELETE FROM blocks WHERE kind = 1 AND first_key = (SELECT MAX(first_key) FROM blocks WHERE kind = 1)",
    )
    .await;
    let found = findings(&dir).await;
    assert!(found.iter().all(|finding| matches!(finding, Finding::ViewsLack { .. })), "{found:?}");
    assert!(!found.is_empty(), "the block held entries");
    rebuild_views(dir.path(), &mut |_, _| {}).await.unwrap();

    tamper(&dir, "views.db", "UPDATE meta SET projected_hash = zeroblob(32)").await;
    let found = findings(&dir).await;
    assert!(matches!(&found[..], [Finding::ViewsOfAnotherHistory { .. }]), "{found:?}");
}

#[tokio::test]
async fn views_that_differ_in_changes_of_payments_are_found() {
    let chain = chain();
    let dir = stored(&chain, chain.entries.len()).await;
    assert_eq!(findings(&dir).await, []);
    let index = chain.last().index;
    type Expected = fn(&Finding) -> bool;
    let damages: [(&'static str, Expected); 5] = [
        ("UPDATE changed_payments SET status = 'voided' WHERE status = 'expired'", |finding| {
            matches!(finding, Finding::ViewsChange { .. })
        }),
        ("DELETE FROM holds WHERE order_id = '#3'", |finding| matches!(finding, Finding::ViewsHold { .. })),
        ("DELETE FROM blocks WHERE kind = 3", |finding| matches!(finding, Finding::ViewsLack { .. })),
        ("DELETE FROM blocks WHERE kind = 4", |finding| matches!(finding, Finding::ViewsLack { .. })),
        ("UPDATE balances SET held = held + 1 WHERE held > 0", |finding| {
            matches!(finding, Finding::ViewsBalances { .. })
        }),
    ];
    for (sql, expected) in damages {
        tamper(&dir, "views.db", sql).await;
        let found = findings(&dir).await;
        assert!(found.iter().any(expected), "{sql}: {found:?}");
        assert_eq!(rebuild_views(dir.path(), &mut |_, _| {}).await.unwrap().index, index);
        assert_eq!(findings(&dir).await, []);
    }
}

/// A ledger with an intact chain whose last entry contradicts those before it.
async fn with_contradiction(mut chain: Chain, operation: Operation) -> (LogIndex, Vec<Finding>) {
    chain.append(EntryBody::Operation(operation));
    let dir = stored(&chain, 0).await;
    (chain.last().index, findings(&dir).await)
}

fn changed(chain: &Chain) -> PaymentChange {
    let changed = |entry: &Arc<Entry>| match entry.operation()? {
        Operation::PaymentChange(change) if change.before.is_some() => Some(change.clone()),
        _ => None,
    };
    chain.entries.iter().find_map(changed).unwrap()
}

#[tokio::test]
async fn a_change_with_a_wrong_state_before_it_is_found() {
    let mut chain = Chain::begun();
    chain.request(payment("external:card", "b", 100, None, None));
    let paid = chain.last_payment(0);
    let mut intact = Chain::begun();
    intact.one_of_each();
    let decided = state_after(chain.entries.last().unwrap(), paid).unwrap();
    let refund = |before: PaymentState, from: i64, to: i64| {
        let outcome = PaymentChangeOutcome::Applied {
            amount: MinorUnits::new(60),
            from_balance: MinorUnits::new(from),
            to_balance: MinorUnits::new(to),
        };
        let change = PaymentChangeKind::Refund(Some(MinorUnits::new(60)));
        Operation::PaymentChange(PaymentChange {
            payment: paid,
            change,
            before: Some(Box::new(before)),
            outcome,
            ..changed(&intact)
        })
    };
    let mut other = Chain::begun();
    other.request(payment("external:card", "b", 100, None, None));
    let (_, found) = with_contradiction(other, refund(decided.clone(), -40, 40)).await;
    assert_eq!(found, []);
    let wrong = PaymentState { amount: MinorUnits::new(200), captured: MinorUnits::new(200), ..decided };
    let (index, found) = with_contradiction(chain, refund(wrong, -40, 40)).await;
    assert!(matches!(&found[..], [Finding::Diverged { index: at, .. }] if *at == index), "{found:?}");
}

#[tokio::test]
async fn a_payment_with_a_wrong_state_of_its_order_before_it_is_found() {
    let mut chain = Chain::begun();
    chain.request(hold("external:card", "b", 60, Some(("#9", 100))));
    let Some(Operation::Payment(held)) = chain.entries.last().unwrap().operation().cloned() else {
        panic!("a payment")
    };
    let key = IdempotencyKey::parse("another").unwrap();
    let used =
        OrderState { used: MinorUnits::new(10), ..chain.bank.order(&held.request.order.as_ref().unwrap().id).unwrap() };
    let mut before = Chain::begun();
    before.pay();
    let (index, found) =
        with_contradiction(before, Operation::Payment(Payment { key, order_before: Some(used), ..held })).await;
    assert!(matches!(&found[..], [Finding::Diverged { index: at, .. }] if *at == index), "{found:?}");
}

#[tokio::test]
async fn damaged_views_are_rebuilt_equal() {
    let chain = chain();
    let dir = stored(&chain, 5_000).await;
    let spoil: [fn(&Path); 3] =
        [|_| {}, |file| fs::remove_file(file).unwrap(), |file| fs::write(file, [0x5a; 20_480]).unwrap()];
    for spoil in spoil {
        spoil(&dir.path().join("views.db"));
        let mut last = (0, 0);
        let projected = rebuild_views(dir.path(), &mut |done, total| last = (done, total)).await.unwrap();
        assert_eq!(projected, chain.last());
        assert_eq!(last, (chain.last().index.0, chain.last().index.0));
        let reader = views::open_read_only(dir.path()).unwrap();
        let (position, bank) = reader.load_bank().await.unwrap();
        assert_eq!(position, chain.last());
        assert_same_money(&bank, &chain.bank);
        reader.close().await;
        assert_eq!(findings(&dir).await, []);
    }
}

#[tokio::test]
async fn a_directory_without_a_ledger_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = verify(dir.path(), &mut |_, _| {}).await.unwrap_err().to_string();
    assert!(error.contains("ledger.db"), "{error}");
}
