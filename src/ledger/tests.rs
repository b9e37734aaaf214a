//! The ledger against real files: what survives, what is refused, what is found to be damaged.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::*;
use crate::domain::{
    AccountId, Currency, DecidedPayment, Operation, OperationRequest, OrderId, PaymentId, PaymentOutcome,
};
use crate::replication::sample::{Chain, account, batch, item, node, payment};
use crate::replication::{Entry, Epoch, Hash, LogIndex, Persist, Position, Promise, StoreId, Timestamp};

mod any_entry;

fn identity() -> Identity {
    Identity { cluster_id: "test".to_owned(), node_id: node("node1") }
}

async fn opened(dir: &Path) -> OpenLedger {
    open(dir, &identity(), || StoreId(1)).await.unwrap()
}

async fn closed(ledger: OpenLedger) {
    ledger.reader.close().await;
    ledger.writer.close().await.unwrap();
}

/// A directory whose ledger holds the chain, closed in order.
async fn stored(chain: &Chain, commit_index: LogIndex) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let write = Persist { commit_index, ..chain.persist_after(LogIndex(0)) };
    ledger.writer.persist(&[write]).await.unwrap();
    closed(ledger).await;
    dir
}

/// Changes the file behind the program's back, as a bad disk would.
async fn tamper(dir: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(dir.join("ledger.db")).connect().await.unwrap();
    assert!(sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected() > 0);
    sqlx::Connection::close(connection).await.unwrap();
}

fn aside(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains("ledger.db.damaged-")).collect()
}

/// Opens a ledger that must be found damaged for a reason that contains `reason`.
async fn opened_damaged(dir: &Path, reason: &str) -> OpenLedger {
    let ledger = open(dir, &identity(), || StoreId(2)).await.unwrap();
    let told = ledger.damaged.clone().expect("it is damaged");
    assert!(told.contains(reason), "{told}");
    assert_eq!((ledger.start.store_id, ledger.start.last), (StoreId(2), Position::default()));
    assert!(!aside(dir).is_empty());
    ledger
}

#[tokio::test]
async fn every_kind_of_entry_reads_back_as_it_was_written() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let dir = stored(&chain, LogIndex(3)).await;
    let ledger = opened(dir.path()).await;
    assert_eq!(ledger.damaged, None);
    assert_eq!(ledger.start.tail, chain.entries);
    let read = ledger.reader.entries(LogIndex(1), LogIndex(100), 100).await.unwrap();
    assert_eq!(read, chain.entries);
}

#[tokio::test]
async fn a_ledger_comes_back_as_it_was_left() {
    let mut chain = Chain::of_payments(5_000);
    chain.start_epoch(4);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let promise = Promise { epoch: Epoch(9), leader: node("node3") };
    let write =
        Persist { promise: Some(promise.clone()), commit_index: LogIndex(4_990), ..chain.persist_after(LogIndex(0)) };
    ledger.writer.persist(&[write]).await.unwrap();
    // Dropped, not closed: like a process that is killed.
    drop(ledger);

    let start = opened(dir.path()).await.start;
    assert_eq!((start.store_id, start.promise, start.commit_index), (StoreId(1), Some(promise), LogIndex(4_990)));
    assert_eq!(start.last, chain.last());
    assert_eq!(start.tail, chain.entries[5_001 - 4_096..]);
    let spans: Vec<_> = start.spans.iter().map(|span| (span.epoch.0, span.start.0)).collect();
    assert_eq!(spans, [(1, 1), (4, 5_001)]);
    assert_eq!(start.configurations.len(), 1);
    assert_eq!(start.configurations[0].0, LogIndex(2));
}

#[tokio::test]
async fn everything_above_the_commit_index_is_loaded_however_much_it_is() {
    let chain = Chain::of_payments(6_000);
    let dir = stored(&chain, LogIndex(500)).await;
    assert_eq!(opened(dir.path()).await.start.tail, chain.entries[500..]);
}

#[tokio::test]
async fn a_conflicting_tail_is_replaced_in_one_write() {
    let old = Chain::of_payments(200);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    ledger.writer.persist(&[old.persist_after(LogIndex(0))]).await.unwrap();

    let mut new = Chain::of_payments(100);
    new.start_epoch(2);
    new.pay();
    let write = Persist { truncate_after: Some(LogIndex(100)), ..new.persist_after(LogIndex(100)) };
    ledger.writer.persist(&[write]).await.unwrap();
    assert_eq!(ledger.writer.last_index(), LogIndex(102));
    drop(ledger);
    assert_eq!(opened(dir.path()).await.start.tail, new.entries);
}

