//! What memory says is what the log says, wherever memory begins, and it stays within its bounds.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::ledger::ScanFor;
use quorapay_core::domain::PaymentChangeKind;
use quorapay_core::replication::sample::{Chain, batch, hold, item};

const SMALL: Bounds = Bounds { newest: 8, newest_bytes: 1 << 20, older: 4, older_bytes: 1 << 20, unchanged: 4 };

fn index(number: usize) -> LogIndex {
    LogIndex(u64::try_from(number).unwrap())
}

fn follow(recent: &Recent, chain: &Chain, applied: LogIndex) {
    let at = |index: LogIndex| usize::try_from(index.0).unwrap() - 1;
    recent.follow(applied, |index| chain.entries.get(at(index)).cloned());
}

fn decided(entries: &[Arc<Entry>]) -> u64 {
    let payments = entries.iter().filter_map(|entry| entry.operation()).flat_map(Operation::payments);
    payments.filter(|payment| payment.is_decided()).count() as u64
}

/// A memory within `bounds` that followed the chain from its entry `from` on.
fn following(bounds: Bounds, chain: &Chain, from: usize) -> Recent {
    let recent = Recent::within(bounds, index(from), decided(&chain.entries[..from]));
    follow(&recent, chain, chain.last().index);
    recent
}

/// Every payment of the chain with its latest change.
fn latest_changes(chain: &Chain) -> HashMap<PaymentId, LatestChange> {
    let mut latest = HashMap::new();
    for entry in &chain.entries {
        let Some(operation) = entry.operation() else { continue };
        for payment in operation.payments().filter(|payment| payment.is_decided()) {
            latest.insert(PaymentId::derive(entry.stamp(), payment.item), LatestChange::None);
        }
        latest.extend(changed_payment(operation).map(|id| (id, LatestChange::At(entry.index))));
    }
    latest
}

#[test]
fn what_memory_knows_of_changes_is_true_wherever_it_begins() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let latest = latest_changes(&chain);
    let end = chain.last().index;
    assert!(latest.values().any(|change| *change != LatestChange::None));
    for bounds in [SMALL, BOUNDS] {
        for from in 0..=chain.entries.len() {
            let recent = following(bounds, &chain, from);
            for (id, expected) in &latest {
                let known = recent.latest_change(*id, end);
                assert!(known.is_none_or(|known| known == *expected), "{id} from {from}: {known:?}");
                let first = index(from.max(chain.entries.len().saturating_sub(bounds.newest)));
                assert_eq!(recent.payment(*id, end).is_some(), id.index() > first, "{id} from {from}");
                assert_eq!(recent.latest_change(*id, end.next()), None, "memory has not followed so far");
            }
        }
    }
}

#[test]
fn a_payment_that_changes_after_it_was_found_unchanged_is_no_longer_known_as_that() {
    let mut chain = Chain::begun();
    chain.request(hold("external:card", "shop", 100, None));
    let payment = chain.last_payment(0);
    let found_at = chain.last().index;
    let recent = Recent::within(SMALL, found_at, 1);
    recent.keep_unchanged([payment].into_iter(), found_at);
    assert_eq!(recent.latest_change(payment, found_at), Some(LatestChange::None));
    chain.change(payment, PaymentChangeKind::Void);
    let voided = chain.last().index;
    follow(&recent, &chain, voided);
    assert_eq!(recent.latest_change(payment, voided), Some(LatestChange::At(voided)));
    // A read that began before the change ends after it.
    recent.keep_unchanged([payment].into_iter(), found_at);
    assert_eq!(recent.latest_change(payment, voided), Some(LatestChange::At(voided)));
    // Memory forgets the change, and such a read ends only now.
    (0..SMALL.newest).for_each(|_| chain.pay());
    follow(&recent, &chain, chain.last().index);
    recent.keep_unchanged([payment].into_iter(), found_at);
    assert_eq!(recent.latest_change(payment, voided), None);
}

#[test]
fn what_a_leader_may_still_truncate_is_not_kept() {
    let chain = Chain::of_payments(20);
    let recent = Recent::within(BOUNDS, LogIndex(10), 0);
    recent.keep(&chain.entries[10]);
    recent.keep(&chain.entries[9]);
    assert_eq!(recent.entry(LogIndex(11)), None, "it is not applied");
    assert_eq!(recent.entry(LogIndex(10)).as_ref(), Some(&chain.entries[9]));
    recent.keep_unchanged([PaymentId::derive(chain.entries[10].stamp(), 0)].into_iter(), LogIndex(10));
    assert_eq!(recent.latest_change(PaymentId::derive(chain.entries[10].stamp(), 0), LogIndex(10)), None);
}

