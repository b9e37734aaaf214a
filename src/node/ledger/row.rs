//! Entries as rows and rows as entries. A round trip must not change an entry: the hash chain depends on it.

use std::sync::Arc;
use std::sync::LazyLock;

use compact_str::CompactString;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row};

use super::detail::{
    AccountDetail, ApiKeyDetail, BatchDetail, ChangeDetail, EpochStartDetail, PaymentColumns, PaymentDetail,
    StateDetail, balances, from_json, to_json,
};
use super::error::LedgerError;
use quorapay_core::domain::{
    AccountChange, AccountId, ApiKeyChange, ApiKeyId, Batch, Currency, Expiry, Fingerprint, IdempotencyKey, KeyFence,
    MinorUnits, Operation, Payment, PaymentChange, PaymentChangeKind, PaymentChangeOutcome, PaymentOutcome,
    PaymentState,
};
use quorapay_core::domain::{Epoch, LogIndex, Timestamp};
use quorapay_core::replication::{Entry, EntryBody, Hash};

/// The columns in the order in which rows are bound and read.
pub(super) const COLUMNS: &str = "log_index, epoch, timestamp_ms, kind, idempotency_key, fingerprint, from_account, \
                                  to_account, amount, currency, from_balance, to_balance, hash, detail, principal";

// A macro, because the SQL below needs it as a literal.
macro_rules! light_bytes {
    () => {
        65536
    };
}

/// The largest detail that [`LIGHT_COLUMNS`] includes. Reading one below it separately would cost more than it saves.
const LIGHT_BYTES: usize = light_bytes!();

/// [`COLUMNS`] for reading many rows: SQLite's thread reads ahead, and the detail of a large batch may be as large as
/// all the others together. Details above [`LIGHT_BYTES`] are left out and read one by one.
pub(super) const LIGHT_COLUMNS: &str = concat!(
    "log_index, epoch, timestamp_ms, kind, idempotency_key, fingerprint, from_account, to_account, amount, currency, ",
    "from_balance, to_balance, hash, CASE WHEN kind = 'batch' AND octet_length(detail) > ",
    light_bytes!(),
    " THEN NULL ELSE detail END, principal"
);

/// How many columns a row is bound with: [`COLUMNS`] and `commit_lag`, which no reader of entries needs.
pub(super) const BOUND_COLUMNS: usize = 16;

/// The size in the WAL of a row without its texts: fixed columns, hash, headers.
const ROW_BYTES: u64 = 160;

/// Declares the names of the kinds as shared texts: binding one does not copy it.
macro_rules! kinds {
    ($($kind:ident),*) => {
        struct Kinds {
            $($kind: Arc<str>,)*
        }

        static KINDS: LazyLock<Kinds> = LazyLock::new(|| Kinds { $($kind: stringify!($kind).into(),)* });
    };
}

kinds!(
    epoch_start,
    configuration,
    payment,
    authorization,
    payment_rejected,
    capture,
    capture_rejected,
    void,
    void_rejected,
    refund,
    refund_rejected,
    expiry,
    batch,
    account,
    account_rejected,
    fence,
    api_key,
    api_key_rejected
);

/// The name of an entry's kind.
fn kind(body: &EntryBody) -> &'static Arc<str> {
    let operation = match body {
        EntryBody::EpochStart { .. } => return &KINDS.epoch_start,
        EntryBody::Configuration(_) => return &KINDS.configuration,
        EntryBody::Operation(operation) => operation,
    };
    let rejected = operation.rejection().is_some();
    match operation {
        Operation::Payment(Payment { outcome: PaymentOutcome::Authorized { .. }, .. }) => &KINDS.authorization,
        Operation::Payment(_) if rejected => &KINDS.payment_rejected,
        Operation::Payment(_) => &KINDS.payment,
        Operation::PaymentChange(change) => match (change.change, rejected) {
            (PaymentChangeKind::Capture(_), false) => &KINDS.capture,
            (PaymentChangeKind::Capture(_), true) => &KINDS.capture_rejected,
            (PaymentChangeKind::Void, false) => &KINDS.void,
            (PaymentChangeKind::Void, true) => &KINDS.void_rejected,
            (PaymentChangeKind::Refund(_), false) => &KINDS.refund,
            (PaymentChangeKind::Refund(_), true) => &KINDS.refund_rejected,
        },
        Operation::Expiry(_) => &KINDS.expiry,
        Operation::Batch(_) => &KINDS.batch,
        Operation::Account(_) if rejected => &KINDS.account_rejected,
        Operation::Account(_) => &KINDS.account,
        Operation::KeyFence(_) => &KINDS.fence,
        Operation::ApiKey(_) if rejected => &KINDS.api_key_rejected,
        Operation::ApiKey(_) => &KINDS.api_key,
    }
}

