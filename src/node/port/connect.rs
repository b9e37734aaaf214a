//! Attempts to reach another node's port.

use std::io;

use tokio::net::TcpStream;
use url::Url;

/// Opens a connection to the host and port of a URL. The caller bounds the wait.
///
/// # Errors
/// [`io::ErrorKind::ConnectionRefused`] alone proves that no process listens there.
pub(crate) async fn connect(url: &str) -> io::Result<TcpStream> {
    let url = Url::parse(url).map_err(io::Error::other)?;
    // The host of an IPv6 URL has brackets around it.
    let host = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    let (Some(host), Some(port)) = (host, url.port_or_known_default()) else {
        return Err(io::Error::other("the URL has no host or no port"));
    };
    TcpStream::connect((host, port)).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_a_port_at_which_nobody_listens_refuses() {
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            let Ok(listener) = TcpListener::bind(format!("{host}:0")).await else {
                assert_eq!(host, "[::1]", "every machine has IPv4");
                continue;
            };
            let url = format!("http://{host}:{}", listener.local_addr().expect("bound").port());
            assert!(connect(&url).await.is_ok(), "{url}");
            drop(listener);
            let refused = connect(&url).await.expect_err("nobody listens");
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{url}");
        }
        let unreadable = connect("no address").await.expect_err("no URL");
        assert_ne!(unreadable.kind(), io::ErrorKind::ConnectionRefused);
    }
}
