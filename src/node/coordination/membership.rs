//! The claim to `live/<node_id>`, so that no second process runs under this node's id.
//!
//! It distinguishes the znode of a dead process from that of a living rival, and knows nothing of elections.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use uuid::Uuid;
use zookeeper_client::Error;

use super::config::CoordinationConfig;
use super::layout::{self, Layout, LiveRecord};
use super::notice::CoordinationError;
use super::outside::{Probe, Prober, Watch};
use super::session::Session;

/// How long a registered process may take to accept a connection before it counts as silent.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Attempts in a row while the znode keeps changing; the next ones come after a pause.
const MAX_ATTEMPTS: u32 = 4;

/// Whether this process has the node id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// This session holds it.
    Held,
    /// A silent process holds it; its session may be about to expire. Try again when the watch fires or at this time.
    Waiting(Instant),
    /// Another process has it, and this one never had it.
    Taken(CoordinationError),
    /// Another process claims what this one had. ZooKeeper may be wrong, and then this node must not stop: it stands in no
    /// election until the claim ends. Try again when the watch fires.
    Disputed(CoordinationError),
}

/// This process's claim to the node id.
pub(super) struct Membership {
    instance: Uuid,
    prober: Arc<dyn Prober>,
    held: bool,
    waiting_until: Option<Instant>,
    watch: Option<Watch>,
    ever_held: bool,
}

impl Membership {
    pub(super) fn new(prober: Arc<dyn Prober>) -> Self {
        Self { instance: Uuid::new_v4(), prober, held: false, waiting_until: None, watch: None, ever_held: false }
    }

    /// Forgets what an earlier session held.
    pub(super) fn begin_session(&mut self) {
        self.held = false;
        self.waiting_until = None;
        self.watch = None;
    }

    /// Fires when the znode changes or disappears.
    pub(super) fn watch(&mut self) -> &mut Option<Watch> {
        &mut self.watch
    }

    /// Claims the node id, or says why this session does not have it.
    pub(super) async fn claim(
        &mut self,
        session: &Session,
        layout: &Layout,
        config: &CoordinationConfig,
    ) -> Result<Claim, Error> {
        if self.held && self.watch.is_some() {
            return Ok(Claim::Held);
        }
        let path = layout.live(&config.node_id);
        for _ in 0..MAX_ATTEMPTS {
            match self.try_claim(session, &path, config).await {
                Ok(Some(claim)) => return Ok(claim),
                Ok(None) | Err(Error::BadVersion) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::NodeExists)
    }

    /// Creates the znode or checks the one that is there; `None` to try again.
    async fn try_claim(
        &mut self,
        session: &Session,
        path: &str,
        config: &CoordinationConfig,
    ) -> Result<Option<Claim>, Error> {
        match session.create_ephemeral(path, &layout::encode(&self.record(config))).await {
            Ok(()) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error),
        }
        let ((data, stat), watch) = match session.read_and_watch(path).await {
            Ok(found) => found,
            Err(Error::NoNode) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.watch = Some(watch);
        if session.owns(&stat) {
            self.held = true;
            self.ever_held = true;
            self.waiting_until = None;
            return Ok(Some(Claim::Held));
        }
        self.held = false;
        let other = layout::decode::<LiveRecord>(&data);
        // A znode that belongs to no session is no process's: somebody wrote it, or copied it from elsewhere.
        let is_lasting = stat.ephemeral_owner == 0;
        let owner = if is_lasting { Probe::Dead } else { self.check_owner(other.as_ref(), config).await };
        match owner {
            Probe::Dead => session.delete(path, stat.version).await.map(|()| None),
            Probe::Alive => Ok(Some(self.lost_to(other.as_ref(), config))),
            Probe::Silent => Ok(Some(self.wait_for(other.as_ref(), session, config))),
        }
    }

    /// Whether the process that created the znode still lives.
    async fn check_owner(&self, other: Option<&LiveRecord>, config: &CoordinationConfig) -> Probe {
        match other {
            None => Probe::Silent,
            Some(other) if other.instance == self.instance => Probe::Dead,
            // This process owns the port, so one that registered it earlier is gone. One that registers it later has
            // replaced this one: two machines have one address. One must yield, or they would delete each other for
            // ever.
            Some(other) if other.peer_url == config.peer_url => {
                if self.ever_held {
                    Probe::Alive
                } else {
                    Probe::Dead
                }
            }
            Some(other) => {
                let probe = self.prober.probe(&other.peer_url);
                timeout(PROBE_TIMEOUT, probe).await.unwrap_or(Probe::Silent)
            }
        }
    }

    fn wait_for(&mut self, other: Option<&LiveRecord>, session: &Session, config: &CoordinationConfig) -> Claim {
        let until = *self.waiting_until.get_or_insert_with(|| Instant::now() + session.timeout() * 2);
        if Instant::now() < until { Claim::Waiting(until) } else { self.lost_to(other, config) }
    }

    fn lost_to(&self, other: Option<&LiveRecord>, config: &CoordinationConfig) -> Claim {
        let error = duplicate(other, config);
        if self.ever_held { Claim::Disputed(error) } else { Claim::Taken(error) }
    }

    fn record(&self, config: &CoordinationConfig) -> LiveRecord {
        LiveRecord {
            node: config.node_id.clone(),
            instance: self.instance,
            peer_url: config.peer_url.clone(),
            pid: std::process::id(),
        }
    }
}

fn duplicate(other: Option<&LiveRecord>, config: &CoordinationConfig) -> CoordinationError {
    let url = other.map_or_else(|| "an unknown address".to_owned(), |other| other.peer_url.clone());
    CoordinationError::DuplicateNode { node: config.node_id.clone(), url }
}
