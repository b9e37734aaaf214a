//! What the segments hold: the kinds of pairs, how each is encoded, and which pairs become one in a merge. Pure.

use serde::{Deserialize, Serialize};

use super::chunk::{Chunk, OrderDelta};
use super::error::{ViewsError, damaged};
use super::pairs::Pairs;
use super::varint::{push_varint, take_varint};
use quorapay_core::domain::{
    AccountId, Currency, KeyDigest, LogIndex, MinorUnits, OrderDigest, OrderId, OrderState, PaymentStatus,
};

/// The most bytes of a piece of a list. A list is in pieces so that a long one can be read from anywhere.
const MAX_PIECE_BYTES: usize = 512;
/// Bytes of an index at the end of a key, so that keys are in its order.
const INDEX_BYTES: usize = 8;
/// Ends an account's id within a key: no id contains it.
const END_OF_ID: u8 = 0;
/// The lists of payments by how they were decided.
const REJECTED: u8 = 0;
const AUTHORIZED: u8 = 1;

/// A kind of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An idempotency key's digest → the entry that holds it.
    Keys,
    /// An account → the entries that moved its money, as a list.
    Postings,
    /// An order's digest → what the segment's entries change of it.
    Orders,
    /// An order's digest, entry and number of a payment that names it → nothing.
    OrderPayments,
    /// A status → the entries with payments that were decided so, as a list.
    Decided,
    /// Filters over the keys.
    KeyFilters,
    /// Filters over the orders.
    OrderFilters,
}

/// What entries change of an order. Changes of several segments are added up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OrderChange {
    /// The change of the charged amount.
    used: i64,
    /// What its payments say of it; `None` if the entries have none of them.
    said: Option<OrderSaid>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OrderSaid {
    id: OrderId,
    currency: Currency,
    total: MinorUnits,
}

impl Kind {
    /// The kinds that are merged pair by pair, in the order in which a merge goes through them.
    pub(super) const SORTED: [Self; 5] = [Self::Keys, Self::Postings, Self::Orders, Self::OrderPayments, Self::Decided];
    /// How many those are.
    pub(super) const COUNT: usize = Self::SORTED.len();

    /// The number in the file.
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Keys => 0,
            Self::Postings => 1,
            Self::Orders => 2,
            Self::OrderPayments => 3,
            Self::Decided => 4,
            Self::KeyFilters => 5,
            Self::OrderFilters => 6,
        }
    }

    /// Its position among the sorted ones.
    pub(super) fn at(self) -> usize {
        usize::try_from(self.number()).expect("it is not negative")
    }

    /// The kind of the filters over this one, if there are any.
    pub(super) const fn filtered_by(self) -> Option<Self> {
        match self {
            Self::Keys => Some(Self::KeyFilters),
            Self::Orders => Some(Self::OrderFilters),
            _ => None,
        }
    }

    /// Adds a pair to the one before it, which has the same key or is of the same list. Returns whether it became part
    /// of that one.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] if a value is not what this program writes.
    pub(super) fn join(
        self,
        last_key: &[u8],
        last_value: &mut Vec<u8>,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, ViewsError> {
        match self {
            Self::Postings | Self::Decided => join_pieces(last_key, last_value, key, value),
            Self::Orders if last_key == key => {
                let mut sum = OrderChange::from_bytes(last_value)?;
                sum.add(OrderChange::from_bytes(value)?)?;
                *last_value = sum.to_bytes();
                Ok(true)
            }
            // A key is held by one entry, and a payment names one order: an equal pair is the same one again.
            Self::Keys | Self::OrderPayments if last_key == key => Ok(true),
            Self::Keys | Self::Orders | Self::OrderPayments | Self::KeyFilters | Self::OrderFilters => Ok(false),
        }
    }
}

/// The pairs of a chunk, by kind.
pub(super) fn pairs_of(chunk: &Chunk) -> [Pairs; Kind::COUNT] {
    let [mut keys, mut postings, mut orders, mut order_payments, mut decided] = <[Pairs; Kind::COUNT]>::default();
    let mut value = Vec::new();
    for (digest, index) in &chunk.keys {
        // One entry holds a key; of a ledger that says otherwise the audit tells.
        if keys.last_key() != Some(&digest.0[..]) {
            value.clear();
            push_varint(&mut value, index.0);
            keys.push(&digest.0, &value);
        }
    }
    // In the order of the ids, because the end of an id is below all of its characters.
    for (account, delta) in &chunk.accounts {
        push_list(&mut postings, &account_prefix(account), &delta.entries);
    }
    for (digest, order) in &chunk.orders {
        orders.push(&digest.0, &OrderChange::of(order).to_bytes());
    }
    for (digest, index, item) in &chunk.order_payments {
        order_payments.push(&order_payment_key(*digest, *index, *item), &[]);
    }
    push_list(&mut decided, &[REJECTED], &chunk.rejected);
    push_list(&mut decided, &[AUTHORIZED], &chunk.authorized);
    [keys, postings, orders, order_payments, decided]
}

/// What begins every key of an account's list.
pub(super) fn account_prefix(account: &AccountId) -> Vec<u8> {
    let mut prefix = account.as_str().as_bytes().to_vec();
    prefix.push(END_OF_ID);
    prefix
}

/// What begins every key of a status's list; `None` if there is no such list.
pub(super) fn status_prefix(status: PaymentStatus) -> Option<Vec<u8>> {
    Some(vec![status_code(status)?])
}

const fn status_code(status: PaymentStatus) -> Option<u8> {
    match status {
        PaymentStatus::Rejected => Some(REJECTED),
        PaymentStatus::Authorized => Some(AUTHORIZED),
        _ => None,
    }
}