/// A number for SQLite.
pub(super) fn to_sql(number: u64) -> Result<i64, LedgerError> {
    i64::try_from(number).map_err(|_| LedgerError::OutOfRange(number))
}

/// A number from SQLite.
pub(super) fn from_sql(number: i64) -> Result<u64, LedgerError> {
    u64::try_from(number).map_err(|_| LedgerError::Damaged(format!("a negative number, {number}")))
}

/// Binds values one after another. A shared `str` is the cheapest text to bind: one allocation, where a `String` takes
/// two.
struct Binder<'arguments>(&'arguments mut SqliteArguments);

impl Binder<'_> {
    fn integer(&mut self, value: Option<i64>) {
        self.0.add(value).expect("an integer always binds");
    }

    fn shared(&mut self, value: &Arc<str>) {
        self.0.add(Arc::clone(value)).expect("a text always binds");
    }

    fn text(&mut self, value: Option<&str>) {
        self.0.add(value.map(Arc::<str>::from)).expect("a text always binds");
    }

    fn blob(&mut self, value: Option<&[u8]>) {
        self.0.add(value.map(<[u8]>::to_vec)).expect("bytes always bind");
    }

    fn owned(&mut self, value: Option<String>) {
        self.0.add(value).expect("a text always binds");
    }
}

/// The columns of accounts, amount and balances, in the direction in which the money moves.
#[derive(Default)]
struct Movement<'entry> {
    from: Option<&'entry AccountId>,
    to: Option<&'entry AccountId>,
    amount: Option<MinorUnits>,
    currency: Option<Currency>,
    balances: (Option<MinorUnits>, Option<MinorUnits>),
}

impl<'entry> Movement<'entry> {
    /// The direction of the payment.
    fn of_state(state: Option<&'entry PaymentState>) -> Self {
        Self {
            from: state.map(|state| &state.from),
            to: state.map(|state| &state.to),
            currency: state.map(|state| state.currency),
            ..Self::default()
        }
    }

    /// Swaps between the payment's direction and the direction in which the money moves.
    fn turned(self, back: bool) -> Self {
        if !back {
            return self;
        }
        let (from, to) = self.balances;
        Self { from: self.to, to: self.from, balances: (to, from), ..self }
    }
}

/// Binds an entry's columns and its distance from the commit index. Returns about how many bytes its row takes.
///
/// # Errors
/// [`LedgerError::OutOfRange`] for a number beyond `i64`.
pub(super) fn bind_entry(
    arguments: &mut SqliteArguments,
    entry: &Entry,
    commit_index: LogIndex,
) -> Result<u64, LedgerError> {
    let mut bind = Binder(arguments);
    bind.integer(Some(to_sql(entry.index.0)?));
    bind.integer(Some(to_sql(entry.epoch.0)?));
    bind.integer(Some(to_sql(entry.timestamp.0)?));
    bind.shared(kind(&entry.body));
    let (key, fingerprint) = match &entry.body {
        EntryBody::Operation(operation) => (operation.key(), operation.fingerprint()),
        EntryBody::EpochStart { .. } | EntryBody::Configuration(_) => (None, None),
    };
    bind.text(key.map(IdempotencyKey::as_str));
    bind.blob(fingerprint.as_ref().map(|fingerprint| &fingerprint.0[..]));
    let (movement, detail) = movement_and_detail(&entry.body);
    bind.text(movement.from.map(AccountId::as_str));
    bind.text(movement.to.map(AccountId::as_str));
    bind.integer(movement.amount.map(MinorUnits::get));
    bind.text(movement.currency.as_ref().map(Currency::code));
    bind.integer(movement.balances.0.map(MinorUnits::get));
    bind.integer(movement.balances.1.map(MinorUnits::get));
    bind.blob(Some(&entry.hash.0));
    let text_bytes = key.map_or(0, |key| key.as_str().len())
        + movement.from.map_or(0, |id| id.as_str().len())
        + movement.to.map_or(0, |id| id.as_str().len())
        + detail.as_ref().map_or(0, String::len);
    bind.owned(detail);
    bind.owned(entry.principal.map(|principal| principal.to_string()));
    bind.integer(Some(to_sql(entry.index.0.saturating_sub(commit_index.0))?));
    Ok(ROW_BYTES + u64::try_from(text_bytes).unwrap_or(u64::MAX / 2))
}

