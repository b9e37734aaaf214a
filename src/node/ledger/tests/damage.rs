//! Damage that is found when the ledger is opened.

use super::*;

/// Opens a ledger that must be found damaged for a reason that contains `reason`.
async fn opened_damaged(dir: &Path, reason: &str) -> OpenLedger {
    let ledger = open(dir, &identity(), || StoreId(2)).await.unwrap();
    let found = ledger.damaged.clone().expect("it is damaged");
    assert!(found.contains(reason), "{found}");
    assert_eq!((ledger.start.store_id, ledger.start.last), (StoreId(2), Position::default()));
    assert!(!aside(dir).is_empty());
    ledger
}

#[tokio::test]
async fn a_changed_amount_in_the_tail_is_found_when_the_ledger_is_opened() {
    let dir = stored(&Chain::of_payments(50), LogIndex(50)).await;
    tamper(dir.path(), "UPDATE entries SET amount = amount | 1024 WHERE log_index = 30").await;
    let ledger = opened_damaged(dir.path(), "chain of hashes breaks between entries 29 and 30").await;
    drop(ledger);
    let again = opened(dir.path()).await;
    assert_eq!((again.damaged, again.start.store_id), (None, StoreId(2)));
}

#[tokio::test]
async fn a_ledger_that_newer_rules_decided_is_refused_and_stays_as_it_is() {
    let mut chain = Chain::of_payments(20);
    chain.start_epoch_by(2, RuleVersion(RuleVersion::NEWEST.0 + 1));
    chain.pay();
    let dir = stored(&chain, LogIndex(20)).await;
    let Err(refused) = open(dir.path(), &identity(), || StoreId(2)).await else { panic!("its rules are unknown") };
    assert!(matches!(refused, LedgerError::UnknownRules { index: LogIndex(21), .. }), "{refused}");
    assert!(refused.to_string().contains("install a newer program"), "{refused}");
    assert!(aside(dir.path()).is_empty());
    let Err(inspected) = inspect(dir.path()).await else { panic!("its rules are unknown") };
    assert!(matches!(inspected, LedgerError::UnknownRules { .. }), "{inspected}");
}

#[tokio::test]
async fn a_rule_version_that_nobody_wrote_is_damage() {
    let mut chain = Chain::of_payments(20);
    chain.start_epoch(2);
    chain.pay();
    let dir = stored(&chain, LogIndex(20)).await;
    tamper(dir.path(), "UPDATE entries SET detail = json_set(detail, '$.rules', 9) WHERE log_index = 21").await;
    opened_damaged(dir.path(), "between entries 20 and 21").await;
}

#[tokio::test]
async fn a_hole_in_the_tail_is_found_when_the_ledger_is_opened() {
    let dir = stored(&Chain::of_payments(50), LogIndex(50)).await;
    tamper(dir.path(), "DELETE FROM entries WHERE log_index = 30").await;
    opened_damaged(dir.path(), "between entries 29 and 31").await;
}

#[tokio::test]
async fn a_ledger_that_ends_below_its_commit_index_begins_again() {
    let dir = stored(&Chain::of_payments(50), LogIndex(50)).await;
    tamper(dir.path(), "DELETE FROM entries WHERE log_index > 40").await;
    opened_damaged(dir.path(), "ends at 40, below its commit index 50").await;
}

#[tokio::test]
async fn a_ledger_that_ends_below_its_watermark_begins_again() {
    let chain = Chain::of_payments(50);
    let dir = stored(&chain, LogIndex(0)).await;
    Watermark::in_directory(dir.path()).write(&chain.last()).unwrap();
    tamper(dir.path(), "DELETE FROM entries WHERE log_index > 40").await;
    let ledger = opened_damaged(dir.path(), "ends at 40, below its watermark 50").await;
    assert_eq!(ledger.watermark.read().unwrap(), None);
}

