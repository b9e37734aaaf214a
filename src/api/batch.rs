//! Batches of payments, and what became of them.

use std::borrow::Cow;

use quorapay_core::domain::{BatchOutcome, Epoch, LogIndex};
use serde::{Deserialize, Serialize};

use crate::wire_enum::wire_enum;
use crate::{BatchItem, Payment, Rfc3339};

/// A batch in an object, to say what else holds for it.
// Nodes read batches item by item while they arrive, in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchObject<'a> {
    /// All or none, instead of each by itself.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub atomic: bool,
    /// The payments, in order.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<BatchItem>, min_items = 1, max_items = 10_000))]
    pub payments: Cow<'a, [BatchItem]>,
}

#[cfg(feature = "openapi")]
pub use described::{BatchBody, BatchLinesBody};

#[cfg(feature = "openapi")]
mod described {
    use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder};
    use utoipa::openapi::{Ref, RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::BatchObject;
    use crate::BatchItem;
    use crate::limits::MAX_BATCH_ITEMS;

    /// A batch: the payments, or an object with them.
    #[derive(Debug)]
    pub struct BatchBody;

    impl PartialSchema for BatchBody {
        fn schema() -> RefOr<Schema> {
            OneOfBuilder::new()
                .item(payments())
                .item(Ref::from_schema_name(BatchObject::name()))
                .description(Some("A batch: the payments, or an object with them."))
                .into()
        }
    }

    impl ToSchema for BatchBody {
        fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
            schemas.push((BatchItem::name().into(), BatchItem::schema()));
            schemas.push((BatchObject::name().into(), BatchObject::schema()));
            BatchItem::schemas(schemas);
        }
    }

    /// A batch as lines: its payments, one per line.
    #[derive(Debug)]
    pub struct BatchLinesBody;

    impl PartialSchema for BatchLinesBody {
        fn schema() -> RefOr<Schema> {
            payments().description(Some("One payment per line.")).into()
        }
    }

    impl ToSchema for BatchLinesBody {
        fn name() -> std::borrow::Cow<'static, str> {
            std::borrow::Cow::Borrowed("BatchLines")
        }
    }

    fn payments() -> ArrayBuilder {
        let payments = ArrayBuilder::new().items(Ref::from_schema_name(BatchItem::name()));
        payments.min_items(Some(1)).max_items(Some(MAX_BATCH_ITEMS))
    }
}

/// What became of one payment of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = BatchResult))]
pub struct ItemResult<'a> {
    /// The payment as it was decided.
    #[serde(flatten)]
    pub payment: Payment<'a>,
    /// There, and `true`, if an earlier payment with the same key is shown in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

wire_enum! {
    /// What became of a batch as a whole.
    BatchStatus as "BatchStatusWord" {
        /// Each payment has its own outcome.
        Decided = "decided",
        /// It was to be all or none, and it is none.
        Aborted = "aborted",
    }
}

impl From<BatchOutcome> for BatchStatus {
    fn from(outcome: BatchOutcome) -> Self {
        match outcome {
            BatchOutcome::Decided => Self::Decided,
            BatchOutcome::Aborted => Self::Aborted,
        }
    }
}

/// A decided batch, with a result per payment in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DecidedBatch<'a> {
    /// `decided`: an aborted batch is a problem.
    pub status: BatchStatus,
    /// Payments that were made now.
    pub succeeded: u32,
    /// Payments that were refused.
    pub rejected: u32,
    /// Payments that had been decided before, under the same keys.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub replayed: u32,
    /// Its place in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
    /// Leadership that decided it.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
    /// When the ledger took it.
    pub created_at: Rfc3339,
    /// One for each payment, in the order of the request.
    // Last, so that a node can write the results one by one.
    pub results: Vec<ItemResult<'a>>,
}

/// A batch under its own key, without its payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchSummary {
    /// What became of it as a whole.
    pub status: BatchStatus,
    /// Payments that were made now.
    pub succeeded: u32,
    /// Payments that were refused.
    pub rejected: u32,
    /// Payments that had been decided before, under the same keys.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub replayed: u32,
    /// Its place in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
}