fn movement_and_detail(body: &EntryBody) -> (Movement<'_>, Option<String>) {
    let operation = match body {
        EntryBody::EpochStart { leader, rules } => {
            let detail = EpochStartDetail { leader: leader.clone(), rules: *rules };
            return (Movement::default(), Some(to_json(&detail)));
        }
        EntryBody::Configuration(configuration) => return (Movement::default(), Some(to_json(configuration))),
        EntryBody::Operation(operation) => operation,
    };
    match operation {
        Operation::Payment(payment) => {
            let Payment { request, order_before, outcome, .. } = payment;
            let movement = Movement {
                from: Some(&request.from),
                to: Some(&request.to),
                amount: Some(request.amount),
                currency: Some(request.currency),
                balances: balances(*outcome),
            };
            (movement, PaymentDetail::of(request, *order_before, *outcome).map(|detail| to_json(&detail)))
        }
        Operation::PaymentChange(change) => of_change(change),
        Operation::Expiry(Expiry { payment, before }) => {
            let movement = Movement { amount: Some(before.held), ..Movement::of_state(Some(before)) };
            let before = Some(StateDetail::of(before));
            let detail = ChangeDetail { payment: *payment, rejection: None, requested: None, before };
            (movement, Some(to_json(&detail)))
        }
        Operation::Batch(batch) => (Movement::default(), Some(to_json(&BatchDetail::of(batch)))),
        Operation::Account(change) => (Movement::default(), Some(to_json(&AccountDetail::of(change)))),
        Operation::KeyFence(_) => (Movement::default(), None),
        Operation::ApiKey(change) => (Movement::default(), Some(to_json(&ApiKeyDetail::of(change)))),
    }
}

fn of_change(change: &PaymentChange) -> (Movement<'_>, Option<String>) {
    let requested = change.change.named_amount();
    let (amount, requested, rejection, balances) = match change.outcome {
        PaymentChangeOutcome::Applied { amount, from_balance, to_balance } => {
            (Some(amount), requested, None, (Some(from_balance), Some(to_balance)))
        }
        PaymentChangeOutcome::Rejected(rejection) => (requested, None, Some(rejection), (None, None)),
    };
    let before = change.before.as_deref();
    let movement = Movement { amount, balances, ..Movement::of_state(before) };
    let detail = ChangeDetail { payment: change.payment, rejection, requested, before: before.map(StateDetail::of) };
    (movement.turned(matches!(change.change, PaymentChangeKind::Refund(_))), Some(to_json(&detail)))
}

/// Whether [`LIGHT_COLUMNS`] left out the detail of this row: only that of a large batch.
pub(super) fn is_left_out(row: &SqliteRow) -> Result<bool, LedgerError> {
    Ok(column::<&str>(row, 3)? == &*KINDS.batch && column::<Option<&str>>(row, 13)?.is_none())
}

/// Whether a row of [`COLUMNS`] takes so long to decode that it needs its own thread.
pub(super) fn is_large(row: &SqliteRow) -> Result<bool, LedgerError> {
    Ok(column::<Option<&str>>(row, 13)?.is_some_and(|detail| detail.len() > LIGHT_BYTES))
}

