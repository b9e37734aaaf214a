//! Reads every block of every segment, for audits: checksums, order, stretches of entries, and that filters know what
//! they are over.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::error::{ViewsError, damaged};
use super::kind::{Kind, OrderChange, digest_of, read_key, read_order_payment, read_piece};
use super::lookup::unpacked;
use super::pairs::Pairs;
use super::segment::{Segment, SegmentState};
use super::store::read_catalog;
use quorapay_core::domain::{LogIndex, OrderId, OrderState};
use quorapay_core::engine::DigestFilters;

/// What all segments hold together.
#[derive(Default)]
pub(super) struct Counted {
    /// Keys, postings, payments of orders and entries in lists of decisions.
    pub(super) lookups: u64,
    orders: BTreeMap<[u8; 16], OrderChange>,
}

impl Counted {
    /// Every order for which anything was ever charged.
    pub(super) fn orders(self) -> Result<Vec<(OrderId, OrderState)>, ViewsError> {
        let whole = |(digest, change): ([u8; 16], OrderChange)| {
            let (id, state) = change.whole()?;
            if id.digest().0 != digest {
                return Err(damaged(format!("the digest of order {id} is not its own")));
            }
            Ok((id, state))
        };
        self.orders.into_iter().map(whole).collect()
    }
}

/// Checks all segments up to the projected index.
pub(super) async fn check_segments(
    connection: &mut SqliteConnection,
    projected: LogIndex,
) -> Result<Counted, ViewsError> {
    let catalog = read_catalog(connection).await?;
    if catalog.end() != projected {
        return Err(damaged(format!("the segments end at entry {} and not at {projected}", catalog.end())));
    }
    let filters = catalog.filters();
    let mut counted = Counted::default();
    for segment in catalog.in_state(SegmentState::Whole) {
        let keys = counted.lookups;
        check_kind(connection, segment, Kind::Keys, &filters.keys, &mut counted).await?;
        if counted.lookups - keys != segment.keys {
            return Err(damaged(format!("segment {} has not the number of keys that it says", segment.id)));
        }
        check_kind(connection, segment, Kind::Orders, &filters.orders, &mut counted).await?;
        for kind in [Kind::Postings, Kind::OrderPayments, Kind::Decided] {
            check_kind(connection, segment, kind, &filters.keys, &mut counted).await?;
        }
    }
    Ok(counted)
}

async fn check_kind(
    connection: &mut SqliteConnection,
    segment: &Segment,
    kind: Kind,
    filters: &DigestFilters,
    counted: &mut Counted,
) -> Result<(), ViewsError> {
    let sql = "SELECT first_key, data FROM blocks WHERE segment = ? AND kind = ? ORDER BY first_key";
    let mut rows = sqlx::query(sql).bind(segment.id).bind(kind.number()).fetch(connection);
    let mut last: Vec<u8> = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let block = unpacked(row.try_get(1)?)?;
        let first_key: &[u8] = row.try_get(0)?;
        if block.get(0).is_none_or(|(key, _)| key != first_key || key <= last.as_slice()) {
            return Err(damaged(format!("a block of segment {} is not in its place", segment.id)));
        }
        last = block.last_key().unwrap_or_default().to_vec();
        count(kind, &block, segment, filters, counted)?;
    }
    Ok(())
}

fn count(
    kind: Kind,
    block: &Pairs,
    segment: &Segment,
    filters: &DigestFilters,
    counted: &mut Counted,
) -> Result<(), ViewsError> {
    for (key, value) in block.iter() {
        if kind.filtered_by().is_some() && !filters.may_contain(&digest_of(key)?.0) {
            return Err(damaged(format!("a filter of segment {} misses what it is over", segment.id)));
        }
        let entries = match kind {
            Kind::Keys => vec![read_key(value)?],
            Kind::Postings | Kind::Decided => read_piece(key, value)?,
            Kind::OrderPayments => vec![read_order_payment(key)?.0],
            Kind::Orders => {
                let change = OrderChange::from_bytes(value)?;
                match counted.orders.get_mut(&digest_of(key)?.0) {
                    Some(order) => order.add(change)?,
                    None => {
                        counted.orders.insert(digest_of(key)?.0, change);
                    }
                }
                continue;
            }
            Kind::KeyFilters | Kind::OrderFilters => continue,
        };
        if entries.iter().any(|index| *index < segment.from || *index > segment.to) {
            return Err(damaged(format!("segment {} names an entry of another one", segment.id)));
        }
        counted.lookups += entries.len() as u64;
    }
    Ok(())
}
