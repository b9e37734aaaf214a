//! What reads return, in which order and how much at a time; what operators see in the file.

use super::*;

#[tokio::test]
async fn positions_and_times_are_found() {
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
            let page = reader.scan_newest(&ScanFilter { below, ..filter.clone() }, 7, 50, |_| 1).await.unwrap();
            assert!(page.next_below.is_none_or(|next| next < below));
            found.extend(page.entries);
            next = page.next_below;
        }
        assert_eq!(found, expected, "{filter:?}");
        let passes = chain.entries.iter().rev().filter(|entry| filter.at_least <= entry.index && filter.passes(entry));
        assert!(passes.eq(&expected), "{filter:?} in memory");
    }
}

/// The filter of [`LedgerReader::scan_newest`], written plainly.
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
        Operation::Account(_) | Operation::Expiry(_) | Operation::KeyFence(_) | Operation::ApiKey(_) => false,
    }
}

#[tokio::test]
async fn operators_read_payments_with_their_time_and_reason() {
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
async fn operators_read_the_payments_of_batches_too_each_by_its_id() {
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
async fn operators_see_which_payments_and_movements_are_committed() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let committed = LogIndex(chain.last().index.0 / 2);
    let dir = stored(&chain, committed).await;
    let mut connection = for_people(dir.path()).await;
    for view in ["payments", "postings"] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT log_index, committed FROM {view}"));
        let rows: Vec<(i64, bool)> = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
        for (index, shown) in &rows {
            assert_eq!(*shown, u64::try_from(*index).unwrap() <= committed.0, "{view} at {index}");
        }
        assert!(rows.iter().any(|(_, shown)| *shown) && rows.iter().any(|(_, shown)| !*shown), "{view} has both");
    }
}

#[tokio::test]
async fn operators_read_every_movement_of_money_in_its_direction() {
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

/// A batch whose entry has about this many bytes.
fn large(bytes: usize) -> OperationRequest {
    let mut items: Vec<_> = (1..=100).map(|number| item("external:card", "a", number, None)).collect();
    for item in &mut items {
        item.request.metadata = Some(format!("\"{}\"", "x".repeat(bytes / 100)).into());
    }
    batch(false, items)
}

#[tokio::test]
async fn a_read_of_large_entries_ends_early_and_continues_where_it_ended() {
    let mut chain = Chain::begun();
    for _ in 0..5 {
        chain.request(large(10 << 20));
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
    let page = ledger.reader.scan_newest(&filter, 1_000, 1_000, |_| 1).await.unwrap();
    assert_eq!(page.next_below, page.entries.last().map(|last| last.index));
}

#[tokio::test]
async fn a_start_loads_no_more_of_a_large_log_than_it_must() {
    let mut chain = Chain::begun();
    for _ in 0..8 {
        chain.request(large(10 << 20));
    }
    let dir = stored(&chain, chain.last().index).await;
    let start = opened(dir.path()).await.start;
    assert_eq!(start.last, chain.last());
    assert!((1..chain.entries.len()).contains(&start.tail.len()), "{}", start.tail.len());
    let dir = stored(&chain, LogIndex(1)).await;
    assert_eq!(opened(dir.path()).await.start.tail, chain.entries[1..]);
    let mut one = Chain::begun();
    one.request(large(40 << 20));
    let dir = stored(&one, one.last().index).await;
    assert_eq!(opened(dir.path()).await.start.tail, one.entries[2..]);
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
