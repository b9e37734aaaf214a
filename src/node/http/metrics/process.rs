//! What the system says of the process, under the names that every program shows it by, and of the node's files and threads.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde_json::Number;

use crate::process::ProcessState;

/// The prefix of the metrics of this program, which its JSON forms leave out.
const OWN_PREFIX: &str = "quorapay_";

/// A metric's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// A count, an index or a size in bytes.
    Whole(u64),
    /// Shown in seconds.
    Time(Duration),
}

impl Value {
    pub(super) fn number(self) -> Number {
        match self {
            Self::Whole(count) => count.into(),
            Self::Time(time) => Number::from_f64(time.as_secs_f64()).expect("a time is finite"),
        }
    }

    pub(super) fn encode_gauge(self, encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(count) => ConstGauge::new(count).encode(encoder),
            Self::Time(time) => ConstGauge::new(time.as_secs_f64()).encode(encoder),
        }
    }

    fn encode(self, kind: Kind, encoder: MetricEncoder<'_>) -> fmt::Result {
        match (kind, self) {
            (Kind::Gauge, value) => value.encode_gauge(encoder),
            (Kind::Counter, Self::Whole(count)) => ConstCounter::new(count).encode(encoder),
            (Kind::Counter, Self::Time(time)) => ConstCounter::new(time.as_secs_f64()).encode(encoder),
        }
    }
}

/// Whether a metric only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It does. The text format appends `_total` to its name.
    Counter,
    /// It does not.
    Gauge,
}

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    name: &'static str,
    help: &'static str,
    pub(super) kind: Kind,
    pub(super) value: Value,
    /// The thread's name in a metric of threads.
    thread: Option<String>,
}

impl Sample {
    /// The name in the JSON forms: without the program's prefix, with the thread.
    pub(super) fn json_name(&self) -> Cow<'static, str> {
        let name = self.name.strip_prefix(OWN_PREFIX).unwrap_or(self.name);
        self.thread.as_ref().map_or(Cow::Borrowed(name), |thread| Cow::Owned(format!("{name}.{thread}")))
    }
}

/// Everything that the system says, with the values of one metric next to each other.
pub(super) fn samples(state: &ProcessState) -> Vec<Sample> {
    let whole = |name, help, kind, value: Option<u64>| {
        Some(Sample { name, help, kind, value: Value::Whole(value?), thread: None })
    };
    let time = |name, help, kind, value: Option<Duration>| {
        Some(Sample { name, help, kind, value: Value::Time(value?), thread: None })
    };
    let file = |name| state.file_bytes.get(name).copied();
    let (counter, gauge) = (Kind::Counter, Kind::Gauge);
    let single = [
        time("process_cpu_seconds", "User and system processor time", counter, state.cpu),
        whole("process_resident_memory_bytes", "Resident memory", gauge, state.resident_bytes),
        whole("process_virtual_memory_bytes", "Virtual memory", gauge, state.virtual_bytes),
        whole("process_open_fds", "Open file descriptors", gauge, state.open_fds),
        whole("process_max_fds", "How many file descriptors may be open", gauge, state.max_fds),
        time("process_start_time_seconds", "Start of the process since the Unix epoch", gauge, state.started),
        whole("process_threads", "Threads of the process", gauge, state.threads),
        whole("process_io_storage_read_bytes", "Bytes read from storage", counter, state.storage_read_bytes),
        whole("process_io_storage_written_bytes", "Bytes written to storage", counter, state.storage_written_bytes),
        whole("quorapay_disk_free_bytes", "What this node may still write to its disk", gauge, state.disk_free_bytes),
        whole("quorapay_disk_size_bytes", "Size of the disk of the data directory", gauge, state.disk_size_bytes),
        whole("quorapay_ledger_bytes", "Size of ledger.db", gauge, file("ledger.db")),
        whole("quorapay_views_bytes", "Size of views.db", gauge, file("views.db")),
        whole("quorapay_views_wal_bytes", "Size of the views' write-ahead log", gauge, file("views.db-wal")),
    ];
    let threads = state.cpu_by_thread.iter().map(|(thread, cpu)| Sample {
        name: "quorapay_thread_cpu_seconds",
        help: "User and system processor time by the names of threads",
        kind: Kind::Counter,
        value: Value::Time(*cpu),
        thread: Some(thread.clone()),
    });
    single.into_iter().flatten().chain(threads).collect()
}

/// Shows a state in the text format.
#[derive(Debug)]
pub(super) struct ProcessMetrics(pub(super) ProcessState);

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let samples = samples(&self.0);
        for metric in samples.chunk_by(|a, b| a.name == b.name) {
            let Sample { name, help, kind, .. } = metric[0];
            let metric_type = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
            if let [Sample { value, thread: None, .. }] = metric {
                value.encode(kind, family)?;
                continue;
            }
            for Sample { value, thread, .. } in metric {
                value.encode(kind, family.encode_family(&[("thread", thread.as_deref().unwrap_or_default())])?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::super::encoded;
    use super::*;
    use crate::http::samples;

    #[test]
    fn the_process_is_shown_by_the_names_of_every_program() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics(samples::process())));
        let text = encoded([&registry]);
        for line in [
            "# TYPE process_cpu_seconds counter",
            "process_cpu_seconds_total 12.345678",
            "process_resident_memory_bytes 200278016",
            "process_start_time_seconds 1700000000.12",
            "process_io_storage_written_bytes_total 1234567",
            "quorapay_disk_free_bytes 83751862272",
            "quorapay_views_wal_bytes 8192",
            r#"quorapay_thread_cpu_seconds_total{thread="ledger-writer"} 2.34"#,
            r#"quorapay_thread_cpu_seconds_total{thread="main"} 9.87"#,
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
        }
        assert_eq!(text.matches("# TYPE quorapay_thread_cpu_seconds ").count(), 1);
        // What the system does not say is not shown as 0.
        assert!(!text.contains("process_max_fds"), "{text}");
    }
}
