//! Lookups in real files: what they return for a decision equals what the entries say.

#![allow(clippy::unwrap_used)]

use tempfile::TempDir;

use super::*;
use crate::ledger::{self, Identity, OpenLedger};
use crate::views::{self, OpenViews};
use quorapay_core::domain::{Epoch, OrderId, Stamp, Timestamp};
use quorapay_core::replication::sample::{Chain, node};
use quorapay_core::replication::{Persist, StoreId};

struct Files {
    chain: Chain,
    ledger: OpenLedger,
    views: OpenViews,
    _dir: TempDir,
}

async fn files() -> Files {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity { cluster_id: "test".to_owned(), node_id: node("node1") };
    let mut ledger = ledger::open(dir.path(), &identity, || StoreId(1)).await.unwrap();
    let write = Persist { commit_index: chain.last().index, ..chain.persist_after(LogIndex(0)) };
    ledger.writer.persist(&[write]).await.unwrap();
    let mut views = views::open(dir.path(), "test", StoreId(1)).await.unwrap();
    views.writer.project(&chain.entries).await.unwrap();
    Files { chain, ledger, views, _dir: dir }
}

#[tokio::test]
async fn every_key_is_found_with_the_request_that_it_holds_and_no_other_is() {
    let files = files().await;
    let mut expected = BTreeMap::new();
    let mut wanted = LookupRequest::default();
    for entry in &files.chain.entries {
        for key in entry.operation().into_iter().flat_map(Operation::keys) {
            expected.insert(key.digest(), entry.operation().unwrap().holder_of(key, entry.index));
            wanted.keys.insert(key.clone(), None);
        }
    }
    wanted.keys.insert(IdempotencyKey::parse("never used").unwrap(), None);
    let found = look_up(&files.views.reader, &files.ledger.reader, &wanted).await.unwrap();
    assert_eq!(found.keys, expected);
    assert!(expected.values().any(|holder| holder.fingerprint.is_none()), "a fence is among them");
}

#[tokio::test]
async fn payments_are_found_in_their_present_state_and_only_by_their_whole_id() {
    let files = files().await;
    let mut expected = BTreeMap::new();
    for entry in &files.chain.entries {
        let Some(operation) = entry.operation() else { continue };
        let decided = operation.payments().map(|payment| PaymentId::derive(entry.stamp(), payment.item));
        let changed = match operation {
            Operation::PaymentChange(change) => Some(change.payment),
            Operation::Expiry(expiry) => Some(expiry.payment),
            _ => None,
        };
        for id in decided.chain(changed) {
            if let Some(state) = state_after(entry, id) {
                expected.insert(id, state);
            }
        }
    }
    let mut wanted = LookupRequest { payments: expected.keys().copied().collect(), ..LookupRequest::default() };
    let some = *expected.keys().next().unwrap();
    wanted.payments.insert(PaymentId::derive(
        Stamp { timestamp: Timestamp(1), epoch: Epoch(1), index: some.index() },
        some.item(),
    ));
    wanted
        .payments
        .insert(PaymentId::derive(Stamp { timestamp: Timestamp(1), epoch: Epoch(1), index: LogIndex(99_999) }, 0));
    let found = look_up(&files.views.reader, &files.ledger.reader, &wanted).await.unwrap();
    assert_eq!(found.payments, expected);
}

#[tokio::test]
async fn orders_are_found_as_far_as_they_are_paid() {
    let files = files().await;
    let order = |id: &str| OrderId::parse(id).unwrap();
    let wanted = LookupRequest { orders: ["#1", "#2", "#3", "#4"].map(order).into(), ..LookupRequest::default() };
    let found = look_up(&files.views.reader, &files.ledger.reader, &wanted).await.unwrap();
    let expected = ["#1", "#2", "#3"].map(order).into_iter().map(|id| {
        let state = files.chain.bank.order(&id).unwrap();
        (id, state)
    });
    assert_eq!(found.orders, expected.collect());
}
