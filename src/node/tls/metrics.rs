//! Metrics of the certificates.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::sealing::{Refusal, Sealing};

/// Shows of each sealed port until when its certificate is valid, how often it was replaced and what was refused.
pub(crate) struct TlsMetrics {
    /// The sealed ports; none if none is.
    pub(crate) ports: Vec<Sealing>,
}

impl fmt::Debug for TlsMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ports.iter().map(Sealing::port)).finish()
    }
}

impl Collector for TlsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.ports.is_empty() {
            return Ok(());
        }
        let help = "Unix time until which the certificate in use at a port is valid";
        let name = "certificate_expiry_timestamp";
        let mut expiry = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for port in &self.ports {
            ConstGauge::new(port.expires_at()).encode(expiry.encode_family(&[("port", port.port())])?)?;
        }
        let help = "Changed certificate files that were put to use, or that could not be used";
        let mut reloads = encoder.encode_descriptor("certificate_reloads", help, None, MetricType::Counter)?;
        for port in &self.ports {
            let (used, refused) = port.reloads();
            for (result, count) in [("used", used), ("refused", refused)] {
                let labels = [("port", port.port()), ("result", result)];
                ConstCounter::new(count).encode(reloads.encode_family(&labels)?)?;
            }
        }
        let help = "Connections refused for want of TLS, by a failed handshake, or because of a peer's certificate";
        let mut refused = encoder.encode_descriptor("tls_refused", help, None, MetricType::Counter)?;
        for port in &self.ports {
            for refusal in Refusal::ALL {
                let labels = [("port", port.port()), ("reason", refusal.as_str())];
                ConstCounter::new(port.refused(refusal)).encode(refused.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
