//! Payments under load, a killed leader, and a comparison of all ledgers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{TryStreamExt, pin_mut};
use serde::Deserialize;
use tokio::task::JoinHandle;

use super::cluster::DevCluster;
use super::error::DevError;
use crate::fault::{FaultName, HealRequest};
use quorapay_api::EntryContent;
use quorapay_client::{Client, NewPayment, Outcome, Payment, Tls};
use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, LogIndex, MinorUnits, PaymentId};

/// How many callers [`Stress`] has.
pub const CALLERS: usize = 16;

/// Deadline of one payment, and timeout of one read of a ledger: longer than an election.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often the node that rejoins is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How long a node that rejoins may take to catch up.
const REJOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// A payment that was answered as committed.
#[derive(Clone, Copy, Debug)]
struct Paid {
    at: Instant,
    id: PaymentId,
}

/// Outcomes of the payments of [`Stress`].
#[derive(Debug, Default)]
pub struct StressCounts {
    paid: Mutex<Vec<Paid>>,
    refused: AtomicU64,
    unknown: AtomicU64,
    slowest_ms: AtomicU64,
}

impl std::fmt::Display for StressCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(f, "{} paid, {} refused, ", self.paid(), read(&self.refused))?;
        write!(f, "{} unknown, slowest answer {} ms", read(&self.unknown), read(&self.slowest_ms))
    }
}

impl StressCounts {
    /// Payments made.
    pub fn paid(&self) -> usize {
        self.all_paid().len()
    }

    /// Payments that were refused or whose outcome is unknown.
    pub fn failed(&self) -> u64 {
        self.refused.load(Ordering::Relaxed) + self.unknown.load(Ordering::Relaxed)
    }

    /// The longest time that a caller waited for an answer.
    pub fn slowest(&self) -> Duration {
        Duration::from_millis(self.slowest_ms.load(Ordering::Relaxed))
    }

