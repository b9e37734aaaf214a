//! Entries as rows and rows as entries. The way there and back is the identity: the chain of hashes depends on it.

use std::sync::Arc;
use std::sync::LazyLock;

use compact_str::CompactString;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row};

use super::detail::{AccountDetail, EpochStartDetail, PaymentDetail, to_json};
use super::error::LedgerError;
use crate::domain::{
    AccountChange, AccountId, AccountOutcome, Currency, Fingerprint, IdempotencyKey, MinorUnits, Operation, Payment,
    PaymentOutcome, PaymentRequest,
};
use crate::replication::{Body, Entry, Epoch, Hash, LogIndex, Timestamp};

/// The columns in the order in which rows are bound and read.
pub(super) const COLUMNS: &str = "log_index, epoch, timestamp_ms, kind, idempotency_key, fingerprint, from_account, \
                                  to_account, amount, currency, from_balance, to_balance, detail, hash";

/// How many columns there are.
pub(super) const COLUMN_COUNT: usize = 14;

/// A row without its texts, in the WAL: fixed columns, hash, headers.
const ROW_BYTES: u64 = 160;

/// The names of the kinds, made once: binding one is then a count, not a copy.
struct Kinds {
    epoch_start: Arc<str>,
    configuration: Arc<str>,
    payment: Arc<str>,
    payment_rejected: Arc<str>,
    account: Arc<str>,
    account_rejected: Arc<str>,
}

static KINDS: LazyLock<Kinds> = LazyLock::new(|| Kinds {
    epoch_start: "epoch_start".into(),
    configuration: "configuration".into(),
    payment: "payment".into(),
    payment_rejected: "payment_rejected".into(),
    account: "account".into(),
    account_rejected: "account_rejected".into(),
});

/// A number as SQLite holds it.
pub(super) fn to_sql(number: u64) -> Result<i64, LedgerError> {
    i64::try_from(number).map_err(|_| LedgerError::OutOfRange(number))
}

/// A number as SQLite held it.
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

    fn nothing(&mut self, columns: usize) {
        (0..columns).for_each(|_| self.integer(None));
    }
}

/// Binds an entry's columns and says about how many bytes its row takes.
///
/// # Errors
/// [`LedgerError::OutOfRange`] for a number beyond `i64`.
pub(super) fn bind_entry(arguments: &mut SqliteArguments, entry: &Entry) -> Result<u64, LedgerError> {
    let mut bind = Binder(arguments);
    bind.integer(Some(to_sql(entry.index.0)?));
    bind.integer(Some(to_sql(entry.epoch.0)?));
    bind.integer(Some(to_sql(entry.timestamp.0)?));
    let text_bytes = match &entry.body {
        Body::EpochStart { leader } => {
            let detail = EpochStartDetail { leader: leader.clone() };
            bind_protocol(&mut bind, &KINDS.epoch_start, &to_json(&detail))
        }
        Body::Configuration(configuration) => bind_protocol(&mut bind, &KINDS.configuration, &to_json(configuration)),
        Body::Operation(Operation::Payment(payment)) => bind_payment(&mut bind, payment),
        Body::Operation(Operation::Account(change)) => bind_account(&mut bind, change),
    };
    bind.blob(Some(&entry.hash.0));
    Ok(ROW_BYTES + u64::try_from(text_bytes).unwrap_or(u64::MAX / 2))
}

fn bind_protocol(bind: &mut Binder<'_>, kind: &Arc<str>, detail: &str) -> usize {
    bind.shared(kind);
    bind.nothing(8);
    bind.text(Some(detail));
    detail.len()
}

fn bind_payment(bind: &mut Binder<'_>, payment: &Payment) -> usize {
    let Payment { key, fingerprint, request, outcome } = payment;
    let (kind, balances) = match outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => (&KINDS.payment, Some((from_balance, to_balance))),
        PaymentOutcome::Rejected(_) => (&KINDS.payment_rejected, None),
    };
    let detail = PaymentDetail::of(payment).map(|detail| to_json(&detail));
    bind.shared(kind);
    bind.text(Some(key.as_str()));
    bind.blob(Some(&fingerprint.0));
    bind.text(Some(request.from.as_str()));
    bind.text(Some(request.to.as_str()));
    bind.integer(Some(request.amount.get()));
    bind.text(Some(request.currency.code()));
    bind.integer(balances.map(|(from, _)| from.get()));
    bind.integer(balances.map(|(_, to)| to.get()));
    bind.text(detail.as_deref());
    key.as_str().len()
        + request.from.as_str().len()
        + request.to.as_str().len()
        + detail.map_or(0, |detail| detail.len())
}