/// The index of a row that selects [`COLUMNS`] or [`LIGHT_COLUMNS`].
pub(super) fn index_of(row: &SqliteRow) -> Result<LogIndex, LedgerError> {
    Ok(LogIndex(from_sql(column(row, 0)?)?))
}

/// Reads an entry from a row that selects [`COLUMNS`].
///
/// # Errors
/// [`LedgerError::Damaged`] for a row that [`bind_entry`] cannot have written.
pub(super) fn read_entry(row: &SqliteRow) -> Result<Arc<Entry>, LedgerError> {
    let index = index_of(row)?;
    let located = |error: LedgerError| match error {
        LedgerError::Damaged(reason) => LedgerError::Damaged(format!("entry {index}: {reason}")),
        other => other,
    };
    read_at(row, index).map(Arc::new).map_err(located)
}

fn read_at(row: &SqliteRow, index: LogIndex) -> Result<Entry, LedgerError> {
    let name: &str = column(row, 3)?;
    let body = match name {
        "epoch_start" => {
            let EpochStartDetail { leader, rules } = from_json(column(row, 13)?)?;
            EntryBody::EpochStart { leader, rules }
        }
        "configuration" => EntryBody::Configuration(from_json(column(row, 13)?)?),
        _ => EntryBody::Operation(read_operation(row, name)?),
    };
    if **kind(&body) != *name {
        // The hash does not cover the name of the kind, and lists select by it.
        return Err(LedgerError::Damaged(format!("its kind {name} contradicts its content")));
    }
    Ok(Entry {
        index,
        epoch: Epoch(from_sql(column(row, 1)?)?),
        timestamp: Timestamp(from_sql(column(row, 2)?)?),
        principal: column::<Option<&str>>(row, 14)?.map(|id| parsed(id, ApiKeyId::parse)).transpose()?,
        body,
        hash: Hash(bytes(row, 12)?),
    })
}

fn read_operation(row: &SqliteRow, name: &str) -> Result<Operation, LedgerError> {
    Ok(match name {
        "payment" | "authorization" | "payment_rejected" => Operation::Payment(read_payment(row)?),
        "capture" | "capture_rejected" | "void" | "void_rejected" | "refund" | "refund_rejected" => {
            Operation::PaymentChange(read_change(row, name)?)
        }
        "expiry" => Operation::Expiry(read_expiry(row)?),
        "batch" => {
            let detail: BatchDetail<'_> = from_json(column(row, 13)?)?;
            let (key, fingerprint, atomic) = (read_key(row)?, read_fingerprint(row)?, detail.atomic);
            Operation::Batch(Batch { key, fingerprint, atomic, items: detail.into_items()? })
        }
        "account" | "account_rejected" => {
            let (account, change, outcome) = from_json::<AccountDetail>(column(row, 13)?)?.into_parts()?;
            let (key, fingerprint) = (read_key(row)?, read_fingerprint(row)?);
            Operation::Account(AccountChange { key, fingerprint, account, change, outcome })
        }
        "api_key" | "api_key_rejected" => {
            let (id, change, outcome) = from_json::<ApiKeyDetail<'_>>(column(row, 13)?)?.into_parts()?;
            let (key, fingerprint) = (read_key(row)?, read_fingerprint(row)?);
            Operation::ApiKey(ApiKeyChange { key, fingerprint, id, change, outcome })
        }
        "fence" => Operation::KeyFence(KeyFence { key: read_key(row)?, fingerprint: read_fingerprint(row)? }),
        other => return Err(LedgerError::Damaged(format!("no kind of entry is called {other:?}"))),
    })
}