#[tokio::test]
async fn writes_that_take_each_other_back_in_one_call_leave_what_the_last_one_says() {
    let chain = Chain::of_payments(10);
    let mut other = Chain::of_payments(5);
    other.start_epoch(2);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let writes = [
        chain.persist_after(LogIndex(0)),
        Persist { truncate_after: Some(LogIndex(7)), ..Persist::default() },
        Persist { truncate_after: Some(LogIndex(5)), ..other.persist_after(LogIndex(5)) },
    ];
    ledger.writer.persist(&writes).await.unwrap();
    drop(ledger);
    assert_eq!(opened(dir.path()).await.start.tail, other.entries);
}

#[tokio::test]
async fn a_write_that_would_leave_a_hole_is_refused_and_stores_nothing() {
    let chain = Chain::of_payments(10);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let refused = ledger.writer.persist(&[chain.persist_after(LogIndex(1))]).await.unwrap_err();
    assert!(matches!(refused, LedgerError::NotConsecutive { expected: LogIndex(1), found: LogIndex(2) }));
    ledger.writer.persist(&[chain.persist_after(LogIndex(0))]).await.unwrap();
    let again = ledger.writer.persist(&[chain.persist_after(LogIndex(0))]).await.unwrap_err();
    assert!(matches!(again, LedgerError::NotConsecutive { .. }));
}

#[tokio::test]
async fn a_write_that_would_take_back_what_is_committed_is_refused_and_stores_nothing() {
    let chain = Chain::of_payments(10);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let write = Persist { commit_index: LogIndex(8), ..chain.persist_after(LogIndex(0)) };
    ledger.writer.persist(&[write]).await.unwrap();
    let truncate = |after| [Persist { truncate_after: Some(LogIndex(after)), ..Persist::default() }];
    let refused = ledger.writer.persist(&truncate(7)).await.unwrap_err();
    assert!(matches!(refused, LedgerError::TakesBackCommitted { after: LogIndex(7), commit_index: LogIndex(8) }));
    ledger.writer.persist(&truncate(8)).await.unwrap();
    assert_eq!(ledger.writer.last_index(), LogIndex(8));
}

#[tokio::test]
async fn a_second_opener_of_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = opened(dir.path()).await;
    let refused = open(dir.path(), &identity(), || StoreId(2)).await.err().unwrap();
    assert!(matches!(refused, LedgerError::Locked(_)), "{refused}");
}