/// A prefix and an index: the key of a list's piece, or a bound for such keys.
pub(super) fn indexed(prefix: &[u8], index: LogIndex) -> Vec<u8> {
    [prefix, &index.0.to_be_bytes()].concat()
}

pub(super) fn order_payment_key(order: OrderDigest, index: LogIndex, item: u16) -> Vec<u8> {
    [&order.0[..], &index.0.to_be_bytes(), &item.to_be_bytes()].concat()
}

/// The entry and the number of a payment that names an order.
pub(super) fn read_order_payment(key: &[u8]) -> Result<(LogIndex, u16), ViewsError> {
    let parts = key.split_last_chunk::<2>().and_then(|(rest, item)| Some((rest.last_chunk::<INDEX_BYTES>()?, item)));
    let (index, item) = parts.ok_or_else(|| damaged("a payment of an order is cut"))?;
    Ok((LogIndex(u64::from_be_bytes(*index)), u16::from_be_bytes(*item)))
}

pub(super) fn read_key(value: &[u8]) -> Result<LogIndex, ViewsError> {
    let mut rest = value;
    let index = take_varint(&mut rest).filter(|_| rest.is_empty());
    index.map(LogIndex).ok_or_else(|| damaged("the entry of a key is cut"))
}

/// The entries of a piece of a list, ascending.
pub(super) fn read_piece(key: &[u8], value: &[u8]) -> Result<Vec<LogIndex>, ViewsError> {
    let cut = || damaged("a piece of a list is cut");
    let (_, mut at) = split_index(key)?;
    let mut rest = value;
    let last = take_varint(&mut rest).and_then(|span| at.checked_add(span)).ok_or_else(cut)?;
    let mut entries = vec![LogIndex(at)];
    while !rest.is_empty() {
        at = take_varint(&mut rest).and_then(|delta| at.checked_add(delta)).ok_or_else(cut)?;
        entries.push(LogIndex(at));
    }
    if at == last { Ok(entries) } else { Err(damaged("a piece of a list does not end where it says")) }
}

pub(super) fn push_list(pairs: &mut Pairs, prefix: &[u8], entries: &[LogIndex]) {
    let mut rest = entries;
    while let Some((first, others)) = rest.split_first() {
        let (mut deltas, mut last, mut taken) = (Vec::new(), *first, 0);
        for index in others {
            if deltas.len() >= MAX_PIECE_BYTES - 2 * INDEX_BYTES {
                break;
            }
            push_varint(&mut deltas, index.0 - last.0);
            (last, taken) = (*index, taken + 1);
        }
        let mut value = Vec::with_capacity(deltas.len() + INDEX_BYTES);
        push_varint(&mut value, last.0 - first.0);
        value.extend_from_slice(&deltas);
        pairs.push(&indexed(prefix, *first), &value);
        rest = &others[taken..];
    }
}

/// Appends a piece to the one before it, if both are of one list and there is room.
fn join_pieces(last_key: &[u8], last_value: &mut Vec<u8>, key: &[u8], value: &[u8]) -> Result<bool, ViewsError> {
    let ((last_list, last_first), (list, first)) = (split_index(last_key)?, split_index(key)?);
    if last_list != list || last_value.len() + value.len() > MAX_PIECE_BYTES {
        return Ok(false);
    }
    let cut = || damaged("a piece of a list is cut");
    let (mut deltas, mut more) = (last_value.as_slice(), value);
    let last_span = take_varint(&mut deltas).ok_or_else(cut)?;
    let span = take_varint(&mut more).ok_or_else(cut)?;
    let gap = first.checked_sub(last_first).and_then(|distance| distance.checked_sub(last_span));
    let gap = gap.filter(|gap| *gap > 0).ok_or_else(|| damaged("pieces of a list overlap"))?;
    let mut joined = Vec::with_capacity(last_value.len() + value.len() + INDEX_BYTES);
    push_varint(&mut joined, last_span + gap + span);
    joined.extend_from_slice(deltas);
    push_varint(&mut joined, gap);
    joined.extend_from_slice(more);
    *last_value = joined;
    Ok(true)
}

fn split_index(key: &[u8]) -> Result<(&[u8], u64), ViewsError> {
    let (prefix, index) = key.split_last_chunk::<INDEX_BYTES>().ok_or_else(|| damaged("a key of a list is cut"))?;
    Ok((prefix, u64::from_be_bytes(*index)))
}

impl OrderChange {
    fn of(order: &OrderDelta) -> Self {
        let said = order.total.map(|total| OrderSaid { id: order.id.clone(), currency: order.currency, total });
        Self { used: order.used, said }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, ViewsError> {
        postcard::from_bytes(bytes).map_err(|error| damaged(format!("an order: {error}")))
    }

    fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("numbers and texts can be encoded")
    }

    /// Adds a younger change.
    pub(super) fn add(&mut self, younger: Self) -> Result<(), ViewsError> {
        let sum = self.used.checked_add(younger.used);
        self.used = sum.ok_or_else(|| damaged("an order is charged more than can be counted"))?;
        self.said = self.said.take().or(younger.said);
        Ok(())
    }

    /// The order, if these are all of its changes.
    pub(super) fn whole(self) -> Result<(OrderId, OrderState), ViewsError> {
        let said = self.said.ok_or_else(|| damaged("an order without a payment"))?;
        Ok((said.id, OrderState { currency: said.currency, total: said.total, used: MinorUnits::new(self.used) }))
    }
}

/// Which of the digests a pair of keys or orders belongs to.
pub(super) fn digest_of(key: &[u8]) -> Result<KeyDigest, ViewsError> {
    key.try_into().map(KeyDigest).map_err(|_| damaged("a digest is cut"))
}
