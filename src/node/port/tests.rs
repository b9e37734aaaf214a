//! Connections over real sockets, with a clock that jumps to the next look when nothing else is to be done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use futures_util::stream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use super::pace::LOOK_INTERVAL;
use super::places::{ConnectionLimits, Places};
use super::{Pace, Port, Terms, serve};
use crate::published::{Publisher, publish};
use crate::tls::samples::{Authority, client_config, sealed_clients};
use crate::tls::{Refusal, Sealing};

const GET: &[u8] = b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";

/// A port that answers, and what stops it.
struct Served {
    address: SocketAddr,
    places: Places,
    stop: Publisher<bool>,
    ended: JoinHandle<()>,
}

/// Serves a greeting, an answer without an end, a body's length, and an answer that takes an hour.
async fn served(limits: ConnectionLimits) -> Served {
    served_with(limits, None).await
}

async fn served_with(limits: ConnectionLimits, sealing: Option<Sealing>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let endless = || stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4_096])));
    let router = Router::new()
        .route("/hello", get(async || "hello"))
        .route("/endless", get(async move || Body::from_stream(endless())))
        .route("/length", post(async |body: Bytes| body.len().to_string()))
        .route("/slow", get(async || sleep(Duration::from_secs(3_600)).await));
    let places = Places::new(limits);
    let (stop, stopping) = publish(false);
    let terms = Terms { pace: Pace::Client, sealing };
    let ended = tokio::spawn(serve(Port::new(listener, places.clone()), router, terms, stopping));
    Served { address, places, stop, ended }
}

const MANY: ConnectionLimits = ConnectionLimits { total: 100, per_address: 100 };

async fn connection_with(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    stream
}

/// Reads up to the end of a short answer.
async fn answer(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let byte = stream.read_u8().await.expect("there is more");
        answer.push(byte);
    }
    String::from_utf8(answer).expect("text")
}