    fn all_paid(&self) -> Vec<Paid> {
        self.paid.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Payments a second between two moments.
    fn rate(&self, from: Instant, to: Instant) -> f64 {
        let paid = self.all_paid().into_iter().filter(|paid| (from..to).contains(&paid.at)).count();
        f64::from(u32::try_from(paid).unwrap_or(u32::MAX)) / to.saturating_duration_since(from).as_secs_f64()
    }

    /// The longest time after a moment in which nobody was answered.
    fn longest_gap_after(&self, moment: Instant) -> Duration {
        let mut times: Vec<Instant> = self.all_paid().into_iter().map(|paid| paid.at).collect();
        times.sort_unstable();
        let gaps = times.windows(2).filter(|pair| pair[1] > moment).map(|pair| pair[1] - pair[0].max(moment));
        gaps.max().unwrap_or_default()
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
pub async fn pay_once(client: &Client) -> Result<Payment, DevError> {
    match client.pay(&fresh_key(), &payment()).await? {
        Outcome::Committed(done) => Ok(done.value),
        Outcome::Refused(problem) => Err(DevError::Refused(problem)),
        Outcome::Unknown { by_key_url, .. } => {
            Err(DevError::OutcomeUnknown { by_key_url: by_key_url.unwrap_or_default() })
        }
    }
}

/// Payments that are being made in tasks of their own. Dropping it ends them.
#[derive(Debug)]
pub struct Stress {
    counts: Arc<StressCounts>,
    callers: Vec<JoinHandle<()>>,
}

impl Stress {
    /// Pays from [`CALLERS`] callers at once, whose first nodes are spread over these.
    ///
    /// # Errors
    /// [`DevError::Client`] if a client cannot be set up.
    pub fn start(urls: &[String], duration: Duration) -> Result<Self, DevError> {
        let end = Instant::now() + duration;
        let mut stress = Self { counts: Arc::default(), callers: Vec::new() };
        for number in 0..CALLERS {
            let mut urls = urls.to_vec();
            let first = number % urls.len();
            urls.rotate_left(first);
            let caller = pay_until(Client::new(&urls, DEADLINE)?, end, Arc::clone(&stress.counts));
            stress.callers.push(tokio::spawn(caller));
        }
        Ok(stress)
    }

    /// Waits until all callers have ended. May be dropped and called again.
    pub async fn finish(&mut self) -> Arc<StressCounts> {
        for caller in &mut self.callers {
            if !caller.is_finished() {
                caller.await.expect("a caller does not panic");
            }
        }
        Arc::clone(&self.counts)
    }
}

impl Drop for Stress {
    fn drop(&mut self) {
        self.callers.iter().for_each(JoinHandle::abort);
    }
}

async fn pay_until(client: Client, end: Instant, counts: Arc<StressCounts>) {
    while Instant::now() < end {
        let began = Instant::now();
        match client.pay(&fresh_key(), &payment()).await {
            Ok(Outcome::Committed(done)) => {
                let paid = Paid { at: Instant::now(), id: done.value.id };
                counts.paid.lock().unwrap_or_else(PoisonError::into_inner).push(paid);
            }
            Ok(Outcome::Refused(_)) | Err(_) => _ = counts.refused.fetch_add(1, Ordering::Relaxed),
            Ok(Outcome::Unknown { .. }) => _ = counts.unknown.fetch_add(1, Ordering::Relaxed),
        }
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        counts.slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
    }
}

/// What the leader's death under load meant.
#[derive(Debug)]
pub struct LostLeader {
    /// All payments.
    pub counts: Arc<StressCounts>,
    /// Who led.
    pub leader: String,
    /// Who leads since.
    pub successor: String,
    /// Payments a second before.
    pub rate_before: f64,
    /// The longest time without an answered payment since.
    pub nobody_paid: Duration,
    /// Payments a second afterwards, without the dead node.
    pub rate_after: f64,
    /// How many entries the dead node had missed when it was started again.
    pub missed: u64,
    /// How long it took, from its start, until it had them.
    pub caught_up_after: Duration,
}

/// Pays from [`CALLERS`] callers for three times `phase`. After the first the leader's process is killed, as a power failure
/// would; after the second it is started again.
///
/// # Errors
/// [`DevError::NoLeader`], [`DevError::Behind`], and those of the cluster.
pub async fn lose_the_leader(cluster: &mut DevCluster, phase: Duration) -> Result<LostLeader, DevError> {
    let leader = cluster.leader().await.ok_or(DevError::NoLeader)?;
    let began = Instant::now();
    let mut stress = Stress::start(&cluster.urls(), phase * 3)?;
    tokio::time::sleep(phase).await;
    let had = committed(cluster).await?;
    let killed = Instant::now();
    cluster.kill(&leader).await?;
    tokio::time::sleep(phase).await;
    let missed = committed(cluster).await?;
    let healed = Instant::now();
    cluster.heal(&HealRequest { name: Some(FaultName::Kill), node: None }).await?;
    while applied_at(cluster, &leader).await < Some(missed) {
        if healed.elapsed() > REJOIN_TIMEOUT {
            return Err(DevError::Behind { node: leader, seconds: REJOIN_TIMEOUT.as_secs() });
        }
        // How far another process is has to be polled.
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let caught_up_after = healed.elapsed();
    let counts = stress.finish().await;
    Ok(LostLeader {
        leader,
        successor: cluster.leader().await.ok_or(DevError::NoLeader)?,
        rate_before: counts.rate(began, killed),
        nobody_paid: counts.longest_gap_after(killed),
        // The election is over by then.
        rate_after: counts.rate(killed + phase / 2, healed),
        missed: missed.0.saturating_sub(had.0),
        caught_up_after,
        counts,
    })
}

/// The highest commit index that a node reports.
async fn committed(cluster: &DevCluster) -> Result<LogIndex, DevError> {
    let view = cluster.client()?.cluster().await?;
    let reports = view.nodes.iter().filter_map(|node| node.status.as_ref());
    Ok(reports.map(|report| report.commit_index).max().unwrap_or_default())
}

/// How far a node says it is; `None` while it does not answer.
async fn applied_at(cluster: &DevCluster, id: &str) -> Option<LogIndex> {
    let view = cluster.client().ok()?.cluster().await.ok()?;
    let node = view.nodes.into_iter().find(|node| node.node_id.as_str() == id)?;
    node.status.map(|report| report.applied_index)
}

/// How many of the payments that were answered are not in the ledger, and how many are there more than once.
///
/// # Errors
/// [`DevError::Client`] if the ledger cannot be read.
pub async fn count_lost_and_doubled(cluster: &DevCluster, counts: &StressCounts) -> Result<(usize, usize), DevError> {
    let mut found: HashMap<PaymentId, usize> = counts.all_paid().into_iter().map(|paid| (paid.id, 0)).collect();
    let client = cluster.client()?;
    let entries = client.whole_ledger(LogIndex(1));
    pin_mut!(entries);
    while let Some(entry) = entries.try_next().await? {
        if let Some(EntryContent::Payment(payment)) = &entry.content
            && let Some(times) = found.get_mut(&payment.payment_id)
        {
            *times += 1;
        }
    }
    let count = |wrong: fn(usize) -> bool| found.values().filter(|times| wrong(**times)).count();
    Ok((count(|times| times == 0), count(|times| times > 1)))
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
    let http = Tls::none().http().timeout(DEADLINE).build().map_err(DevError::Http)?;
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