fn read_payment(row: &SqliteRow) -> Result<Payment, LedgerError> {
    let detail = column::<Option<&str>>(row, 13)?.map(from_json::<PaymentDetail<'_>>).transpose()?;
    let columns = PaymentColumns {
        from: parsed(column(row, 6)?, AccountId::parse)?,
        to: parsed(column(row, 7)?, AccountId::parse)?,
        amount: MinorUnits::new(column(row, 8)?),
        currency: parsed(column(row, 9)?, Currency::parse)?,
        balances: read_balances(row)?,
    };
    let (request, order_before, outcome) = detail.unwrap_or_default().join(columns)?;
    Ok(Payment { key: read_key(row)?, fingerprint: read_fingerprint(row)?, request, order_before, outcome })
}

fn read_change(row: &SqliteRow, name: &str) -> Result<PaymentChange, LedgerError> {
    let detail: ChangeDetail<'_> = from_json(column(row, 13)?)?;
    let back = name.starts_with("refund");
    let amount = column::<Option<i64>>(row, 8)?.map(MinorUnits::new);
    let (first, second) = read_balances(row)?;
    let (outcome, requested) = match (detail.rejection, amount, first, second, detail.requested) {
        (Some(rejection), requested, None, None, None) => (PaymentChangeOutcome::Rejected(rejection), requested),
        (None, Some(amount), Some(first), Some(second), requested) => {
            let (from_balance, to_balance) = if back { (second, first) } else { (first, second) };
            (PaymentChangeOutcome::Applied { amount, from_balance, to_balance }, requested)
        }
        _ => return Err(LedgerError::Damaged("its outcome contradicts itself".to_owned())),
    };
    let change = match (name.trim_end_matches("_rejected"), requested) {
        ("capture", requested) => PaymentChangeKind::Capture(requested),
        ("refund", requested) => PaymentChangeKind::Refund(requested),
        (_, None) => PaymentChangeKind::Void,
        (_, Some(_)) => return Err(LedgerError::Damaged("a void names no amount".to_owned())),
    };
    let before = detail.before.map(|before| read_state(row, before, back)).transpose()?.map(Box::new);
    let (key, fingerprint) = (read_key(row)?, read_fingerprint(row)?);
    Ok(PaymentChange { key, fingerprint, payment: detail.payment, change, before, outcome })
}

fn read_expiry(row: &SqliteRow) -> Result<Expiry, LedgerError> {
    let detail: ChangeDetail<'_> = from_json(column(row, 13)?)?;
    let before = detail.before.ok_or_else(|| LedgerError::Damaged("no hold expires".to_owned()))?;
    if before.held.get() != column::<i64>(row, 8)? {
        return Err(LedgerError::Damaged("its amount is not what was held".to_owned()));
    }
    Ok(Expiry { payment: detail.payment, before: read_state(row, before, false)? })
}

/// A payment's state from its detail and the columns; `back` if the columns have the other direction.
fn read_state(row: &SqliteRow, detail: StateDetail<'_>, back: bool) -> Result<PaymentState, LedgerError> {
    let first = parsed(column(row, 6)?, AccountId::parse)?;
    let second = parsed(column(row, 7)?, AccountId::parse)?;
    let (from, to) = if back { (second, first) } else { (first, second) };
    Ok(detail.into_state(from, to, parsed(column(row, 9)?, Currency::parse)?))
}

fn read_balances(row: &SqliteRow) -> Result<(Option<MinorUnits>, Option<MinorUnits>), LedgerError> {
    let balance = |at| Ok(column::<Option<i64>>(row, at)?.map(MinorUnits::new));
    Ok((balance(10)?, balance(11)?))
}

fn read_fingerprint(row: &SqliteRow) -> Result<Fingerprint, LedgerError> {
    bytes(row, 5).map(Fingerprint)
}

fn read_key(row: &SqliteRow) -> Result<IdempotencyKey, LedgerError> {
    parsed(column(row, 4)?, IdempotencyKey::parse)
}

/// Parses a text.
pub(super) fn parsed<T, E: std::fmt::Display>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, LedgerError> {
    parse(text).map_err(|error| LedgerError::Damaged(format!("{:?}: {error}", CompactString::new(text))))
}

fn bytes<const N: usize>(row: &SqliteRow, at: usize) -> Result<[u8; N], LedgerError> {
    let bytes: &[u8] = column(row, at)?;
    bytes.try_into().map_err(|_| LedgerError::Damaged(format!("{} bytes where {N} belong", bytes.len())))
}

/// Reads one column by its number.
pub(super) fn column<'row, T>(row: &'row SqliteRow, at: usize) -> Result<T, LedgerError>
where
    T: sqlx::Decode<'row, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(at).map_err(LedgerError::from_read)
}