#[test]
fn memory_is_bounded_in_entries_and_in_bytes() {
    let large = || {
        let mut large = item("external:card", "a", 1, None);
        large.request.metadata = Some("x".repeat(300 << 10).into());
        batch(false, vec![large])
    };
    let mut chain = Chain::of_payments(40);
    (0..8).for_each(|_| chain.request(large()));
    let recent = following(SMALL, &chain, 0);
    {
        let memory = recent.lock();
        assert!(memory.newest_bytes <= SMALL.newest_bytes && memory.newest.len() == 3, "{}", memory.newest.len());
        assert_eq!(memory.newest_bytes, memory.newest.iter().map(|slot| slot.entry.encoded_len()).sum::<usize>());
    }
    for entry in &chain.entries {
        recent.keep(entry);
        recent.keep_unchanged([PaymentId::derive(entry.stamp(), 0)].into_iter(), chain.last().index);
        let memory = recent.lock();
        assert!(memory.older.len() <= SMALL.older && memory.older_bytes <= SMALL.older_bytes);
        assert_eq!(memory.older_bytes, memory.older.iter().map(|(_, entry)| entry.encoded_len()).sum::<usize>());
        assert!(memory.unchanged.len() <= SMALL.unchanged);
    }
    let mut chain = Chain::of_payments(40);
    assert_eq!(following(SMALL, &chain, 0).lock().newest.len(), SMALL.newest);
    chain.request(hold("external:card", "shop", 100, None));
    let payment = chain.last_payment(0);
    chain.change(payment, PaymentChangeKind::Void);
    (0..20).for_each(|_| chain.pay());
    assert!(following(SMALL, &chain, 0).lock().changes.is_empty(), "changes go with their entries");
}

#[test]
fn payments_are_counted_as_of_every_index_that_memory_holds() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    for from in 0..=chain.entries.len() {
        let recent = following(BOUNDS, &chain, from);
        for at in 0..=chain.entries.len() {
            let expected = (at > from || at == chain.entries.len()).then(|| decided(&chain.entries[..at]));
            assert_eq!(recent.payment_count(index(at)), expected, "at {at} from {from}");
        }
    }
}

#[test]
fn a_memory_that_missed_an_entry_begins_again_and_counts_again_when_it_is_told() {
    let mut chain = Chain::of_payments(30);
    let recent = following(BOUNDS, &chain, 0);
    let known = PaymentId::derive(chain.entries[20].stamp(), 0);
    (0..10).for_each(|_| chain.pay());
    recent.follow(LogIndex(35), |_| None);
    assert_eq!((recent.entry(LogIndex(30)), recent.latest_change(known, LogIndex(35))), (None, None));
    follow(&recent, &chain, LogIndex(40));
    assert_eq!(recent.payment_count(LogIndex(40)), None);
    recent.recount(LogIndex(38), decided(&chain.entries[..38]));
    assert_eq!(recent.payment_count(LogIndex(40)), Some(decided(&chain.entries)));
}

#[test]
fn a_scan_finds_the_newest_first_and_says_where_it_stopped() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let recent = following(BOUNDS, &chain, 5);
    let end = chain.last().index;
    let filter = |below: LogIndex| ScanFilter { below, wanted: ScanFor::Payments, ..ScanFilter::default() };
    let (mut found, mut below) = (Vec::new(), end.next());
    loop {
        let page = recent.scan(&filter(below), 2, |_| 1);
        found.extend(page.entries);
        let next = page.next_below.unwrap();
        if next == below {
            break;
        }
        below = next;
    }
    let passing = chain.entries[5..].iter().rev().filter(|entry| filter(end).passes(entry));
    assert!(passing.eq(&found));
    assert_eq!(below, LogIndex(6), "the ledger has the rest");
    let beyond = recent.scan(&filter(end.next().next()), 2, |_| 1);
    assert_eq!((beyond.entries.len(), beyond.next_below), (0, Some(end.next().next())), "memory is behind");
}

#[test]
fn the_changes_between_two_entries_are_known_as_far_as_memory_goes() {
    let mut chain = Chain::begun();
    let mut held = Vec::new();
    for _ in 0..3 {
        chain.request(hold("external:card", "shop", 100, None));
        held.push(chain.last_payment(0));
    }
    let above = chain.last().index;
    held.iter().for_each(|id| chain.change(*id, PaymentChangeKind::Void));
    let recent = following(BOUNDS, &chain, 6);
    let (known_from, mut changed) = recent.changed_payments(above, chain.last().index);
    changed.sort();
    assert_eq!((known_from, changed), (LogIndex(7), held[1..].to_vec()));
    let ahead = chain.last().index.next();
    assert_eq!(recent.changed_payments(above, ahead), (ahead.next(), Vec::new()), "memory is behind");
}
