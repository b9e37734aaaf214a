//! Parameters of reads and lists: their names, and the filters that clients fill in.

use quorapay_core::domain::{AccountId, Currency, OrderId};

use crate::PaymentStatus;
#[cfg(feature = "openapi")]
use crate::Rfc3339;
#[cfg(feature = "openapi")]
use crate::schema::{AccountIdText, CurrencyCode, OrderIdText};

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
/// `to_index`: the last entry of the ledger that is wanted.
pub const TO_INDEX: &str = "to_index";
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
pub use crate::parameters::{
    BackupRange, BatchParams, Deadline, Freshness, KeyHeader, LedgerRange, LongPage, OptionalKeyHeader, SimulateChaos,
    StatementExport,
};
