//! The metrics as JSON, in the shape of an earlier system.

use std::borrow::Cow;
use std::collections::BTreeMap;

use quorapay_core::replication::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::Number;

#[cfg(feature = "openapi")]
use crate::schema::NodeIdText;

/// How metrics are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(rename_all = "snake_case"))]
pub enum MetricsFormat {
    /// OpenMetrics, for scrapers.
    Prometheus,
    /// Counters, gauges and timers by route, as the earlier system showed them.
    Json,
    /// The same as a page of text for people.
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

    /// The format for a caller that asks for none, from its `Accept` header: scrapers name a text format there. Everybody
    /// else gets JSON, as clients of the earlier system expect.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let types = accept.unwrap_or_default().split(',');
        let types = types.map(|given| given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let (mut json, mut text) = (false, false);
        for given in types {
            match given.as_str() {
                "application/openmetrics-text" => return Self::Prometheus,
                "application/json" => json = true,
                "text/plain" => text = true,
                _ => {}
            }
        }
        if text && !json { Self::Prometheus } else { Self::Json }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_text_and_everybody_else_json() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for text in [prometheus, "text/plain;version=0.0.4;q=1,*/*;q=0.1", "Application/OpenMetrics-Text"] {
            assert_eq!(MetricsFormat::accepted(Some(text)), MetricsFormat::Prometheus, "{text}");
        }
        for json in ["*/*", "application/json, text/plain, */*", "text/html,*/*;q=0.8", ""] {
            assert_eq!(MetricsFormat::accepted(Some(json)), MetricsFormat::Json, "{json}");
        }
        assert_eq!(MetricsFormat::accepted(None), MetricsFormat::Json);
    }
}