#[tokio::test]
async fn the_ledger_of_another_cluster_or_node_is_refused_by_name() {
    let dir = stored(&Chain::begun(), LogIndex(0)).await;
    let other = Identity { cluster_id: "other".to_owned(), ..identity() };
    let refused = open(dir.path(), &other, || StoreId(2)).await.err().unwrap().to_string();
    assert!(refused.contains("\"test\"") && refused.contains("\"other\""), "{refused}");
    let other = Identity { node_id: node("node2"), ..identity() };
    let refused = open(dir.path(), &other, || StoreId(2)).await.err().unwrap().to_string();
    assert!(refused.contains("\"node1\"") && refused.contains("\"node2\""), "{refused}");
    assert!(aside(dir.path()).is_empty());
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
async fn another_history_than_the_watermarks_is_damage() {
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

/// SQLite cuts a WAL at the first frame that fails its checksum, without a word. Every flip is therefore either
/// harmless or found by the watermark; none goes by with entries missing.
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
async fn a_full_disk_fails_the_write_and_every_later_one_and_loses_nothing_reported_durable() {
    let chain = Chain::of_payments(20_000);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    ledger.writer.limit_pages(40).await;
    let mut durable = 0;
    let failure = loop {
        let entries = chain.entries[durable..durable + 64].to_vec();
        match ledger.writer.persist(&[Persist { entries, ..Persist::default() }]).await {
            Ok(()) => durable += 64,
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, LedgerError::OutcomeUnknown(_)), "{failure}");
    assert!(durable > 0);
    let entries = chain.entries[durable..=durable].to_vec();
    for _ in 0..3 {
        let write = Persist { entries: entries.clone(), ..Persist::default() };
        assert!(matches!(ledger.writer.persist(&[write]).await, Err(LedgerError::Closed)));
    }
    let last = ledger.reader.entry(LogIndex(u64::try_from(durable).unwrap())).await.unwrap();
    assert_eq!(last.unwrap(), chain.entries[durable - 1]);
    drop(ledger);
    let again = opened(dir.path()).await;
    assert_eq!(again.damaged, None);
    assert!(again.start.last.index.0 >= u64::try_from(durable).unwrap());
    let kept = usize::try_from(again.start.last.index.0).unwrap();
    assert_eq!(again.start.last, chain.entries[kept - 1].position());
}

#[tokio::test]
async fn a_write_that_is_abandoned_halfway_closes_the_writer() {
    let chain = Chain::of_payments(2_000);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let write = [chain.persist_after(LogIndex(0))];
    let finished = futures_util::FutureExt::now_or_never(ledger.writer.persist(&write));
    assert!(finished.is_none());
    assert!(matches!(ledger.writer.persist(&write).await, Err(LedgerError::Closed)));
}

#[tokio::test]
async fn the_wal_is_written_back_before_it_grows_without_end() {
    let mut chain = Chain::begun();
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let metadata = format!("\"{}\"", "x".repeat(4_000));
    let mut largest = 0;
    for _ in 0..80 {
        let after = ledger.writer.last_index();
        for _ in 0..256 {
            chain.request(payment("external:card", "a", 1, None, Some(&metadata)));
        }
        ledger.writer.persist(&[chain.persist_after(after)]).await.unwrap();
        ledger.writer.checkpoint_if_due().await.unwrap();
        largest = largest.max(fs::metadata(dir.path().join("ledger.db-wal")).unwrap().len());
    }
    // 20,000 entries of 4 KiB went through it.
    assert!(largest < 48 << 20, "{largest} bytes");
    drop(ledger);
    assert_eq!(opened(dir.path()).await.start.last, chain.last());
}

#[tokio::test]
async fn positions_and_moments_are_found() {
    let chain = Chain::of_payments(300);
    let dir = stored(&chain, LogIndex(300)).await;
    let reader = opened(dir.path()).await.reader;
    assert_eq!(reader.position(LogIndex(0)).await.unwrap(), Some(Position::default()));
    assert_eq!(reader.position(LogIndex(300)).await.unwrap(), Some(chain.last()));
    assert_eq!(reader.position(LogIndex(301)).await.unwrap(), None);
    for (moment, index) in [(0, 1), (1_700_000_000_501, 51), (1_700_000_000_510, 51), (1_800_000_000_000, 301)] {
        let found = reader.first_at_or_after(Timestamp(moment), LogIndex(300)).await.unwrap();
        assert_eq!(found, LogIndex(index), "{moment}");
    }
}

#[tokio::test]
async fn entries_are_found_by_index_in_the_order_asked_for() {
    let chain = Chain::of_payments(600);
    let dir = stored(&chain, LogIndex(600)).await;
    let reader = opened(dir.path()).await.reader;
    let wanted: Vec<_> = (1..=600).rev().step_by(2).chain([9_999, 17]).map(LogIndex).collect();
    let found: Vec<_> = reader.entries_of(&wanted).await.unwrap().iter().map(|entry| entry.index).collect();
    let expected: Vec<_> = wanted.into_iter().filter(|index| index.0 <= 600).collect();
    assert_eq!(found, expected);
    assert_eq!(reader.entries(LogIndex(10), LogIndex(20), 3).await.unwrap(), chain.entries[9..12]);
}

#[tokio::test]
async fn payments_are_listed_newest_first_page_by_page_with_bounded_work() {
    let mut chain = Chain::of_payments(300);
    chain.one_of_each();
    let dir = stored(&chain, LogIndex(0)).await;
    let reader = opened(dir.path()).await.reader;
    let filters = [
        ScanFilter::default(),
        ScanFilter { wanted: ScanFor::Rejected, ..ScanFilter::default() },
        ScanFilter { wanted: ScanFor::Captured, at_least: LogIndex(250), ..ScanFilter::default() },
        ScanFilter { wanted: ScanFor::Authorized, ..ScanFilter::default() },
        ScanFilter { wanted: ScanFor::Postings, account: Some(account("shop:2")), ..ScanFilter::default() },
        ScanFilter { order: Some(OrderId::parse("#1").unwrap()), ..ScanFilter::default() },
        ScanFilter { account: Some(account("customer-7")), ..ScanFilter::default() },
        ScanFilter { currency: Some(Currency::parse("USD").unwrap()), ..ScanFilter::default() },
    ];
    for filter in filters {
        let expected: Vec<_> = chain.entries.iter().rev().filter(|entry| wanted(entry, &filter)).cloned().collect();
        let mut found = Vec::new();
        let mut next = Some(chain.last().index.next());
        while let Some(below) = next {
            let page = reader.scan_newest(&ScanFilter { below, ..filter.clone() }, 7, 50).await.unwrap();
            assert!(page.next_below.is_none_or(|next| next < below));
            found.extend(page.entries);
            next = page.next_below;
        }
        assert_eq!(found, expected, "{filter:?}");
    }
}

/// What [`LedgerReader::scan_newest`] lets through, the slow way.
fn wanted(entry: &Arc<Entry>, filter: &ScanFilter) -> bool {
    let Some(operation) = entry.operation() else { return false };
    if entry.index < filter.at_least {
        return false;
    }
    let meets = |from: &AccountId, to: &AccountId, currency: Currency| {
        filter.currency.is_none_or(|wanted| currency == wanted)
            && filter.account.as_ref().is_none_or(|id| from == id || to == id)
    };
    match operation {
        Operation::Batch(_) => true,
        Operation::Payment(payment) => {
            let request = &payment.request;
            let kind = match payment.outcome {
                PaymentOutcome::Succeeded { .. } => {
                    filter.wanted != ScanFor::Rejected && filter.wanted != ScanFor::Authorized
                }
                PaymentOutcome::Authorized { .. } => matches!(filter.wanted, ScanFor::Payments | ScanFor::Authorized),
                _ => matches!(filter.wanted, ScanFor::Payments | ScanFor::Rejected),
            };
            let order = request.order.as_ref().map(|order| &order.id);
            kind && meets(&request.from, &request.to, request.currency)
                && filter.order.as_ref().is_none_or(|wanted| order == Some(wanted))
        }
        Operation::PaymentChange(change) => change
            .posting()
            .is_some_and(|moved| filter.wanted == ScanFor::Postings && meets(moved.from, moved.to, moved.currency)),
        Operation::Account(_) | Operation::Expiry(_) | Operation::Fence(_) => false,
    }
}

async fn for_people(dir: &Path) -> sqlx::SqliteConnection {
    SqliteConnectOptions::new().filename(dir.join("ledger.db")).connect().await.unwrap()
}

#[tokio::test]
async fn people_read_payments_with_their_time_and_reason() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let dir = stored(&chain, LogIndex(0)).await;
    let mut connection = for_people(dir.path()).await;
    let sql = "SELECT time, status, rejection, description FROM payments ORDER BY log_index DESC LIMIT 1";
    let row: (String, String, String, String) = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
    assert_eq!((row.1.as_str(), row.2.as_str(), row.3.as_str()), ("rejected", "account_not_found", "refused"));
    let last = chain.entries.last().unwrap().timestamp.0;
    assert!(row.0.starts_with("2023-11-14T22:") && row.0.ends_with(&format!(".{:03}Z", last % 1_000)), "{}", row.0);
}

#[tokio::test]
async fn people_read_the_payments_of_batches_too_each_by_its_id() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let dir = stored(&chain, LogIndex(0)).await;
    let sql = "SELECT payment_id, from_account, to_account, amount, status FROM payments ORDER BY log_index, item";
    let rows: Vec<(String, String, String, i64, String)> =
        sqlx::query_as(sql).fetch_all(&mut for_people(dir.path()).await).await.unwrap();
    let payments = chain.entries.iter().filter_map(|entry| Some((entry.stamp(), entry.operation()?)));
    let expected: Vec<_> = payments
        .flat_map(|(stamp, operation)| operation.payments().map(move |payment| (stamp, payment)))
        .map(|(stamp, payment)| {
            let status = match payment.outcome {
                PaymentOutcome::Succeeded { .. } => "succeeded",
                PaymentOutcome::Authorized { .. } => "authorized",
                PaymentOutcome::Rejected(_) => "rejected",
                PaymentOutcome::Repeated { .. } => "repeated",
            };
            let DecidedPayment { item, request, .. } = payment;
            let (from, to) = (request.from.to_string(), request.to.to_string());
            (PaymentId::derive(stamp, item).to_string(), from, to, request.amount.get(), status.to_owned())
        })
        .collect();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn people_read_every_movement_of_money_in_its_direction() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let dir = stored(&chain, LogIndex(0)).await;
    let sql = "SELECT kind, payment_id, from_account, to_account, amount, from_balance, to_balance FROM postings \
               ORDER BY log_index, item";
    let rows: Vec<(String, String, String, String, i64, i64, i64)> =
        sqlx::query_as(sql).fetch_all(&mut for_people(dir.path()).await).await.unwrap();
    let moved = chain.entries.iter().filter_map(|entry| Some(entry.operation()?.postings(entry.stamp())));
    let expected: Vec<_> = moved
        .flatten()
        .map(|posting| {
            let (from, to) = (posting.from.to_string(), posting.to.to_string());
            let balances = (posting.from_balance.get(), posting.to_balance.get());
            let (kind, payment) = (posting.kind.as_str().to_owned(), posting.payment.to_string());
            (kind, payment, from, to, posting.amount.get(), balances.0, balances.1)
        })
        .collect();
    assert_eq!(rows, expected);
}

