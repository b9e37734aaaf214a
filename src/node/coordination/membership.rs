//! Holding `live/<node_id>`, so that no second process runs under this node's id.
//!
//! It knows how to tell a dead process's leftover from a living rival, and nothing of elections.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use url::{Host, Url};
use uuid::Uuid;
use zookeeper_client::Error;

use super::layout::{self, Layout, LiveRecord};
use super::session::{Alarm, Session};
use super::{CoordinationConfig, CoordinationError};

/// How long a registered process may take to accept a connection before it counts as silent.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// A znode that keeps appearing and disappearing under our hands is looked at again after a pause.
const ATTEMPTS: u32 = 4;

/// Whether the id is this process's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Held by this session.
    Held,
    /// A silent process holds it; its session may be about to expire. Look again when the alarm rings or at this time.
    Waiting(Instant),
    /// Somebody else's.
    Taken(CoordinationError),
}

/// This process's claim to the node id.
pub(super) struct Membership {
    instance: Uuid,
    held: bool,
    waiting_until: Option<Instant>,
    alarm: Option<Alarm>,
    ever_held: bool,
}

/// What answers at a registered address.
#[derive(Debug, PartialEq, Eq)]
enum Probe {
    Alive,
    Dead,
    Silent,
}

impl Membership {
    pub(super) fn new() -> Self {
        Self { instance: Uuid::new_v4(), held: false, waiting_until: None, alarm: None, ever_held: false }
    }

    /// A new session holds nothing yet.
    pub(super) fn begin_session(&mut self) {
        self.held = false;
        self.waiting_until = None;
        self.alarm = None;
    }

    /// Rings when the znode changed or went.
    pub(super) fn alarm(&mut self) -> &mut Option<Alarm> {
        &mut self.alarm
    }

    /// Holds the znode, or says why not.
    pub(super) async fn hold(
        &mut self,
        session: &Session,
        layout: &Layout,
        config: &CoordinationConfig,
    ) -> Result<Hold, Error> {
        if self.held && self.alarm.is_some() {
            return Ok(Hold::Held);
        }
        let path = layout.live(&config.node_id);
        for _ in 0..ATTEMPTS {
            match self.look(session, &path, config).await {
                Ok(Some(hold)) => return Ok(hold),
                Ok(None) | Err(Error::BadVersion) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::NodeExists)
    }

    /// Creates the znode or judges the one that is there; `None` to look again.
    async fn look(
        &mut self,
        session: &Session,
        path: &str,
        config: &CoordinationConfig,
    ) -> Result<Option<Hold>, Error> {
        match session.create_ephemeral(path, &layout::encode(&self.record(config))).await {
            Ok(()) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error),
        }
        let ((data, stat), alarm) = match session.read_and_watch(path).await {
            Ok(found) => found,
            Err(Error::NoNode) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.alarm = Some(alarm);
        if session.owns(&stat) {
            self.held = true;
            self.ever_held = true;
            self.waiting_until = None;
            return Ok(Some(Hold::Held));
        }
        self.held = false;
        let other = layout::decode::<LiveRecord>(&data);
        match self.judge(other.as_ref(), config).await {
            Probe::Dead => session.delete(path, stat.version).await.map(|()| None),
            Probe::Alive => Ok(Some(Hold::Taken(duplicate(other.as_ref(), config)))),
            Probe::Silent => Ok(Some(self.wait_for(other.as_ref(), session, config))),
        }
    }

    /// Whether the process that registered still lives.
    async fn judge(&self, other: Option<&LiveRecord>, config: &CoordinationConfig) -> Probe {
        match other {
            None => Probe::Silent,
            Some(other) if other.instance == self.instance => Probe::Dead,
            // The port is ours, so whoever registered it before us is gone. Whoever registers it after us displaced
            // us: two machines with one address. One of them has to yield, or they would delete each other for ever.
            Some(other) if other.peer_url == config.peer_url => {
                if self.ever_held {
                    Probe::Alive
                } else {
                    Probe::Dead
                }
            }
            Some(other) => probe(&other.peer_url).await,
        }
    }

    fn wait_for(&mut self, other: Option<&LiveRecord>, session: &Session, config: &CoordinationConfig) -> Hold {
        let until = *self.waiting_until.get_or_insert_with(|| Instant::now() + session.timeout() * 2);
        if Instant::now() < until { Hold::Waiting(until) } else { Hold::Taken(duplicate(other, config)) }
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

/// Only a refused connection proves that nobody is there; an address that cannot be reached proves nothing.
async fn probe(peer_url: &str) -> Probe {
    let url = Url::parse(peer_url).ok();
    let Some((host, port)) = url.as_ref().and_then(|url| Some((url.host()?, url.port_or_known_default()?))) else {
        return Probe::Silent;
    };
    let host = match host {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    match timeout(PROBE_TIMEOUT, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => Probe::Alive,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Probe::Dead,
        Ok(Err(_)) | Err(_) => Probe::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_refused_connection_counts_as_dead() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        assert_eq!(probe(&url).await, Probe::Alive);
        drop(listener);
        assert_eq!(probe(&url).await, Probe::Dead);
        assert_eq!(probe("no address").await, Probe::Silent);
    }
}