#[tokio::test]
async fn a_condemned_ledger_is_moved_aside_once_though_it_would_open() {
    let dir = stored(&Chain::of_payments(10), LogIndex(10)).await;
    condemn(dir.path(), "its chain differs from the leader's").unwrap();
    closed(opened_damaged(dir.path(), "its chain differs").await).await;
    let again = opened(dir.path()).await;
    assert_eq!((again.damaged.clone(), aside(dir.path()).is_empty()), (None, false));
    closed(again).await;
}

#[tokio::test]
async fn a_ledger_that_is_gone_while_its_watermark_is_there_is_damaged() {
    let chain = Chain::of_payments(5);
    let dir = stored(&chain, LogIndex(5)).await;
    Watermark::in_directory(dir.path()).write(&chain.last()).unwrap();
    fs::remove_file(dir.path().join("ledger.db")).unwrap();
    let ledger = open(dir.path(), &identity(), || StoreId(2)).await.unwrap();
    assert!(ledger.damaged.unwrap().contains("held entry 5"));
    assert_eq!(ledger.start.store_id, StoreId(2));
}

#[tokio::test]
async fn a_history_other_than_the_watermarks_is_damage() {
    let chain = Chain::of_payments(50);
    let dir = stored(&chain, LogIndex(0)).await;
    let other = Position { hash: Hash([1; 32]), ..chain.last() };
    Watermark::in_directory(dir.path()).write(&other).unwrap();
    opened_damaged(dir.path(), "not the one that its watermark names").await;
}

#[tokio::test]
async fn a_file_that_sqlite_did_not_write_is_moved_aside() {
    let dir = stored(&Chain::of_payments(5), LogIndex(5)).await;
    fs::write(dir.path().join("ledger.db"), vec![0x5a; 40_960]).unwrap();
    opened_damaged(dir.path(), "not a database").await;
}

/// SQLite ends a WAL at the first frame that fails its checksum, without an error. Every flipped bit is therefore
/// either harmless or found by the watermark; no entry is lost unnoticed.
#[tokio::test]
async fn a_flipped_bit_in_the_wal_never_shortens_the_ledger_unnoticed() {
    let chain = Chain::of_payments(120);
    let source = tempfile::tempdir().unwrap();
    let mut ledger = opened(source.path()).await;
    for upto in [40, 80, 120] {
        let entries = chain.entries[upto - 40..upto].to_vec();
        ledger.writer.persist(&[Persist { entries, ..Persist::default() }]).await.unwrap();
    }
    ledger.watermark.write(&chain.last()).unwrap();
    let wal_bytes = fs::metadata(source.path().join("ledger.db-wal")).unwrap().len();
    let mut damaged = 0;
    for step in 0..24_u64 {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ledger.db", "ledger.db-wal", "watermark"] {
            fs::copy(source.path().join(name), dir.path().join(name)).unwrap();
        }
        let wal = dir.path().join("ledger.db-wal");
        let mut bytes = fs::read(&wal).unwrap();
        bytes[usize::try_from(wal_bytes * step / 24 + 7).unwrap()] ^= 4;
        fs::write(&wal, bytes).unwrap();
        let ledger = open(dir.path(), &identity(), || StoreId(2)).await.unwrap();
        match ledger.damaged {
            Some(_) => damaged += 1,
            None => assert_eq!(ledger.start.last, chain.last(), "flip {step}"),
        }
    }
    assert!(damaged > 12, "only {damaged} of 24 flips were noticed");
}

#[tokio::test]
async fn a_kind_that_contradicts_its_content_is_damage() {
    for (from, to) in [("capture", "refund"), ("payment", "authorization"), ("void", "void_rejected")] {
        let mut chain = Chain::begun();
        chain.one_of_each();
        let dir = stored(&chain, chain.last().index).await;
        let sql = format!("UPDATE entries SET kind = '{to}' WHERE kind = '{from}'");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut for_people(dir.path()).await).await.unwrap();
        let ledger = open(dir.path(), &identity(), || StoreId(2)).await.unwrap();
        assert!(ledger.damaged.is_some(), "{from} as {to}");
    }
}