/// A batch whose entry weighs about this many bytes.
fn heavy(bytes: usize) -> OperationRequest {
    let mut items: Vec<_> = (1..=100).map(|number| item("external:card", "a", number, None)).collect();
    for item in &mut items {
        item.request.metadata = Some(format!("\"{}\"", "x".repeat(bytes / 100)).into());
    }
    batch(false, items)
}

#[tokio::test]
async fn a_read_of_heavy_entries_ends_early_and_goes_on_where_it_ended() {
    let mut chain = Chain::begun();
    for _ in 0..5 {
        chain.request(heavy(10 << 20));
        chain.pay();
    }
    let dir = stored(&chain, chain.last().index).await;
    let ledger = opened(dir.path()).await;
    let mut reads = Vec::new();
    let mut next = LogIndex(1);
    while next <= chain.last().index {
        let read = ledger.reader.entries(next, chain.last().index, 1_000).await.unwrap();
        next = read.last().expect("at least one entry is read").index.next();
        reads.push(read);
    }
    assert!(reads.len() > 1);
    assert_eq!(reads.concat(), chain.entries);
    let indexes: Vec<_> = chain.entries.iter().rev().map(|entry| entry.index).collect();
    let some = ledger.reader.entries_of(&indexes).await.unwrap();
    assert!(!some.is_empty() && some.len() < indexes.len());
    assert!(some.iter().map(|entry| entry.index).eq(indexes.iter().copied().take(some.len())));
    let filter = ScanFilter { below: chain.last().index.next(), ..ScanFilter::default() };
    let page = ledger.reader.scan_newest(&filter, 1_000, 1_000).await.unwrap();
    assert_eq!(page.next_below, page.entries.last().map(|last| last.index));
}

