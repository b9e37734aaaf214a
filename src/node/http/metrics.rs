//! Prometheus metrics: the node's state, read at each scrape, and counts of requests.
//!
//! Requests are counted in atomics that are found by position, without a look-up of labels.

mod clocks;
#[cfg(test)]
pub(super) mod golden;
mod numbers;
mod process;
mod summary;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::process::ProcessState;
use crate::runtime::{BankSummary, NodeHandle, NodeStatus, Role};

use super::access::Refusals;
pub(super) use numbers::Now;
use process::{ProcessMetrics, Value};
pub(super) use summary::page;

/// The routes of the API, as the label `route` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    PaymentCreate,
    PaymentGet,
    PaymentList,
    PaymentByKey,
    PaymentCapture,
    PaymentVoid,
    PaymentRefund,
    BatchCreate,
    KeyFence,
    AccountOpen,
    AccountList,
    AccountGet,
    AccountChange,
    AccountStatement,
    Ledger,
    LedgerBackup,
    Cluster,
    LeaderTransfer,
    Livez,
    Readyz,
    Metrics,
    CompatiblePayment,
    CompatibleTransactions,
    CompatibleHealth,
    CompatibleStatus,
    CompatiblePing,
    CompatibleConfig,
    CompatibleTransfer,
    ApiKeyCreate,
    ApiKeyList,
    ApiKeyRotate,
    ApiKeyRevoke,
    Description,
    Reference,
    /// No such path, or no such method.
    Unmatched,
}

impl Route {
    /// Its name in metrics and in the log.
    pub(super) fn name(self) -> &'static str {
        ROUTES[self as usize].1
    }
}

const ROUTES: [(Route, &str); 35] = [
    (Route::PaymentCreate, "payment_create"),
    (Route::PaymentGet, "payment_get"),
    (Route::PaymentList, "payment_list"),
    (Route::PaymentByKey, "payment_by_key"),
    (Route::PaymentCapture, "payment_capture"),
    (Route::PaymentVoid, "payment_void"),
    (Route::PaymentRefund, "payment_refund"),
    (Route::BatchCreate, "batch_create"),
    (Route::KeyFence, "key_fence"),
    (Route::AccountOpen, "account_open"),
    (Route::AccountList, "account_list"),
    (Route::AccountGet, "account_get"),
    (Route::AccountChange, "account_change"),
    (Route::AccountStatement, "account_statement"),
    (Route::Ledger, "ledger"),
    (Route::LedgerBackup, "ledger_backup"),
    (Route::Cluster, "cluster"),
    (Route::LeaderTransfer, "leader_transfer"),
    (Route::Livez, "livez"),
    (Route::Readyz, "readyz"),
    (Route::Metrics, "metrics"),
    (Route::CompatiblePayment, "compatible_payment"),
    (Route::CompatibleTransactions, "compatible_transactions"),
    (Route::CompatibleHealth, "compatible_health"),
    (Route::CompatibleStatus, "compatible_status"),
    (Route::CompatiblePing, "compatible_ping"),
    (Route::CompatibleConfig, "compatible_config"),
    (Route::CompatibleTransfer, "compatible_transfer"),
    (Route::ApiKeyCreate, "api_key_create"),
    (Route::ApiKeyList, "api_key_list"),
    (Route::ApiKeyRotate, "api_key_rotate"),
    (Route::ApiKeyRevoke, "api_key_revoke"),
    (Route::Description, "description"),
    (Route::Reference, "reference"),
    (Route::Unmatched, "unmatched"),
];

/// Every status that this API answers with. The last one is for any other.
const STATUSES: [u16; 16] = [200, 201, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 503, 504, 500, 0];

/// Upper bounds of the latency buckets in microseconds: from below one caller's median to the longest deadline.
const BUCKETS_US: [u64; 18] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Upper bounds of the buckets of batch sizes, in payments.
const BATCH_BUCKETS: [u32; 9] = [1, 4, 16, 64, 256, 1_024, 2_500, 5_000, 10_000];

