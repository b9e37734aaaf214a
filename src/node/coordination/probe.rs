//! Whether a process listens at an address, asked of the real network.

use std::io::ErrorKind;

use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use url::{Host, Url};

use super::outside::{Probe, Prober};

/// Opens TCP connections.
pub(super) struct TcpProber;

impl Prober for TcpProber {
    fn probe<'a>(&'a self, peer_url: &'a str) -> BoxFuture<'a, Probe> {
        Box::pin(connect(peer_url))
    }
}

/// Only a refused connection proves that no process listens; an address that cannot be reached proves nothing.
async fn connect(peer_url: &str) -> Probe {
    let url = Url::parse(peer_url).ok();
    let Some((host, port)) = url.as_ref().and_then(|url| Some((url.host()?, url.port_or_known_default()?))) else {
        return Probe::Silent;
    };
    let host = match host {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    match TcpStream::connect((host.as_str(), port)).await {
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
