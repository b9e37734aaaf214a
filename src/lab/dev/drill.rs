//! Payments under load, a killed leader, and a comparison of all ledgers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Deserialize;

use super::cluster::DevCluster;
use super::error::DevError;
use crate::local::{Signal, send_signal};
use quorapay_client::{Client, NewPayment, Outcome, Payment};
use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, MinorUnits};

/// How many callers [`stress`] has.
pub const CALLERS: usize = 16;

/// Deadline of one payment, and timeout of one read of a ledger: longer than an election.
const DEADLINE: Duration = Duration::from_secs(10);

/// Outcomes of the payments of [`stress`].
#[derive(Debug, Default)]
pub struct StressCounts {
    paid: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    slowest_ms: AtomicU64,
}

impl std::fmt::Display for StressCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(f, "{} paid, {} refused, ", read(&self.paid), read(&self.refused))?;
        write!(f, "{} unknown, slowest answer {} ms", read(&self.unknown), read(&self.slowest_ms))
    }
}

impl StressCounts {
    /// Payments made.
    pub fn paid(&self) -> u64 {
        self.paid.load(Ordering::Relaxed)
    }

    /// Payments that were refused or whose outcome is unknown.
    pub fn failed(&self) -> u64 {
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

/// Makes one payment.
///
/// # Errors
/// [`DevError::Refused`], [`DevError::OutcomeUnknown`] and [`DevError::Client`].
pub async fn pay_once(cluster: &DevCluster) -> Result<Payment, DevError> {
    match cluster.client()?.pay(&fresh_key(), &payment()).await? {
        Outcome::Committed(done) => Ok(done.value),
        Outcome::Refused(problem) => Err(DevError::Refused(problem)),
        Outcome::Unknown { by_key_url, .. } => {
            Err(DevError::OutcomeUnknown { by_key_url: by_key_url.unwrap_or_default() })
        }
    }
}

/// Pays from [`CALLERS`] callers at once, whose first nodes are spread over the cluster.
///
/// # Errors
/// [`DevError::Client`] if a client cannot be set up.
pub async fn stress(cluster: &DevCluster, duration: Duration) -> Result<Arc<StressCounts>, DevError> {
    let counts = Arc::new(StressCounts::default());
    let end = Instant::now() + duration;
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let mut urls = cluster.urls();
        let first = number % urls.len();
        urls.rotate_left(first);
        callers.push(pay_until(Client::new(&urls, DEADLINE)?, end, Arc::clone(&counts)));
    }
    join_all(callers).await;
    Ok(counts)
}

async fn pay_until(client: Client, end: Instant, counts: Arc<StressCounts>) {
    while Instant::now() < end {
        let began = Instant::now();
        let counter = match client.pay(&fresh_key(), &payment()).await {
            Ok(Outcome::Committed(_)) => &counts.paid,
            Ok(Outcome::Refused(_)) | Err(_) => &counts.refused,
            Ok(Outcome::Unknown { .. }) => &counts.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        counts.slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
    }
}

/// Runs [`stress`] and kills the leader's process meanwhile, as a power failure would. Returns the leader's id and the
/// outcomes.
///
/// # Errors
/// [`DevError::NoLeader`], [`DevError::LeaderNotRunning`], and those of [`stress`].
pub async fn kill_leader_under_stress(
    cluster: &mut DevCluster,
    duration: Duration,
    kill_after: Duration,
) -> Result<(String, Arc<StressCounts>), DevError> {
    let leader = cluster.client()?.cluster().await?.leader.ok_or(DevError::NoLeader)?.to_string();
    let (counts, killed) = {
        let pid = cluster.nodes().iter().find(|node| node.id == leader).and_then(|node| node.pid);
        let kill = async {
            tokio::time::sleep(kill_after).await;
            // The cluster is borrowed by the callers, so the signal goes by process id. A process that has ended meanwhile
            // takes none, which is no error.
            let _ = send_signal(pid.ok_or(DevError::LeaderNotRunning)?, Signal::SIGKILL);
            Ok::<_, DevError>(())
        };
        tokio::join!(stress(cluster, duration), kill)
    };
    killed?;
    let counts = counts?;
    cluster.kill(&leader).await?;
    Ok((leader, counts))
}

/// The last common entry of the ledgers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LedgerEnd {
    /// Index of the entry.
    pub index: u64,
    /// Hash of the chain there.
    pub hash: String,
}

#[derive(Deserialize)]
struct LedgerPage {
    entries: Vec<LedgerEnd>,
}

/// Asks every node for the entry at the highest commit index and compares the hashes. Equal hashes prove equal histories.
///
/// # Errors
/// [`DevError::LedgersDiffer`], [`DevError::EntryMissing`], [`DevError::LedgerUnread`] and [`DevError::Client`].
pub async fn compare_ledgers(cluster: &DevCluster) -> Result<LedgerEnd, DevError> {
    let view = cluster.client()?.cluster().await?;
    let reports = view.nodes.iter().filter_map(|node| node.status.as_ref());
    let index = reports.map(|report| report.commit_index).max().unwrap_or_default();
    let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().map_err(DevError::Http)?;
    let read = |url: String| {
        let request =
            http.get(format!("{url}/v1/ledger?from_index={index}&min_index={index}&limit=1&consistency=local"));
        async move {
            let answer = request.send().await?.error_for_status()?.json::<LedgerPage>().await?;
            Ok::<_, reqwest::Error>(answer.entries.into_iter().next())
        }
    };
    let ends = join_all(cluster.urls().into_iter().map(read)).await;
    let mut common: Option<LedgerEnd> = None;
    for (node, end) in cluster.nodes().iter().zip(ends) {
        let node = || node.id.clone();
        let end = end.map_err(|source| DevError::LedgerUnread { node: node(), source })?;
        let end = end.ok_or_else(|| DevError::EntryMissing { node: node(), index: index.0 })?;
        match &common {
            Some(first) if *first != end => return Err(DevError::LedgersDiffer { node: node(), index: index.0 }),
            Some(_) => {}
            None => common = Some(end),
        }
    }
    common.ok_or(DevError::NoNodes)
}
