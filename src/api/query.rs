//! Parameters of reads and lists: their names, and the filters that clients fill in. With the feature `openapi` also their
//! descriptions.

use quorapay_core::domain::{AccountId, Currency, OrderId};

use crate::PaymentStatus;
#[cfg(feature = "openapi")]
use crate::schema::{AccountIdText, CurrencyCode, OrderIdText};
#[cfg(feature = "openapi")]
use crate::{ExportFormat, Rfc3339};

/// `account`: payments that the account paid or received.
pub const ACCOUNT: &str = "account";
/// `atomic`: a batch of all or none.
pub const ATOMIC: &str = "atomic";
/// `consistency`: how fresh a read must be.
pub const CONSISTENCY: &str = "consistency";
/// `currency`: rows in the currency.
pub const CURRENCY: &str = "currency";
/// `cursor`: where a list goes on.
pub const CURSOR: &str = "cursor";
/// `format`: a list as a whole, or the form of the metrics.
pub const FORMAT: &str = "format";
/// `from_index`: the first entry of the ledger that is wanted.
pub const FROM_INDEX: &str = "from_index";
/// `from_time`: rows of this moment or later.
pub const FROM_TIME: &str = "from_time";
/// `limit`: most items on a page.
pub const LIMIT: &str = "limit";
/// `min_index`: what the node must have applied.
pub const MIN_INDEX: &str = "min_index";
/// `order_id`: payments for the order.
pub const ORDER_ID: &str = "order_id";
/// `status`: payments that stand there.
pub const STATUS: &str = "status";
/// `to_time`: rows before this moment.
pub const TO_TIME: &str = "to_time";

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ConsistencyWord, rename_all = "snake_case"))]
pub enum Consistency {
    /// It shows every write that was answered before the read began.
    Linearizable,
    /// It shows what the node has.
    Local,
}

impl Consistency {
    /// Reads the parameter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "linearizable" => Some(Self::Linearizable),
            "local" => Some(Self::Local),
            _ => None,
        }
    }
}

/// A parameter with its value.
pub type Parameter = (&'static str, String);

fn given<const N: usize>(parameters: [(&'static str, Option<String>); N]) -> impl Iterator<Item = Parameter> {
    parameters.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// Which payments. Empty means every payment, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct PaymentFilter {
    /// Paid or received by this account.
    #[cfg_attr(feature = "openapi", param(inline, required = false, value_type = AccountIdText))]
    pub account: Option<AccountId>,
    /// Where the payment stands now.
    #[cfg_attr(feature = "openapi", param(inline, required = false, value_type = PaymentStatus))]
    pub status: Option<PaymentStatus>,
    /// In this currency.
    #[cfg_attr(feature = "openapi", param(inline, required = false, value_type = CurrencyCode))]
    pub currency: Option<Currency>,
    /// For this order.
    #[cfg_attr(feature = "openapi", param(inline, required = false, value_type = OrderIdText))]
    pub order_id: Option<OrderId>,
    /// Made at this moment or later.
    #[cfg_attr(feature = "openapi", param(inline, required = false, value_type = Rfc3339))]
    pub from_time: Option<String>,
    /// Made before this moment.
    #[cfg_attr(feature = "openapi", param(inline, required = false, value_type = Rfc3339))]
    pub to_time: Option<String>,
}

impl PaymentFilter {
    /// The conditions that are given.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> {
        given([
            (ACCOUNT, self.account.as_ref().map(ToString::to_string)),
            (STATUS, self.status.map(|status| status.to_string())),
            (CURRENCY, self.currency.map(|currency| currency.to_string())),
            (ORDER_ID, self.order_id.as_ref().map(ToString::to_string)),
            (FROM_TIME, self.from_time.clone()),
            (TO_TIME, self.to_time.clone()),
        ])
    }
}

/// Which lines of a statement. Empty means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct StatementFilter {
    /// In this currency.
    #[cfg_attr(feature = "openapi", param(inline, required = false, value_type = CurrencyCode))]
    pub currency: Option<Currency>,
    /// At this moment or later.
    #[cfg_attr(feature = "openapi", param(inline, required = false, value_type = Rfc3339))]
    pub from_time: Option<String>,
    /// Before this moment.
    #[cfg_attr(feature = "openapi", param(inline, required = false, value_type = Rfc3339))]
    pub to_time: Option<String>,
}

impl StatementFilter {
    /// The conditions that are given.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> {
        given([
            (CURRENCY, self.currency.map(|currency| currency.to_string())),
            (FROM_TIME, self.from_time.clone()),
            (TO_TIME, self.to_time.clone()),
        ])
    }
}

/// Which page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct Page {
    /// The `next_cursor` of the page before. It stays valid while payments are made.
    #[cfg_attr(feature = "openapi", param(required = false, value_type = String))]
    pub cursor: Option<String>,
    /// Most items on the page. A page may be shorter before the end.
    #[cfg_attr(
        feature = "openapi",
        param(required = false, value_type = u16, minimum = 1, maximum = 1_000, default = 50)
    )]
    pub limit: Option<u32>,
}

impl Page {
    /// What is given of it.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> {
        given([(CURSOR, self.cursor.clone()), (LIMIT, self.limit.map(|limit| limit.to_string()))])
    }
}

#[cfg(feature = "openapi")]
pub use described::{
    BatchParams, Deadline, Freshness, LedgerRange, LongPage, OptionalKeyHeaders, SimulateChaos, StatementExport,
    WriteHeaders,
};

/// Headers and parameters that nobody makes as a whole.
#[cfg(feature = "openapi")]
mod described {
    #![expect(dead_code, reason = "described, never made")]

    use utoipa::IntoParams;

    use super::{Consistency, ExportFormat};

    /// How long a caller waits.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Header)]
    pub struct Deadline {
        /// How long the caller waits, in milliseconds; 5,000 if absent. While there is no leader the call waits within it.
        #[param(rename = "Quorapay-Deadline-Ms", required = false, minimum = 1, maximum = 60_000)]
        deadline: u32,
    }

    /// What every write has besides a body.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Header)]
    pub struct WriteHeaders {
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

    /// What a write of SyncPay may have besides a body.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Header)]
    pub struct OptionalKeyHeaders {
        /// The payment's key, if the body has no `transaction_id`.
        #[param(
            rename = "Idempotency-Key",
            required = false,
            pattern = "^[!-~]([ -~]{0,253}[!-~])?$",
            example = "order-1001-payment"
        )]
        key: String,
        /// How long the caller waits, in milliseconds; 5,000 if absent. While there is no leader the call waits within it.
        #[param(rename = "Quorapay-Deadline-Ms", required = false, minimum = 1, maximum = 60_000)]
        deadline: u32,
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

    /// A batch's parameters.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Query)]
    pub struct BatchParams {
        /// All or none, instead of each by itself.
        #[param(required = false, default = false)]
        atomic: bool,
    }
}
