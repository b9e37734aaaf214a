//! Descriptions of headers and parameters that nobody makes as a whole.
#![expect(dead_code, reason = "described, never made")]

use utoipa::IntoParams;

use crate::ExportFormat;
use crate::query::Consistency;

/// How long a caller waits.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Deadline {
    /// How long the caller waits, in milliseconds; 5,000 if absent. While there is no leader the call waits within it.
    #[param(rename = "Quorapay-Deadline-Ms", required = false, minimum = 1, maximum = 60_000)]
    deadline: u32,
}

/// The key of a write.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct KeyHeader {
    /// The caller's name for this intent. The same request under the same key is answered the same, for ever.
    #[param(
        rename = "Idempotency-Key",
        required,
        pattern = "^[!-~]([ -~]{0,253}[!-~])?$",
        example = "order-1001-payment"
    )]
    key: String,
}

/// The key that a write of SyncPay may have.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct OptionalKeyHeader {
    /// The payment's key, if the body has no `transaction_id`.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        pattern = "^[!-~]([ -~]{0,253}[!-~])?$",
        example = "order-1001-payment"
    )]
    key: String,
}

/// A wish of a caller that tests itself.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct SimulateChaos {
    /// `true` commits the transfer and drops the connection without an answer, where the node's settings allow it.
    #[param(rename = "X-Simulate-Chaos", required = false)]
    simulate_chaos: bool,
}

/// Which page of a list that is long unless the caller says otherwise.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LongPage {
    /// The `next_cursor` of the page before. It stays valid while payments are made.
    #[param(required = false)]
    cursor: String,
    /// Most items on the page.
    #[param(required = false, minimum = 1, maximum = 1_000, default = 1_000)]
    limit: u16,
}

/// How fresh a read must be.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Freshness {
    /// `linearizable`, which holds if nothing is said, shows every write that was answered before the read began;
    /// `local` answers at once with what the node has.
    #[param(inline, required = false)]
    consistency: Consistency,
    /// Wait until the node has applied this index: the `Quorapay-Index` of a write, to read it back anywhere.
    #[param(required = false, minimum = 0, maximum = 9_223_372_036_854_775_807_i64)]
    min_index: u64,
}

/// A statement as a whole.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatementExport {
    /// The whole statement as a download, newest first, instead of a page: without `cursor` and `limit`. Its last line
    /// says that it is complete.
    #[param(inline, required = false)]
    format: ExportFormat,
}

/// Which entries of the ledger.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LedgerRange {
    /// The first entry wanted.
    #[param(required = false, minimum = 0, maximum = 9_223_372_036_854_775_807_i64, default = 1)]
    from_index: u64,
    /// Most entries on the page.
    #[param(required = false, minimum = 1, maximum = 1_000, default = 50)]
    limit: u16,
    /// Everything from there on as a download, oldest first, instead of a page: without `limit`. Its last line says
    /// that it is complete.
    #[param(inline, required = false)]
    format: ExportFormat,
}

/// Which entries of a backup.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BackupRange {
    /// The first entry wanted.
    #[param(required = false, minimum = 0, maximum = 9_223_372_036_854_775_807_i64, default = 1)]
    from_index: u64,
    /// The last entry wanted, if the ledger goes on after it.
    #[param(required = false, minimum = 0, maximum = 9_223_372_036_854_775_807_i64)]
    to_index: u64,
}

/// A batch's parameters.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BatchParams {
    /// All or none, instead of each by itself.
    #[param(required = false, default = false)]
    atomic: bool,
}
