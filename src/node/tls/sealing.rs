//! The configuration in use, whom connections show, and what was refused.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use tokio::time::Instant;

use super::certificate::Facts;
use super::material::Material;
use crate::published::{Publisher, Watched, publish};

/// Shortest time between two lines of the log about refusals of one kind: any stranger can cause them.
const WARN_INTERVAL: Duration = Duration::from_secs(5);

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It began with something else than TLS.
    Plain,
    /// Its handshake failed or was not finished in time.
    Handshake,
    /// The certificate of a peer is not the sender's.
    ForeignName,
    /// A connection to a peer: its handshake failed, or its certificate is not that peer's.
    Dialled,
}

impl Refusal {
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::Handshake, Self::ForeignName, Self::Dialled];

    /// Its value in metrics and in the log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Handshake => "handshake",
            Self::ForeignName => "foreign_name",
            Self::Dialled => "dialled",
        }
    }
}

/// Counts of one port.
#[derive(Debug, Default)]
struct Counts {
    refused: [AtomicU64; Refusal::ALL.len()],
    /// When each kind was last written to the log.
    warned: Mutex<[Option<Instant>; Refusal::ALL.len()]>,
    loaded: AtomicU64,
    rejected: AtomicU64,
}

/// How the connections of one port are sealed. Clones are the same.
#[derive(Clone)]
pub struct Sealing {
    port: &'static str,
    current: Watched<Material>,
    counts: Arc<Counts>,
}

impl Sealing {
    /// The sealing of the port with this name, and what replaces its configuration.
    pub(super) fn new(port: &'static str, material: Material) -> (Self, Publisher<Material>) {
        let (publisher, current) = publish(material);
        (Self { port, current, counts: Arc::default() }, publisher)
    }

    /// For a connection that comes.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.borrow().server)
    }

    /// For a connection to a peer. `None` at the clients' port.
    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.current.borrow().client.clone()
    }

    /// Whom the other side of a connection shows by its certificate, which is verified.
    pub(crate) fn presented(&self, chain: Option<&[CertificateDer<'_>]>) -> Presented {
        let facts = chain.and_then(<[_]>::first).and_then(|leaf| Facts::of(leaf).ok());
        Presented { facts: facts.map(Arc::new), sealing: self.clone() }
    }

    /// Counts a refusal and writes it to the log, unless one of its kind was written just now.
    pub(crate) fn refuse(&self, refusal: Refusal, from: impl Display, why: impl Display) {
        let kind = refusal as usize;
        let total = self.counts.refused[kind].fetch_add(1, Ordering::Relaxed) + 1;
        let mut warned = self.counts.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned[kind].is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            warned[kind] = Some(Instant::now());
            tracing::warn!(port = self.port, reason = refusal.as_str(), %from, total, "a connection is refused: {why}");
        }
    }

    pub(super) const fn port(&self) -> &'static str {
        self.port
    }

    /// How often so far.
    pub(crate) fn refused(&self, refusal: Refusal) -> u64 {
        self.counts.refused[refusal as usize].load(Ordering::Relaxed)
    }

    /// Until when the certificate in use is valid, in seconds since 1970.
    pub(super) fn expires_at(&self) -> i64 {
        self.current.borrow().facts.expires_at
    }

    /// Counts a look at changed files: whether they are in use now.
    pub(super) fn reloaded(&self, used: bool) {
        let count = if used { &self.counts.loaded } else { &self.counts.rejected };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How often changed files were put to use, and how often they could not be.
    pub(super) fn reloads(&self) -> (u64, u64) {
        (self.counts.loaded.load(Ordering::Relaxed), self.counts.rejected.load(Ordering::Relaxed))
    }
}

/// Whom the other side of a sealed connection shows. Every request of the connection carries it.
#[derive(Clone)]
pub(crate) struct Presented {
    facts: Option<Arc<Facts>>,
    sealing: Sealing,
}

impl Presented {
    /// Whether its certificate has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.has_name(name))
    }

    /// Whether its certificate has this name. If not, that is counted and written to the log.
    pub(crate) fn is(&self, name: &str) -> bool {
        let is = self.has(name);
        if !is {
            let from = self.facts.as_ref().map_or("a stranger without a certificate", |facts| &facts.subject);
            self.sealing.refuse(Refusal::ForeignName, from, format_args!("its certificate is not that of {name}"));
        }
        is
    }
}