#[tokio::test]
async fn a_start_loads_no_more_of_a_heavy_log_than_it_must() {
    let mut chain = Chain::begun();
    for _ in 0..8 {
        chain.request(heavy(10 << 20));
    }
    let dir = stored(&chain, chain.last().index).await;
    let start = opened(dir.path()).await.start;
    assert_eq!(start.last, chain.last());
    assert!((1..chain.entries.len()).contains(&start.tail.len()), "{}", start.tail.len());
    let dir = stored(&chain, LogIndex(1)).await;
    assert_eq!(opened(dir.path()).await.start.tail, chain.entries[1..]);
    let mut one = Chain::begun();
    one.request(heavy(40 << 20));
    let dir = stored(&one, one.last().index).await;
    assert_eq!(opened(dir.path()).await.start.tail, one.entries[2..]);
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

#[tokio::test]
async fn payments_are_counted_between_any_two_entries_and_epochs_know_their_leaders() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let dir = stored(&chain, chain.last().index).await;
    let ledger = opened(dir.path()).await;
    let decided = |entry: &Arc<Entry>| {
        let payments = entry.operation().into_iter().flat_map(Operation::payments);
        payments.filter(|payment| payment.is_decided()).count() as u64
    };
    let end = chain.entries.len();
    for (above, upto) in (0..=end).flat_map(|above| (above..=end).map(move |upto| (above, upto))) {
        let expected: u64 = chain.entries[above..upto].iter().map(decided).sum();
        let counted = ledger.reader.count_payments(LogIndex(above as u64), LogIndex(upto as u64)).await.unwrap();
        assert_eq!(counted, expected, "above {above} up to {upto}");
    }
    let epoch = chain.entries[0].epoch;
    let leaders = ledger.reader.leaders(epoch, epoch).await.unwrap();
    assert_eq!(leaders.into_iter().collect::<Vec<_>>(), [(epoch, node("node1"))]);
    assert_eq!(ledger.reader.leaders(Epoch(epoch.0 + 1), Epoch(u64::MAX >> 1)).await.unwrap().len(), 0);
    closed(ledger).await;
}