/// Counts batches by how many payments they have.
#[derive(Debug, Default)]
struct Batches {
    by_bucket: [AtomicU64; BATCH_BUCKETS.len() + 1],
    payments: AtomicU64,
}

impl Batches {
    fn count(&self, payments: usize) {
        let bucket = BATCH_BUCKETS.partition_point(|bound| usize::try_from(*bound).is_ok_and(|bound| bound < payments));
        self.by_bucket[bucket].fetch_add(1, Ordering::Relaxed);
        self.payments.fetch_add(payments as u64, Ordering::Relaxed);
    }
}

impl Collector for Batches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Payments in one batch that a caller sent to this node";
        let encoder = encoder.encode_descriptor("batch_payments", help, None, MetricType::Histogram)?;
        let counts = self.by_bucket.iter().map(|count| count.load(Ordering::Relaxed));
        let bounds = BATCH_BUCKETS.iter().map(|bound| f64::from(*bound)).chain([f64::INFINITY]);
        let sum = whole(self.payments.load(Ordering::Relaxed));
        encode_buckets(encoder, sum, &bounds.zip(counts).collect::<Vec<_>>())
    }
}

/// Counts what one route answered and how long it took.
#[derive(Debug, Default)]
struct RouteCounts {
    by_status: [AtomicU64; STATUSES.len()],
    by_bucket: [AtomicU64; BUCKETS_US.len() + 1],
    total_us: AtomicU64,
}

/// Counts of all requests.
#[derive(Debug)]
struct Requests([RouteCounts; ROUTES.len()]);

impl Default for Requests {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RouteCounts::default()))
    }
}

impl Requests {
    fn count(&self, route: Route, status: StatusCode, took: Duration) {
        let counts = &self.0[route as usize];
        let known = STATUSES.iter().position(|code| *code == status.as_u16());
        counts.by_status[known.unwrap_or(STATUSES.len() - 1)].fetch_add(1, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < took_us);
        counts.by_bucket[bucket].fetch_add(1, Ordering::Relaxed);
        counts.total_us.fetch_add(took_us, Ordering::Relaxed);
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests answered to clients";
        let mut counters = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for (counts, (_, route)) in self.0.iter().zip(ROUTES) {
            for (count, status) in counts.by_status.iter().zip(STATUSES) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let status = if status == 0 { "other".to_owned() } else { status.to_string() };
                    let labels = [("route", route.to_owned()), ("status", status)];
                    ConstCounter::new(count).encode(counters.encode_family(&labels)?)?;
                }
            }
        }
        let help = "Time from a request's head to its answer";
        let seconds = prometheus_client::registry::Unit::Seconds;
        let mut histograms =
            encoder.encode_descriptor("request_duration", help, Some(&seconds), MetricType::Histogram)?;
        for (counts, (_, route)) in self.0.iter().zip(ROUTES) {
            counts.encode_latency(histograms.encode_family(&[("route", route)])?)?;
        }
        Ok(())
    }
}

impl RouteCounts {
    fn encode_latency(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts = self.by_bucket.iter().map(|count| count.load(Ordering::Relaxed));
        let bounds = BUCKETS_US.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        encode_buckets(encoder, seconds(self.total_us.load(Ordering::Relaxed)), &bounds.zip(counts).collect::<Vec<_>>())
    }
}

