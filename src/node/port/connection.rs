//! One connection: HTTP/1.1 with bounded buffers, plain or sealed, closed when the other side does not do its part.

use std::pin::pin;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tower::Service;

use super::handshake::open_sealed;
use super::observed::{Observed, Seen};
use super::pace::{Judge, LOOK_INTERVAL, Pace};
use super::server::{Terms, stop};
use crate::published::Watched;
use crate::tls::{Presented, Sealing};

/// Largest head of a request: its first line and its headers. A larger one gets 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Bytes that are read, or written, at a time. An unfinished head takes no more.
const BUFFER_BYTES: usize = 64 * 1024;

/// Serves a connection until one side ends it. When the node stops, the request in hand is answered.
pub(super) async fn serve_connection(stream: TcpStream, router: Router, terms: Terms, stopping: Watched<bool>) {
    let Terms { pace, sealing } = terms;
    let seen = Seen::new();
    match sealing {
        None => serve_requests(Observed::new(stream, seen.clone()), seen, None, router, pace, stopping).await,
        // In a box, so that a plain connection needs no more memory than it has use for.
        Some(sealing) => Box::pin(serve_sealed(stream, seen, sealing, router, pace, stopping)).await,
    }
}

/// Serves a connection that begins with a handshake.
async fn serve_sealed(
    stream: TcpStream,
    seen: Seen,
    sealing: Sealing,
    router: Router,
    pace: Pace,
    stopping: Watched<bool>,
) {
    let opened = tokio::select! {
        biased;
        () = stop(stopping.clone()) => return,
        opened = open_sealed(stream, seen.clone(), &sealing) => opened,
    };
    if let Some((stream, presented)) = opened {
        serve_requests(stream, seen, Some(presented), router, pace, stopping).await;
    }
}

/// Serves the requests that come over a stream, whose bytes are noted in `seen`.
async fn serve_requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: Seen,
    presented: Option<Presented>,
    router: Router,
    pace: Pace,
    stopping: Watched<bool>,
) {
    let stream = TokioIo::new(stream);
    let mut judge = Judge::new(pace, seen.look());
    let requests = seen.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(|body| requests.begin(body));
        if let Some(presented) = &presented {
            request.extensions_mut().insert(presented.clone());
        }
        // A clone of a router only increments a counter, and it is always ready.
        let answer = router.clone().call(request);
        let seen = requests.clone();
        async move { answer.await.map(|answer| answer.map(|body| seen.answer(body))) }
    });
    let mut protocol = http1::Builder::new();
    protocol.header_read_timeout(None).max_header_size(MAX_HEAD_BYTES).max_buf_size(BUFFER_BYTES);
    let mut connection = pin!(protocol.serve_connection(stream, service));
    let mut looks = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
    // Bytes are counted from one look to the next.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = pin!(stop(stopping));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            biased;
            // An error of a connection is an end as any other.
            _ = connection.as_mut() => return,
            () = stop.as_mut(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => if let Some(reason) = judge.look(seen.look()) {
                tracing::debug!(?reason, "a connection is closed");
                return;
            }
        }
    }
}
