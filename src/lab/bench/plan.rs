//! What a run does.

use std::time::Duration;

use uuid::Uuid;

use quorapay_client::Access;
use quorapay_core::domain::{Currency, MinorUnits};

/// How many payments a run that reads makes first, at the most.
pub const MAX_READ: u32 = 100_000;

/// When the next payment starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Closed loop: when the same caller has the answer to its last one.
    Closed,
    /// Open loop: on a fixed schedule, whatever the answers.
    Open {
        /// Payments per second.
        per_second: u64,
    },
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Payments that start within this time.
    Duration(Duration),
    /// This many payments.
    Payments(u64),
}

/// What a caller does after a payment that failed or whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Counts it and goes on to the next.
    Never,
    /// Repeats it under the same key at the same URL.
    SameUrl,
    /// Repeats it under the same key at the next URL.
    NextUrl,
}

/// What the callers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Payments, each under a key of its own.
    Pay,
    /// Payments whose keys are each sent by as many callers as there are, at the same time.
    SameKey,
    /// Reads of what the run itself has made before.
    Read(Read, Consistency),
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// One payment with its history, by its id.
    PaymentById,
    /// One account with its balances.
    Account,
    /// The newest page of all payments.
    List,
}

/// How new an answer to a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// As new as the node that answers.
    Local,
    /// It shows every write that was answered before.
    Linearizable,
}

impl Consistency {
    /// As the API names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Linearizable => "linearizable",
        }
    }
}

impl Workload {
    /// As the command line names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pay => "pay",
            Self::SameKey => "same-key",
            Self::Read(Read::PaymentById, _) => "payment-by-id",
            Self::Read(Read::Account, _) => "account",
            Self::Read(Read::List, _) => "list",
        }
    }

    /// What one of its operations is, in the plural.
    #[must_use]
    pub fn operations(self) -> &'static str {
        match self {
            Self::Pay => "payments",
            Self::SameKey => "answers",
            Self::Read(..) => "reads",
        }
    }
}

/// Payments that are sent in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// Payments in each request.
    pub size: u32,
    /// How the request's body is written.
    pub form: BatchForm,
    /// Whether every payment has its own key besides the batch's.
    pub item_keys: bool,
}

/// How a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchForm {
    /// One JSON array.
    Json,
    /// One payment per line.
    Ndjson,
}

/// Everything that decides a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Base URLs; connections are spread over them round robin.
    pub urls: Vec<String>,
    /// How they are reached.
    pub access: Access,
    /// Callers in a closed loop; the maximum of concurrent requests in an open one.
    pub connections: u32,
    /// At most `connections`.
    pub threads: u32,
    /// What is asked for.
    pub workload: Workload,
    /// Closed or open loop.
    pub load: Load,
    /// `None` if every payment is a request.
    pub batch: Option<BatchPlan>,
    /// How much is measured.
    pub extent: Extent,
    /// Payments that start within this time are sent but not measured.
    pub warm_up: Duration,
    /// How many receiving accounts the payments are spread over, and how many things are read; at most
    /// [`MAX_READ`] if anything is.
    pub accounts: u32,
    /// Amount of each payment.
    pub amount: MinorUnits,
    /// Currency of each payment.
    pub currency: Currency,
    /// For one payment with all its attempts.
    pub deadline: Duration,
    /// What follows a failure.
    pub retry: Retry,
    /// Whether the metrics of all nodes are read before, during and after the run.
    pub watch_nodes: bool,
    /// Prefix of all idempotency keys, which makes them different from those of any other run.
    pub run_id: Uuid,
}

impl Plan {
    /// Payments in each request.
    #[must_use]
    pub fn per_request(&self) -> u32 {
        self.batch.map_or(1, |batch| batch.size)
    }

    /// Timeout of one attempt. A caller that may try again gives a node that hangs only a share of the deadline.
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        match self.retry {
            Retry::Never => self.deadline,
            Retry::SameUrl | Retry::NextUrl => self.deadline / 5,
        }
    }
}
