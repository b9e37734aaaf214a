//! Starts with files that are damaged in a way that shows only while they are read.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use tempfile::TempDir;

use super::*;
use crate::stored::{opened, stored, tamper};
use quorapay_core::domain::{Currency, RuleVersion};
use quorapay_core::replication::sample::{Chain, assert_same_money, node};
use quorapay_core::replication::{StoreId, Timing};

fn config() -> ReplicaConfig {
    let peers = BTreeMap::from([(node("node1"), "http://node1".to_owned())]);
    let newest_rules = RuleVersion::NEWEST;
    ReplicaConfig { node_id: node("node1"), peers, newest_rules, timing: Timing::default(), limits: Limits::default() }
}

/// Starts twice: the first start finds the damage, the second one begins anew.
async fn assert_begins_anew(dir: &TempDir) {
    let opened_first = opened(dir, StoreId(2)).await;
    assert_eq!(opened_first.damaged, None, "the damage does not show at once");
    let loaded = load(dir.path(), "test", config(), opened_first.start, &opened_first.reader).await;
    assert!(matches!(loaded.err(), Some(NodeError::Ledger(LedgerError::Damaged(_)))));
    opened_first.reader.close().await;
    opened_first.writer.close().await.unwrap();
    drop(opened_first.lock);
    let again = opened(dir, StoreId(2)).await;
    assert!(again.damaged.is_some());
    assert_eq!((again.start.store_id, again.start.last.index), (StoreId(2), LogIndex(0)));
}

#[tokio::test]
async fn a_damaged_row_below_the_verified_end_does_not_keep_a_node_down_for_ever() {
    let dir = stored(&Chain::of_payments(9_000), 0).await;
    tamper(&dir, "ledger.db", "UPDATE entries SET timestamp_ms = timestamp_ms + 1 WHERE log_index = 100").await;
    assert_begins_anew(&dir).await;
}

#[tokio::test]
async fn a_ledger_that_ends_below_what_its_own_views_hold_begins_anew() {
    let dir = stored(&Chain::of_payments(500), 400).await;
    tamper(&dir, "ledger.db", "DELETE FROM entries WHERE log_index > 300; UPDATE meta SET commit_index = 200").await;
    assert_begins_anew(&dir).await;
}

#[tokio::test]
async fn views_whose_balances_do_not_add_up_to_zero_are_rebuilt() {
    let dir = stored(&Chain::of_payments(50), 40).await;
    tamper(
        &dir,
        "views.db",
        "UPDATE balances SET posted = posted + 1 WHERE account = (SELECT MIN(account) FROM balances)",
    )
    .await;
    let opened = opened(&dir, StoreId(2)).await;
    let loaded = load(dir.path(), "test", config(), opened.start, &opened.reader).await.unwrap();
    assert_eq!(loaded.engine.projected_index(), LogIndex(0));
    assert_eq!(loaded.engine.bank().unbalanced(), None);
    assert!(loaded.engine.bank().sums().contains_key(&Currency::parse("EUR").unwrap()));
}

#[tokio::test]
async fn a_start_far_above_its_views_brings_them_nearer_and_keeps_a_bounded_part_in_memory() {
    let chain = Chain::of_payments(20_000);
    let dir = stored(&chain, 100).await;
    let opened = opened(&dir, StoreId(2)).await;
    let mut config = config();
    config.limits.unprojected_keys = 9_000;
    let loaded = load(dir.path(), "test", config, opened.start, &opened.reader).await.unwrap();
    let engine = &loaded.engine;
    assert!(engine.views_lag().keys < 9_000 && engine.held_in_memory().recent_keys < 9_000);
    assert!(engine.projected_index() > LogIndex(10_000), "{}", engine.projected_index());
    assert_eq!(loaded.backlog.first(), Some(engine.projected_index().next()), "what was replayed is kept");
    assert_same_money(engine.bank(), &chain.bank);
}

#[tokio::test]
async fn views_with_a_page_that_cannot_be_read_are_made_anew_at_the_start() {
    let chain = Chain::of_payments(2_000);
    let dir = stored(&chain, 1_500).await;
    let file = OpenOptions::new().write(true).open(dir.path().join("views.db")).unwrap();
    let rest = usize::try_from(file.metadata().unwrap().len()).unwrap() - 4_096;
    file.write_all_at(&vec![0xff; rest], 4_096).unwrap();
    let opened = opened(&dir, StoreId(2)).await;
    let loaded = load(dir.path(), "test", config(), opened.start, &opened.reader).await.unwrap();
    assert_eq!(loaded.engine.projected_index(), LogIndex(0));
    assert_same_money(loaded.engine.bank(), &chain.bank);
    loaded.views.reader.close().await;
}

#[tokio::test]
async fn views_with_a_damaged_order_of_an_open_hold_are_rebuilt() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let dir = stored(&chain, chain.entries.len()).await;
    tamper(&dir, "views.db", "UPDATE blocks SET data = zeroblob(100) WHERE kind = 2").await;
    let opened = opened(&dir, StoreId(2)).await;
    let loaded = load(dir.path(), "test", config(), opened.start, &opened.reader).await.unwrap();
    assert_eq!(loaded.engine.projected_index(), LogIndex(0));
}