impl Collector for Refusals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Callers that were refused for their API key";
        let mut counters = encoder.encode_descriptor("refused_callers", help, None, MetricType::Counter)?;
        for (reason, count) in self.counts().filter(|(_, count)| *count > 0) {
            ConstCounter::new(count).encode(counters.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}

/// Writes a histogram, unless nothing was counted.
fn encode_buckets(mut encoder: MetricEncoder<'_>, sum: f64, buckets: &[(f64, u64)]) -> fmt::Result {
    let count: u64 = buckets.iter().map(|(_, count)| count).sum();
    if count == 0 {
        return Ok(());
    }
    encoder.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
}

fn seconds(microseconds: u64) -> f64 {
    whole(microseconds) / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years, and no sum here grows faster")]
fn whole(count: u64) -> f64 {
    count as f64
}

/// Shows a node's state at the time of the scrape.
struct NodeState(NodeHandle);

impl fmt::Debug for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeState")
    }
}

impl Collector for NodeState {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode_status(&self.0.status(), encoder)
    }
}

/// What is asked for at each scrape.
#[derive(Clone, Debug, Default)]
pub(super) struct Scraped {
    /// The bank's sums.
    pub(super) bank: BankSummary,
}

/// Shows what the latest scrape asked for.
#[derive(Debug, Default)]
struct Latest(Mutex<Scraped>);

impl Collector for Latest {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let scraped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let summary = &scraped.bank;
        let gauge = ConstGauge::new(summary.open_holds as u64);
        gauge.encode(encoder.encode_descriptor("open_holds", "Payments on hold", None, gauge.metric_type())?)?;
        let help = "Sum over all accounts in minor units: anything but 0 is damage";
        let mut sums = encoder.encode_descriptor("ledger_sum", help, None, MetricType::Gauge)?;
        for (currency, sum) in &summary.sums {
            // A sum outside of 64 bits is shown as the nearest value: both mean that the ledger is damaged.
            let sum = i64::try_from(*sum).unwrap_or(if *sum < 0 { i64::MIN } else { i64::MAX });
            ConstGauge::new(sum).encode(sums.encode_family(&[("currency", currency.code())])?)?;
        }
        Ok(())
    }
}

/// A node's gauges: name, help text and value.
fn gauges(status: &NodeStatus) -> [(&'static str, &'static str, Value); 16] {
    let behind = status.applied_index.0.saturating_sub(status.projected_index.0);
    let staleness = Duration::from_millis(status.staleness_ms);
    let hung = Duration::from_millis(status.hung_write_ms.unwrap_or(0));
    [
        ("epoch", "Epoch that this node leads or follows", Value::Whole(status.epoch.0)),
        ("promised_epoch", "Highest epoch that this node has promised", Value::Whole(status.promised_epoch.0)),
        ("last_index", "End of this node's log", Value::Whole(status.last_index.0)),
        ("commit_index", "Highest index known to be on a quorum", Value::Whole(status.commit_index.0)),
        ("applied_index", "Highest index that reads here show", Value::Whole(status.applied_index.0)),
        ("projected_index", "Highest index in the views", Value::Whole(status.projected_index.0)),
        ("views_lag_entries", "Applied entries that are not in the views yet", Value::Whole(behind)),
        (
            "views_lag_keys",
            "Idempotency keys of these entries, which are in memory",
            Value::Whole(status.views_lag_keys),
        ),
        ("views_lag_bytes", "Approximate size of these entries", Value::Whole(status.views_lag_bytes)),
        ("staleness_seconds", "Time since a leader confirmed this node's commit index", Value::Time(staleness)),
        (
            "views_rebuilding",
            "1 while the views, which were damaged, are made anew",
            Value::Whole(u64::from(status.views_rebuilding.is_some())),
        ),
        (
            "hung_write_seconds",
            "How long the write to the ledger that hangs has taken; 0 while the disk works",
            Value::Time(hung),
        ),
        (
            "clock_falseticker",
            "1 if this node's wall clock is judged false",
            Value::Whole(u64::from(clocks::own_is_false(status))),
        ),
        (
            "clock_agreement",
            "1 while a majority of clocks agrees on the time",
            Value::Whole(u64::from(status.corrected_clock.is_some())),
        ),
        ("leader_known", "1 if a leader was heard in time", Value::Whole(u64::from(status.leader.is_some()))),
        ("zookeeper_connected", "1 if the session is connected", Value::Whole(u64::from(status.zookeeper_connected))),
    ]
}

