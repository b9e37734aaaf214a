//! Whether a process listens at an address, asked of the real network.

use std::io::ErrorKind;

use futures_util::future::BoxFuture;

use super::outside::{Probe, Prober};
use crate::port;

/// Opens TCP connections.
pub(super) struct TcpProber;

impl Prober for TcpProber {
    fn probe<'a>(&'a self, peer_url: &'a str) -> BoxFuture<'a, Probe> {
        Box::pin(probe(peer_url))
    }
}

/// Only a refused connection proves that no process listens; an address that cannot be reached proves nothing.
async fn probe(peer_url: &str) -> Probe {
    match port::connect(peer_url).await {
        Ok(_) => Probe::Alive,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Probe::Dead,
        Err(_) => Probe::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_refused_connection_counts_as_dead() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        assert_eq!(TcpProber.probe(&url).await, Probe::Alive);
        drop(listener);
        assert_eq!(TcpProber.probe(&url).await, Probe::Dead);
        assert_eq!(TcpProber.probe("no address").await, Probe::Silent);
    }
}
