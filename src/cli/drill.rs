//! What `dev` and `demo` do to a cluster: pay, stress it, compare its ledgers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Deserialize;

use super::CliError;
use super::dev::DevCluster;
use quorapay_client::{Client, NewPayment, Outcome};
use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, MinorUnits};

/// Callers that pay at the same time.
const CALLERS: usize = 16;

/// What a stress came to.
#[derive(Debug, Default)]
pub(super) struct Stress {
    paid: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    slowest_ms: AtomicU64,
}

impl std::fmt::Display for Stress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(f, "{} paid, {} refused, ", read(&self.paid), read(&self.refused))?;
        write!(f, "{} unknown, slowest answer {} ms", read(&self.unknown), read(&self.slowest_ms))
    }
}

impl Stress {
    /// Payments that went through.
    pub(super) fn paid(&self) -> u64 {
        self.paid.load(Ordering::Relaxed)
    }

    /// Payments that did not.
    pub(super) fn failed(&self) -> u64 {
        self.refused.load(Ordering::Relaxed) + self.unknown.load(Ordering::Relaxed)
    }
}

fn payment() -> NewPayment {
    let account = |text| AccountId::parse(text).expect("a literal that is an account id");
    let currency = Currency::parse("USD").expect("a literal that is a currency");
    NewPayment::new(account("external:demo"), account("shop:1"), MinorUnits::new(100), currency)
}

fn fresh_key() -> IdempotencyKey {
    IdempotencyKey::parse(&uuid::Uuid::new_v4().to_string()).expect("a UUID is printable ASCII")
}

/// Pays once; says what came of it.
pub(super) async fn pay_once(cluster: &DevCluster) -> Result<String, CliError> {
    match cluster.client()?.pay(&fresh_key(), &payment()).await? {
        Outcome::Committed(done) => Ok(format!("paid: {}", super::connection::to_json(&done.value))),
        Outcome::Refused(problem) => Err(CliError::Refused(problem)),
        Outcome::Unknown { by_key_url, .. } => {
            Err(CliError::Failed(format!("the outcome is unknown: {}", by_key_url.unwrap_or_default())))
        }
    }
}

/// Pays from several callers at once, each beginning at another node.
pub(super) async fn stress(cluster: &DevCluster, duration: Duration) -> Result<Arc<Stress>, CliError> {
    let stress = Arc::new(Stress::default());
    let end = Instant::now() + duration;
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let mut urls = cluster.urls();
        let first = number % urls.len();
        urls.rotate_left(first);
        callers.push(pay_until(Client::new(&urls, Duration::from_secs(10))?, end, Arc::clone(&stress)));
    }
    join_all(callers).await;
    Ok(stress)
}

async fn pay_until(client: Client, end: Instant, stress: Arc<Stress>) {
    while Instant::now() < end {
        let began = Instant::now();
        let counter = match client.pay(&fresh_key(), &payment()).await {
            Ok(Outcome::Committed(_)) => &stress.paid,
            Ok(Outcome::Refused(_)) | Err(_) => &stress.refused,
            Ok(Outcome::Unknown { .. }) => &stress.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        stress.slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
    }
}

/// The end of a ledger, as its node shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct LedgerEnd {
    /// Index of the last entry.
    pub(super) index: u64,
    /// The chain's hash there.
    pub(super) hash: String,
}

#[derive(Deserialize)]
struct LedgerPage {
    entries: Vec<LedgerEnd>,
}

/// Asks every node for the entry at the same index and compares the hashes: equal hashes are equal histories.
pub(super) async fn compare_ledgers(cluster: &DevCluster) -> Result<LedgerEnd, CliError> {
    let view = cluster.client()?.cluster().await?;
    let reports = view.nodes.iter().filter_map(|node| node.status.as_ref());
    let index = reports.map(|report| report.commit_index).max().unwrap_or_default();
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
    let http = http.map_err(|error| CliError::Failed(format!("no HTTP client: {error}")))?;
    let ask = |url: String| {
        let request =
            http.get(format!("{url}/v1/ledger?from_index={index}&min_index={index}&limit=1&consistency=local"));
        async move {
            let answer = request.send().await?.error_for_status()?.json::<LedgerPage>().await?;
            Ok::<_, reqwest::Error>(answer.entries.into_iter().next())
        }
    };
    let ends = join_all(cluster.urls().into_iter().map(ask)).await;
    let mut common: Option<LedgerEnd> = None;
    for (node, end) in cluster.nodes().iter().zip(ends) {
        let end = end.map_err(|error| CliError::Failed(format!("{} did not show its ledger: {error}", node.id)))?;
        let end = end.ok_or_else(|| CliError::Failed(format!("{} has no entry {index}", node.id)))?;
        match &common {
            Some(first) if *first != end => {
                return Err(CliError::Failed(format!("the ledgers differ at index {index}: {}", node.id)));
            }
            Some(_) => {}
            None => common = Some(end),
        }
    }
    common.ok_or_else(|| CliError::Failed("there are no nodes".to_owned()))
}
