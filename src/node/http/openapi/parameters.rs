//! Headers and parameters that requests share. They are described here and read in `request.rs` and `read.rs`.
#![expect(dead_code, reason = "described, never made")]

use utoipa::IntoParams;

use super::payments::PaymentStatusWord;
use super::words::{AccountIdText, CurrencyCode, Moment, OrderIdText};

/// How long a caller waits.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::http) struct Deadline {
    /// How long the caller waits, in milliseconds; 5,000 if absent. While there is no leader the call waits within it.
    #[param(rename = "Quorapay-Deadline-Ms", required = false, minimum = 1, maximum = 60_000)]
    deadline: u32,
}

/// What every write has besides a body.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::http) struct WriteHeaders {
    /// The caller's name for this intent. The same request under the same key is answered the same, for ever.
    #[param(
        rename = "Idempotency-Key",
        required,
        pattern = "^[!-~]([ -~]{0,253}[!-~])?$",
        example = "order-1001-payment"
    )]
    key: String,
    /// How long the caller waits, in milliseconds; 5,000 if absent. While there is no leader the call waits within it.
    #[param(rename = "Quorapay-Deadline-Ms", required = false, minimum = 1, maximum = 60_000)]
    deadline: u32,
}

/// How fresh a read must be.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Freshness {
    /// `linearizable`, which holds if nothing is said, shows every write that was answered before the read began;
    /// `local` answers at once with what the node has.
    #[param(inline, required = false)]
    consistency: ConsistencyWord,
    /// Wait until the node has applied this index: the `Quorapay-Index` of a write, to read it back anywhere.
    #[param(required = false, minimum = 0, maximum = 9_223_372_036_854_775_807_i64)]
    min_index: u64,
}

/// How fresh a read must be.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConsistencyWord {
    Linearizable,
    Local,
}

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Page {
    /// The `next_cursor` of the page before. It stays valid while payments are made.
    #[param(required = false)]
    cursor: String,
    /// Most items on the page. A page may be shorter before the end.
    #[param(required = false, minimum = 1, maximum = 1_000, default = 50)]
    limit: u16,
}

/// Which payments.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct PaymentFilter {
    /// Paid or received by this account.
    #[param(inline, required = false)]
    account: AccountIdText,
    /// Where the payment stands now.
    #[param(inline, required = false)]
    status: PaymentStatusWord,
    #[param(inline, required = false)]
    currency: CurrencyCode,
    #[param(inline, required = false)]
    order_id: OrderIdText,
    /// Made at this moment or later.
    #[param(inline, required = false)]
    from_time: Moment,
    /// Made before this moment.
    #[param(inline, required = false)]
    to_time: Moment,
}

/// Which lines of a statement.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct StatementFilter {
    #[param(inline, required = false)]
    currency: CurrencyCode,
    /// At this moment or later.
    #[param(inline, required = false)]
    from_time: Moment,
    /// Before this moment.
    #[param(inline, required = false)]
    to_time: Moment,
    /// The whole statement as a download, newest first, instead of a page: without `cursor` and `limit`. Its last line
    /// says that it is complete.
    #[param(inline, required = false)]
    format: FormatWord,
}

/// Which entries of the ledger.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct LedgerRange {
    /// The first entry wanted.
    #[param(required = false, minimum = 0, maximum = 9_223_372_036_854_775_807_i64, default = 1)]
    from_index: u64,
    /// Most entries on the page.
    #[param(required = false, minimum = 1, maximum = 1_000, default = 50)]
    limit: u16,
    /// Everything from there on as a download, oldest first, instead of a page: without `limit`. Its last line says
    /// that it is complete.
    #[param(inline, required = false)]
    format: FormatWord,
}

/// How an export is written.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum FormatWord {
    Csv,
    Ndjson,
}

/// A batch's parameters.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct BatchParams {
    /// All or none, instead of each by itself.
    #[param(required = false, default = false)]
    atomic: bool,
}