fn encode_status(status: &NodeStatus, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
    for (name, help, value) in gauges(status) {
        value.encode_gauge(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
    }
    for (name, help, value) in clocks::gauges(status) {
        ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
    }
    encode_roles(status.role, &mut encoder)?;
    encode_followers(status, &mut encoder)
}

fn encode_roles(role: Role, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    const ROLES: [(Role, &str); 5] = [
        (Role::Leader, "leader"),
        (Role::Recovering, "recovering"),
        (Role::Follower, "follower"),
        (Role::Learner, "learner"),
        (Role::Quarantined, "quarantined"),
    ];
    let help = "1 for what this node is doing, 0 for the rest";
    let mut roles = encoder.encode_descriptor("role", help, None, MetricType::Gauge)?;
    for (candidate, name) in ROLES {
        let value = u64::from(candidate == role);
        ConstGauge::new(value).encode(roles.encode_family(&[("role", name)])?)?;
    }
    Ok(())
}

fn encode_followers(status: &NodeStatus, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Entries that a follower is behind this leader";
    let mut lags = encoder.encode_descriptor("follower_lag_entries", help, None, MetricType::Gauge)?;
    for (node, follower) in &status.followers {
        ConstGauge::new(follower.lag).encode(lags.encode_family(&[("node", node.as_str())])?)?;
    }
    let help = "1 if a follower answered this leader in time";
    let mut reachable = encoder.encode_descriptor("follower_reachable", help, None, MetricType::Gauge)?;
    for (node, follower) in &status.followers {
        let value = u64::from(follower.reachable);
        ConstGauge::new(value).encode(reachable.encode_family(&[("node", node.as_str())])?)?;
    }
    Ok(())
}

/// The API's metrics, and the registry with those of all layers.
#[derive(Clone, Debug)]
pub(super) struct ApiMetrics {
    registry: Arc<Registry>,
    requests: Arc<Requests>,
    batches: Arc<Batches>,
    latest: Arc<Latest>,
    refusals: Arc<Refusals>,
}

impl ApiMetrics {
    /// Adds the node's state and the counts of requests to what the runtime has registered.
    pub(super) fn register(mut registry: Registry, node: NodeHandle) -> Self {
        let requests = Arc::new(Requests::default());
        let batches = Arc::new(Batches::default());
        let latest = Arc::new(Latest::default());
        registry.register_collector(Box::new(NodeState(node)));
        registry.register_collector(Box::new(Arc::clone(&requests)));
        registry.register_collector(Box::new(Arc::clone(&batches)));
        let refusals = Arc::new(Refusals::default());
        registry.register_collector(Box::new(Arc::clone(&latest)));
        registry.register_collector(Box::new(Arc::clone(&refusals)));
        Self { registry: Arc::new(registry), requests, batches, latest, refusals }
    }

    /// Counts an answer.
    pub(super) fn count(&self, route: Route, status: StatusCode, took: Duration) {
        self.requests.count(route, status, took);
    }

    /// The callers that were refused.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Counts a batch that a caller sent.
    pub(super) fn count_batch(&self, payments: usize) {
        self.batches.count(payments);
    }

    /// All metrics in the text format, with what was asked for and what the system says of the process.
    pub(super) fn text(&self, scraped: Scraped, process: Option<ProcessState>) -> String {
        *self.latest.0.lock().unwrap_or_else(PoisonError::into_inner) = scraped;
        // Their names are those of every program, without the prefix of this one.
        let mut of_the_process = Registry::default();
        if let Some(state) = process {
            of_the_process.register_collector(Box::new(ProcessMetrics(state)));
        }
        encoded([&self.registry, &of_the_process])
    }
}

fn encoded<'a>(registries: impl IntoIterator<Item = &'a Registry>) -> String {
    let mut out = String::with_capacity(16 << 10);
    for registry in registries {
        text::encode_registry(&mut out, registry).expect("writing to memory does not fail");
    }
    text::encode_eof(&mut out).expect("writing to memory does not fail");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::samples;

    #[derive(Debug)]
    struct Fixed(NodeStatus);

    impl Collector for Fixed {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            encode_status(&self.0, encoder)
        }
    }

    fn shown(collector: impl Collector) -> String {
        let mut registry = Registry::with_prefix("quorapay");
        registry.register_collector(Box::new(collector));
        encoded([&registry])
    }

    #[test]
    fn every_route_is_at_its_own_position() {
        for (at, (route, _)) in ROUTES.iter().enumerate() {
            assert_eq!(*route as usize, at);
        }
    }

    #[test]
    fn requests_are_counted_by_route_and_status_and_timed() {
        let requests = Requests::default();
        requests.count(Route::PaymentCreate, StatusCode::CREATED, Duration::from_micros(700));
        requests.count(Route::PaymentCreate, StatusCode::CREATED, Duration::from_secs(90));
        requests.count(Route::Livez, StatusCode::IM_A_TEAPOT, Duration::ZERO);
        let text = shown(requests);
        for line in [
            r#"quorapay_requests_total{route="payment_create",status="201"} 2"#,
            r#"quorapay_requests_total{route="livez",status="other"} 1"#,
            r#"quorapay_request_duration_seconds_bucket{le="0.0005",route="payment_create"} 0"#,
            r#"quorapay_request_duration_seconds_bucket{le="0.001",route="payment_create"} 1"#,
            r#"quorapay_request_duration_seconds_bucket{le="+Inf",route="payment_create"} 2"#,
            r#"quorapay_request_duration_seconds_count{route="payment_create"} 2"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn batches_are_counted_by_their_size() {
        let batches = Batches::default();
        [1, 16, 17, 10_000].into_iter().for_each(|payments| batches.count(payments));
        let text = shown(batches);
        for line in [
            r#"quorapay_batch_payments_bucket{le="16.0"} 2"#,
            r#"quorapay_batch_payments_bucket{le="64.0"} 3"#,
            r#"quorapay_batch_payments_bucket{le="+Inf"} 4"#,
            "quorapay_batch_payments_sum 10034.0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn what_the_bank_holds_is_shown_by_currency() {
        let currency = |code| quorapay_core::domain::Currency::parse(code).expect("valid");
        let sums = [(currency("EUR"), 0), (currency("JPY"), i128::MAX)].into();
        let bank = BankSummary { open_holds: 3, sums };
        let text = shown(Latest(Mutex::new(Scraped { bank })));
        for line in [
            "quorapay_open_holds 3",
            r#"quorapay_ledger_sum{currency="EUR"} 0"#,
            r#"quorapay_ledger_sum{currency="JPY"} 9223372036854775807"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn the_nodes_state_is_shown() {
        let text = shown(Fixed(NodeStatus { staleness_ms: 250, ..samples::status() }));
        for line in [
            "quorapay_epoch 3",
            "quorapay_commit_index 41",
            "quorapay_clock_offset_seconds 0.002",
            "quorapay_clock_error_seconds 0.05021",
            "quorapay_clock_drift_ppm -12.5",
            "quorapay_clock_falseticker 0",
            "quorapay_clock_agreement 1",
            "quorapay_time_error_seconds 0.053",
            "quorapay_views_lag_entries 31",
            "quorapay_views_lag_keys 40",
            "quorapay_views_rebuilding 0",
            "quorapay_staleness_seconds 0.25",
            "quorapay_hung_write_seconds 0.0",
            r#"quorapay_role{role="leader"} 1"#,
            r#"quorapay_role{role="learner"} 0"#,
            "quorapay_zookeeper_connected 1",
            r#"quorapay_follower_lag_entries{node="node2"} 5"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