fn bind_account(bind: &mut Binder<'_>, change: &AccountChange) -> usize {
    let detail = to_json(&AccountDetail::of(change));
    bind.shared(match change.outcome {
        AccountOutcome::Applied => &KINDS.account,
        AccountOutcome::Rejected(_) => &KINDS.account_rejected,
    });
    bind.text(Some(change.key.as_str()));
    bind.blob(Some(&change.fingerprint.0));
    bind.nothing(6);
    bind.text(Some(&detail));
    change.key.as_str().len() + detail.len()
}

/// Reads an entry from a row that selects [`COLUMNS`].
///
/// # Errors
/// [`LedgerError::Damaged`] for a row that [`bind_entry`] cannot have written.
pub(super) fn read_entry(row: &SqliteRow) -> Result<Arc<Entry>, LedgerError> {
    let index = LogIndex(from_sql(column(row, 0)?)?);
    let told = |error: LedgerError| match error {
        LedgerError::Damaged(reason) => LedgerError::Damaged(format!("entry {index}: {reason}")),
        other => other,
    };
    read_at(row, index).map(Arc::new).map_err(told)
}

fn read_at(row: &SqliteRow, index: LogIndex) -> Result<Entry, LedgerError> {
    let kind: &str = column(row, 3)?;
    let body = match kind {
        "epoch_start" => Body::EpochStart { leader: detail::<EpochStartDetail>(row)?.leader },
        "configuration" => Body::Configuration(detail(row)?),
        "payment" | "payment_rejected" => Body::Operation(Operation::Payment(read_payment(row)?)),
        "account" | "account_rejected" => Body::Operation(Operation::Account(read_account(row)?)),
        other => return Err(LedgerError::Damaged(format!("no kind of entry is called {other:?}"))),
    };
    if let Body::Operation(operation) = &body
        && operation.rejection().is_some() != kind.ends_with("_rejected")
    {
        // The hash does not cover the name of the kind, but lists select by it.
        return Err(LedgerError::Damaged(format!("its kind {kind} contradicts its detail")));
    }
    Ok(Entry {
        index,
        epoch: Epoch(from_sql(column(row, 1)?)?),
        timestamp: Timestamp(from_sql(column(row, 2)?)?),
        body,
        hash: Hash(bytes(row, 13)?),
    })
}

fn read_payment(row: &SqliteRow) -> Result<Payment, LedgerError> {
    let detail = match column::<Option<&str>>(row, 12)? {
        None => PaymentDetail { rejection: None, description: None, metadata: None },
        Some(text) => from_json(text)?,
    };
    let outcome = match detail.rejection {
        Some(rejection) => PaymentOutcome::Rejected(rejection),
        None => PaymentOutcome::Succeeded {
            from_balance: MinorUnits::new(column(row, 10)?),
            to_balance: MinorUnits::new(column(row, 11)?),
        },
    };
    let request = PaymentRequest {
        from: parsed(column(row, 6)?, AccountId::parse)?,
        to: parsed(column(row, 7)?, AccountId::parse)?,
        amount: MinorUnits::new(column(row, 8)?),
        currency: parsed(column(row, 9)?, Currency::parse)?,
        description: detail.description,
        metadata: detail.metadata,
    };
    Ok(Payment { key: read_key(row)?, fingerprint: Fingerprint(bytes(row, 5)?), request, outcome })
}

fn read_account(row: &SqliteRow) -> Result<AccountChange, LedgerError> {
    let (account, change, outcome) = detail::<AccountDetail>(row)?.into_parts();
    Ok(AccountChange { key: read_key(row)?, fingerprint: Fingerprint(bytes(row, 5)?), account, change, outcome })
}

fn read_key(row: &SqliteRow) -> Result<IdempotencyKey, LedgerError> {
    parsed(column(row, 4)?, IdempotencyKey::parse)
}

fn parsed<T, E: std::fmt::Display>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, LedgerError> {
    parse(text).map_err(|error| LedgerError::Damaged(format!("{:?}: {error}", CompactString::new(text))))
}

fn detail<T: serde::de::DeserializeOwned>(row: &SqliteRow) -> Result<T, LedgerError> {
    from_json(column(row, 12)?)
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Damaged(format!("its detail: {error}")))
}

fn bytes<const N: usize>(row: &SqliteRow, at: usize) -> Result<[u8; N], LedgerError> {
    let bytes: &[u8] = column(row, at)?;
    bytes.try_into().map_err(|_| LedgerError::Damaged(format!("{} bytes where {N} belong", bytes.len())))
}

/// Reads one column by its place.
pub(super) fn column<'row, T>(row: &'row SqliteRow, at: usize) -> Result<T, LedgerError>
where
    T: sqlx::Decode<'row, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(at).map_err(LedgerError::from_read)
}