#[tokio::test]
async fn the_payments_that_changed_since_are_found() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let dir = stored(&chain, chain.last().index).await;
    let reader = opened(dir.path()).await.reader;
    let changed = |entry: &Arc<Entry>| match entry.operation()? {
        Operation::PaymentChange(change) if entry.operation()?.rejection().is_none() => Some(change.payment),
        Operation::Expiry(expiry) => Some(expiry.payment),
        _ => None,
    };
    let expected: Vec<_> = chain.entries[20..].iter().filter_map(changed).collect();
    assert!(!expected.is_empty());
    assert_eq!(reader.changed_payments(LogIndex(20), chain.last().index).await.unwrap(), expected);
}

/// Processor time of this process so far, all threads, in seconds; the kernel counts it in hundredths.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_ascii_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// Not a test of behaviour but of cost; run it optimised, with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "measures"]
async fn rows_are_stored_at_a_few_microseconds_each() {
    let chain = Chain::of_payments(400_000);
    for batch in [1, 16, 64, 256, 4_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = opened(dir.path()).await;
        let rows = if batch == 1 { 10_000 } else { chain.entries.len() };
        let (begun, processor) = (std::time::Instant::now(), processor_seconds());
        for entries in chain.entries[..rows].chunks(batch) {
            let commit_index = entries[0].index.previous();
            let write = Persist { entries: entries.to_vec(), commit_index, ..Persist::default() };
            ledger.writer.persist(&[write]).await.unwrap();
            ledger.writer.checkpoint_if_due().await.unwrap();
        }
        let (written, processor_written) = (begun.elapsed().as_secs_f64(), processor_seconds() - processor);
        let (begun, processor) = (std::time::Instant::now(), processor_seconds());
        let last = LogIndex(u64::try_from(rows).unwrap());
        let mut from = LogIndex(1);
        while from <= last {
            let read = ledger.reader.entries(from, last, 4_096).await.unwrap();
            from = read.last().unwrap().index.next();
        }
        let (read, processor_read) = (begun.elapsed().as_secs_f64(), processor_seconds() - processor);
        let rows = f64::from(u32::try_from(rows).unwrap());
        let each = |seconds: f64| format!("{:.2} us", seconds * 1e6 / rows);
        println!("batches of {batch}: a row written {} ({} processor)", each(written), each(processor_written));
        println!("    read {} ({} processor)", each(read), each(processor_read));
    }
}

/// Not a test of behaviour but of cost; run it optimised, with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "measures"]
async fn payments_of_batches_are_stored_and_read_at_about_a_microsecond_each() {
    let mut chain = Chain::begun();
    for number in 0..20 {
        let item = |at: i64| {
            item("external:card", &format!("customer-{}", at % 100), 100 + at, Some(&format!("key-{number}-{at}")))
        };
        chain.request(batch(false, (0..10_000).map(item).collect()));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let begun = std::time::Instant::now();
    for entry in &chain.entries {
        let write = Persist { entries: vec![Arc::clone(entry)], ..Persist::default() };
        ledger.writer.persist(&[write]).await.unwrap();
    }
    println!("a payment written {} ns", begun.elapsed().as_nanos() / 200_000);
    let begun = std::time::Instant::now();
    for entry in &chain.entries {
        assert_eq!(ledger.reader.entry(entry.index).await.unwrap().as_ref(), Some(entry));
    }
    println!("    read {} ns", begun.elapsed().as_nanos() / 200_000);
}
