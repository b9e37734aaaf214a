//! The beginning of a sealed connection. A stranger who does not finish it holds a place no longer than with half a
//! request.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::observed::{Observed, Seen};
use super::pace::{LOOK_INTERVAL, MAX_SENDING_LOOKS};
use crate::tls::{Presented, Refusal, Sealing};

/// How long the handshake may take, the wait for its first byte included.
const MAX_HANDSHAKE: Duration = LOOK_INTERVAL.saturating_mul(MAX_SENDING_LOOKS);

/// The first byte of TLS: a record of a handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// What a caller without TLS gets. It is HTTP, because that is what such a caller speaks.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 47\r\n\
connection: close\r\n\r\nthis port speaks TLS: use https:// in its URL\r\n";

/// Most bytes of a plain request that are read after it is refused.
const MAX_DISCARDED_BYTES: usize = 64 * 1024;

/// How long a plain caller may take to end its connection.
const MAX_PARTING: Duration = Duration::from_secs(1);

/// Makes the handshake. `None` if it fails, which is counted; a connection that ends before its first byte is no
/// failure: that is how others try whether the port can be reached.
pub(super) async fn open_sealed(
    stream: TcpStream,
    seen: Seen,
    sealing: &Sealing,
) -> Option<(TlsStream<Observed>, Presented)> {
    let from = stream.peer_addr().map_or_else(|_| "an unknown address".to_owned(), |address| address.to_string());
    match timeout(MAX_HANDSHAKE, handshake(stream, seen, sealing)).await {
        Ok(Ok(Some(stream))) => {
            let presented = sealing.presented(stream.get_ref().1.peer_certificates());
            return Some((stream, presented));
        }
        Ok(Ok(None)) => {}
        Ok(Err(Unsealed::Plain(mut stream))) => {
            sealing.refuse(Refusal::Plain, from, "it does not begin with TLS");
            // Whether the answer arrives is the caller's concern.
            let _ = timeout(MAX_PARTING, refuse_plain(&mut stream)).await;
        }
        Ok(Err(Unsealed::Failed(error))) => sealing.refuse(Refusal::Handshake, from, error),
        Err(_) => sealing.refuse(Refusal::Handshake, from, "the handshake was not finished in time"),
    }
    None
}

/// Why there is no sealed connection.
enum Unsealed {
    Plain(TcpStream),
    Failed(io::Error),
}

async fn handshake(stream: TcpStream, seen: Seen, sealing: &Sealing) -> Result<Option<TlsStream<Observed>>, Unsealed> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) | Err(_) => return Ok(None),
        Ok(_) if first[0] != HANDSHAKE_RECORD => return Err(Unsealed::Plain(stream)),
        Ok(_) => {}
    }
    let accepted = TlsAcceptor::from(sealing.server()).accept(Observed::new(stream, seen)).await;
    accepted.map(Some).map_err(Unsealed::Failed)
}

/// Answers a plain request. The rest of it is read: closing a socket with unread bytes would take the answer back.
async fn refuse_plain(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(SPEAK_TLS).await?;
    stream.shutdown().await?;
    let mut bytes = [0; 4_096];
    let mut discarded = 0;
    while discarded < MAX_DISCARDED_BYTES {
        match stream.read(&mut bytes).await? {
            0 => break,
            count => discarded += count,
        }
    }
    Ok(())
}
