//! The metrics as JSON, in the shape of an earlier system.

use std::borrow::Cow;
use std::collections::BTreeMap;

use quorapay_core::replication::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::Number;

#[cfg(feature = "openapi")]
use crate::schema::NodeIdText;

/// How metrics are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "snake_case"))]
pub enum MetricsFormat {
    /// The text format.
    #[default]
    Prometheus,
    /// Counters, gauges and timers, by route.
    Json,
    /// The same over all routes.
    Summary,
}

impl MetricsFormat {
    /// Reads the parameter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "prometheus" => Some(Self::Prometheus),
            "json" => Some(Self::Json),
            "summary" => Some(Self::Summary),
            _ => None,
        }
    }
}

/// The metrics as numbers by name.
// In alphabetical order, as they have been written from the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Numbers<'a> {
    /// What only grows: requests by route and status, and what the process has used.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, f64>))]
    pub counters: BTreeMap<String, Number>,
    /// What goes up and down.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, f64>))]
    pub gauges: BTreeMap<Cow<'a, str>, Number>,
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: Cow<'a, NodeId>,
    /// How long requests took, by route.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Timer>))]
    pub timers: BTreeMap<Cow<'a, str>, Timer>,
}

/// How long requests took, in seconds, read from a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Timer {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 95 of 100 took no longer.
    pub p95: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
}