/// Reads until the connection ends; returns for how long it was kept.
async fn kept(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut bytes = [0; 4_096];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_not_waited_for_long() {
    let served = served(MANY).await;
    let halves: [&[u8]; 4] = [
        b"",
        b"GET /hello HTTP/1.1\r\nho",
        b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf",
        b"POST /length HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ];
    for half in halves {
        let mut stream = connection_with(served.address, half).await;
        let kept = kept(&mut stream).await;
        assert!(kept <= LOOK_INTERVAL * 4, "{:?} was kept for {kept:?}", half.escape_ascii().to_string());
    }
    // The same after a whole request.
    let mut stream = connection_with(served.address, GET).await;
    answer(&mut stream, "hello").await;
    stream.write_all(halves[1]).await.expect("sent");
    assert!(kept(&mut stream).await <= LOOK_INTERVAL * 4);
    assert_eq!(served.places.open(), 0, "their places are free");
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_may_rest_for_a_minute_and_not_for_ever() {
    let served = served(MANY).await;
    let mut stream = connection_with(served.address, GET).await;
    for _ in 0..3 {
        answer(&mut stream, "hello").await;
        sleep(Duration::from_secs(90)).await;
        stream.write_all(GET).await.expect("sent");
    }
    answer(&mut stream, "hello").await;
    let kept = kept(&mut stream).await;
    assert!(kept > Duration::from_secs(90) && kept < Duration::from_secs(150), "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_is_not_kept_for_long() {
    let served = served(MANY).await;
    let stream = connection_with(served.address, b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    sleep(LOOK_INTERVAL * 20).await;
    assert_eq!(served.places.open(), 0, "it is closed");
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_answer_and_who_sends_slowly_is_served() {
    let served = served(MANY).await;
    let mut waiting = connection_with(served.address, b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut sending =
        connection_with(served.address, b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await;
    for _ in 0..20 {
        sending.write_all(&[b'x'; 5_000]).await.expect("sent");
        sleep(LOOK_INTERVAL).await;
    }
    assert!(answer(&mut sending, "100000").await.starts_with("HTTP/1.1 200"));
    assert!(answer(&mut waiting, "\r\n\r\n").await.starts_with("HTTP/1.1 200"), "after an hour");
}

#[tokio::test(start_paused = true)]
async fn a_head_has_a_bound() {
    let served = served(MANY).await;
    let mut head = b"GET /hello HTTP/1.1\r\nhost: a\r\nlong: ".to_vec();
    head.resize(40_000, b'x');
    let mut stream = connection_with(served.address, &head).await;
    assert!(answer(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_connection_without_a_place_is_closed_at_once() {
    let served = served(ConnectionLimits { total: 2, per_address: 1 }).await;
    let mut first = connection_with(served.address, GET).await;
    answer(&mut first, "hello").await;
    let mut second = TcpStream::connect(served.address).await.expect("the system accepts it");
    assert_eq!(second.read(&mut [0]).await.unwrap_or_default(), 0);
    assert_eq!((served.places.open(), served.places.refused()), (1, 1));
    first.write_all(GET).await.expect("sent");
    answer(&mut first, "hello").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_in_hand_is_answered_when_the_port_stops() {
    let Served { address, stop, ended, .. } = served(MANY).await;
    let mut idle = connection_with(address, GET).await;
    answer(&mut idle, "hello").await;
    let mut waiting = connection_with(address, b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // It has arrived.
    sleep(LOOK_INTERVAL).await;
    stop.replace(true);
    assert_eq!(idle.read(&mut [0]).await.expect("closed in order"), 0);
    assert!(answer(&mut waiting, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    ended.await.expect("it ends");
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn dropping_a_port_closes_its_connections() {
    let served = served(MANY).await;
    let mut stream = connection_with(served.address, GET).await;
    answer(&mut stream, "hello").await;
    served.ended.abort();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0);
}

/// The name in the certificate of a sealed port.
const HOST: &str = "pay.example";

/// What a client sees that connects with TLS and sends a request.
async fn sealed_answer(served: &Served, config: Arc<ClientConfig>) -> std::io::Result<String> {
    let stream = TcpStream::connect(served.address).await?;
    let name = ServerName::try_from(HOST).expect("a name");
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A sealed port, the sealing, and the authority of its certificate.
async fn sealed(clients: Option<&Authority>) -> (Served, Sealing, Authority) {
    let authority = Authority::new("ca");
    let sealing = sealed_clients(&authority.issue(&[HOST]), clients.map(Authority::pem).as_deref());
    (served_with(MANY, Some(sealing.clone())).await, sealing, authority)
}

#[tokio::test]
async fn a_sealed_port_answers_who_trusts_its_certificate() {
    let (served, sealing, authority) = sealed(None).await;
    let answer = sealed_answer(&served, client_config(&authority, None)).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    let stranger = sealed_answer(&served, client_config(&Authority::new("other"), None)).await;
    assert!(stranger.expect_err("not trusted").to_string().contains("UnknownIssuer"));
    assert_eq!(sealing.refused(Refusal::Plain), 0);
}

#[tokio::test]
async fn a_port_with_authorities_serves_only_holders_of_their_certificates() {
    let clients = Authority::new("clients");
    let (served, sealing, authority) = sealed(Some(&clients)).await;
    let (shop, expired) = (clients.issue(&["shop"]), clients.issue_expired(&["shop"]));
    let answer = sealed_answer(&served, client_config(&authority, Some(&shop))).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let unknown = Authority::new("unknown").issue(&["shop"]);
    for (who, own) in [("nobody", None), ("an expired one", Some(&expired)), ("an unknown one", Some(&unknown))] {
        let refused = sealed_answer(&served, client_config(&authority, own)).await;
        assert!(refused.is_err(), "{who} is refused: {refused:?}");
    }
    assert_eq!(sealing.refused(Refusal::Handshake), 3);
}

#[tokio::test]
async fn a_plain_request_to_a_sealed_port_is_told_to_use_tls() {
    let (served, sealing, _) = sealed(None).await;
    let mut stream = connection_with(served.address, b"POST /length HTTP/1.1\r\nhost: a\r\n").await;
    stream.write_all(&[b'x'; 20_000]).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is not taken back");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    assert!(answer.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    assert_eq!(sealing.refused(Refusal::Plain), 1);
}

#[tokio::test(start_paused = true)]
async fn half_a_handshake_is_not_waited_for_long() {
    let (served, sealing, _) = sealed(None).await;
    // Nothing; a record's head; a record that announces more than comes.
    let halves: [&[u8]; 3] = [b"", &[22, 3, 1], &[22, 3, 1, 2, 0, 1, 0, 1, 252]];
    for half in halves {
        let mut stream = connection_with(served.address, half).await;
        let kept = kept(&mut stream).await;
        assert!(kept <= LOOK_INTERVAL * 4, "{half:?} was kept for {kept:?}");
    }
    sleep(LOOK_INTERVAL).await;
    assert_eq!((served.places.open(), sealing.refused(Refusal::Handshake)), (0, 3), "their places are free");
}

#[tokio::test]
async fn garbage_ends_a_handshake_and_nothing_else() {
    let (served, sealing, authority) = sealed(None).await;
    let mut random = 1_u8;
    for length in [1, 5, 6, 100, 5_000, 70_000] {
        let mut bytes = vec![22, 3, 3, 64, 0];
        bytes.extend(
            std::iter::repeat_with(|| {
                random = random.wrapping_mul(57).wrapping_add(131);
                random
            })
            .take(length),
        );
        let mut stream = TcpStream::connect(served.address).await.expect("connected");
        // It may be closed before all is sent.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        kept(&mut stream).await;
    }
    assert_eq!(sealing.refused(Refusal::Handshake), 6);
    assert!(sealed_answer(&served, client_config(&authority, None)).await.is_ok(), "others are served");
}

#[tokio::test]
async fn who_only_tries_whether_a_sealed_port_can_be_reached_is_not_refused() {
    let (served, sealing, authority) = sealed(None).await;
    drop(TcpStream::connect(served.address).await.expect("connected"));
    sealed_answer(&served, client_config(&authority, None)).await.expect("answered");
    assert_eq!(Refusal::ALL.map(|refusal| sealing.refused(refusal)), [0; 4]);
}

#[tokio::test]
async fn a_port_that_stops_waits_for_no_handshake() {
    let (Served { address, stop, ended, .. }, ..) = sealed(None).await;
    let _half = connection_with(address, &[22, 3, 1]).await;
    sleep(Duration::from_millis(50)).await;
    stop.replace(true);
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("soon").expect("it ends");
}
