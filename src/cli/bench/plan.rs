//! What a run is to do.

use std::time::Duration;

use uuid::Uuid;

use quorapay_core::domain::{Currency, MinorUnits};

/// When the next payment starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// When the last one of the same caller is answered.
    Closed,
    /// On a fixed schedule.
    Open { per_second: u64 },
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Payments that start within this time.
    Duration(Duration),
    /// This many payments.
    Payments(u64),
}

/// What a caller does about a payment that failed or whose outcome is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// Counts it and goes on to the next.
    Never,
    /// Repeats it under the same key at the same URL.
    SameUrl,
    /// Repeats it under the same key at the next URL.
    NextUrl,
}

/// Payments that travel together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchPlan {
    /// Payments in each request.
    pub(super) size: u32,
    pub(super) form: BatchForm,
    /// Whether every payment has a key of its own besides the batch's.
    pub(super) item_keys: bool,
}

/// How a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum BatchForm {
    /// One JSON array
    Json,
    /// One payment per line
    Ndjson,
}

/// Everything that decides a run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Base URLs; connections are spread over them round robin.
    pub(super) urls: Vec<String>,
    /// Callers in a closed loop, bound of what is under way in an open one.
    pub(super) connections: u32,
    /// At most `connections`.
    pub(super) threads: u32,
    pub(super) load: Load,
    /// Payments go one by one without it.
    pub(super) batch: Option<BatchPlan>,
    pub(super) extent: Extent,
    /// Payments that start within this time are sent but not measured.
    pub(super) warm_up: Duration,
    /// Receiving accounts.
    pub(super) accounts: u32,
    pub(super) amount: MinorUnits,
    pub(super) currency: Currency,
    /// For one payment with all its attempts.
    pub(super) deadline: Duration,
    pub(super) persistence: Persistence,
    /// Makes the keys of this run its own.
    pub(super) run_id: Uuid,
}

impl Plan {
    /// Payments in each request.
    pub(super) fn per_request(&self) -> u32 {
        self.batch.map_or(1, |batch| batch.size)
    }

    /// How long one attempt may take. A caller that can try again gives a node that hangs only a share of its time.
    pub(super) fn attempt_time(&self) -> Duration {
        match self.persistence {
            Persistence::Never => self.deadline,
            Persistence::SameUrl | Persistence::NextUrl => self.deadline / 5,
        }
    }
}
