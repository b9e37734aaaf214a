//! Metrics of the ports.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::places::Places;

/// Shows how many connections each port has and had to refuse.
#[derive(Debug)]
pub(crate) struct PortMetrics {
    /// The ports, by the value of the label `port`.
    pub(crate) ports: [(&'static str, Places); 2],
}

impl Collector for PortMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections that are open at a port";
        let mut open = encoder.encode_descriptor("connections", help, None, MetricType::Gauge)?;
        for (port, places) in &self.ports {
            let count = u64::try_from(places.open()).unwrap_or(u64::MAX);
            ConstGauge::new(count).encode(open.encode_family(&[("port", *port)])?)?;
        }
        let help = "Connections that were closed at once, because the port or their address had as many as it may";
        let mut refused = encoder.encode_descriptor("connections_refused", help, None, MetricType::Counter)?;
        for (port, places) in &self.ports {
            ConstCounter::new(places.refused()).encode(refused.encode_family(&[("port", *port)])?)?;
        }
        Ok(())
    }
}
