//! Ledgers that are damaged, different or incomplete.

use super::world::{Stored, World, payment};
use crate::check::{Breach, CheckError, Report, Subjects, check};
use quorapay_core::domain::LogIndex;

fn world() -> World {
    let mut world = World::new();
    for number in 1..=20 {
        world.write(&format!("k{number}"), payment("external:card", "a", number));
    }
    world
}

async fn broken(stored: &Stored) -> (Vec<Breach>, String) {
    let report: Report = stored.check().await;
    (report.broken.keys().copied().collect(), report.to_string())
}

#[tokio::test]
async fn a_tampered_ledger_is_found_and_the_check_is_based_on_the_others() {
    for node in 1..=3 {
        let stored = world().stored().await;
        stored.tamper(node, "UPDATE entries SET amount = amount + 1 WHERE log_index = 7").await;
        let (breaches, text) = broken(&stored).await;
        assert_eq!(breaches, [Breach::LedgerDamaged], "{text}");
        let named = format!("node{node} holds together up to entry 6 and no further");
        assert!(text.contains(&named), "{named}: {text}");
    }
}

#[tokio::test]
async fn a_missing_entry_is_damage() {
    let stored = world().stored().await;
    stored.tamper(2, "DELETE FROM entries WHERE log_index = 9").await;
    let (breaches, text) = broken(&stored).await;
    assert_eq!(breaches, [Breach::LedgerDamaged], "{text}");
}

#[tokio::test]
async fn two_different_committed_histories_are_found_at_their_first_different_entry() {
    let mut other = World::new();
    for number in 1..=20 {
        let amount = if number < 12 { number } else { number + 1 };
        other.write(&format!("k{number}"), payment("external:card", "a", amount));
    }
    let stored = world().stored().await;
    stored.add_ledger(3, &other.entries, LogIndex(other.last())).await;
    let (breaches, text) = broken(&stored).await;
    assert!(breaches.contains(&Breach::LedgersDiffer), "{text}");
    assert!(text.contains("equal up to entry 12 and differ from entry 13 on"), "{text}");
}

#[tokio::test]
async fn a_ledger_that_is_behind_is_noted_and_a_majority_that_is_behind_is_a_breach() {
    let world = world();
    let stored = world.stored().await;
    stored.add_ledger(3, &world.entries[..10], LogIndex(10)).await;
    let report = stored.check().await;
    assert!(report.broken.is_empty() && report.notes.len() == 1, "{report}");
    let all = check(&Subjects { all_complete: true, ..stored.subjects() }).await.unwrap();
    assert_eq!(all.broken.keys().collect::<Vec<_>>(), [&Breach::LedgerIncomplete], "{all}");

    stored.add_ledger(2, &world.entries[..12], LogIndex(10)).await;
    let (breaches, text) = broken(&stored).await;
    assert_eq!(breaches, [Breach::LedgerIncomplete], "{text}");
    assert!(text.contains("node2 ends at 12 and"), "{text}");
}

#[tokio::test]
async fn what_only_a_minority_holds_is_lost() {
    let world = world();
    let stored = world.stored().await;
    stored.add_ledger(1, &world.entries, LogIndex(10)).await;
    stored.add_ledger(2, &world.entries[..12], LogIndex(10)).await;
    stored.add_ledger(3, &world.entries[..12], LogIndex(10)).await;
    let (breaches, text) = broken(&stored).await;
    assert_eq!(breaches, [Breach::LostAck], "{text}");
    assert!(text.contains("there is no entry 13: the ledger ends at 12"), "{text}");
}

#[tokio::test]
async fn without_a_ledger_there_is_nothing_to_check_against() {
    let none = check(&Subjects::default()).await;
    assert!(matches!(none, Err(CheckError::NoLedger)));
    let missing = Subjects { ledgers: vec!["/nowhere/node1".into()], ..Subjects::default() };
    assert!(matches!(check(&missing).await, Err(CheckError::Ledger { .. })));
}
